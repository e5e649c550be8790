//! Which rules of a profile hold for a system call with its arguments: read straight from the profile, one rule after another.
//!
//! Where rules with conditions that hold disagree, libseccomp's answer hangs on how it lays its tree out. This says when that is
//! so, and what the answers are of which it must be one.
//!
//! Runs in: any process.

use libcontainer::seccomp::Arch;
use libcontainer::spec::{
    LinuxSeccomp, LinuxSeccompArg, LinuxSyscall, SeccompAction, SeccompOperator,
};
use libseccomp::ScmpArch;

use crate::machine::Event;
use crate::peer::{listed, number};

/// The answers of the rules that hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Of rules without conditions, the first.
    pub always: Option<u32>,
    /// Of those with conditions.
    pub sometimes: Vec<u32>,
    /// Rules with conditions for this call, whether or not they hold.
    candidates: Vec<Vec<LinuxSeccompArg>>,
    /// The profile names calls that the ABI does not have.
    names_absent_calls: bool,
}

impl Holding {
    /// Finds the rules that hold.
    pub fn of(profile: &LinuxSeccomp, native: Arch, event: &Event) -> Self {
        let mut holding = Self::default();
        let default = answer(profile.default_action, profile.default_errno_ret);
        for (arch, _) in listed(profile, native).iter().filter(|(_, audit)| *audit == event.arch) {
            for rule in &profile.syscalls {
                let answer = answer(rule.action, rule.errno_ret);
                if answer != default {
                    holding.add(rule, answer, *arch, event);
                }
            }
        }
        holding
    }

    fn add(&mut self, rule: &LinuxSyscall, answer: u32, arch: ScmpArch, event: &Event) {
        for name in &rule.names {
            self.names_absent_calls |= number(name, arch).is_none();
            if number(name, arch) == Some(event.number) {
                self.add_candidates(&rule.args);
                self.add_conditions(&rule.args, answer, arch, event);
            }
            // Behind socketcall and ipc, argument 0 tells which call it is.
            if arch == ScmpArch::X86
                && behind(name) == Some((event.number, event.arguments[0] & 0xffff_ffff))
            {
                self.add_candidates(&rule.args);
                // A condition on argument 0 is replaced by that; alone in a rule, it leaves no other.
                let others = rule.args.iter().filter(|arg| arg.index != 0);
                let others: Vec<LinuxSeccompArg> = others.cloned().collect();
                let any = is_any(&rule.args);
                let is_replaced = any && others.len() < rule.args.len();
                if is_replaced || holds(&others, arch, event, any) {
                    self.sometimes.push(answer);
                }
            }
        }
    }

    fn add_conditions(
        &mut self,
        args: &[LinuxSeccompArg],
        answer: u32,
        arch: ScmpArch,
        event: &Event,
    ) {
        if is_vacuous(args, arch) {
            self.always.get_or_insert(answer);
        } else if holds(args, arch, event, is_any(args)) {
            self.sometimes.push(answer);
        }
    }

    fn add_candidates(&mut self, args: &[LinuxSeccompArg]) {
        if is_any(args) {
            self.candidates.extend(args.iter().map(|arg| vec![arg.clone()]));
        } else if !args.is_empty() {
            self.candidates.push(args.to_vec());
        }
    }

    /// Whether an answer is right: that of a rule that holds, `default` where none does.
    pub fn allows(&self, answer: u32, default: u32) -> bool {
        match self.always {
            Some(always) => answer == always,
            None if self.sometimes.is_empty() => answer == default,
            None => self.sometimes.contains(&answer),
        }
    }

    /// Whether libseccomp's program may be wrong here, for one of two reasons that were seen in 2.5.4 (and are in the source of
    /// 2.6.1): after a comparison of order it goes on to the next rule's with the wrong half of an argument in the accumulator;
    /// and where the first call of its list does not exist on the ABI, it leaves out the load of the number.
    pub fn may_confuse_libseccomp(&self) -> bool {
        let is_order = |arg: &LinuxSeccompArg| {
            !matches!(
                arg.op,
                SeccompOperator::EqualTo | SeccompOperator::NotEqual | SeccompOperator::MaskedEqual
            )
        };
        let has_order = self.candidates.iter().flatten().any(is_order);
        self.names_absent_calls || self.candidates.len() > 1 && has_order
    }

    /// Whether rules that hold disagree, and none of them holds for every argument.
    pub fn disagrees(&self) -> bool {
        let first = self.sometimes.first();
        self.always.is_none() && self.sometimes.iter().any(|answer| Some(answer) != first)
    }
}

/// Two conditions on one argument: each is a rule of its own.
fn is_any(args: &[LinuxSeccompArg]) -> bool {
    args.iter().any(|one| args.iter().filter(|other| other.index == one.index).count() > 1)
}

fn holds(args: &[LinuxSeccompArg], arch: ScmpArch, event: &Event, is_any: bool) -> bool {
    if is_any && !args.is_empty() {
        args.iter().any(|arg| compare(arg, arch, event))
    } else {
        args.iter().all(|arg| compare(arg, arch, event))
    }
}

