//! What a test left behind: anything on this machine that bears its marker.
//!
//! Every test has a marker, a word that is in its container ids (hence in cgroup paths), in its directory's path
//! (hence in mounts and arguments) and in the environment of its processes.
//!
//! Runs in: any process.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

const CGROUP_ROOT: &str = "/sys/fs/cgroup";
/// The kernel ends processes and cgroups a little later than kill and rmdir return.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Lists what bears the marker, after it had time to go; then removes it, so that one leak is not everybody's.
pub fn settle(marker: &str) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        reap(marker);
        let left = find(marker);
        if left.is_empty() {
            return left;
        }
        if Instant::now() >= deadline {
            sweep(marker);
            return left;
        }
        sleep(Duration::from_millis(5));
    }
}

/// The harness is a subreaper, as an engine's monitor is: what a runtime orphaned ends as its child.
pub fn reap(marker: &str) {
    for pid in processes(marker).into_iter().filter_map(Pid::from_raw) {
        // Not our child, or not ended: not ours to reap.
        waitpid(Some(pid), WaitOptions::NOHANG).ok();
    }
}

/// What bears the marker now, one line each.
pub fn find(marker: &str) -> Vec<String> {
    let processes = processes(marker).into_iter().map(|pid| format!("process {}", describe(pid)));
    let cgroups = cgroups(marker).into_iter().map(|path| format!("cgroup {}", path.display()));
    let mounts = mounts(marker).into_iter().map(|path| format!("mount {path}"));
    processes.chain(cgroups).chain(mounts).collect()
}

fn sweep(marker: &str) {
    for pid in processes(marker).into_iter().filter_map(Pid::from_raw) {
        // It may have ended by itself since.
        kill_process(pid, Signal::KILL).ok();
    }
    sleep(Duration::from_millis(50));
    reap(marker);
    for path in cgroups(marker).iter().rev() {
        fs::remove_dir(path).ok();
    }
    for path in mounts(marker).iter().rev() {
        umount2(path.as_str(), MntFlags::MNT_DETACH).ok();
    }
}

/// Processes whose arguments, environment, cgroup or mounts bear the marker; never this process.
pub fn processes(marker: &str) -> Vec<i32> {
    let own = fs::read_link("/proc/self/ns/mnt").unwrap_or_default();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| i64::from(*pid) != i64::from(std::process::id()))
        .filter(|pid| bears(*pid, marker, &own))
        .collect()
}

fn bears(pid: i32, marker: &str, own_mount_namespace: &Path) -> bool {
    let has = |file: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        bytes.windows(marker.len()).any(|window| window == marker.as_bytes())
    };
    let elsewhere = fs::read_link(format!("/proc/{pid}/ns/mnt"))
        .is_ok_and(|namespace| namespace != own_mount_namespace);
    has("cgroup") || has("cmdline") || has("environ") || (elsewhere && has("mountinfo"))
}

fn describe(pid: i32) -> String {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let state =
        read("status").lines().find(|l| l.starts_with("State")).unwrap_or("").replace('\t', " ");
    format!("{pid} {:?} {state}", read("cmdline").replace('\0', " "))
}

/// Cgroups whose name bears the marker, parents first.
fn cgroups(marker: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::from(CGROUP_ROOT)];
    while let Some(directory) = pending.pop() {
        if directory.to_str().is_some_and(|path| path.contains(marker)) {
            found.push(directory.clone());
        }
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        pending
            .extend(entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
    }
    found
}

fn mounts(marker: &str) -> Vec<String> {
    fs::read_to_string("/proc/self/mountinfo")
        .unwrap_or_default()
        .lines()
        .filter(|line| line.contains(marker))
        .filter_map(|line| line.split(' ').nth(4).map(str::to_owned))
        .collect()
}
