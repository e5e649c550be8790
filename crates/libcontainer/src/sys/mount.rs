//! Attributes of mounts.
//!
//! Runs in: runtime.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `struct mount_attr` of `<linux/mount.h>`.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// `mount_setattr(MOUNT_ATTR_IDMAP)`: the mount that `mount` is open on, and with `recursive` all below it, gets the maps of the
/// user namespace as its id mapping.
///
/// # Errors
/// `mount_setattr(2)`: EINVAL where a file system knows no id-mapped mounts, or the mount is attached already; EPERM without
/// CAP_SYS_ADMIN in the user namespace of the file system, or where the mount has a mapping.
pub fn map_ids(
    mount: BorrowedFd<'_>,
    user_namespace: BorrowedFd<'_>,
    recursive: bool,
) -> io::Result<()> {
    let attr = MountAttr {
        attr_set: MOUNT_ATTR_IDMAP,
        userns_fd: u64::from(user_namespace.as_raw_fd().cast_unsigned()),
        ..MountAttr::default()
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let (fd, size) = (mount.as_raw_fd(), size_of::<MountAttr>());
    // SAFETY: the path is an empty C string; `attr` is a struct mount_attr of the size given; both fds are borrowed and so
    // open.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), flags, &raw const attr, size)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
