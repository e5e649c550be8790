//! The types of `/process`.
//!
//! Runs in: any process.

use crate::spec::words::{IoPriorityClass, RlimitType, SchedulerFlag, SchedulerPolicy};

objects! {
    /// The container's process.
    #[derive(Default)]
    Process {
        /// Whether it gets a terminal of its own.
        "terminal" terminal: bool,
        /// The terminal's first size.
        "consoleSize" console_size: Option<ConsoleSize>,
        /// Who it is.
        "user" (written) user: User,
        /// argv; not empty after validation.
        "args" args: Vec<String>,
        /// `NAME=value`.
        "env" env: Vec<String>,
        /// Absolute, in the container.
        "cwd" (required) cwd: String,
        /// `None`: no capability is given or taken by name.
        "capabilities" capabilities: Option<LinuxCapabilities>,
        /// At most one of each type.
        "rlimits" rlimits: Vec<PosixRlimit>,
        /// `PR_SET_NO_NEW_PRIVS`.
        "noNewPrivileges" no_new_privileges: bool,
        /// Empty: none.
        "apparmorProfile" apparmor_profile: String,
        /// -1000 to 1000. `None`: unchanged.
        "oomScoreAdj" oom_score_adj: Option<i32>,
        /// `sched_setattr(2)`.
        "scheduler" scheduler: Option<Scheduler>,
        /// Empty: none.
        "selinuxLabel" selinux_label: String,
        /// `ioprio_set(2)`.
        "ioPriority" io_priority: Option<LinuxIoPriority>,
        /// For `exec` only.
        "execCPUAffinity" exec_cpu_affinity: Option<CpuAffinity>,
    }

    /// The size of a terminal, in characters. 0: unset.
    #[derive(Default)]
    ConsoleSize {
        /// Rows.
        "height" (required) height: u16,
        /// Columns.
        "width" (required) width: u16,
    }

    /// Ids as the container sees them.
    #[derive(Default)]
    User {
        /// Neither this nor any other id is 4294967295, which the kernel takes for "unchanged".
        "uid" (written) uid: u32,
        /// The primary group.
        "gid" (written) gid: u32,
        /// `None`: 0022, as runc and crun.
        "umask" umask: Option<u32>,
        /// Supplementary groups.
        "additionalGids" additional_gids: Vec<u32>,
    }

    /// The five sets, by name (`CAP_CHOWN`). A name that nobody knows is kept here, and a warning.
    #[derive(Default)]
    LinuxCapabilities {
        /// Limits what execve can give.
        "bounding" bounding: Vec<String>,
        /// What the kernel checks.
        "effective" effective: Vec<String>,
        /// Kept across execve for files that have them too.
        "inheritable" inheritable: Vec<String>,
        /// What may be made effective.
        "permitted" permitted: Vec<String>,
        /// Kept across execve of ordinary files.
        "ambient" ambient: Vec<String>,
    }

    /// A limit of `setrlimit(2)`; 18446744073709551615 is no limit.
    PosixRlimit {
        /// Which.
        "type" (required) rlimit_type: RlimitType,
        /// The ceiling.
        "hard" (required) hard: u64,
        /// What is in force.
        "soft" (required) soft: u64,
    }

    /// `sched_setattr(2)`.
    Scheduler {
        /// The policy.
        "policy" (required) policy: SchedulerPolicy,
        /// -20 to 19.
        "nice" nice: i32,
        /// Of SCHED_FIFO and SCHED_RR: 1 to 99; else 0.
        "priority" priority: i32,
        /// Flags.
        "flags" flags: Vec<SchedulerFlag>,
        /// Of SCHED_DEADLINE: ns in each period.
        "runtime" runtime: u64,
        /// Of SCHED_DEADLINE: ns.
        "deadline" deadline: u64,
        /// Of SCHED_DEADLINE: ns.
        "period" period: u64,
    }

    /// `ioprio_set(2)`.
    LinuxIoPriority {
        /// The class.
        "class" (required) class: IoPriorityClass,
        /// 0 (highest) to 7.
        "priority" priority: i32,
    }

    /// CPUs of `exec`, as lists (`0-3,7`).
    #[derive(Default)]
    CpuAffinity {
        /// Before the process is moved into the container's cgroup.
        "initial" initial: String,
        /// After that.
        "final" final_: String,
    }
}
