//! The hook that runs now: what it takes to end it, and all that it has started, after its runtime was killed.
//!
//! The kernel kills the hook itself then (`PR_SET_PDEATHSIG`), but not its children. So the runtime writes down the boot and the time,
//! and the hook's process which one it is before it executes the hook; `delete` kills who is in the session and process group of that
//! number and is not older. A child that has left the group (`setsid`, a daemon) is not found.
//!
//! Runs in: runtime.

use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::{ProcessStat, StateDir, boot_id};
use crate::error::Error;
use crate::host;
use crate::send::send_to;

/// Those that run in the runtime's namespaces.
const KINDS: [&str; 4] = ["prestart", "createRuntime", "poststart", "poststop"];
/// How long killed processes may take to be gone.
const KILL_DEADLINE: Duration = Duration::from_secs(2);
/// How long the kernel may take to kill a hook when its runtime is killed.
const LEADER_DEADLINE: Duration = Duration::from_millis(100);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

impl StateDir {
    /// A new file for the announcement of a hook of this kind, which is to follow what is in it; `None` where the container was deleted
    /// meanwhile.
    ///
    /// # Errors
    /// [`Error::State`].
    pub fn record_hook(&self, kind: &str) -> Result<Option<OwnedFd>, Error> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(self.fd(), file_name(kind), flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => {
                let written = rustix::io::write(&file, &header(boot_id()?, now()));
                written.map_err(|errno| self.failed("write", &file_name(kind), errno))?;
                Ok(Some(file))
            }
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
            let mut bytes = [0; 128];
            let count = rustix::io::read(&file, &mut bytes)
                .map_err(|errno| self.failed("read", &name, errno))?;
            if let Some(hook) = Announced::parse(bytes.split_at(count).0, boot_id()?) {
                hook.kill_group(kind)?;
            }
            self.forget_hook(kind);
            Ok(())
        })
    }
}

fn file_name(kind: &str) -> String {
    format!("{kind}.hook")
}

/// What the runtime writes before the hook's process writes its pid, an `isize`. The boot id comes first: an older release takes the
/// first eight bytes for a pid, and finds that they are none.
fn header(boot_id: &str, now: u64) -> Vec<u8> {
    [boot_id.as_bytes(), &now.to_ne_bytes()].concat()
}

/// The time as in field 22 of `/proc/PID/stat`: what is started from now on has no lower one there.
fn now() -> u64 {
    /// `USER_HZ` is 100 on all that we run on (include/asm-generic/param.h).
    const TICK: u64 = 1_000_000_000 / 100;
    // Rounded as `nsec_to_clock_t` in kernel/time/time.c does it.
    let time = clock_gettime(ClockId::Boottime);
    let part = |value: i64| u64::try_from(value).unwrap_or_default();
    part(time.tv_sec) * 100 + part(time.tv_nsec) / TICK
}

/// A hook of this boot that was at work when its runtime was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Announced {
    pid: i32,
    /// No process of it has a lower one.
    start_time: u64,
}

impl Announced {
    /// `None`: the runtime was killed before the hook was executed; it was before the machine's boot; or an older release has written
    /// nothing but the pid, of which nobody knows whose it is by now.
    fn parse(content: &[u8], boot_id: &str) -> Option<Self> {
        let (start_time, pid) = content.strip_prefix(boot_id.as_bytes())?.split_at_checked(8)?;
        let start_time = u64::from_ne_bytes(start_time.try_into().ok()?);
        let pid = i32::try_from(isize::from_ne_bytes(pid.try_into().ok()?)).ok()?;
        (pid > 1).then_some(Self { pid, start_time })
    }

    /// Kills the group of a hook that has ended with its runtime. One that lives is left: its runtime lives, too, and ends it; or
    /// the number is another process's by now, which cannot be as long as the group has a process.
    fn kill_group(&self, kind: &str) -> Result<(), Error> {
        let hook = self.pid;
        if !wait_until(LEADER_DEADLINE, || Ok(!is_alive(hook)))? {
            return Ok(());
        }
        if wait_until(KILL_DEADLINE, || self.kill_members(kind).map(|count| count == 0))? {
            return Ok(());
        }
        let what = format!("the processes of a {kind} hook (group {hook}) to end");
        Err(Error::Timeout { what, seconds: KILL_DEADLINE.as_secs() })
    }

    /// Kills each of them that is found, and says how many there were.
    fn kill_members(&self, kind: &str) -> Result<usize, Error> {
        let mut pids = host::all_pids()?;
        pids.retain(|pid| self.has(*pid));
        for pid in &pids {
            send_to(*pid, libc::SIGKILL, || self.has(*pid)).map_err(|errno| {
                Error::os(format!("kill process {pid} of a {kind} hook"), errno)
            })?;
        }
        Ok(pids.len())
    }

    /// Whether it is of the hook, which was the leader of its session, and lives: a zombie is killed already.
    fn has(&self, pid: i32) -> bool {
        ProcessStat::read(pid).is_ok_and(|stat| {
            (stat.group, stat.session) == (self.pid, self.pid)
                && stat.start_time >= self.start_time
                && !stat.is_zombie
        })
    }
}

fn wait_until(deadline: Duration, holds: impl Fn() -> Result<bool, Error>) -> Result<bool, Error> {
    let until = Instant::now() + deadline;
    while !holds()? {
        if Instant::now() >= until {
            return Ok(false);
        }
        sleep(PAUSE);
    }
    Ok(true)
}

fn is_alive(pid: i32) -> bool {
    ProcessStat::read(pid).is_ok_and(|stat| !stat.is_zombie)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcement_is_read_back() {
        let whole = [header("boot", 17).as_slice(), &4242_isize.to_ne_bytes()].concat();
        let hook = Announced { pid: 4242, start_time: 17 };
        assert_eq!(Announced::parse(&whole, "boot"), Some(hook));
        assert_eq!(Announced::parse(&whole, "book"), None);
    }

    #[test]
    fn what_names_no_process_is_none() {
        for pid in [-1_isize, 0, 1, isize::MAX] {
            let whole = [header("boot", 17).as_slice(), &pid.to_ne_bytes()].concat();
            assert_eq!(Announced::parse(&whole, "boot"), None, "{pid}");
        }
        assert_eq!(Announced::parse(&header("boot", 17), "boot"), None);
        assert_eq!(Announced::parse(&4242_isize.to_ne_bytes(), "boot"), None);
    }

    #[test]
    fn clock_is_that_of_the_start_times() {
        let before = now();
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let after = now();
        let started = ProcessStat::read(child.id().try_into().unwrap()).unwrap().start_time;
        child.kill().unwrap();
        child.wait().unwrap();
        assert!((before..=after).contains(&started), "{started} is not of {before} to {after}");
    }
}
