//! `linux.seccomp`, compiled to a classic BPF program.
//!
//! [`compile`] is pure: `names` turns the profile's rules into what each system call number of each ABI answers,
//! `precedence` says which of several rules wins, `numbers` cuts the range of numbers into intervals of equal answers,
//! `tree` makes a search tree of them, and `assembler` writes the instructions. Semantics are those that profiles were written for:
//! libseccomp's, as runc calls it; `docs/design/0005-seccomp-compiler.md` has the rules and where we differ, and
//! `crates/seccomp-oracle` holds both against each other.
//!
//! Runs in: runtime.

mod action;
mod arch;
mod assembler;
mod condition;
mod names;
mod numbers;
mod precedence;
mod table;
mod tree;

pub use self::arch::Arch;
pub use self::assembler::Instruction;
use crate::spec::{LinuxSeccomp, SeccompAction, SeccompArch, SeccompFlag, SpecError};

/// `BPF_MAXINSNS`: the kernel takes no longer program.
pub const MAX_INSTRUCTIONS: usize = 4096;

pub(crate) const SECCOMP_FILTER_FLAG_LOG: u32 = 1 << 1;
pub(crate) const SECCOMP_FILTER_FLAG_SPEC_ALLOW: u32 = 1 << 2;
pub(crate) const SECCOMP_FILTER_FLAG_NEW_LISTENER: u32 = 1 << 3;
pub(crate) const SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// A profile, ready for `seccomp(2)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The program, at most [`MAX_INSTRUCTIONS`] long.
    pub instructions: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*` for `SECCOMP_SET_MODE_FILTER`.
    pub flags: u32,
    /// Loading it gives a listener: some rule has `SCMP_ACT_NOTIFY`, whether or not its system call exists here.
    pub notify: bool,
    /// Names that no architecture has: ignored, for the log.
    pub warnings: Vec<SpecError>,
}

impl Filter {
    /// The program as `struct sock_filter[]` in this machine's byte order.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.instructions.iter().flat_map(|instruction| instruction.to_bytes()).collect()
    }
}

/// Compiles a profile for a kernel of the architecture `native`, for all of its ABIs that the profile lists and always for
/// the native one. Architectures that this kernel never reports are left out.
///
/// # Errors
/// Two rules of one system call that contradict each other (libseccomp refuses them too), an argument index over 5, a default
/// action NOTIFY, or a program that is longer than the kernel takes; each with its JSON pointer.
pub fn compile(profile: &LinuxSeccomp, native: Arch) -> Result<Filter, SpecError> {
    if profile.default_action == SeccompAction::Notify {
        return Err(SpecError::new(
            "/linux/seccomp/defaultAction",
            "SCMP_ACT_NOTIFY cannot be the default action",
        ));
    }
    let mut warnings = Vec::new();
    let calls = names::resolve(profile, native, &mut warnings)?;
    let instructions = tree::program(&calls)?;
    let notify = profile.syscalls.iter().any(|rule| rule.action == SeccompAction::Notify);
    Ok(Filter { instructions, flags: flags(profile, notify), notify, warnings })
}

/// The pointer of the first rule that notifies on one of `names`, and the name: for calls that init makes between loading the
/// filter and the listener's arrival at the agent, which nobody could answer.
pub fn notified<'n>(profile: &LinuxSeccomp, names: &[&'n str]) -> Option<(String, &'n str)> {
    let rules = profile.syscalls.iter().enumerate();
    let mut notifying = rules.filter(|(_, rule)| rule.action == SeccompAction::Notify);
    notifying.find_map(|(index, rule)| {
        let name = names.iter().find(|name| rule.names.iter().any(|other| other == *name))?;
        Some((format!("/linux/seccomp/syscalls/{index}"), *name))
    })
}

/// Whether `profile` allows all of these calls, whatever their arguments; at the worst it says that it does not.
pub fn allows(profile: &LinuxSeccomp, names: &[&str]) -> bool {
    let by_default = profile.default_action == SeccompAction::Allow;
    names.iter().all(|name| {
        // A rule that answers the default is no rule. The first without conditions decides, before all that have some.
        let rules = profile.syscalls.iter();
        let rules = rules.filter(|rule| !(by_default && rule.action == SeccompAction::Allow));
        let mut rules = rules.filter(|rule| rule.names.iter().any(|other| other == name));
        match rules.clone().find(|rule| rule.args.is_empty()) {
            Some(rule) => rule.action == SeccompAction::Allow,
            None => by_default && rules.next().is_none(),
        }
    })
}

/// The number of a system call on an architecture, as the kernel reports it: with the bit of x32. `None` where it has none.
pub fn number(name: &str, arch: SeccompArch) -> Option<u32> {
    match arch::Known::find(name, &mut 0) {
        arch::Known::Here(call) => arch::Abi::of(arch)?.number(call),
        arch::Known::Elsewhere | arch::Known::Nowhere => None,
    }
}

/// TSYNC is taken and left out, as runc does: the process that loads the filter has one thread, and the kernel refuses TSYNC
/// together with a listener. Without `flags` it is SPEC_ALLOW, as with runc and crun: since Linux 5.16 (2f46993d83ff) seccomp
/// implies the mitigation that the flag lifts only where the kernel's command line says so.
fn flags(profile: &LinuxSeccomp, notify: bool) -> u32 {
    let asked = profile.flags.as_deref().unwrap_or(&[SeccompFlag::SpecAllow]);
    let asked = asked.iter().map(|flag| match flag {
        SeccompFlag::Tsync => 0,
        SeccompFlag::Log => SECCOMP_FILTER_FLAG_LOG,
        SeccompFlag::SpecAllow => SECCOMP_FILTER_FLAG_SPEC_ALLOW,
        SeccompFlag::WaitKillableRecv => SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
    });
    let listener = if notify { SECCOMP_FILTER_FLAG_NEW_LISTENER } else { 0 };
    asked.fold(listener, |all, flag| all | flag)
}

#[cfg(test)]
mod tests;
