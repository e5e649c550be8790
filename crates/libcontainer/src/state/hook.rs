//! The hook that runs now: what it takes to end it, and all that it has started, after its runtime was killed.
//!
//! The kernel kills the hook itself then (`PR_SET_PDEATHSIG`), but not its children. So its process writes down which one it
//! is before it executes the hook, and a forced `delete` kills the process group of that number. A child that has left the group
//! (`setsid`, a daemon) is not found.
//!
//! Runs in: runtime.

use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::{ProcessStat, StateDir};
use crate::error::Error;

/// Those that run in the runtime's namespaces.
const KINDS: [&str; 4] = ["prestart", "createRuntime", "poststart", "poststop"];
/// How long killed processes may take to be gone.
const KILL_DEADLINE: Duration = Duration::from_secs(2);
/// How long the kernel may take to kill a hook when its runtime is killed.
const LEADER_DEADLINE: Duration = Duration::from_millis(100);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

impl StateDir {
    /// A new, empty file for the announcement of a hook of this kind; `None` where the container was deleted meanwhile.
    ///
    /// # Errors
    /// [`Error::State`].
    pub fn record_hook(&self, kind: &str) -> Result<Option<OwnedFd>, Error> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(self.fd(), file_name(kind), flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.failed("create", &file_name(kind), errno)),
        }
    }

    /// The hook has ended: what it has left behind lives on.
    pub fn forget_hook(&self, kind: &str) {
        match rustix::fs::unlinkat(self.fd(), file_name(kind), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            // The directory is removed with all that is in it.
            Err(errno) => log::debug!("remove {}: {errno}", file_name(kind)),
        }
    }

    /// Kills what is left of hooks whose runtime was killed, and waits until it is gone.
    ///
    /// # Errors
    /// [`Error::State`]: a record cannot be read; [`Error::Timeout`].
    pub fn kill_hooks(&self) -> Result<(), Error> {
        KINDS.into_iter().try_for_each(|kind| {
            let name = file_name(kind);
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = match rustix::fs::openat(self.fd(), &name, flags, Mode::empty()) {
                Err(Errno::NOENT) => return Ok(()),
                opened => opened.map_err(|errno| self.failed("open", &name, errno))?,
            };
            let mut bytes = [0; size_of::<isize>()];
            let count = rustix::io::read(&file, &mut bytes)
                .map_err(|errno| self.failed("read", &name, errno))?;
            // Shorter: the runtime was killed before the hook was executed.
            if count == bytes.len() {
                kill_group(kind, isize::from_ne_bytes(bytes))?;
            }
            self.forget_hook(kind);
            Ok(())
        })
    }
}

fn file_name(kind: &str) -> String {
    format!("{kind}.hook")
}

/// Kills the group of a hook that has ended with its runtime. One that lives is left: its runtime lives, too, and ends it; or
/// the number is another process's by now, which cannot be as long as the group has a process.
fn kill_group(kind: &str, hook: isize) -> Result<(), Error> {
    // kill(2) takes -1 for every process that there is.
    let group = i32::try_from(hook).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw);
    let Some(group) = group else { return Ok(()) };
    if !wait_until(LEADER_DEADLINE, || !is_alive(hook)) {
        return Ok(());
    }
    match rustix::process::kill_process_group(group, Signal::KILL) {
        Err(Errno::SRCH) => return Ok(()),
        Err(errno) => {
            let call = format!("kill the process group {hook} of a {kind} hook");
            return Err(Error::Os { call, source: errno.into() });
        }
        Ok(()) => {}
    }
    if wait_until(KILL_DEADLINE, || !is_populated(group)) {
        return Ok(());
    }
    let what = format!("the processes of a {kind} hook (group {hook}) to end");
    Err(Error::Timeout { what, seconds: KILL_DEADLINE.as_secs() })
}

fn wait_until(deadline: Duration, holds: impl Fn() -> bool) -> bool {
    let until = Instant::now() + deadline;
    while !holds() {
        if Instant::now() >= until {
            return false;
        }
        sleep(PAUSE);
    }
    true
}

fn is_alive(pid: isize) -> bool {
    i32::try_from(pid).is_ok_and(|pid| ProcessStat::read(pid).is_ok_and(|stat| !stat.is_zombie))
}

/// Whether a process of the group is alive: zombies answer kill(2), too, until they are reaped.
fn is_populated(group: Pid) -> bool {
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let alive = |stat: ProcessStat| stat.group == group.as_raw_nonzero().get() && !stat.is_zombie;
    pids.filter_map(|pid| ProcessStat::read(pid).ok()).any(alive)
}
