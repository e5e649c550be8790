//! What a process sees inside its container, and what a refusal leaves outside.
//!
//! Runs in: any process.

use std::fs;
use std::path::Path;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::bundle::add;
use crate::harness::{TestResult, ensure};
use crate::leaks;
use crate::runtime::{Outcome, Runtime};

/// Runs `script` with the container's shell in the foreground; it must end with 0. Returns what it printed.
pub fn sh(
    runtime: &Runtime,
    script: &str,
    change: impl FnOnce(&mut Value),
) -> Result<String, Failed> {
    output(runtime, &["sh", "-c", script], change)
}

/// Runs a program in the foreground; it must end with 0. Returns what it printed.
pub fn output(
    runtime: &Runtime,
    arguments: &[&str],
    change: impl FnOnce(&mut Value),
) -> Result<String, Failed> {
    let bundle = runtime.bundle_with(arguments, change)?;
    Ok(runtime.run(&bundle)?.ok()?.stdout)
}

/// `create` must fail and leave nothing; returns how it failed.
pub fn refusal(runtime: &Runtime, change: impl FnOnce(&mut Value)) -> Result<Outcome, Failed> {
    let bundle = runtime.bundle_with(&["true"], change)?;
    let outcome = runtime.create(&bundle, &runtime.new_id())?.fails()?;
    nothing_left(runtime)?;
    Ok(outcome)
}

/// `create` must fail with a message that has all of these texts, and leave nothing.
pub fn refuses(runtime: &Runtime, texts: &[&str], change: impl FnOnce(&mut Value)) -> TestResult {
    let outcome = refusal(runtime, change)?;
    for text in texts {
        ensure!(outcome.stderr.contains(text), "expected an error with {text:?}: {outcome}");
    }
    Ok(())
}

/// No state, process, cgroup or mount of this test, now or soon.
pub fn nothing_left(runtime: &Runtime) -> TestResult {
    let states = runtime.containers();
    ensure!(states.is_empty(), "state of {states:?} is left");
    runtime.wait_until("the end of processes, cgroups and mounts", || {
        leaks::reap(runtime.marker());
        Ok(leaks::find(runtime.marker()).is_empty())
    })
}

/// One line of /proc/PID/mountinfo; see proc(5).
#[derive(Debug, Clone)]
pub struct Mount {
    /// The directory of the file system that is the root of this mount.
    pub root: String,
    pub target: String,
    /// Of the mount: `ro`, `nosuid`, ...
    pub options: Vec<String>,
    /// `shared:N`, `master:N`, `propagate_from:N`, `unbindable`.
    pub propagation: Vec<String>,
    pub fstype: String,
    pub source: String,
    /// Of the file system.
    pub superblock: Vec<String>,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let mut filesystem = filesystem.split(' ');
        Some(Self {
            root: mount.next()?.to_owned(),
            target: mount.next()?.to_owned(),
            options: words(mount.next()?),
            propagation: mount.map(str::to_owned).collect(),
            fstype: filesystem.next()?.to_owned(),
            source: filesystem.next()?.to_owned(),
            superblock: words(filesystem.next()?),
        })
    }

    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|word| word == option)
    }

    pub fn superblock_has(&self, option: &str) -> bool {
        self.superblock.iter().any(|word| word == option)
    }

    /// `shared`, `master`, `unbindable`, or `private` for none of them.
    pub fn propagates(&self) -> String {
        let kinds = self.propagation.iter().filter_map(|word| word.split(':').next());
        let kinds: Vec<_> = kinds.collect();
        if kinds.is_empty() { "private".to_owned() } else { kinds.join("+") }
    }
}

fn words(list: &str) -> Vec<String> {
    list.split(',').map(str::to_owned).collect()
}

/// The mounts of a process, as text of its mountinfo.
pub fn mounts(mountinfo: &str) -> Vec<Mount> {
    mountinfo.lines().filter_map(Mount::parse).collect()
}

/// The uppermost mount at `target`.
pub fn mount_at<'a>(mounts: &'a [Mount], target: &str) -> Result<&'a Mount, Failed> {
    let found = mounts.iter().rev().find(|mount| mount.target == target);
    found.ok_or_else(|| format!("nothing is mounted at {target}: {mounts:#?}").into())
}

/// The mounts that a container with this configuration sees.
pub fn mountinfo(runtime: &Runtime, change: impl FnOnce(&mut Value)) -> Result<Vec<Mount>, Failed> {
    Ok(mounts(&output(runtime, &["cat", "/proc/self/mountinfo"], change)?))
}

/// A field of /proc/PID/status: `CapEff`, `SigBlk`, `Groups`; without the spaces around it.
pub fn field<'a>(status: &'a str, name: &str) -> Result<&'a str, Failed> {
    let lines = status.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(key, _)| *key == name).map(|(_, value)| value.trim());
    values.next().ok_or_else(|| format!("no {name} in {status}").into())
}

/// The words of the first line that begins with `label` and a space.
pub fn labelled<'a>(text: &'a str, label: &str) -> Result<&'a str, Failed> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(first, _)| *first == label).map(|(_, rest)| rest);
    found.ok_or_else(|| format!("no line {label:?} in {text}").into())
}

/// A file of /proc/PID, as the host has it.
pub fn proc_file(pid: i32, file: &str) -> Result<String, Failed> {
    Ok(fs::read_to_string(format!("/proc/{pid}/{file}"))?)
}

/// What a namespace file of a process says it is: `mnt:[4026531841]`.
pub fn namespace_of(pid: i32, kind: &str) -> Result<String, Failed> {
    Ok(fs::read_link(format!("/proc/{pid}/ns/{kind}"))?.to_string_lossy().into_owned())
}

/// Adds a tmpfs to `/mounts`.
pub fn tmpfs(config: &mut Value, target: &str, options: &[&str]) {
    let mount =
        json!({ "destination": target, "type": "tmpfs", "source": "tmpfs", "options": options });
    add(config, "/mounts", mount);
}

/// Adds a bind to `/mounts`; `options` need `bind` or `rbind`.
pub fn bind(config: &mut Value, target: &str, source: impl AsRef<Path>, options: &[&str]) {
    let source = source.as_ref();
    let mount =
        json!({ "destination": target, "type": "bind", "source": source, "options": options });
    add(config, "/mounts", mount);
}
