//! Files and directories.
//!
//! Runs in: init.

use core::ffi::CStr;

use super::abi::{self, OpenHow, Statfs, Statx};
use super::{Errno, Fd, FdRef, Result, call, ignored};

/// `openat2`; `O_CLOEXEC` is added.
pub fn openat2(dir: FdRef<'_>, path: &CStr, flags: u32, mode: u32, resolve: u64) -> Result<Fd> {
    let flags = u64::from(flags | abi::O_CLOEXEC);
    let how = OpenHow { flags, mode: u64::from(mode), resolve };
    // SAFETY: `path` ends with a NUL, and `how` is a `struct open_how` of the size given; both outlive the call.
    unsafe { call!(OPENAT2, dir, path, &raw const how, size_of::<OpenHow>()) }.map(Fd::new)
}

/// `openat`; `O_CLOEXEC` is added.
pub fn openat(dir: FdRef<'_>, path: &CStr, flags: u32, mode: u32) -> Result<Fd> {
    // SAFETY: `path` ends with a NUL and outlives the call.
    unsafe { call!(OPENAT, dir, path, flags | abi::O_CLOEXEC, mode) }.map(Fd::new)
}

/// `statx` of `path` below `dir`.
pub fn statx(dir: FdRef<'_>, path: &CStr, flags: u32) -> Result<Statx> {
    let mut status = Statx::default();
    let mask = abi::STATX_BASIC_STATS | abi::STATX_MNT_ID;
    // SAFETY: `path` ends with a NUL; the kernel writes the 256 bytes that `Statx` has.
    unsafe { call!(STATX, dir, path, flags, mask, &raw mut status) }.map(|_| status)
}

/// `statx` of `fd` itself, which may be `O_PATH`.
pub fn status(fd: FdRef<'_>) -> Result<Statx> {
    statx(fd, c"", abi::AT_EMPTY_PATH)
}

/// `fstatfs`.
pub fn file_system(fd: FdRef<'_>) -> Result<Statfs> {
    let mut status = Statfs::default();
    // SAFETY: the kernel writes a `struct statfs`, whose 120 bytes `Statfs` has.
    unsafe { call!(FSTATFS, fd, &raw mut status) }.map(|_| status)
}

/// `mkdirat`.
pub fn mkdirat(dir: FdRef<'_>, name: &CStr, mode: u32) -> Result<()> {
    // SAFETY: `name` ends with a NUL and outlives the call.
    unsafe { call!(MKDIRAT, dir, name, mode) }.map(drop)
}

/// `mknodat`; `device` as [`device_number`] makes it.
pub fn mknodat(dir: FdRef<'_>, name: &CStr, mode: u32, device: u32) -> Result<()> {
    // SAFETY: `name` ends with a NUL and outlives the call.
    unsafe { call!(MKNODAT, dir, name, mode, device) }.map(drop)
}

/// The kernel's encoding of a device number (`new_encode_dev`): 12 bits of major, 20 bits of minor.
///
/// # Errors
/// EINVAL for numbers that do not fit.
pub fn device_number(major: u32, minor: u32) -> Result<u32> {
    if major >= 1 << 12 || minor >= 1 << 20 {
        return Err(Errno::EINVAL);
    }
    Ok((minor & 0xff) | major << 8 | (minor & !0xff) << 12)
}

/// `symlinkat`.
pub fn symlinkat(target: &CStr, dir: FdRef<'_>, name: &CStr) -> Result<()> {
    // SAFETY: both strings end with a NUL and outlive the call.
    unsafe { call!(SYMLINKAT, target, dir, name) }.map(drop)
}

/// `readlinkat` of `name` below `dir` (empty: of the link that `dir` is open on): the part of `buffer` that was filled.
pub fn readlinkat<'b>(dir: FdRef<'_>, name: &CStr, buffer: &'b mut [u8]) -> Result<&'b [u8]> {
    // SAFETY: `name` ends with a NUL; the kernel writes at most `buffer.len()` bytes to `buffer`.
    let count = unsafe { call!(READLINKAT, dir, name, buffer.as_mut_ptr(), buffer.len()) }?;
    // A target that fills the buffer may have been cut.
    buffer.get(..count).filter(|target| target.len() < buffer.len()).ok_or(Errno::ENAMETOOLONG)
}

