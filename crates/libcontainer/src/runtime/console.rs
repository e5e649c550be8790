//! Sockets that take the terminal or a pidfd (`--console-socket`, `--pidfd-socket`).
//!
//! Runs in: runtime.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::error::Error;

/// `struct sockaddr_un` has room for a path of 108 bytes with its NUL.
const SUN_PATH: usize = 108;

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
    if path.as_os_str().len() < SUN_PATH {
        return UnixStream::connect(path).map(Into::into);
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags =
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, rustix::fs::Mode::empty())?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&directory);
    let through_fd = Path::new("/proc/thread-self/fd").join(number.to_string()).join(name);
    UnixStream::connect(through_fd).map(Into::into)
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
