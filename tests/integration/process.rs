//! `/process`: the program and how it is found, its environment and directory, what it inherits and what not.
//!
//! Runs in: any process.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::bundle::{BUSYBOX, Bundle, add};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, Root};
use crate::inside::{field, nothing_left, output, refusal, sh, tmpfs};
use crate::runtime::{Outcome, Runtime};

const OTHER_WORDS: &str = "has other words for it; Podman and Docker know runc's";
const SAYS_LITTLE: &str = "says only what execve said; the hint is ours";
const NO_LISTEN_PID: &str = "1.8 neither looks at LISTEN_PID nor sets it (sd_listen_fds(3))";
const AS_ROOT: &str = "1.8 looks the program up as root, and fails only after start";
const COUNTS_ITS_OWN: &str =
    "runc checks it too, but finds its own descriptors there; crun does not check";

table! {
    arguments_are_passed_as_they_are: [Root],
    program_is_looked_up_in_the_containers_path: [Root],
    program_with_a_slash_counts_from_cwd: [Root],
    missing_program_has_runcs_words: [Root, NotOn("crun", OTHER_WORDS)],
    missing_path_has_the_words_of_the_kernel: [Root],
    program_without_permission_is_permission_denied: [Root, NotOn("crun", AS_ROOT)],
    program_that_is_a_directory_is_refused: [Root, NotOn("crun", OTHER_WORDS)],
    program_on_a_noexec_mount_is_permission_denied: [Root],
    program_with_a_missing_interpreter_fails: [Root],
    program_that_cannot_be_executed_is_one_bare_line_of_stderr: [Root, NotOn("crun", "logs it")],
    program_with_a_missing_interpreter_names_it: [Root, Corten(SAYS_LITTLE)],
    program_with_a_carriage_return_after_its_interpreter_is_explained: [Root, Corten(SAYS_LITTLE)],
    program_of_another_architecture_is_an_exec_format_error: [Root],
    program_without_a_format_is_an_exec_format_error: [Root],
    start_reports_a_program_that_cannot_be_executed: [Root, Corten("runc and crun answer 0 (docs/compatibility.md)")],
    environment_is_exactly_that_given: [Root],
    environment_may_be_null: [Root],
    cwd_is_made: [Root],
    cwd_that_is_a_file_is_refused: [Root],
    cwd_that_only_its_user_may_enter_works: [Root],
    rlimits_are_as_given: [Root],
    rlimit_that_is_unlimited_works: [Root],
    descriptors_of_the_caller_are_closed: [Root],
    preserved_descriptors_are_kept: [Root],
    preserved_descriptor_that_is_not_open_is_refused: [Root, Corten(COUNTS_ITS_OWN)],
    listen_fds_are_kept_and_renamed: [Root, NotOn("crun", NO_LISTEN_PID)],
    listen_fds_of_another_process_are_closed: [Root, NotOn("crun", NO_LISTEN_PID)],
    listen_fds_beyond_all_numbers_are_no_panic: [Root, Corten("a count that is not true")],
    signals_are_neither_blocked_nor_ignored: [Root],
    broken_pipes_that_the_caller_ignores_end_the_process: [Root, NotOn("crun", "leaves it; Go, and so runc, resets it")],
    process_leads_a_session_without_a_terminal: [Root],
    stdio_may_be_reopened_by_a_user: [Root],
    stdio_that_is_closed_does_not_become_something_else: [Root, NotOn("crun", "refuses to run without")],
    stdin_that_is_closed_is_the_null_device: [Root, NotOn("runc", "1.1: whatever it opens first, in create"), NotOn("crun", "refuses to run without")],
    null_stdin_is_that_of_the_container: [Root],
    a_megabyte_of_environment_reaches_the_process: [Root],
}

fn arguments_are_passed_as_they_are(runtime: &Runtime) -> TestResult {
    let arguments =
        ["printf", "<%s>", "", " a  b ", "new\nline", "q\"'\\$HOME", "--flag=x", "ünïcödé"];
    let seen = output(runtime, &arguments, |_| {})?;
    ensure_eq!(seen, "<>< a  b ><new\nline><q\"'\\$HOME><--flag=x><ünïcödé>");
    Ok(())
}

