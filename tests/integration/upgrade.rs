//! The installed program is replaced under its containers: what one build has made, the next one shows, starts, changes, ends.
//!
//! `CORTEN_OTHER=PATH` names the build that was there before, an older one for instance. Without it both are the runtime under
//! test, as two files of which one is a few bytes longer.
//!
//! Runs in: any process.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Controller, Corten, NotMapped, NotOrdinaryUser, PureCgroup2, Root};
use crate::inside::nothing_left;
use crate::resources::{file, put};
use crate::runtime::{Invocation, Runtime};

const NO_CGROUP: &str = "no cgroup is delegated: pause and limits need one";

table! {
    containers_in_every_status_go_on: [Root, PureCgroup2, NotOrdinaryUser(NO_CGROUP)],
    limits_of_a_container_are_changed: [Root, PureCgroup2, NotOrdinaryUser(NO_CGROUP), Controller("pids")],
    foreground_run_ends_as_its_process_does: [Root],
    hooks_and_annotations_are_still_known: [Root],
    records_of_older_builds_are_enough: [Root, PureCgroup2, NotOrdinaryUser(NO_CGROUP), NotMapped("the record tells the ids, too"), Corten("its own files")],
    stopped_container_of_an_older_build_is_shown_and_deleted: [Root, Corten("its own files")],
}

/// Prints a line when it is started, and ends with 7 when it is asked to.
const SCRIPT: &str = "trap 'exit 7' TERM; echo started > /tmp/it; while :; do sleep 0.05; done";

/// The program at the path where callers have it.
#[derive(Debug)]
struct Installed<'a> {
    runtime: &'a Runtime,
    path: PathBuf,
}

impl<'a> Installed<'a> {
    fn before(runtime: &'a Runtime) -> Result<Self, Failed> {
        let path = runtime.directory().join("installed");
        let other = std::env::var_os("CORTEN_OTHER").map(PathBuf::from);
        copy(other.as_deref().unwrap_or(runtime.program()), &path, false)?;
        Ok(Self { runtime, path })
    }

    /// As dpkg does it: another file, by rename.
    fn replaced(self) -> Result<Self, Failed> {
        let next = self.path.with_extension("new");
        copy(self.runtime.program(), &next, true)?;
        fs::rename(next, &self.path)?;
        Ok(self)
    }

    /// The invocation that [`Runtime::command`] makes, of this program.
    fn call(&self, words: &[&str]) -> Invocation<'a> {
        let mut wrapper: Vec<OsString> = vec!["sh".into(), "-c".into()];
        wrapper.extend(["shift; exec \"$0\" \"$@\"".into(), self.path.clone().into()]);
        self.runtime.command(words).wrapped_by(wrapper)
    }

    fn create(&self, change: impl FnOnce(&mut Value)) -> Result<Made, Failed> {
        let bundle = self.runtime.bundle_with(&["sh", "-c", SCRIPT], change)?;
        let id = self.runtime.new_id();
        self.call(&["create", "--bundle"]).arg(bundle.path()).arg(&id).output()?.ok()?;
        Ok(Made { id, sign: bundle.in_rootfs("tmp/it") })
    }

    fn started(&self, change: impl FnOnce(&mut Value)) -> Result<Made, Failed> {
        let made = self.create(change)?;
        self.ok(&["start", &made.id])?;
        self.wait_for_its_start(&made)?;
        Ok(made)
    }

    fn wait_for_its_start(&self, made: &Made) -> TestResult {
        self.runtime.wait_until("the process's file", || Ok(made.sign.exists()))
    }

    fn ok(&self, words: &[&str]) -> Result<String, Failed> {
        Ok(self.call(words).output()?.ok()?.stdout)
    }

    fn state(&self, id: &str) -> Result<Value, Failed> {
        Ok(serde_json::from_str(&self.ok(&["state", id])?)?)
    }

    fn is(&self, made: &Made, status: &str) -> TestResult {
        let state = self.state(&made.id)?;
        ensure!(state["status"] == status, "{state} is not {status}");
        Ok(())
    }

    fn ends(&self, made: &Made) -> TestResult {
        self.ok(&["kill", &made.id, "KILL"])?;
        self.runtime.wait_until("its end", || Ok(self.state(&made.id)?["status"] == "stopped"))?;
        self.ok(&["delete", &made.id])?;
        Ok(())
    }
}

/// A container, and the file that its process makes.
#[derive(Debug)]
struct Made {
    id: String,
    sign: PathBuf,
}

/// By another process, as [`crate::bundle::copy_busybox`].
fn copy(from: &Path, to: &Path, longer: bool) -> TestResult {
    let script =
        "cp \"$1\" \"$2\" && chmod 755 \"$2\" && { [ -z \"$3\" ] || echo longer >> \"$2\"; }";
    let longer = if longer { "yes" } else { "" };
    let copied =
        Command::new("sh").args(["-c", script, "sh"]).args([from, to]).arg(longer).status()?;
    ensure!(copied.success(), "cp {}: {copied}", from.display());
    Ok(())
}

