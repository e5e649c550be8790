//! The closed sets of words in config.json, as enums.
//!
//! Runs in: any process.

macro_rules! words {
    ($(
        $(#[$doc:meta])*
        $name:ident { $( $(#[$word_doc:meta])* $variant:ident = $word:literal, )* }
    )*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $( $(#[$word_doc])* #[doc = concat!("`", $word, "`.")] $variant, )* }

        impl $name {
            /// Every word of the set.
            pub const ALL: &[Self] = &[$( Self::$variant, )*];

            /// The word as it stands in config.json.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }
        }

        impl Word for $name {
            const ALL: &'static [Self] = Self::ALL;
            fn as_str(self) -> &'static str {
                self.as_str()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                to.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_str(OneOf(Self::ALL, Self::as_str))
            }
        }
    )* };
}

/// A closed set.
pub(super) trait Word: Copy + 'static {
    const ALL: &'static [Self];
    fn as_str(self) -> &'static str;
}

/// A word, or none where it is empty: Go writes `""` for a string that is not set.
pub(super) struct WordOrEmpty<T>(pub(super) Option<T>);

impl<'de, T: Word> serde::Deserialize<'de> for WordOrEmpty<T> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(OneOfOrEmpty(OneOf(T::ALL, T::as_str)))
    }
}

struct OneOfOrEmpty<T: 'static>(OneOf<T>);

impl<T: Copy> serde::de::Visitor<'_> for OneOfOrEmpty<T> {
    type Value = WordOrEmpty<T>;

    fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.expecting(to)
    }

    fn visit_str<E: serde::de::Error>(self, found: &str) -> Result<WordOrEmpty<T>, E> {
        let word = if found.is_empty() { None } else { Some(self.0.visit_str(found)?) };
        Ok(WordOrEmpty(word))
    }
}

/// Reads one of the words of a set.
struct OneOf<T: 'static>(&'static [T], fn(T) -> &'static str);

impl<T: Copy> serde::de::Visitor<'_> for OneOf<T> {
    type Value = T;

    fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            to.write_str(if index == 0 { "one of " } else { ", " })?;
            to.write_str((self.1)(*word))?;
        }
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, found: &str) -> Result<T, E> {
        let word = self.0.iter().find(|word| (self.1)(**word) == found);
        word.copied().ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(found), &self))
    }
}