fn program_is_looked_up_in_the_containers_path(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["program"], |config| {
        // Without a place, without permission, a directory: all are passed over.
        config["process"]["env"] = json!(["PATH=/no:/a:/b:/c:/bin"]);
    })?;
    for directory in ["a", "b/program", "c"] {
        fs::create_dir_all(bundle.in_rootfs(directory))?;
    }
    fs::write(bundle.in_rootfs("a/program"), "")?;
    bundle.script("c/program", "echo found")?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "found\n");
    Ok(())
}

fn program_with_a_slash_counts_from_cwd(runtime: &Runtime) -> TestResult {
    let bundle =
        runtime.bundle_with(&["./program"], |config| config["process"]["cwd"] = json!("/opt"))?;
    fs::create_dir(bundle.in_rootfs("opt"))?;
    bundle.script("opt/program", "echo ran in $(pwd)")?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "ran in /opt\n");
    Ok(())
}

/// `create` of this program must fail, leave nothing, and say one of these texts.
fn cannot_create(runtime: &Runtime, bundle: &Bundle, texts: &[&str]) -> TestResult {
    let outcome = runtime.create(bundle, &runtime.new_id())?.fails()?;
    let said = outcome.stderr.to_lowercase();
    ensure!(texts.iter().any(|text| said.contains(text)), "expected one of {texts:?}: {outcome}");
    nothing_left(runtime)
}

fn missing_program_has_runcs_words(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["nosuch"])?;
    // Quoted once more in the text log.
    for words in ["exec: \\\"nosuch\\\"", "executable file not found in $PATH"] {
        runtime.create(&bundle, &runtime.new_id())?.fails_with(words)?;
        runtime.run(&bundle)?.fails_with(words)?.exits(1)?;
    }
    nothing_left(runtime)
}

fn missing_path_has_the_words_of_the_kernel(runtime: &Runtime) -> TestResult {
    for program in ["/no/such/program", "./nosuch"] {
        cannot_create(runtime, &runtime.bundle(&[program])?, &["no such file or directory"])?;
    }
    Ok(())
}

fn program_without_permission_is_permission_denied(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["/etc/passwd"])?;
    cannot_create(runtime, &bundle, &["permission denied"])?;
    // One that the container's user may not execute, while root may.
    let bundle = runtime
        .bundle_with(&["/opt/program"], |config| config["process"]["user"]["uid"] = json!(1000))?;
    fs::create_dir(bundle.in_rootfs("opt"))?;
    bundle.script("opt/program", "true")?;
    fs::set_permissions(bundle.in_rootfs("opt/program"), fs::Permissions::from_mode(0o700))?;
    cannot_create(runtime, &bundle, &["permission denied"])
}

fn program_that_is_a_directory_is_refused(runtime: &Runtime) -> TestResult {
    // Docker maps either text to 126.
    cannot_create(runtime, &runtime.bundle(&["/etc"])?, &["is a directory", "permission denied"])
}

fn program_on_a_noexec_mount_is_permission_denied(runtime: &Runtime) -> TestResult {
    let bundle = runtime
        .bundle_with(&["/t/true"], |config| tmpfs(config, "/t", &["noexec", "tmpcopyup"]))?;
    fs::create_dir(bundle.in_rootfs("t"))?;
    crate::bundle::copy_busybox(&bundle.in_rootfs("t/true"))?;
    let outcome = runtime.run(&bundle)?.fails()?;
    ensure!(outcome.stderr.to_lowercase().contains("permission denied"), "another text: {outcome}");
    Ok(())
}

/// A run of `/program`, an executable file with these bytes; it must fail.
fn run_program(runtime: &Runtime, bytes: &[u8]) -> Result<Outcome, Failed> {
    let bundle = runtime.bundle(&["/program"])?;
    fs::write(bundle.in_rootfs("program"), bytes)?;
    fs::set_permissions(bundle.in_rootfs("program"), fs::Permissions::from_mode(0o755))?;
    let outcome = runtime.run(&bundle)?.fails()?;
    nothing_left(runtime)?;
    Ok(outcome)
}

