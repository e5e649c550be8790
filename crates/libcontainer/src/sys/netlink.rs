//! What netlink sockets need beyond send and receive.
//!
//! Runs in: runtime.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `NETLINK_EXT_ACK` and `NETLINK_CAP_ACK`: an error comes with the kernel's words, and without the request.
///
/// # Errors
/// It is no netlink socket.
pub fn explain_errors(socket: BorrowedFd<'_>) -> io::Result<()> {
    for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
        let on: libc::c_int = 1;
        let value = (&raw const on).cast();
        // SAFETY: the kernel reads an int from `on`, whose size is given.
        let result = unsafe {
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_NETLINK, option, value, INT_SIZE)
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

const INT_SIZE: libc::socklen_t = 4;
