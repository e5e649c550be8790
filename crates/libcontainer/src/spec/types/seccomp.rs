//! The types of `/linux/seccomp`.
//!
//! Runs in: any process.

use crate::spec::words::{SeccompAction, SeccompArch, SeccompFlag, SeccompOperator};

objects! {
    /// The system call filter.
    LinuxSeccomp {
        /// For every call that no rule matches.
        "defaultAction" (required) default_action: SeccompAction,
        /// The error of [`Self::default_action`] ERRNO or TRACE. `None`: EPERM.
        "defaultErrnoRet" default_errno_ret: Option<u32>,
        /// Besides the native one.
        "architectures" architectures: Vec<SeccompArch>,
        /// Flags. `None`: the runtime chooses; empty: none.
        "flags" flags: Option<Vec<SeccompFlag>>,
        /// A unix socket that gets the notify fd. Empty: none.
        "listenerPath" listener_path: String,
        /// Sent along with it.
        "listenerMetadata" listener_metadata: String,
        /// The rules.
        "syscalls" syscalls: Vec<LinuxSyscall>,
    }

    /// A rule.
    LinuxSyscall {
        /// Names of system calls, at least one.
        "names" (required) names: Vec<String>,
        /// The answer.
        "action" (required) action: SeccompAction,
        /// The error of action ERRNO or TRACE. `None`: EPERM.
        "errnoRet" errno_ret: Option<u32>,
        /// All must hold.
        "args" args: Vec<LinuxSeccompArg>,
    }

    /// A condition on an argument.
    LinuxSeccompArg {
        /// 0 to 5.
        "index" (required) index: u32,
        /// What it is compared with; of MASKED_EQ: the mask.
        "value" (required) value: u64,
        /// Of MASKED_EQ: the value.
        "valueTwo" value_two: u64,
        /// How.
        "op" (required) op: SeccompOperator,
    }
}