/// What is logged of it: stderr has only what runc says.
fn log_of_program(runtime: &Runtime, bytes: &[u8]) -> Result<String, Failed> {
    let bundle = runtime.bundle(&["/program"])?;
    fs::write(bundle.in_rootfs("program"), bytes)?;
    fs::set_permissions(bundle.in_rootfs("program"), fs::Permissions::from_mode(0o755))?;
    let log = runtime.directory().join("log");
    let run = runtime.command(["--log"]).arg(&log).arg("run").arg("--bundle").arg(bundle.path());
    run.arg(runtime.new_id()).output()?.fails()?;
    nothing_left(runtime)?;
    Ok(fs::read_to_string(log)?)
}

fn program_with_a_missing_interpreter_fails(runtime: &Runtime) -> TestResult {
    let outcome = run_program(runtime, b"#!/no/such/interpreter\n")?;
    let text = outcome.stderr.to_lowercase();
    ensure!(text.contains("no such file or directory"), "another text: {outcome}");
    Ok(())
}

fn program_with_a_missing_interpreter_names_it(runtime: &Runtime) -> TestResult {
    let logged = log_of_program(runtime, b"#!/no/such/interpreter -x\necho\n")?;
    ensure!(logged.contains("/no/such/interpreter"), "not named: {logged}");
    // A dynamic program whose loader the image has not: the host's own dynamic programs show it.
    let logged = log_of_program(runtime, &fs::read("/usr/bin/env")?)?;
    ensure!(logged.contains("/lib64/ld-linux-x86-64.so.2"), "not named: {logged}");
    Ok(())
}

fn program_with_a_carriage_return_after_its_interpreter_is_explained(
    runtime: &Runtime,
) -> TestResult {
    let text = log_of_program(runtime, b"#!/bin/sh\r\necho ran\r\n")?.to_lowercase();
    ensure!(text.contains("no such file or directory"), "another text: {text}");
    let explained = text.contains("carriage return") || text.contains("cr lf");
    ensure!(explained, "not explained: {text}");
    Ok(())
}

/// As runc's init writes it, to the container's stderr and not to the log; a terminal and `--log` get what there is to know.
fn program_that_cannot_be_executed_is_one_bare_line_of_stderr(runtime: &Runtime) -> TestResult {
    for (bytes, line) in [
        (&b"#!/mmnnttbb foo bar\nsh\n"[..], "exec /program: no such file or directory\n"),
        (b"", "exec /program: exec format error\n"),
    ] {
        ensure_eq!(run_program(runtime, bytes)?.stderr, line);
    }
    Ok(())
}

fn program_of_another_architecture_is_an_exec_format_error(runtime: &Runtime) -> TestResult {
    let mut program = fs::read(BUSYBOX)?;
    // e_machine: EM_S390, which is neither of ours.
    program.get_mut(18..20).ok_or("no ELF header")?.copy_from_slice(&[22, 0]);
    let outcome = run_program(runtime, &program)?;
    ensure!(outcome.stderr.to_lowercase().contains("exec format error"), "another text: {outcome}");
    Ok(())
}

fn program_without_a_format_is_an_exec_format_error(runtime: &Runtime) -> TestResult {
    for bytes in [&b"echo no shebang\n"[..], b""] {
        let outcome = run_program(runtime, bytes)?;
        let text = outcome.stderr.to_lowercase();
        ensure!(text.contains("exec format error"), "another text: {outcome}");
    }
    Ok(())
}

fn start_reports_a_program_that_cannot_be_executed(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = runtime.bundle(&["/program"])?;
    fs::write(bundle.in_rootfs("program"), "no format")?;
    fs::set_permissions(bundle.in_rootfs("program"), fs::Permissions::from_mode(0o755))?;
    runtime.create(&bundle, &id)?.ok()?;
    let outcome = runtime.start(&id)?.exits(1)?;
    ensure!(outcome.stderr.to_lowercase().contains("exec format error"), "another text: {outcome}");
    runtime.wait_for_status(&id, "stopped")?;
    runtime.delete(&id)?.ok()?;
    Ok(())
}

