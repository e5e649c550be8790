//! Masked and read-only paths.
//!
//! Runs in: init.

use core::ffi::CStr;

use corten_plan::Stage;

use crate::report::{At, Done, Failed};
use crate::run::Init;
use crate::sys::abi::{
    AT_EMPTY_PATH, AT_RECURSIVE, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MountAttr, O_PATH,
    OPEN_TREE_CLONE, S_IFCHR, S_IFDIR,
};
use crate::sys::{Errno, Fd, FdRef, fs, mount};
use crate::target;

/// What masked paths are covered with.
///
/// The first cover of a file is attached where it is needed; the others are clones of that one. A clone of a mount that is
/// attached nowhere needs Linux 6.15. So is the third cover of a directory: a tmpfs of its own for each costs a call less
/// than a clone, but on a host with hundreds of processors there are hundreds of them (runc issue 5275).
#[derive(Debug, Default)]
pub struct Masks {
    file: Option<Fd>,
    /// The null device, which was attached nowhere yet.
    null: Option<Fd>,
    directory: Option<Fd>,
    /// Directories that have a tmpfs of their own.
    alone: u32,
    /// The SELinux context of each such tmpfs.
    pub label: Option<&'static CStr>,
    /// `/dev/null` is that of the container.
    is_inside: bool,
}

/// How many directories get a tmpfs of their own.
const MAX_ALONE: u32 = 2;

impl Masks {
    /// From here on the null device is this one, for `/dev/null` is no longer the host's.
    pub fn hold(&mut self, null: Option<Fd>) {
        (self.null, self.is_inside) = (null, true);
    }

    /// Closes what leads to the host.
    pub fn forget(&mut self) {
        *self = Self { is_inside: true, ..Self::default() };
    }
}

/// [`corten_plan::Op::MaskPath`].
///
/// # Errors
/// See [`Stage`]; never ENOENT of the path.
pub fn cover(init: &mut Init, path: &CStr, file: bool) -> Done {
    let Some(target) = find(init, path)? else { return Ok(()) };
    // A file cannot be attached to a directory: where it was taken for one, nothing has happened.
    if file {
        match cover_file(&mut init.masks, target.get()) {
            Err(Failed { stage: Stage::Attach, .. }) => {}
            covered => return covered,
        }
    }
    // This says what it is, and is the first half of a mount there.
    match init.change_directory(target.get()) {
        Ok(()) => cover_directory(&mut init.masks, target.get(), true),
        Err(Errno::ENOTDIR) => cover_file(&mut init.masks, target.get()),
        // It may not be entered by us, or it is a file after all.
        Err(_) if fs::status(target.get()).at(Stage::Target)?.kind() == S_IFDIR => {
            cover_directory(&mut init.masks, target.get(), false)
        }
        Err(_) => cover_file(&mut init.masks, target.get()),
    }
}

/// `entered`: the directory is the working directory.
fn cover_directory(masks: &mut Masks, target: FdRef<'_>, entered: bool) -> Done {
    if entered && masks.alone < MAX_ALONE && masks.label.is_none() {
        let flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
        let tmpfs = Some(c"tmpfs");
        if mount::mount(tmpfs, c".", tmpfs, flags, Some(c"nr_blocks=1,nr_inodes=1")).is_ok() {
            masks.alone += 1;
            return Ok(());
        }
        // What is wrong, the calls below say.
    }
    let label = masks.label;
    attach(&mut masks.directory, target, || empty_directory(label))
}

fn cover_file(masks: &mut Masks, target: FdRef<'_>) -> Done {
    let null = match (&masks.file, masks.null.take()) {
        (None, Some(null)) => null,
        (None, None) if masks.is_inside => return Err(Failed::new(Stage::Plan, Errno::EBADF)),
        _ => return attach(&mut masks.file, target, || null_file(0)),
    };
    let attached = mount::move_mount(null.get(), target).at(Stage::Attach);
    // Where it could not be attached, it may be elsewhere.
    *if attached.is_ok() { &mut masks.file } else { &mut masks.null } = Some(null);
    attached
}

