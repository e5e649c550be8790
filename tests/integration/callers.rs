//! What the callers of runc do and rely on, each test named after the caller: the lines of features.md 1.0 and 6 that create,
//! start, state, kill, delete, run, list and spec cover. The command lines are those that the callers' sources build.
//!
//! Runs in: any process.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::bundle::add;
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{NotOn, PureCgroup2, Root};
use crate::inside::{nothing_left, proc_file};
use crate::runtime::{Invocation, Outcome, Runtime};

const OTHER_WORDS: &str = "has other words; the callers know both, and ours are runc's";
const OTHER_SHAPE: &str = "has another shape; the callers' types are runc's";
const GLIBC_FLAGS: &str = "its parser takes two dashes only, and callers of runc one";

table! {
    containerd_creates_with_log_json_and_its_pid_file: [Root],
    containerd_passes_boolean_flags_with_a_value: [Root, NotOn("crun", GLIBC_FLAGS)],
    containerd_passes_a_long_flag_with_one_dash: [Root, NotOn("crun", GLIBC_FLAGS)],
    containerd_passes_no_pivot_and_no_new_keyring: [Root],
    containerd_kills_by_number: [Root],
    containerd_kills_all: [Root],
    containerd_kill_of_a_stopped_container_is_not_running: [Root, NotOn("crun", OTHER_WORDS)],
    containerd_verbs_on_a_missing_container_do_not_exist: [Root, NotOn("crun", OTHER_WORDS)],
    containerd_deletes_by_force_with_another_cgroup_flag: [Root],
    containerd_lists_as_json: [Root],
    containerd_lists_none_as_null: [Root, NotOn("crun", OTHER_SHAPE)],
    containerd_reads_the_last_error_of_the_log: [Root],
    containerd_dies_and_the_container_lives: [Root],
    containerd_asks_for_the_version: [Root],
    containerd_removes_the_notify_socket: [Root],
    conmon_creates_with_separate_words: [Root],
    conmon_keeps_descriptors: [Root],
    conmon_rs_repeats_global_flags: [Root],
    podman_calls_without_path: [Root],
    podman_reads_the_log_as_one_object: [Root],
    podman_maps_error_texts_to_exit_codes: [Root, NotOn("crun", OTHER_WORDS)],
    podman_success_leaves_the_log_empty: [Root],
    podman_names_cgroups_below_a_parent: [Root, PureCgroup2],
    crio_reads_the_state: [Root, NotOn("crun", OTHER_SHAPE)],
    crio_kills_by_name_then_by_kill: [Root],
    crio_kills_all_with_a_short_flag: [Root],
    docker_network_hook_finds_the_namespace_by_the_states_pid: [Root],
    docker_maps_error_texts: [Root, NotOn("crun", OTHER_WORDS)],
    docker_wrapper_script_works: [Root],
}

pub const FOREVER: &[&str] = &["sleep", "1000"];

/// The flags that go-runc puts before each command.
pub fn as_containerd<'a>(runtime: &'a Runtime, arguments: &[&str]) -> Invocation<'a> {
    let log = runtime.directory().join("log.json");
    runtime.command(arguments).global("--log").global(log).global("--log-format").global("json")
}

pub fn log(runtime: &Runtime) -> String {
    fs::read_to_string(runtime.directory().join("log.json")).unwrap_or_default()
}