/// `unlinkat` of something that is no directory.
pub fn unlinkat(dir: FdRef<'_>, name: &CStr) -> Result<()> {
    // SAFETY: `name` ends with a NUL and outlives the call.
    unsafe { call!(UNLINKAT, dir, name, 0u32) }.map(drop)
}

/// `fchownat` of `fd` itself, which may be `O_PATH`; `u32::MAX` leaves an id as it is.
pub fn chown(fd: FdRef<'_>, uid: u32, gid: u32) -> Result<()> {
    // SAFETY: the path is a constant that ends with a NUL.
    unsafe { call!(FCHOWNAT, fd, c"", uid, gid, abi::AT_EMPTY_PATH) }.map(drop)
}

/// `fchmodat2` of `fd` itself, which may be `O_PATH`; ENOSYS before Linux 6.6.
pub fn chmod(fd: FdRef<'_>, mode: u32) -> Result<()> {
    // SAFETY: the path is a constant that ends with a NUL.
    unsafe { call!(FCHMODAT2, fd, c"", mode, abi::AT_EMPTY_PATH) }.map(drop)
}

/// `fchmodat` of `path` below `dir`, which follows links.
pub fn chmod_path(dir: FdRef<'_>, path: &CStr, mode: u32) -> Result<()> {
    // SAFETY: `path` ends with a NUL and outlives the call.
    unsafe { call!(FCHMODAT, dir, path, mode) }.map(drop)
}

/// `fsetxattr`.
pub fn set_attribute(fd: FdRef<'_>, name: &CStr, value: &[u8]) -> Result<()> {
    // SAFETY: `name` ends with a NUL; the kernel reads `value.len()` bytes from `value`.
    unsafe { call!(FSETXATTR, fd, name, value.as_ptr(), value.len(), 0u32) }.map(drop)
}

/// `utimensat` of `name` below `dir`, without following a link.
pub fn set_times(dir: FdRef<'_>, name: &CStr, times: [abi::Timespec; 2]) -> Result<()> {
    // SAFETY: `name` ends with a NUL; `times` are the two `struct timespec` that the call reads.
    unsafe { call!(UTIMENSAT, dir, name, times.as_ptr(), abi::AT_SYMLINK_NOFOLLOW) }.map(drop)
}

/// `newfstatat`: `st_mode` of what `path` leads to.
pub fn mode(path: &CStr) -> Result<u32> {
    // `struct stat` has 144 bytes on x86_64, 128 elsewhere.
    let mut status = [0u32; 36];
    // SAFETY: `path` ends with a NUL; the kernel writes a `struct stat` to `status`, which is as large as any.
    unsafe { call!(NEWFSTATAT, FdRef::CWD, path, status.as_mut_ptr(), 0u32) }?;
    status.get(super::arch::STAT_MODE).copied().ok_or(Errno::EOVERFLOW)
}

/// `faccessat2` with `X_OK`, for the effective ids.
pub fn executable(path: &CStr) -> Result<()> {
    // SAFETY: `path` ends with a NUL and outlives the call.
    unsafe { call!(FACCESSAT2, FdRef::CWD, path, abi::X_OK, abi::AT_EACCESS) }.map(drop)
}

/// `read`: the part of `buffer` that was filled; empty at the end of the file.
pub fn read<'b>(fd: FdRef<'_>, buffer: &'b mut [u8]) -> Result<&'b mut [u8]> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes to `buffer`.
    let count = unsafe { call!(READ, fd, buffer.as_mut_ptr(), buffer.len()) }?;
    buffer.get_mut(..count).ok_or(Errno::EOVERFLOW)
}

/// `pread64`: the part of `buffer` that was filled.
pub fn read_at<'b>(fd: FdRef<'_>, buffer: &'b mut [u8], offset: usize) -> Result<&'b mut [u8]> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes to `buffer`.
    let count = unsafe { call!(PREAD64, fd, buffer.as_mut_ptr(), buffer.len(), offset) }?;
    buffer.get_mut(..count).ok_or(Errno::EOVERFLOW)
}

/// `write`: how many bytes were taken.
pub fn write(fd: FdRef<'_>, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the kernel reads `bytes.len()` bytes from `bytes`.
    unsafe { call!(WRITE, fd, bytes.as_ptr(), bytes.len()) }
}

