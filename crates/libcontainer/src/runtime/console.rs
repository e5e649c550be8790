//! Sockets that take the terminal or a pidfd (`--console-socket`, `--pidfd-socket`).
//!
//! Runs in: runtime.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};

use crate::error::Error;
use crate::socket;

/// `struct sockaddr_un` has room for a path of 108 bytes with its NUL.
const SUN_PATH: usize = 108;
/// How long who listens may take to make room, and then to read.
const DEADLINE: Duration = Duration::from_secs(10);

/// Connects to the listening `AF_UNIX` stream socket at `path`. Longer paths than an address can hold are reached
/// through a directory fd, without a change of this process's working directory.
pub(crate) fn connect(flag: &'static str, path: &Path) -> Result<OwnedFd, Error> {
    connect_to(path).map_err(|error| Error::Argument {
        flag,
        problem: format!("connect to {}: {error}", path.display()),
    })
}

/// As [`connect`], for a path that no flag has given.
pub(crate) fn connect_to(path: &Path) -> io::Result<OwnedFd> {
    connect_within(path, DEADLINE)
}

fn connect_within(path: &Path, deadline: Duration) -> io::Result<OwnedFd> {
    let until = Instant::now() + deadline;
    if path.as_os_str().len() < SUN_PATH {
        return Ok(socket::connect(&SocketAddrUnix::new(path)?, until)?);
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags =
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, rustix::fs::Mode::empty())?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&directory);
    let through_fd = Path::new("/proc/thread-self/fd").join(number.to_string()).join(name);
    Ok(socket::connect(&SocketAddrUnix::new(through_fd)?, until)?)
}

/// Two connected stream sockets.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Error> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|errno| Error::Os {
            call: "socketpair for the terminal".into(),
            source: errno.into(),
        })
}

/// Sends `fd` over `socket` in one message with this payload: how much of that has gone.
pub(crate) fn send_fd(
    socket: BorrowedFd<'_>,
    payload: &[u8],
    fd: BorrowedFd<'_>,
) -> io::Result<usize> {
    let fds = [fd.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let payload = [IoSlice::new(payload)];
    Ok(rustix::net::sendmsg(socket, &payload, &mut ancillary, SendFlags::NOSIGNAL)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_to_a_full_queue_ends_at_the_deadline() {
        const MOMENT: Duration = Duration::from_millis(100);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let kind = SocketType::STREAM;
        let listener = rustix::net::socket(AddressFamily::UNIX, kind, None).unwrap();
        rustix::net::bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let _queued = connect_to(&path).unwrap();
        let begin = Instant::now();
        let error = connect_within(&path, MOMENT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        assert!(begin.elapsed() >= MOMENT);
        rustix::net::accept(&listener).unwrap();
        connect_within(&path, MOMENT).unwrap();
    }

    #[test]
    fn connect_reaches_a_path_that_no_address_can_hold() {
        let directory = tempfile::tempdir().unwrap();
        let long = directory.path().join("d".repeat(SUN_PATH));
        std::fs::create_dir(&long).unwrap();
        let missing = connect_to(&long.join("socket")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound, "{missing}");
        let short = directory.path().join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&short).unwrap();
        std::fs::rename(&short, long.join("socket")).unwrap();
        connect_to(&long.join("socket")).unwrap();
        drop(listener);
    }
}
