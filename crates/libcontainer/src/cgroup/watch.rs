//! Waiting for what happens in a cgroup: processes that the kernel kills for want of memory, and the end of the last one.
//!
//! Runs in: runtime.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::events::EventsFile;
use super::stats::keyed;
use super::{Cgroup, file};
use crate::error::Error;

/// The kernel tells of changes, but for a cgroup that is removed meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happened {
    /// The kernel has killed.
    Oom,
    /// No process is left.
    Ended,
    /// Neither, until the time was over.
    Nothing,
}

/// The files that tell.
#[derive(Debug)]
pub(crate) struct Watch {
    events: EventsFile,
    /// `None`: without the memory controller nobody is killed for it.
    memory: Option<OwnedFd>,
    kills: u64,
}

impl Cgroup {
    /// Watches from now on; `None`: the cgroup is gone.
    pub(crate) fn watch(&self) -> Result<Option<Watch>, Error> {
        let failed = |errno: Errno| self.at("watch")(errno.into());
        let Some(events) = EventsFile::open(&self.directory).map_err(failed)? else {
            return Ok(None);
        };
        let memory = match file::open(&self.directory, "memory.events", OFlags::RDONLY) {
            Ok(memory) => Some(memory),
            Err(errno) if file::is_gone(errno) => None,
            Err(errno) => return Err(failed(errno)),
        };
        let mut watch = Watch { events, memory, kills: 0 };
        watch.kills = watch.count_kills();
        Ok(Some(watch))
    }
}

impl Watch {
    /// Waits for the next thing to happen, at most until then.
    pub fn next(&mut self, until: Instant) -> rustix::io::Result<Happened> {
        loop {
            // What was read before is what a poll takes for known. The end comes after the kill that made it.
            let has_ended = !self.events.read()?.populated;
            let kills = self.count_kills();
            if kills > self.kills {
                self.kills = kills;
                return Ok(Happened::Oom);
            }
            let left = until.saturating_duration_since(Instant::now());
            match (has_ended, left.is_zero()) {
                (true, _) => return Ok(Happened::Ended),
                (false, true) => return Ok(Happened::Nothing),
                (false, false) => self.poll(left.min(LONGEST_WAIT))?,
            }
        }
    }

    fn poll(&self, time: Duration) -> rustix::io::Result<()> {
        let files = [Some(self.events.file()), self.memory.as_ref()];
        file::wait_for_change(files.into_iter().flatten(), time)
    }

    fn count_kills(&self) -> u64 {
        let mut buffer = [0; 1024];
        let read =
            self.memory.as_ref().and_then(|file| rustix::io::pread(file, &mut buffer, 0).ok());
        let text = String::from_utf8_lossy(buffer.split_at(read.unwrap_or_default()).0);
        keyed(&text).get("oom_kill").copied().unwrap_or(self.kills)
    }
}
