//! Profiles, compiled and run in a small interpreter. What every profile answers is held against libseccomp in
//! `crates/seccomp-oracle`; here is what must hold without that library.

use super::{Arch, Filter, Instruction, MAX_INSTRUCTIONS, allows, compile, notified};
use crate::spec::{LinuxSeccomp, SpecError};

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const ENOSYS: u32 = ERRNO | 38;
const KILL: u32 = 0;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const ARM: u32 = 0x4000_0028;

fn profile(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).unwrap()
}

fn filter(json: &str) -> Filter {
    compile(&profile(json), Arch::X86_64).unwrap()
}

fn error(json: &str) -> SpecError {
    compile(&profile(json), Arch::X86_64).unwrap_err()
}

/// Runs the program as the kernel does.
fn run(filter: &Filter, arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut words = vec![number, arch, 0, 0];
    for argument in arguments {
        words.push(u32::try_from(argument & 0xffff_ffff).unwrap());
        words.push(u32::try_from(argument >> 32).unwrap());
    }
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let Instruction { code, jt, jf, k } = filter.instructions[at];
        at += 1;
        let jump = |holds| usize::from(if holds { jt } else { jf });
        match code {
            0x20 => accumulator = words[usize::try_from(k / 4).unwrap()],
            0x54 => accumulator &= k,
            0x05 => at += usize::try_from(k).unwrap(),
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn answer(json: &str, number: u32, first: u64) -> u32 {
    run(&filter(json), X86_64, number, [first, 0, 0, 0, 0, 0])
}

#[test]
fn call_that_is_named_gets_its_action_and_others_the_default() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read", "close", "mseal"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["write"], "action": "SCMP_ACT_ERRNO", "errnoRet": 9}]}"#;
    assert_eq!(answer(json, 0, 0), ALLOW);
    assert_eq!(answer(json, 1, 0), ERRNO | 9);
    assert_eq!(answer(json, 2, 0), ERRNO | 1);
    assert_eq!(answer(json, 462, 0), ALLOW);
}

#[test]
fn call_newer_than_the_profile_is_enosys_unless_the_default_lets_pass() {
    let profile = |default: &str| {
        format!(
            r#"{{"defaultAction": "{default}", "syscalls": [
                {{"names": ["read", "clone3"], "action": "SCMP_ACT_TRAP"}}]}}"#
        )
    };
    for (default, below, above) in [
        ("SCMP_ACT_ERRNO", ERRNO | 1, ENOSYS),
        ("SCMP_ACT_KILL", KILL, ENOSYS),
        ("SCMP_ACT_ALLOW", ALLOW, ALLOW),
        ("SCMP_ACT_LOG", 0x7ffc_0000, 0x7ffc_0000),
        ("SCMP_ACT_TRACE", 0x7ff0_0001, 0x7ff0_0001),
    ] {
        assert_eq!(answer(&profile(default), 434, 0), below, "{default}");
        assert_eq!(answer(&profile(default), 436, 0), above, "{default}");
    }
}

#[test]
fn allowed_is_what_no_rule_can_take_away() {
    let rule = |action: &str, args: &str| {
        format!(r#"{{"names": ["prctl"], "action": "SCMP_ACT_{action}", "args": [{args}]}}"#)
    };
    let condition = r#"{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}"#;
    let allows = |default: &str, rules: &[String]| {
        let rules = rules.join(",");
        let json = format!(r#"{{"defaultAction": "SCMP_ACT_{default}", "syscalls": [{rules}]}}"#);
        allows(&profile(&json), &["prctl"])
    };
    let (allow, some) = (rule("ALLOW", ""), rule("ALLOW", condition));
    let (errno, some_errno) = (rule("ERRNO", ""), rule("ERRNO", condition));
    assert!(allows("ALLOW", &[]));
    assert!(allows("ERRNO", std::slice::from_ref(&allow)));
    assert!(allows("TRAP", &[some_errno.clone(), allow.clone(), errno.clone()]));
    assert!(allows("ALLOW", &[allow.clone(), some.clone()]));
    for (default, rules) in [
        ("ERRNO", vec![]),
        ("LOG", vec![]),
        ("ERRNO", vec![some]),
        ("TRAP", vec![errno.clone(), allow.clone()]),
        ("ALLOW", vec![some_errno]),
        ("ALLOW", vec![allow, errno]),
    ] {
        assert!(!allows(default, &rules), "{default}, {rules:?}");
    }
    let other = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["prctl", "capset"], "action": "SCMP_ACT_ALLOW"}]}"#;
    assert!(super::allows(&profile(other), &["capset", "prctl"]));
    assert!(!super::allows(&profile(other), &["capset", "capget"]));
}

