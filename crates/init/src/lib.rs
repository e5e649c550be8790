//! The first process of a corten container: executes a plan and decides nothing.
//!
//! The real program is `image.rs`, which libcontainer's build script links from this crate and `corten-plan` alone: no
//! libc, no allocator, no standard library, no relocation. It is started with a table of file descriptors in its only
//! argument ([`handles`]), maps the plan, does one op after another ([`run`]) and ends in execve. Each op is one
//! function in the module of its group; what it means is said in [`corten_plan::Op`]. As an ordinary crate this is here
//! for clippy, for the tests of its pure parts, and for `tests/run.rs`, which starts the image in namespaces.
//!
//! Runs in: init.

#![cfg_attr(not(test), no_std)]

mod console;
mod copy_up;
mod credentials;
mod device;
mod diagnosis;
mod handles;
mod hooks;
mod kept;
mod lines;
mod lsm;
mod mask;
mod mounts;
mod namespaces;
mod passwd;
mod path;
mod plain;
mod process;
mod procfs;
mod program;
mod report;
mod root;
mod root_namespace;
mod run;
mod seccomp;
mod sys;
mod sysctl;
mod target;
mod trace;
mod walk;

pub use report::panicked;
pub use sys::start;

/// Where the sources of this crate are, for the build script that makes the image.
pub const SOURCE_DIR: &str = env!("CARGO_MANIFEST_DIR");
/// Where the sources of `corten-plan` are, likewise.
pub const PLAN_SOURCE_DIR: &str = corten_plan::SOURCE_DIR;