words! {
    /// A kind of Linux namespace.
    NamespaceType {
        Pid = "pid",
        Network = "network",
        Mount = "mount",
        Ipc = "ipc",
        Uts = "uts",
        User = "user",
        Cgroup = "cgroup",
        Time = "time",
    }

    /// A resource of `setrlimit(2)`.
    RlimitType {
        As = "RLIMIT_AS",
        Core = "RLIMIT_CORE",
        Cpu = "RLIMIT_CPU",
        Data = "RLIMIT_DATA",
        Fsize = "RLIMIT_FSIZE",
        Locks = "RLIMIT_LOCKS",
        Memlock = "RLIMIT_MEMLOCK",
        Msgqueue = "RLIMIT_MSGQUEUE",
        Nice = "RLIMIT_NICE",
        Nofile = "RLIMIT_NOFILE",
        Nproc = "RLIMIT_NPROC",
        Rss = "RLIMIT_RSS",
        Rtprio = "RLIMIT_RTPRIO",
        Rttime = "RLIMIT_RTTIME",
        Sigpending = "RLIMIT_SIGPENDING",
        Stack = "RLIMIT_STACK",
    }

    /// A policy of `sched_setattr(2)`.
    SchedulerPolicy {
        Other = "SCHED_OTHER",
        Fifo = "SCHED_FIFO",
        Rr = "SCHED_RR",
        Batch = "SCHED_BATCH",
        Iso = "SCHED_ISO",
        Idle = "SCHED_IDLE",
        Deadline = "SCHED_DEADLINE",
    }

    /// A flag of `sched_setattr(2)`.
    SchedulerFlag {
        ResetOnFork = "SCHED_FLAG_RESET_ON_FORK",
        Reclaim = "SCHED_FLAG_RECLAIM",
        DlOverrun = "SCHED_FLAG_DL_OVERRUN",
        KeepPolicy = "SCHED_FLAG_KEEP_POLICY",
        KeepParams = "SCHED_FLAG_KEEP_PARAMS",
        UtilClampMin = "SCHED_FLAG_UTIL_CLAMP_MIN",
        UtilClampMax = "SCHED_FLAG_UTIL_CLAMP_MAX",
    }

    /// A class of `ioprio_set(2)`.
    IoPriorityClass {
        Rt = "IOPRIO_CLASS_RT",
        Be = "IOPRIO_CLASS_BE",
        Idle = "IOPRIO_CLASS_IDLE",
    }

    /// An execution domain of `personality(2)`.
    PersonalityDomain {
        Linux = "LINUX",
        Linux32 = "LINUX32",
    }

    /// How the root mount hears of the host's mounts. The specification has the four without `r`; runc takes all.
    RootfsPropagation {
        Private = "private",
        Rprivate = "rprivate",
        Shared = "shared",
        Rshared = "rshared",
        Slave = "slave",
        Rslave = "rslave",
        Unbindable = "unbindable",
        Runbindable = "runbindable",
    }

    /// What a device node is.
    DeviceType {
        Block = "b",
        Char = "c",
        /// Another word for [`Self::Char`].
        Unbuffered = "u",
        Fifo = "p",
    }

    /// What a device rule is for.
    DeviceRuleType {
        All = "a",
        Block = "b",
        Char = "c",
    }

    /// What a seccomp filter answers.
    SeccompAction {
        /// An older word for [`Self::KillThread`].
        Kill = "SCMP_ACT_KILL",
        KillProcess = "SCMP_ACT_KILL_PROCESS",
        KillThread = "SCMP_ACT_KILL_THREAD",
        Trap = "SCMP_ACT_TRAP",
        Errno = "SCMP_ACT_ERRNO",
        Trace = "SCMP_ACT_TRACE",
        Allow = "SCMP_ACT_ALLOW",
        Log = "SCMP_ACT_LOG",
        Notify = "SCMP_ACT_NOTIFY",
    }

    /// How a seccomp rule compares an argument.
    SeccompOperator {
        NotEqual = "SCMP_CMP_NE",
        LessThan = "SCMP_CMP_LT",
        LessEqual = "SCMP_CMP_LE",
        EqualTo = "SCMP_CMP_EQ",
        GreaterEqual = "SCMP_CMP_GE",
        GreaterThan = "SCMP_CMP_GT",
        MaskedEqual = "SCMP_CMP_MASKED_EQ",
    }

    /// A flag of `seccomp(2)`.
    SeccompFlag {
        Tsync = "SECCOMP_FILTER_FLAG_TSYNC",
        Log = "SECCOMP_FILTER_FLAG_LOG",
        SpecAllow = "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        WaitKillableRecv = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    }

    /// An architecture of a seccomp filter.
    SeccompArch {
        X86 = "SCMP_ARCH_X86",
        X86_64 = "SCMP_ARCH_X86_64",
        X32 = "SCMP_ARCH_X32",
        Arm = "SCMP_ARCH_ARM",
        Aarch64 = "SCMP_ARCH_AARCH64",
        Mips = "SCMP_ARCH_MIPS",
        Mips64 = "SCMP_ARCH_MIPS64",
        Mips64N32 = "SCMP_ARCH_MIPS64N32",
        Mipsel = "SCMP_ARCH_MIPSEL",
        Mipsel64 = "SCMP_ARCH_MIPSEL64",
        Mipsel64N32 = "SCMP_ARCH_MIPSEL64N32",
        Ppc = "SCMP_ARCH_PPC",
        Ppc64 = "SCMP_ARCH_PPC64",
        Ppc64le = "SCMP_ARCH_PPC64LE",
        S390 = "SCMP_ARCH_S390",
        S390x = "SCMP_ARCH_S390X",
        Parisc = "SCMP_ARCH_PARISC",
        Parisc64 = "SCMP_ARCH_PARISC64",
        Riscv64 = "SCMP_ARCH_RISCV64",
        Loongarch64 = "SCMP_ARCH_LOONGARCH64",
        M68k = "SCMP_ARCH_M68K",
        Sh = "SCMP_ARCH_SH",
        Sheb = "SCMP_ARCH_SHEB",
    }

    /// A mode of `set_mempolicy(2)`.
    MemoryPolicyMode {
        Default = "MPOL_DEFAULT",
        Bind = "MPOL_BIND",
        Interleave = "MPOL_INTERLEAVE",
        WeightedInterleave = "MPOL_WEIGHTED_INTERLEAVE",
        Preferred = "MPOL_PREFERRED",
        PreferredMany = "MPOL_PREFERRED_MANY",
        Local = "MPOL_LOCAL",
    }

    /// A mode flag of `set_mempolicy(2)`.
    MemoryPolicyFlag {
        NumaBalancing = "MPOL_F_NUMA_BALANCING",
        RelativeNodes = "MPOL_F_RELATIVE_NODES",
        StaticNodes = "MPOL_F_STATIC_NODES",
    }
}