#[test]
fn newest_call_counts_whatever_its_rule_says() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO"}]}"#;
    assert_eq!(answer(json, 435, 0), ERRNO | 1);
    assert_eq!(answer(json, 436, 0), ENOSYS);
}

#[test]
fn abi_that_is_not_listed_is_killed_and_a_listed_one_filtered() {
    let native = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["getpid"], "action": "SCMP_ACT_ALLOW"}]}"#;
    let all = r#"{"defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_S390X"], "syscalls": [
        {"names": ["getpid"], "action": "SCMP_ACT_ALLOW"}]}"#;
    let x32 = |number: u32| 0x4000_0000 | number;
    for (json, arch, number, expected) in [
        (native, X86_64, 39, ALLOW),
        (native, I386, 20, KILL),
        (native, X86_64, x32(39), KILL),
        (native, X86_64, u32::MAX, ERRNO | 1),
        (native, 0x8000_0016, 20, KILL),
        (all, X86_64, 39, ALLOW),
        (all, I386, 20, ALLOW),
        (all, I386, 19, ERRNO | 1),
        (all, X86_64, x32(39), ALLOW),
        (all, X86_64, x32(38), ERRNO | 1),
        (all, X86_64, x32(40), ENOSYS),
    ] {
        assert_eq!(run(&filter(json), arch, number, [0; 6]), expected, "{arch:#x} {number:#x}");
    }
}

#[test]
fn arm_beside_aarch64_is_filtered_with_its_private_calls() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_ARM"], "syscalls": [
        {"names": ["set_tls", "clone3"], "action": "SCMP_ACT_ALLOW"}]}"#;
    let filter = compile(&profile(json), Arch::Aarch64).unwrap();
    assert_eq!(run(&filter, ARM, 0xf_0005, [0; 6]), ALLOW);
    assert_eq!(run(&filter, ARM, 436, [0; 6]), ENOSYS);
    assert_eq!(run(&filter, X86_64, 0, [0; 6]), KILL);
}

#[test]
fn operators_compare_all_64_bits() {
    const LARGE: u64 = 0x1_0000_0005;
    for (operator, value, holds, fails) in [
        ("EQ", LARGE, [LARGE, LARGE], [5, 0x2_0000_0005]),
        ("NE", LARGE, [5, 0x1_0000_0004], [LARGE, LARGE]),
        ("LT", LARGE, [0xffff_ffff, LARGE - 1], [LARGE, 0x2_0000_0000]),
        ("LE", LARGE, [0xffff_ffff, LARGE], [LARGE + 1, 0x2_0000_0000]),
        ("GT", LARGE, [LARGE + 1, 0x2_0000_0000], [LARGE, 0xffff_ffff]),
        ("GE", LARGE, [LARGE, 0x2_0000_0000], [LARGE - 1, 0xffff_ffff]),
    ] {
        let json = format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["read", "write"],
                "action": "SCMP_ACT_ALLOW", "args": [
                {{"index": 0, "value": {value}, "op": "SCMP_CMP_{operator}"}}]}}]}}"#
        );
        for argument in holds {
            assert_eq!(answer(&json, 0, argument), ALLOW, "{operator} {argument:#x}");
        }
        for argument in fails {
            assert_eq!(answer(&json, 0, argument), ERRNO | 1, "{operator} {argument:#x}");
        }
    }
}

#[test]
fn masked_comparison_ignores_bits_outside_the_mask() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read", "clone"],
        "action": "SCMP_ACT_ALLOW", "args": [
        {"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#;
    assert_eq!(answer(json, 56, 0xffff_ffff_8000_0011), ALLOW);
    assert_eq!(answer(json, 56, 0x1000_0011), ERRNO | 1);
}

#[test]
fn conditions_on_different_arguments_must_all_hold_and_on_one_any() {
    let both = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"],
        "action": "SCMP_ACT_ALLOW", "args": [
        {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
        {"index": 1, "value": 2, "op": "SCMP_CMP_EQ"}]}]}"#;
    let any = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"],
        "action": "SCMP_ACT_ALLOW", "args": [
        {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
        {"index": 0, "value": 7, "op": "SCMP_CMP_EQ"},
        {"index": 1, "value": 2, "op": "SCMP_CMP_EQ"}]}]}"#;
    for (arguments, with_both, with_any) in [
        ([1, 2], ALLOW, ALLOW),
        ([1, 0], ERRNO | 1, ALLOW),
        ([7, 0], ERRNO | 1, ALLOW),
        ([0, 2], ERRNO | 1, ALLOW),
        ([0, 0], ERRNO | 1, ERRNO | 1),
    ] {
        let arguments = [arguments[0], arguments[1], 0, 0, 0, 0];
        assert_eq!(run(&filter(both), X86_64, 0, arguments), with_both, "{arguments:?}");
        assert_eq!(run(&filter(any), X86_64, 0, arguments), with_any, "{arguments:?}");
    }
}

