//! What a start may cost, in things that can be counted: system calls, page faults, memory; never in time.
//!
//! The numbers are those of docs/architecture.md, for the release build: `cargo xtask test` runs this file on it, by
//! `RUNTIME=`. The build that cargo makes for tests has more pages to touch and grows its heap in smaller steps.
//!
//! Runs in: any process.

use std::collections::BTreeSet;
use std::fs;

use rustix::fs::{Mode, OFlags, SealFlags};

use crate::bundle::Bundle;
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, Root, Strace};
use crate::runtime::{Invocation, Runtime};

/// What the build for tests may have on top.
fn debug_allowance(extra: usize) -> usize {
    if std::env::var_os("RUNTIME").is_some() { 0 } else { extra }
}

const OURS: crate::host::Need = Corten("the budgets are its own");

table! {
    run_makes_at_most_270_system_calls: [Root, OURS, Strace],
    run_has_at_most_250_page_faults: [Root, OURS],
    exec_makes_at_most_190_system_calls: [Root, OURS, Strace],
    exec_has_at_most_150_page_faults: [Root, OURS],
    state_makes_at_most_50_system_calls: [Root, OURS, Strace],
    state_has_at_most_90_page_faults: [Root, OURS],
    error_is_one_although_the_environment_asks_for_backtraces: [Corten("our own text")],
    created_init_is_small: [Root, OURS],
    created_init_executes_a_file_that_nobody_can_write: [Root, OURS],
}

/// The default bundle: what `spec` writes, without the terminal.
fn default_bundle(runtime: &Runtime) -> Result<crate::bundle::Bundle, libtest_mimic::Failed> {
    let directory = runtime.directory().join("spec");
    fs::create_dir(&directory)?;
    runtime.command(["spec", "--bundle"]).arg(&directory).output()?.ok()?;
    let written: serde_json::Value =
        serde_json::from_slice(&fs::read(directory.join("config.json"))?)?;
    let bundle = runtime.bundle_with(&["/bin/true"], |config| {
        *config = written;
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = serde_json::json!(["/bin/true"]);
    })?;
    Ok(bundle)
}

/// Of the runtime and of init, up to the execve of the user's program; its own calls are not ours.
fn run_makes_at_most_270_system_calls(runtime: &Runtime) -> TestResult {
    let bundle = default_bundle(runtime)?;
    // The first one after the host's boot makes the state root.
    fs::create_dir_all(runtime.root())?;
    let run = runtime.command(["run"]).arg(runtime.new_id()).current_directory(bundle.path());
    let (calls, inits) = system_calls(runtime, run)?;
    ensure!(inits > 50, "only {inits} calls of init were seen");
    ensure!(calls <= 270 + debug_allowance(30), "{calls} system calls, {inits} of them by init");
    Ok(())
}

/// What strace has seen of a command: lines of a pid and a call.
fn traced(runtime: &Runtime, command: Invocation<'_>) -> Result<String, libtest_mimic::Failed> {
    let log = runtime.directory().join("strace");
    let strace = ["strace", "-f", "-o", log.to_str().ok_or("path")?];
    command.wrapped_by(strace).output()?.ok()?;
    Ok(fs::read_to_string(&log)?)
}

/// How many a command makes up to the execve of the user's program, and how many of them init.
fn system_calls(
    runtime: &Runtime,
    command: Invocation<'_>,
) -> Result<(usize, usize), libtest_mimic::Failed> {
    let text = traced(runtime, command)?;
    let mut executed = BTreeSet::new();
    let (mut calls, mut inits) = (0, 0);
    let runtimes = text.split_whitespace().next().unwrap_or_default().to_owned();
    for line in text.lines() {
        let (pid, call) = line.split_once(' ').ok_or("a line without a pid")?;
        let call = call.trim_start();
        if executed.contains(pid) || call.starts_with("<...") || call.starts_with("+++") {
            continue;
        }
        calls += 1;
        inits += usize::from(pid != runtimes);
        if pid != runtimes && call.starts_with("execve(") {
            executed.insert(pid.to_owned());
        }
    }
    ensure_eq!(executed.len(), 1);
    Ok((calls, inits))
}

/// Of the runtime and all that it has waited for, by the shell's count of its children (`proc_pid_stat(5)`, field 11).
fn page_faults(command: Invocation<'_>) -> Result<usize, libtest_mimic::Failed> {
    let shell = ["sh", "-c", "\"$@\" && read -r line < /proc/$$/stat && echo \"$line\"", "sh"];
    let outcome = command.wrapped_by(shell).output()?.ok()?;
    let after_name = outcome.stdout.rsplit_once(')').ok_or("no stat line")?.1;
    let faults = after_name.split_whitespace().nth(11 - 3).ok_or("stat has no field 11")?;
    let faults = faults.parse()?;
    ensure!(faults >= 50, "{faults} page faults are too few to be true");
    Ok(faults)
}

