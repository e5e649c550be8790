//! What a filter returns: `SECCOMP_RET_*` with its data.
//!
//! Runs in: runtime.

use crate::spec::SeccompAction;

/// A return value of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer(pub(super) u32);

impl Answer {
    /// For architectures and ABIs that the profile does not list; libseccomp's default for them.
    pub(super) const KILL_THREAD: Self = Self(0);

    /// For system calls newer than the profile, so that libc falls back to the older call.
    pub(super) const ENOSYS: Self = Self(SECCOMP_RET_ERRNO | 38);

    /// `errno`: of ERRNO and TRACE, EPERM where it is absent.
    pub(super) fn new(action: SeccompAction, errno: Option<u32>) -> Self {
        const EPERM: u32 = 1;
        const SECCOMP_RET_DATA: u32 = 0xffff;
        let data = errno.unwrap_or(EPERM) & SECCOMP_RET_DATA;
        Self(match action {
            SeccompAction::Kill | SeccompAction::KillThread => 0,
            SeccompAction::KillProcess => 0x8000_0000,
            SeccompAction::Trap => 0x0003_0000,
            SeccompAction::Errno => SECCOMP_RET_ERRNO | data,
            SeccompAction::Notify => 0x7fc0_0000,
            SeccompAction::Trace => 0x7ff0_0000 | data,
            SeccompAction::Log => 0x7ffc_0000,
            SeccompAction::Allow => 0x7fff_0000,
        })
    }
}

const SECCOMP_RET_ERRNO: u32 = 0x0005_0000;
