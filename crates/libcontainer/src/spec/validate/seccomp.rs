//! `/linux/seccomp`.
//!
//! Runs in: any process.

use super::{Check, check_range, fail};
use crate::spec::{LinuxSeccomp, LinuxSyscall, SeccompAction, SeccompFlag, SpecError};

pub(super) fn check(filter: &LinuxSeccomp, warnings: &mut Vec<SpecError>) -> Check {
    const POINTER: &str = "/linux/seccomp";
    check_errno(filter.default_action, filter.default_errno_ret, || {
        format!("{POINTER}/defaultErrnoRet")
    })?;
    if filter.default_action == SeccompAction::Notify {
        // Nothing could answer: the program that should is told through calls that it would wait for.
        return fail(
            format!("{POINTER}/defaultAction"),
            "SCMP_ACT_NOTIFY cannot be the default action",
        );
    }
    for (index, rule) in filter.syscalls.iter().enumerate() {
        check_rule(rule, &format!("{POINTER}/syscalls/{index}"))?;
    }
    check_listener(filter, warnings)
}

fn check_rule(rule: &LinuxSyscall, pointer: &str) -> Check {
    /// System calls have six arguments.
    const LAST_ARGUMENT: u32 = 5;
    if rule.names.is_empty() {
        return fail(format!("{pointer}/names"), "is empty");
    }
    if let Some(index) = rule.names.iter().position(String::is_empty) {
        return fail(format!("{pointer}/names/{index}"), "is empty");
    }
    check_errno(rule.action, rule.errno_ret, || format!("{pointer}/errnoRet"))?;
    for (index, argument) in rule.args.iter().enumerate() {
        check_range(argument.index, 0, LAST_ARGUMENT, || format!("{pointer}/args/{index}/index"))?;
    }
    Ok(())
}

/// Only ERRNO and TRACE carry a number. The kernel takes errors up to 4095, for TRACE 16 bits of data.
fn check_errno(
    action: SeccompAction,
    number: Option<u32>,
    pointer: impl FnOnce() -> String,
) -> Check {
    let last = match (action, number) {
        (_, None) => return Ok(()),
        (SeccompAction::Errno, _) => 4095,
        (SeccompAction::Trace, _) => 0xffff,
        (other, _) => return fail(pointer(), format!("is given, and {other} has no error number")),
    };
    check_range(number.unwrap_or(0), 0, last, pointer)
}

fn check_listener(filter: &LinuxSeccomp, warnings: &mut Vec<SpecError>) -> Check {
    let listener = "/linux/seccomp/listenerPath";
    let notify = filter.syscalls.iter().position(|rule| rule.action == SeccompAction::Notify);
    match (notify, filter.listener_path.is_empty()) {
        (Some(index), true) => {
            let pointer = format!("/linux/seccomp/syscalls/{index}/action");
            return fail(pointer, "SCMP_ACT_NOTIFY needs a listenerPath");
        }
        (None, false) => {
            warnings.push(SpecError::new(listener, "is ignored: no rule has SCMP_ACT_NOTIFY"));
        }
        _ => {}
    }
    if filter.listener_path.is_empty() && !filter.listener_metadata.is_empty() {
        return fail("/linux/seccomp/listenerMetadata", "is given without listenerPath");
    }
    let flags = filter.flags.iter().flatten().enumerate();
    let mut flags = flags.filter(|(_, flag)| **flag == SeccompFlag::WaitKillableRecv);
    match (flags.next(), notify) {
        (Some((index, flag)), None) => fail(
            format!("/linux/seccomp/flags/{index}"),
            format!("{flag} needs a rule with SCMP_ACT_NOTIFY"),
        ),
        _ => Ok(()),
    }
}
