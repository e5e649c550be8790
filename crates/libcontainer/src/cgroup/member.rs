//! The cgroup that a process is in, and one that a process is put into.
//!
//! Runs in: runtime.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::OFlags;

use super::{Cgroup, file};
use crate::error::Error;
use crate::host;

impl Cgroup {
    /// The cgroup of process `pid` in the hierarchy that is mounted at `mount_point`; `None`: it is the root, or gone.
    ///
    /// The caller has to know that the process has lived until now.
    ///
    /// # Errors
    /// [`Error::Cgroup`], and what procfs says.
    pub fn of_process(mount_point: &Path, pid: i32) -> Result<Option<Self>, Error> {
        let path = host::cgroup_of(&format!("/proc/{pid}/cgroup"))?;
        match path.strip_prefix("/") {
            Ok(path) if !path.as_os_str().is_empty() => Self::open(mount_point, path),
            _ => Ok(None),
        }
    }

    /// Where a process that writes `0` goes into it.
    ///
    /// # Errors
    /// [`Error::Cgroup`].
    pub fn open_processes(&self) -> Result<OwnedFd, Error> {
        file::open(&self.directory, "cgroup.procs", OFlags::WRONLY)
            .map_err(|errno| self.at("open cgroup.procs")(errno.into()))
    }

    /// The error of a process that could not be born in it, in the words of runc.
    pub fn refused_process(&self, source: io::Error) -> Error {
        self.at("error adding pid of a new process to cgroups")(source)
    }
}
