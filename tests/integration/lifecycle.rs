//! create, state, start, kill, delete, run, list: the verbs of runtime.md and what must be left afterwards.
//!
//! Runs in: any process.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, Root, Strace};
use crate::runtime::Runtime;
use crate::{bundle, prober};

table! {
    create_then_start_then_delete_goes_through_every_status: [Root],
    state_of_created_has_the_fields_of_the_specification: [Root],
    create_does_not_run_the_process: [Root],
    create_same_id_twice_fails: [Root],
    create_same_id_twenty_at_once_has_one_winner: [Root],
    create_invalid_id_is_refused: [Root],
    create_missing_executable_fails_and_leaves_nothing: [Root],
    create_pid_file_is_the_decimal_pid_alone: [Root],
    create_killed_while_it_writes_the_pid_file_leaves_none: [Root, Corten("the others leave a temporary file"), Strace],
    start_twice_fails: [Root],
    verbs_on_unknown_id_fail: [Root],
    kill_by_name_and_number_ends_the_process: [Root],
    kill_by_term_ends_a_created_container: [Root, NotOn("crun", "its init has no handler, so that the kernel drops it")],
    kill_stopped_fails: [Root],
    delete_created_succeeds: [Root],
    delete_running_needs_force: [Root],
    delete_force_unknown_succeeds: [Root],
    delete_force_keeps_the_intent_of_a_newer_release: [Root, Corten("the others have no intent")],
    run_exit_code_is_that_of_the_process: [Root],
    run_signaled_process_exits_with_128_plus_signal: [Root],
    run_detached_returns_while_the_process_runs: [Root],
    run_goes_on_when_the_first_thread_has_ended: [Root, Corten("the others take the state of that thread for the container's")],
    run_passes_stdin_and_stdout_pipes: [Root],
    run_signal_is_forwarded_to_the_process: [Root],
    run_removes_the_container: [Root],
    list_of_more_containers_than_open_files_shows_all: [Root],
    list_shows_every_container_with_its_status: [Root],
}

const FOREVER: &[&str] = &["sleep", "1000"];

/// runc's text, which containerd and Podman match; crun names its own file instead.
fn unknown(runtime: &Runtime) -> &'static str {
    if runtime.is("crun") { "No such file or directory" } else { "does not exist" }
}

fn create_then_start_then_delete_goes_through_every_status(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = runtime.bundle(&["sh", "-c", "echo started"])?;
    let created = runtime.create(&bundle, &id)?.ok()?;
    ensure_eq!(runtime.status(&id)?, "created");
    ensure_eq!(created.stdout_now(), "");

    runtime.start(&id)?.ok()?;
    runtime.wait_for_status(&id, "stopped")?;
    // The process writes to what `create` was given, as `start` is another program.
    ensure_eq!(created.stdout_now(), "started\n");

    runtime.delete(&id)?.ok()?;
    runtime.command(["state", &id]).output()?.fails_with(unknown(runtime))?;
    ensure_eq!(runtime.containers(), Vec::<String>::new());
    Ok(())
}

fn state_of_created_has_the_fields_of_the_specification(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = runtime.bundle_with(FOREVER, |config| {
        config["annotations"] = json!({ "com.example.key": "value" });
    })?;
    runtime.create(&bundle, &id)?.ok()?;
    let state = runtime.state(&id)?;
    ensure!(
        state["ociVersion"].as_str().is_some_and(|v| v.starts_with("1.")),
        "ociVersion: {state}"
    );
    ensure_eq!(state["id"], id.as_str());
    ensure_eq!(state["status"], "created");
    ensure_eq!(state["bundle"].as_str(), bundle.path().to_str());
    ensure_eq!(state["annotations"]["com.example.key"], "value");
    let pid = runtime.pid(&id)?;
    ensure!(fs::exists(format!("/proc/{pid}"))?, "pid {pid} of {state} is no process");
    Ok(())
}

