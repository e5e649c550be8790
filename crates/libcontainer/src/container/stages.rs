//! What the runtime does while the first process waits, before there is an init: the cgroup, the ids, the second stage.
//!
//! Runs in: runtime.

use std::os::fd::{AsFd, OwnedFd};

use corten_plan::{Op, Point};

use super::ContainerProcess;
use super::conversation::{failure, init_died};
use super::launch::Start;
use super::undo::{Undo, kill_and_reap};
use crate::error::Error;
use crate::plan::InitPlan;
use crate::runtime::link::{Link, Message};
use crate::runtime::user_namespace;

/// Gives a process in a new user namespace its ids, or looks whether it has those that config.json says.
pub(super) fn see_to_ids(what: &Start<'_>, process: &ContainerProcess) -> Result<(), Error> {
    if let Some(maps) = &what.spawn.id_maps {
        user_namespace::map_container(process.pid, process.pidfd(), maps)?;
    }
    if let Some(maps) = &what.spawn.joined_id_maps {
        user_namespace::compare_maps(process.pid, maps)?;
    }
    lend_privileges(what.init, process.pid);
    Ok(())
}

/// Does what the first process waits for at this point: it has no second stage yet.
pub(super) fn at_point(
    what: &Start<'_>,
    link: &Link,
    process: &ContainerProcess,
    (point, waited_for): (Point, &str),
    act: &dyn Fn() -> Result<(), Error>,
) -> Result<(), Error> {
    let undo = Undo::new(process, kill_and_reap);
    loop {
        match link.receive_new(waited_for)? {
            Message::Reached(reached) if reached == point => break,
            // What was kept is the reason.
            Message::Closed => return Err(first_stage_failure(what.init, link)),
            other => link.keep(other),
        }
    }
    act()?;
    link.go(0, None)?;
    undo.disarm();
    Ok(())
}

/// Raising a limit and lowering `oom_score_adj` take CAP_SYS_RESOURCE in the initial user namespace, which init does not have in
/// its own. Where the runtime has not got it either, init will say what it is for.
fn lend_privileges(plan: &InitPlan, pid: i32) {
    for (_, op) in plan.ops() {
        let (what, done) = match op {
            Op::Rlimit { resource, hard, .. } => {
                ("raise a limit", crate::sys::limit::raise(pid, resource, hard))
            }
            Op::OomScoreAdj { adjustment } => {
                let path = format!("/proc/{pid}/oom_score_adj");
                ("set the oom score", std::fs::write(path, adjustment.to_bytes()))
            }
            _ => continue,
        };
        if let Err(error) = done {
            log::debug!("{what} of init: {error}");
        }
    }
}

/// The first stage has joined and unshared; it makes init, says so, and ends.
pub(super) fn second_stage(
    plan: &InitPlan,
    link: &Link,
    first: ContainerProcess,
) -> Result<ContainerProcess, Error> {
    let undo = Undo::new(&first, kill_and_reap);
    let pidfd = loop {
        match link.receive_new("the first stage of container init")? {
            Message::Forked(pidfd) => break pidfd,
            // Nobody is left who could say more: what was kept is the reason.
            Message::Closed => return Err(first_stage_failure(plan, link)),
            other => link.keep(other),
        }
    };
    let pid = pid_of(&pidfd)?;
    let init = ContainerProcess { pid, pidfd };
    let undo_init = Undo::new(&init, kill_and_reap);
    // It exits at once after that frame. ECHILD: the caller's own wait has reaped it.
    match first.wait() {
        Err(Error::Os { source, .. }) if source.raw_os_error() == Some(libc::ECHILD) => {}
        waited => drop(waited?),
    }
    undo.disarm();
    undo_init.disarm();
    Ok(init)
}

fn first_stage_failure(plan: &InitPlan, link: &Link) -> Error {
    loop {
        match link.receive("the first stage of container init") {
            Ok(Message::Failed(frame)) => return failure(plan, &*frame),
            Ok(Message::Closed) | Err(_) => return init_died("has ended in its first stage"),
            Ok(_) => {}
        }
    }
}

/// The pid that a pidfd refers to, in this process's pid namespace; before Linux 6.13 from the Pid line of its fdinfo
/// (`pidfd_open(2)`).
fn pid_of(pidfd: &OwnedFd) -> Result<i32, Error> {
    if let Some(pid) = crate::sys::pidfd::pid(pidfd.as_fd()) {
        return Ok(pid);
    }
    let path = format!("/proc/thread-self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(pidfd));
    let info = std::fs::read_to_string(&path).map_err(|error| Error::os(&path, error))?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    pid.and_then(|pid| pid.trim().parse().ok())
        .filter(|pid| *pid > 0)
        .ok_or_else(|| init_died("is gone"))
}
