//! Targets inside the root file system: opened, and made where they are missing, without ever leaving it.
//!
//! Resolution is the kernel's: `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)`, or where a filter hides that, ours
//! (`walk.rs`). What is missing is made one component
//! at a time on fds of directories that were just opened without following links, so that a racing rename leads to an error
//! and nowhere else (CVE-2024-45310). A symbolic link to something missing (`/etc/resolv.conf` of many images) is
//! followed inside the root, as runc does.
//!
//! Functions with a path on their stack are not inlined: the stack of their callers would grow by it, page after page.
//!
//! Runs in: init.

use core::ffi::CStr;

use corten_plan::Stage;

use crate::path::{self, Path};
use crate::report::{At, Failed};
use crate::sys::abi::{
    O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY, PATH_MAX, RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, S_IFDIR, S_IFLNK,
};
use crate::sys::{Errno, Fd, FdRef, Result as Called, fs};
use crate::walk;

/// How often openat2 is tried again when a rename elsewhere disturbed it: under attack 32 times fail up to 3 % of the
/// time, 128 times about 0.1 % (libpathrs).
const ATTEMPTS: u32 = 128;
/// How many links to something missing are followed: the kernel's own limit.
const MAX_LINKS: u32 = 40;
/// The mode of directories that are made on the way to a target.
const DIRECTORY_MODE: u32 = 0o755;
/// The longest name of a file, and a NUL.
pub const NAME_LENGTH: usize = 256;

/// What is made at a target where nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf {
    /// A directory; those above it are made with the same mode.
    Directory {
        /// The mode of what is made.
        mode: u32,
    },
    /// An empty file; directories above it are made.
    File,
}

impl Leaf {
    /// A directory of the mode that mount points have.
    pub const MOUNT_POINT: Self = Self::Directory { mode: DIRECTORY_MODE };

    /// What it is opened with where it exists. A file may be anything but made, and what it is shows when it is attached to.
    pub fn flags(self) -> u32 {
        match self {
            Self::Directory { .. } => O_PATH | O_DIRECTORY,
            Self::File => O_PATH,
        }
    }

    fn directory_mode(self) -> u32 {
        match self {
            Self::Directory { mode } => mode,
            Self::File => DIRECTORY_MODE,
        }
    }
}

/// A target.
#[derive(Debug)]
pub struct Target {
    /// Open with `O_PATH`, or for reading when it was made as a file.
    pub fd: Fd,
    /// Whether it was made just now.
    pub made: bool,
}

/// Opens `path` in the root; `resolve`: more `RESOLVE_*`.
///
/// # Errors
/// Those of openat2.
pub fn open(root: FdRef<'_>, path: &CStr, flags: u32, resolve: u64) -> Called<Fd> {
    let in_root = resolve | RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    retry(|| match fs::openat2(root, path, flags, 0, in_root) {
        Err(Errno::ENOSYS | Errno::EPERM) => walk::open(root, path, flags, resolve),
        opened => opened,
    })
}

/// Calls it again where it gave EAGAIN.
///
/// # Errors
/// Those of the call.
fn retry(mut open: impl FnMut() -> Called<Fd>) -> Called<Fd> {
    let mut result = open();
    for _ in 1..ATTEMPTS {
        if !matches!(result, Err(Errno::EAGAIN)) {
            break;
        }
        result = open();
    }
    result
}

/// Opens `path` in the root; makes it as `leaf` where it is missing.
///
/// # Errors
/// [`Stage::Target`] when it cannot be resolved (ENOTDIR: it is no directory and should be one), [`Stage::Create`] when it
/// cannot be made.
pub fn open_or_make(
    root: FdRef<'_>,
    path: &CStr,
    leaf: Leaf,
    resolve: u64,
) -> Result<Target, Failed> {
    match open(root, path, leaf.flags(), resolve) {
        Ok(fd) => Ok(Target { fd, made: false }),
        Err(Errno::ENOENT) => make(root, path, leaf, resolve),
        Err(errno) => Err(Failed::new(Stage::Target, errno)),
    }
}

