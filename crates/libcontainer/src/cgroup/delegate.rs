//! Handing the container's part of the hierarchy to its user.
//!
//! Runs in: runtime.

use rustix::fs::{AtFlags, Uid};
use rustix::io::Errno;

use super::Cgroup;
use crate::error::Error;

/// The files that whoever manages the part below must be able to write; all others are limits, which stay ours.
const LIST: &str = "/sys/kernel/cgroup/delegate";
/// Before Linux 4.15 had the list (cgroups(7), "Cgroups v2 delegation").
const WITHOUT_LIST: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

impl Cgroup {
    /// Gives the directory and the files of the kernel's list to `uid`.
    ///
    /// # Errors
    /// [`Error::Cgroup`].
    pub fn delegate(&self, uid: u32) -> Result<(), Error> {
        let owner = Some(Uid::from_raw(uid));
        let failed = |name: &str, errno: Errno| {
            self.at(&format!("give {name} to the user {uid}"))(errno.into())
        };
        rustix::fs::fchown(&self.directory, owner, None).map_err(|errno| failed("it", errno))?;
        let list = std::fs::read_to_string(LIST).unwrap_or_else(|_| WITHOUT_LIST.to_owned());
        for name in list.lines().filter(|name| !name.contains('/')) {
            match rustix::fs::chownat(&self.directory, name, owner, None, AtFlags::SYMLINK_NOFOLLOW)
            {
                // The kernel lists also what belongs to controllers that are not enabled here.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed(name, errno)),
            }
        }
        Ok(())
    }
}
