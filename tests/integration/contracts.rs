//! More of what callers do, each test named after the caller: exec, update, pause and resume, and signals of a pod; the lines of
//! features.md 1.0 that `callers.rs` has not.
//!
//! Runs in: any process.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::callers::{FOREVER, as_containerd, kill_ends_all, log, running, stopped};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Controller, NotOn, PureCgroup2, Root};
use crate::runtime::{Invocation, Runtime};

const STOPS: &str = "stops at the first operand";
const OLD: &str = "1.1 has no --pidfd-socket";
const NO_CONTROLLER: &str = "1.8 wants controllers that this view has not";
const NO_EVENTS: &str = "has no events";
const ALL_ONLY: &str = "1.1 kills init alone without --all";

table! {
    containerd_executes_from_a_file_and_detaches: [Root],
    containerd_exec_error_is_in_the_log_and_exits_with_255: [Root, NotOn("crun", "exits with 1")],
    containerd_pauses_and_resumes: [Root],
    containerd_pause_of_a_stopped_container_fails: [Root],
    containerd_updates_from_stdin_with_an_equals_sign: [Root, NotOn("crun", NO_CONTROLLER)],
    containerd_kills_a_pod_container_as_a_whole: [Root, NotOn("runc", ALL_ONLY), NotOn("crun", "kills init alone")],
    containerd_deletes_a_created_container: [Root],
    containerd_deletes_by_force_what_is_not_there: [Root],
    conmon_executes_without_the_cgroup_flag_and_reads_the_pid_file: [Root],
    conmon_rs_executes_a_command_with_short_flags: [Root],
    crio_executes_in_foreground_and_gets_the_exit_code: [Root],
    crio_executes_without_path_in_its_environment: [Root],
    crio_updates_from_stdin_as_two_words: [Root, NotOn("crun", NO_CONTROLLER)],
    crio_state_of_a_stopped_container_has_no_pid: [Root, NotOn("crun", "keeps the pid")],
    podman_updates_from_a_file: [Root, NotOn("crun", NO_CONTROLLER)],
    podman_pauses_resumes_and_kills_without_path: [Root],
    podman_kills_by_number_and_asks_for_all: [Root],
    rust_extensions_pass_their_global_flags: [Root],
    crio_stops_a_container_that_has_ended: [Root, NotOn("crun", "has other words")],
    docker_explains_a_mount_of_a_file_over_a_directory: [Root, NotOn("crun", "makes what is missing in another way")],
    go_runc_reads_stats: [Root, PureCgroup2, NotOn("crun", NO_EVENTS)],
    go_runc_watches_by_seconds: [Root, PureCgroup2, NotOn("crun", NO_EVENTS), NotOn("runc", "1.1 needs the memory controller")],
    kubernetes_updates_memory_by_its_cgroup_v2_names: [Root, PureCgroup2, Controller("memory")],
    go_runc_asks_for_a_pidfd: [Root, NotOn("runc", OLD), NotOn("crun", OLD)],
    flags_after_the_operands_are_taken: [Root, NotOn("runc", STOPS), NotOn("crun", STOPS)],
}

/// /process of an exec, as engines write it.
fn process_file(runtime: &Runtime, arguments: &[&str]) -> Result<PathBuf, Failed> {
    let path = runtime.directory().join("process.json");
    let process = json!({
        "terminal": false, "user": { "uid": 0, "gid": 0 }, "args": arguments,
        "env": ["PATH=/bin", "A=b"], "cwd": "/",
    });
    fs::write(&path, process.to_string())?;
    Ok(path)
}

fn containerd_executes_from_a_file_and_detaches(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let (process, pid_file) = (process_file(runtime, FOREVER)?, runtime.directory().join("e.pid"));
    let exec = as_containerd(runtime, &["exec", "--process"]).arg(process).arg("--detach");
    exec.arg("--pid-file").arg(&pid_file).arg(&id).output()?.ok()?;
    let pid: i32 = fs::read_to_string(pid_file)?.parse()?;
    let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
    ensure_eq!(arguments.trim_end_matches('\0').replace('\0', " "), FOREVER.join(" "));
    ensure_eq!(log(runtime), "");
    crate::exec::end(runtime, &id)
}

fn containerd_exec_error_is_in_the_log_and_exits_with_255(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let process = process_file(runtime, &["/no/such/program"])?;
    let exec = as_containerd(runtime, &["exec", "--process"]).arg(process).arg("--detach");
    exec.arg(&id).output()?.exits(255)?;
    ensure!(log(runtime).contains("/no/such/program"), "{}", log(runtime));
    Ok(())
}

fn containerd_pauses_and_resumes(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    for (verb, status) in [("pause", "paused"), ("resume", "running")] {
        as_containerd(runtime, &[verb, &id]).output()?.ok()?;
        ensure_eq!(runtime.status(&id)?, status);
    }
    Ok(())
}

