//! `/hooks` that fail, are late, or are not there: what it means is in runtime.md, lifecycle.
//!
//! Runs in: any process.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::json;

use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::hooks::{FOREVER, Log, hook, shell};
use crate::host::Need::{Corten, NotOn, Root};
use crate::inside::nothing_left;
use crate::leaks;
use crate::runtime::Runtime;

const LOSES_WORDS: &str = "sends them elsewhere";
const STOPS: &str = "stops at the first and fails; runtime.md: MUST log a warning, the rest runs";
const NO_STEP_12: &str = "1.8 runs none then; runtime.md, lifecycle: MUST continue at step 12";
const WAITS: &str = "kills the hook alone, and waits for who has its pipes";

table! {
    failing_hook_of_create_undoes_it: [Root],
    failing_hook_of_create_stops_the_others: [Root],
    failing_hook_is_named_with_its_words: [Root, NotOn("crun", LOSES_WORDS)],
    failing_start_container_hook_stops_the_container: [Root],
    failing_start_container_hook_fails_start: [Root, Corten("runc answers 0 (docs/compatibility.md)")],
    failing_poststart_hook_stops_the_container: [Root, Corten("runtime.md 1.3: an error, the container is stopped; older ones go on")],
    failing_poststop_hook_is_a_warning: [Root, NotOn("runc", STOPS)],
    poststop_hooks_run_after_a_create_that_fails: [Root, NotOn("crun", NO_STEP_12)],
    poststop_hooks_run_after_a_run_whose_poststart_fails: [Root, NotOn("crun", NO_STEP_12)],
    poststop_hooks_run_for_a_create_that_was_killed: [Root, Corten("the others have no state then")],
    missing_hook_is_named: [Root],
    relative_hook_is_refused: [Root, Corten("config.md: MUST be absolute")],
    timeout_ends_the_hook: [Root],
    timeout_ends_the_hooks_children: [Root, Corten(WAITS)],
    timeout_that_is_not_positive_is_refused: [Root, Corten("config.md: MUST be greater than zero")],
    hook_that_leaves_a_child_does_not_hang_create: [Root, NotOn("runc", WAITS)],
}

fn failing_hook_of_create_undoes_it(runtime: &Runtime) -> TestResult {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        for script in ["exit 3", "kill -9 $$"] {
            let bundle =
                runtime.bundle_with(FOREVER, |config| hook(config, kind, shell(script)))?;
            runtime.create(&bundle, &runtime.new_id())?.fails()?;
            nothing_left(runtime)?;
        }
    }
    Ok(())
}

fn failing_hook_of_create_stops_the_others(runtime: &Runtime) -> TestResult {
    let log = Log::new(runtime)?;
    let bundle = runtime.bundle_with(FOREVER, |config| {
        hook(config, "prestart", log.line("first"));
        hook(config, "createRuntime", shell("exit 1"));
        hook(config, "createRuntime", log.line("second"));
        hook(config, "createContainer", log.line("third"));
    })?;
    runtime.create(&bundle, &runtime.new_id())?.fails()?;
    ensure_eq!(log.read(), "first\n");
    nothing_left(runtime)
}

fn failing_hook_is_named_with_its_words(runtime: &Runtime) -> TestResult {
    for kind in ["createRuntime", "createContainer"] {
        let bundle = runtime.bundle_with(FOREVER, |config| {
            hook(config, kind, shell("true"));
            hook(config, kind, shell("echo last words >&2; exit 3"));
        })?;
        let outcome = runtime.create(&bundle, &runtime.new_id())?.fails()?;
        for words in ["exit status 3", "last words"] {
            ensure!(outcome.stderr.contains(words), "without {words:?}: {outcome}");
        }
        let names = [format!("{kind} hook #1:"), format!("/hooks/{kind}/1")];
        let named = names.iter().any(|name| outcome.stderr.contains(name));
        ensure!(named || !runtime.is("corten"), "not named: {outcome}");
    }
    Ok(())
}

