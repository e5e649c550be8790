//! Two calls on one container at once: a verb that finds a `create`, `run` or `start` at work.
//!
//! Runs in: any process.

use std::fs;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use serde_json::json;

use crate::bundle::{Bundle, add};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, Root};
use crate::inside::nothing_left;
use crate::runtime::Runtime;

const NO_STATE: &str = "the others have no state until create has returned";
const NO_LOCK: &str = "the others have no lock";

table! {
    delete_force_ends_a_create_that_hangs_in_a_hook: [Root, Corten(NO_STATE)],
    delete_force_does_not_wait_for_poststart_hooks: [Root, NotOn("runc", "1.1 runs them in create")],
    delete_force_takes_one_whose_intent_comes_late: [Root, Corten(NO_LOCK)],
    delete_of_one_that_is_being_run_needs_force: [Root, Corten(NO_STATE)],
    start_of_one_that_is_being_created_waits_for_it: [Root, Corten(NO_STATE)],
    kill_ends_a_create_that_hangs_in_a_hook: [Root, Corten(NO_STATE)],
}

const FOREVER: &[&str] = &["sleep", "1000"];
/// Far less than a lock's deadline.
const SOON: Duration = Duration::from_secs(5);

fn bundle_with_hook(runtime: &Runtime, kind: &str, script: &str) -> Result<Bundle, Failed> {
    runtime.bundle_with(FOREVER, |config| {
        let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script] });
        add(config, &format!("/hooks/{kind}"), hook);
    })
}

/// A script that says that it runs, by a file, and takes its time.
fn slow(runtime: &Runtime, seconds: u32) -> String {
    format!("touch {}; sleep {seconds}", runtime.directory().join("hook").display())
}

fn wait_for_hook(runtime: &Runtime) -> TestResult {
    runtime.wait_until("the hook", || Ok(runtime.directory().join("hook").exists()))
}

fn delete_force_ends_a_create_that_hangs_in_a_hook(runtime: &Runtime) -> TestResult {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let id = runtime.new_id();
        let bundle = bundle_with_hook(runtime, kind, &slow(runtime, 1000))?;
        let create = runtime.command(["create", "--bundle"]).arg(bundle.path()).arg(&id).spawn()?;
        wait_for_hook(runtime)?;
        let begin = Instant::now();
        runtime.delete_force(&id)?.ok()?;
        create.wait()?.fails()?;
        ensure!(begin.elapsed() < SOON, "{kind}: after {:?}", begin.elapsed());
        nothing_left(runtime)?;
        fs::remove_file(runtime.directory().join("hook"))?;
    }
    Ok(())
}

fn kill_ends_a_create_that_hangs_in_a_hook(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = bundle_with_hook(runtime, "createRuntime", &slow(runtime, 1000))?;
    let create = runtime.command(["create", "--bundle"]).arg(bundle.path()).arg(&id).spawn()?;
    wait_for_hook(runtime)?;
    ensure_eq!(runtime.status(&id)?, "creating");
    runtime.command(["kill", "--all", &id, "KILL"]).output()?.ok()?;
    create.wait()?.fails_with("createRuntime hook #0:")?;
    nothing_left(runtime)
}

fn delete_force_does_not_wait_for_poststart_hooks(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = bundle_with_hook(runtime, "poststart", &slow(runtime, 8))?;
    runtime.create(&bundle, &id)?.ok()?;
    let start = runtime.command(["start", &id]).spawn()?;
    wait_for_hook(runtime)?;
    let begin = Instant::now();
    runtime.delete_force(&id)?.ok()?;
    ensure!(begin.elapsed() < SOON, "after {:?}", begin.elapsed());
    start.wait()?.ok()?;
    nothing_left(runtime)
}

fn delete_force_takes_one_whose_intent_comes_late(runtime: &Runtime) -> TestResult {
    // An intent to copy: that of a container which waits.
    let (model, id) = (runtime.new_id(), runtime.new_id());
    runtime.create(&runtime.bundle(FOREVER)?, &model)?.ok()?;
    let intent = fs::read_to_string(runtime.root().join(&model).join("intent.json"))?;
    // A `create` that has only made its directory is this test.
    let directory = runtime.root().join(&id);
    fs::create_dir(&directory)?;
    let lock = open(&directory, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    let delete = runtime.command(["delete", "--force", &id]).spawn()?;
    std::thread::sleep(Duration::from_millis(200));
    fs::write(directory.join("intent.json"), intent.replace(&model, &id))?;
    drop(lock);
    delete.wait()?.ok()?;
    ensure_eq!(runtime.containers(), [model]);
    Ok(())
}

fn delete_of_one_that_is_being_run_needs_force(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = bundle_with_hook(runtime, "createRuntime", &slow(runtime, 1))?;
    let run = runtime.command(["run", "--detach", "--bundle"]).arg(bundle.path()).arg(&id);
    let run = run.spawn()?;
    wait_for_hook(runtime)?;
    runtime.delete(&id)?.fails_with("that is not stopped: running")?;
    run.wait()?.ok()?;
    ensure_eq!(runtime.status(&id)?, "running");
    Ok(())
}

fn start_of_one_that_is_being_created_waits_for_it(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = bundle_with_hook(runtime, "createRuntime", &slow(runtime, 1))?;
    let create = runtime.command(["create", "--bundle"]).arg(bundle.path()).arg(&id).spawn()?;
    wait_for_hook(runtime)?;
    runtime.start(&id)?.ok()?;
    create.wait()?.ok()?;
    ensure_eq!(runtime.status(&id)?, "running");
    Ok(())
}
