//! What openat2 does in the root, for kernels whose openat2 is hidden by a seccomp filter: of an old container engine
//! around us, of systemd's `RestrictSUIDSGID=` (both say ENOSYS or EPERM for what they do not know).
//!
//! The path is walked downwards from the root, one component at a time, each opened with `O_PATH | O_NOFOLLOW` in the
//! directory before it and looked at. A symbolic link and `..` are never followed by the kernel: they change the text of
//! the path, and the walk begins again at the root. So no rename elsewhere can lead it out, and a magic link is a text like
//! that of any other link.
//!
//! Runs in: init.

use core::ffi::CStr;

use crate::path::{Path, last_component};
use crate::sys::abi::{
    O_DIRECTORY, O_NOFOLLOW, O_PATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, S_IFDIR, S_IFLNK,
};
use crate::sys::{Errno, Fd, FdRef, Result as Called, fs};
use crate::target::{NAME_LENGTH, follow, terminated};

/// How often a walk begins again: for links the kernel has 40, but `..` counts too.
const MAX_WALKS: u32 = 256;

/// Opens `path` in the root, as openat2 with `RESOLVE_IN_ROOT` would; of `resolve` it knows [`RESOLVE_NO_SYMLINKS`] and
/// [`RESOLVE_NO_XDEV`].
///
/// # Errors
/// As openat2: EAGAIN when somebody else disturbs it.
#[inline(never)]
pub fn open(root: FdRef<'_>, path: &CStr, flags: u32, resolve: u64) -> Called<Fd> {
    let mut wanted = Path::new();
    wanted.push(&[b"/", path.to_bytes()])?;
    for _ in 0..MAX_WALKS {
        if let Some(opened) = walk(root, &mut wanted, flags, resolve)? {
            return Ok(opened);
        }
    }
    Err(Errno::ELOOP)
}

/// `None`: `wanted` has been changed to what it means.
fn walk(root: FdRef<'_>, wanted: &mut Path, flags: u32, resolve: u64) -> Called<Option<Fd>> {
    let mut dir = fs::openat(root, c".", O_PATH | O_DIRECTORY, 0)?;
    let mount = fs::status(dir.get())?.mnt_id;
    let (mut at, mut is_directory) = (0, true);
    while let Some((start, end)) = wanted.component(at) {
        let mut buffer = [0; NAME_LENGTH];
        let name = terminated(wanted.bytes().get(start..end).unwrap_or_default(), &mut buffer)?;
        if name == c".." {
            let before = wanted.bytes().get(..at).and_then(last_component).unwrap_or(0);
            let meant = if is_directory { Ok(()) } else { Err(Errno::ENOTDIR) };
            return meant.and_then(|()| wanted.splice(before, end, b"")).map(|()| None);
        }
        let found = fs::openat(dir.get(), name, O_PATH | O_NOFOLLOW, 0)?;
        let status = fs::status(found.get())?;
        if status.kind() == S_IFLNK {
            return match resolve & RESOLVE_NO_SYMLINKS {
                0 => follow(dir.get(), name, wanted, start, end).map(|()| None),
                _ => Err(Errno::ELOOP),
            };
        }
        if resolve & RESOLVE_NO_XDEV != 0 && status.mnt_id != mount {
            return Err(Errno::EXDEV);
        }
        // With a slash behind it the last one is a directory, or an error.
        let slash = if wanted.bytes().len() > end { O_DIRECTORY } else { 0 };
        if flags & O_PATH == 0 && wanted.component(end).is_none() {
            return opened(fs::openat(dir.get(), name, flags | slash | O_NOFOLLOW, 0)).map(Some);
        }
        (dir, at, is_directory) = (found, end, status.kind() == S_IFDIR);
    }
    let wants_directory = flags & O_DIRECTORY != 0 || wanted.bytes().len() > at;
    if wants_directory && !is_directory { Err(Errno::ENOTDIR) } else { Ok(Some(dir)) }
}

/// It was no link a moment ago: somebody has put one there.
fn opened(opened: Called<Fd>) -> Called<Fd> {
    if matches!(opened, Err(Errno::ELOOP)) { Err(Errno::EAGAIN) } else { opened }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::{format, fs as files};

    use super::*;
    use crate::sys::abi::{O_RDONLY, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS};

    /// A tree with what an image may have in it.
    fn tree() -> PathBuf {
        let path = std::env::temp_dir().join(format!("corten-walk-{}", std::process::id()));
        files::create_dir_all(path.join("a/b/c")).unwrap();
        files::write(path.join("a/file"), "").unwrap();
        for (link, to) in [
            ("up", ".."),
            ("root", "/"),
            ("out", "../../../../../../etc"),
            ("absolute", "/a/b"),
            ("a/relative", "b/../b/./c/"),
            ("a/b/back", "../../a/file"),
            ("loop", "other"),
            ("other", "loop"),
            ("dangling", "/missing/x"),
            ("to-file", "a/file/"),
            ("chain", "a/b/back"),
        ] {
            symlink(to, path.join(link)).unwrap();
        }
        path
    }

    fn seen(opened: Called<Fd>) -> Result<(u64, u64), Errno> {
        let status = opened.and_then(|fd| fs::status(fd.get()))?;
        Ok((status.ino, status.mnt_id))
    }

    #[test]
    fn walk_leads_where_openat2_leads() {
        let tree = tree();
        let text = CString::new(tree.to_str().unwrap()).unwrap();
        let root = fs::openat(FdRef::CWD, &text, O_PATH, 0).unwrap();
        let names = ["", ".", "..", "a", "b", "c", "file", "up", "root", "out", "absolute"];
        let more = ["relative", "back", "loop", "dangling", "to-file", "chain", "missing"];
        let names: std::vec::Vec<&str> = names.into_iter().chain(more).collect();
        for one in &names {
            for other in &names {
                for third in ["", "/..", "/file", "/back/"] {
                    let path = CString::new(format!("/{one}/{other}{third}")).unwrap();
                    for flags in [O_PATH, O_PATH | O_DIRECTORY, O_RDONLY] {
                        for resolve in [0, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV] {
                            let how = resolve | RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
                            let kernels = seen(fs::openat2(root.get(), &path, flags, 0, how));
                            let ours = seen(open(root.get(), &path, flags, resolve));
                            assert_eq!(ours, kernels, "{path:?} {flags:x} {resolve:x}");
                        }
                    }
                }
            }
        }
        files::remove_dir_all(tree).unwrap();
    }

    #[test]
    fn walk_does_not_cross_to_another_mount_where_it_may_not() {
        let root = fs::openat(FdRef::CWD, c"/", O_PATH, 0).unwrap();
        let crossed = open(root.get(), c"/proc/version", O_PATH, RESOLVE_NO_XDEV);
        assert_eq!(crossed.err(), Some(Errno::EXDEV));
        assert!(open(root.get(), c"/proc/version", O_PATH, 0).is_ok());
    }
}
