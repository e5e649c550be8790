//! Connections to listening unix sockets, whose owners may be slow, or stopped.
//!
//! Runs in: runtime.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Connects a stream socket: connect(2) waits for a place in the listener's queue as long as SO_SNDTIMEO says. That stays, for
/// what is sent after.
///
/// # Errors
/// ETIMEDOUT: there was no place until then.
pub(crate) fn connect(address: &SocketAddrUnix, until: Instant) -> rustix::io::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Errno::TIMEDOUT);
        }
        set_socket_timeout(&socket, Timeout::Send, Some(left))?;
        match rustix::net::connect(&socket, address) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            result => return result.map(|()| socket),
        }
    }
}
