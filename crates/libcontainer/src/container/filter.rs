//! What the runtime does for a system call filter: before clone, and while init or a process of exec loads it.
//!
//! Runs in: runtime.

use std::os::fd::{AsFd, OwnedFd};

use super::ContainerProcess;
use super::conversation::out_of_order;
use crate::error::Error;
use crate::plan::SeccompPlan;
use crate::runtime::link::Link;
use crate::runtime::listener;
use crate::state::{Record, Status};
use crate::sys;

/// Refuses flags that this kernel does not know, and connects to the agent; not where hooks run first, which may start it.
///
/// # Errors
/// [`Error::Unsupported`], [`Error::Property`].
pub(super) fn prepare(
    seccomp: Option<&SeccompPlan>,
    has_hooks: bool,
) -> Result<Option<OwnedFd>, Error> {
    let Some(seccomp) = seccomp else { return Ok(None) };
    // In runc's words, which its own suite looks for.
    log::debug!("seccomp filter flags: {}", seccomp.flags);
    if !sys::seccomp::takes_flags(seccomp.flags) {
        return Err(Error::Unsupported {
            pointer: "/linux/seccomp".into(),
            feature: "this kernel has no system call filters, or does not know a flag".into(),
        });
    }
    let listener = seccomp.listener.as_ref().filter(|_| !has_hooks);
    listener.map(listener::connect).transpose()
}

/// A process that loads a filter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loading<'a> {
    pub seccomp: Option<&'a SeccompPlan>,
    pub process: &'a ContainerProcess,
    pub link: &'a Link,
    /// The container's init: this process, or another.
    pub init: i32,
    /// The container's status meanwhile.
    pub status: Status,
}

impl Loading<'_> {
    /// Gives the listener that the process is about to get to the agent, which is connected already, or will be.
    ///
    /// # Errors
    /// See [`listener::take`] and [`listener::send`].
    pub fn hand_over(
        &self,
        agent: &mut Option<OwnedFd>,
        number: i32,
        record: &Record,
    ) -> Result<(), Error> {
        let listener = self.seccomp.and_then(|seccomp| seccomp.listener.as_ref());
        let listener = listener.ok_or_else(out_of_order)?;
        let agent = agent.take().map_or_else(|| listener::connect(listener), Ok)?;
        let process = self.process;
        let Some(fd) = listener::take(process.pidfd.as_fd(), number, self.link)? else {
            // It has failed, or died: what it says of that is still to be received.
            return Ok(());
        };
        let (pid, init) = (process.pid, self.init);
        let state = listener::state(listener, record, (pid, init, self.status))?;
        listener::send(&agent, listener, &state, &fd)
    }
}
