//! Freezing and thawing.
//!
//! Runs in: runtime.

use std::time::Duration;

use super::events::{EventsFile, moment};
use super::{Cgroup, file};
use crate::error::Error;

impl Cgroup {
    /// Whether somebody asked for it to be frozen: the status `paused` of runc. Not whether a cgroup above is, and not
    /// whether every process has stopped by now.
    ///
    /// # Errors
    /// [`Error::Cgroup`].
    pub fn is_frozen(&self) -> Result<bool, Error> {
        match file::read_word(&self.directory, "cgroup.freeze") {
            Ok(content) => Ok(content.starts_with(b"1")),
            Err(errno) if file::is_gone(errno) => Ok(false),
            Err(errno) => Err(self.at("read cgroup.freeze")(errno.into())),
        }
    }

    /// Stops every process in it and below, and waits until they have stopped. On failure they run again.
    ///
    /// # Errors
    /// [`Error::Timeout`] with those that do not stop (state D), [`Error::Cgroup`].
    pub fn freeze(&self, deadline: Duration) -> Result<(), Error> {
        let frozen = self.write_freeze("1").and_then(|()| {
            let events = EventsFile::open(&self.directory)?;
            events.map_or(Ok(true), |file| file.wait(moment(deadline), |now| now.frozen))
        });
        let error = match frozen {
            Ok(true) => return Ok(()),
            Ok(false) => self.timeout("to freeze", deadline),
            Err(errno) => self.at("freeze")(errno.into()),
        };
        self.thaw()?;
        Err(error)
    }

    /// Lets its processes run again.
    ///
    /// # Errors
    /// [`Error::Cgroup`].
    pub fn thaw(&self) -> Result<(), Error> {
        match self.write_freeze("0") {
            Err(errno) if !file::is_gone(errno) => Err(self.at("thaw")(errno.into())),
            _ => Ok(()),
        }
    }

    pub(super) fn write_freeze(&self, value: &str) -> rustix::io::Result<()> {
        file::write(&self.directory, "cgroup.freeze", value)
    }

    /// What was waited for, and for whom.
    pub(super) fn timeout(&self, to_happen: &str, deadline: Duration) -> Error {
        let path = self.mount_point.join(&self.path);
        let processes = self.describe_processes();
        Error::Timeout {
            what: format!("the processes of cgroup {} {to_happen}: {processes}", path.display()),
            seconds: deadline.as_secs(),
        }
    }
}