fn create_does_not_run_the_process(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = runtime.bundle(&["touch", "/ran"])?;
    runtime.create(&bundle, &id)?.ok()?;
    runtime.delete_force(&id)?.ok()?;
    ensure!(!bundle.in_rootfs("ran").exists(), "the process ran before start");
    Ok(())
}

fn create_same_id_twice_fails(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = runtime.bundle(FOREVER)?;
    runtime.create(&bundle, &id)?.ok()?;
    let pid = runtime.pid(&id)?;
    runtime.create(&bundle, &id)?.fails_with("exist")?;
    ensure_eq!(runtime.pid(&id)?, pid);
    ensure_eq!(runtime.status(&id)?, "created");
    Ok(())
}

fn create_same_id_twenty_at_once_has_one_winner(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = runtime.bundle(FOREVER)?;
    let calls = (0..20)
        .map(|_| runtime.command(["create", "--bundle"]).arg(bundle.path()).arg(&id).spawn())
        .collect::<Result<Vec<_>, _>>()?;
    let mut winners = 0;
    for call in calls {
        let outcome = call.wait()?;
        if outcome.code() == 0 {
            winners += 1;
        } else {
            outcome.fails()?;
        }
    }
    ensure_eq!(winners, 1);
    ensure_eq!(runtime.status(&id)?, "created");
    runtime.start(&id)?.ok()?;
    ensure_eq!(runtime.status(&id)?, "running");
    Ok(())
}

fn create_invalid_id_is_refused(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(FOREVER)?;
    for id in ["../escaped", "a/b", ".", ".."] {
        runtime.create(&bundle, id)?.fails()?;
    }
    ensure!(!runtime.directory().join("escaped").exists(), "an id reached outside the root");
    Ok(())
}

fn create_missing_executable_fails_and_leaves_nothing(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = runtime.bundle(&["/no/such/program"])?;
    runtime.run(&bundle)?.fails_with("/no/such/program")?;
    // runc and crun look the program up in `create` already, and so do we.
    runtime.create(&bundle, &id)?.fails_with("/no/such/program")?;
    ensure_eq!(runtime.containers(), Vec::<String>::new());
    Ok(())
}

fn create_pid_file_is_the_decimal_pid_alone(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = runtime.bundle(FOREVER)?;
    let file = runtime.directory().join("pid");
    let create =
        runtime.command(["create", "--bundle"]).arg(bundle.path()).arg("--pid-file").arg(&file);
    create.arg(&id).output()?.ok()?;
    ensure_eq!(fs::read_to_string(&file)?, runtime.pid(&id)?.to_string());
    Ok(())
}

fn create_killed_while_it_writes_the_pid_file_leaves_none(runtime: &Runtime) -> TestResult {
    let (id, place) = (runtime.new_id(), runtime.directory().join("pids"));
    fs::create_dir(&place)?;
    let bundle = runtime.bundle(FOREVER)?;
    let create = runtime.command(["create", "--bundle"]).arg(bundle.path()).arg("--pid-file");
    // state.json is renamed by renameat.
    let strace = ["strace", "-o", "/dev/null", "-e", "inject=rename,linkat:signal=KILL:when=1"];
    create.arg(place.join("pid")).arg(&id).wrapped_by(strace).output()?.exits(137)?;
    runtime.delete_force(&id)?.ok()?;
    ensure_eq!(fs::read_dir(&place)?.count(), 0);
    Ok(())
}