fn environment_is_exactly_that_given(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["env"], |config| {
        config["process"]["env"] = json!(["PATH=/bin", "A=1", "B=two words", "C==x=", "D="]);
    })?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    let seen = run.env("OF_THE_CALLER", "1").output()?.ok()?.stdout;
    let mut lines: Vec<_> = seen.lines().collect();
    lines.sort_unstable();
    ensure_eq!(lines, ["A=1", "B=two words", "C==x=", "D=", "HOME=/root", "PATH=/bin"]);
    Ok(())
}

fn environment_may_be_null(runtime: &Runtime) -> TestResult {
    for env in [Value::Null, json!([])] {
        let seen = output(runtime, &["/bin/env"], |config| config["process"]["env"] = env.clone())?;
        ensure_eq!(seen, "HOME=/root\n");
    }
    Ok(())
}

fn cwd_is_made(runtime: &Runtime) -> TestResult {
    let bundle = runtime
        .bundle_with(&["/bin/pwd"], |config| config["process"]["cwd"] = json!("/new/cwd"))?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "/new/cwd\n");
    let made = fs::metadata(bundle.in_rootfs("new/cwd"))?;
    ensure_eq!(made.permissions().mode() & 0o777, 0o755);
    Ok(())
}

fn cwd_that_is_a_file_is_refused(runtime: &Runtime) -> TestResult {
    let outcome = refusal(runtime, |config| config["process"]["cwd"] = json!("/etc/passwd"))?;
    ensure!(outcome.stderr.to_lowercase().contains("not a directory"), "another text: {outcome}");
    Ok(())
}

fn cwd_that_only_its_user_may_enter_works(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["/bin/pwd"], |config| {
        config["process"]["cwd"] = json!("/home/user");
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        config["process"]["capabilities"] = json!({});
    })?;
    let home = bundle.in_rootfs("home/user");
    fs::create_dir(&home)?;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700))?;
    std::os::unix::fs::chown(&home, Some(1000), Some(1000))?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "/home/user\n");
    Ok(())
}

/// The soft and hard limit of a line of /proc/self/limits.
fn limit<'a>(limits: &'a str, name: &str) -> Result<(&'a str, &'a str), Failed> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .ok_or(format!("no {name}: {limits}"))?;
    let mut words = line.split_whitespace();
    words.next().zip(words.next()).ok_or_else(|| format!("no limits in {line}").into())
}

fn rlimits_are_as_given(runtime: &Runtime) -> TestResult {
    let limits = output(runtime, &["cat", "/proc/self/limits"], |config| {
        config["process"]["rlimits"] = json!([
            { "type": "RLIMIT_NOFILE", "soft": 77, "hard": 88 },
            { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
            { "type": "RLIMIT_CPU", "soft": 100, "hard": 200 },
            { "type": "RLIMIT_FSIZE", "soft": 1_000_000_000_000_u64, "hard": 1_000_000_000_001_u64 },
            { "type": "RLIMIT_STACK", "soft": 4_194_304, "hard": 8_388_608 },
            { "type": "RLIMIT_AS", "soft": 1_000_001_536, "hard": 2_000_003_072_u64 },
            { "type": "RLIMIT_SIGPENDING", "soft": 10, "hard": 20 },
        ]);
    })?;
    ensure_eq!(limit(&limits, "Max open files")?, ("77", "88"));
    ensure_eq!(limit(&limits, "Max core file size")?, ("0", "0"));
    ensure_eq!(limit(&limits, "Max cpu time")?, ("100", "200"));
    ensure_eq!(limit(&limits, "Max file size")?, ("1000000000000", "1000000000001"));
    ensure_eq!(limit(&limits, "Max stack size")?, ("4194304", "8388608"));
    ensure_eq!(limit(&limits, "Max address space")?, ("1000001536", "2000003072"));
    ensure_eq!(limit(&limits, "Max pending signals")?, ("10", "20"));
    Ok(())
}

fn rlimit_that_is_unlimited_works(runtime: &Runtime) -> TestResult {
    let limits = output(runtime, &["cat", "/proc/self/limits"], |config| {
        config["process"]["rlimits"] =
            json!([{ "type": "RLIMIT_CPU", "soft": u64::MAX, "hard": u64::MAX }]);
    })?;
    ensure_eq!(limit(&limits, "Max cpu time")?, ("unlimited", "unlimited"));
    Ok(())
}

/// What `/proc/self/fd` has: the shell's pattern opens the directory itself, as the first that is free.
const LIST_DESCRIPTORS: &str = "cd /proc/self/fd; echo *";

fn descriptors_of_the_caller_are_closed(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["sh", "-c", LIST_DESCRIPTORS])?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    let seen = run.redirected("3</etc/passwd 4</ 5</proc 9</etc/passwd").output()?.ok()?.stdout;
    ensure_eq!(seen, "0 1 2 3\n");
    Ok(())
}

