//! What callers ask a runtime about itself, each test named after the caller: checkpoint and restore, help, the version, `spec`.
//!
//! Runs in: any process.

use std::fs;

use serde_json::Value;

use crate::callers::{as_containerd, running};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, Root};
use crate::runtime::Runtime;
use crate::schema;

const LATER: &str = "what is not there yet is refused by name";
const OTHER_FLAGS: &str = "has other flags";
const NO_CRIU: &str = "Debian's is built without checkpoint and restore";

table! {
    podman_and_crio_ask_for_the_help_of_checkpoint: [NotOn("crun", NO_CRIU)],
    podman_probes_restore_for_a_flag: [NotOn("crun", NO_CRIU)],
    containerd_checkpoint_flags_are_taken: [Root, NotOn("crun", OTHER_FLAGS)],
    podman_and_crio_checkpoint_flags_are_taken: [Root, NotOn("crun", NO_CRIU)],
    containerd_restore_flags_are_taken: [Root, NotOn("crun", OTHER_FLAGS)],
    conmon_restore_flags_are_taken: [Root, NotOn("runc", OTHER_FLAGS)],
    checkpoint_is_refused_by_name_and_the_container_lives: [Root, Corten(LATER)],
    checkpoint_of_a_missing_container_does_not_exist: [Root, NotOn("crun", "has other words")],
    restore_is_refused_by_name_and_leaves_nothing: [Root, Corten(LATER)],
    go_runc_reads_commit_and_spec_of_the_version: [],
    help_of_every_command_is_printed: [NotOn("crun", NO_CRIU)],
    spec_is_what_the_schema_says: [],
    spec_for_rootless_is_what_the_schema_says: [NotOn("crun", "makes no maps of ids")],
    state_is_what_the_schema_says: [Root],
    debug_log_has_every_step_with_its_time: [Root, Corten("runc logs other things")],
    debug_log_of_containerd_ends_with_the_error: [Root, NotOn("crun", "logs the error alone")],
}

fn podman_and_crio_ask_for_the_help_of_checkpoint(runtime: &Runtime) -> TestResult {
    runtime.command(["checkpoint", "--help"]).output()?.ok()?;
    Ok(())
}

fn podman_probes_restore_for_a_flag(runtime: &Runtime) -> TestResult {
    let outcome = runtime.command(["restore", "--lsm-mount-context"]).output()?.fails()?;
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    let texts = ["flag needs an argument", "requires an argument"];
    ensure!(texts.iter().any(|text| said.contains(text)), "{said}");
    Ok(())
}

/// An error, but not one about a flag.
fn is_taken(runtime: &Runtime, arguments: &[&str]) -> TestResult {
    let outcome = as_containerd(runtime, arguments).output()?.fails()?;
    ensure!(!outcome.stderr.contains("flag"), "{outcome}");
    Ok(())
}

fn containerd_checkpoint_flags_are_taken(runtime: &Runtime) -> TestResult {
    // go-runc's CheckpointOpts, and what its actions add.
    is_taken(
        runtime,
        &[
            "checkpoint",
            "--image-path",
            "/i",
            "--work-path",
            "/w",
            "--parent-path",
            "p",
            "--tcp-established",
            "--ext-unix-sk",
            "--shell-job",
            "--page-server",
            "1.2.3.4:5",
            "--file-locks",
            "--manage-cgroups-mode",
            "soft",
            "--empty-ns",
            "network",
            "--empty-ns",
            "network",
            "--lazy-pages",
            "--status-fd",
            "3",
            "--leave-running",
            "--pre-dump",
            "nosuch",
        ],
    )
}

fn podman_and_crio_checkpoint_flags_are_taken(runtime: &Runtime) -> TestResult {
    let arguments = "checkpoint --image-path /i --work-path /w --leave-running --tcp-established --file-locks \
                     --pre-dump --parent-path p nosuch";
    is_taken(runtime, &arguments.split_whitespace().collect::<Vec<_>>())
}

fn containerd_restore_flags_are_taken(runtime: &Runtime) -> TestResult {
    is_taken(
        runtime,
        &[
            "restore",
            "--image-path",
            "/i",
            "--work-path",
            "/w",
            "--tcp-established",
            "--ext-unix-sk",
            "--shell-job",
            "--file-locks",
            "--manage-cgroups-mode",
            "soft",
            "--empty-ns",
            "network",
            "--detach",
            "--pid-file",
            "/nosuch/p",
            "--no-pivot",
            "-no-subreaper",
            "--bundle",
            "/nosuch/b",
            "nosuch",
        ],
    )
}

fn conmon_restore_flags_are_taken(runtime: &Runtime) -> TestResult {
    let arguments = [
        "restore",
        "--bundle",
        "/nosuch/b",
        "--pid-file",
        "/nosuch/p",
        "--detach",
        "--image-path",
        "/i",
        "--work-path",
        "/nosuch/b",
        "--tcp-established",
        "--tcp-close",
        "--file-locks",
        "--lsm-mount-context=x",
        "--lsm-profile=selinux:y",
    ];
    let arguments: Vec<&str> = if runtime.is("corten") {
        [&arguments[..], &["--no-new-keyring"]].concat()
    } else {
        arguments.to_vec()
    };
    is_taken(runtime, &[&arguments[..], &["nosuch"]].concat())
}

fn checkpoint_is_refused_by_name_and_the_container_lives(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let outcome =
        as_containerd(runtime, &["checkpoint", "--image-path", "/nosuch", &id]).output()?;
    outcome.exits(1)?.fails_with("checkpoint is not supported yet")?;
    ensure_eq!(runtime.status(&id)?, "running");
    Ok(())
}