fn run_has_at_most_250_page_faults(runtime: &Runtime) -> TestResult {
    let bundle = default_bundle(runtime)?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    let faults = page_faults(run)?;
    ensure!(faults <= 250 + debug_allowance(150), "{faults} page faults");
    Ok(())
}

/// A container that runs, of the default bundle but for its program.
fn running(runtime: &Runtime) -> Result<(String, Bundle), libtest_mimic::Failed> {
    let mut bundle = default_bundle(runtime)?;
    bundle.edit(|config| config["process"]["args"] = serde_json::json!(["sleep", "1000"]))?;
    let id = runtime.new_id();
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    Ok((id, bundle))
}

fn exec_makes_at_most_190_system_calls(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime)?;
    let (calls, inits) = system_calls(runtime, runtime.command(["exec", &id, "/bin/true"]))?;
    ensure!(inits > 15, "only {inits} calls of init were seen");
    ensure!(calls <= 190 + debug_allowance(30), "{calls} system calls, {inits} of them by init");
    Ok(())
}

fn exec_has_at_most_150_page_faults(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime)?;
    let faults = page_faults(runtime.command(["exec", &id, "/bin/true"]))?;
    ensure!(faults <= 150 + debug_allowance(200), "{faults} page faults");
    Ok(())
}

/// Engines ask for it again and again. It has no children.
fn state_makes_at_most_50_system_calls(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime)?;
    let text = traced(runtime, runtime.command(["state", &id]))?;
    let calls = text.lines().filter(|line| !line.contains("+++")).count();
    ensure!(calls > 20, "only {calls} calls were seen");
    ensure!(calls <= 50 + debug_allowance(30), "{calls} system calls");
    Ok(())
}

fn state_has_at_most_90_page_faults(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime)?;
    let faults = page_faults(runtime.command(["state", &id]))?;
    ensure!(faults <= 90 + debug_allowance(150), "{faults} page faults");
    Ok(())
}

/// Here, for it is about the release build: it has no unwind tables, and who walks the stack without them aborts.
fn error_is_one_although_the_environment_asks_for_backtraces(runtime: &Runtime) -> TestResult {
    for arguments in [&["state", "nosuch"][..], &["nosuchcommand"]] {
        let command = runtime.command(arguments).env("RUST_BACKTRACE", "1");
        let outcome = command.env("RUST_LIB_BACKTRACE", "full").output()?.fails()?;
        ensure!(outcome.stderr.contains("nosuch"), "{outcome}");
        ensure!(outcome.code() == 1 || !runtime.is("corten"), "{outcome}");
    }
    Ok(())
}

fn created_init_is_small(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    runtime.create(&default_bundle(runtime)?, &id)?.ok()?;
    let status = fs::read_to_string(format!("/proc/{}/status", runtime.pid(&id)?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u32 = line.trim().trim_end_matches(" kB").parse()?;
    ensure!((1..=200).contains(&kib), "init has {kib} KiB");
    Ok(())
}

/// CVE-2019-5736: who is in the container must not be able to change what the runtime runs there.
fn created_init_executes_a_file_that_nobody_can_write(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    runtime.create(&default_bundle(runtime)?, &id)?.ok()?;
    let exe = format!("/proc/{}/exe", runtime.pid(&id)?);
    let target = fs::read_link(&exe)?;
    ensure!(target.to_string_lossy().starts_with("/memfd:corten-init"), "{}", target.display());
    ensure!(
        fs::metadata(&exe)?.len() <= 64 << 10,
        "the image has {} bytes",
        fs::metadata(&exe)?.len()
    );
    let writable = fs::OpenOptions::new().write(true).open(&exe);
    ensure!(writable.is_err(), "{exe} was opened for writing");

    let file = rustix::fs::open(&exe, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    ensure!(rustix::fs::fcntl_get_seals(&file)?.contains(seals), "the image is not sealed");
    // After the program has ended nobody executes it: then only the seals are left to keep it as it is.
    runtime.delete_force(&id)?.ok()?;
    let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let written = fs::OpenOptions::new()
        .write(true)
        .open(again)
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"x"));
    ensure!(written.is_err(), "the image was written to");
    Ok(())
}