/// `start` of a container whose startContainer hook fails: the process must not run.
fn start_with_a_failing_hook(
    runtime: &Runtime,
) -> Result<(String, crate::runtime::Outcome), Failed> {
    let id = runtime.new_id();
    let bundle = runtime.bundle_with(&["touch", "/ran"], |config| {
        hook(config, "startContainer", shell("echo last words >&2; exit 3"));
    })?;
    runtime.create(&bundle, &id)?.ok()?;
    let started = runtime.start(&id)?;
    runtime.wait_for_status(&id, "stopped")?;
    ensure!(!bundle.in_rootfs("ran").exists(), "the process ran");
    Ok((id, started))
}

fn failing_start_container_hook_stops_the_container(runtime: &Runtime) -> TestResult {
    let (id, _) = start_with_a_failing_hook(runtime)?;
    runtime.delete(&id)?.ok()?;
    Ok(())
}

fn failing_start_container_hook_fails_start(runtime: &Runtime) -> TestResult {
    let (_, started) = start_with_a_failing_hook(runtime)?;
    let started = started.exits(1)?;
    for words in ["startContainer", "exit status 3", "last words"] {
        ensure!(started.stderr.contains(words), "without {words:?}: {started}");
    }
    Ok(())
}

fn failing_poststart_hook_stops_the_container(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = runtime.bundle_with(FOREVER, |config| {
        hook(config, "poststart", shell("echo last words >&2; exit 3"));
    })?;
    runtime.create(&bundle, &id)?.ok()?;
    let started = runtime.start(&id)?.exits(1)?;
    ensure!(started.stderr.contains("last words"), "without its words: {started}");
    runtime.wait_until("the end of the process", || {
        Ok(runtime.status(&id).is_ok_and(|status| status == "stopped")
            || runtime.containers().is_empty())
    })?;
    Ok(())
}

fn failing_poststop_hook_is_a_warning(runtime: &Runtime) -> TestResult {
    let (log, id) = (Log::new(runtime)?, runtime.new_id());
    let bundle = runtime.bundle_with(FOREVER, |config| {
        hook(config, "poststop", shell("echo last words >&2; exit 3"));
        hook(config, "poststop", log.line("the next"));
    })?;
    runtime.create(&bundle, &id)?.ok()?;
    runtime.delete_force(&id)?.ok()?;
    ensure_eq!(log.read(), "the next\n");
    nothing_left(runtime)
}

/// runtime.md, lifecycle: the failure of such a hook goes on at step 12, and 13 are the poststop hooks.
fn poststop_hooks_run_after_a_create_that_fails(runtime: &Runtime) -> TestResult {
    let log = Log::new(runtime)?;
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let bundle = runtime.bundle_with(FOREVER, |config| {
            hook(config, kind, shell("exit 3"));
            hook(config, "poststop", log.line(kind));
        })?;
        runtime.create(&bundle, &runtime.new_id())?.fails()?;
        nothing_left(runtime)?;
    }
    let bundle = runtime.bundle_with(&["/no/such/program"], |config| {
        hook(config, "poststop", log.line("program"));
    })?;
    runtime.create(&bundle, &runtime.new_id())?.fails()?;
    ensure_eq!(log.lines(), ["prestart", "createRuntime", "createContainer", "program"]);
    nothing_left(runtime)
}

fn poststop_hooks_run_after_a_run_whose_poststart_fails(runtime: &Runtime) -> TestResult {
    let log = Log::new(runtime)?;
    let bundle = runtime.bundle_with(FOREVER, |config| {
        hook(config, "poststart", shell("exit 3"));
        hook(config, "poststop", log.line("stopped"));
    })?;
    runtime.run(&bundle)?.fails()?;
    ensure_eq!(log.read(), "stopped\n");
    nothing_left(runtime)
}

