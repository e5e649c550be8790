//! Signals to processes of containers, also out of the AppArmor profile that corten itself may run under (packaging/apparmor/corten).
//!
//! That profile gives ordinary users their user namespaces and confines nothing. But the profiles that engines make for containers let
//! signals in from `unconfined`, and by name from `runc` and `crun`; from no `corten` (moby's profiles/apparmor/template.go, and that
//! of containers-common).
//!
//! Runs in: runtime.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::sys::wait;

const ITS_LABEL: &[u8] = b"corten (unconfined)\n";
const LABEL: &str = "/proc/thread-self/attr/apparmor/current";

/// Sends signal `number` to the process that `pidfd` refers to.
///
/// # Errors
/// ESRCH when it has ended.
pub fn send_signal(pidfd: BorrowedFd<'_>, number: i32) -> Result<(), Errno> {
    match wait::send_signal(pidfd, number) {
        // The no of AppArmor; that of the kernel itself is EPERM.
        Err(Errno::ACCESS) if leave_profile() => wait::send_signal(pidfd, number),
        sent => sent,
    }
}

/// Sends it to the process of this pid that `is_meant` holds for. That is asked when it is open, for the number may have been given
/// to somebody else before. One that has ended meanwhile is no error.
pub fn send_to(pid: i32, number: i32, is_meant: impl FnOnce() -> bool) -> Result<(), Errno> {
    let opened = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    match opened.filter(|_| is_meant()).map(|pidfd| send_signal(pidfd.as_fd(), number)) {
        None | Some(Err(Errno::SRCH)) => Ok(()),
        Some(sent) => sent,
    }
}

/// The calling thread leaves the profile. `false`: it is not under it, or may not.
fn leave_profile() -> bool {
    fs::read(LABEL).is_ok_and(|label| label == ITS_LABEL)
        && fs::write(LABEL, "changeprofile unconfined").is_ok()
}
