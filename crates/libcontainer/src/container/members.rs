//! The processes of a container that has no cgroup of its own: those of its pid namespace, and of the namespaces below that.
//!
//! Where it shares the pid namespace of others, nothing tells them apart: then only init can be signalled, as runc has it.
//!
//! Runs in: runtime.

use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;

use super::kill::KILL_DEADLINE;
use super::{Container, LiveInit};
use crate::error::Error;
use crate::host;
use crate::send;
use crate::signal::Signal;
use crate::state::Status;
use crate::sys::namespace;

impl Container {
    /// Their pids, ascending.
    pub(super) fn members(&self, init: &LiveInit) -> Result<Vec<i32>, Error> {
        if !self.record.private_pid_namespace {
            return Err(self.wrong_status(None, format!(
                "cannot tell the processes of container {} from others: it has neither a cgroup nor a pid namespace of its own",
                self.id()
            )));
        }
        let Some(own) = namespace_of(init.pid) else { return Ok(Vec::new()) };
        // Only while init lives is this its namespace, and not that of another process which has its number.
        if init.has_ended() {
            return Ok(Vec::new());
        }
        let mut pids: Vec<i32> =
            host::all_pids()?.into_iter().filter(|pid| is_in(*pid, own)).collect();
        pids.sort_unstable();
        Ok(pids)
    }

    /// `kill --all`, and SIGKILL for who shares a pid namespace.
    pub(super) fn kill_members(&self, signal: Signal, may_be_empty: bool) -> Result<(), Error> {
        let Some(init) = self.observe()?.1 else {
            return if may_be_empty { Ok(()) } else { Err(self.not_running(Status::Stopped)) };
        };
        if !self.record.private_pid_namespace {
            log::warn!(
                "container {} has neither a cgroup nor a pid namespace of its own: only its init gets {signal}",
                self.id()
            );
            return send_to_init(&init, signal);
        }
        if signal == Signal::KILL {
            // The end of the namespace's init is the end of all in it (pid_namespaces(7)).
            send_to_init(&init, signal)?;
            return wait_for_end(&init);
        }
        let Some(own) = namespace_of(init.pid) else { return Ok(()) };
        for pid in self.members(&init)? {
            let sent = send::send_to(pid, signal.number(), || is_in(pid, own));
            sent.map_err(|errno| not_sent(signal, errno))?;
        }
        Ok(())
    }
}

/// Waits until a killed init is no more, and with it all of its pid namespace.
pub(super) fn wait_for_end(init: &LiveInit) -> Result<(), Error> {
    if init.ends_within(KILL_DEADLINE) {
        return Ok(());
    }
    let what = format!("init (process {}) of the container to end", init.pid);
    Err(Error::Timeout { what, seconds: KILL_DEADLINE.as_secs() })
}

fn send_to_init(init: &LiveInit, signal: Signal) -> Result<(), Error> {
    match send::send_signal(init.pidfd.as_fd(), signal.number()) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(not_sent(signal, errno)),
    }
}

fn not_sent(signal: Signal, errno: Errno) -> Error {
    Error::os(format!("send {signal} to a process of the container"), errno)
}

/// Device and inode of a namespace.
type Identity = (u64, u64);

fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

fn namespace_of(pid: i32) -> Option<Identity> {
    rustix::fs::stat(format!("/proc/{pid}/ns/pid")).ok().map(|stat| identity(&stat))
}

/// Whether the process is in the pid namespace, or in one below it. One that we may not look at is not: it is of another user.
fn is_in(pid: i32, own: Identity) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(format!("/proc/{pid}/ns/pid"), flags, Mode::empty()).ok();
    // The parent of the topmost that we can see is refused (ioctl_nsfs(2)).
    let mut next = opened;
    while let Some(namespace) = next {
        if rustix::fs::fstat(&namespace).is_ok_and(|stat| identity(&stat) == own) {
            return true;
        }
        next = namespace::parent(namespace.as_fd()).ok();
    }
    false
}
