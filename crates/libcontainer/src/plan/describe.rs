//! Steps in words, and what to say when one of them fails.
//!
//! Runs in: any process.

use std::ffi::CStr;

use corten_plan::op::Value;
use corten_plan::wire::List;
use corten_plan::{Failure, Op, Stage};

use super::hints;
use super::types::{InitPlan, Origin};
use super::words::{CLONE, CLONE_VM, MS, MS_REMOUNT, RLIMITS, join};
use crate::error::InitError;

/// `CLONE_NEWNS|CLONE_NEWPID`.
pub fn clone_flags(flags: u32) -> String {
    join(CLONE, flags.into())
}

/// What a step does, in one line: `mount tmpfs on /dev/shm`.
pub fn step(op: &Op<'_>) -> String {
    match *op {
        Op::Join { kind, .. } => format!("join the {} namespace", namespaces(kind)),
        Op::JoinProcess { flags, .. } => {
            format!("join the {} namespace of init", namespaces(flags))
        }
        Op::EnterSent { kind } => format!("enter the new {} namespace", namespaces(kind)),
        Op::Unshare { flags } => format!("make the {} namespace", namespaces(flags)),
        Op::TimeOffsets => "open the offsets of the time namespace".into(),
        Op::TimeNamespace { .. } => "make the time namespace".into(),
        Op::Fork { flags } => match flags & !CLONE_VM {
            0 => "make init".into(),
            new => format!("make init in a new {} namespace", namespaces(new)),
        },
        Op::MappedIds { uid, gid } => format!("be uid {uid}, gid {gid} of the user namespace"),
        Op::NotDumpable => "let nobody in the container look into init".into(),
        Op::DieWithRuntime => "die with the runtime until the state is saved".into(),
        Op::Session => "begin a session".into(),
        Op::Keyring { name } => format!("make the session keyring {}", text(name)),
        Op::Loopback => "set the loopback device up".into(),
        Op::NetworkSocket => "give the runtime a socket of the network namespace".into(),
        Op::Sync { point: 1 } => "wait for the runtime, for hooks".into(),
        Op::Sync { point: 4 } => "wait for the runtime to see to id maps and limits".into(),
        Op::Sync { point: 3 } => "wait for systemd to make the cgroup".into(),
        Op::Sync { .. } => "wait for the runtime to save the state".into(),
        Op::Hook { path, .. } => format!("run the hook {}", text(path)),
        Op::Hostname { name } => format!("set the host name to {}", text(name)),
        Op::Domainname { name } => format!("set the domain name to {}", text(name)),
        Op::Sysctl { path, value } => format!("set the sysctl {} to {:?}", text(path), text(value)),
        Op::EndBySignals => "let HUP, INT, QUIT and TERM end init".into(),
        Op::WaitStart => "wait for start".into(),
        Op::CloseFds { first } => format!("close all files from {first} on"),
        _ => of_files(op).unwrap_or_else(|| of_process(op)),
    }
}

/// The steps that make the root file system.
fn of_files(op: &Op<'_>) -> Option<String> {
    Some(match *op {
        Op::Propagation { flags } | Op::RootPropagation { flags } => {
            format!("set the propagation of / to {}", join(MS, flags.into()))
        }
        Op::RootNamespace { path, .. } => {
            format!("make a mount namespace of {} alone, or copy all mounts", text(path))
        }
        Op::PrivateParent { path } => format!("make the mount that {} is on private", text(path)),
        Op::Rootfs { path } => format!("mount the root file system {}", text(path)),
        Op::OpenRoot { path } => format!("open the root file system {}", text(path)),
        Op::Directory { path, .. } => format!("make the directory {}", text(path)),
        Op::MountFs { target, fstype, .. } => mount(fstype, target),
        Op::MountData { target, ms_flags, .. } if ms_flags & MS_REMOUNT != 0 => {
            format!("remount {}", text(target))
        }
        Op::MountData { target, fstype, .. } => mount(fstype, target),
        Op::MountBind { source, target, .. } => mount(source, target),
        Op::Device { path, .. } => format!("make the device {}", text(path)),
        Op::Symlink { path, target, .. } => format!("link {} to {}", text(path), text(target)),
        Op::MaskPath { path, .. } => format!("mask {}", text(path)),
        Op::ReadonlyPath { path, .. } => format!("make {} read-only", text(path)),
        Op::Pivot { .. } => "make the root file system the root".into(),
        Op::MoveRoot => "move the root file system to the root".into(),
        Op::EnterRoot { .. } => "change the root to that of init".into(),
        Op::Chroot => "change the root to the root file system".into(),
        Op::RootAttr { .. } => "make the root file system read-only".into(),
        Op::MountAttr { path, .. } => format!("make the mount on {} read-only", text(path)),
        Op::Terminal { .. } => "set up the terminal".into(),
        Op::Stdio { uid, .. } => format!("give stdin, stdout and stderr to uid {uid}"),
        _ => return None,
    })
}

