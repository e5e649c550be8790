//! The processes of a cgroup, and signals to all of them.
//!
//! Runs in: runtime.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use super::events::{EventsFile, moment};
use super::tree::{Step, walk};
use super::{Cgroup, file};
use crate::error::Error;
use crate::send::send_signal;
use crate::signal::Signal;

/// How long processes have to freeze before they are signalled. One in uninterruptible sleep does not freeze, and is
/// signalled all the same.
const FREEZE_FOR_SIGNAL: Duration = Duration::from_secs(1);

impl Cgroup {
    /// The pids in it and below, ascending; of a cgroup that is gone: none. Processes that our pid namespace does not
    /// show are left out ([`Cgroup::is_populated`] knows of them).
    ///
    /// # Errors
    /// [`Error::Cgroup`].
    pub fn processes(&self) -> Result<Vec<i32>, Error> {
        let mut pids = BTreeSet::new();
        let walked = walk(&self.directory, |step| match step {
            Step::Enter(cgroup) => read_processes(cgroup, &mut pids),
            Step::Leave { .. } => Ok(()),
        });
        match walked {
            Ok(()) => Ok(pids.into_iter().collect()),
            Err(errno) if file::is_gone(errno) => Ok(Vec::new()),
            Err(errno) => Err(self.at("read cgroup.procs")(errno.into())),
        }
    }

    /// Sends `signal` to every process in it and below, without waiting for the effect. They are frozen meanwhile, so that
    /// none forks away, and thawed after, whatever happened; a cgroup that was frozen before stays so.
    ///
    /// # Errors
    /// [`Error::Cgroup`].
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        let was_frozen = self.is_frozen()?;
        if !was_frozen {
            self.freeze_for_signal()?;
        }
        let sent = self.signal_each(signal);
        let thawed = if was_frozen { Ok(()) } else { self.thaw() };
        sent.and(thawed)
    }

    fn freeze_for_signal(&self) -> Result<(), Error> {
        let frozen = self.write_freeze("1").and_then(|()| {
            let events = EventsFile::open(&self.directory)?;
            let until = moment(FREEZE_FOR_SIGNAL);
            events.map_or(Ok(true), |file| file.wait(until, |now| now.frozen || !now.populated))
        });
        match frozen {
            Ok(true) => Ok(()),
            Ok(false) => {
                log::debug!("cgroup {}: some process does not freeze", self.path.display());
                Ok(())
            }
            Err(errno) => {
                let error = self.at("freeze")(errno.into());
                self.thaw()?;
                Err(error)
            }
        }
    }

    /// Sends `signal` to each process. A pid that was freed and given to somebody else between reading and opening it is
    /// not in the list that is read after.
    pub(super) fn signal_each(&self, signal: Signal) -> Result<(), Error> {
        let opened: Vec<(i32, OwnedFd)> =
            self.processes()?.into_iter().filter_map(|pid| Some((pid, open(pid)?))).collect();
        let still_there = self.processes()?;
        let ours = opened.iter().filter(|(pid, _)| still_there.binary_search(pid).is_ok());
        for (pid, pidfd) in ours {
            match send_signal(pidfd.as_fd(), signal.number()) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => {
                    return Err(self.at(&format!("send {signal} to {pid}"))(errno.into()));
                }
            }
        }
        Ok(())
    }

    /// Each process with its name and state, for an error that says what does not end.
    pub(super) fn describe_processes(&self) -> String {
        const MOST: usize = 8;
        let pids = self.processes().unwrap_or_default();
        let mut listed: Vec<String> = pids.iter().take(MOST).map(|pid| describe(*pid)).collect();
        if pids.len() > MOST {
            listed.push(format!("{} more", pids.len() - MOST));
        }
        if listed.is_empty() {
            "none that this pid namespace shows".into()
        } else {
            listed.join(", ")
        }
    }
}

/// Adds the pids of one cgroup. A threaded one has no list of processes (EOPNOTSUPP), only of threads.
fn read_processes(cgroup: BorrowedFd<'_>, pids: &mut BTreeSet<i32>) -> rustix::io::Result<()> {
    match file::read(cgroup, "cgroup.procs") {
        Ok(content) => pids.extend(numbers(&content)),
        Err(Errno::OPNOTSUPP) => {
            let threads = file::read(cgroup, "cgroup.threads")?;
            pids.extend(numbers(&threads).filter_map(process_of));
        }
        Err(errno) if file::is_gone(errno) => {}
        Err(errno) => return Err(errno),
    }
    Ok(())
}

/// One number a line; 0 stands for a process of another pid namespace.
fn numbers(content: &[u8]) -> impl Iterator<Item = i32> {
    let lines = content.split(|byte| *byte == b'\n');
    lines.filter_map(|line| str::from_utf8(line).ok()?.parse().ok()).filter(|pid| *pid > 0)
}

/// The process that a thread belongs to.
fn process_of(thread: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

fn open(pid: i32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// `123 (dd, state D)`.
fn describe(pid: i32) -> String {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    match name_and_state(&stat) {
        Some((name, state)) => format!("{pid} ({name}, state {state})"),
        None => pid.to_string(),
    }
}

/// The name is in parentheses and may hold some itself (`proc_pid_stat(5)`).
fn name_and_state(stat: &[u8]) -> Option<(String, char)> {
    let stat = String::from_utf8_lossy(stat);
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let name = name.chars().filter(|letter| !letter.is_control()).collect();
    Some((name, after.trim_start().chars().next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_file_are_read_without_zeros() {
        assert_eq!(numbers(b"12\n0\n345\n").collect::<Vec<_>>(), [12, 345]);
        assert_eq!(numbers(b"").count(), 0);
        assert_eq!(numbers(b"x\n-1\n99999999999\n").count(), 0);
    }

    #[test]
    fn name_with_parentheses_is_read_whole() {
        let stat = b"12 (a) b\n(c) D 1 12 12";
        assert_eq!(name_and_state(stat), Some(("a) b(c".into(), 'D')));
        assert_eq!(name_and_state(b"12 (a)"), None);
        assert_eq!(name_and_state(b""), None);
    }

    #[test]
    fn thread_belongs_to_its_process() {
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        let process = i32::try_from(std::process::id()).unwrap();
        assert_eq!(process_of(thread), Some(process));
    }
}
