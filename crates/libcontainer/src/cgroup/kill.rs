//! Ending every process of a cgroup.
//!
//! Runs in: runtime.

use std::io;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::events::{EventsFile, moment};
use super::{Cgroup, file};
use crate::error::Error;
use crate::host;
use crate::signal::Signal;

/// Between two rounds of SIGKILL where `cgroup.kill` cannot be used.
const ROUND: Duration = Duration::from_millis(20);

impl Cgroup {
    /// Kills every process in it and below, frozen or not, and waits until none is left. A cgroup that is gone has none.
    ///
    /// # Errors
    /// [`Error::Timeout`] that names who is left (state D), [`Error::Cgroup`].
    pub fn kill(&self, deadline: Duration) -> Result<(), Error> {
        let until = moment(deadline);
        let io = |action| move |errno: Errno| self.at(action)(errno.into());
        let Some(events) = EventsFile::open(&self.directory).map_err(io("open cgroup.events"))?
        else {
            return Ok(());
        };
        let ended = match file::write(&self.directory, "cgroup.kill", "1") {
            Ok(()) => events.wait(until, |now| !now.populated),
            Err(Errno::NODEV) => Ok(true),
            // EOPNOTSUPP: a threaded cgroup. ENOENT: it is gone, or the kernel is older than 5.14.
            Err(Errno::OPNOTSUPP | Errno::NOENT) => {
                return self.kill_each(&events, until, deadline);
            }
            Err(errno) => Err(errno),
        };
        match ended.map_err(io("kill"))? {
            true => Ok(()),
            false => Err(self.timeout("to end", deadline)),
        }
    }

    /// Waits for a moment until no process is left in it and below, and kills none: who stays is somebody else's.
    ///
    /// # Errors
    /// [`Error::Cgroup`] with runc's `device or resource busy`, the processes, and where they are.
    pub fn require_left(&self, deadline: Duration) -> Result<(), Error> {
        let io = |errno: Errno| self.at("read cgroup.events")(errno.into());
        let Some(events) = EventsFile::open(&self.directory).map_err(io)? else { return Ok(()) };
        if events.wait(moment(deadline), |now| !now.populated).map_err(io)? {
            return Ok(());
        }
        let place = |pid| host::cgroup_of(&format!("/proc/{pid}/cgroup")).ok();
        let first = self.processes()?.into_iter().find_map(place);
        let problem = format!(
            "device or resource busy: in {} are processes that are not the container's, which --force kills: {}",
            first.as_ref().unwrap_or(&self.path).display(),
            self.describe_processes(),
        );
        Err(self.at("rmdir")(io::Error::new(io::ErrorKind::ResourceBusy, problem)))
    }

    /// Freezes, so that none forks away (the frozen can be killed), and kills until none is left. What cannot be frozen is
    /// killed in the next round.
    fn kill_each(
        &self,
        events: &EventsFile,
        until: Instant,
        deadline: Duration,
    ) -> Result<(), Error> {
        match self.write_freeze("1") {
            Err(errno) if !file::is_gone(errno) => return Err(self.at("freeze")(errno.into())),
            _ => {}
        }
        let ended = self.kill_rounds(events, until);
        self.thaw()?;
        if ended? { Ok(()) } else { Err(self.timeout("to end", deadline)) }
    }

    fn kill_rounds(&self, events: &EventsFile, until: Instant) -> Result<bool, Error> {
        loop {
            self.signal_each(Signal::KILL)?;
            let round = until.min(moment(ROUND));
            let ended = events.wait(round, |now| !now.populated);
            if ended.map_err(|errno| self.at("kill")(errno.into()))? {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
        }
    }
}