fn containerd_pause_of_a_stopped_container_fails(runtime: &Runtime) -> TestResult {
    let id = stopped(runtime)?;
    as_containerd(runtime, &["pause", &id]).output()?.fails()?;
    as_containerd(runtime, &["resume", &id]).output()?.fails()?;
    Ok(())
}

/// An update of nothing that a hierarchy without controllers could not do: what is tested is the way in.
fn update(invocation: Invocation<'_>, stdin: &str, runtime: &Runtime) -> TestResult {
    let file = runtime.directory().join("resources");
    fs::write(&file, stdin)?;
    invocation.stdin(Stdio::from(fs::File::open(file)?)).output()?.ok()?;
    Ok(())
}

fn containerd_updates_from_stdin_with_an_equals_sign(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    update(as_containerd(runtime, &["update", "--resources=-", &id]), "{}", runtime)
}

fn crio_updates_from_stdin_as_two_words(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    update(runtime.command(["update", "--resources", "-", &id]), "{}", runtime)
}

/// containerd hands over the pod's `memory.high` and its kin in `unified`.
fn kubernetes_updates_memory_by_its_cgroup_v2_names(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let resources = json!({ "unified": {
        "memory.high": "41943040", "memory.min": "4194304", "memory.oom.group": "1", "memory.swap.max": "0",
    } });
    let command = as_containerd(runtime, &["update", "--resources=-", &id]);
    update(command, &resources.to_string(), runtime)?;
    for (file, expected) in
        [("memory.high", "41943040"), ("memory.min", "4194304"), ("memory.oom.group", "1")]
    {
        ensure_eq!(crate::resources::file(runtime, &id, file)?, expected);
    }
    Ok(())
}

/// Its error is matched in these letters, and means that there is nothing left to stop.
fn crio_stops_a_container_that_has_ended(runtime: &Runtime) -> TestResult {
    let id = stopped(runtime)?;
    for signal in ["TERM", "KILL"] {
        let kill = without_path(runtime, runtime.command(["kill", &id, signal])).output()?;
        ensure!(kill.stderr.contains("container not running"), "{kill}");
        kill.fails()?;
    }
    without_path(runtime, runtime.command(["delete", "--force", &id])).output()?.ok()?;
    Ok(())
}

/// dockerd adds a hint to errors with `not a directory`, whatever its case.
fn docker_explains_a_mount_of_a_file_over_a_directory(runtime: &Runtime) -> TestResult {
    let file = runtime.directory().join("file");
    fs::write(&file, "")?;
    let mount = json!({ "destination": "/tmp", "source": file, "options": ["bind"] });
    let bundle =
        runtime.bundle_with(&["true"], |config| crate::bundle::add(config, "/mounts", mount))?;
    let id = runtime.new_id();
    let create = as_containerd(runtime, &["create", "--bundle"]).arg(bundle.path()).arg(&id);
    create.output()?.fails()?;
    ensure!(log(runtime).to_lowercase().contains("not a directory"), "{}", log(runtime));
    Ok(())
}

fn go_runc_reads_stats(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let outcome = as_containerd(runtime, &["events", "--stats", &id]).output()?.ok()?;
    let event: Value = serde_json::from_str(&outcome.stdout)?;
    ensure!(event["type"] == "stats" && event["id"] == id && event["data"].is_object(), "{event}");
    ensure_eq!(outcome.stderr, "");
    Ok(())
}

/// `events --interval=Ns ID`: an object a line until the container ends.
fn go_runc_watches_by_seconds(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let events = as_containerd(runtime, &["events", "--interval=1s", &id]).spawn()?;
    runtime.wait_until("a line", || Ok(events.stdout().contains('\n')))?;
    runtime.kill(&id, "KILL")?.ok()?;
    let outcome = events.wait()?.ok()?;
    for line in outcome.stdout.lines() {
        ensure_eq!(serde_json::from_str::<Value>(line)?["type"], "stats");
    }
    Ok(())
}

fn podman_updates_from_a_file(runtime: &Runtime) -> TestResult {
    let (id, file) = (running(runtime)?, runtime.directory().join("r.json"));
    fs::write(&file, "{}")?;
    let flag = format!("--resources={}", file.display());
    runtime.command(["update", &flag, &id]).output()?.ok()?;
    Ok(())
}

fn containerd_kills_a_pod_container_as_a_whole(runtime: &Runtime) -> TestResult {
    // In another's pid namespace nothing ends the others when init ends, and `kill ID 9` has no --all.
    kill_ends_all(runtime, "sleep 1001 & echo ready; wait", &[])
}

fn containerd_deletes_a_created_container(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    runtime.create(&runtime.bundle(FOREVER)?, &id)?.ok()?;
    as_containerd(runtime, &["delete", &id]).output()?.ok()?;
    crate::inside::nothing_left(runtime)
}

fn containerd_deletes_by_force_what_is_not_there(runtime: &Runtime) -> TestResult {
    as_containerd(runtime, &["delete", "--force", "nosuch"]).output()?.ok()?;
    Ok(())
}

