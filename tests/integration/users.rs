//! What every engine, and who types commands by hand, finds: the lines of features.md 1.4 and 6.
//!
//! Runs in: any process.

use std::fs;

use serde_json::{Value, json};

use crate::callers::{FOREVER, as_containerd, entry, log, running, stopped};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{NotOn, Root};
use crate::inside::nothing_left;
use crate::runtime::Runtime;

const OTHER_WORDS: &str = "has other words; the callers know both, and ours are runc's";
const OTHER_SHAPE: &str = "has another shape; the callers' types are runc's";
const GLIBC_FLAGS: &str = "its parser takes two dashes only, and callers of runc one";

table! {
    engines_find_nothing_on_stderr_after_success: [Root],
    engines_find_the_error_on_stderr_as_well_as_in_the_log: [Root],
    engines_read_a_stopped_state_without_a_pid: [Root],
    engines_read_the_state_in_the_order_of_runc: [Root, NotOn("crun", OTHER_SHAPE)],
    engines_start_only_what_is_created: [Root, NotOn("crun", OTHER_WORDS)],
    engines_delete_only_what_is_stopped: [Root, NotOn("crun", OTHER_WORDS)],
    engines_kill_by_any_name_of_a_signal: [Root, NotOn("crun", "knows large letters alone")],
    engines_kill_without_a_signal_by_term: [Root],
    engines_kill_a_created_container: [Root],
    engines_use_flags_in_any_place: [Root, NotOn("crun", GLIBC_FLAGS)],
    users_list_a_table: [Root, NotOn("crun", OTHER_SHAPE)],
    users_list_ids_alone: [Root],
    users_run_in_the_current_directory: [Root],
    users_keep_a_container_after_run: [Root, NotOn("crun", "1.8 has no --keep")],
    users_make_a_specification_and_run_it: [Root],
    users_do_not_lose_a_specification: [Root],
    users_pass_a_signal_number_with_a_dash: [Root, NotOn("crun", GLIBC_FLAGS)],
    users_may_not_use_the_root_directory_as_root: [Root, NotOn("crun", "takes it"), NotOn("runc", "1.1 takes it, 1.2 does not")],
    users_name_a_root_that_must_be_there: [NotOn("crun", "lists none"), NotOn("runc", "1.1 lists none; 1.2 and later fail")],
    users_get_an_invalid_log_format_refused: [Root, NotOn("crun", OTHER_WORDS)],
}

fn engines_find_nothing_on_stderr_after_success(runtime: &Runtime) -> TestResult {
    let (id, bundle) = (runtime.new_id(), runtime.bundle(&["sh", "-c", "sleep 1000"])?);
    let mut outcomes = vec![runtime.create(&bundle, &id)?.ok()?, runtime.start(&id)?.ok()?];
    for arguments in [&["state", &id][..], &["list"], &["kill", &id, "KILL"]] {
        outcomes.push(runtime.command(arguments).output()?.ok()?);
    }
    runtime.wait_for_status(&id, "stopped")?;
    outcomes.push(runtime.delete(&id)?.ok()?);
    outcomes.push(runtime.run(&runtime.bundle(&["true"])?)?.ok()?);
    for outcome in outcomes {
        ensure!(outcome.stderr.is_empty(), "something on stderr: {outcome}");
    }
    Ok(())
}

fn engines_find_the_error_on_stderr_as_well_as_in_the_log(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["/no/such/program"])?;
    let create =
        as_containerd(runtime, &["create", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    let outcome = create.output()?.fails()?;
    let text = log(runtime);
    let (_, message) = entry(text.lines().last().ok_or("an empty log")?)?;
    ensure!(
        outcome.stderr.contains(&message) || runtime.is("crun"),
        "without {message:?}: {outcome}"
    );
    Ok(())
}

fn engines_read_a_stopped_state_without_a_pid(runtime: &Runtime) -> TestResult {
    let state = runtime.state(&stopped(runtime)?)?;
    ensure_eq!(state["status"], "stopped");
    ensure_eq!(state["pid"], 0);
    Ok(())
}

fn engines_read_the_state_in_the_order_of_runc(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let text = runtime.command(["state", &id]).output()?.ok()?.stdout;
    let keys: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("  \"")?.split('"').next()).collect();
    ensure_eq!(keys, ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "owner"]);
    Ok(())
}

fn engines_start_only_what_is_created(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    runtime.start(&id)?.fails_with("cannot start an already running container")?;
    runtime.start(&stopped(runtime)?)?.fails_with("cannot start a container that has stopped")?;
    Ok(())
}

fn engines_delete_only_what_is_stopped(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let words = format!("cannot delete container {id} that is not stopped: running");
    runtime.delete(&id)?.fails_with(&words)?;
    Ok(())
}

fn engines_kill_by_any_name_of_a_signal(runtime: &Runtime) -> TestResult {
    let script = "for s in HUP USR1 WINCH; do trap \"echo $s\" $s; done; echo ready; while :; do sleep 0.02; done";
    let (id, bundle) = (runtime.new_id(), runtime.bundle(&["sh", "-c", script])?);
    let created = runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    runtime.wait_until("the traps", || Ok(created.stdout_now() == "ready\n"))?;
    let mut expected = "ready\n".to_owned();
    for (name, shown) in [
        ("USR1", "USR1"),
        ("SIGUSR1", "USR1"),
        ("usr1", "USR1"),
        ("10", "USR1"),
        ("1", "HUP"),
        ("SIGWINCH", "WINCH"),
    ] {
        runtime.kill(&id, name)?.ok()?;
        expected += &format!("{shown}\n");
        runtime.wait_until(&format!("{name} in {:?}", created.stdout_now()), || {
            Ok(created.stdout_now() == expected)
        })?;
    }
    runtime.kill(&id, "NOSUCH")?.fails()?;
    Ok(())
}

