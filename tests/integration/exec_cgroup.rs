//! Where `exec` puts its process: the container's cgroup, one below, or where init has gone; and on which CPUs.
//!
//! Runs in: any process.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::exec::{exec, exec_with, process_file, running, sh};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{NotOn, Root};
use crate::inside::proc_file;
use crate::runtime::Runtime;

const OTHER_WORDS: &str = "has other words for it";
const OLD: &str = "1.1.5 has it not yet";

table! {
    sub_cgroup_takes_the_process: [Root],
    sub_cgroup_that_is_missing_or_outside_is_refused: [Root, NotOn("crun", OTHER_WORDS), NotOn("runc", OTHER_WORDS)],
    init_that_has_gone_elsewhere_is_followed_when_its_cgroup_is_gone: [Root, NotOn("runc", OLD), NotOn("crun", OLD)],
    init_in_a_threaded_cgroup_is_followed:
        [Root, NotOn("crun", "does not follow it")],
    paused_container_is_refused: [Root, NotOn("crun", OTHER_WORDS)],
    paused_container_takes_a_process_that_waits: [Root, NotOn("crun", "has no such flag")],
    affinity_of_the_caller_is_not_inherited: [Root, NotOn("runc", OLD), NotOn("crun", OLD)],
    affinity_that_was_asked_for_holds: [Root, NotOn("runc", OLD), NotOn("crun", OLD)],
}

/// The directory of the cgroup of a process.
fn cgroup_of(pid: i32) -> Result<PathBuf, Failed> {
    let text = proc_file(pid, "cgroup")?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).ok_or("no line 0::")?;
    let root = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        "/sys/fs/cgroup"
    } else {
        "/sys/fs/cgroup/unified"
    };
    Ok(Path::new(root).join(path))
}

/// The line of the cgroup that a process of exec sees, in a container without a cgroup namespace.
fn seen(runtime: &Runtime, flags: &[&str], id: &str) -> Result<String, Failed> {
    let text = sh(runtime, flags, id, "cat /proc/self/cgroup")?;
    let line = text.lines().find(|line| line.starts_with("0::")).ok_or("no line 0::")?;
    Ok(line.rsplit('/').next().unwrap_or_default().to_owned())
}

fn without_cgroup_namespace(config: &mut Value) {
    crate::bundle::remove(config, "/linux/namespaces", "type", "cgroup");
}

/// A directory for the test, which is removed when the container is.
struct Made(PathBuf);

impl Drop for Made {
    fn drop(&mut self) {
        fs::remove_dir(&self.0).ok();
    }
}

fn make(path: PathBuf) -> std::io::Result<Made> {
    fs::create_dir(&path)?;
    Ok(Made(path))
}

fn sub_cgroup_takes_the_process(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, without_cgroup_namespace)?;
    let own = cgroup_of(runtime.pid(&id)?)?;
    let _sub = make(own.join("below"))?;
    ensure_eq!(seen(runtime, &["--cgroup", "below"], &id)?, "below");
    let name = own.file_name().unwrap_or_default().to_string_lossy().into_owned();
    ensure_eq!(seen(runtime, &[], &id)?, name);
    ensure_eq!(seen(runtime, &["--cgroup", "/"], &id)?, name);
    runtime.delete_force(&id)?.ok()?;
    Ok(())
}

fn sub_cgroup_that_is_missing_or_outside_is_refused(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let sub = |path: &str| exec_with(runtime, &["--cgroup", path], &id, &["true"]).output();
    sub("missing")?.fails_with("no such file or directory")?;
    for path in ["..", "../../", "x/../..", "../x"] {
        sub(path)?.exits(255)?.fails_with("bad sub cgroup path")?;
    }
    sub("cpu:x")?.fails_with("cgroup v1")?;
    Ok(())
}

fn init_that_has_gone_elsewhere_is_followed_when_its_cgroup_is_gone(
    runtime: &Runtime,
) -> TestResult {
    let (id, _bundle) = running(runtime, without_cgroup_namespace)?;
    let pid = runtime.pid(&id)?;
    let own = cgroup_of(pid)?;
    let other = make(own.with_file_name(format!("{}other", runtime.marker())))?;
    fs::write(other.0.join("cgroup.procs"), pid.to_string())?;
    fs::remove_dir(&own)?;
    ensure_eq!(seen(runtime, &[], &id)?, format!("{}other", runtime.marker()));
    runtime.delete_force(&id)?.ok()?;
    runtime.wait_until("the end of init", || {
        Ok(fs::read_to_string(other.0.join("cgroup.procs"))?.is_empty())
    })
}