#[test]
fn rule_without_conditions_beats_those_with_and_the_first_beats_later_ones() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_TRAP", "args": [
            {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["read"], "action": "SCMP_ACT_KILL"}]}"#;
    assert_eq!(answer(json, 0, 1), ALLOW);
}

#[test]
fn rule_that_repeats_the_default_does_not_hide_another() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [
            {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]}"#;
    assert_eq!(answer(json, 0, 1), ALLOW);
    assert_eq!(answer(json, 0, 2), ERRNO | 1);
}

#[test]
fn socket_is_filtered_behind_socketcall_too() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
        {"names": ["socket", "shmat"], "action": "SCMP_ACT_ALLOW"}]}"#;
    let filter = filter(json);
    for (number, first, expected) in [
        (359, 0, ALLOW),
        (102, 1, ALLOW),
        (102, 2, ERRNO | 1),
        (117, 21, ALLOW),
        (117, 22, ERRNO | 1),
        // Above shmat, which is the newest.
        (398, 0, ENOSYS),
    ] {
        assert_eq!(run(&filter, I386, number, [first, 0, 0, 0, 0, 0]), expected, "{number}");
    }
}

#[test]
fn contradiction_is_an_error_that_names_rule_and_call() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_TRAP", "args": [
            {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [
            {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]}"#;
    let error = error(json);
    assert_eq!(error.pointer, "/linux/seccomp/syscalls/1");
    assert!(error.problem.contains("\"read\""), "{error}");
}

#[test]
fn unknown_names_warn_and_those_of_other_architectures_do_not() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read", "s390_sthyi", "no_such_call"], "action": "SCMP_ACT_ALLOW"}]}"#;
    let warnings = filter(json).warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].pointer, "/linux/seccomp/syscalls/0/names/2");
}

#[test]
fn flags_are_those_asked_for_without_tsync_and_with_a_listener_where_needed() {
    let json = |flags: &str, action: &str| {
        let json = format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", {flags} "syscalls": [
                {{"names": ["mkdir"], "action": "{action}"}}]}}"#
        );
        let filter = filter(&json);
        (filter.flags, filter.notify)
    };
    assert_eq!(json("", "SCMP_ACT_ALLOW"), (4, false));
    assert_eq!(json("", "SCMP_ACT_NOTIFY"), (4 | 8, true));
    assert_eq!(json(r#""flags": [],"#, "SCMP_ACT_ALLOW"), (0, false));
    let all = r#""flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],"#;
    assert_eq!(json(all, "SCMP_ACT_NOTIFY"), (2 | 4 | 8 | 32, true));
}

#[test]
fn notified_finds_the_rule_that_init_could_not_pass() {
    let json = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["write"], "action": "SCMP_ACT_LOG"},
        {"names": ["mkdir", "sendmsg"], "action": "SCMP_ACT_NOTIFY"}]}"#;
    let found = notified(&profile(json), &["write", "sendmsg"]);
    assert_eq!(found, Some(("/linux/seccomp/syscalls/1".to_owned(), "sendmsg")));
    assert_eq!(notified(&profile(json), &["write", "execve"]), None);
}

#[test]
fn program_longer_than_the_kernel_takes_is_an_error() {
    let conditions = |count: u64| {
        let one = |value: u64| {
            let value = value << 33;
            format!(r#"{{"index": 0, "value": {value}, "op": "SCMP_CMP_EQ"}}"#)
        };
        let all: Vec<String> = (0..count).map(one).collect();
        format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["read"],
                "action": "SCMP_ACT_ALLOW", "args": [{}]}}]}}"#,
            all.join(",")
        )
    };
    let fits = filter(&conditions(1000));
    assert!(fits.instructions.len() > 4000 && fits.instructions.len() <= MAX_INSTRUCTIONS);
    for first in [0, 1, 500, 999] {
        assert_eq!(run(&fits, X86_64, 0, [first << 33, 0, 0, 0, 0, 0]), ALLOW, "{first}");
    }
    assert_eq!(error(&conditions(1100)).pointer, "/linux/seccomp");
    assert_eq!(error(&conditions(20_000)).pointer, "/linux/seccomp");
}
