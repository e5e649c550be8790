//! A profile through libseccomp, with the calls that runc makes, and runc's ENOSYS stub before its program.
//!
//! The native architecture may be another than this machine's: names are resolved on the machine and translated by libseccomp.
//!
//! Runs in: any process.

use std::io::{self, Read, Seek};

use libcontainer::seccomp::{self, Arch, Instruction};
use libcontainer::spec::{
    LinuxSeccomp, LinuxSeccompArg, LinuxSyscall, SeccompAction, SeccompArch, SeccompOperator,
};
use libseccomp::error::SeccompError;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};

use crate::machine::{Event, Outcome, run};
use crate::rules::{behind, endless};

/// A profile as runc would load it.
#[derive(Debug)]
pub struct Peer {
    program: Vec<Instruction>,
    /// The highest number named, for each ABI that has a stub.
    newest: Vec<(ScmpArch, u32)>,
    /// The highest of the private calls of arm that the profile names, or 0.
    private: u32,
    /// Calls whose rules libseccomp was not given, since it might not come back: `AUDIT_ARCH_*` and number.
    set_aside: Vec<(u32, u32)>,
}

/// Why there is no program to compare with.
#[derive(Debug)]
pub enum Failure {
    /// libseccomp does not take the profile.
    Refused(SeccompError),
    /// Something else went wrong.
    Other(io::Error),
}

impl From<SeccompError> for Failure {
    fn from(error: SeccompError) -> Self {
        Self::Refused(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Other(error)
    }
}

const ENOSYS: u32 = 0x0005_0026;
const X32_BIT: u32 = 0x4000_0000;
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

/// The ABIs that the kernel of an architecture has: name in the profile, libseccomp's name, `AUDIT_ARCH_*`.
pub fn abis(native: Arch) -> &'static [(SeccompArch, ScmpArch, u32)] {
    match native {
        Arch::X86_64 => &[
            (SeccompArch::X86_64, ScmpArch::X8664, AUDIT_ARCH_X86_64),
            (SeccompArch::X86, ScmpArch::X86, 0x4000_0003),
            (SeccompArch::X32, ScmpArch::X32, AUDIT_ARCH_X86_64),
        ],
        Arch::Aarch64 => &[
            (SeccompArch::Aarch64, ScmpArch::Aarch64, 0xc000_00b7),
            (SeccompArch::Arm, ScmpArch::Arm, 0x4000_0028),
        ],
        _ => &[(SeccompArch::Riscv64, ScmpArch::Riscv64, 0xc000_00f3)],
    }
}

/// Takes out the names that libseccomp is too old for: those that it does not know, or not on one of the architectures that have
/// the call. Returns them.
pub fn remove_newer_names(profile: &mut LinuxSeccomp, native: Arch) -> Vec<String> {
    let is_newer = |name: &str| {
        abis(native).iter().any(|(arch, theirs, _)| {
            seccomp::number(name, *arch).is_some() && number(name, *theirs).is_none()
        })
    };
    let mut removed = Vec::new();
    for rule in &mut profile.syscalls {
        removed.extend(rule.names.extract_if(.., |name| is_newer(name)));
    }
    removed
}

/// The ABIs that a profile lists, and always the native one.
pub fn listed(profile: &LinuxSeccomp, native: Arch) -> Vec<(ScmpArch, u32)> {
    let all = abis(native).iter().enumerate();
    let wanted =
        all.filter(|(index, (arch, ..))| *index == 0 || profile.architectures.contains(arch));
    wanted.map(|(_, (_, arch, audit))| (*arch, *audit)).collect()
}

impl Peer {
    /// Compiles a profile.
    ///
    /// # Errors
    /// [`Failure::Refused`] where runc could not start a container with it.
    pub fn new(profile: &LinuxSeccomp, native: Arch) -> Result<Self, Failure> {
        let default = action(profile.default_action, profile.default_errno_ret);
        let mut filter = ScmpFilterContext::new(default)?;
        let listed = listed(profile, native);
        for (arch, _) in &listed {
            filter.add_arch(*arch)?;
        }
        if listed.iter().all(|(arch, _)| *arch != ScmpArch::native()) {
            filter.remove_arch(ScmpArch::native())?;
        }
        let endless = endless(profile);
        for rule in &profile.syscalls {
            let mut rule = rule.clone();
            rule.names.retain(|name| !endless.contains(name));
            add_rule(&mut filter, &rule, default)?;
        }
        let mut set_aside = Vec::new();
        for (arch, audit) in &listed {
            for name in &endless {
                let behind = behind(name).filter(|_| *arch == ScmpArch::X86);
                let numbers =
                    number(name, *arch).into_iter().chain(behind.map(|(number, _)| number));
                set_aside.extend(numbers.map(|number| (*audit, number)));
            }
        }
        let newest = listed.iter().filter_map(|(arch, _)| Some((*arch, newest(profile, *arch)?)));
        let names = profile.syscalls.iter().flat_map(|rule| &rule.names);
        let private = names.filter_map(|name| number(name, ScmpArch::Arm));
        Ok(Self {
            program: export(&filter)?,
            newest: newest.collect(),
            private: private.max().unwrap_or_default(),
            set_aside,
        })
    }

