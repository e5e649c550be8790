//! `/linux/seccomp`: real system calls under real filters.
//!
//! Runs in: any process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::bundle::{self, Bundle};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, Program, Root};
use crate::inside::{refuses, sh};
use crate::prober;
use crate::runtime::Runtime;

const NO_STUB: &str = "crun 1.8 answers as the default says: glibc does not fall back from EPERM";
const SILENT: &str = "the others say nothing of such names, or at debug level";
const OURS: &str = "holds corten against the peers that are installed";
const FEW: &str = "runc's own calls behind the filter are those of Go, and not always the same";
const NO_FLAGS: &str = "this version knows no such flags";

table! {
    profile_of_docker_answers_as_its_rules_say: [Root],
    profile_of_podman_answers_as_its_rules_say: [Root],
    profile_of_containerd_answers_as_its_rules_say: [Root],
    profiles_of_engines_answer_as_under_runc: [Root, Corten(OURS), Program("runc")],
    profiles_of_engines_answer_as_under_crun: [Root, Corten(OURS), Program("crun")],
    call_newer_than_the_profile_is_enosys: [Root, NotOn("crun", NO_STUB)],
    call_newer_than_a_profile_that_allows_is_allowed: [Root],
    errno_of_the_profile_is_what_the_call_gives: [Root],
    actions_do_what_they_say: [Root],
    architecture_that_is_not_listed_is_killed: [Root],
    architecture_that_is_listed_is_filtered: [Root],
    name_that_nobody_knows_is_a_warning: [Root, Corten(SILENT)],
    flags_are_taken: [Root, NotOn("crun", NO_FLAGS), NotOn("runc", NO_FLAGS)],
    profile_that_kills_lets_the_program_start: [Root, Corten(FEW)],
    profile_that_kills_lets_the_program_start_without_no_new_privileges: [Root, Corten(FEW)],
    profile_that_denies_all_ends_the_container: [Root, Corten(FEW)],
    filter_is_in_force_for_start_container_hooks: [Root],
    filter_is_in_force_for_users_without_capabilities: [Root],
    contradiction_is_refused_with_the_rule: [Root, Corten("others say EEXIST of the rule's name")],
}

/// What a file of tests/configs has as its filter.
fn profile(name: &str) -> Result<Value, Failed> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/configs", name].iter().collect();
    let mut config: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let profile = config["linux"]["seccomp"].take();
    ensure!(profile.is_object(), "{name} has no filter");
    Ok(profile)
}

/// The default profiles, as the engines expand them for a container with the default capabilities.
const ENGINES: [&str; 4] =
    ["docker-default.json", "podman-default.json", "cri-pod-container.json", "ctr-seccomp.json"];

/// A bundle whose program is the prober with these words.
fn probing(
    runtime: &Runtime,
    profile: &Value,
    no_new_privileges: bool,
    words: &[&str],
) -> Result<Bundle, Failed> {
    let arguments = [&["/probe", prober::FLAG], words].concat();
    let own = std::env::current_exe()?;
    runtime.bundle_with(&arguments, |config| {
        config["linux"]["seccomp"] = profile.clone();
        config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        let mount = json!({ "destination": "/probe", "source": own, "options": ["bind", "ro"] });
        bundle::add(config, "/mounts", mount);
        // crun raises RLIMIT_MEMLOCK for any device program, which needs CAP_SYS_RESOURCE.
        config["linux"]["resources"] = Value::Null;
    })
}

/// What came of each word.
fn answers(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(word, answer)| (word.to_owned(), answer.to_owned())).collect()
}

/// Probes each word, with noNewPrivileges and without: the filter is loaded at different moments.
fn answers_each(runtime: &Runtime, profile: &Value, rows: &[(String, &str)]) -> TestResult {
    let words: Vec<&str> = rows.iter().map(|(word, _)| word.as_str()).collect();
    for no_new_privileges in [true, false] {
        let bundle = probing(runtime, profile, no_new_privileges, &words)?;
        let seen = answers(&runtime.run(&bundle)?.ok()?.stdout);
        for (word, expected) in rows {
            let answer = seen.get(word).map_or("nothing", String::as_str);
            ensure!(
                answer == *expected,
                "{word}: {answer}, not {expected} (noNewPrivileges {no_new_privileges})"
            );
        }
    }
    Ok(())
}

fn call(number: libc::c_long, arguments: &[i64]) -> String {
    let arguments = arguments.iter().map(|argument| format!(",{argument}"));
    arguments.fold(number.to_string(), |word, argument| word + &argument)
}