fn start_twice_fails(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    runtime.create(&runtime.bundle(FOREVER)?, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    runtime.start(&id)?.fails()?;
    ensure_eq!(runtime.status(&id)?, "running");
    Ok(())
}

fn verbs_on_unknown_id_fail(runtime: &Runtime) -> TestResult {
    let text = unknown(runtime);
    for verb in ["state", "start", "delete"] {
        runtime.command([verb, "nosuch"]).output()?.fails_with(text)?;
    }
    runtime.kill("nosuch", "TERM")?.fails_with(text)?;
    Ok(())
}

fn kill_by_name_and_number_ends_the_process(runtime: &Runtime) -> TestResult {
    for signal in ["KILL", "SIGKILL", "9"] {
        let id = runtime.new_id();
        runtime.create(&runtime.bundle(FOREVER)?, &id)?.ok()?;
        runtime.start(&id)?.ok()?;
        runtime.kill(&id, signal)?.ok()?;
        runtime.wait_for_status(&id, "stopped")?;
        runtime.delete(&id)?.ok()?;
    }
    Ok(())
}

/// The process never comes to decide: `podman stop`, which begins with TERM, need not wait for its deadline.
fn kill_by_term_ends_a_created_container(runtime: &Runtime) -> TestResult {
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        let id = runtime.new_id();
        runtime.create(&runtime.bundle(FOREVER)?, &id)?.ok()?;
        runtime.kill(&id, signal)?.ok()?;
        runtime.wait_for_status(&id, "stopped")?;
    }
    Ok(())
}

fn kill_stopped_fails(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    runtime.create(&runtime.bundle(&["true"])?, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    runtime.wait_for_status(&id, "stopped")?;
    runtime.kill(&id, "KILL")?.fails()?;
    Ok(())
}

fn delete_created_succeeds(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    runtime.create(&runtime.bundle(FOREVER)?, &id)?.ok()?;
    let pid = runtime.pid(&id)?;
    runtime.delete(&id)?.ok()?;
    runtime.wait_until("the end of init", || Ok(!fs::exists(format!("/proc/{pid}/exe"))?))
}

fn delete_running_needs_force(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    runtime.create(&runtime.bundle(FOREVER)?, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    runtime.delete(&id)?.fails()?;
    ensure_eq!(runtime.status(&id)?, "running");
    runtime.delete_force(&id)?.ok()?;
    ensure_eq!(runtime.containers(), Vec::<String>::new());
    Ok(())
}

fn delete_force_unknown_succeeds(runtime: &Runtime) -> TestResult {
    runtime.delete_force("nosuch")?.ok()?;
    Ok(())
}

/// What is not understood may be of a container that lives.
fn delete_force_keeps_the_intent_of_a_newer_release(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    runtime.create(&runtime.bundle(FOREVER)?, &id)?.ok()?;
    let directory = runtime.root().join(&id);
    let (intent, state) = (directory.join("intent.json"), directory.join("state.json"));
    let ours = fs::read_to_string(&intent)?;
    fs::rename(&state, directory.join("later"))?;
    fs::write(&intent, ours.replacen("\"format\":1", "\"format\":1000", 1))?;
    runtime.delete_force(&id)?.fails_with("newer corten (format 1000)")?;
    fs::write(&intent, ours)?;
    fs::rename(directory.join("later"), &state)?;
    ensure_eq!(runtime.status(&id)?, "created");
    Ok(())
}

fn run_exit_code_is_that_of_the_process(runtime: &Runtime) -> TestResult {
    for code in [0, 1, 7, 255] {
        let bundle = runtime.bundle(&["sh", "-c", &format!("exit {code}")])?;
        runtime.run(&bundle)?.exits(code)?;
    }
    Ok(())
}

fn run_signaled_process_exits_with_128_plus_signal(runtime: &Runtime) -> TestResult {
    // Pid 1 of a pid namespace ignores its own signals, hence the host's pid namespace.
    let bundle = runtime.bundle_with(&["sh", "-c", "kill -TERM $$"], |config| {
        crate::bundle::remove(config, "/linux/namespaces", "type", "pid");
    })?;
    runtime.run(&bundle)?.exits(128 + 15)?;
    Ok(())
}

fn run_detached_returns_while_the_process_runs(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = runtime.bundle(FOREVER)?;
    runtime.command(["run", "--detach", "--bundle"]).arg(bundle.path()).arg(&id).output()?.ok()?;
    ensure_eq!(runtime.status(&id)?, "running");
    Ok(())
}

/// As the kernel sees it: the process ends with its last thread.
fn run_goes_on_when_the_first_thread_has_ended(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let own = std::env::current_exe()?;
    let bundle = runtime.bundle_with(&["/probe", prober::FLAG, prober::LEAVE], |config| {
        let mount = json!({ "destination": "/probe", "source": own, "options": ["bind", "ro"] });
        bundle::add(config, "/mounts", mount);
    })?;
    runtime.command(["run", "--detach", "--bundle"]).arg(bundle.path()).arg(&id).output()?.ok()?;
    let pid = runtime.state(&id)?["pid"].to_string();
    let stat = format!("/proc/{pid}/stat");
    let is_zombie = || Ok(fs::read_to_string(&stat)?.contains(") Z "));
    runtime.wait_until("the first thread to end", is_zombie)?;
    ensure_eq!(runtime.status(&id)?, "running");
    runtime.command(["kill", &id, "KILL"]).output()?.ok()?;
    runtime.wait_for_status(&id, "stopped")?;
    runtime.command(["delete", &id]).output()?.ok()?;
    Ok(())
}

fn run_passes_stdin_and_stdout_pipes(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["tr", "a-z", "A-Z"])?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    let mut run = run.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = run.child.stdin.take().ok_or("no stdin")?;
    input.write_all(b"by a pipe\n")?;
    drop(input);
    let output = std::io::read_to_string(run.child.stdout.take().ok_or("no stdout")?)?;
    run.wait()?.ok()?;
    ensure_eq!(output, "BY A PIPE\n");
    Ok(())
}

fn run_signal_is_forwarded_to_the_process(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&[
        "sh",
        "-c",
        "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done",
    ])?;
    let run =
        runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id()).spawn()?;
    runtime.wait_until("the trap", || Ok(run.stdout() == "ready\n"))?;
    run.signal(rustix::process::Signal::TERM)?;
    run.wait()?.exits(9)?;
    Ok(())
}

