//! Questions about namespaces (`ioctl_nsfs(2)`), and which one a socket is in.
//!
//! Runs in: runtime.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `NS_GET_NSTYPE` of `<linux/nsfs.h>`: `_IO(0xb7, 0x3)`.
const NS_GET_NSTYPE: libc::c_ulong = 0xb703;

/// `NS_GET_PARENT` of `<linux/nsfs.h>`: `_IO(0xb7, 0x2)`.
const NS_GET_PARENT: libc::c_ulong = 0xb702;

/// `SIOCGSKNS` of `<linux/sockios.h>`.
const SIOCGSKNS: libc::c_ulong = 0x894c;

/// The namespace above a pid or user namespace.
///
/// # Errors
/// EPERM: it is above our own; EINVAL: namespaces of this kind have no parents.
pub fn parent(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    asked(namespace, NS_GET_PARENT)
}

/// The network namespace that a socket is in.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN in the user namespace that owns it.
pub fn of_socket(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    asked(socket, SIOCGSKNS)
}

/// A namespace that one of these two ioctls opens, close-on-exec.
fn asked(file: BorrowedFd<'_>, request: libc::c_ulong) -> io::Result<OwnedFd> {
    // SAFETY: neither request takes an argument or writes memory; the fd is borrowed and so open.
    let namespace = unsafe { libc::ioctl(file.as_raw_fd(), request as _) };
    if namespace < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the ioctl succeeded, so this is a new fd (`open_related_ns` in the kernel's nsfs) that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(namespace) })
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