const EPERM: &str = "errno 1";
const EFAULT: &str = "errno 14";
const ENOSYS: &str = "errno 38";
const SIGSYS: &str = "signal 31";
const RETURNED: &str = "returned";

/// What all of them have in common (moby's profiles/seccomp/default_linux.go, containerd's contrib/seccomp, containers-common's
/// pkg/seccomp): for a container without CAP_SYS_ADMIN.
fn common_rules() -> Vec<(String, &'static str)> {
    let new_user = i64::from(libc::CLONE_NEWUSER);
    vec![
        (call(libc::SYS_getpid, &[]), RETURNED),
        (call(libc::SYS_clone3, &[]), ENOSYS),
        (call(libc::SYS_clone, &[new_user | i64::from(libc::SIGCHLD)]), EPERM),
        (call(libc::SYS_unshare, &[new_user]), EPERM),
        (call(libc::SYS_setns, &[0, 0]), EPERM),
        (call(libc::SYS_mount, &[]), EPERM),
        (call(libc::SYS_bpf, &[]), EPERM),
        (call(libc::SYS_perf_event_open, &[]), EPERM),
        (call(libc::SYS_kexec_load, &[]), EPERM),
        (call(libc::SYS_init_module, &[]), EPERM),
        (call(libc::SYS_open_by_handle_at, &[]), EPERM),
        (call(libc::SYS_personality, &[0]), RETURNED),
        (call(libc::SYS_personality, &[8]), RETURNED),
        (call(libc::SYS_personality, &[0xffff_ffff]), RETURNED),
        (call(libc::SYS_personality, &[0x0040_0000]), EPERM),
    ]
}

fn profile_of_docker_answers_as_its_rules_say(runtime: &Runtime) -> TestResult {
    let mut rows = common_rules();
    // AF_VSOCK (moby issue 44670), io_uring (moby pull request 46762), keyrings.
    rows.push((call(libc::SYS_chroot, &[]), EFAULT));
    rows.push((call(libc::SYS_socket, &[40, 1, 0]), EPERM));
    rows.push((call(libc::SYS_socket, &[1, 1, 0]), RETURNED));
    rows.push((call(libc::SYS_io_uring_setup, &[]), EPERM));
    rows.push((call(libc::SYS_keyctl, &[]), EPERM));
    rows.push((call(libc::SYS_userfaultfd, &[]), EPERM));
    answers_each(runtime, &profile("docker-default.json")?, &rows)
}

fn profile_of_containerd_answers_as_its_rules_say(runtime: &Runtime) -> TestResult {
    answers_each(runtime, &profile("cri-pod-container.json")?, &common_rules())?;
    answers_each(runtime, &profile("ctr-seccomp.json")?, &common_rules())
}

/// It says ENOSYS of what it does not know, and EPERM by name.
fn profile_of_podman_answers_as_its_rules_say(runtime: &Runtime) -> TestResult {
    let mut rows = common_rules();
    rows.retain(|(_, answer)| *answer == RETURNED);
    rows.push((call(libc::SYS_personality, &[0x0040_0000]), ENOSYS));
    rows.push((call(libc::SYS_bpf, &[]), EPERM));
    rows.push((call(libc::SYS_userfaultfd, &[]), EPERM));
    rows.push((call(400, &[]), ENOSYS));
    answers_each(runtime, &profile("podman-default.json")?, &rows)
}

fn profiles_of_engines_answer_as_under_runc(runtime: &Runtime) -> TestResult {
    profiles_answer_as_under(runtime, "runc", 450)
}

fn profiles_of_engines_answer_as_under_crun(runtime: &Runtime) -> TestResult {
    profiles_answer_as_under(runtime, "crun", 450)
}

