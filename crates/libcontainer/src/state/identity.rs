//! Which process is meant: never by pid alone.
//!
//! Runs in: runtime.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::host;
use crate::sys::wait;

/// A process, so that a later one with the same pid is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Process {
    pub pid: i32,
    /// Clock ticks after boot: field 22 of `/proc/PID/stat`.
    pub start_time: u64,
    /// Inode of the pidfd: unique within a boot where the kernel has pidfs (Linux 6.9), the same for all where it has not.
    pub pidfd_inode: u64,
}

impl Process {
    /// Describes the process `pid`, which cannot have been reaped while this runs (a child of ours, or ourselves), and
    /// of which the caller has read `stat`.
    pub fn of(pid: i32, pidfd: impl AsFd, stat: ProcessStat) -> Result<Self, Error> {
        let pidfd_inode = pidfd_inode(pidfd).map_err(|source| Error::os("fstat(pidfd)", source))?;
        Ok(Self { pid, start_time: stat.start_time, pidfd_inode })
    }

    /// A pidfd of it, if it is still there and has not become a zombie. The pidfd is opened first and compared after:
    /// what it refers to cannot change any more.
    pub fn open(&self, boot_id_then: &str) -> Result<Option<OwnedFd>, Error> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            // EINVAL: the number is that of a thread.
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => return Ok(None),
            Err(errno) => return Err(Error::os(format!("pidfd_open({})", self.pid), errno)),
        };
        let inode = pidfd_inode(&pidfd).map_err(|source| Error::os("fstat(pidfd)", source))?;
        let is_it =
            inode == self.pidfd_inode && self.is_alive(&pidfd)? && *boot_id()? == *boot_id_then;
        Ok(is_it.then_some(pidfd))
    }

    /// Whether what `pidfd`, of the inode that was recorded, refers to lives and is this process. By poll(2), and not by the state in
    /// `/proc/PID/stat`, which is Z when the first thread has ended and others go on.
    fn is_alive(&self, pidfd: &OwnedFd) -> Result<bool, Error> {
        let ended = wait::ends_within(pidfd.as_fd(), Duration::ZERO);
        if ended.map_err(|source| Error::os("poll(pidfd)", source))? {
            return Ok(false);
        }
        // Where inodes of pidfds are unique, this one has said which process it is, and the way through procfs is spared.
        if is_pidfs(pidfd) {
            return Ok(true);
        }
        match ProcessStat::read(self.pid) {
            Ok(stat) => Ok(stat.start_time == self.start_time),
            Err(Error::Os { source, .. }) if is_gone(&source) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Whether the kernel has pidfs (Linux 6.9), whose inode numbers are never used again in a boot (`alloc_pid` in kernel/pid.c).
fn is_pidfs(pidfd: impl AsFd) -> bool {
    /// `PID_FS_MAGIC` of linux/magic.h.
    const MAGIC: u64 = 0x5049_4446;
    static IS_PIDFS: OnceLock<bool> = OnceLock::new();
    let look = || rustix::fs::fstatfs(pidfd).is_ok_and(|found| host::magic(&found) == MAGIC);
    *IS_PIDFS.get_or_init(look)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

fn pidfd_inode(pidfd: impl AsFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(&pidfd)?.st_ino)
}

/// What is used of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcessStat {
    /// State Z or X: it has ended.
    pub is_zombie: bool,
    /// Field 5: its process group.
    pub group: i32,
    /// Field 6: its session.
    pub session: i32,
    /// Field 22.
    pub start_time: u64,
    /// Field 33: a bit for each of the signals 1 to 31 that it ignores.
    pub ignored: u64,
}

impl ProcessStat {
    /// Reads and parses the file.
    pub fn read(pid: i32) -> Result<Self, Error> {
        let path = format!("/proc/{pid}/stat");
        let mut buffer = [0; 1024];
        let read = read_small(&path, &mut buffer).map_err(|source| Error::os(&path, source))?;
        Self::parse(read).ok_or_else(|| Error::os(&path, io::ErrorKind::InvalidData))
    }

    /// The command's name, in parentheses, may hold anything, parentheses too: the fields are counted from the last one.
    fn parse(stat: &[u8]) -> Option<Self> {
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        // `nth` counts from the field after the last one taken; the state is field 3.
        let state = fields.next()?;
        let group = fields.nth(5 - 4)?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        let start_time = fields.nth(22 - 7)?.parse().ok()?;
        let ignored = fields.nth(33 - 23)?.parse().ok()?;
        let is_zombie = matches!(state, "Z" | "X");
        Some(Self { is_zombie, group, session, start_time, ignored })
    }
}

/// The id of this boot, as in `/proc/sys/kernel/random/boot_id`: read once, for no process sees two of them.
pub(crate) fn boot_id() -> Result<&'static str, Error> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    static ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = ID.get() {
        return Ok(id);
    }
    let mut buffer = [0; 64];
    let read = read_small(PATH, &mut buffer).map_err(|source| Error::os(PATH, source))?;
    Ok(ID.get_or_init(|| String::from_utf8_lossy(read).trim_end().to_owned()))
}

fn read_small<'a>(path: &str, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let count = rustix::io::read(&file, &mut *buffer)?;
    Ok(buffer.get(..count).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_parentheses_in_the_name_is_parsed() {
        let line = b"17 (a) Z (b) S 1 17 16 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 2 3 4 5 6 7 8 0 0 4097 0";
        let stat = ProcessStat::parse(line).unwrap();
        assert_eq!(
            stat,
            ProcessStat {
                is_zombie: false,
                group: 17,
                session: 16,
                start_time: 4242,
                ignored: 4097
            }
        );
    }

    #[test]
    fn stat_that_is_cut_is_refused() {
        assert_eq!(ProcessStat::parse(b"17 (a) S 1 17"), None);
        assert_eq!(ProcessStat::parse(b"17"), None);
    }

    #[test]
    fn stat_of_this_process_counts_fields_as_the_kernel_does() {
        // SIGPIPE is signal 13, and Rust's std ignores it.
        let stat = ProcessStat::read(rustix::process::getpid().as_raw_pid()).unwrap();
        assert!(!stat.is_zombie);
        assert_eq!(stat.ignored & (1 << 12), 1 << 12);
    }

    #[test]
    fn other_process_is_not_found() {
        let pid = rustix::process::getpid();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let stat = ProcessStat::read(pid.as_raw_pid()).unwrap();
        let process = Process::of(pid.as_raw_pid(), &pidfd, stat).unwrap();
        let boot = boot_id().unwrap();
        assert!(process.open(boot).unwrap().is_some());
        assert!(process.open("another boot").unwrap().is_none());
        let earlier = Process { start_time: process.start_time - 1, ..process };
        let found = earlier.open(boot).unwrap();
        assert_eq!(found.is_some(), is_pidfs(&pidfd), "the inode alone decides where it can");
        let other = Process { pidfd_inode: process.pidfd_inode + 1, ..process };
        assert!(other.open(boot).unwrap().is_none());
    }
}
