//! The container's cgroup, in the unified hierarchy (cgroup v2).
//!
//! [`Site::look`] refuses a place where others live, [`Site::create`] makes the directory with its limits, and the container's
//! first process is born in it (`CLONE_INTO_CGROUP`); where systemd makes the cgroup, it moves the process there
//! ([`systemd`]). [`Cgroup::restrict_devices`] attaches the device program. [`Cgroup::kill`] ends whatever is inside,
//! [`Cgroup::remove`] takes the tree away. Everything goes through directory fds: a path is resolved once, below the mount point,
//! without symbolic links or `..` (security.md T-14).
//!
//! Why cgroups-rs is not used: `docs/design/0004-cgroups.md`.
//!
//! Runs in: runtime.

mod controllers;
mod create;
mod delegate;
mod devices;
mod events;
pub(crate) mod file;
mod freeze;
mod kill;
mod member;
pub(crate) mod permission;
mod process;
mod remove;
mod settings;
mod stats;
pub(crate) mod systemd;
mod tree;
mod watch;

pub(crate) use create::Site;
pub use systemd::BusError;
pub(crate) use watch::Happened;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::Error;

/// An open cgroup directory. Dropping it closes fds and changes nothing.
#[derive(Debug)]
pub struct Cgroup {
    mount_point: PathBuf,
    /// Below the mount point, without a leading slash.
    path: PathBuf,
    name: OsString,
    /// Opened when it is asked for, unless it was at hand: who only looks needs it not.
    parent: OnceLock<OwnedFd>,
    directory: OwnedFd,
    /// How many of the last directories of `path` were made by us: 0 or 1 and the leaf's parents.
    made: usize,
}

impl Cgroup {
    /// Opens the cgroup `path`, relative to `mount_point`; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Cgroup`], also when `path` has a `..` or is the root itself.
    pub fn open(mount_point: &Path, path: &Path) -> Result<Option<Self>, Error> {
        let at = error(mount_point.join(path), "open");
        split(path).map_err(at)?;
        match open_root(mount_point) {
            Ok(root) => Self::open_in(&root, mount_point, path),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(error(mount_point.into(), "open")(errno.into())),
        }
    }

    fn open_in(root: &OwnedFd, mount_point: &Path, path: &Path) -> Result<Option<Self>, Error> {
        let at = |source| error(mount_point.join(path), "open")(source);
        let (_, name) = split(path).map_err(at)?;
        match open_below(root, path) {
            Ok(directory) => Ok(Some(Self {
                mount_point: mount_point.into(),
                path: path.into(),
                name: name.into(),
                parent: OnceLock::new(),
                directory,
                made: 0,
            })),
            Err(Errno::NOENT | Errno::NODEV) => Ok(None),
            Err(errno) => Err(at(errno.into())),
        }
    }

