//! Masked and read-only paths.
//!
//! Runs in: init.

use core::ffi::CStr;

use corten_plan::Stage;

use crate::report::{At, Done, Failed};
use crate::run::Init;
use crate::sys::abi::{
    AT_EMPTY_PATH, AT_RECURSIVE, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY, MountAttr, O_DIRECTORY, O_PATH, S_IFCHR,
};
use crate::sys::{Errno, Fd, FdRef, fs, mount};
use crate::target;

/// What masked paths are covered with.
///
/// The first cover of each kind is attached where it is needed; the others are clones of that one. A clone of a mount
/// that is attached nowhere needs Linux 6.15.
#[derive(Debug, Default)]
pub struct Masks {
    /// The host's null device, opened before any mount of the container; or why it could not be.
    null: Option<Result<Fd, Errno>>,
    file: Option<Fd>,
    directory: Option<Fd>,
}

impl Masks {
    /// Opens the host's `/dev/null`, while `/dev` is the host's.
    pub fn open_null(&mut self) {
        self.null = Some(verified_null());
    }

    /// Closes what leads to the host.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

/// Nothing says that the null device is one (CVE-2025-31133): 1:3 does.
fn verified_null() -> Result<Fd, Errno> {
    let null = fs::openat(FdRef::CWD, c"/dev/null", O_PATH, 0)?;
    let status = fs::status(null.get())?;
    let is_null = (status.kind(), status.rdev_major, status.rdev_minor) == (S_IFCHR, 1, 3);
    if is_null { Ok(null) } else { Err(Errno::ENODEV) }
}

/// [`corten_plan::Op::MaskPath`].
///
/// # Errors
/// See [`Stage`]; never ENOENT of the path.
pub fn cover(init: &mut Init, path: &CStr) -> Done {
    let (target, is_directory) = match target::open(init.root()?, path, O_PATH | O_DIRECTORY, 0) {
        Ok(directory) => (directory, true),
        Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::ENOTDIR) => match find(init, path)? {
            Some(file) => (file, false),
            None => return Ok(()),
        },
        Err(errno) => return Err(Failed::new(Stage::Target, errno)),
    };
    let Masks { null, file, directory } = &mut init.masks;
    let first = if is_directory { directory } else { file };
    if let Some(first) = first {
        let clone = mount::clone_mount(first.get(), 0).at(Stage::Clone)?;
        return mount::move_mount(clone.get(), target.get()).at(Stage::Attach);
    }
    let mask = if is_directory { empty_directory()? } else { null_file(null.as_ref())? };
    mount::move_mount(mask.get(), target.get()).at(Stage::Attach)?;
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

/// An empty tmpfs with room for nothing (runc issue 5275).
fn empty_directory() -> Result<Fd, Failed> {
    let context = mount::fsopen(c"tmpfs").at(Stage::FsOpen)?;
    let context = context.get();
    for (item, key) in [c"nr_blocks", c"nr_inodes"].into_iter().enumerate() {
        let item = u16::try_from(item).unwrap_or(0);
        mount::fsconfig_set(context, key, Some(c"1")).item(Stage::Option, item)?;
    }
    mount::fsconfig_create(context).at(Stage::FsCreate)?;
    let attr = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    mount::fsmount(context, attr).at(Stage::FsMount)
}

/// A read-only mount of the host's null device: its owner and mode are the host's, and cannot be changed through it.
fn null_file(null: Option<&Result<Fd, Errno>>) -> Result<Fd, Failed> {
    let null = match null {
        Some(Ok(null)) => null,
        Some(Err(errno)) => return Err(Failed::new(Stage::Verify, *errno)),
        None => return Err(Failed::new(Stage::Plan, Errno::EBADF)),
    };
    let clone = mount::clone_mount(null.get(), 0).at(Stage::Clone)?;
    make_read_only(clone.get())?;
    Ok(clone)
}

/// [`corten_plan::Op::ReadonlyPath`].
///
/// # Errors
/// See [`Stage`]; never ENOENT of the path.
pub fn read_only(init: &mut Init, path: &CStr) -> Done {
    let Some(target) = find(init, path)? else { return Ok(()) };
    let clone = mount::clone_mount(target.get(), AT_RECURSIVE).at(Stage::Clone)?;
    make_read_only(clone.get())?;
    mount::move_mount(clone.get(), target.get()).at(Stage::Attach)
}

fn make_read_only(clone: FdRef<'_>) -> Done {
    let attr = MountAttr { set: MOUNT_ATTR_RDONLY, ..MountAttr::default() };
    mount::setattr(clone, c"", AT_EMPTY_PATH, &attr).at(Stage::Attr)
}
