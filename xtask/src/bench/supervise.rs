//! The process that only waits for the bench, and removes what it leaves, whatever ended it.
//!
//! Runs in: any process.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::scene;
use crate::machine;

/// Starts this program again for the work, in a directory of its own; a signal ends that, not this.
pub fn run() -> Result<()> {
    ensure!(machine::is_root(), "the bench makes containers, mounts and cgroups: run it as root");
    machine::busybox()?;
    let directory = tempfile::Builder::new().prefix("corten-bench-").tempdir()?;
    // What the meter, or a runtime that was ended in the middle, leaves comes to us.
    set_child_subreaper(true)?;
    let signals = [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
    let set: SigSet = signals.into_iter().collect();
    set.thread_block()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).arg("--scene").arg(directory.path());
    // std starts it with no signal blocked.
    let mut child = command.spawn()?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if set.wait()? != Signal::SIGCHLD {
            kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGKILL)?;
        }
    };
    end_children()?;
    scene::remove_cgroup(directory.path())?;
    directory.close().context("the bench's directory")?;
    ensure!(status.success(), "the bench ended before it was through ({status})");
    Ok(())
}

/// Kills all children, and the children that become ours by that, until there is none.
fn end_children() -> Result<()> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
            Ok(WaitStatus::StillAlive) => {}
            Ok(_) => continue,
            Err(Errno::ECHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let me = std::process::id();
        let children = fs::read_to_string(format!("/proc/self/task/{me}/children"))?;
        for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            // It may have ended since.
            kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
        }
        sleep(Duration::from_millis(2));
    }
}
