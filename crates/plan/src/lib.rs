//! The instruction set between corten's runtime process and its init.
//!
//! The runtime process decides everything, writes the decision down as a list of [`Op`]s in a sealed memfd (the
//! *plan*), and starts init, which executes one op after another and decides nothing. This crate is all that both
//! sides share: what an op means ([`op`]), how it is laid out in memory ([`wire`]), and the frames that go over
//! the socket between them ([`frame`]).
//!
//! No dependencies, no `unsafe`; decoding is total: any bytes give ops or an error, never a panic.
//!
//! Runs in: both.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod frame;
pub mod op;
pub mod wire;

pub use frame::{Failure, Frame, Point, Stage};
pub use op::{Handle, Op};
#[cfg(feature = "alloc")]
pub use wire::PlanWriter;
pub use wire::{Header, Malformed, PlanReader};

/// Where the sources of this crate are, for the build script that makes init's image.
pub const SOURCE_DIR: &str = env!("CARGO_MANIFEST_DIR");