/// Opens the directory `path` in the root; makes it where it is missing.
///
/// # Errors
/// As [`open_or_make`], and ENOTDIR.
pub fn directory(root: FdRef<'_>, path: &CStr, mode: u32) -> Result<Fd, Failed> {
    open_or_make(root, path, Leaf::Directory { mode }, 0).map(|target| target.fd)
}

/// Makes what is missing of `path`: as often as a link to something missing leads on.
///
/// # Errors
/// As [`open_or_make`].
#[inline(never)]
fn make(root: FdRef<'_>, path: &CStr, leaf: Leaf, resolve: u64) -> Result<Target, Failed> {
    let mut wanted = Path::new();
    wanted.push(&[b"/", path.to_bytes()]).at(Stage::Target)?;
    for _ in 0..MAX_LINKS {
        if let Some(target) = make_once(root, &mut wanted, leaf, resolve)? {
            return Ok(target);
        }
        match open(root, wanted.as_c_str(), leaf.flags(), resolve) {
            Err(Errno::ENOENT) => {}
            opened => return opened.map(|fd| Target { fd, made: false }).at(Stage::Target),
        }
    }
    Err(Failed::new(Stage::Target, Errno::ELOOP))
}

/// Makes what is missing of `wanted`; `None`: `wanted` has been changed to where a link leads, and is to be tried.
fn make_once(
    root: FdRef<'_>,
    wanted: &mut Path,
    leaf: Leaf,
    resolve: u64,
) -> Result<Option<Target>, Failed> {
    let (mut at, mut dir) = existing(root, wanted, resolve)?;
    if wanted.goes_back(at) {
        wanted.go_back(at);
        return Ok(None);
    }
    while let Some((start, end)) = wanted.component(at) {
        let is_last = wanted.component(end).is_none();
        let kind = if is_last { leaf } else { Leaf::Directory { mode: leaf.directory_mode() } };
        let mut buffer = [0; NAME_LENGTH];
        let name = wanted.bytes().get(start..end).unwrap_or_default();
        let name = terminated(name, &mut buffer).at(Stage::Create)?;
        match make_one(dir.get(), name, kind)? {
            Some(fd) => dir = fd,
            None if resolve & RESOLVE_NO_SYMLINKS == 0 => {
                follow(dir.get(), name, wanted, start, end).at(Stage::Target)?;
                return Ok(None);
            }
            None => return Err(Failed::new(Stage::Target, Errno::ELOOP)),
        }
        at = end;
    }
    Ok(Some(Target { fd: dir, made: true }))
}

/// The longest part of `wanted` that exists, as a directory: its length, and the directory; `/` if nothing else does.
fn existing(root: FdRef<'_>, wanted: &mut Path, resolve: u64) -> Result<(usize, Fd), Failed> {
    let flags = O_PATH | O_DIRECTORY;
    let mut length = wanted.bytes().len();
    loop {
        length = wanted.bytes().get(..length).and_then(path::last_component).unwrap_or(0);
        let opened = match length {
            0 => open(root, c"/", flags, resolve),
            _ => wanted.at(length, |prefix| open(root, prefix, flags, resolve)),
        };
        match opened {
            Err(Errno::ENOENT) if length > 0 => {}
            opened => return opened.map(|fd| (length, fd)).at(Stage::Target),
        }
    }
}

/// Puts what the link `name` says into its place in `wanted`, from `start` to `end`.
///
/// # Errors
/// Those of readlinkat(2); ENAMETOOLONG.
#[inline(never)]
pub fn follow(
    dir: FdRef<'_>,
    name: &CStr,
    wanted: &mut Path,
    start: usize,
    end: usize,
) -> Called<()> {
    let mut buffer = [0; PATH_MAX];
    let link = fs::readlinkat(dir, name, &mut buffer)?;
    let start = if link.starts_with(b"/") { 0 } else { start };
    wanted.splice(start, end, link)
}

