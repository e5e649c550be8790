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

/// `__ARM_NR_BASE`.
pub(super) const FIRST_PRIVATE: u32 = 0x000f_0000;

/// A set of system call numbers: a column of the table, in the order of those.
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
        match call.0.numbers.get(self as usize).copied()? {
            table::NO => None,
            number if number & table::ARM != 0 => {
                Some(FIRST_PRIVATE | u32::from(number ^ table::ARM))
            }
            number if self == Self::X32 => Some(X32_BIT | u32::from(number)),
            number => Some(u32::from(number)),
        }
    }
}

/// A row of the table. Without pointers, which a program that may be anywhere would have to set at each of its starts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    name: Name,
    numbers: [u16; 6],
}

/// What the table is made of at build time.
pub(super) const fn entries<const N: usize>(rows: [(&str, [u16; 6]); N]) -> [Entry; N] {
    let mut all = [const { Entry { name: Name([0; 4]), numbers: [table::NO; 6] } }; N];
    let mut at = 0;
    while at < N {
        let (name, numbers) = rows[at];
        let name = Name::new(name);
        assert!(name.is_some(), "a name is too long");
        if let Some(name) = name {
            all[at] = Entry { name, numbers };
        }
        at += 1;
    }
    all
}

/// The name of a system call, its bytes from the highest of the first number on, and zeros: names compare as these numbers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Name([u64; Name::WORDS]);

impl Name {
    const WORDS: usize = 4;

    /// `None`: longer than all of the table. A name that ends with NUL, which would be the same as that without, is no name.
    const fn new(name: &str) -> Option<Self> {
        let name = name.as_bytes();
        if name.len() > 8 * Self::WORDS || matches!(name, [.., 0]) {
            return None;
        }
        let mut words = [0; Self::WORDS];
        let mut at = 0;
        while at < name.len() {
            words[at / 8] |= (name[at] as u64) << (56 - at % 8 * 8);
            at += 1;
        }
        Some(Self(words))
    }
}

/// A system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call(&'static Entry);

/// What is known of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Here(Call),
    /// Only architectures that we do not run on have it.
    Elsewhere,
    Nowhere,
}

impl Known {
    /// `near`: where in the table the last one was found. Profiles list names in the order of the alphabet, so that the next is not
    /// far.
    pub(super) fn find(name: &str, near: &mut usize) -> Self {
        const FEW: usize = 4;
        let Some(key) = Name::new(name) else { return Self::Nowhere };
        let mut ahead = table::CALLS.iter().skip(*near).take(FEW).zip(*near..);
        if let Some((entry, place)) = ahead.find(|(entry, _)| entry.name == key) {
            *near = place;
            return Self::Here(Call(entry));
        }
        match table::CALLS.binary_search_by_key(&key, |entry| entry.name) {
            Ok(place) => {
                *near = place;
                table::CALLS.get(place).map_or(Self::Nowhere, |entry| Self::Here(Call(entry)))
            }
            Err(_) if table::ELSEWHERE.binary_search(&name).is_ok() => Self::Elsewhere,
            Err(_) => Self::Nowhere,
        }
    }
}

/// A call that x86 also has behind another one, which takes its number as first argument.
#[derive(Debug, Clone, Copy)]
pub(super) struct Multiplexed {
    /// `socketcall` or `ipc`.
    number: u8,
    /// What argument 0 is: `SYS_*` of linux/net.h, or of linux/ipc.h.
    pub(super) call: u8,
}

impl Multiplexed {
    /// Of the call on x86 that it is behind.
    pub(super) fn number(self) -> u32 {
        self.number.into()
    }
}

/// Where else on x86 a call can be reached.
pub(super) fn multiplexed(name: &str) -> Option<Multiplexed> {
    const SOCKETCALL: u8 = 102;
    const IPC: u8 = 117;
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
    use super::{Call, Known, Name, table};

    #[test]
    fn table_is_sorted_and_every_place_leads_to_every_name() {
        assert!(table::CALLS.is_sorted_by_key(|entry| entry.name));
        assert!(table::ELSEWHERE.is_sorted());
        let last = table::CALLS.len() - 1;
        for from in [0, 1, 100, last, last + 1] {
            for (place, entry) in table::CALLS.iter().enumerate() {
                let bytes: Vec<u8> = entry.name.0.iter().flat_map(|it| it.to_be_bytes()).collect();
                let name = str::from_utf8(&bytes).unwrap().trim_end_matches('\0');
                let mut near = from;
                assert_eq!(Known::find(name, &mut near), Known::Here(Call(entry)), "{name}");
                assert_eq!(near, place, "{name}");
            }
        }
        assert_eq!(Known::find("s390_sthyi", &mut 0), Known::Elsewhere);
    }

    #[test]
    fn names_that_are_none_are_not_found() {
        let long = "io_pgetevents_time64_with_much_more";
        for name in ["no_such_call", "", "read\0", "\0read", "rea", "readx", long] {
            assert_eq!(Known::find(name, &mut 0), Known::Nowhere, "{name:?}");
        }
    }

    #[test]
    fn names_compare_as_their_text_does() {
        let names = ["", "_a", "a", "aa", "accept", "accept4", "acceptance", "b", "sched_rr_get"];
        let keys = names.map(|name| Name::new(name).unwrap());
        assert!(keys.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn every_call_has_a_number_on_some_architecture() {
        for entry in &table::CALLS {
            assert!(entry.numbers.iter().any(|number| *number != table::NO), "{entry:?}");
        }
    }

    /// What `names::by_number` takes for granted.
    #[test]
    fn numbers_are_small() {
        let numbers = table::CALLS.iter().flat_map(|entry| entry.numbers);
        let plain = numbers.filter(|number| *number != table::NO).map(|it| it & !table::ARM);
        assert!(plain.max().unwrap() < 0x800);
    }
}