fn conmon_executes_without_the_cgroup_flag_and_reads_the_pid_file(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let (process, pid_file) =
        (process_file(runtime, FOREVER)?, runtime.directory().join("pidfile"));
    let exec = runtime.command(["exec", "--pid-file"]).arg(&pid_file).arg("--process").arg(process);
    let log = format!("--log={}", runtime.directory().join("oci-log").display());
    let exec = exec.arg("--detach").arg(&id).global("--log-format=json").global(log);
    exec.output()?.ok()?;
    let pid = fs::read_to_string(pid_file)?;
    ensure!(fs::exists(format!("/proc/{pid}"))?, "no process {pid}");
    crate::exec::end(runtime, &id)
}

fn conmon_rs_executes_a_command_with_short_flags(runtime: &Runtime) -> TestResult {
    let (id, pid_file) = (running(runtime)?, runtime.directory().join("p"));
    let flag = format!("--pid-file={}", pid_file.display());
    runtime.command(["exec", "-d", &flag, &id, "sleep", "1000"]).output()?.ok()?;
    ensure!(fs::read_to_string(pid_file)?.parse::<i32>()? > 0, "no pid");
    crate::exec::end(runtime, &id)
}

fn crio_executes_in_foreground_and_gets_the_exit_code(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let process = process_file(runtime, &["sh", "-c", "echo out $A; echo err >&2; exit 3"])?;
    let exec = runtime.command(["exec", "--process"]).arg(process).arg(&id);
    let outcome = exec.output()?.exits(3)?;
    ensure_eq!(outcome.stdout, "out b\n");
    ensure_eq!(outcome.stderr, "err\n");
    let killed = process_file(runtime, &["sh", "-c", "kill -9 $$"])?;
    runtime.command(["exec", "--process"]).arg(killed).arg(&id).output()?.exits(137)?;
    Ok(())
}

/// `env -i`: what CRI-O and Podman leave is XDG_RUNTIME_DIR alone.
fn without_path<'a>(runtime: &Runtime, invocation: Invocation<'a>) -> Invocation<'a> {
    let marker = format!("CORTEN_TEST={}", runtime.marker());
    invocation.wrapped_by(["/usr/bin/env", "-i", "XDG_RUNTIME_DIR=/run", marker.as_str()])
}

fn crio_executes_without_path_in_its_environment(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let process = process_file(runtime, &["true"])?;
    let exec = runtime.command(["exec", "--process"]).arg(process).arg(&id);
    without_path(runtime, exec).output()?.ok()?;
    Ok(())
}

fn podman_pauses_resumes_and_kills_without_path(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    for arguments in [&["pause", &id][..], &["resume", &id], &["kill", &id, "9"]] {
        without_path(runtime, runtime.command(arguments)).output()?.ok()?;
    }
    runtime.wait_for_status(&id, "stopped")?;
    let delete = runtime.command(["delete", "--force", &id]);
    without_path(runtime, delete).output()?.ok()?;
    Ok(())
}

fn crio_state_of_a_stopped_container_has_no_pid(runtime: &Runtime) -> TestResult {
    let state = runtime.state(&stopped(runtime)?)?;
    ensure_eq!(state["pid"], 0);
    ensure_eq!(state["status"], "stopped");
    Ok(())
}

fn podman_kills_by_number_and_asks_for_all(runtime: &Runtime) -> TestResult {
    for arguments in [&["kill", "ID", "9"][..], &["kill", "--all", "ID", "9"]] {
        let id = running(runtime)?;
        let arguments: Vec<&str> =
            arguments.iter().map(|word| if *word == "ID" { id.as_str() } else { word }).collect();
        runtime.command(arguments).output()?.ok()?;
        runtime.wait_for_status(&id, "stopped")?;
    }
    Ok(())
}

fn rust_extensions_pass_their_global_flags(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let log = runtime.directory().join("log.json");
    let kill = runtime.command(["kill", "--all", &id, "9"]).global("--debug");
    let kill = kill.global("--log").global(log).global("--log-format").global("json");
    kill.output()?.ok()?;
    runtime.wait_for_status(&id, "stopped")
}

fn go_runc_asks_for_a_pidfd(runtime: &Runtime) -> TestResult {
    let path = runtime.directory().join("pidfd");
    let socket = std::os::unix::net::UnixListener::bind(&path)?;
    let (id, bundle) = (runtime.new_id(), runtime.bundle(FOREVER)?);
    let create = as_containerd(runtime, &["create", "--bundle"]).arg(bundle.path());
    create.arg("--pidfd-socket").arg(&path).arg(&id).output()?.ok()?;
    let (mut connection, _) = socket.accept()?;
    let mut payload = String::new();
    std::io::Read::read_to_string(&mut connection, &mut payload)?;
    ensure_eq!(payload, "standard");
    Ok(())
}

fn flags_after_the_operands_are_taken(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    runtime.command(["delete", &id, "--force"]).output()?.ok()?;
    crate::inside::nothing_left(runtime)
}
