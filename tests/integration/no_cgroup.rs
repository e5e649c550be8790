//! Containers without a cgroup of their own: by `--cgroup-manager disabled`, which as root shows what users have where nothing
//! is delegated to them.
//!
//! Runs in: any process.

use std::fs;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::bundle::remove;
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{self, Corten, NotOn, Root};
use crate::inside::nothing_left;
use crate::runtime::{Outcome, Runtime};

const NO_FLAG: Need = NotOn("runc", "has no such flag");
const OURS: Need = Corten("crun goes by the cgroup that it does not have");

table! {
    container_without_cgroup_stays_in_that_of_the_caller: [Root, NO_FLAG],
    exec_without_cgroup_stays_in_that_of_the_caller: [Root, NO_FLAG],
    exec_with_a_cgroup_and_none_there_is_refused: [Root, OURS],
    ps_without_cgroup_shows_the_pid_namespace: [Root, OURS],
    kill_all_without_cgroup_reaches_the_pid_namespace: [Root, OURS],
    delete_force_without_cgroup_ends_all: [Root, NO_FLAG],
    kill_without_cgroup_and_pid_namespace_ends_init_and_warns: [Root, OURS],
    create_without_cgroup_and_pid_namespace_is_discouraged: [Root, OURS],
    what_needs_a_cgroup_says_so: [Root, OURS],
    limits_without_cgroup_are_refused: [Root, OURS],
    create_without_cgroup_that_fails_leaves_nothing: [Root, NO_FLAG],
}

fn call(runtime: &Runtime, arguments: &[&str]) -> Result<Outcome, Failed> {
    runtime.command(arguments).global("--cgroup-manager").global("disabled").output()
}

/// A running container with three processes; one of them in a pid namespace below.
fn family(runtime: &Runtime, change: impl FnOnce(&mut Value)) -> Result<String, Failed> {
    let script = "trap 'echo init; exit' TERM; sh -c 'trap \"echo child; exit\" TERM; echo ready; while :; do sleep 0.1; done' & \
        while :; do sleep 0.1; done";
    let bundle = runtime.bundle_with(&["sh", "-c", script], |config| {
        config["linux"]["resources"] = Value::Null;
        change(config);
    })?;
    let id = runtime.new_id();
    let path = bundle.path().to_str().ok_or("path")?;
    call(runtime, &["create", "--bundle", path, &id])?.ok()?;
    runtime.start(&id)?.ok()?;
    runtime.wait_until("two shells", || Ok(shells(runtime).len() >= 2))?;
    Ok(id)
}

/// The test's processes that execute a shell in a container.
fn shells(runtime: &Runtime) -> Vec<i32> {
    let is_shell = |pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"sh\0-c\0trap"))
    };
    crate::leaks::processes(runtime.marker()).into_iter().filter(is_shell).collect()
}

fn cgroups(pid: &str) -> Result<String, Failed> {
    Ok(fs::read_to_string(format!("/proc/{pid}/cgroup"))?)
}

fn container_without_cgroup_stays_in_that_of_the_caller(runtime: &Runtime) -> TestResult {
    let id = family(runtime, |_| ())?;
    ensure_eq!(runtime.status(&id)?, "running");
    ensure_eq!(cgroups(&runtime.pid(&id)?.to_string())?, cgroups("self")?);
    runtime.kill(&id, "KILL")?.ok()?;
    runtime.wait_for_status(&id, "stopped")?;
    runtime.delete(&id)?.ok()?;
    nothing_left(runtime)
}

fn exec_without_cgroup_stays_in_that_of_the_caller(runtime: &Runtime) -> TestResult {
    let id = family(runtime, |config| {
        remove(config, "/linux/namespaces", "type", "cgroup");
    })?;
    let exec = runtime.command(["exec", &id, "cat", "/proc/self/cgroup"]).output()?.ok()?;
    ensure_eq!(exec.stdout, cgroups("self")?);
    Ok(())
}

fn exec_with_a_cgroup_and_none_there_is_refused(runtime: &Runtime) -> TestResult {
    let id = family(runtime, |_| ())?;
    let exec = runtime.command(["exec", "--cgroup", "x", &id, "true"]).output()?;
    exec.fails_with("it has no cgroup of its own")?;
    Ok(())
}

