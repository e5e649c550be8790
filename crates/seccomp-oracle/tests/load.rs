//! Compiled filters in this machine's kernel: what system calls under them give.

#![cfg(target_arch = "x86_64")]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use libcontainer::seccomp::{Arch, compile};
use libcontainer::spec::{LinuxSeccomp, SeccompArch};
use seccomp_oracle::captured_profiles;

const EPERM: i64 = -1;
const ENOSYS: i64 = -38;
const X32_BIT: i64 = 0x4000_0000;

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Returned(i64),
    Signaled(i32),
}

/// Makes one system call under the profile, in a process of its own.
fn under(profile: &LinuxSeccomp, call: &[&str]) -> Seen {
    let filter = compile(profile, Arch::X86_64).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_under-filter"))
        .arg(filter.flags.to_string())
        .args(call)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&filter.to_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    match output.status.signal() {
        Some(signal) => Seen::Signaled(signal),
        None => Seen::Returned(String::from_utf8(output.stdout).unwrap().parse().unwrap()),
    }
}

fn call(profile: &LinuxSeccomp, call: &[i64]) -> Seen {
    let words: Vec<String> = call.iter().map(i64::to_string).collect();
    under(profile, &words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn docker() -> LinuxSeccomp {
    let mut all = captured_profiles().unwrap().into_iter();
    all.find(|(file, _)| file.starts_with("docker-")).unwrap().1
}

fn profile(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).unwrap()
}

#[test]
fn dockers_profile_gives_its_errors_and_lets_pass_what_it_allows() {
    let profile = docker();
    // getuid(), keyctl(0), personality(what it is), personality(0x0002000), clone(CLONE_NEWUSER), socket(AF_VSOCK, SOCK_STREAM, 0)
    assert!(matches!(call(&profile, &[102]), Seen::Returned(uid) if uid >= 0));
    assert_eq!(call(&profile, &[250, 0]), Seen::Returned(EPERM));
    assert!(matches!(call(&profile, &[135, 0xffff_ffff]), Seen::Returned(domain) if domain >= 0));
    assert_eq!(call(&profile, &[135, 0x2000]), Seen::Returned(EPERM));
    assert_eq!(call(&profile, &[56, 0x1000_0000]), Seen::Returned(EPERM));
    assert_eq!(call(&profile, &[41, 40, 1, 0]), Seen::Returned(EPERM));
}

#[test]
fn call_newer_than_dockers_profile_is_not_implemented() {
    // setxattrat(-1, NULL, 0, NULL, NULL, 0) of Linux 6.13; without a filter it is EINVAL or EFAULT, or unknown to the kernel.
    assert_eq!(call(&docker(), &[463, -1]), Seen::Returned(ENOSYS));
    let open = profile(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
    assert!(matches!(call(&open, &[463, -1]), Seen::Returned(errno) if errno < 0));
}

#[test]
fn actions_do_what_they_say() {
    let json = |action: &str| {
        profile(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {{"names": ["getppid"], "action": "{action}"}}]}}"#
        ))
    };
    let getppid = |action| call(&json(action), &[110]);
    assert_eq!(getppid("SCMP_ACT_ERRNO"), Seen::Returned(EPERM));
    assert!(matches!(getppid("SCMP_ACT_LOG"), Seen::Returned(pid) if pid > 0));
    // No tracer.
    assert_eq!(getppid("SCMP_ACT_TRACE"), Seen::Returned(ENOSYS));
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        assert_eq!(getppid(action), Seen::Signaled(libc::SIGSYS), "{action}");
    }
}

#[test]
fn other_abis_are_killed_unless_listed_and_then_filtered() {
    let mut profile = profile(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 111}]}"#,
    );
    // getppid is 64 on x86; x32 has the numbers of x86_64 with a bit.
    let (x86, x32) = (["x86", "64"], [X32_BIT | 110]);
    assert_eq!(under(&profile, &x86), Seen::Signaled(libc::SIGSYS));
    assert_eq!(call(&profile, &x32), Seen::Signaled(libc::SIGSYS));
    profile.architectures = vec![SeccompArch::X86, SeccompArch::X32];
    assert_eq!(under(&profile, &x86), Seen::Returned(-111));
    assert_eq!(call(&profile, &x32), Seen::Returned(-111));
}

#[test]
fn every_captured_profile_is_taken_by_the_kernel_with_every_flag() {
    for (file, mut profile) in captured_profiles().unwrap() {
        for flags in [
            r"null",
            r#"["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"]"#,
        ] {
            profile.flags = serde_json::from_str(flags).unwrap();
            assert!(matches!(call(&profile, &[102]), Seen::Returned(uid) if uid >= 0), "{file}");
        }
    }
}

#[test]
fn longest_program_is_taken_by_the_kernel() {
    let one =
        |value: u64| format!(r#"{{"index": 0, "value": {}, "op": "SCMP_CMP_EQ"}}"#, value << 33);
    let args: Vec<String> = (0..1000).map(one).collect();
    let profile = profile(&format!(
        r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["getppid"],
            "action": "SCMP_ACT_ERRNO", "errnoRet": 7, "args": [{}]}}]}}"#,
        args.join(",")
    ));
    assert!(compile(&profile, Arch::X86_64).unwrap().instructions.len() > 4000);
    assert_eq!(call(&profile, &[110, 999 << 33]), Seen::Returned(-7));
    assert!(matches!(call(&profile, &[110, 1]), Seen::Returned(pid) if pid > 0));
}
