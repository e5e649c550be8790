//! Architectures, and the ABIs that a kernel of each serves.
//!
//! Runs in: any process.

use super::table;
use crate::spec::SeccompArch;

/// The architecture of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arch {
    /// With the compatible ABIs x86 and x32.
    X86_64,
    /// With the compatible ABI arm.
    Aarch64,
    /// Alone.
    Riscv64,
}

impl Arch {
    /// That of this program; `None` where there is no table of system calls for it.
    pub const NATIVE: Option<Self> = if cfg!(target_arch = "x86_64") {
        Some(Self::X86_64)
    } else if cfg!(target_arch = "aarch64") {
        Some(Self::Aarch64)
    } else if cfg!(target_arch = "riscv64") {
        Some(Self::Riscv64)
    } else {
        None
    };

    /// What the kernel reports, the native one first.
    pub(super) const fn spaces(self) -> &'static [Space] {
        match self {
            Self::X86_64 => &[
                Space { audit: 0xc000_003e, abi: Abi::X86_64, x32: Some(Abi::X32) },
                Space { audit: 0x4000_0003, abi: Abi::X86, x32: None },
            ],
            Self::Aarch64 => &[
                Space { audit: 0xc000_00b7, abi: Abi::Aarch64, x32: None },
                Space { audit: 0x4000_0028, abi: Abi::Arm, x32: None },
            ],
            Self::Riscv64 => &[Space { audit: 0xc000_00f3, abi: Abi::Riscv64, x32: None }],
        }
    }
}

/// A value of `seccomp_data.arch`, with the numbers that come under it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Space {
    /// `AUDIT_ARCH_*`.
    pub(super) audit: u32,
    pub(super) abi: Abi,
    /// Shares the value, and has [`X32_BIT`] in its numbers.
    pub(super) x32: Option<Abi>,
}

/// `__X32_SYSCALL_BIT`.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// A set of system call numbers: a column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abi {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
    Riscv64,
}

impl Abi {
    /// `None`: no kernel that we run on has it.
    pub(super) const fn of(arch: SeccompArch) -> Option<Self> {
        match arch {
            SeccompArch::X86_64 => Some(Self::X86_64),
            SeccompArch::X86 => Some(Self::X86),
            SeccompArch::X32 => Some(Self::X32),
            SeccompArch::Aarch64 => Some(Self::Aarch64),
            SeccompArch::Arm => Some(Self::Arm),
            SeccompArch::Riscv64 => Some(Self::Riscv64),
            _ => None,
        }
    }

    /// Whether arguments are compared as 64 bits. x32 is not, as in libseccomp: its longs have 32.
    pub(super) const fn is_wide(self) -> bool {
        matches!(self, Self::X86_64 | Self::Aarch64 | Self::Riscv64)
    }

    /// The number of a call as the kernel reports it.
    pub(super) fn number(self, call: Call) -> Option<u32> {
        /// `__ARM_NR_BASE`.
        const ARM_PRIVATE: u32 = 0x000f_0000;
        let numbers = table::CALLS.get(call.0)?.1;
        let number = match self {
            Self::X86_64 => numbers[0],
            Self::X86 => numbers[1],
            Self::X32 => numbers[2],
            Self::Aarch64 => numbers[3],
            Self::Arm => numbers[4],
            Self::Riscv64 => numbers[5],
        };
        match number {
            table::NO => None,
            number if number & table::ARM != 0 => {
                Some(ARM_PRIVATE | u32::from(number ^ table::ARM))
            }
            number if self == Self::X32 => Some(X32_BIT | u32::from(number)),
            number => Some(u32::from(number)),
        }
    }
}

/// A system call, by its place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call(usize);

/// What is known of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Here(Call),
    /// Only architectures that we do not run on have it.
    Elsewhere,
    Nowhere,
}

impl Known {
    pub(super) fn find(name: &str) -> Self {
        match table::CALLS.binary_search_by_key(&name, |(known, _)| known) {
            Ok(index) => Self::Here(Call(index)),
            Err(_) if table::ELSEWHERE.binary_search(&name).is_ok() => Self::Elsewhere,
            Err(_) => Self::Nowhere,
        }
    }
}

/// A call that x86 also has behind another one, which takes its number as first argument.
#[derive(Debug, Clone, Copy)]
pub(super) struct Multiplexed {
    /// `socketcall` or `ipc`.
    pub(super) number: u32,
    /// What argument 0 is: `SYS_*` of linux/net.h, or of linux/ipc.h.
    pub(super) call: u64,
}

/// Where else on x86 a call can be reached.
pub(super) fn multiplexed(name: &str) -> Option<Multiplexed> {
    const SOCKETCALL: u32 = 102;
    const IPC: u32 = 117;
    let (number, call) = match name {
        "socket" => (SOCKETCALL, 1),
        "bind" => (SOCKETCALL, 2),
        "connect" => (SOCKETCALL, 3),
        "listen" => (SOCKETCALL, 4),
        "accept" => (SOCKETCALL, 5),
        "getsockname" => (SOCKETCALL, 6),
        "getpeername" => (SOCKETCALL, 7),
        "socketpair" => (SOCKETCALL, 8),
        "send" => (SOCKETCALL, 9),
        "recv" => (SOCKETCALL, 10),
        "sendto" => (SOCKETCALL, 11),
        "recvfrom" => (SOCKETCALL, 12),
        "shutdown" => (SOCKETCALL, 13),
        "setsockopt" => (SOCKETCALL, 14),
        "getsockopt" => (SOCKETCALL, 15),
        "sendmsg" => (SOCKETCALL, 16),
        "recvmsg" => (SOCKETCALL, 17),
        "accept4" => (SOCKETCALL, 18),
        "recvmmsg" => (SOCKETCALL, 19),
        "sendmmsg" => (SOCKETCALL, 20),
        "semop" => (IPC, 1),
        "semget" => (IPC, 2),
        "semctl" => (IPC, 3),
        "semtimedop" => (IPC, 4),
        "msgsnd" => (IPC, 11),
        "msgrcv" => (IPC, 12),
        "msgget" => (IPC, 13),
        "msgctl" => (IPC, 14),
        "shmat" => (IPC, 21),
        "shmdt" => (IPC, 22),
        "shmget" => (IPC, 23),
        "shmctl" => (IPC, 24),
        _ => return None,
    };
    Some(Multiplexed { number, call })
}

#[cfg(test)]
mod tests {
    use super::{Known, table};

    #[test]
    fn table_is_sorted_and_every_name_is_found() {
        assert!(table::CALLS.is_sorted_by_key(|(name, _)| name));
        assert!(table::ELSEWHERE.is_sorted());
        for (name, _) in &table::CALLS {
            assert!(matches!(Known::find(name), Known::Here(_)), "{name}");
        }
        assert_eq!(Known::find("s390_sthyi"), Known::Elsewhere);
        assert_eq!(Known::find("no_such_call"), Known::Nowhere);
    }

    #[test]
    fn every_call_has_a_number_on_some_architecture() {
        for (name, numbers) in &table::CALLS {
            assert!(numbers.iter().any(|number| *number != table::NO), "{name}");
        }
    }
}