fn ps_without_cgroup_shows_the_pid_namespace(runtime: &Runtime) -> TestResult {
    let id = family(runtime, |_| ())?;
    let mut seen = Vec::new();
    // The sleeps of the shells come and go.
    runtime.wait_until("ps to show both shells", || {
        let ps = runtime.command(["ps", "--format", "json", &id]).output()?.ok()?;
        let pids: Vec<i32> = serde_json::from_str(&ps.stdout)?;
        Ok(shells(runtime).iter().all(|pid| pids.contains(pid)))
    })?;
    let ps = runtime.command(["ps", "--format", "json", &id]).output()?.ok()?;
    seen.extend(serde_json::from_str::<Vec<i32>>(&ps.stdout)?);
    ensure!(!seen.contains(&i32::try_from(std::process::id())?), "our own pid is in {seen:?}");
    Ok(())
}

fn kill_all_without_cgroup_reaches_the_pid_namespace(runtime: &Runtime) -> TestResult {
    let id = family(runtime, |_| ())?;
    runtime.command(["kill", "--all", &id, "TERM"]).output()?.ok()?;
    runtime.wait_for_status(&id, "stopped")?;
    runtime.delete(&id)?.ok()?;
    nothing_left(runtime)?;
    // Of one that has ended, and of one that is told to end at once.
    let id = family(runtime, |_| ())?;
    runtime.command(["kill", "--all", &id, "KILL"]).output()?.ok()?;
    ensure_eq!(shells(runtime), [] as [i32; 0]);
    runtime.command(["kill", "--all", &id, "KILL"]).output()?.ok()?;
    Ok(())
}

fn delete_force_without_cgroup_ends_all(runtime: &Runtime) -> TestResult {
    let id = family(runtime, |_| ())?;
    runtime.delete(&id)?.fails()?;
    runtime.delete_force(&id)?.ok()?;
    nothing_left(runtime)
}

fn kill_without_cgroup_and_pid_namespace_ends_init_and_warns(runtime: &Runtime) -> TestResult {
    let id = family(runtime, |config| {
        remove(config, "/linux/namespaces", "type", "pid");
    })?;
    let ps = runtime.command(["ps", &id]).output()?;
    ps.fails_with("neither a cgroup nor a pid namespace of its own")?;
    let kill = runtime.command(["kill", &id, "KILL"]);
    let killed = kill.global("--log-level").global("warning").output()?.ok()?;
    ensure!(killed.stderr.contains("only its init gets SIGKILL"), "{killed}");
    runtime.wait_for_status(&id, "stopped")?;
    runtime.delete(&id)?.ok()?;
    // What was warned of.
    for pid in shells(runtime) {
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(pid).ok_or("pid")?,
            rustix::process::Signal::KILL,
        )?;
    }
    Ok(())
}

/// In runc's words, which its own suite looks for.
fn create_without_cgroup_and_pid_namespace_is_discouraged(runtime: &Runtime) -> TestResult {
    for shares_pids in [true, false] {
        let bundle = runtime.bundle_with(&["true"], |config| {
            config["linux"]["resources"] = Value::Null;
            if shares_pids {
                remove(config, "/linux/namespaces", "type", "pid");
            }
        })?;
        let (id, path) = (runtime.new_id(), bundle.path().to_str().ok_or("path")?);
        let created = call(runtime, &["create", "--bundle", path, &id])?.ok()?;
        let is_said = created.stderr.contains("Such configuration is strongly discouraged");
        ensure!(is_said == shares_pids, "{created}");
    }
    Ok(())
}

fn what_needs_a_cgroup_says_so(runtime: &Runtime) -> TestResult {
    let id = family(runtime, |_| ())?;
    for arguments in
        [&["pause", &id][..], &["update", "--pids-limit", "9", &id], &["events", "--stats", &id]]
    {
        runtime.command(arguments).output()?.fails_with("it has no cgroup of its own")?;
    }
    runtime.command(["resume", &id]).output()?.fails_with("container not paused")?;
    Ok(())
}

fn limits_without_cgroup_are_refused(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["true"], |config| {
        config["linux"]["resources"]["pids"] = json!({ "limit": 9 });
    })?;
    let path = bundle.path().to_str().ok_or("path")?;
    let refused = call(runtime, &["run", "--bundle", path, &runtime.new_id()])?;
    refused.fails_with("/linux/resources/pids/limit: needs a cgroup")?;
    nothing_left(runtime)
}

fn create_without_cgroup_that_fails_leaves_nothing(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["/no/such/program"], |config| {
        config["linux"]["resources"] = Value::Null;
    })?;
    let path = bundle.path().to_str().ok_or("path")?;
    call(runtime, &["run", "--bundle", path, &runtime.new_id()])?.fails()?;
    nothing_left(runtime)
}