/// A running container; returns its id.
pub fn running(runtime: &Runtime) -> Result<String, Failed> {
    let id = runtime.new_id();
    runtime.create(&runtime.bundle(FOREVER)?, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    Ok(id)
}

/// A container whose process has ended; returns its id.
pub fn stopped(runtime: &Runtime) -> Result<String, Failed> {
    let id = runtime.new_id();
    runtime.create(&runtime.bundle(&["true"])?, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    runtime.wait_for_status(&id, "stopped")?;
    Ok(id)
}

fn containerd_creates_with_log_json_and_its_pid_file(runtime: &Runtime) -> TestResult {
    let (id, bundle) = (runtime.new_id(), runtime.bundle(FOREVER)?);
    let pid_file = bundle.path().join("init.pid");
    let create = as_containerd(runtime, &["create", "--bundle"]).arg(bundle.path());
    create.arg("--pid-file").arg(&pid_file).arg(&id).output()?.ok()?;
    let pid: i32 = fs::read_to_string(&pid_file)?.parse()?;
    ensure_eq!(runtime.pid(&id)?, pid);
    as_containerd(runtime, &["start", &id]).output()?.ok()?;
    as_containerd(runtime, &["kill", &id, "9"]).output()?.ok()?;
    runtime.wait_for_status(&id, "stopped")?;
    as_containerd(runtime, &["delete", &id]).output()?.ok()?;
    ensure_eq!(log(runtime), "");
    Ok(())
}

fn containerd_passes_boolean_flags_with_a_value(runtime: &Runtime) -> TestResult {
    let (id, bundle) = (runtime.new_id(), runtime.bundle(FOREVER)?);
    for rootless in ["--rootless=false", "--rootless=auto"] {
        let create = as_containerd(runtime, &["create", "--no-pivot=false", "--bundle"])
            .arg(bundle.path())
            .arg(&id);
        create.global(rootless).output()?.ok()?;
        runtime.delete_force(&id)?.ok()?;
    }
    Ok(())
}

fn containerd_passes_a_long_flag_with_one_dash(runtime: &Runtime) -> TestResult {
    // go-runc's restore has -no-subreaper; Go takes any flag so.
    let bundle = runtime.bundle(&["true"])?;
    runtime
        .command(["run", "-no-subreaper", "-bundle"])
        .arg(bundle.path())
        .arg(runtime.new_id())
        .output()?
        .ok()?;
    Ok(())
}

fn containerd_passes_no_pivot_and_no_new_keyring(runtime: &Runtime) -> TestResult {
    let (id, bundle) = (runtime.new_id(), runtime.bundle(FOREVER)?);
    let create = as_containerd(runtime, &["create", "--bundle"]).arg(bundle.path());
    create
        .arg("--no-pivot")
        .arg("--no-new-keyring")
        .arg("--preserve-fds")
        .arg("0")
        .arg(&id)
        .output()?
        .ok()?;
    runtime.start(&id)?.ok()?;
    ensure_eq!(runtime.status(&id)?, "running");
    Ok(())
}

fn containerd_kills_by_number(runtime: &Runtime) -> TestResult {
    for number in ["15", "9"] {
        let id = runtime.new_id();
        let bundle = runtime.bundle(&[
            "sh",
            "-c",
            "trap 'exit 0' TERM; echo ready; while :; do sleep 0.02; done",
        ])?;
        let created = runtime.create(&bundle, &id)?.ok()?;
        runtime.start(&id)?.ok()?;
        runtime.wait_until("the trap", || Ok(created.stdout_now() == "ready\n"))?;
        as_containerd(runtime, &["kill", &id, number]).output()?.ok()?;
        runtime.wait_for_status(&id, "stopped")?;
    }
    Ok(())
}

fn containerd_kills_all(runtime: &Runtime) -> TestResult {
    // In the host's pid namespace the end of the first process does not end the others.
    kill_ends_all(runtime, "sleep 1001 & sleep 1002 & echo ready; wait", &["--all"])
}

/// A container without a pid namespace whose `script` starts others and says `ready`: containerd's `kill` ends all of them, and
/// its `delete` works after.
pub fn kill_ends_all(runtime: &Runtime, script: &str, flags: &[&str]) -> TestResult {
    let id = runtime.new_id();
    let bundle = runtime.bundle_with(&["sh", "-c", script], |config| {
        crate::bundle::remove(config, "/linux/namespaces", "type", "pid");
    })?;
    let created = runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    runtime.wait_until("the processes", || Ok(created.stdout_now() == "ready\n"))?;
    as_containerd(runtime, &[&["kill"], flags, &[&id, "9"]].concat()).output()?.ok()?;
    runtime.wait_until("the end of all", || {
        crate::leaks::reap(runtime.marker());
        Ok(crate::leaks::processes(runtime.marker()).is_empty())
    })?;
    as_containerd(runtime, &["delete", &id]).output()?.ok()?;
    Ok(())
}

fn containerd_kill_of_a_stopped_container_is_not_running(runtime: &Runtime) -> TestResult {
    let id = stopped(runtime)?;
    as_containerd(runtime, &["kill", &id, "9"]).output()?.fails_with("container not running")?;
    Ok(())
}

fn containerd_verbs_on_a_missing_container_do_not_exist(runtime: &Runtime) -> TestResult {
    for arguments in [
        &["kill", "nosuch", "9"][..],
        &["delete", "nosuch"],
        &["state", "nosuch"],
        &["start", "nosuch"],
    ] {
        as_containerd(runtime, arguments).output()?.fails_with("does not exist")?;
    }
    Ok(())
}

fn containerd_deletes_by_force_with_another_cgroup_flag(runtime: &Runtime) -> TestResult {
    // Its manager's Stop has not the flags of create: what matters is in the state.
    let id = running(runtime)?;
    runtime.command(["delete", "--force", &id]).output()?.ok()?;
    runtime.command(["delete", "--force", &id]).output()?.ok()?;
    nothing_left(runtime)
}

fn containerd_lists_as_json(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let list = as_containerd(runtime, &["list", "--format=json"]).output()?.ok()?;
    let list: Value = serde_json::from_str(&list.stdout)?;
    let container = list.get(0).ok_or("an empty list")?;
    ensure_eq!(container["id"], id.as_str());
    ensure_eq!(container["pid"], runtime.pid(&id)?);
    ensure_eq!(container["status"], "running");
    ensure!(container["bundle"].is_string() && container["created"].is_string(), "{container}");
    ensure_eq!(container["owner"], "root");
    Ok(())
}

fn containerd_lists_none_as_null(runtime: &Runtime) -> TestResult {
    fs::create_dir_all(runtime.root())?;
    let list = as_containerd(runtime, &["list", "--format=json"]).output()?.ok()?;
    ensure_eq!(list.stdout.trim(), "null");
    Ok(())
}

/// A line of a JSON log as containerd decodes it: level, message and a time of RFC 3339.
pub fn entry(line: &str) -> Result<(String, String), Failed> {
    let entry: Value = serde_json::from_str(line)?;
    let text =
        |name: &str| entry[name].as_str().map(str::to_owned).ok_or(format!("no {name}: {line}"));
    let time = text("time")?;
    let (date, clock) = time.split_once('T').ok_or(format!("no time of RFC 3339: {time}"))?;
    let is_zoned =
        clock.ends_with('Z') || clock.get(8..).is_some_and(|rest| rest.contains(['+', '-']));
    ensure!(
        date.len() == 10 && clock.get(2..3) == Some(":") && is_zoned,
        "no time of RFC 3339: {time}"
    );
    Ok((text("level")?, text("msg")?))
}

fn containerd_reads_the_last_error_of_the_log(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["/no/such/program"])?;
    let create =
        as_containerd(runtime, &["create", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    create.output()?.exits(1)?;
    let text = log(runtime);
    let (level, message) = entry(text.lines().last().ok_or("an empty log")?)?;
    ensure_eq!(level, "error");
    ensure!(message.contains("/no/such/program"), "another message: {message}");
    Ok(())
}

fn containerd_dies_and_the_container_lives(runtime: &Runtime) -> TestResult {
    // go-runc has the kernel kill the runtime with the thread that started it; init must not inherit that.
    let (id, bundle) = (runtime.new_id(), runtime.bundle(FOREVER)?);
    let create = runtime.command(["create", "--bundle"]).arg(bundle.path()).arg(&id);
    create.wrapped_by(["setpriv", "--pdeathsig", "KILL"]).output()?.ok()?;
    std::thread::sleep(Duration::from_millis(50));
    ensure_eq!(runtime.status(&id)?, "created");
    runtime.start(&id)?.ok()?;
    ensure_eq!(runtime.status(&id)?, "running");
    Ok(())
}

fn containerd_asks_for_the_version(runtime: &Runtime) -> TestResult {
    let version = runtime.command(["--version"]).output()?.ok()?.stdout;
    let first = version.lines().next().unwrap_or_default();
    ensure!(
        first.split(' ').nth(1) == Some("version") && first.split(' ').nth(2).is_some(),
        "{version}"
    );
    ensure!(version.lines().any(|line| line.starts_with("spec: ")), "no spec: {version}");
    Ok(())
}

fn containerd_removes_the_notify_socket(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["sh", "-c", "echo socket=$NOTIFY_SOCKET"])?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "socket=\n");
    Ok(())
}

fn conmon_creates_with_separate_words(runtime: &Runtime) -> TestResult {
    let (id, bundle) = (runtime.new_id(), runtime.bundle(FOREVER)?);
    let pid_file = runtime.directory().join("pidfile");
    let create =
        runtime.command(["create", "--bundle"]).arg(bundle.path()).arg("--pid-file").arg(&pid_file);
    let create = create.arg("--no-new-keyring").arg(&id);
    let log = format!("--log={}", runtime.directory().join("oci-log").display());
    create.global("--log-format=json").global(log).output()?.ok()?;
    ensure_eq!(fs::read_to_string(pid_file)?, runtime.pid(&id)?.to_string());
    runtime.start(&id)?.ok()?;
    Ok(())
}

fn conmon_keeps_descriptors(runtime: &Runtime) -> TestResult {
    let file = runtime.directory().join("file");
    fs::write(&file, "kept\n")?;
    let (id, bundle) = (runtime.new_id(), runtime.bundle(&["sh", "-c", "cat <&3"])?);
    let create = runtime
        .command(["create", "--bundle"])
        .arg(bundle.path())
        .arg("--preserve-fds")
        .arg("1")
        .arg(&id);
    let created = create.redirected(&format!("3<{}", file.display())).output()?.ok()?;
    runtime.start(&id)?.ok()?;
    runtime.wait_until("the file's text", || Ok(created.stdout_now() == "kept\n"))
}

fn conmon_rs_repeats_global_flags(runtime: &Runtime) -> TestResult {
    let (id, bundle) = (runtime.new_id(), runtime.bundle(FOREVER)?);
    let log = format!("--log={}", runtime.directory().join("log").display());
    let create = runtime.command(["create", "--bundle"]).arg(bundle.path()).arg(&id);
    let root = format!("--root={}", runtime.root().display());
    create.global(&root).global("--log=/dev/null").global(&log).global(&log).output()?.ok()?;
    ensure_eq!(runtime.status(&id)?, "created");
    Ok(())
}

/// A call with an environment of XDG_RUNTIME_DIR alone.
fn without_environment(runtime: &Runtime, arguments: &[&str]) -> Result<Outcome, Failed> {
    let clean =
        ["env", "-i", "XDG_RUNTIME_DIR=/run/user/0", &format!("CORTEN_TEST={}", runtime.marker())]
            .map(str::to_owned);
    runtime.command(arguments).wrapped_by(clean).output()
}

fn podman_calls_without_path(runtime: &Runtime) -> TestResult {
    let (id, bundle) = (runtime.new_id(), runtime.bundle(FOREVER)?);
    let path = bundle.path().to_string_lossy().into_owned();
    without_environment(runtime, &["create", "--bundle", &path, &id])?.ok()?;
    without_environment(runtime, &["start", &id])?.ok()?;
    without_environment(runtime, &["state", &id])?.ok()?;
    without_environment(runtime, &["kill", &id, "9"])?.ok()?;
    runtime.wait_for_status(&id, "stopped")?;
    without_environment(runtime, &["delete", "--force", &id])?.ok()?;
    nothing_left(runtime)
}

/// The one object that Podman decodes the whole log as; its message.
fn one_object(runtime: &Runtime, arguments: &[&str]) -> Result<String, Failed> {
    fs::remove_file(runtime.directory().join("log.json")).ok();
    let outcome = as_containerd(runtime, &["create", "--bundle"]);
    let bundle = runtime.bundle_with(arguments, |config| {
        // A reason for a warning, which must not come between.
        add(config, "/process/capabilities/bounding", json!("CAP_NO_SUCH_THING"));
    })?;
    outcome.arg(bundle.path()).arg(runtime.new_id()).output()?.exits(1)?;
    let log = log(runtime);
    let object: Value = serde_json::from_str(&log).map_err(|error| format!("{error}: {log}"))?;
    Ok(object["msg"].as_str().ok_or("no msg")?.to_owned())
}

fn podman_reads_the_log_as_one_object(runtime: &Runtime) -> TestResult {
    if runtime.is("runc") {
        // It warns before it fails; Podman then falls back to conmon's text.
        return Ok(());
    }
    let message = one_object(runtime, &["/no/such/program"])?;
    ensure!(
        message.contains("/no/such/program") || runtime.is("crun"),
        "another message: {message}"
    );
    Ok(())
}

/// How `create` of this program fails, in small letters as the regular expressions of Podman and Docker see it.
fn failure(runtime: &Runtime, arguments: &[&str]) -> Result<String, Failed> {
    let bundle = runtime.bundle(arguments)?;
    Ok(runtime.create(&bundle, &runtime.new_id())?.fails()?.stderr.to_lowercase())
}

fn podman_maps_error_texts_to_exit_codes(runtime: &Runtime) -> TestResult {
    // 127: executable file not found in | no such file or directory | open executable. 126: permission denied | operation not permitted.
    let not_found = failure(runtime, &["nosuch"])?;
    ensure!(not_found.contains("executable file not found in"), "{not_found}");
    let missing = failure(runtime, &["/no/such"])?;
    ensure!(missing.contains("no such file or directory"), "{missing}");
    let denied = failure(runtime, &["/etc/passwd"])?;
    ensure!(denied.contains("permission denied"), "{denied}");
    for text in [not_found, missing] {
        ensure!(
            !text.contains("permission denied") && !text.contains("not permitted"),
            "it would be 126: {text}"
        );
    }
    Ok(())
}

fn podman_success_leaves_the_log_empty(runtime: &Runtime) -> TestResult {
    let (id, bundle) = (runtime.new_id(), runtime.bundle(FOREVER)?);
    as_containerd(runtime, &["create", "--bundle"]).arg(bundle.path()).arg(&id).output()?.ok()?;
    for arguments in [&["start", &id][..], &["state", &id], &["kill", &id, "KILL"]] {
        as_containerd(runtime, arguments).output()?.ok()?;
    }
    runtime.wait_for_status(&id, "stopped")?;
    as_containerd(runtime, &["delete", "--force", &id]).output()?.ok()?;
    ensure_eq!(log(runtime), "");
    Ok(())
}

fn podman_names_cgroups_below_a_parent(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let parent = format!("/{}-parent", runtime.marker());
    let bundle = runtime.bundle_with(FOREVER, |config| {
        config["linux"]["cgroupsPath"] = json!(format!("{parent}/libpod-{id}"));
    })?;
    // The engine's, not ours: it must be there afterwards.
    fs::create_dir(format!("/sys/fs/cgroup{parent}"))?;
    runtime.create(&bundle, &id)?.ok()?;
    let cgroup = proc_file(runtime.pid(&id)?, "cgroup")?;
    runtime.delete_force(&id)?.ok()?;
    let kept = fs::remove_dir(format!("/sys/fs/cgroup{parent}"));
    ensure!(cgroup.contains(&format!("0::{parent}/libpod-{id}\n")), "another cgroup: {cgroup}");
    kept.map_err(|error| format!("the parent is not as it was: {error}").into())
}

fn crio_reads_the_state(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let state = runtime.state(&id)?;
    let created = state["created"].as_str().ok_or("no created")?;
    ensure!(created.ends_with('Z') && created.contains('T'), "not RFC 3339 in UTC: {created}");
    ensure!(state["rootfs"].as_str().is_some_and(|rootfs| rootfs.ends_with("/rootfs")), "{state}");
    ensure!(state["owner"].is_string(), "{state}");
    Ok(())
}

fn crio_kills_by_name_then_by_kill(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    // sleep as the first of a pid namespace ignores it.
    runtime.kill(&id, "SIGTERM")?.ok()?;
    ensure_eq!(runtime.status(&id)?, "running");
    runtime.kill(&id, "KILL")?.ok()?;
    runtime.wait_for_status(&id, "stopped")
}

fn crio_kills_all_with_a_short_flag(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    runtime.command(["kill", "-a", &id, "9"]).output()?.ok()?;
    runtime.wait_for_status(&id, "stopped")
}

fn docker_network_hook_finds_the_namespace_by_the_states_pid(runtime: &Runtime) -> TestResult {
    for kind in ["prestart", "createRuntime"] {
        let (id, found) = (runtime.new_id(), runtime.directory().join(kind));
        let script = format!(
            "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); (readlink /proc/$pid/ns/net; echo $pid) >{}",
            found.display()
        );
        let bundle = runtime.bundle_with(FOREVER, |config| {
            add(
                config,
                &format!("/hooks/{kind}"),
                json!({ "path": "/bin/sh", "args": ["sh", "-c", script] }),
            );
        })?;
        runtime.create(&bundle, &id)?.ok()?;
        let pid = runtime.pid(&id)?;
        let namespace = crate::inside::namespace_of(pid, "net")?;
        ensure_eq!(fs::read_to_string(&found)?, format!("{namespace}\n{pid}\n"));
    }
    Ok(())
}

fn docker_maps_error_texts(runtime: &Runtime) -> TestResult {
    for (program, text) in [
        ("nosuch", "executable file not found"),
        ("/no/such", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
    ] {
        let said = failure(runtime, &[program])?;
        // Docker also wants the program in the text, or it takes the error for one of its own.
        ensure!(said.contains(text) && said.contains(program), "without {text:?}: {said}");
    }
    let said = failure(runtime, &["/etc"])?;
    ensure!(said.contains("is a directory") || said.contains("permission denied"), "{said}");
    Ok(())
}

fn docker_wrapper_script_works(runtime: &Runtime) -> TestResult {
    let script = runtime.directory().join("wrapper");
    fs::write(&script, format!("#!/bin/sh\n{} --debug=false $@\n", runtime.program().display()))?;
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    if runtime.is("crun") {
        // Its parser takes no value for a switch.
        fs::write(&script, format!("#!/bin/sh\n{} $@\n", runtime.program().display()))?;
    }
    let (id, bundle) = (runtime.new_id(), runtime.bundle(FOREVER)?);
    let mut create = Command::new(&script);
    create
        .arg("--root")
        .arg(runtime.root())
        .arg("create")
        .arg("--bundle")
        .arg(bundle.path())
        .arg(&id);
    // As the harness does it for its own calls.
    create
        .env("CORTEN_TEST", runtime.marker())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    ensure!(create.status()?.success(), "create has failed");
    ensure_eq!(runtime.status(&id)?, "created");
    Ok(())
}
