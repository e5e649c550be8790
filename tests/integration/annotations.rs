//! The annotations of crun that Podman and its users set.
//!
//! Runs in: any process.

use std::fs;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::bundle::add;
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, Program, Root};
use crate::inside::{nothing_left, refuses};
use crate::runtime::{Outcome, Runtime};

const OF_CRUN: &str = "the annotations are crun's";
const TEXTS: &str = "the texts are ours";

table! {
    annotations_are_in_the_state_whatever_they_are: [Root],
    annotation_without_a_key_is_refused: [Root, Corten(TEXTS)],
    podman_keeps_the_groups_of_its_user: [Root, Program("setpriv"), NotOn("runc", OF_CRUN)],
    groups_are_not_kept_unless_asked_for: [Root, Program("setpriv")],
    exec_keeps_the_groups_as_well: [Root, Program("setpriv"), Corten("crun 1.8 drops them")],
    hooks_write_to_the_files_that_are_asked_for: [Root, NotOn("runc", OF_CRUN)],
    hooks_output_that_cannot_be_opened_fails_create: [Root, NotOn("runc", OF_CRUN)],
    handler_is_refused_by_name: [Root, Corten(TEXTS)],
    cgroup_v1_is_ignored_with_a_warning: [Root, Corten(TEXTS)],
    mount_context_of_another_kind_is_refused: [Root, Corten(TEXTS)],
}

fn annotated(config: &mut Value, name: &str, value: &str) {
    config["annotations"][name] = json!(value);
}

fn annotations_are_in_the_state_whatever_they_are(runtime: &Runtime) -> TestResult {
    // No limit is the specification's; a Kubernetes object has 256 KiB of them.
    let (long, many) = ("v".repeat(300_000), 2000);
    let mut annotations = json!({ "a": "", "b/c.d-e_f": "\u{1}\"\\ü\n", "long": long });
    for number in 0..many {
        annotations[format!("org.example.{number}")] = json!(number.to_string());
    }
    let bundle =
        runtime.bundle_with(&["true"], |config| config["annotations"] = annotations.clone())?;
    let id = runtime.new_id();
    runtime.create(&bundle, &id)?.ok()?;
    let state: Value =
        serde_json::from_str(&runtime.command(["state", &id]).output()?.ok()?.stdout)?;
    // crun adds what it was started as.
    for (key, value) in annotations.as_object().into_iter().flatten() {
        ensure!(state["annotations"][key] == *value, "{key} is not as it was given");
    }
    Ok(())
}

fn annotation_without_a_key_is_refused(runtime: &Runtime) -> TestResult {
    for (key, value, problem) in [("", json!("x"), "empty key"), ("a", json!(1), "invalid type")] {
        refuses(runtime, &["/annotations/", problem], |config| {
            config["annotations"] = json!({ key: value });
        })?;
    }
    Ok(())
}

/// Runs `id -G` for a caller with these supplementary groups.
fn groups(runtime: &Runtime, change: impl FnOnce(&mut Value)) -> Result<String, Failed> {
    let bundle = runtime.bundle_with(&["id", "-G"], change)?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    Ok(run.wrapped_by(["setpriv", "--groups=4242,4343"]).output()?.ok()?.stdout)
}

fn podman_keeps_the_groups_of_its_user(runtime: &Runtime) -> TestResult {
    let found = groups(runtime, |config| annotated(config, "run.oci.keep_original_groups", "1"))?;
    ensure!(found.contains("4242") && found.contains("4343"), "without them: {found}");
    Ok(())
}

fn groups_are_not_kept_unless_asked_for(runtime: &Runtime) -> TestResult {
    ensure_eq!(groups(runtime, |_| {})?, "0\n");
    Ok(())
}

fn exec_keeps_the_groups_as_well(runtime: &Runtime) -> TestResult {
    let (id, bundle) = (
        runtime.new_id(),
        runtime.bundle_with(crate::callers::FOREVER, |config| {
            annotated(config, "run.oci.keep_original_groups", "1");
        })?,
    );
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    let exec = runtime.command(["exec", &id, "id", "-G"]);
    let found = exec.wrapped_by(["setpriv", "--groups=4242"]).output()?.ok()?.stdout;
    ensure!(found.contains("4242"), "without it: {found}");
    Ok(())
}

/// A createRuntime hook that writes to both of its outputs.
fn with_hook(runtime: &Runtime, out: &str, err: &str) -> Result<Outcome, Failed> {
    let bundle = runtime.bundle_with(&["true"], |config| {
        annotated(config, "run.oci.hooks.stdout", out);
        annotated(config, "run.oci.hooks.stderr", err);
        let hook =
            json!({ "path": "/bin/sh", "args": ["sh", "-c", "cat >/dev/null; echo to out; echo to err >&2"] });
        add(config, "/hooks/createRuntime", hook);
    })?;
    runtime.run(&bundle)
}

fn hooks_write_to_the_files_that_are_asked_for(runtime: &Runtime) -> TestResult {
    let (out, err) = (runtime.directory().join("out"), runtime.directory().join("err"));
    let path = |path: &std::path::Path| path.display().to_string();
    for _ in 0..2 {
        with_hook(runtime, &path(&out), &path(&err))?.ok()?;
    }
    ensure_eq!(fs::read_to_string(out)?, "to out\nto out\n");
    ensure_eq!(fs::read_to_string(err)?, "to err\nto err\n");
    Ok(())
}

fn hooks_output_that_cannot_be_opened_fails_create(runtime: &Runtime) -> TestResult {
    with_hook(runtime, "/no/such/directory/out", "/dev/null")?.fails()?;
    nothing_left(runtime)
}

fn handler_is_refused_by_name(runtime: &Runtime) -> TestResult {
    let bundle = runtime
        .bundle_with(&["true"], |config| annotated(config, "run.oci.handler", "wasmedge"))?;
    let outcome = runtime.run(&bundle)?.exits(1)?.fails_with("/annotations/run.oci.handler")?;
    ensure!(outcome.stderr.contains("wasmedge"), "{outcome}");
    nothing_left(runtime)
}

fn cgroup_v1_is_ignored_with_a_warning(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["true"], |config| {
        annotated(config, "run.oci.systemd.force_cgroup_v1", "/sys/fs/cgroup/systemd");
    })?;
    let log = runtime.directory().join("log");
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    run.global("--log").global(&log).output()?.ok()?;
    let log = fs::read_to_string(log)?;
    ensure!(log.contains("level=warning") && log.contains("force_cgroup_v1"), "{log}");
    Ok(())
}

fn mount_context_of_another_kind_is_refused(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["true"], |config| {
        annotated(config, "run.oci.mount_context_type", "size=1,context");
    })?;
    runtime.run(&bundle)?.exits(1)?.fails_with("/annotations/run.oci.mount_context_type")?;
    let bundle = runtime.bundle_with(&["true"], |config| {
        annotated(config, "run.oci.mount_context_type", "rootcontext");
    })?;
    runtime.run(&bundle)?.ok()?;
    Ok(())
}
