//! How many instructions a program executes in user space, by single steps: valgrind knows neither pidfd_open(2) nor programs that
//! execute themselves from a memory file, and a virtual machine seldom has a counter.
//!
//! Runs in: any process.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Result, bail, ensure};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A step takes microseconds; this many a minute or so.
const MOST: u64 = 20_000_000;

/// Of the process itself, from its first instruction. One with threads is an error: what they do is not seen. A step of a repeated
/// instruction (`rep movsb`) counts as one.
pub fn count(words: &[String]) -> Result<u64> {
    // By this name it is there also when cargo has built another one meanwhile.
    let mut traced = Command::new("/proc/self/exe");
    traced.arg("traced").args(words);
    traced.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // From here on the child is waited for as a tracee; dropping a `Child` does nothing.
    let pid = Pid::from_raw(i32::try_from(traced.spawn()?.id())?);
    let mut steps = 0;
    loop {
        match waitpid(pid, Some(WaitPidFlag::__WALL))? {
            WaitStatus::Exited(_, 0) => return Ok(steps),
            WaitStatus::Stopped(_, Signal::SIGTRAP) => ptrace::step(pid, None)?,
            WaitStatus::Stopped(_, signal) => ptrace::step(pid, Some(signal))?,
            other => bail!("{other:?}"),
        }
        steps += 1;
        if steps % 4096 == 0
            && let Err(error) = may_go_on(pid, steps)
        {
            ptrace::kill(pid)?;
            waitpid(pid, Some(WaitPidFlag::__WALL))?;
            return Err(error);
        }
    }
}

fn may_go_on(pid: Pid, steps: u64) -> Result<()> {
    ensure!(steps < MOST, "more than {MOST} instructions");
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map(Iterator::count).unwrap_or(0);
    ensure!(threads < 2, "it has threads");
    Ok(())
}