/// `pwrite64`: how many bytes were taken.
pub fn write_at(fd: FdRef<'_>, bytes: &[u8], offset: usize) -> Result<usize> {
    // SAFETY: the kernel reads `bytes.len()` bytes from `bytes`.
    unsafe { call!(PWRITE64, fd, bytes.as_ptr(), bytes.len(), offset) }
}

/// `lseek` to the beginning.
pub fn rewind(fd: FdRef<'_>) -> Result<()> {
    // SAFETY: no pointers.
    unsafe { call!(LSEEK, fd, 0u64, 0u32) }.map(drop)
}

/// `sendfile` of up to `count` bytes from the position of `from` to that of `to`; 0 at the end of the file.
pub fn send_file(to: FdRef<'_>, from: FdRef<'_>, count: usize) -> Result<usize> {
    // SAFETY: the offset pointer is NULL, so the kernel uses the position of the file.
    unsafe { call!(SENDFILE, to, from, core::ptr::null::<u64>(), count) }
}

/// `getdents64`: the part of `buffer` that was filled; empty at the end of the directory.
pub fn read_directory<'b>(fd: FdRef<'_>, buffer: &'b mut [u8]) -> Result<&'b [u8]> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes to `buffer`.
    let count = unsafe { call!(GETDENTS64, fd, buffer.as_mut_ptr(), buffer.len()) }?;
    buffer.get(..count).ok_or(Errno::EOVERFLOW)
}

/// `getcwd`: the path with its NUL, as the kernel gives it (which may begin with `(unreachable)`).
pub fn getcwd(buffer: &mut [u8]) -> Result<&[u8]> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes to `buffer`.
    let count = unsafe { call!(GETCWD, buffer.as_mut_ptr(), buffer.len()) }?;
    buffer.get(..count).ok_or(Errno::EOVERFLOW)
}

/// `chdir`.
pub fn chdir(path: &CStr) -> Result<()> {
    // SAFETY: `path` ends with a NUL and outlives the call.
    unsafe { call!(CHDIR, path) }.map(drop)
}

/// `fchdir`.
pub fn fchdir(dir: FdRef<'_>) -> Result<()> {
    // SAFETY: no pointers.
    unsafe { call!(FCHDIR, dir) }.map(drop)
}

/// `chroot`.
pub fn chroot(path: &CStr) -> Result<()> {
    // SAFETY: `path` ends with a NUL and outlives the call.
    unsafe { call!(CHROOT, path) }.map(drop)
}

/// `umask`.
pub fn umask(mask: u32) {
    // SAFETY: no pointers; it cannot fail.
    ignored(unsafe { call!(UMASK, mask) });
}

/// `pipe2`: the end to read from, the end to write to.
pub fn pipe() -> Result<(Fd, Fd)> {
    let mut numbers = [0i32; 2];
    // SAFETY: the kernel writes two ints to `numbers`.
    unsafe { call!(PIPE2, numbers.as_mut_ptr(), abi::O_CLOEXEC) }?;
    let [read, write] = numbers;
    Ok((Fd { number: read }, Fd { number: write }))
}

/// `dup3` to a number of our choice, not close-on-exec.
pub fn duplicate_to(fd: FdRef<'_>, number: u32) -> Result<()> {
    // SAFETY: the numbers that are replaced are 0, 1 and 2, which no `Fd` of ours has: the runtime keeps them open.
    unsafe { call!(DUP3, fd, number, 0u32) }.map(drop)
}

/// `ioctl` with a number, or the address of nothing.
pub fn ioctl(fd: FdRef<'_>, request: u32, argument: u32) -> Result<usize> {
    // SAFETY: only used for requests whose argument is a number.
    unsafe { call!(IOCTL, fd, request, argument) }
}

/// `ioctl` that reads or writes a structure.
pub fn ioctl_with<const N: usize>(fd: FdRef<'_>, request: u32, bytes: &mut [u8; N]) -> Result<()> {
    // SAFETY: only used for requests whose structure has N bytes.
    unsafe { call!(IOCTL, fd, request, bytes.as_mut_ptr()) }.map(drop)
}

/// `TIOCGPTPEER`: the other end of the terminal that `master` is.
pub fn terminal_peer(master: FdRef<'_>) -> Result<Fd> {
    let flags = abi::O_RDWR | abi::O_NOCTTY | abi::O_CLOEXEC;
    ioctl(master, abi::TIOCGPTPEER, flags).map(Fd::new)
}
