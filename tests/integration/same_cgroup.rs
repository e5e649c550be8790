//! Containers that share a cgroup, one after the other or one below the other: the end of one is not the end of the other.
//!
//! Engines have every container in a cgroup of its own; who writes `cgroupsPath` by hand, or restarts under the same path, has not.
//!
//! Runs in: any process.

use std::fs;

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::{TestResult, ensure_eq, table};
use crate::host::Need::{self, Corten, NotMapped, NotOrdinaryUser, Root};
use crate::inside::nothing_left;
use crate::leaks;
use crate::runtime::{Outcome, Runtime};

const PLACES: Need = NotOrdinaryUser("chooses where in the hierarchy a cgroup is");
const BY_ID: Need = Corten("the others go by the path alone");
const KEPT: Need = Corten(
    "crun 1.8 kills them; runc 1.1 says that the cgroup is busy, and forgets it with exit code 0",
);

table! {
    delete_spares_who_has_made_the_cgroup_anew: [Root, PLACES, BY_ID],
    forced_delete_spares_who_has_made_the_cgroup_anew: [Root, PLACES, BY_ID],
    kill_of_all_spares_who_has_made_the_cgroup_anew: [Root, PLACES, BY_ID],
    delete_spares_who_has_moved_into_the_cgroup: [Root, PLACES, KEPT],
    delete_spares_who_is_below: [Root, PLACES, KEPT],
    delete_of_a_created_one_spares_who_is_below: [Root, PLACES, KEPT],
    end_of_run_spares_who_is_below: [Root, PLACES, KEPT],
    forced_delete_ends_what_a_shared_pid_namespace_has_left: [Root, PLACES, NotMapped("a new proc needs a pid namespace of its own")],
}

/// Starts a container in the cgroup of this test, or `below` it.
fn start(runtime: &Runtime, below: &str) -> Result<String, Failed> {
    let id = create(runtime, below)?;
    runtime.start(&id)?.ok()?;
    Ok(id)
}

fn create(runtime: &Runtime, below: &str) -> Result<String, Failed> {
    let id = runtime.new_id();
    let bundle = runtime.bundle_with(&["sleep", "1000"], |config| put(runtime, config, below))?;
    runtime.create(&bundle, &id)?.ok()?;
    Ok(id)
}

fn put(runtime: &Runtime, config: &mut Value, below: &str) {
    config["linux"]["cgroupsPath"] = json!(format!("/{}{below}", runtime.marker()));
    // A controller is in the way of a cgroup below.
    config["linux"]["resources"] = json!({});
}

fn kill_init(runtime: &Runtime, id: &str) -> TestResult {
    kill_process(Pid::from_raw(runtime.pid(id)?).ok_or("no pid")?, Signal::KILL)?;
    runtime.wait_for_status(id, "stopped")
}

/// One whose init has ended, and whose cgroup somebody has removed.
fn left_behind(runtime: &Runtime) -> Result<String, Failed> {
    let id = start(runtime, "")?;
    kill_init(runtime, &id)?;
    let cgroup = format!("/sys/fs/cgroup/{}", runtime.marker());
    runtime.wait_until("the cgroup to be empty", || {
        leaks::reap(runtime.marker());
        Ok(fs::remove_dir(&cgroup).is_ok())
    })?;
    Ok(id)
}

fn delete_spares_who_has_made_the_cgroup_anew(runtime: &Runtime) -> TestResult {
    is_deleted_alone(runtime, Runtime::delete)
}

fn forced_delete_spares_who_has_made_the_cgroup_anew(runtime: &Runtime) -> TestResult {
    is_deleted_alone(runtime, Runtime::delete_force)
}

fn is_deleted_alone(
    runtime: &Runtime,
    delete: fn(&Runtime, &str) -> Result<Outcome, Failed>,
) -> TestResult {
    let (first, second) = (left_behind(runtime)?, start(runtime, "")?);
    delete(runtime, &first)?.ok()?;
    ensure_eq!(runtime.status(&second)?, "running");
    ensure_eq!(runtime.containers(), [second]);
    Ok(())
}

fn kill_of_all_spares_who_has_made_the_cgroup_anew(runtime: &Runtime) -> TestResult {
    let (first, second) = (left_behind(runtime)?, start(runtime, "")?);
    runtime.command(["kill", "--all", &first, "KILL"]).output()?.ok()?;
    ensure_eq!(runtime.status(&second)?, "running");
    Ok(())
}

/// What is refused as long as `second` runs can be done after.
fn delete_is_refused_while_it_runs(runtime: &Runtime, first: &str, second: &str) -> TestResult {
    let refused = runtime.delete(first)?.fails_with("device or resource busy")?;
    refused.fails_with(&format!("/{}", runtime.marker()))?.fails_with("(sleep, state S)")?;
    ensure_eq!(runtime.status(second)?, "running");
    ensure_eq!(runtime.status(first)?, "stopped");
    runtime.delete_force(second)?.ok()?;
    leaks::reap(runtime.marker());
    runtime.delete(first)?.ok()?;
    nothing_left(runtime)
}

fn delete_spares_who_has_moved_into_the_cgroup(runtime: &Runtime) -> TestResult {
    let first = start(runtime, "")?;
    kill_init(runtime, &first)?;
    leaks::reap(runtime.marker());
    let second = start(runtime, "")?;
    delete_is_refused_while_it_runs(runtime, &first, &second)
}

fn delete_spares_who_is_below(runtime: &Runtime) -> TestResult {
    let first = start(runtime, "")?;
    kill_init(runtime, &first)?;
    let second = start(runtime, "/below")?;
    delete_is_refused_while_it_runs(runtime, &first, &second)
}

fn delete_of_a_created_one_spares_who_is_below(runtime: &Runtime) -> TestResult {
    let (first, second) = (create(runtime, "")?, start(runtime, "/below")?);
    delete_is_refused_while_it_runs(runtime, &first, &second)
}

fn end_of_run_spares_who_is_below(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let script = ["sh", "-c", "echo ready; sleep 1000"];
    let bundle = runtime.bundle_with(&script, |config| put(runtime, config, ""))?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(&id).spawn()?;
    runtime.wait_until("the process", || Ok(run.stdout() == "ready\n"))?;
    let second = start(runtime, "/below")?;
    kill_process(Pid::from_raw(runtime.pid(&id)?).ok_or("no pid")?, Signal::KILL)?;
    run.wait()?;
    ensure_eq!(runtime.status(&second)?, "running");
    Ok(())
}

fn forced_delete_ends_what_a_shared_pid_namespace_has_left(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = runtime.bundle_with(&["sh", "-c", "sleep 900 & sleep 1000; true"], |config| {
        crate::bundle::remove(config, "/linux/namespaces", "type", "pid");
    })?;
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    runtime.wait_until("its children", || Ok(leaks::processes(runtime.marker()).len() == 3))?;
    kill_init(runtime, &id)?;
    runtime.delete_force(&id)?.ok()?;
    nothing_left(runtime)
}