fn engines_kill_without_a_signal_by_term(runtime: &Runtime) -> TestResult {
    let script = "trap 'echo TERM; exit' TERM; echo ready; while :; do sleep 0.02; done";
    let (id, bundle) = (runtime.new_id(), runtime.bundle(&["sh", "-c", script])?);
    let created = runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    runtime.wait_until("the trap", || Ok(created.stdout_now() == "ready\n"))?;
    runtime.command(["kill", &id]).output()?.ok()?;
    runtime.wait_until("the signal", || Ok(created.stdout_now() == "ready\nTERM\n"))
}

fn engines_kill_a_created_container(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    runtime.create(&runtime.bundle(FOREVER)?, &id)?.ok()?;
    runtime.kill(&id, "KILL")?.ok()?;
    runtime.wait_for_status(&id, "stopped")?;
    runtime.delete(&id)?.ok()?;
    nothing_left(runtime)
}

fn engines_use_flags_in_any_place(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    runtime.command(["delete", "-f", &id]).output()?.ok()?;
    let id = runtime.new_id();
    let bundle = runtime.bundle(FOREVER)?;
    // -b for --bundle, and a value with an equals sign.
    runtime.command(["create", "-b"]).arg(bundle.path()).arg(&id).output()?.ok()?;
    runtime.delete_force(&id)?.ok()?;
    let flag = format!("--bundle={}", bundle.path().display());
    runtime.command(["create", &flag, &id]).output()?.ok()?;
    Ok(())
}

fn users_list_a_table(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let list = runtime.command(["list"]).output()?.ok()?.stdout;
    let mut lines = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    ensure_eq!(
        lines.next().unwrap_or_default(),
        ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    );
    let row = lines.next().ok_or("no row")?;
    let pid = runtime.pid(&id)?.to_string();
    ensure_eq!(row.get(..3), Some(&[id.as_str(), pid.as_str(), "running"][..]));
    ensure_eq!(row.last(), Some(&"root"));
    Ok(())
}

fn users_list_ids_alone(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    for flag in ["-q", "--quiet"] {
        let list = runtime.command(["list", flag]).output()?.ok()?;
        ensure_eq!(list.stdout, format!("{id}\n"));
    }
    Ok(())
}

fn users_run_in_the_current_directory(runtime: &Runtime) -> TestResult {
    let (id, bundle) = (runtime.new_id(), runtime.bundle(&["echo", "ran"])?);
    let run = runtime.command(["run", &id]).current_directory(bundle.path()).output()?.ok()?;
    ensure_eq!(run.stdout, "ran\n");
    Ok(())
}

fn users_keep_a_container_after_run(runtime: &Runtime) -> TestResult {
    let (id, bundle) = (runtime.new_id(), runtime.bundle(&["true"])?);
    runtime.command(["run", "--keep", "--bundle"]).arg(bundle.path()).arg(&id).output()?.ok()?;
    ensure_eq!(runtime.status(&id)?, "stopped");
    runtime.delete(&id)?.ok()?;
    nothing_left(runtime)
}

fn users_make_a_specification_and_run_it(runtime: &Runtime) -> TestResult {
    let mut bundle = runtime.bundle(&["true"])?;
    fs::remove_file(bundle.config_path())?;
    runtime.command(["spec", "--bundle"]).arg(bundle.path()).output()?.ok()?;
    let mut config: Value = serde_json::from_slice(&fs::read(bundle.config_path())?)?;
    ensure_eq!(config["process"]["args"], json!(["sh"]));
    ensure_eq!(config["root"], json!({ "path": "rootfs", "readonly": true }));
    ensure_eq!(config["process"]["terminal"], true);
    ensure!(config["mounts"].as_array().is_some_and(|mounts| mounts.len() >= 6), "{config}");
    // A terminal and a shell for hands; here it prints, and marks its process for the harness.
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["echo", "ran"]);
    if runtime.is("crun") {
        // RLIMIT_MEMLOCK, as in the harness's own configuration.
        config["linux"]["resources"] = Value::Null;
    }
    bundle.edit(|own| *own = config)?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "ran\n");
    Ok(())
}

fn users_do_not_lose_a_specification(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["true"])?;
    let before = fs::read(bundle.config_path())?;
    runtime.command(["spec", "--bundle"]).arg(bundle.path()).output()?.fails_with("config.json")?;
    ensure_eq!(fs::read(bundle.config_path())?, before);
    Ok(())
}

fn users_pass_a_signal_number_with_a_dash(runtime: &Runtime) -> TestResult {
    if runtime.is("runc") {
        // urfave/cli v1 takes it for a flag; v3 of runc 1.4 for an operand.
        return Ok(());
    }
    let id = running(runtime)?;
    let outcome = runtime.command(["kill", &id, "-9"]).output()?;
    // A signal or an error, but no other meaning.
    if outcome.code() == 0 {
        runtime.wait_for_status(&id, "stopped")
    } else {
        outcome.fails().map(|_| ())
    }
}

fn users_may_not_use_the_root_directory_as_root(runtime: &Runtime) -> TestResult {
    let list = runtime.command(["list"]).global("--root").global("/");
    list.output()?.fails_with("Option --root argument should not be set to /")?;
    Ok(())
}

fn users_name_a_root_that_must_be_there(runtime: &Runtime) -> TestResult {
    runtime.command(["list"]).output()?.fails_with("no such file or directory")?;
    Ok(())
}

fn users_get_an_invalid_log_format_refused(runtime: &Runtime) -> TestResult {
    let list = runtime.command(["list"]).global("--log-format").global("xml");
    list.output()?.fails_with("xml")?;
    Ok(())
}
