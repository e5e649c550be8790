//! Questions about namespaces (`ioctl_nsfs(2)`).
//!
//! Runs in: runtime.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `NS_GET_NSTYPE` of `<linux/nsfs.h>`: `_IO(0xb7, 0x3)`.
const NS_GET_NSTYPE: libc::c_ulong = 0xb703;

/// `NS_GET_PARENT` of `<linux/nsfs.h>`: `_IO(0xb7, 0x2)`.
const NS_GET_PARENT: libc::c_ulong = 0xb702;

/// The namespace above a pid or user namespace.
///
/// # Errors
/// EPERM: it is above our own; EINVAL: namespaces of this kind have no parents.
pub fn parent(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: NS_GET_PARENT takes no argument and writes no memory; the fd is borrowed and so open.
    let parent = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_PARENT as _) };
    if parent < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the ioctl succeeded, so this is a new fd (close-on-exec, as all of nsfs) that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(parent) })
}

/// The one `CLONE_NEW*` bit of the namespace that `namespace` is open on.
///
/// # Errors
/// ENOTTY when it is no namespace.
pub fn kind(namespace: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: NS_GET_NSTYPE takes no argument and writes no memory; the fd is borrowed and so open.
    let kind = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE as _) };
    u32::try_from(kind).map_err(|_| io::Error::last_os_error())
}
