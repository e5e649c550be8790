//! What is wrong when a step fails, and what to mend.
//!
//! The texts that callers of runc match are kept to the letter: those about the program, which Docker and Podman turn into
//! the exit codes 126 and 127.
//!
//! Runs in: any process.

use corten_plan::{Failure, Op, Stage};

use super::describe::{first, step, text};
use super::errno;

/// `mount tmpfs on /dev/shm: EINVAL: option "size=12q" is not understood by tmpfs`.
pub(super) fn message(op: &Op<'_>, failure: &Failure<'_>) -> String {
    match op {
        Op::Find { file, .. } => return program(&text(file), failure),
        Op::Exec { args, .. } => return program(&first(*args), failure),
        Op::Hook { .. } => return hook(op, failure),
        _ => {}
    }
    let mut parts = vec![step(op)];
    let hint = hint(op, failure);
    // A hint names the object; without one the stage does.
    if hint.is_none() && !failure.stage.text().is_empty() {
        parts.push(failure.stage.text().to_owned());
    }
    if let Some(hint) = hint {
        parts.extend((failure.errno != 0).then(|| errno::name(failure.errno)));
        parts.push(hint);
        parts.extend(detail(failure).map(|detail| format!("({detail})")));
        join_last(&mut parts);
    } else {
        parts.extend(reason(failure));
    }
    parts.join(": ")
}

/// The kernel's own words belong to the hint.
fn join_last(parts: &mut Vec<String>) {
    if let Some(last) = parts.pop_if(|last| last.starts_with('('))
        && let Some(hint) = parts.last_mut()
    {
        hint.push(' ');
        hint.push_str(&last);
    }
}

/// The errno by name and in words, and what init has to add.
pub(super) fn reason(failure: &Failure<'_>) -> Vec<String> {
    let mut parts = Vec::new();
    if failure.errno != 0 {
        parts.push(errno::name(failure.errno));
        parts.push(errno::words(failure.errno));
    }
    parts.extend(detail(failure));
    parts
}

fn detail(failure: &Failure<'_>) -> Option<String> {
    let detail = String::from_utf8_lossy(failure.detail);
    let detail = detail.trim_matches(|letter: char| letter == '\0' || letter.is_whitespace());
    (!detail.is_empty()).then(|| detail.to_owned())
}

/// `exec: "sh": executable file not found in $PATH` and its siblings, as Go's os/exec says it.
fn program(name: &str, failure: &Failure<'_>) -> String {
    let detail = detail(failure);
    let why = match (failure.stage, failure.errno) {
        (Stage::NotInPath, _) => {
            return format!("exec: {name:?}: executable file not found in $PATH");
        }
        (Stage::Interpreter, _) => {
            let line = detail.unwrap_or_default();
            // The file itself is there: the kernel's ENOENT is about its first line.
            let text = format!("no such file or directory: its interpreter {line:?} is missing");
            let text = if line.ends_with('\r') || line.ends_with("\\r") {
                format!("{text} (its lines end with CR LF)")
            } else {
                text
            };
            return format!("exec: {name:?}: {text}");
        }
        (_, libc::ENOEXEC) => {
            "exec format error: neither a program for this architecture nor a script with #!".into()
        }
        (_, 0) => String::new(),
        (_, number) => errno::words(number),
    };
    let parts = [Some(why).filter(|why| !why.is_empty()), detail];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("exec: {name:?}: {}", parts.join(": "))
}

/// runc's words: `exit status 1`, `hook ran past specified timeout of 1.0s`.
fn hook(op: &Op<'_>, failure: &Failure<'_>) -> String {
    let what = match failure.stage {
        Stage::HookStatus if failure.item > 128 => {
            format!("killed by signal {}", failure.item - 128)
        }
        Stage::HookStatus => format!("exit status {}", failure.item),
        Stage::HookTimeout => {
            let Op::Hook { timeout_ms, .. } = *op else { return step(op) };
            let (seconds, tenths) = (timeout_ms / 1000, timeout_ms % 1000 / 100);
            format!("hook ran past specified timeout of {seconds}.{tenths}s")
        }
        _ => return [vec![step(op)], reason(failure)].concat().join(": "),
    };
    let output = detail(failure).map(|output| format!(", stdout/stderr: {output}"));
    format!("{}: {what}{}", step(op), output.unwrap_or_default())
}

/// What to look at, for the failures that people meet.
fn hint(op: &Op<'_>, failure: &Failure<'_>) -> Option<String> {
    of_mount(op, failure).or_else(|| of_root(op, failure)).or_else(|| of_process(op, failure))
}

fn of_mount(op: &Op<'_>, failure: &Failure<'_>) -> Option<String> {
    let (fstype, target) = match *op {
        Op::MountFs { fstype, target, .. } | Op::MountData { fstype, target, .. } => {
            (text(fstype), text(target))
        }
        Op::MountBind { source, target, .. } => {
            return of_bind(&text(source), &text(target), failure);
        }
        _ => return None,
    };
    Some(match (failure.stage, failure.errno) {
        (Stage::FsOpen | Stage::Op, libc::ENODEV) => {
            format!("this kernel has no file system {fstype:?}, or its module is not loaded")
        }
        (Stage::Option, number) => {
            let option = option(op, failure.item);
            let verdict = if number == libc::EPERM { "permitted for" } else { "understood by" };
            format!("option {option:?} is not {verdict} {fstype}")
        }
        (Stage::Verify, _) => format!(
            "filesystem {fstype:?} must be mounted on ordinary directory, which {target} is not"
        ),
        (Stage::FsCreate | Stage::Op, libc::EPERM | libc::EBUSY) => {
            format!("the kernel permits no new {fstype} here")
        }
        (Stage::Target | Stage::Create, _) => return of_target(&target, failure),
        _ => return None,
    })
}

