//! `tmpcopyup`: what a directory of the image holds, copied into the tmpfs that will cover it.
//!
//! Runs in: init.

use core::ffi::CStr;

use corten_plan::Stage;

use crate::report::{At, Detail, Done, Failed};
use crate::sys::abi::{
    self, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY, O_WRONLY,
    PATH_MAX, Statx, Timespec,
};
use crate::sys::{Errno, Fd, FdRef, fs};

/// How deep directories are followed: each level holds two descriptors and 2 KiB of stack.
const MAX_DEPTH: u32 = 128;
/// Bytes of a `struct linux_dirent64` before the name.
const ENTRY_HEADER: usize = 19;

/// Copies what the directory `from` holds to the directory `to`: files, directories, links, devices, FIFOs; with owner, mode
/// and time of change. `detail` gets the path of what failed.
///
/// # Errors
/// [`Stage::CopyUp`].
#[inline(never)]
pub fn copy(detail: &mut Detail, from: FdRef<'_>, to: FdRef<'_>) -> Done {
    let from = fs::openat(from, c".", O_RDONLY | O_DIRECTORY, 0).at(Stage::CopyUp)?;
    detail.clear();
    copy_directory(detail, &from, to, MAX_DEPTH)
}

fn copy_directory(detail: &mut Detail, from: &Fd, to: FdRef<'_>, depth: u32) -> Done {
    if depth == 0 {
        return Err(Failed::new(Stage::CopyUp, Errno::ELOOP));
    }
    let mut buffer = [0; 2048];
    loop {
        let entries = fs::read_directory(from.get(), &mut buffer).at(Stage::CopyUp)?;
        if entries.is_empty() {
            return Ok(());
        }
        let mut rest = entries;
        while let Some((name, following)) = entry(rest) {
            rest = following;
            if name != c"." && name != c".." {
                let length = detail.bytes().len();
                detail.push(b"/");
                detail.push(name.to_bytes());
                copy_entry(detail, from.get(), name, to, depth)?;
                detail.truncate(length);
            }
        }
    }
}

/// The first `struct linux_dirent64`: its name, and what follows.
fn entry(entries: &[u8]) -> Option<(&CStr, &[u8])> {
    let length = u16::from_le_bytes([*entries.get(16)?, *entries.get(17)?]);
    let (entry, following) = entries.split_at_checked(usize::from(length))?;
    Some((CStr::from_bytes_until_nul(entry.get(ENTRY_HEADER..)?).ok()?, following))
}

fn copy_entry(
    detail: &mut Detail,
    from: FdRef<'_>,
    name: &CStr,
    to: FdRef<'_>,
    depth: u32,
) -> Done {
    let status = fs::statx(from, name, abi::AT_SYMLINK_NOFOLLOW).at(Stage::CopyUp)?;
    let mode = u32::from(status.mode) & 0o7777;
    match status.kind() {
        abi::S_IFDIR => {
            fs::mkdirat(to, name, 0o700).at(Stage::CopyUp)?;
            let flags = O_DIRECTORY | O_NOFOLLOW;
            let source = fs::openat(from, name, flags | O_RDONLY, 0).at(Stage::CopyUp)?;
            let made = fs::openat(to, name, flags | O_PATH, 0).at(Stage::CopyUp)?;
            copy_directory(detail, &source, made.get(), depth - 1)?;
        }
        abi::S_IFREG => copy_file(from, name, to).at(Stage::CopyUp)?,
        abi::S_IFLNK => copy_link(from, name, to).at(Stage::CopyUp)?,
        kind => {
            let device = fs::device_number(status.rdev_major, status.rdev_minor);
            let made = device.and_then(|device| fs::mknodat(to, name, kind | mode, device));
            made.at(Stage::CopyUp)?;
        }
    }
    keep_attributes(to, name, &status).at(Stage::CopyUp)
}

fn copy_file(from: FdRef<'_>, name: &CStr, to: FdRef<'_>) -> Result<(), Errno> {
    // Nobody but us writes to the image now, but a FIFO in its place must not make us wait.
    let source = fs::openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0)?;
    let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    let made = fs::openat(to, name, flags, 0o600)?;
    while fs::send_file(made.get(), source.get(), 1 << 30)? > 0 {}
    Ok(())
}

#[inline(never)]
fn copy_link(from: FdRef<'_>, name: &CStr, to: FdRef<'_>) -> Result<(), Errno> {
    let mut buffer = [0; PATH_MAX];
    let length = fs::readlinkat(from, name, &mut buffer)?.len();
    let target = buffer.get(..=length).and_then(|target| CStr::from_bytes_with_nul(target).ok());
    fs::symlinkat(target.ok_or(Errno::EINVAL)?, to, name)
}

/// Owner, then mode (chown clears the set-id bits), then times.
fn keep_attributes(to: FdRef<'_>, name: &CStr, status: &Statx) -> Result<(), Errno> {
    let made = fs::openat(to, name, O_PATH | O_NOFOLLOW, 0)?;
    fs::chown(made.get(), status.uid, status.gid)?;
    if status.kind() != abi::S_IFLNK {
        crate::device::set_mode(made.get(), u32::from(status.mode) & 0o7777)?;
    }
    let time = |time: abi::StatxTimestamp| Timespec { sec: time.sec, nsec: i64::from(time.nsec) };
    fs::set_times(to, name, [time(status.atime), time(status.mtime)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_of_a_directory_gives_name_and_rest() {
        let mut bytes = [0; 48];
        bytes[16] = 24;
        bytes[19..23].copy_from_slice(b"abc\0");
        bytes[40] = 24;
        bytes[43..45].copy_from_slice(b"d\0");
        let (name, rest) = entry(&bytes).unwrap();
        assert_eq!((name, rest.len()), (c"abc", 24));
        assert_eq!(entry(rest).unwrap().0, c"d");
    }

    #[test]
    fn entry_that_is_cut_off_is_none() {
        assert_eq!(entry(&[]), None);
        let mut bytes = [0; 20];
        bytes[16] = 24;
        assert_eq!(entry(&bytes), None);
    }
}