    /// Whether libseccomp was not given all rules for this call: then only the rules themselves can say what is right.
    pub fn is_set_aside(&self, arch: u32, number: u32) -> bool {
        self.set_aside.contains(&(arch, number))
    }

    /// How many calls libseccomp was not given.
    pub fn set_aside(&self) -> usize {
        self.set_aside.len()
    }

    /// How long libseccomp's program is.
    pub fn len(&self) -> usize {
        self.program.len()
    }

    /// Whether there is no program.
    pub fn is_empty(&self) -> bool {
        self.program.is_empty()
    }

    /// What a container of runc gets for a system call.
    ///
    /// # Errors
    /// Those of [`run`].
    pub fn run(&self, event: &Event) -> Result<Outcome, String> {
        if self.is_newer(event) {
            return Ok(Outcome { answer: ENOSYS, read_arguments: false });
        }
        run(&self.program, event)
    }

    fn is_private(&self, number: u32) -> bool {
        (FIRST_PRIVATE_OF_ARM..=self.private).contains(&number)
    }

    /// runc's patchbpf: above the highest number that the profile names, ENOSYS; x32 is told by its bit alone.
    fn is_newer(&self, event: &Event) -> bool {
        let is_x32 = event.arch == AUDIT_ARCH_X86_64 && event.number & X32_BIT != 0;
        self.newest.iter().any(|(arch, newest)| {
            audit(*arch) == event.arch
                && (*arch == ScmpArch::X32) == is_x32
                && event.number > *newest
                && !(*arch == ScmpArch::Arm && self.is_private(event.number))
        })
    }
}

/// `__ARM_NR_BASE`. A difference on purpose: runc counts `set_tls` as the newest call of arm, and so has no ENOSYS between 471 and it. We
/// count these numbers apart.
const FIRST_PRIVATE_OF_ARM: u32 = 0xf_0000;

fn audit(arch: ScmpArch) -> u32 {
    let all = [Arch::X86_64, Arch::Aarch64, Arch::Riscv64].into_iter().flat_map(abis);
    all.clone().find(|(_, known, _)| *known == arch).map_or(0, |(_, _, audit)| *audit)
}

/// The number of a name as the kernel has it.
pub fn number(name: &str, arch: ScmpArch) -> Option<u32> {
    // arm's headers have this as another name of the same call; libseccomp does not.
    let name = if arch == ScmpArch::Arm && name == "sync_file_range2" {
        "arm_sync_file_range"
    } else {
        name
    };
    if arch == ScmpArch::X86
        && let Some(direct) = direct_on_x86(name)
    {
        return Some(direct);
    }
    let call = ScmpSyscall::from_name_by_arch(name, arch).ok()?;
    u32::try_from(call.as_raw_syscall()).ok()
}