fn of_bind(source: &str, target: &str, failure: &Failure<'_>) -> Option<String> {
    Some(match (failure.stage, failure.errno) {
        (Stage::Source | Stage::Clone, libc::ENOENT) => {
            format!("no such file or directory: the source {source}")
        }
        (Stage::Source | Stage::Clone, libc::EINVAL) => {
            format!("the source {source} is on an unbindable mount, or on one with locked children")
        }
        (Stage::Attr, libc::EPERM) => "cannot clear locked flags of the source's mount".to_owned(),
        (Stage::Verify, _) => {
            format!("{source} cannot be mounted on {target}: it is not of type proc")
        }
        (Stage::Attach, libc::ENOTDIR) => {
            format!(
                "not a directory: one of {source} and {target} is a directory, the other is not"
            )
        }
        (Stage::Target | Stage::Create, _) => return of_target(target, failure),
        _ => return None,
    })
}

fn of_target(target: &str, failure: &Failure<'_>) -> Option<String> {
    Some(match failure.errno {
        libc::ELOOP => format!("{target} leads through too many or forbidden symbolic links"),
        libc::EXDEV => format!("{target} leads out of the root file system"),
        libc::EROFS => format!("read-only file system: {target} is missing and cannot be made"),
        libc::ENOTDIR => format!("not a directory: a part of {target}"),
        _ => return None,
    })
}

/// The option that failed, from the plan: init sends its place.
fn option(op: &Op<'_>, item: u16) -> String {
    match *op {
        Op::MountFs { options, .. } => {
            options.iter().nth(item.into()).map(text).unwrap_or_else(|| "source".into())
        }
        Op::MountData { data, .. } => text(data),
        _ => String::new(),
    }
}

fn of_root(op: &Op<'_>, failure: &Failure<'_>) -> Option<String> {
    let hint = match (op, failure.stage, failure.errno) {
        (Op::Rootfs { path } | Op::OpenRoot { path }, _, libc::ENOENT) => {
            return Some(format!("no such file or directory: {}", text(path)));
        }
        (Op::Rootfs { path } | Op::OpenRoot { path }, _, libc::ENOTDIR) => {
            return Some(format!("not a directory: {}", text(path)));
        }
        (Op::Pivot { .. }, Stage::Pivot, libc::EINVAL) => {
            "the old root is no mount that can be replaced (an initramfs?): try --no-pivot"
        }
        (Op::Device { .. }, Stage::Verify, _) => "something else is there already",
        (Op::Device { .. }, _, libc::EPERM) => {
            "making device nodes needs CAP_MKNOD, and a file system that allows them"
        }
        (Op::Terminal { .. }, Stage::Open, libc::ENOENT) => {
            "a terminal needs a devpts on /dev/pts among the mounts"
        }
        (Op::Terminal { .. }, Stage::Verify, _) => "/dev/pts/ptmx is not that of a devpts",
        (Op::Terminal { .. }, Stage::Send, _) => "the console socket takes no message",
        (Op::Stdio { .. }, Stage::Verify, _) => "the container's /dev/null is invalid",
        (Op::MaskPath { .. }, Stage::Verify, _) => "the host's /dev/null is not the null device",
        _ => return None,
    };
    Some(hint.into())
}

fn of_process(op: &Op<'_>, failure: &Failure<'_>) -> Option<String> {
    let hint = match (op, failure.stage, failure.errno) {
        (Op::Cwd { .. }, Stage::Outside, _) => {
            "current working directory is outside of container mount namespace root -- possible \
             container breakout detected"
        }
        (Op::Rlimit { .. }, _, libc::EPERM) => "raising a hard limit needs CAP_SYS_RESOURCE",
        (Op::Rlimit { .. }, _, libc::EINVAL) => "the soft limit is above the hard one",
        (Op::Sysctl { .. }, _, libc::ENOENT) => "this kernel has no such sysctl",
        (Op::Sysctl { .. }, Stage::Write, libc::EINVAL) => "the kernel does not take this value",
        (Op::Scheduler { .. }, _, libc::EPERM) => {
            "this needs CAP_SYS_NICE; SCHED_DEADLINE cannot be confined to some CPUs"
        }
        (Op::IoPriority { .. }, _, libc::EPERM) => "IOPRIO_CLASS_RT needs CAP_SYS_NICE",
        (Op::Credentials { .. }, Stage::Capset | Stage::Bounding, libc::EPERM) => {
            "the runtime does not have these capabilities itself"
        }
        (Op::Credentials { .. }, Stage::ReadBack, _) => "the kernel has set something else",
        (Op::Join { .. }, _, libc::EINVAL) => "the file is no such namespace",
        (Op::TimeNamespace { .. }, Stage::Write, libc::ERANGE) => {
            "an offset would make a clock negative or too large"
        }
        _ => return None,
    };
    Some(hint.into())
}
