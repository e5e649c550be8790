//! The kernel's flags, by number and by name.
//!
//! One table for each set of flags: the constants are what the planner writes, the names are what people read. Sources:
//! `<linux/mount.h>`, `<linux/sched.h>`, `<linux/resource.h>` of Linux 6.18; the numbers are the same on every
//! architecture that corten runs on.
//!
//! Runs in: any process.

use corten_plan::op::mount_flags;

use crate::seccomp;

/// A set of flags: names and bits.
pub(super) type Words = &'static [(&'static str, u64)];

macro_rules! words {
    ($(#[$doc:meta])* $table:ident: $type:ty { $($name:ident = $value:expr,)* }) => {
        $(pub(crate) const $name: $type = $value;)*
        $(#[$doc])*
        pub(super) const $table: Words = &[$((stringify!($name), $name as u64),)*];
    };
}

words! {
    /// Flags of `mount(2)`.
    MS: u64 {
        MS_RDONLY = 1,
        MS_NOSUID = 1 << 1,
        MS_NODEV = 1 << 2,
        MS_NOEXEC = 1 << 3,
        MS_SYNCHRONOUS = 1 << 4,
        MS_REMOUNT = 1 << 5,
        MS_MANDLOCK = 1 << 6,
        MS_DIRSYNC = 1 << 7,
        MS_NOSYMFOLLOW = 1 << 8,
        MS_NOATIME = 1 << 10,
        MS_NODIRATIME = 1 << 11,
        MS_BIND = 1 << 12,
        MS_REC = 1 << 14,
        MS_SILENT = 1 << 15,
        MS_UNBINDABLE = 1 << 17,
        MS_PRIVATE = 1 << 18,
        MS_SLAVE = 1 << 19,
        MS_SHARED = 1 << 20,
        MS_RELATIME = 1 << 21,
        MS_I_VERSION = 1 << 23,
        MS_STRICTATIME = 1 << 24,
        MS_LAZYTIME = 1 << 25,
    }
}

words! {
    /// Attributes of one mount: `fsmount(2)`, `mount_setattr(2)`. `MOUNT_ATTR_RELATIME` is 0: what is left when neither
    /// of the other two of `MOUNT_ATTR__ATIME` is set.
    MOUNT_ATTR: u64 {
        MOUNT_ATTR_RDONLY = 0x1,
        MOUNT_ATTR_NOSUID = 0x2,
        MOUNT_ATTR_NODEV = 0x4,
        MOUNT_ATTR_NOEXEC = 0x8,
        MOUNT_ATTR__ATIME = 0x70,
        MOUNT_ATTR_NOATIME = 0x10,
        MOUNT_ATTR_STRICTATIME = 0x20,
        MOUNT_ATTR_NODIRATIME = 0x80,
        MOUNT_ATTR_NOSYMFOLLOW = 0x20_0000,
    }
}

words! {
    /// Namespaces: `clone3(2)`, `setns(2)`, `unshare(2)`.
    CLONE: u32 {
        CLONE_VM = 0x100,
        CLONE_NEWTIME = 0x80,
        CLONE_NEWNS = 0x2_0000,
        CLONE_NEWCGROUP = 0x200_0000,
        CLONE_NEWUTS = 0x400_0000,
        CLONE_NEWIPC = 0x800_0000,
        CLONE_NEWUSER = 0x1000_0000,
        CLONE_NEWPID = 0x2000_0000,
        CLONE_NEWNET = 0x4000_0000,
    }
}

/// The flags of the mount ops.
pub(super) const MOUNT_OP: Words = &[
    ("NO_SYMLINKS", mount_flags::NO_SYMLINKS as u64),
    ("COPY_UP", mount_flags::COPY_UP as u64),
    ("MAY_COVER_PROC", mount_flags::MAY_COVER_PROC as u64),
    ("MODE_OF_TARGET", mount_flags::MODE_OF_TARGET as u64),
    ("RECURSIVE", mount_flags::RECURSIVE as u64),
    ("SOURCE_NOFOLLOW", mount_flags::SOURCE_NOFOLLOW as u64),
    ("SOURCE_IS_PROC", mount_flags::SOURCE_IS_PROC as u64),
    ("PLAIN", mount_flags::PLAIN as u64),
    ("KEPT", mount_flags::KEPT as u64),
    ("ID_MAP", mount_flags::ID_MAP as u64),
];

/// Resource limits by number; on x86, ARM, RISC-V, POWER and s390 alike (`<asm-generic/resource.h>`).
pub(super) const RLIMITS: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

/// Modes of `set_mempolicy(2)`, `<linux/mempolicy.h>`.
pub(super) const MPOL: &[(&str, u32)] = &[
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

/// Flags of those modes.
pub(super) const MPOL_FLAGS: &[(&str, u32)] = &[
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

/// Flags of `seccomp(2)`.
pub(super) const SECCOMP: Words = &[
    ("SECCOMP_FILTER_FLAG_LOG", seccomp::SECCOMP_FILTER_FLAG_LOG as u64),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", seccomp::SECCOMP_FILTER_FLAG_SPEC_ALLOW as u64),
    ("SECCOMP_FILTER_FLAG_NEW_LISTENER", seccomp::SECCOMP_FILTER_FLAG_NEW_LISTENER as u64),
    (
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        seccomp::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV as u64,
    ),
];

/// `A|B|0x…`: the names of the bits of `value`, and what has no name as a number; `0` when there is none.
pub(super) fn join(words: Words, value: u64) -> String {
    let mut rest = value;
    let mut text = String::new();
    let mut add = |word: &str| {
        if !text.is_empty() {
            text.push('|');
        }
        text.push_str(word);
    };
    for (name, bits) in words {
        if *bits != 0 && rest & bits == *bits {
            rest &= !bits;
            add(name);
        }
    }
    if rest != 0 || value == 0 {
        add(&if value == 0 { "0".to_owned() } else { format!("{rest:#x}") });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{CLONE, MOUNT_ATTR, MS, join};

    #[test]
    fn join_known_and_unknown_bits_names_what_it_can() {
        assert_eq!(join(MS, 0), "0");
        assert_eq!(join(MS, 0b11), "MS_RDONLY|MS_NOSUID");
        assert_eq!(join(MS, 1 << 40 | 1), "MS_RDONLY|0x10000000000");
        assert_eq!(join(MOUNT_ATTR, 0x70), "MOUNT_ATTR__ATIME");
        assert_eq!(join(MOUNT_ATTR, 0x10), "MOUNT_ATTR_NOATIME");
        assert_eq!(join(CLONE, 0x2002_0000), "CLONE_NEWNS|CLONE_NEWPID");
    }

    /// The numbers against those of the C library.
    #[test]
    fn words_are_the_c_library_s() {
        for (name, ours, theirs) in [
            ("MS_LAZYTIME", super::MS_LAZYTIME, libc::MS_LAZYTIME),
            ("MS_STRICTATIME", super::MS_STRICTATIME, libc::MS_STRICTATIME),
            ("MS_I_VERSION", super::MS_I_VERSION, libc::MS_I_VERSION),
            ("MS_RELATIME", super::MS_RELATIME, libc::MS_RELATIME),
            ("MS_SHARED", super::MS_SHARED, libc::MS_SHARED),
            ("MS_SLAVE", super::MS_SLAVE, libc::MS_SLAVE),
            ("MS_PRIVATE", super::MS_PRIVATE, libc::MS_PRIVATE),
            ("MS_UNBINDABLE", super::MS_UNBINDABLE, libc::MS_UNBINDABLE),
            ("MS_SILENT", super::MS_SILENT, libc::MS_SILENT),
            ("MS_REC", super::MS_REC, libc::MS_REC),
            ("MS_BIND", super::MS_BIND, libc::MS_BIND),
            ("MS_NODIRATIME", super::MS_NODIRATIME, libc::MS_NODIRATIME),
            ("MS_NOATIME", super::MS_NOATIME, libc::MS_NOATIME),
            ("MS_DIRSYNC", super::MS_DIRSYNC, libc::MS_DIRSYNC),
            ("MS_MANDLOCK", super::MS_MANDLOCK, libc::MS_MANDLOCK),
            ("MS_SYNCHRONOUS", super::MS_SYNCHRONOUS, libc::MS_SYNCHRONOUS),
        ] {
            assert_eq!(ours, theirs, "{name}");
        }
    }
}