/// Every number up to `last`, which is the newest call that libseccomp 2.5.4 knows (set_mempolicy_home_node), and some
/// with arguments that profiles look at, and of x86.
fn profiles_answer_as_under(runtime: &Runtime, peer: &str, last: u32) -> TestResult {
    let all = format!("0-{last}");
    let mut words = vec![all.clone()];
    for flags in [0x11, 0x1000_0000, 0x0002_0011, 0x0200_0000, 0x7e02_0000] {
        words.push(call(libc::SYS_clone, &[flags, 0, -1]));
    }
    words.extend((0..50).map(|family| call(libc::SYS_socket, &[family, 1, 0])));
    words.extend(
        [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff, 1, -1].map(|it| call(libc::SYS_personality, &[it])),
    );
    if cfg!(target_arch = "x86_64") {
        words.extend([20, 21, 26, 64, 310, 199].map(|number| format!("x86:{number}")));
        words.extend([39, 110].map(|number| call(0x4000_0000 | number, &[-1, -1, -1])));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    for name in ENGINES {
        let bundle = probing(runtime, &profile(name)?, false, &words)?;
        let ours = answers(&runtime.run(&bundle)?.ok()?.stdout);
        ensure!(ours.len() > 450, "only {} answers", ours.len());
        let theirs = answers(&run_peer(runtime, peer, &bundle)?);
        let different: Vec<_> = ours
            .iter()
            .filter(|(word, answer)| theirs.get(*word) != Some(*answer))
            .map(|(word, answer)| format!("{word}: {answer}, {peer}: {:?}", theirs.get(word)))
            .collect();
        ensure!(different.is_empty(), "{name}:\n{}", different.join("\n"));
        ensure_eq!(ours.len(), theirs.len());
    }
    Ok(())
}

fn run_peer(runtime: &Runtime, peer: &str, bundle: &Bundle) -> Result<String, Failed> {
    let root = runtime.directory().join(peer);
    let path: &Path = bundle.path();
    let mut command = Command::new(peer);
    command.arg("--root").arg(root).args(["run", "--bundle"]).arg(path).arg(runtime.new_id());
    let output = command.env("CORTEN_TEST", runtime.marker()).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{peer}: {stderr}");
    Ok(String::from_utf8(output.stdout)?)
}

/// glibc falls back to the older call only from ENOSYS (runc issue 2151).
fn call_newer_than_the_profile_is_enosys(runtime: &Runtime) -> TestResult {
    let names: Vec<&str> = UP_TO_STATX.split_whitespace().collect();
    // openat2 (437) is the newest that it names; faccessat2 is 439.
    let native = match std::env::consts::ARCH {
        "x86_64" => "SCMP_ARCH_X86_64",
        "aarch64" => "SCMP_ARCH_AARCH64",
        _ => "SCMP_ARCH_RISCV64",
    };
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        // runc 1.1 does it only for those that are listed.
        "architectures": [native],
        "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" },
                     { "names": ["openat2"], "action": "SCMP_ACT_ALLOW" }],
    });
    answers_each(
        runtime,
        &profile,
        &[
            (call(libc::SYS_openat2, &[-1, 0, 0, 0]), "errno 22"),
            (call(libc::SYS_pidfd_getfd, &[]), ENOSYS),
            (call(libc::SYS_faccessat2, &[]), ENOSYS),
            (call(999, &[]), ENOSYS),
            // Older than that, and not named.
            (call(libc::SYS_clone3, &[]), EPERM),
            (call(libc::SYS_mount, &[]), EPERM),
        ],
    )
}

/// What busybox, this binary and runc need, and all of it older than openat2.
const UP_TO_STATX: &str = "access arch_prctl brk capget capset chdir clone close dup dup2 dup3 epoll_create1 epoll_ctl \
    epoll_pwait eventfd2 execve exit exit_group faccessat fchown fcntl fstat fstatfs futex getcwd getdents64 getegid geteuid getgid \
    getgroups getpid getppid getrandom gettid getuid ioctl kill lseek madvise mmap mprotect mremap munmap nanosleep \
    newfstatat open openat pipe2 poll ppoll prctl pread64 prlimit64 read readlink readlinkat rseq rt_sigaction \
    rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield sendmsg recvmsg set_robust_list set_tid_address setgid \
    setgroups setresgid setresuid setsid setuid sigaltstack socket stat statx tgkill uname wait4 waitid write writev";

fn call_newer_than_a_profile_that_allows_is_allowed(runtime: &Runtime) -> TestResult {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO" }],
    });
    answers_each(
        runtime,
        &profile,
        &[
            (call(libc::SYS_openat2, &[-1, 0, 0, 0]), "errno 22"),
            (call(libc::SYS_faccessat2, &[]), EFAULT),
        ],
    )
}

fn errno_of_the_profile_is_what_the_call_gives(runtime: &Runtime) -> TestResult {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            { "names": ["getsid"], "action": "SCMP_ACT_ERRNO" },
            { "names": ["umask"], "action": "SCMP_ACT_ERRNO", "errnoRet": 117 },
            { "names": ["sched_yield"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0 },
            { "names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5,
              "args": [{ "index": 0, "value": 7, "op": "SCMP_CMP_EQ" },
                       { "index": 0, "value": 9, "op": "SCMP_CMP_EQ" }] },
        ],
    });
    let rows = [
        (call(libc::SYS_getsid, &[]), EPERM),
        (call(libc::SYS_umask, &[]), "errno 117"),
        (call(libc::SYS_sched_yield, &[]), RETURNED),
        (call(libc::SYS_personality, &[0]), RETURNED),
        // Two conditions on one argument are alternatives.
        (call(libc::SYS_personality, &[7]), "errno 5"),
        (call(libc::SYS_personality, &[9]), "errno 5"),
    ];
    // crun takes errnoRet 0 for none.
    let rows = if runtime.is("crun") { [&rows[..2], &rows[3..4]].concat() } else { rows.to_vec() };
    answers_each(runtime, &profile, &rows)
}