/// Makes one component. Something that is there already is a link to something missing (`None`), or was made by somebody else
/// at the same time.
fn make_one(dir: FdRef<'_>, name: &CStr, leaf: Leaf) -> Result<Option<Fd>, Failed> {
    let made = match leaf {
        Leaf::Directory { mode } => fs::mkdirat(dir, name, mode)
            .and_then(|()| fs::openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0)),
        Leaf::File => fs::openat(dir, name, O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o644),
    };
    match made {
        Err(Errno::EEXIST) => {}
        made => return made.map(Some).at(Stage::Create),
    }
    let fd = fs::openat(dir, name, O_PATH | O_NOFOLLOW, 0).at(Stage::Target)?;
    match (fs::status(fd.get()).at(Stage::Target)?.kind(), leaf) {
        (S_IFLNK, _) => Ok(None),
        (S_IFDIR, _) | (_, Leaf::File) => Ok(Some(fd)),
        _ => Err(Failed::new(Stage::Target, Errno::ENOTDIR)),
    }
}

/// `name` with a NUL behind it.
///
/// # Errors
/// ENAMETOOLONG when it is longer than a file's name can be.
pub fn terminated<'b>(name: &[u8], buffer: &'b mut [u8; NAME_LENGTH]) -> Called<&'b CStr> {
    let room = buffer.get_mut(..name.len()).ok_or(Errno::ENAMETOOLONG)?;
    room.copy_from_slice(name);
    let with_nul = buffer.get(..=name.len()).ok_or(Errno::ENAMETOOLONG)?;
    CStr::from_bytes_with_nul(with_nul).map_err(|_| Errno::EINVAL)
}

/// The directory that a path in the root lies in, kept for the next one in the same directory.
#[derive(Debug, Default)]
pub struct Parent {
    kept: Option<(&'static [u8], Fd)>,
}

impl Parent {
    /// Forgets the directory: something may be mounted on it now.
    pub fn forget(&mut self) {
        self.kept = None;
    }

    /// The directory of `path`, made where it is missing, and the name in it.
    ///
    /// # Errors
    /// As [`directory`]; EINVAL when the last component is no name.
    pub fn of(
        &mut self,
        root: FdRef<'_>,
        path: &'static CStr,
    ) -> Result<(FdRef<'_>, &'static CStr), Failed> {
        let (before, name) = split_name(path).ok_or(Errno::EINVAL).at(Stage::Target)?;
        if self.kept.as_ref().is_none_or(|(kept, _)| *kept != before) {
            self.kept = Some((before, open_parent(root, before)?));
        }
        let (_, fd) = self.kept.as_ref().ok_or(Failed::new(Stage::Target, Errno::ENOENT))?;
        Ok((fd.get(), name))
    }
}

#[inline(never)]
fn open_parent(root: FdRef<'_>, path: &[u8]) -> Result<Fd, Failed> {
    let mut parent = Path::new();
    parent.push(&[b"/", path]).at(Stage::Target)?;
    directory(root, parent.as_c_str(), DIRECTORY_MODE)
}

/// What comes before the last component of `path`, and the last component.
pub fn split_name(path: &CStr) -> Option<(&[u8], &CStr)> {
    let bytes = path.to_bytes_with_nul();
    let name = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (before, name) = bytes.split_at_checked(name)?;
    let name = CStr::from_bytes_with_nul(name).ok()?;
    path::is_name(name.to_bytes()).then_some((before, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_name_of_a_path_gives_directory_and_name() {
        assert_eq!(split_name(c"/dev/net/tun"), Some((&b"/dev/net/"[..], c"tun")));
        assert_eq!(split_name(c"/null"), Some((&b"/"[..], c"null")));
        assert_eq!(split_name(c"null"), Some((&b""[..], c"null")));
    }

    #[test]
    fn split_name_of_what_is_no_name_is_refused() {
        for path in [c"", c"/", c"/dev/", c"/dev/..", c"/dev/.", c".."] {
            assert_eq!(split_name(path), None, "{path:?}");
        }
    }

    #[test]
    fn name_of_256_bytes_is_too_long() {
        let mut buffer = [0; NAME_LENGTH];
        assert!(terminated(&[b'x'; 255], &mut buffer).is_ok());
        assert_eq!(terminated(&[b'x'; 256], &mut buffer), Err(Errno::ENAMETOOLONG));
    }

    #[test]
    fn retry_of_endless_eagain_ends() {
        let mut calls = 0;
        let result = retry(|| {
            calls += 1;
            Err(Errno::EAGAIN)
        });
        assert_eq!((result.err(), calls), (Some(Errno::EAGAIN), ATTEMPTS));
    }
}
