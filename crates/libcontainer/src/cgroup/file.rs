//! The interface files of a cgroup, and of resctrl: small texts, read and written whole.
//!
//! Runs in: runtime.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// What a file of a cgroup says that was removed: ENOENT to open it, ENODEV to read or write it.
pub(super) fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NODEV)
}

/// `name` has no slash: it is one of the kernel's, or was checked when it was read from config.json.
pub(crate) fn open(cgroup: impl AsFd, name: &str, mode: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = mode | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(cgroup, name, flags, Mode::empty())
}

/// Returns when one of the files has changed since it was read last, or after `time`, or for a signal.
pub(super) fn wait_for_change<'a>(
    files: impl IntoIterator<Item = &'a OwnedFd>,
    time: Duration,
) -> rustix::io::Result<()> {
    let time = Timespec::try_from(time).map_err(|_| Errno::INVAL)?;
    let mut files: Vec<_> =
        files.into_iter().map(|file| PollFd::new(file, PollFlags::PRI)).collect();
    match rustix::event::poll(&mut files, Some(&time)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// The whole file.
pub(crate) fn read(cgroup: impl AsFd, name: &str) -> rustix::io::Result<Vec<u8>> {
    let file = open(cgroup, name, OFlags::RDONLY)?;
    let mut content = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let (read, _) = rustix::io::read(&file, &mut buffer).map(|n| buffer.split_at(n))?;
        if read.is_empty() {
            return Ok(content);
        }
        content.extend_from_slice(read);
    }
}

/// The beginning of a file that says one thing.
pub(super) fn read_word(cgroup: impl AsFd, name: &str) -> rustix::io::Result<[u8; 8]> {
    let file = open(cgroup, name, OFlags::RDONLY)?;
    let mut word = [0; 8];
    rustix::io::read(&file, &mut word)?;
    Ok(word)
}

/// Writes `value` by one write, as the kernel wants it.
pub(crate) fn write(cgroup: impl AsFd, name: &str, value: &str) -> rustix::io::Result<()> {
    let file = open(cgroup, name, OFlags::WRONLY)?;
    rustix::io::write(&file, value.as_bytes()).map(drop)
}
