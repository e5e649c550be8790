//! The container's network namespace, made while the runtime does other things.
//!
//! With its loopback device set up it takes the kernel half a millisecond, as long as all mounts together, and nothing that is
//! done before init needs it.
//!
//! Runs in: runtime.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::link::Link;
use crate::error::Error;
use crate::sys::idle::Idle;

/// One that is being made.
pub(crate) struct NewNetwork(Idle);

impl NewNetwork {
    /// Begins. Without having been sent it ends with this value, which else is needed no more: to end the child takes a moment.
    ///
    /// # Errors
    /// Those of `clone3(2)`.
    pub fn begin() -> Result<Self, Error> {
        Idle::start_network().map(Self).map_err(|source| failed("clone3", source))
    }

    /// Waits until it is there, and sends it to an init that has an `Op::EnterSent`.
    ///
    /// # Errors
    /// Those of `unshare(2)`, of the loopback device, of the socket.
    pub fn send(&self, link: &Link) -> Result<(), Error> {
        self.0.wait().map_err(|(call, source)| failed(call, source))?;
        link.go(0, Some(self.open()?.as_fd()))
    }

    fn open(&self) -> Result<OwnedFd, Error> {
        let path = format!("/proc/{}/ns/net", self.0.pid);
        rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| failed(&path, errno.into()))
    }
}

fn failed(call: &str, source: io::Error) -> Error {
    Error::os(format!("make a network namespace: {call}"), source)
}