fn containers_in_every_status_go_on(runtime: &Runtime) -> TestResult {
    let before = Installed::before(runtime)?;
    let (created, running) = (before.create(|_| {})?, before.started(|_| {})?);
    let paused = before.started(|_| {})?;
    before.ok(&["pause", &paused.id])?;

    let next = before.replaced()?;
    next.is(&created, "created")?;
    next.is(&running, "running")?;
    next.is(&paused, "paused")?;
    ensure!(!created.sign.exists(), "it runs before start");
    next.ok(&["start", &created.id])?;
    next.wait_for_its_start(&created)?;
    next.is(&created, "running")?;
    ensure_eq!(next.ok(&["exec", &running.id, "cat", "/tmp/it", "/proc/1/comm"])?, "started\nsh\n");
    next.call(&["exec", &running.id, "sh", "-c", "exit 9"]).output()?.exits(9)?;
    next.ok(&["pause", &running.id])?;
    next.is(&running, "paused")?;
    next.ok(&["resume", &running.id])?;
    next.ok(&["resume", &paused.id])?;
    next.is(&paused, "running")?;
    next.ok(&["exec", &paused.id, "true"])?;
    [created, running, paused].iter().try_for_each(|made| next.ends(made))?;
    nothing_left(runtime)
}

fn limits_of_a_container_are_changed(runtime: &Runtime) -> TestResult {
    let before = Installed::before(runtime)?;
    let made = before.started(|config| put(config, &json!({ "pids": { "limit": 50 } })))?;
    ensure_eq!(file(runtime, &made.id, "pids.max")?, "50");
    let next = before.replaced()?;
    next.ok(&["update", "--pids-limit", "40", &made.id])?;
    ensure_eq!(file(runtime, &made.id, "pids.max")?, "40");
    next.ends(&made)
}

fn foreground_run_ends_as_its_process_does(runtime: &Runtime) -> TestResult {
    let before = Installed::before(runtime)?;
    let bundle = runtime.bundle(&["sh", "-c", SCRIPT])?;
    let id = runtime.new_id();
    let run = before.call(&["run", "--bundle"]).arg(bundle.path()).arg(&id).spawn()?;
    runtime.wait_until("its file", || Ok(bundle.in_rootfs("tmp/it").exists()))?;
    let next = before.replaced()?;
    next.ok(&["kill", &id, "TERM"])?;
    run.wait()?.exits(7)?;
    nothing_left(runtime)
}

fn hooks_and_annotations_are_still_known(runtime: &Runtime) -> TestResult {
    let before = Installed::before(runtime)?;
    let after = runtime.directory().join("after");
    let made = before.create(|config| {
        config["annotations"] = json!({ "org.example": "kept" });
        let script = format!("cat > {}", after.display());
        config["hooks"]["poststop"] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    })?;
    let next = before.replaced()?;
    ensure_eq!(next.state(&made.id)?["annotations"]["org.example"], "kept");
    next.ends(&made)?;
    let seen: Value = serde_json::from_str(&fs::read_to_string(&after)?)?;
    ensure_eq!(seen["id"], made.id);
    Ok(())
}

/// What older builds wrote, each named after its commit (`upgrade/README`).
const RECORDS: [(&str, &str); 2] = [
    ("0c17e26", include_str!("upgrade/0c17e26.json")),
    ("af503f4", include_str!("upgrade/af503f4.json")),
];

/// Each in the place of the one of a container that runs, with its names and numbers.
fn records_of_older_builds_are_enough(runtime: &Runtime) -> TestResult {
    let now = Installed::before(runtime)?.replaced()?;
    for (commit, old) in RECORDS {
        let made = now.started(|_| {})?;
        let file = runtime.root().join(&made.id).join("state.json");
        let current: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
        let mut graft: Value = serde_json::from_str(old)?;
        for name in ["id", "bundle", "rootfs", "bootId", "init", "cgroup"] {
            graft[name] = current[name].clone();
        }
        fs::write(&file, graft.to_string())?;
        let used = || -> TestResult {
            now.is(&made, "running")?;
            ensure_eq!(now.ok(&["exec", &made.id, "cat", "/tmp/it"])?, "started\n");
            now.ok(&["pause", &made.id])?;
            now.is(&made, "paused")?;
            now.ok(&["resume", &made.id])?;
            now.ends(&made)
        };
        used().map_err(|failed| format!("{commit}: {}", failed.message().unwrap_or("")))?;
    }
    Ok(())
}

/// As they are: of a machine that has been booted since.
fn stopped_container_of_an_older_build_is_shown_and_deleted(runtime: &Runtime) -> TestResult {
    let now = Installed::before(runtime)?.replaced()?;
    for (_, text) in RECORDS {
        let old: Value = serde_json::from_str(text)?;
        let id = old["id"].as_str().ok_or("no id")?;
        let directory = runtime.root().join(id);
        fs::create_dir_all(&directory)?;
        for name in ["intent.json", "state.json"] {
            fs::write(directory.join(name), text)?;
        }
        let state = now.state(id)?;
        ensure_eq!(state["status"], "stopped");
        ensure_eq!(state["bundle"], old["bundle"]);
        ensure_eq!(state["created"], old["created"]);
        ensure!(now.ok(&["list"])?.contains(id), "not in the list");
        now.call(&["exec", id, "true"]).output()?.fails()?;
        now.ok(&["delete", id])?;
        ensure!(!directory.exists(), "its directory is left");
    }
    Ok(())
}
