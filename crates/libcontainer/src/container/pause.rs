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
            _ => return Err(self.not_running()),
        }
        self.require_cgroup("pause")?;
        let cgroup = self.cgroup()?.ok_or_else(|| self.not_running())?;
        cgroup.freeze(FREEZE_DEADLINE)
    }

    /// Lets the processes of a paused container run again.
    ///
    /// # Errors
    /// [`Error::WrongStatus`] with runc's text `container not paused`; [`Error::Cgroup`].
    pub fn resume(&self) -> Result<(), Error> {
        let not_paused = || self.wrong_status("container not paused");
        if self.status()? != Status::Paused {
            return Err(not_paused());
        }
        self.cgroup()?.ok_or_else(not_paused)?.thaw()
    }
}
