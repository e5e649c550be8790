//! The only `unsafe` of the library: system calls that rustix does not have, one thin wrapper each.
//!
//! A wrapper takes borrowed fds and typed values, does one call, and has no policy.
//!
//! Runs in: runtime.

#![expect(unsafe_code, reason = "this is where system calls are made")]

pub mod bpf;
#[cfg(test)]
pub mod confine;
pub mod idle;
pub mod kernel;
pub mod limit;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod pidfd;
pub mod program;
pub mod seccomp;
pub mod spawn;
pub mod wait;
