//! Signals to processes of containers, also out of the AppArmor profile that corten itself may run under (packaging/apparmor/corten).
//!
//! That profile gives ordinary users their user namespaces and confines nothing. But the profiles that engines make for containers let
//! signals in from `unconfined`, and by name from `runc` and `crun`; from no `corten` (moby's profiles/apparmor/template.go, and that
//! of containers-common).
//!
//! Runs in: runtime.

use std::fs;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

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

/// The calling thread leaves the profile. `false`: it is not under it, or may not.
fn leave_profile() -> bool {
    fs::read(LABEL).is_ok_and(|label| label == ITS_LABEL)
        && fs::write(LABEL, "changeprofile unconfined").is_ok()
}
