//! The listener of a filter that notifies: from the process that has loaded the filter to the agent.
//!
//! The process says before it loads the filter which number the listener will have, and from then on need not do anything
//! for us: whatever calls the profile stops, the runtime takes the listener by pidfd_getfd(2) as soon as it is there.
//!
//! Runs in: runtime.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use serde::Serialize;

use super::console;
use super::link::Link;
use crate::error::Error;
use crate::plan::Listener;
use crate::state::{HookState, Record, Status};

const POINTER: &str = "/linux/seccomp/listenerPath";
/// Loading a filter takes some 60 µs.
const PAUSE: Duration = Duration::from_micros(50);
const DEADLINE: Duration = Duration::from_secs(10);

/// config-linux.md, "The Container Process State".
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: HookState<'a>,
}

/// Connects to the agent.
///
/// # Errors
/// [`Error::Property`].
pub(crate) fn connect(listener: &Listener) -> Result<OwnedFd, Error> {
    console::connect_to(&listener.path).map_err(|error| {
        problem(format!(
            "failed to connect with seccomp agent at {}: {error}",
            listener.path.display()
        ))
    })
}

/// Takes the listener with `number` out of the process, as soon as it is there; `None`: the process has failed, or died.
///
/// # Errors
/// [`Error::Os`], [`Error::Timeout`].
pub(crate) fn take(
    pidfd: BorrowedFd<'_>,
    number: i32,
    link: &Link,
) -> Result<Option<OwnedFd>, Error> {
    let end = Instant::now() + DEADLINE;
    loop {
        match pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty()) {
            Ok(fd) => return check(fd).map(Some),
            // Not loaded yet.
            Err(Errno::BADF) => {}
            Err(Errno::SRCH) => return Ok(None),
            Err(errno) => return Err(Error::os("pidfd_getfd of the filter's listener", errno)),
        }
        // The next thing it says is that it is ready, after it has loaded the filter, or that it has failed.
        if link.has_message(PAUSE) {
            let late = pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty());
            return late.ok().map(check).transpose();
        }
        if Instant::now() > end {
            let what = "the listener of the system call filter".into();
            return Err(Error::Timeout { what, seconds: DEADLINE.as_secs() });
        }
    }
}

/// Whether it is what it should be: nothing else of the process is to reach the agent.
fn check(fd: OwnedFd) -> Result<OwnedFd, Error> {
    let link = format!("/proc/thread-self/fd/{}", fd.as_raw_fd());
    let target =
        rustix::fs::readlink(&link, Vec::new()).map_err(|errno| Error::os(&link, errno))?;
    if target.as_bytes() == b"anon_inode:seccomp notify" {
        return Ok(fd);
    }
    Err(Error::os("pidfd_getfd: another file than the filter's listener", Errno::BADF))
}

/// What the agent is told; pids of the process that loads the filter and of init, and the status meanwhile.
///
/// # Errors
/// [`Error::Os`].
pub(crate) fn state(
    listener: &Listener,
    record: &Record,
    (pid, init, status): (i32, i32, Status),
) -> Result<Vec<u8>, Error> {
    let state = ContainerProcessState {
        oci_version: &record.oci_version,
        fds: ["seccompFd"],
        pid,
        metadata: &listener.metadata,
        state: HookState {
            oci_version: &record.oci_version,
            id: &record.id,
            status,
            pid: Some(init),
            bundle: &record.bundle,
            annotations: &record.annotations,
        },
    };
    serde_json::to_vec(&state)
        .map_err(|error| Error::os("encode the state for the seccomp agent", error))
}

/// Sends `state` and the listener to the agent. The descriptor goes with the first message; what does not fit into that comes
/// after (config-linux.md).
///
/// # Errors
/// [`Error::Property`].
pub(crate) fn send(
    agent: &OwnedFd,
    listener: &Listener,
    state: &[u8],
    fd: &OwnedFd,
) -> Result<(), Error> {
    let failed = |error: io::Error| {
        let agent = listener.path.display();
        problem(format!("send the listener to the seccomp agent at {agent}: {error}"))
    };
    let mut sent = console::send_fd(agent.as_fd(), state, fd.as_fd()).map_err(failed)?;
    while let Some(rest) = state.get(sent..).filter(|rest| !rest.is_empty()) {
        let more = rustix::net::send(agent, rest, SendFlags::NOSIGNAL);
        sent += more.map_err(|errno| failed(errno.into()))?;
    }
    Ok(())
}

fn problem(problem: String) -> Error {
    Error::Property { pointer: POINTER.into(), problem }
}
