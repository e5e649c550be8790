//! `cgroup.events`: whether a cgroup has processes and whether they are frozen, and waiting until that changes.
//!
//! Runs in: runtime.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::{Cgroup, file};
use crate::error::Error;

/// The kernel does not tell of every change at once (at most every 10 ms, `CGROUP_FILE_NOTIFY_MIN_INTV`), and a process leaves
/// its cgroup a moment after it can be waited for: so we look again after this, and after ever longer pauses.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Events {
    pub populated: bool,
    pub frozen: bool,
}

impl Events {
    fn parse(content: &[u8]) -> Self {
        let has = |line: &[u8]| content.split(|byte| *byte == b'\n').any(|found| found == line);
        Self { populated: has(b"populated 1"), frozen: has(b"frozen 1") }
    }
}

/// The file, open.
#[derive(Debug)]
pub(super) struct EventsFile(OwnedFd);

impl EventsFile {
    /// `None`: the cgroup is gone.
    pub fn open(cgroup: impl AsFd) -> rustix::io::Result<Option<Self>> {
        match file::open(cgroup, "cgroup.events", OFlags::RDONLY) {
            Ok(file) => Ok(Some(Self(file))),
            Err(errno) if file::is_gone(errno) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// For poll.
    pub fn file(&self) -> &OwnedFd {
        &self.0
    }

    /// A cgroup that is gone has no processes and is not frozen.
    pub fn read(&self) -> rustix::io::Result<Events> {
        let mut buffer = [0; 256];
        match rustix::io::pread(&self.0, &mut buffer, 0) {
            Ok(count) => Ok(Events::parse(buffer.split_at(count).0)),
            Err(errno) if file::is_gone(errno) => Ok(Events::default()),
            Err(errno) => Err(errno),
        }
    }

    /// Waits until `holds`; `false`: it did not before `until`.
    pub fn wait(&self, until: Instant, holds: impl Fn(Events) -> bool) -> rustix::io::Result<bool> {
        let mut pause = FIRST_PAUSE;
        loop {
            if holds(self.read()?) {
                return Ok(true);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            file::wait_for_change([&self.0], pause.min(left))?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl Cgroup {
    /// What `cgroup.events` says now.
    pub(super) fn events(&self) -> Result<Events, Error> {
        let events = match EventsFile::open(&self.directory) {
            Ok(Some(file)) => file.read(),
            Ok(None) => Ok(Events::default()),
            Err(errno) => Err(errno),
        };
        events.map_err(|errno| self.at("read cgroup.events")(errno.into()))
    }
}

/// The moment `deadline` from now; one that no clock can hold is as good as a year.
pub(super) fn moment(deadline: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    Instant::now() + deadline.min(YEAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_both_kinds_are_parsed() {
        let parse = |text: &str| {
            let events = Events::parse(text.as_bytes());
            (events.populated, events.frozen)
        };
        assert_eq!(parse("populated 1\nfrozen 0\n"), (true, false));
        assert_eq!(parse("populated 0\nfrozen 1\n"), (false, true));
        assert_eq!(parse("frozen 1\nfuture 1\npopulated 1\n"), (true, true));
        assert_eq!(parse("populated 10\n"), (false, false));
        assert_eq!(parse(""), (false, false));
    }

    #[test]
    fn moment_of_the_longest_duration_does_not_overflow() {
        assert!(moment(Duration::MAX) > Instant::now());
    }
}