/// Attaches a clone of `first`, or what is made, which is `first` then.
fn attach(
    first: &mut Option<Fd>,
    target: FdRef<'_>,
    make: impl FnOnce() -> Result<Fd, Failed>,
) -> Done {
    if let Some(first) = first {
        let clone = mount::clone_mount(first.get(), 0).at(Stage::Clone)?;
        return mount::move_mount(clone.get(), target).at(Stage::Attach);
    }
    let mask = make()?;
    mount::move_mount(mask.get(), target).at(Stage::Attach)?;
    *first = Some(mask);
    Ok(())
}

/// `None`: there is nothing at `path`. Everything else that keeps it from being found is an error: a path that cannot be
/// looked at now may be looked at later.
fn find(init: &Init, path: &CStr) -> Result<Option<Fd>, Failed> {
    match target::open(init.root()?, path, O_PATH, 0) {
        Err(Errno::ENOENT) => Ok(None),
        found => found.map(Some).at(Stage::Target),
    }
}

/// An empty tmpfs with room for nothing.
fn empty_directory(label: Option<&CStr>) -> Result<Fd, Failed> {
    let context = mount::fsopen(c"tmpfs").at(Stage::FsOpen)?;
    let context = context.get();
    for (item, key) in [c"nr_blocks", c"nr_inodes"].into_iter().enumerate() {
        let item = u16::try_from(item).unwrap_or(0);
        mount::fsconfig_set(context, key, Some(c"1")).item(Stage::Option, item)?;
    }
    if label.is_some() {
        mount::fsconfig_set(context, c"context", label).item(Stage::Option, 2)?;
    }
    mount::fsconfig_create(context).at(Stage::FsCreate)?;
    let attr = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    mount::fsmount(context, attr).at(Stage::FsMount)
}

/// A read-only mount of the host's null device: its owner and mode are the host's, and cannot be changed through it.
/// Nothing but its number says that it is one (CVE-2025-31133); it is the clone that is looked at, and is used.
///
/// # Errors
/// See [`Stage`].
pub fn null_file(propagation: u64) -> Result<Fd, Failed> {
    let attr = MountAttr { propagation, ..READ_ONLY };
    let clone = read_only_clone(FdRef::CWD, c"/dev/null", 0, &attr)?;
    let status = fs::status(clone.get()).at(Stage::Verify)?;
    let is_null = (status.kind(), status.rdev_major, status.rdev_minor) == (S_IFCHR, 1, 3);
    if is_null { Ok(clone) } else { Err(Failed::new(Stage::Verify, Errno::ENODEV)) }
}

/// [`corten_plan::Op::ReadonlyPath`].
///
/// # Errors
/// See [`Stage`]; never ENOENT of the path.
pub fn read_only(init: &mut Init, path: &CStr, alone: bool) -> Done {
    let Some(target) = find(init, path)? else { return Ok(()) };
    let clone = if alone {
        // What was mounted below it all the same is read-only, too.
        read_only_clone(target.get(), c"", AT_EMPTY_PATH | AT_RECURSIVE, &READ_ONLY)?
    } else {
        let clone = mount::clone_mount(target.get(), AT_RECURSIVE).at(Stage::Clone)?;
        make_read_only(clone, &READ_ONLY)?
    };
    mount::move_mount(clone.get(), target.get()).at(Stage::Attach)
}

const READ_ONLY: MountAttr =
    MountAttr { set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, userns_fd: 0 };

/// A read-only clone of what is at `path`, by one call; where that fails by two, of which one says why.
fn read_only_clone(
    dir: FdRef<'_>,
    path: &CStr,
    flags: u32,
    attr: &MountAttr,
) -> Result<Fd, Failed> {
    match mount::open_tree_attr(dir, path, flags, attr) {
        Ok(clone) => Ok(clone),
        Err(_) => {
            let clone = mount::open_tree(dir, path, flags | OPEN_TREE_CLONE).at(Stage::Clone)?;
            make_read_only(clone, attr)
        }
    }
}

fn make_read_only(clone: Fd, attr: &MountAttr) -> Result<Fd, Failed> {
    mount::setattr(clone.get(), c"", AT_EMPTY_PATH, attr).at(Stage::Attr)?;
    Ok(clone)
}
