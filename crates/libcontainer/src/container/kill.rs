//! `kill`: a signal to the container's init, or to all of its processes.
//!
//! Runs in: runtime.

use std::os::fd::AsFd;
use std::time::Duration;

use super::Container;
use crate::error::Error;
use crate::signal::Signal;
use crate::state::Status;

/// How long killed processes may take to be gone from the cgroup.
pub(super) const KILL_DEADLINE: Duration = Duration::from_secs(10);

impl Container {
    /// Sends `signal` to init, or with `all` to every process of the container's cgroup.
    ///
    /// SIGKILL to a container that shares another's pid namespace goes to all of its processes, as runc has it: there the
    /// end of init does not end them.
    ///
    /// # Errors
    /// [`Error::WrongStatus`] with runc's text `container not running` when there is no process.
    pub fn kill(&self, signal: Signal, all: bool) -> Result<(), Error> {
        let (status, init) = self.observe()?;
        let is_shared = !self.record.private_pid_namespace;
        if all || (signal == Signal::KILL && is_shared && status != Status::Creating) {
            return self.kill_all(signal, all || init.is_some());
        }
        let Some(init) = init else { return Err(self.not_running(status)) };
        log::debug!("send {signal} to init (process {})", init.pid);
        match send(init.pidfd.as_fd(), signal) {
            // It has ended between the look and the signal.
            Err(rustix::io::Errno::SRCH) => Err(self.not_running(Status::Stopped)),
            Err(errno) => Err(Error::Os {
                call: format!("send {} to container {:?}", signal.name(), self.id()),
                source: errno.into(),
            }),
            Ok(()) => Ok(()),
        }
    }

    fn kill_all(&self, signal: Signal, may_be_empty: bool) -> Result<(), Error> {
        if !self.has_cgroup()? {
            return self.kill_members(signal, may_be_empty);
        }
        log::debug!("send {signal} to all of the cgroup");
        match self.cgroup()? {
            Some(cgroup) if signal == Signal::KILL => {
                if !may_be_empty && !cgroup.is_populated()? {
                    return Err(self.not_running(Status::Stopped));
                }
                cgroup.kill(KILL_DEADLINE)
            }
            Some(cgroup) => cgroup.signal(signal),
            None if may_be_empty => Ok(()),
            None => Err(self.not_running(Status::Stopped)),
        }
    }

    pub(super) fn not_running(&self, status: Status) -> Error {
        self.wrong_status(status, "container not running")
    }
}

fn send(pidfd: std::os::fd::BorrowedFd<'_>, signal: Signal) -> Result<(), rustix::io::Errno> {
    crate::send::send_signal(pidfd, signal.number())
}