fn actions_do_what_they_say(runtime: &Runtime) -> TestResult {
    for (action, expected) in [
        ("SCMP_ACT_KILL", SIGSYS),
        ("SCMP_ACT_KILL_THREAD", SIGSYS),
        ("SCMP_ACT_KILL_PROCESS", SIGSYS),
        ("SCMP_ACT_TRAP", SIGSYS),
        // Without a tracer.
        ("SCMP_ACT_TRACE", ENOSYS),
        ("SCMP_ACT_LOG", RETURNED),
        ("SCMP_ACT_ALLOW", RETURNED),
    ] {
        let profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["sched_yield"], "action": action }],
        });
        answers_each(runtime, &profile, &[(call(libc::SYS_sched_yield, &[]), expected)])
            .map_err(|failed| format!("{action}: {}", crate::harness::text(&failed)))?;
    }
    Ok(())
}

fn allowing(architectures: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures,
        "syscalls": [{ "names": ["getsid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 111 }],
    })
}

fn architecture_that_is_not_listed_is_killed(runtime: &Runtime) -> TestResult {
    if !cfg!(target_arch = "x86_64") {
        return Ok(());
    }
    answers_each(
        runtime,
        &allowing(&["SCMP_ARCH_X86_64"]),
        &[
            ("x86:20".to_owned(), SIGSYS),
            (call(0x4000_0000 | libc::SYS_getpid, &[]), SIGSYS),
            (call(libc::SYS_getsid, &[]), "errno 111"),
        ],
    )
}

fn architecture_that_is_listed_is_filtered(runtime: &Runtime) -> TestResult {
    if !cfg!(target_arch = "x86_64") {
        return Ok(());
    }
    let all = ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"];
    answers_each(
        runtime,
        &allowing(&all),
        &[
            // getpid and getsid.
            ("x86:20".to_owned(), RETURNED),
            ("x86:147".to_owned(), "errno 111"),
            (call(0x4000_0000 | libc::SYS_getsid, &[]), "errno 111"),
            (call(libc::SYS_getsid, &[]), "errno 111"),
        ],
    )
}

fn name_that_nobody_knows_is_a_warning(runtime: &Runtime) -> TestResult {
    let mut profile = allowing(&[]);
    profile["syscalls"][0]["names"] = json!(["no_such_call", "getsid", "s390_sthyi"]);
    let bundle = probing(runtime, &profile, true, &[&call(libc::SYS_getsid, &[])])?;
    let outcome = runtime.run(&bundle)?.ok()?;
    ensure!(outcome.stdout.ends_with("errno 111\n"), "{outcome}");
    let place = "/linux/seccomp/syscalls/0/names/0";
    ensure!(outcome.stderr.contains(place) && outcome.stderr.contains("no_such_call"), "{outcome}");
    ensure!(!outcome.stderr.contains("s390_sthyi"), "{outcome}");
    Ok(())
}

fn flags_are_taken(runtime: &Runtime) -> TestResult {
    let mut profile = allowing(&[]);
    profile["flags"] = json!([
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW"
    ]);
    answers_each(runtime, &profile, &[(call(libc::SYS_getsid, &[]), "errno 111")])?;
    profile["flags"] = json!(["SECCOMP_FILTER_FLAG_NO_SUCH"]);
    refuses(runtime, &["SECCOMP_FILTER_FLAG_NO_SUCH"], |config| {
        config["linux"]["seccomp"] = profile;
    })
}

/// What the C library of a static busybox needs to start, and `true` to end.
const OF_PROGRAM: [&str; 21] = [
    "arch_prctl",
    "brk",
    "exit",
    "exit_group",
    "getgid",
    "getrandom",
    "getuid",
    "ioctl",
    "mmap",
    "mprotect",
    "munmap",
    "newfstatat",
    "prctl",
    "prlimit64",
    "readlink",
    "readlinkat",
    "rseq",
    "rt_sigprocmask",
    "set_robust_list",
    "set_tid_address",
    "uname",
];

fn killing(names: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" },
                     { "names": ["close_range_of_no_kernel"], "action": "SCMP_ACT_ALLOW" }],
    })
}

