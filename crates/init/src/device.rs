//! Device nodes and symbolic links in the root.
//!
//! Runs in: init.

use core::ffi::CStr;

use corten_plan::Stage;

use crate::kept::Kept;
use crate::mounts::proc_path;
use crate::procfs;
use crate::report::{At, Done, Failed};
use crate::run::Init;
use crate::sys::abi::{
    AT_EMPTY_PATH, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MountAttr, O_CREAT, O_EXCL, O_NOFOLLOW,
    O_PATH, O_RDONLY, OPEN_TREE_CLONE, S_IFCHR, S_IFIFO, S_IFMT, S_IFREG, Statx,
};
use crate::sys::{Errno, FdRef, fs, mount};

/// A device node or FIFO.
#[derive(Debug)]
pub struct Node {
    /// `S_IF*` and the permissions.
    pub mode: u32,
    /// Of its number.
    pub major: u32,
    /// Of its number.
    pub minor: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl Node {
    /// Whether it is this that was found.
    pub fn is(&self, found: &Statx) -> bool {
        let same_number = (found.rdev_major, found.rdev_minor) == (self.major, self.minor);
        found.kind() == self.mode & S_IFMT && (found.kind() == S_IFIFO || same_number)
    }

    /// Whether it is the null device.
    pub fn is_null(&self) -> bool {
        (self.mode & S_IFMT, self.major, self.minor) == (S_IFCHR, 1, 3)
    }

    /// Whether what was found has its permissions and its owner, too.
    pub fn is_as_asked(&self, found: &Statx) -> bool {
        (u32::from(found.mode), found.uid, found.gid) == (self.mode, self.uid, self.gid)
    }
}

/// [`corten_plan::Op::Device`].
///
/// # Errors
/// See [`Stage`]; [`Stage::Verify`] with EEXIST: something else is there.
pub fn make(init: &mut Init, path: &'static CStr, node: &Node) -> Done {
    let number = fs::device_number(node.major, node.minor).at(Stage::Create)?;
    let (dir, name) = init.parent_of(path)?;
    let made = fs::mknodat(dir, name, node.mode, number);
    // CAP_MKNOD counts in the initial user namespace only.
    if made == Err(Errno::EPERM) && node.mode & S_IFMT != S_IFIFO && init.sources.is_none() {
        return bind(init, path, node);
    }
    if made.is_err() && made != Err(Errno::EEXIST) {
        return made.at(Stage::Create);
    }
    if made.is_ok()
        && let Some(kept) = init.kept.as_mut().filter(|kept| kept.name(path).is_some())
        && kept.has_right(name, node).at(Stage::Verify)?
    {
        return Ok(());
    }
    let (dir, name) = init.parent_of(path)?;
    // Whatever has this name now, it is this what owner and mode are given to (CVE-2026-41579).
    let fd = fs::openat(dir, name, O_PATH | O_NOFOLLOW, 0).at(Stage::Verify)?;
    let status = fs::status(fd.get()).at(Stage::Verify)?;
    // What a container in a user namespace has mounted its devices on, and left.
    if status.kind() == S_IFREG && init.has_user_namespace {
        return bind(init, path, node);
    }
    if !node.is(&status) {
        return Err(Failed::new(Stage::Verify, Errno::EEXIST));
    }
    // One that was there may be the host's, by a bind mount: it stays as it is.
    if made.is_err() { Ok(()) } else { give(fd.get(), node, &status).at(Stage::Owner) }
}

/// The host's node of this name, where none can be made; its owner and mode stay the host's. As runc and crun. That it is
/// this device, only its number says.
fn bind(init: &mut Init, path: &'static CStr, node: &Node) -> Done {
    let tree = mount::open_tree(FdRef::CWD, path, OPEN_TREE_CLONE).at(Stage::Source)?;
    if !node.is(&fs::status(tree.get()).at(Stage::Verify)?) {
        return Err(Failed::new(Stage::Verify, Errno::ENODEV));
    }
    let attr = MountAttr { set: MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, ..MountAttr::default() };
    mount::setattr(tree.get(), c"", AT_EMPTY_PATH, &attr).at(Stage::Attr)?;
    attach(init, path, tree.get(), 0o666)
}

/// Attaches a device to a name in the root, which is made as an empty file where it is missing; never through a link.
///
/// # Errors
/// See [`Stage`].
pub fn attach(init: &mut Init, path: &'static CStr, tree: FdRef<'_>, mode: u32) -> Done {
    let (dir, name) = init.parent_of(path)?;
    let target = match fs::openat(dir, name, O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode) {
        Err(Errno::EEXIST) => fs::openat(dir, name, O_PATH | O_NOFOLLOW, 0).at(Stage::Target)?,
        made => made.at(Stage::Create)?,
    };
    let kind = fs::status(target.get()).at(Stage::Verify)?.kind();
    if !matches!(kind, S_IFREG | S_IFCHR) {
        return Err(Failed::new(Stage::Verify, Errno::ENOTTY));
    }
    mount::move_mount(tree, target.get()).at(Stage::Attach)
}

/// Owner and mode, where they are not yet right: a directory may have a default ACL or the set-group-id bit.
fn give(fd: FdRef<'_>, node: &Node, status: &Statx) -> Result<(), Errno> {
    if (status.uid, status.gid) != (node.uid, node.gid) {
        fs::chown(fd, node.uid, node.gid)?;
    }
    let mode = node.mode & 0o7777;
    if u32::from(status.mode) & 0o7777 == mode { Ok(()) } else { set_mode(fd, mode) }
}

/// Sets the mode of what `fd`, which may be `O_PATH`, is open on.
///
/// # Errors
/// Those of chmod(2).
pub fn set_mode(fd: FdRef<'_>, mode: u32) -> Result<(), Errno> {
    match fs::chmod(fd, mode) {
        // Until Linux 6.6 is the minimum.
        Err(Errno::ENOSYS) => set_mode_by_path(proc_path(fd)?.as_c_str(), mode),
        done => done,
    }
}

/// By a procfs of our own: in a mount namespace that was joined, what is at /proc is anybody's. Where none may be mounted, we are
/// root of nothing that is the host's.
#[inline(never)]
fn set_mode_by_path(path: &CStr, mode: u32) -> Result<(), Errno> {
    let rest = path.to_bytes_with_nul().strip_prefix(b"/proc/").unwrap_or_default();
    match (procfs::mount(Some(c"pid")), CStr::from_bytes_with_nul(rest)) {
        (Ok(procfs), Ok(rest)) => fs::chmod_path(procfs.get(), rest, mode),
        _ => fs::chmod_path(FdRef::CWD, path, mode),
    }
}

/// [`corten_plan::Op::Symlink`].
///
/// # Errors
/// See [`Stage`].
pub fn link(init: &mut Init, path: &'static CStr, target: &CStr, replace: bool) -> Done {
    let (dir, name) = init.parent_of(path)?;
    match fs::symlinkat(target, dir, name) {
        Err(Errno::EEXIST) if replace => {
            fs::unlinkat(dir, name).at(Stage::Create)?;
            let made = fs::symlinkat(target, dir, name).at(Stage::Create);
            init.kept.iter_mut().for_each(Kept::replaced);
            made
        }
        Err(Errno::EEXIST) => Ok(()),
        made => made.at(Stage::Create),
    }
}
