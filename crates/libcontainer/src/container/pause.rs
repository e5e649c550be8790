//! `pause` and `resume`: the freezer of the container's cgroup.
//!
//! Without the lock: who holds it may itself wait for a process that is frozen.
//!
//! Runs in: runtime.

use std::time::Duration;

use super::Container;
use crate::error::Error;
use crate::state::Status;

/// As runc has it: a process in uninterruptible sleep freezes only when that is over.
const FREEZE_DEADLINE: Duration = Duration::from_secs(10);

impl Container {
    /// Stops every process of the container, also an init that waits for `start`. When it fails, they run as before.
    ///
    /// # Errors
    /// [`Error::WrongStatus`] with runc's text `container not running` unless it runs or is created; [`Error::Timeout`] with
    /// the processes that did not stop; [`Error::Cgroup`].
    pub fn pause(&self) -> Result<(), Error> {
        match self.status()? {
            Status::Running | Status::Created => {}
            status => return Err(self.not_running(status)),
        }
        self.require_cgroup("pause")?;
        let cgroup = self.cgroup()?.ok_or_else(|| self.not_running(Status::Stopped))?;
        cgroup.freeze(FREEZE_DEADLINE)
    }

    /// Lets the processes of a paused container run again.
    ///
    /// # Errors
    /// [`Error::WrongStatus`] with runc's text `container not paused`; [`Error::Cgroup`].
    pub fn resume(&self) -> Result<(), Error> {
        let not_paused = |status| self.wrong_status(status, "container not paused");
        match self.status()? {
            Status::Paused => {}
            status => return Err(not_paused(status)),
        }
        self.cgroup()?.ok_or_else(|| not_paused(Status::Stopped))?.thaw()
    }
}
