//! The directory that init fills: the root of a tmpfs that it has just mounted, directly below the root (`/dev`).
//!
//! The tmpfs is new, so all that is in it init has made; it is private, in a mount namespace that has no other process,
//! and hooks and programs run only when it has been forgotten here. So a name in it is what init made it, and stays so:
//! what was made needs no second look, and a name will do where elsewhere only a descriptor does. Anything that is there
//! already (EEXIST) is left to the ways for directories of others.
//!
//! Runs in: init.

use core::ffi::CStr;

use corten_plan::Stage;

use crate::device::Node;
use crate::path;
use crate::report::{At, Failed};
use crate::sys::abi::{
    AT_SYMLINK_NOFOLLOW, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY, O_RDWR,
};
use crate::sys::{Errno, Fd, FdRef, Result as Called, fs};
use crate::target::{Leaf, split_name};

/// The directory.
#[derive(Debug)]
pub struct Kept {
    path: &'static [u8],
    dir: Fd,
    /// It is the working directory.
    is_entered: bool,
    /// Owner and group that a node has here, once one was looked at.
    owner: Option<(u32, u32)>,
    /// `null` in it is the null device.
    has_null: bool,
}

impl Kept {
    /// `mounted` on `path`; `None` where that is not directly below the root: there a link above it could lead elsewhere
    /// later.
    pub fn new(path: &'static CStr, mounted: Fd) -> Option<Self> {
        let path = path.to_bytes();
        path.strip_prefix(b"/").filter(|name| path::is_name(name))?;
        Some(Self { path, dir: mounted, is_entered: false, owner: None, has_null: false })
    }

    /// The directory.
    pub fn get(&self) -> FdRef<'_> {
        self.dir.get()
    }

    /// The name in it that `path` is.
    pub fn name(&self, path: &'static CStr) -> Option<&'static CStr> {
        let (before, name) = split_name(path)?;
        (before.strip_suffix(b"/")? == self.path).then_some(name)
    }

    /// Makes it the working directory, unless it is.
    ///
    /// # Errors
    /// Those of fchdir(2).
    pub fn enter(&mut self) -> Called<()> {
        if !self.is_entered {
            fs::fchdir(self.get())?;
            self.is_entered = true;
        }
        Ok(())
    }

    /// Another directory is the working directory now.
    pub fn left(&mut self) {
        self.is_entered = false;
    }

    /// Maybe a name in it is something else now.
    pub fn replaced(&mut self) {
        self.has_null = false;
    }

    /// `name` made as `leaf`; `None`: something is there.
    ///
    /// # Errors
    /// [`Stage::Create`].
    pub fn make(&self, name: &CStr, leaf: Leaf) -> Result<Option<Fd>, Failed> {
        let flags = O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
        let made = match leaf {
            Leaf::Directory { mode } => fs::mkdirat(self.get(), name, mode)
                .and_then(|()| fs::openat(self.get(), name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0)),
            Leaf::File => fs::openat(self.get(), name, flags, 0o644),
        };
        match made {
            Err(Errno::EEXIST) => Ok(None),
            made => made.map(Some).at(Stage::Create),
        }
    }

    /// Whether `node`, which was just made as `name`, is as it should be. Of all that have the same owner the first is
    /// looked at: the umask, the ids of files that init makes, and what they inherit from the directory are the same then.
    ///
    /// # Errors
    /// Those of statx(2).
    pub fn has_right(&mut self, name: &CStr, node: &Node) -> Called<bool> {
        let owner = Some((node.uid, node.gid));
        if self.owner != owner || node.mode & 0o7000 != 0 {
            let status = fs::statx(self.get(), name, AT_SYMLINK_NOFOLLOW)?;
            if !node.is(&status) || !node.is_as_asked(&status) {
                return Ok(false);
            }
            self.owner = owner;
        }
        self.has_null |= name == c"null" && node.is_null();
        Ok(true)
    }

    /// Opens the null device in it; `None` where init has made none.
    ///
    /// # Errors
    /// Those of openat(2).
    pub fn open_null(&self) -> Called<Option<Fd>> {
        if !self.has_null {
            return Ok(None);
        }
        fs::openat(self.get(), c"null", O_RDWR, 0).map(Some)
    }
}