fn poststop_hooks_run_for_a_create_that_was_killed(runtime: &Runtime) -> TestResult {
    let (log, id) = (Log::new(runtime)?, runtime.new_id());
    let bundle = runtime.bundle_with(FOREVER, |config| {
        hook(config, "createRuntime", log.output("echo made; exec sleep 1000"));
        hook(config, "poststop", log.line("stopped"));
    })?;
    let create = runtime.command(["create", "--bundle"]).arg(bundle.path()).arg(&id).spawn()?;
    runtime.wait_until("the hook", || Ok(log.read() == "made\n"))?;
    create.signal(rustix::process::Signal::KILL)?;
    create.wait()?;
    runtime.delete_force(&id)?.ok()?;
    ensure_eq!(log.read(), "made\nstopped\n");
    Ok(())
}

fn missing_hook_is_named(runtime: &Runtime) -> TestResult {
    for kind in ["createRuntime", "createContainer"] {
        let bundle = runtime.bundle_with(FOREVER, |config| {
            hook(config, kind, json!({ "path": "/no/such/hook" }));
        })?;
        let outcome = runtime.create(&bundle, &runtime.new_id())?.fails()?;
        ensure!(outcome.stderr.contains("/no/such/hook"), "not named: {outcome}");
        nothing_left(runtime)?;
    }
    Ok(())
}

fn relative_hook_is_refused(runtime: &Runtime) -> TestResult {
    for kind in ["prestart", "createContainer", "startContainer", "poststop"] {
        let bundle = runtime
            .bundle_with(FOREVER, |config| hook(config, kind, json!({ "path": "bin/sh" })))?;
        runtime.create(&bundle, &runtime.new_id())?.fails_with(&format!("/hooks/{kind}/0/path"))?;
    }
    nothing_left(runtime)
}

/// `create` with this hook and a timeout of one second; it must fail in good time.
fn times_out(runtime: &Runtime, kind: &str, script: &str) -> TestResult {
    let mut late = shell(script);
    late["timeout"] = json!(1);
    let bundle = runtime.bundle_with(FOREVER, |config| hook(config, kind, late))?;
    let begin = Instant::now();
    runtime.create(&bundle, &runtime.new_id())?.fails()?;
    let took = begin.elapsed();
    ensure!(
        (Duration::from_secs(1)..Duration::from_secs(8)).contains(&took),
        "{kind} took {took:?}"
    );
    Ok(())
}

fn timeout_ends_the_hook(runtime: &Runtime) -> TestResult {
    for kind in ["createRuntime", "createContainer"] {
        times_out(runtime, kind, "exec sleep 888")?;
        nothing_left(runtime)?;
    }
    Ok(())
}

fn timeout_ends_the_hooks_children(runtime: &Runtime) -> TestResult {
    for kind in ["createRuntime", "createContainer"] {
        times_out(runtime, kind, "sleep 888 & sleep 888; true")?;
        nothing_left(runtime)?;
    }
    Ok(())
}

fn timeout_that_is_not_positive_is_refused(runtime: &Runtime) -> TestResult {
    for timeout in [0, -1] {
        let mut late = shell("true");
        late["timeout"] = json!(timeout);
        let bundle = runtime.bundle_with(FOREVER, |config| hook(config, "createRuntime", late))?;
        runtime.create(&bundle, &runtime.new_id())?.fails_with("/hooks/createRuntime/0/timeout")?;
    }
    nothing_left(runtime)
}

fn hook_that_leaves_a_child_does_not_hang_create(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = runtime
        .bundle_with(FOREVER, |config| hook(config, "createRuntime", shell("sleep 15 & true")))?;
    let begin = Instant::now();
    runtime.create(&bundle, &id)?.ok()?;
    let took = begin.elapsed();
    ensure!(took < Duration::from_secs(10), "took {took:?}");
    runtime.delete_force(&id)?.ok()?;
    // What a hook that succeeded has left is its own affair, and here the test's.
    for pid in
        leaks::processes(runtime.marker()).into_iter().filter_map(rustix::process::Pid::from_raw)
    {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
    }
    Ok(())
}
