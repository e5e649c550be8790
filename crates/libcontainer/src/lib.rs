//! Create, start, signal and delete OCI containers, from any program.
//!
//! # The story of `create`, in one page
//!
//! [`spec`] reads `config.json` strictly into a [`spec::Bundle`]. [`host`] reads the facts of this machine that the
//! configuration needs. [`plan`] turns bundle, facts and the caller's [`CreateOptions`] into a [`plan::Plan`]: pure
//! functions, no effects; whatever can be refused is refused here. [`runtime`] has the effects: it writes down the intent,
//! makes the cgroup, starts init (a program of its own, without libc, embedded in this crate, see `crates/init`) in
//! the new namespaces with one `clone3`, and talks to it over one socket until the state is saved. [`container`] has one
//! file per OCI operation and is where to begin reading.
//!
//! # What a caller may rely on
//!
//! Nothing here changes the calling process: not its working directory, umask, signal mask or handlers, dumpable flag,
//! oom score or environment. Threads and async runtimes are fine: between clone and exec the child runs only raw system
//! calls on prepared memory. Children are waited for by pidfd; which there are, and what a caller's own `wait(-1)` or
//! SIGCHLD handler sees of them, is in `docs/library.md`, "Children, SIGCHLD and `wait(-1)`".

pub mod cgroup;
pub mod container;
mod error;
pub mod features;
mod hooks;
pub mod host;
mod intel_rdt;
mod network;
#[cfg(feature = "oci-spec")]
mod oci_spec;
pub mod plan;
mod runtime;
pub mod seccomp;
mod send;
pub mod signal;
mod socket;
pub mod spec;
pub mod state;
pub mod stats;
mod sys;
pub mod trace;

pub use container::{Console, Container, ContainerProcess, CreateOptions, ExecOptions, ExitStatus};
pub use corten_plan::Stage;
pub use error::{Error, HookError, InitError};
pub use signal::Signal;
pub use state::{ContainerId, Status};
