//! Removing a cgroup and all below it.
//!
//! Runs in: runtime.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::events::{EventsFile, moment};
use super::tree::{Step, walk};
use super::{Cgroup, error, file, open_below, open_root, split};
use crate::error::Error;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

impl Cgroup {
    /// Removes the cgroup `path` below `mount_point` if that is one call: nothing is below it and no process in it. It is no
    /// error that it is gone already. Where `id` is given and another one has taken its place, that stays.
    ///
    /// # Errors
    /// [`Error::Cgroup`].
    pub fn remove_empty(mount_point: &Path, path: &Path, id: Option<u64>) -> Result<bool, Error> {
        let at = |source| error(mount_point.join(path), "rmdir")(source);
        let (above, name) = split(path).map_err(at)?;
        let removed = open_root(mount_point).and_then(|root| {
            if above.as_os_str().is_empty() {
                return remove_known(&root, name, id);
            }
            remove_known(&open_below(&root, above)?, name, id)
        });
        match removed {
            Err(errno) if file::is_gone(errno) => Ok(true),
            removed => removed.map_err(|errno| at(errno.into())),
        }
    }

    /// As [`Self::remove_empty`], of one that is open.
    ///
    /// # Errors
    /// [`Error::Cgroup`].
    pub fn remove_if_empty(&self) -> Result<bool, Error> {
        self.remove_self().map_err(|errno| self.at("rmdir")(errno.into()))
    }

    /// Removes the directory and what is below it, deepest first. It is no error that it is gone already. Processes that
    /// are still there are waited for, not killed.
    ///
    /// # Errors
    /// [`Error::Timeout`] that names the processes that are left, [`Error::Cgroup`].
    pub fn remove(&self, deadline: Duration) -> Result<(), Error> {
        let until = moment(deadline);
        loop {
            match self.try_remove() {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(errno) => return Err(self.at("rmdir")(errno.into())),
            }
            if Instant::now() >= until {
                return Err(self.timeout("to end, so that it can be removed", deadline));
            }
            self.wait_empty(until).map_err(|errno| self.at("rmdir")(errno.into()))?;
        }
    }

    /// `false`: something in it is still busy. Nearly always nothing is below it, and one call is all.
    fn try_remove(&self) -> rustix::io::Result<bool> {
        if self.remove_self()? {
            return Ok(true);
        }
        let walked = walk(&self.directory, |step| match step {
            Step::Enter(_) => Ok(()),
            Step::Leave { parent, name } => remove_directory(parent, name).map(drop),
        });
        match walked {
            Err(errno) if !file::is_gone(errno) => Err(errno),
            _ => self.remove_self(),
        }
    }

    /// The directory alone; `false`: it is busy.
    fn remove_self(&self) -> rustix::io::Result<bool> {
        remove_directory(self.parent()?, &*self.name)
    }

    /// Until no process is left. Where none is, something else held it (a child that vanishes, an agent that looks in).
    fn wait_empty(&self, until: Instant) -> rustix::io::Result<()> {
        if let Some(events) = EventsFile::open(&self.directory)?
            && events.read()?.populated
        {
            return events.wait(until, |now| !now.populated).map(drop);
        }
        std::thread::sleep(PAUSE);
        Ok(())
    }
}

/// As [`remove_directory`]. One that is made between look and removal has no process yet, and its maker is told by the next call.
fn remove_known(parent: &OwnedFd, name: &OsStr, id: Option<u64>) -> rustix::io::Result<bool> {
    if let Some(id) = id
        && rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?.st_ino != id
    {
        return Ok(true);
    }
    remove_directory(parent, name)
}

/// `false`: it is busy.
fn remove_directory(
    parent: impl std::os::fd::AsFd,
    name: impl rustix::path::Arg,
) -> rustix::io::Result<bool> {
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::BUSY | Errno::NOTEMPTY | Errno::INTR) => Ok(false),
        Err(errno) => Err(errno),
    }
}
