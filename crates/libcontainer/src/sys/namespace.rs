//! Questions about namespaces (`ioctl_nsfs(2)`).
//!
//! Runs in: runtime.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `NS_GET_NSTYPE` of `<linux/nsfs.h>`: `_IO(0xb7, 0x3)`.
const NS_GET_NSTYPE: libc::c_ulong = 0xb703;

/// The one `CLONE_NEW*` bit of the namespace that `namespace` is open on.
///
/// # Errors
/// ENOTTY when it is no namespace.
pub fn kind(namespace: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: NS_GET_NSTYPE takes no argument and writes no memory; the fd is borrowed and so open.
    let kind = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE as _) };
    u32::try_from(kind).map_err(|_| io::Error::last_os_error())
}