/// Behind the filter there is execve alone.
fn profile_that_kills_lets_the_program_start(runtime: &Runtime) -> TestResult {
    let mut names = OF_PROGRAM.to_vec();
    names.push("execve");
    let bundle = runtime.bundle_with(&["/bin/true"], |config| {
        config["linux"]["seccomp"] = killing(&names);
    })?;
    runtime.run(&bundle)?.ok()?;
    // Without execve it is killed: the filter is there.
    let bundle = runtime.bundle_with(&["/bin/true"], |config| {
        config["linux"]["seccomp"] = killing(&OF_PROGRAM);
    })?;
    let outcome = runtime.run(&bundle)?;
    ensure!(outcome.code() != 0, "started without execve: {outcome}");
    Ok(())
}

/// Behind the filter there are only calls that runc makes there too (standard_init_linux.go, from finalizeNamespace on).
fn profile_that_kills_lets_the_program_start_without_no_new_privileges(
    runtime: &Runtime,
) -> TestResult {
    let of_runc = [
        "capset",
        "close_range",
        "chdir",
        "execve",
        "faccessat2",
        "getcwd",
        "read",
        "rt_sigaction",
        "setgid",
        "setgroups",
        "setuid",
        "write",
    ];
    let names = [&OF_PROGRAM[..], &of_runc].concat();
    for user in [0, 1000] {
        let bundle = runtime.bundle_with(&["true"], |config| {
            config["linux"]["seccomp"] = killing(&names);
            config["process"]["noNewPrivileges"] = json!(false);
            config["process"]["user"] = json!({ "uid": user, "gid": user, "additionalGids": [7] });
        })?;
        runtime.run(&bundle)?.ok()?;
        let id = runtime.new_id();
        runtime.create(&bundle, &id)?.ok()?;
        runtime.start(&id)?.ok()?;
    }
    Ok(())
}

/// init can neither execute the program nor say so, and not even exit.
fn profile_that_denies_all_ends_the_container(runtime: &Runtime) -> TestResult {
    for no_new_privileges in [true, false] {
        let bundle = runtime.bundle_with(&["true"], |config| {
            config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ERRNO" });
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        })?;
        let outcome = runtime.run(&bundle)?;
        ensure!(!outcome.status.success(), "it has succeeded: {outcome:?}");
        let id = runtime.new_id();
        if runtime.create(&bundle, &id)?.status.success() {
            drop(runtime.start(&id)?);
            runtime.wait_for_status(&id, "stopped")?;
            runtime.delete(&id)?.ok()?;
        }
    }
    Ok(())
}

/// Their programs are the image's.
fn filter_is_in_force_for_start_container_hooks(runtime: &Runtime) -> TestResult {
    let docker = profile("docker-default.json")?;
    for no_new_privileges in [true, false] {
        let script = "cat > /dev/null; grep Seccomp: /proc/self/status > /seen";
        let seen = sh(runtime, "cat /seen", |config| {
            config["linux"]["seccomp"] = allowing(&[]);
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script] });
            config["hooks"] = json!({ "startContainer": [hook] });
        })?;
        ensure_eq!(seen, "Seccomp:\t2\n");
    }
    // clone3, which no filter can look into, is ENOSYS in the profile of Docker.
    let seen = sh(runtime, "cat /seen", |config| {
        config["linux"]["seccomp"] = docker.clone();
        let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", "echo ran > /seen"] });
        config["hooks"] = json!({ "startContainer": [hook] });
    })?;
    ensure_eq!(seen, "ran\n");
    Ok(())
}

fn filter_is_in_force_for_users_without_capabilities(runtime: &Runtime) -> TestResult {
    let docker = profile("docker-default.json")?;
    for no_new_privileges in [true, false] {
        let seen =
            sh(runtime, "grep -E 'Seccomp:|NoNewPrivs|^Uid|CapEff' /proc/self/status", |config| {
                config["linux"]["seccomp"] = docker.clone();
                config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
                config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            })?;
        let forbids = u8::from(no_new_privileges);
        let expected = format!(
            "Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\nNoNewPrivs:\t{forbids}\nSeccomp:\t2\n"
        );
        ensure_eq!(seen, expected);
    }
    Ok(())
}

fn contradiction_is_refused_with_the_rule(runtime: &Runtime) -> TestResult {
    refuses(runtime, &["/linux/seccomp/syscalls/1", "getsid"], |config| {
        let condition = json!([{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }]);
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                { "names": ["getsid"], "action": "SCMP_ACT_KILL", "args": condition },
                { "names": ["getsid"], "action": "SCMP_ACT_LOG", "args": condition },
            ],
        });
    })
}