fn preserved_descriptors_are_kept(runtime: &Runtime) -> TestResult {
    let file = runtime.directory().join("file");
    fs::write(&file, "of the caller\n")?;
    let bundle = runtime.bundle(&["sh", "-c", &format!("cat <&3; cat <&4; {LIST_DESCRIPTORS}")])?;
    let run = runtime
        .command(["run", "--preserve-fds", "2", "--bundle"])
        .arg(bundle.path())
        .arg(runtime.new_id());
    let redirections = format!("3<{0} 4<{0} 5<{0} 9<{0}", file.display());
    let seen = run.redirected(&redirections).output()?.ok()?.stdout;
    ensure_eq!(seen, "of the caller\nof the caller\n0 1 2 3 4 5\n");
    Ok(())
}

fn preserved_descriptor_that_is_not_open_is_refused(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["true"])?;
    let run = runtime
        .command(["run", "--preserve-fds", "3", "--bundle"])
        .arg(bundle.path())
        .arg(runtime.new_id());
    run.redirected("3</etc/passwd 4<&- 5<&-").output()?.fails()?;
    nothing_left(runtime)
}

/// Runs with a socket-like descriptor 3 and LISTEN_FDS=1, where LISTEN_PID is that of the runtime or another.
fn run_with_listen_fds(runtime: &Runtime, flags: &[&str], pid: &str) -> Result<String, Failed> {
    let file = runtime.directory().join("file");
    fs::write(&file, "of the caller\n")?;
    let bundle = runtime.bundle(&[
        "sh",
        "-c",
        &format!("echo $LISTEN_FDS $LISTEN_PID; {LIST_DESCRIPTORS}"),
    ])?;
    let run = runtime
        .command(["run"].iter().chain(flags))
        .arg("--bundle")
        .arg(bundle.path())
        .arg(runtime.new_id());
    let script =
        format!("export LISTEN_FDS=1 LISTEN_PID={pid}; exec \"$@\" 3<{0} 4<{0}", file.display());
    Ok(run.wrapped_by(["sh", "-c", &script, "sh"]).output()?.ok()?.stdout)
}

fn listen_fds_are_kept_and_renamed(runtime: &Runtime) -> TestResult {
    // sd_listen_fds(3): LISTEN_PID is the pid of who may take them, 1 inside.
    ensure_eq!(run_with_listen_fds(runtime, &[], "$$")?, "1 1\n0 1 2 3 4\n");
    ensure_eq!(run_with_listen_fds(runtime, &["--preserve-fds", "1"], "$$")?, "1 1\n0 1 2 3 4 5\n");
    Ok(())
}

fn listen_fds_of_another_process_are_closed(runtime: &Runtime) -> TestResult {
    ensure_eq!(run_with_listen_fds(runtime, &[], "1")?, "\n0 1 2 3\n");
    Ok(())
}

fn listen_fds_beyond_all_numbers_are_no_panic(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["true"])?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    let script = "export LISTEN_FDS=4294967295 LISTEN_PID=$$; exec \"$@\"";
    run.wrapped_by(["sh", "-c", script, "sh"]).output()?.ok()?;
    Ok(())
}

