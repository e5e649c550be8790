//! `events`: what a container uses, and what happens to it.
//!
//! Runs in: runtime.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::Container;
use crate::cgroup::{Cgroup, Happened};
use crate::error::Error;
use crate::intel_rdt;
use crate::state::Status;
use crate::stats::{Event, Stats};

impl Container {
    /// What the container uses now.
    ///
    /// # Errors
    /// [`Error::WrongStatus`] with runc's text `container with id ID is not running`.
    pub fn stats(&self) -> Result<Stats, Error> {
        Ok(self.stats_of(&self.live_cgroup()?))
    }

    /// Calls `each` with every [`Event`] until the last process of the container has ended, or it answers `Break`. The
    /// numbers come once in each `interval`.
    ///
    /// # Errors
    /// As [`Container::stats`].
    pub fn events(
        &self,
        interval: Duration,
        each: &mut dyn FnMut(&Event) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let cgroup = self.live_cgroup()?;
        let Some(mut watch) = cgroup.watch()? else { return Ok(()) };
        let mut tick = next_tick(interval);
        loop {
            let next = watch.next(tick);
            let event = match next.map_err(|errno| Error::os("poll", errno))? {
                Happened::Ended => return Ok(()),
                Happened::Oom => Event::Oom,
                Happened::Nothing => {
                    tick = next_tick(interval);
                    Event::Stats(Box::new(self.stats_of(&cgroup)))
                }
            };
            if each(&event).is_break() {
                return Ok(());
            }
        }
    }

    fn stats_of(&self, cgroup: &Cgroup) -> Stats {
        let intel_rdt = self.record.intel_rdt.as_ref().map(intel_rdt::stats).unwrap_or_default();
        Stats { intel_rdt, ..cgroup.stats() }
    }

    fn live_cgroup(&self) -> Result<Cgroup, Error> {
        let stopped = || {
            let text = format!("container with id {} is not running", self.id());
            self.wrong_status(Status::Stopped, text)
        };
        if self.status()? == Status::Stopped {
            return Err(stopped());
        }
        self.require_cgroup("have events of")?;
        self.cgroup()?.ok_or_else(stopped)
    }
}

/// A time that the clock cannot hold is as good as never.
fn next_tick(interval: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    Instant::now() + interval.min(YEAR)
}
