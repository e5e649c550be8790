//! Mounts: the new mount API, and what is left of the old one.
//!
//! Runs in: init.

use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, Ordering};

use super::abi::{self, MntIdReq, MountAttr};
use super::{Errno, Fd, FdRef, Result, call};

/// `open_tree`; `OPEN_TREE_CLOEXEC` is added.
pub fn open_tree(dir: FdRef<'_>, path: &CStr, flags: u32) -> Result<Fd> {
    // SAFETY: `path` ends with a NUL and outlives the call.
    unsafe { call!(OPEN_TREE, dir, path, flags | abi::OPEN_TREE_CLOEXEC) }.map(Fd::new)
}

/// Whether the kernel lacks `open_tree_attr`, as those before 6.15 do.
static LACKS_TREE_ATTR: AtomicBool = AtomicBool::new(false);

/// `open_tree_attr`: a clone with these attributes; with `AT_RECURSIVE` all of it has them.
pub fn open_tree_attr(dir: FdRef<'_>, path: &CStr, flags: u32, attr: &MountAttr) -> Result<Fd> {
    if LACKS_TREE_ATTR.load(Ordering::Relaxed) {
        return Err(Errno::ENOSYS);
    }
    let flags = flags | abi::OPEN_TREE_CLONE | abi::OPEN_TREE_CLOEXEC;
    let size = size_of::<MountAttr>();
    // SAFETY: `path` ends with a NUL; `attr` is a `struct mount_attr` of the size given.
    let opened =
        unsafe { call!(OPEN_TREE_ATTR, dir, path, flags, core::ptr::from_ref(attr), size) };
    LACKS_TREE_ATTR.store(opened == Err(Errno::ENOSYS), Ordering::Relaxed);
    opened.map(Fd::new)
}

/// `open_tree` that clones the mount which `fd` is open on; `flags`: 0 or `AT_RECURSIVE`.
pub fn clone_mount(fd: FdRef<'_>, flags: u32) -> Result<Fd> {
    open_tree(fd, c"", flags | abi::OPEN_TREE_CLONE | abi::AT_EMPTY_PATH)
}

/// `move_mount` from fd to fd.
pub fn move_mount(mount: FdRef<'_>, target: FdRef<'_>) -> Result<()> {
    let flags = abi::MOVE_MOUNT_F_EMPTY_PATH | abi::MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are constants that end with a NUL.
    unsafe { call!(MOVE_MOUNT, mount, c"", target, c"", flags) }.map(drop)
}

/// `move_mount` of an fd to a path, which may end in a symbolic link.
pub fn move_mount_to(mount: FdRef<'_>, path: &CStr) -> Result<()> {
    let flags = abi::MOVE_MOUNT_F_EMPTY_PATH | abi::MOVE_MOUNT_T_SYMLINKS;
    // SAFETY: both paths end with a NUL and outlive the call.
    unsafe { call!(MOVE_MOUNT, mount, c"", FdRef::CWD, path, flags) }.map(drop)
}

/// `fsopen`, close-on-exec.
pub fn fsopen(fstype: &CStr) -> Result<Fd> {
    // SAFETY: `fstype` ends with a NUL and outlives the call.
    unsafe { call!(FSOPEN, fstype, abi::FSOPEN_CLOEXEC) }.map(Fd::new)
}

/// `fsconfig` with `FSCONFIG_SET_STRING`, or `FSCONFIG_SET_FLAG` without a value.
pub fn fsconfig_set(context: FdRef<'_>, key: &CStr, value: Option<&CStr>) -> Result<()> {
    let flag = abi::FSCONFIG_SET_FLAG;
    let command = value.map_or(flag, |_| abi::FSCONFIG_SET_STRING);
    // SAFETY: both strings end with a NUL and outlive the call; NULL is what SET_FLAG wants as the value.
    unsafe { call!(FSCONFIG, context, command, key, value, 0u32) }.map(drop)
}

/// `fsconfig` with `FSCONFIG_CMD_CREATE`.
pub fn fsconfig_create(context: FdRef<'_>) -> Result<()> {
    let none: Option<&CStr> = None;
    // SAFETY: the command takes neither key nor value.
    unsafe { call!(FSCONFIG, context, abi::FSCONFIG_CMD_CREATE, none, none, 0u32) }.map(drop)
}

/// `fsmount`, close-on-exec: the detached mount, with `MOUNT_ATTR_*`.
pub fn fsmount(context: FdRef<'_>, attr: u64) -> Result<Fd> {
    // SAFETY: no pointers.
    unsafe { call!(FSMOUNT, context, abi::FSMOUNT_CLOEXEC, attr) }.map(Fd::new)
}

/// `mount_setattr` of `path` below `dir`; `flags`: `AT_EMPTY_PATH`, `AT_RECURSIVE`.
pub fn setattr(dir: FdRef<'_>, path: &CStr, flags: u32, attr: &MountAttr) -> Result<()> {
    let size = size_of::<MountAttr>();
    // SAFETY: `path` ends with a NUL; `attr` is a `struct mount_attr` of the size given.
    unsafe { call!(MOUNT_SETATTR, dir, path, flags, core::ptr::from_ref(attr), size) }.map(drop)
}

/// `listmount` of all that is mounted at or below the root directory of this process: how many ids there was room for.
pub fn list(ids: &mut [u64]) -> Result<usize> {
    let size = u32::try_from(size_of::<MntIdReq>()).unwrap_or(0);
    let request = MntIdReq { size, mnt_id: abi::LSMT_ROOT, ..MntIdReq::default() };
    // SAFETY: `request` is a `struct mnt_id_req` of the size that it says; the kernel writes at most `ids.len()` numbers to `ids`.
    unsafe { call!(LISTMOUNT, &raw const request, ids.as_mut_ptr(), ids.len(), 0u32) }
}

/// `mount(2)`.
pub fn mount(
    source: Option<&CStr>,
    target: &CStr,
    fstype: Option<&CStr>,
    flags: u64,
    data: Option<&CStr>,
) -> Result<()> {
    // SAFETY: the strings end with a NUL and outlive the call; any may be NULL but the target.
    unsafe { call!(MOUNT, source, target, fstype, flags, data) }.map(drop)
}

/// `umount2`.
pub fn umount(target: &CStr, flags: u32) -> Result<()> {
    // SAFETY: `target` ends with a NUL and outlives the call.
    unsafe { call!(UMOUNT2, target, flags) }.map(drop)
}

/// `pivot_root(".", ".")`: the working directory becomes the root, with the old root on top of it.
pub fn pivot_here() -> Result<()> {
    // SAFETY: both paths are constants that end with a NUL.
    unsafe { call!(PIVOT_ROOT, c".", c".") }.map(drop)
}