fn signals_are_neither_blocked_nor_ignored(runtime: &Runtime) -> TestResult {
    let status = output(runtime, &["cat", "/proc/self/status"], |_| {})?;
    for set in ["SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"] {
        // 32 and 33 are the C library's, whose posix_spawn ignores them in what the tests start.
        let signals = u64::from_str_radix(field(&status, set)?, 16)? & 0x7fff_ffff;
        ensure!(signals == 0, "{set} is {signals:#x}");
    }
    Ok(())
}

fn broken_pipes_that_the_caller_ignores_end_the_process(runtime: &Runtime) -> TestResult {
    // systemd ignores SIGPIPE in its services; a shell inside does not expect that.
    let bundle = runtime.bundle(&["cat", "/proc/self/status"])?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    let run = run.wrapped_by(["sh", "-c", "trap '' PIPE; exec \"$@\"", "sh"]).output()?.ok()?;
    let signals = u64::from_str_radix(field(&run.stdout, "SigIgn")?, 16)? & 0x7fff_ffff;
    ensure!(signals == 0, "SigIgn is {signals:#x}");
    Ok(())
}

fn process_leads_a_session_without_a_terminal(runtime: &Runtime) -> TestResult {
    let stat = output(runtime, &["cat", "/proc/self/stat"], |_| {})?;
    let words: Vec<_> = stat.split(' ').collect();
    // pid, name, state, parent, group, session, terminal.
    ensure_eq!(words.get(..7), Some(&["1", "(cat)", "R", "0", "1", "1", "0"][..]));
    Ok(())
}

fn stdio_may_be_reopened_by_a_user(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(
        &["sh", "-c", "echo out >/dev/stdout; echo err >/proc/self/fd/2"],
        |config| {
            config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        },
    )?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let out = std::io::read_to_string(run.child.stdout.take().ok_or("no stdout")?)?;
    let err = std::io::read_to_string(run.child.stderr.take().ok_or("no stderr")?)?;
    run.wait()?.ok()?;
    ensure_eq!((out.as_str(), err.as_str()), ("out\n", "err\n"));
    Ok(())
}

fn stdio_that_is_closed_does_not_become_something_else(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&[
        "sh",
        "-c",
        "for n in 0 1 2; do readlink /proc/$$/fd/$n >&2; done; true",
    ])?;
    for closed in ["<&-", ">&-", "<&- >&-"] {
        let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
        let outcome = run.redirected(closed).output()?.ok()?;
        let sound =
            |line: &str| line == "/dev/null" || line.contains("/call") || line.starts_with("pipe:");
        ensure!(outcome.stderr.lines().all(sound), "something of the runtime: {outcome}");
    }
    Ok(())
}

/// Else the first file that the program opens becomes its stdin.
fn stdin_that_is_closed_is_the_null_device(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["readlink", "/proc/self/fd/0"])?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    ensure_eq!(run.redirected("<&-").output()?.ok()?.stdout, "/dev/null\n");
    Ok(())
}

fn null_stdin_is_that_of_the_container(runtime: &Runtime) -> TestResult {
    // Else the container has an open file of the host's /dev, whose owner it could change.
    let id = runtime.new_id();
    let bundle =
        runtime.bundle(&["sh", "-c", "stat -Lc '%d %i' /proc/self/fd/0 /dev/null; echo end"])?;
    let created = runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    runtime.wait_until("its output", || Ok(created.stdout_now().ends_with("end\n")))?;
    let seen = created.stdout_now();
    let mut files = seen.lines();
    ensure_eq!(files.next(), files.next());
    Ok(())
}

fn a_megabyte_of_environment_reaches_the_process(runtime: &Runtime) -> TestResult {
    let seen = sh(runtime, "env | wc -c", |config| {
        for number in 0..64 {
            add(config, "/process/env", json!(format!("LONG{number}={}", "x".repeat(16_000))));
        }
    })?;
    let bytes: usize = seen.trim().parse()?;
    ensure!(bytes > 1_024_000, "only {bytes} bytes");
    Ok(())
}