/// libseccomp gives the calls behind socketcall and ipc a number of its own on x86, negative, so runc never counts them as
/// the newest. We do.
fn direct_on_x86(name: &str) -> Option<u32> {
    const DIRECT: [(&str, u32); 27] = [
        ("socket", 359),
        ("socketpair", 360),
        ("bind", 361),
        ("connect", 362),
        ("listen", 363),
        ("accept4", 364),
        ("getsockopt", 365),
        ("setsockopt", 366),
        ("getsockname", 367),
        ("getpeername", 368),
        ("sendto", 369),
        ("sendmsg", 370),
        ("recvfrom", 371),
        ("recvmsg", 372),
        ("shutdown", 373),
        ("recvmmsg", 337),
        ("sendmmsg", 345),
        ("semget", 393),
        ("semctl", 394),
        ("shmget", 395),
        ("shmctl", 396),
        ("shmat", 397),
        ("shmdt", 398),
        ("msgget", 399),
        ("msgsnd", 400),
        ("msgrcv", 401),
        ("msgctl", 402),
    ];
    DIRECT.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

fn newest(profile: &LinuxSeccomp, arch: ScmpArch) -> Option<u32> {
    if matches!(
        profile.default_action,
        SeccompAction::Allow | SeccompAction::Log | SeccompAction::Trace
    ) {
        return None;
    }
    let names = profile.syscalls.iter().flat_map(|rule| &rule.names);
    // A difference on purpose: naming a call names socketcall or ipc, where x86 has it behind that.
    let numbers = names.flat_map(|name| {
        let behind = behind(name).filter(|_| arch == ScmpArch::X86);
        number(name, arch).into_iter().chain(behind.map(|(number, _)| number))
    });
    let is_private = |number| arch == ScmpArch::Arm && number >= FIRST_PRIVATE_OF_ARM;
    numbers.filter(|number| *number > 0 && !is_private(*number)).max()
}

fn add_rule(
    filter: &mut ScmpFilterContext,
    rule: &LinuxSyscall,
    default: ScmpAction,
) -> Result<(), SeccompError> {
    let action = action(rule.action, rule.errno_ret);
    if action == default {
        return Ok(());
    }
    let conditions: Vec<ScmpArgCompare> = rule.args.iter().map(condition).collect();
    let repeats = rule
        .args
        .iter()
        .any(|one| rule.args.iter().filter(|other| other.index == one.index).count() > 1);
    for name in &rule.names {
        // Another name on arm for what libseccomp knows under this one alone.
        let names: &[&str] =
            if name == "sync_file_range2" { &[name, "arm_sync_file_range"] } else { &[name] };
        for call in names.iter().filter_map(|name| ScmpSyscall::from_name(name).ok()) {
            if repeats {
                for condition in &conditions {
                    filter.add_rule_conditional(action, call, &[*condition])?;
                }
            } else if conditions.is_empty() {
                filter.add_rule(action, call)?;
            } else {
                filter.add_rule_conditional(action, call, &conditions)?;
            }
        }
    }
    Ok(())
}

fn action(action: SeccompAction, errno: Option<u32>) -> ScmpAction {
    let data = u16::try_from(errno.unwrap_or(1)).unwrap_or(u16::MAX);
    match action {
        SeccompAction::Kill | SeccompAction::KillThread => ScmpAction::KillThread,
        SeccompAction::KillProcess => ScmpAction::KillProcess,
        SeccompAction::Trap => ScmpAction::Trap,
        SeccompAction::Errno => ScmpAction::Errno(i32::from(data)),
        SeccompAction::Trace => ScmpAction::Trace(data),
        SeccompAction::Allow => ScmpAction::Allow,
        SeccompAction::Log => ScmpAction::Log,
        SeccompAction::Notify => ScmpAction::Notify,
    }
}

fn condition(from: &LinuxSeccompArg) -> ScmpArgCompare {
    let (operator, value) = match from.op {
        SeccompOperator::NotEqual => (ScmpCompareOp::NotEqual, from.value),
        SeccompOperator::LessThan => (ScmpCompareOp::Less, from.value),
        SeccompOperator::LessEqual => (ScmpCompareOp::LessOrEqual, from.value),
        SeccompOperator::EqualTo => (ScmpCompareOp::Equal, from.value),
        SeccompOperator::GreaterEqual => (ScmpCompareOp::GreaterEqual, from.value),
        SeccompOperator::GreaterThan => (ScmpCompareOp::Greater, from.value),
        SeccompOperator::MaskedEqual => (ScmpCompareOp::MaskedEqual(from.value), from.value_two),
    };
    ScmpArgCompare::new(from.index, operator, value)
}

fn export(filter: &ScmpFilterContext) -> Result<Vec<Instruction>, Failure> {
    let mut file = tempfile::tempfile()?;
    filter.export_bpf(&file)?;
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let (instructions, _) = bytes.as_chunks::<8>();
    Ok(instructions
        .iter()
        .map(|[a, b, jt, jf, e, f, g, h]| Instruction {
            code: u16::from_ne_bytes([*a, *b]),
            jt: *jt,
            jf: *jf,
            k: u32::from_ne_bytes([*e, *f, *g, *h]),
        })
        .collect())
}
