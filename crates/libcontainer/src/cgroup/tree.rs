//! Walking over a cgroup and all below it.
//!
//! A container that may write to its cgroup decides how deep and how wide the tree is: so two fds are open at a time,
//! however deep it goes, and there is no recursion. Going up by `..` is safe here: a directory of cgroup v2 cannot be moved.
//!
//! Runs in: runtime.

use std::ffi::{CStr, CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, RawDir};

use super::{file, open_below};

/// Where the walk is.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// In this directory, before those below it.
    Enter(BorrowedFd<'a>),
    /// Back in `parent`, after everything below `name`. Not for the top.
    Leave { parent: BorrowedFd<'a>, name: &'a CStr },
}

struct Level {
    name: CString,
    /// What is below it and was not walked yet.
    children: Vec<CString>,
}

/// Walks over `top` and all below it; directories that vanish meanwhile are passed over.
pub(super) fn walk(
    top: impl AsFd,
    mut visit: impl FnMut(Step<'_>) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    let mut current = open_directory(top, c".")?;
    visit(Step::Enter(current.as_fd()))?;
    let mut levels = vec![Level { name: CString::default(), children: children(&current)? }];
    while let Some(mut level) = levels.pop() {
        if let Some(name) = level.children.pop() {
            levels.push(level);
            match open_below(&current, Path::new(OsStr::from_bytes(name.as_bytes()))) {
                Ok(directory) => {
                    visit(Step::Enter(directory.as_fd()))?;
                    levels.push(Level { name, children: children(&directory)? });
                    current = directory;
                }
                Err(errno) if file::is_gone(errno) => {}
                Err(errno) => return Err(errno),
            }
        } else if !levels.is_empty() {
            let parent = open_directory(&current, c"..")?;
            visit(Step::Leave { parent: parent.as_fd(), name: &level.name })?;
            current = parent;
        }
    }
    Ok(())
}

fn open_directory(directory: impl AsFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

/// The names of the directories in `directory`, which was just opened.
fn children(directory: &OwnedFd) -> rustix::io::Result<Vec<CString>> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) if entry.file_type() != FileType::Directory => {}
            Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
            Ok(entry) => names.push(entry.file_name().to_owned()),
            Err(errno) if file::is_gone(errno) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(names)
}
