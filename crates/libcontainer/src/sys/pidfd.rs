//! What the kernel knows of the process behind a pidfd, even of one that somebody else has reaped.
//!
//! Runs in: runtime.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::wait::ExitStatus;

/// `PIDFD_GET_INFO` of `<linux/pidfd.h>`: `_IOWR(0xFF, 11, struct pidfd_info)`, with the size of its first version.
const PIDFD_GET_INFO: libc::c_ulong = 0xc040_ff0b;
/// `PIDFD_INFO_EXIT` (Linux 6.15).
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// `struct pidfd_info`, version 0 (64 bytes).
#[repr(C)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    /// pid, tgid, ppid, then uids and gids.
    ids: [u32; 11],
    exit_code: i32,
}

/// The pid of the process that `pidfd` refers to, in this process's pid namespace. `None`: it has been reaped, or is not to be
/// seen here; or the kernel is older than 6.13.
pub fn pid(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let [pid, ..] = info(pidfd, 0)?.ids;
    i32::try_from(pid).ok().filter(|pid| *pid > 0)
}

/// How the process ended that `pidfd` refers to and that was reaped already: by a `wait(-1)` of the caller's, or by the
/// kernel because the caller ignores SIGCHLD. `None`: it was not, or the kernel is older than 6.15.
pub fn status_of_reaped(pidfd: BorrowedFd<'_>) -> Option<ExitStatus> {
    let info = info(pidfd, PIDFD_INFO_EXIT).filter(|info| info.mask & PIDFD_INFO_EXIT != 0)?;
    let signal = info.exit_code & 0x7f;
    Some(if signal == 0 {
        ExitStatus::Exited((info.exit_code >> 8) & 0xff)
    } else {
        ExitStatus::Signaled(signal)
    })
}

fn info(pidfd: BorrowedFd<'_>, mask: u64) -> Option<PidfdInfo> {
    const { assert!(size_of::<PidfdInfo>() == 64, "the size is part of the request's number") };
    let mut info = PidfdInfo { mask, cgroup_id: 0, ids: [0; 11], exit_code: 0 };
    // SAFETY: the request writes at most the 64 bytes that its number names to `info`, which has them; the fd is borrowed
    // and so open.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info) };
    (result == 0).then_some(info)
}