fn run_removes_the_container(runtime: &Runtime) -> TestResult {
    runtime.run(&runtime.bundle(&["true"])?)?.ok()?;
    ensure_eq!(runtime.containers(), Vec::<String>::new());
    Ok(())
}

fn list_of_more_containers_than_open_files_shows_all(runtime: &Runtime) -> TestResult {
    const COUNT: usize = 24;
    let bundle = runtime.bundle(FOREVER)?;
    for _ in 0..COUNT {
        runtime.create(&bundle, &runtime.new_id())?.ok()?;
    }
    let few = ["sh", "-c", "ulimit -n 20; exec \"$@\"", "sh"];
    let list = runtime.command(["list", "--quiet"]).wrapped_by(few).output()?.ok()?;
    ensure_eq!(list.stdout.lines().count(), COUNT);
    Ok(())
}

fn list_shows_every_container_with_its_status(runtime: &Runtime) -> TestResult {
    let (created, running) = (runtime.new_id(), runtime.new_id());
    let bundle = runtime.bundle(FOREVER)?;
    runtime.create(&bundle, &created)?.ok()?;
    runtime.create(&bundle, &running)?.ok()?;
    runtime.start(&running)?.ok()?;

    let list = runtime.command(["list", "--format", "json"]).output()?.ok()?;
    let list: Value = serde_json::from_str(&list.stdout)?;
    let status = |id: &str| list.as_array()?.iter().find(|c| c["id"] == id)?["status"].as_str();
    ensure_eq!(status(&created), Some("created"));
    ensure_eq!(status(&running), Some("running"));

    let quiet = runtime.command(["list", "--quiet"]).output()?.ok()?;
    let mut ids: Vec<_> = quiet.stdout.lines().collect();
    ids.sort_unstable();
    ensure_eq!(ids, [created.as_str(), running.as_str()]);
    Ok(())
}