/// The container's own cgroup becomes `domain invalid` then, and takes nobody (cgroups(7)).
fn init_in_a_threaded_cgroup_is_followed(runtime: &Runtime) -> TestResult {
    let path = format!("/{}/own", runtime.marker());
    let (id, _bundle) = running(runtime, |config| {
        without_cgroup_namespace(config);
        config["linux"]["cgroupsPath"] = json!(path);
    })?;
    let pid = runtime.pid(&id)?;
    let own = cgroup_of(pid)?;
    let above = own.parent().ok_or("no parent")?;
    // With the controllers that the runtime has switched on for the container nothing there could be threaded.
    let control = above.join("cgroup.subtree_control");
    for name in fs::read_to_string(&control)?.split_whitespace() {
        fs::write(&control, format!("-{name}"))?;
    }
    let threaded = make(above.join("threaded"))?;
    // Nobody may be in a domain there meanwhile.
    let aside = make(above.with_file_name(format!("{}aside", runtime.marker())))?;
    fs::write(aside.0.join("cgroup.procs"), pid.to_string())?;
    fs::write(threaded.0.join("cgroup.type"), "threaded")?;
    fs::write(threaded.0.join("cgroup.procs"), pid.to_string())?;
    ensure_eq!(fs::read_to_string(own.join("cgroup.type"))?, "domain invalid\n");
    ensure_eq!(seen(runtime, &[], &id)?, "threaded");
    let explicit = exec_with(runtime, &["--cgroup", "/"], &id, &["true"]).output()?;
    explicit.fails_with(" to cgroups")?;
    runtime.delete_force(&id)?.ok()?;
    runtime.wait_until("the end of init", || Ok(fs::remove_dir(&threaded.0).is_ok()))?;
    fs::remove_dir(above).ok();
    Ok(())
}

fn freeze(cgroup: &Path, value: &str) -> std::io::Result<()> {
    fs::write(cgroup.join("cgroup.freeze"), value)
}

fn paused_container_is_refused(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let cgroup = cgroup_of(runtime.pid(&id)?)?;
    freeze(&cgroup, "1")?;
    let refused = exec(runtime, &id, &["true"]).output()?;
    freeze(&cgroup, "0")?;
    refused.fails_with("cannot exec in a paused container (use --ignore-paused to override)")?;
    exec(runtime, &id, &["true"]).output()?.ok()?;
    Ok(())
}

fn paused_container_takes_a_process_that_waits(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let cgroup = cgroup_of(runtime.pid(&id)?)?;
    freeze(&cgroup, "1")?;
    let call = exec_with(runtime, &["--ignore-paused"], &id, &["echo", "awake"]).spawn()?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    let early = call.stdout();
    freeze(&cgroup, "0")?;
    ensure_eq!(early, "");
    ensure_eq!(call.wait()?.ok()?.stdout, "awake\n");
    Ok(())
}

const CPUS: &str = "grep Cpus_allowed_list /proc/self/status | cut -f2";

fn affinity_of_the_caller_is_not_inherited(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let all = proc_file(runtime.pid(&id)?, "status")?;
    let all = crate::inside::field(&all, "Cpus_allowed_list")?;
    let pinned = exec(runtime, &id, &["sh", "-c", CPUS])
        .wrapped_by(["taskset", "-c", "0"])
        .output()?
        .ok()?;
    ensure_eq!(pinned.stdout.trim(), all);
    Ok(())
}

fn affinity_that_was_asked_for_holds(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |config| {
        config["process"]["execCPUAffinity"] = json!({ "initial": "0", "final": "0" });
    })?;
    ensure_eq!(sh(runtime, &[], &id, CPUS)?, "0\n");
    let other = process_file(
        runtime,
        json!({ "args": ["sh", "-c", CPUS], "execCPUAffinity": { "final": "1" } }),
    )?;
    let outcome = exec_with(runtime, &["--process", &other], &id, &[]).output()?;
    ensure!(outcome.stdout == "1\n" || outcome.code() == 255, "{outcome}");
    let initial = process_file(
        runtime,
        json!({ "args": ["sh", "-c", format!("{CPUS}; cat /proc/self/cgroup")], "execCPUAffinity": { "initial": "0" } }),
    )?;
    let outcome = exec_with(runtime, &["--process", &initial], &id, &[]).output()?.ok()?;
    ensure!(outcome.stdout.starts_with("0\n") && outcome.stdout.contains("0::/\n"), "{outcome}");
    Ok(())
}