fn checkpoint_of_a_missing_container_does_not_exist(runtime: &Runtime) -> TestResult {
    runtime.command(["checkpoint", "nosuch"]).output()?.exits(1)?.fails_with("does not exist")?;
    Ok(())
}

fn restore_is_refused_by_name_and_leaves_nothing(runtime: &Runtime) -> TestResult {
    let (id, bundle) = (runtime.new_id(), runtime.bundle(&["true"])?);
    let restore = runtime.command(["restore", "--bundle"]).arg(bundle.path()).arg(&id);
    restore.output()?.exits(1)?.fails_with("restore is not supported yet")?;
    crate::inside::nothing_left(runtime)
}

/// The first line has the name, in which go-runc reads no other than `runc`; dockerd reads the lines of any.
fn go_runc_reads_commit_and_spec_of_the_version(runtime: &Runtime) -> TestResult {
    for flag in ["--version", "-v"] {
        let outcome = runtime.command([flag]).output()?.ok()?;
        let lines: Vec<&str> = outcome.stdout.lines().collect();
        let first = lines.first().copied().unwrap_or_default();
        ensure!(first.split(' ').nth(1) == Some("version"), "another first line: {first}");
        let value = |name| lines.iter().find_map(|line| line.strip_prefix(name));
        ensure!(value("spec: ").is_some_and(|spec| spec.starts_with("1.")), "{lines:?}");
        if runtime.is("corten") {
            ensure!(value("commit: ").is_none_or(|commit| !commit.is_empty()), "{lines:?}");
            ensure!(value("rust: ").is_some_and(|rust| rust.starts_with("1.")), "{lines:?}");
        }
    }
    Ok(())
}

fn help_of_every_command_is_printed(runtime: &Runtime) -> TestResult {
    let all = runtime.command(["--help"]).output()?.ok()?.stdout;
    for command in [
        "checkpoint",
        "create",
        "delete",
        "kill",
        "list",
        "ps",
        "restore",
        "run",
        "spec",
        "start",
        "state",
    ] {
        ensure!(all.contains(command), "--help is silent about {command}");
        let help = runtime.command([command, "--help"]).output()?.ok()?;
        ensure!(help.stdout.contains(command) && help.stderr.is_empty(), "{help}");
        if !runtime.is("crun") {
            ensure!(help.stdout.starts_with("NAME:\n   "), "not in runc's form: {help}");
            let second = help.stdout.lines().nth(1).unwrap_or_default();
            ensure!(second.contains(&format!(" {command} - ")) || runtime.is("runc"), "{help}");
        }
    }
    Ok(())
}

fn written_spec(runtime: &Runtime, flags: &[&str]) -> Result<Value, libtest_mimic::Failed> {
    let directory = runtime.directory().join(format!("spec{}", flags.len()));
    fs::create_dir(&directory)?;
    runtime.command(["spec"].iter().chain(flags)).current_directory(&directory).output()?.ok()?;
    Ok(serde_json::from_slice(&fs::read(directory.join("config.json"))?)?)
}

fn spec_is_what_the_schema_says(runtime: &Runtime) -> TestResult {
    let spec = written_spec(runtime, &[])?;
    ensure_eq!(schema::problems("config-schema.json", &spec)?, Vec::<String>::new());
    Ok(())
}

fn spec_for_rootless_is_what_the_schema_says(runtime: &Runtime) -> TestResult {
    let spec = written_spec(runtime, &["--rootless"])?;
    ensure_eq!(schema::problems("config-schema.json", &spec)?, Vec::<String>::new());
    ensure!(spec["linux"]["uidMappings"].is_array(), "{spec}");
    Ok(())
}

fn state_is_what_the_schema_says(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let state = runtime.state(&id)?;
    ensure_eq!(schema::problems("state-schema.json", &state)?, Vec::<String>::new());
    Ok(())
}

fn debug_log_has_every_step_with_its_time(runtime: &Runtime) -> TestResult {
    let (id, bundle) = (runtime.new_id(), runtime.bundle(&["true"])?);
    let create = as_containerd(runtime, &["create", "--bundle"]).global("--debug");
    let create = create.arg(bundle.path()).arg(&id).output()?.ok()?;
    ensure_eq!(create.stderr, "");
    as_containerd(runtime, &["start", &id]).global("--log-level=debug").output()?.ok()?;
    let log = crate::callers::log(runtime);
    let mut messages = Vec::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line)?;
        ensure_eq!(line["level"], "debug");
        messages.push(line["msg"].as_str().unwrap_or_default().to_owned());
    }
    for text in [
        "corten 0.",
        "runtime: load config.json: ",
        "runtime: clone3: ",
        "init: mount ",
        "init is process ",
    ] {
        ensure!(messages.iter().any(|it| it.starts_with(text)), "no {text:?}: {messages:#?}");
    }
    let step = messages.iter().find(|it| it.starts_with("init: mount ")).ok_or("no step")?;
    ensure!(step.ends_with(" µs"), "no time: {step}");
    Ok(())
}

fn debug_log_of_containerd_ends_with_the_error(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["/no/such/program"])?;
    let create = as_containerd(runtime, &["create", "--bundle"]).global("--debug");
    let create = create.arg(bundle.path()).arg(runtime.new_id()).output()?.exits(1)?;
    // containerd takes the last object of level error.
    let log = crate::callers::log(runtime);
    let errors: Vec<Value> = log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let error = errors.iter().rfind(|line| line["level"] == "error").ok_or("no error")?;
    ensure!(error["msg"].as_str().is_some_and(|msg| msg.contains("/no/such/program")), "{error}");
    ensure!(create.stderr.contains("/no/such/program"), "{create}");
    Ok(())
}