/// Whether the conditions hold whatever the arguments: MASKED_EQ with an empty mask is none.
fn is_vacuous(args: &[LinuxSeccompArg], arch: ScmpArch) -> bool {
    let is_empty =
        |arg: &LinuxSeccompArg| arg.op == SeccompOperator::MaskedEqual && cut(arch, arg.value) == 0;
    if is_any(args) { args.iter().any(is_empty) } else { args.iter().all(is_empty) }
}

/// In the width of an ABI; x32 has the narrow one in libseccomp.
fn cut(arch: ScmpArch, value: u64) -> u64 {
    let is_wide = matches!(arch, ScmpArch::X8664 | ScmpArch::Aarch64 | ScmpArch::Riscv64);
    if is_wide { value } else { value & u64::from(u32::MAX) }
}

fn compare(arg: &LinuxSeccompArg, arch: ScmpArch, event: &Event) -> bool {
    let cut = |value| cut(arch, value);
    let index = usize::try_from(arg.index).unwrap_or_default();
    let is = cut(event.arguments.get(index).copied().unwrap_or_default());
    let (value, two) = (cut(arg.value), cut(arg.value_two));
    match arg.op {
        SeccompOperator::NotEqual => is != value,
        SeccompOperator::LessThan => is < value,
        SeccompOperator::LessEqual => is <= value,
        SeccompOperator::EqualTo => is == value,
        SeccompOperator::GreaterEqual => is >= value,
        SeccompOperator::GreaterThan => is > value,
        SeccompOperator::MaskedEqual => is & value == two & value,
    }
}

/// The names of calls for which libseccomp may never come back from `seccomp_rule_add` (seen in 2.5.4): several rules with
/// conditions, of which one goes on to another argument after a comparison that has two ways to hold. It hangs what follows on both
/// ways, and then turns in a circle.
pub fn endless(profile: &LinuxSeccomp) -> Vec<String> {
    let mut all = Vec::new();
    for name in profile.syscalls.iter().flat_map(|rule| &rule.names) {
        let is_met = |other: &String| *other == *name || meeting(other) == meeting(name);
        let rules = profile.syscalls.iter().filter(|rule| rule.names.iter().any(is_met));
        let rules: Vec<_> = rules.filter(|rule| !rule.args.is_empty()).collect();
        let uses: usize = rules
            .iter()
            .map(|rule| rule.names.iter().filter(|other| is_met(other)).count() * rule.args.len())
            .sum();
        if uses > 1 && rules.iter().any(|rule| branches(&rule.args)) {
            all.push(name.clone());
        }
    }
    all
}

/// Rules of different calls meet in the one that x86 has them behind; all others only in themselves.
fn meeting(name: &str) -> Result<u32, &str> {
    match name {
        "socketcall" => Ok(102),
        "ipc" => Ok(117),
        _ => behind(name).map(|(number, _)| number).ok_or(name),
    }
}

/// Whether another argument comes after a comparison that has two ways to hold: by its high half, and by both.
fn branches(args: &[LinuxSeccompArg]) -> bool {
    let last = args.iter().map(|arg| arg.index).max();
    let is_equality = |arg: &LinuxSeccompArg| {
        matches!(arg.op, SeccompOperator::EqualTo | SeccompOperator::MaskedEqual)
    };
    !is_any(args) && args.iter().any(|arg| Some(arg.index) != last && !is_equality(arg))
}

/// The call that x86 has it behind, and what that takes as first argument (linux/net.h, linux/ipc.h).
pub(crate) fn behind(name: &str) -> Option<(u32, u64)> {
    const SOCKETCALL: [&str; 20] = [
        "socket",
        "bind",
        "connect",
        "listen",
        "accept",
        "getsockname",
        "getpeername",
        "socketpair",
        "send",
        "recv",
        "sendto",
        "recvfrom",
        "shutdown",
        "setsockopt",
        "getsockopt",
        "sendmsg",
        "recvmsg",
        "accept4",
        "recvmmsg",
        "sendmmsg",
    ];
    const IPC: [(&str, u64); 12] = [
        ("semop", 1),
        ("semget", 2),
        ("semctl", 3),
        ("semtimedop", 4),
        ("msgsnd", 11),
        ("msgrcv", 12),
        ("msgget", 13),
        ("msgctl", 14),
        ("shmat", 21),
        ("shmdt", 22),
        ("shmget", 23),
        ("shmctl", 24),
    ];
    let socket = SOCKETCALL.iter().zip(1..).find(|(known, _)| **known == name);
    let ipc = IPC.iter().find(|(known, _)| *known == name);
    socket.map(|(_, call)| (102, call)).or_else(|| ipc.map(|(_, call)| (117, *call)))
}

pub(crate) fn answer(action: SeccompAction, errno: Option<u32>) -> u32 {
    let data = errno.unwrap_or(1) & 0xffff;
    match action {
        SeccompAction::Kill | SeccompAction::KillThread => 0,
        SeccompAction::KillProcess => 0x8000_0000,
        SeccompAction::Trap => 0x0003_0000,
        SeccompAction::Errno => 0x0005_0000 | data,
        SeccompAction::Trace => 0x7ff0_0000 | data,
        SeccompAction::Allow => 0x7fff_0000,
        SeccompAction::Log => 0x7ffc_0000,
        SeccompAction::Notify => 0x7fc0_0000,
    }
}