/// The steps that make the process.
fn of_process(op: &Op<'_>) -> String {
    match *op {
        Op::Rlimit { resource, soft, hard } => {
            format!("set {} to {} and {}", rlimit(resource), limit(soft), limit(hard))
        }
        Op::AllCpus => "allow all CPUs".to_owned(),
        Op::MemoryPolicy { .. } => "set the memory policy".to_owned(),
        Op::Affinity { .. } => "set the CPU affinity".to_owned(),
        Op::OomScoreAdj { adjustment } => format!("set oom_score_adj to {}", text(adjustment)),
        Op::EnterCgroup { .. } => "enter the cgroup".to_owned(),
        Op::Umask { mask } => format!("set the umask to {mask:04o}"),
        Op::Personality { .. } => "set the personality".into(),
        Op::Scheduler { .. } => "set the scheduler".into(),
        Op::IoPriority { .. } => "set the I/O priority".into(),
        Op::NoNewPrivileges => "forbid new privileges".into(),
        Op::Home { uid } => format!("look up the home directory of uid {uid}"),
        Op::Cwd { path, retry: true } => format!("change the directory to {} as root", text(path)),
        Op::Cwd { path, .. } => format!("change the directory to {}", text(path)),
        Op::Credentials { uid, gid, .. } => format!("become uid {uid}, gid {gid}"),
        Op::Seccomp { program, at_exec, .. } => {
            let when = if at_exec { ", at execve" } else { "" };
            format!("load a system call filter of {} instructions{when}", program.len() / 8)
        }
        Op::AppArmor { profile } => {
            format!("change to the AppArmor profile {} at execve", text(profile))
        }
        Op::SelinuxExec { label } => {
            format!("change to the SELinux label {} at execve", text(label))
        }
        Op::SelinuxKeys { label } => format!("give new keys the SELinux label {}", text(label)),
        Op::SelinuxFile { path, label } => {
            format!("give {} the SELinux label {}", text(path), text(label))
        }
        Op::MaskLabel { label } => format!("mask with the SELinux label {}", text(label)),
        Op::Find { file, .. } => format!("find the program {:?}", text(file)),
        Op::Exec { args, .. } => format!("execute {:?}", first(args)),
        // Every op has its words above; a new one shows its name until it has.
        _ => op.name().into(),
    }
}

fn mount(what: &CStr, target: &CStr) -> String {
    format!("mount {} on {}", text(what), text(target))
}

fn namespaces(flags: u32) -> String {
    let kinds = clone_flags(flags);
    let kind = |name: &str| match name {
        "CLONE_NEWNS" => "mount".to_owned(),
        "CLONE_NEWNET" => "network".to_owned(),
        name => name.strip_prefix("CLONE_NEW").unwrap_or(name).to_lowercase(),
    };
    kinds.split('|').map(kind).collect::<Vec<_>>().join(" and ")
}

fn rlimit(resource: u32) -> &'static str {
    let index = usize::try_from(resource).unwrap_or(usize::MAX);
    RLIMITS.get(index).copied().unwrap_or("RLIMIT_?")
}

fn limit(value: u64) -> String {
    if value == u64::MAX { "unlimited".into() } else { value.to_string() }
}

pub(super) fn text(string: &CStr) -> String {
    string.to_string_lossy().into_owned()
}

pub(super) fn first(list: List<'_>) -> String {
    list.iter().next().map(text).unwrap_or_default()
}

/// The error of a step that init could not do.
pub fn init_error(plan: &InitPlan, failure: &Failure<'_>) -> InitError {
    let found = plan.ops().nth(failure.op.into());
    let (pointer, message) = match &found {
        Some((origin, op)) => {
            let pointer = pointer(origin, op, failure);
            let text = hints::message(origin, op, failure);
            (pointer.clone(), if pointer.is_empty() { text } else { format!("{pointer}: {text}") })
        }
        None => (String::new(), format!("step {}: {}", failure.op, failure_without_plan(failure))),
    };
    InitError { message, pointer, stage: failure.stage, errno: failure.errno }
}

/// The property that failed, as near as the failure tells.
fn pointer(origin: &Origin, op: &Op<'_>, failure: &Failure<'_>) -> String {
    let base = match op {
        Op::Credentials { .. } => match failure.stage {
            Stage::Groups => "/process/user/additionalGids",
            Stage::Gid => "/process/user/gid",
            Stage::Uid => "/process/user/uid",
            Stage::Bounding => "/process/capabilities/bounding",
            Stage::Ambient => "/process/capabilities/ambient",
            Stage::Capset => "/process/capabilities",
            _ => return origin.to_string(),
        },
        // It loads what Seccomp has left to it.
        Op::Exec { .. } if failure.stage == Stage::Filter => "/linux/seccomp",
        _ => return origin.to_string(),
    };
    base.to_owned()
}

/// What can be said of a failure without the plan, as in `start`: init's own words.
pub fn failure_without_plan(failure: &Failure<'_>) -> String {
    let mut parts = Vec::new();
    if !failure.stage.text().is_empty() {
        parts.push(failure.stage.text().to_owned());
    }
    parts.extend(hints::reason(failure));
    if parts.is_empty() {
        parts.push("unknown error".to_owned());
    }
    parts.join(": ")
}

/// The fields of an op: for those who print it.
pub(super) fn fields<'a>(op: &Op<'a>) -> Vec<(&'static str, Value<'a>)> {
    let mut fields = Vec::new();
    op.fields(&mut |name, value| fields.push((name, value)));
    fields
}