    /// For `CLONE_INTO_CGROUP`.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// The directory that it is in. A cgroup is never moved (`cgroup1_kf_syscall_ops` alone has a rename), so that `..` is it.
    fn parent(&self) -> rustix::io::Result<&OwnedFd> {
        if let Some(parent) = self.parent.get() {
            return Ok(parent);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::openat(&self.directory, "..", flags, Mode::empty())?;
        Ok(self.parent.get_or_init(|| parent))
    }

    /// Below the mount point of the hierarchy, without a leading slash.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether [`Cgroup::create`] made the directory, or found it. For tests, as that is.
    pub fn is_ours(&self) -> bool {
        self.made > 0
    }

    /// Its inode, which is the kernel's id of the cgroup: a later one at the same path has another.
    ///
    /// # Errors
    /// [`Error::Cgroup`].
    pub fn id(&self) -> Result<u64, Error> {
        let stat = rustix::fs::fstat(&self.directory);
        stat.map(|stat| stat.st_ino).map_err(|errno| self.at("fstat")(errno.into()))
    }

    /// Whether there is a process in it or below; of a cgroup that is gone: no.
    ///
    /// # Errors
    /// [`Error::Cgroup`].
    pub fn is_populated(&self) -> Result<bool, Error> {
        self.events().map(|events| events.populated)
    }

    /// For `map_err`: what was tried on this cgroup.
    fn at(&self, action: &str) -> impl FnOnce(io::Error) -> Error + use<> {
        error(self.mount_point.join(&self.path), action)
    }
}

fn error(path: PathBuf, action: &str) -> impl FnOnce(io::Error) -> Error + use<> {
    let action = action.to_owned();
    move |source| Error::Cgroup { path, action, source }
}

/// Parent and name of a path that has only plain names in it.
fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    let is_plain = path.components().all(|component| matches!(component, Component::Normal(_)));
    match (is_plain, path.parent(), path.file_name()) {
        (true, Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a path below the mount point")),
    }
}

/// The mount point of the hierarchy, for lookups only.
fn open_root(mount_point: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(mount_point, flags, Mode::empty())
}

/// A directory below `parent`, on the same mount, readable.
fn open_below(parent: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_XDEV
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(&parent, path, flags, Mode::empty(), resolve) {
            // A rename or mount anywhere on the system raced with the lookup (`openat2(2)`).
            Err(Errno::AGAIN | Errno::INTR) => {}
            // A seccomp filter around us hides it.
            Err(Errno::NOSYS | Errno::PERM) => return walk_below(&parent, path),
            result => return result,
        }
    }
}

/// As openat2 in [`open_below`], one name at a time.
fn walk_below(parent: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let device = rustix::fs::fstat(&parent)?.st_dev;
    let mut directory = None;
    for component in path.components() {
        if !matches!(component, Component::Normal(_) | Component::CurDir) {
            return Err(Errno::XDEV);
        }
        let name = component.as_os_str();
        let below = match &directory {
            None => rustix::fs::openat(&parent, name, flags, Mode::empty())?,
            Some(above) => rustix::fs::openat(above, name, flags, Mode::empty())?,
        };
        if rustix::fs::fstat(&below)?.st_dev != device {
            return Err(Errno::XDEV);
        }
        directory = Some(below);
    }
    directory.ok_or(Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_with_plain_names_is_split() {
        assert_eq!(split(Path::new("a")).unwrap(), (Path::new(""), OsStr::new("a")));
        assert_eq!(split(Path::new("a/b/c")).unwrap(), (Path::new("a/b"), OsStr::new("c")));
    }

    #[test]
    fn path_that_leaves_the_hierarchy_is_refused() {
        for path in ["", "/", "/a", "..", "../a", "a/..", "a/../../b", "."] {
            assert!(split(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn walk_below_finds_what_open_below_finds() {
        let proc = open_root(Path::new("/proc")).unwrap();
        for (path, found) in [
            ("sys", Ok(())),
            (".", Ok(())),
            ("sys/kernel", Ok(())),
            ("sys/no-such", Err(Errno::NOENT)),
            ("version", Err(Errno::NOTDIR)),
            ("..", Err(Errno::XDEV)),
            ("", Err(Errno::NOENT)),
        ] {
            let path = Path::new(path);
            assert_eq!(open_below(&proc, path).map(drop), found, "{}", path.display());
            assert_eq!(walk_below(&proc, path).map(drop), found, "{}", path.display());
        }
        // A link: ELOOP here, and ENOTDIR where O_DIRECTORY comes before.
        assert!(open_below(&proc, Path::new("self")).is_err());
        assert!(walk_below(&proc, Path::new("self")).is_err());
    }

    #[test]
    fn open_with_dots_is_refused_before_anything_is_looked_up() {
        let result = Cgroup::open(Path::new("/nonexistent"), Path::new("a/../../../etc"));
        assert!(matches!(result, Err(Error::Cgroup { .. })), "{result:?}");
    }
}
