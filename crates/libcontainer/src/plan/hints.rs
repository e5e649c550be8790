//! What is wrong when a step fails, and what to mend.
//!
//! The texts that callers of runc match are kept to the letter: those about the program, which Docker and Podman turn
//! into the exit codes 126 and 127.
//!
//! Runs in: any process.

use corten_plan::op::mount_flags::SOURCE_IS_PROC;
use corten_plan::{Failure, Op, Stage};

use super::describe::{first, step, text};
use super::errno;
use super::types::Origin;

/// `mount tmpfs on /dev/shm: EINVAL: option "size=12q" is not understood by tmpfs`.
pub(super) fn message(origin: &Origin, op: &Op<'_>, failure: &Failure<'_>) -> String {
    match op {
        _ if failure.stage == Stage::Filter => return filter(failure),
        Op::Find { file, .. } => return program(&format!("exec: {:?}", text(file)), failure),
        Op::Exec { args, .. } => return program(&format!("exec {}", first(*args)), failure),
        Op::Hook { path, .. } => return hook(origin, &text(path), op, failure),
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
        // Podman makes its exit code 126 of these words.
        parts.extend((failure.errno == libc::EPERM).then(|| errno::words(failure.errno)));
        parts.push(hint);
        let detail = kernel_message(op, failure).map(|message| format!(" ({message})"));
        if let (Some(detail), Some(hint)) = (detail, parts.last_mut()) {
            hint.push_str(&detail);
        }
    } else {
        parts.extend(reason(failure));
    }
    parts.join(": ")
}

/// What init adds; of an option the plan has, only what the kernel says of it.
fn kernel_message(op: &Op<'_>, failure: &Failure<'_>) -> Option<String> {
    // What it holds for an id mapping is a part of the hint.
    let detail = detail(failure).filter(|_| failure.stage != Stage::IdMap)?;
    if failure.stage != Stage::Option {
        return Some(detail);
    }
    let rest = detail.strip_prefix(option(op, failure).as_str())?;
    rest.strip_prefix(": ").map(str::to_owned)
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

/// `exec: "sh": executable file not found in $PATH` and its siblings, as Go's os/exec says it; and of execve itself
/// `exec /run.sh: no such file or directory`, as runc says it.
fn program(name: &str, failure: &Failure<'_>) -> String {
    let detail = detail(failure);
    // An executable of that name without the permission: the words about permissions are not used, for Docker takes
    // them as another exit code than runc's.
    let not_found = detail.as_ref().map(|found| format!(" ({found} cannot be executed)"));
    let (why, detail) = match (failure.stage, failure.errno) {
        (Stage::NotInPath, _) => {
            let not_found = not_found.unwrap_or_default();
            (format!("executable file not found in $PATH{not_found}"), None)
        }
        // The file itself is there: the error is about its first line, or its dynamic linker.
        (Stage::Interpreter, number) => {
            (format!("{}: its interpreter", errno::words(number)), detail)
        }
        (_, 0) => (failure.stage.text().to_owned(), detail),
        (_, number) => (errno::words(number), detail),
    };
    let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{name}: {why}{detail}")
}

/// Of the op that loads the filter, or of execve, which has it done.
pub(super) fn filter(failure: &Failure<'_>) -> String {
    let hint = match failure.errno {
        libc::EACCES => "without noNewPrivileges this needs CAP_SYS_ADMIN",
        libc::EBUSY => "another filter has a listener already",
        libc::EINVAL => "this kernel has no system call filters, or not such",
        libc::ENOMEM => "all filters together are too long, or there is no memory",
        _ => "",
    };
    let number = if hint.is_empty() { errno::words(failure.errno) } else { hint.to_owned() };
    format!("{}: {}: {number}", failure.stage.text(), errno::name(failure.errno))
}

/// runc's words: `error running createContainer hook #1:`, `exit status 1`, `hook ran past specified timeout of 1.0s`.
fn hook(origin: &Origin, path: &str, op: &Op<'_>, failure: &Failure<'_>) -> String {
    let (kind, index) = match origin {
        Origin::Element(array, index) => (array.trim_start_matches("/hooks/"), *index),
        _ => ("", 0),
    };
    let what = match (failure.stage, op) {
        (Stage::HookStatus, _) if failure.item > 128 => {
            match failure.item - 128 {
                // Go's words, which runc gives.
                31 => "killed by signal 31: bad system call".to_owned(),
                signal => format!("killed by signal {signal}"),
            }
        }
        (Stage::HookStatus, _) => format!("exit status {}", failure.item),
        (Stage::HookTimeout, Op::Hook { timeout_ms, .. }) => {
            let (seconds, tenths) = (timeout_ms / 1000, timeout_ms % 1000 / 100);
            format!("hook ran past specified timeout of {seconds}.{tenths}s")
        }
        _ => reason(failure).join(": "),
    };
    let has_run = matches!(failure.stage, Stage::HookStatus | Stage::HookTimeout);
    let output = detail(failure).filter(|_| has_run);
    let output = output.map(|output| format!(", stdout/stderr: {output}")).unwrap_or_default();
    format!("error running {kind} hook #{index}: {path}: {what}{output}")
}

/// What to look at, for the failures that people meet.
fn hint(op: &Op<'_>, failure: &Failure<'_>) -> Option<String> {
    match op {
        _ if failure.stage == Stage::IdMap => return of_id_map(op, failure),
        Op::MemoryPolicy { .. } => return of_memory_policy(failure),
        _ => {}
    }
    of_mount(op, failure).or_else(|| of_root(op, failure)).or_else(|| of_process(op, failure))
}

fn of_mount(op: &Op<'_>, failure: &Failure<'_>) -> Option<String> {
    let (fstype, target) = match *op {
        Op::MountFs { fstype, target, .. } | Op::MountData { fstype, target, .. } => {
            (text(fstype), text(target))
        }
        Op::MountBind { source, target, flags, .. } => {
            return of_bind(&text(source), &text(target), flags, failure);
        }
        _ => return None,
    };
    Some(match (failure.stage, failure.errno) {
        (Stage::FsOpen | Stage::FsMount, libc::ENODEV) => {
            format!("this kernel has no file system {fstype:?}, or its module is not loaded")
        }
        (Stage::Option, number) => {
            let option = option(op, failure);
            let verdict = if number == libc::EPERM { "permitted for" } else { "understood by" };
            format!("option {option:?} is not {verdict} {fstype}")
        }
        (Stage::Verify, libc::EPERM) => inside_proc(&target),
        (Stage::Verify, libc::ENOTDIR) => ordinary_directory(&fstype),
        (Stage::Target, libc::ELOOP) if matches!(fstype.as_str(), "proc" | "sysfs") => {
            ordinary_directory(&fstype)
        }
        (Stage::FsCreate, libc::EPERM | libc::EBUSY) => {
            format!("the kernel permits no new {fstype} here")
        }
        (Stage::Target | Stage::Create, _) => return of_target(&target, failure),
        _ => return None,
    })
}

/// Which Linux has id-mapped mounts of which file system: mount_setattr(2), "ID-mapped mounts"; of fuse, where its server
/// says that it knows them, fs/fuse/inode.c.
const ID_MAPPED_SINCE: [(&str, &str); 13] = [
    ("ext4", "5.12"),
    ("vfat", "5.12"),
    ("xfs", "5.12"),
    ("btrfs", "5.15"),
    ("ntfs3", "5.15"),
    ("f2fs", "5.18"),
    ("erofs", "5.19"),
    ("squashfs", "6.2"),
    ("tmpfs", "6.3"),
    ("ceph", "6.7"),
    ("hugetlbfs", "6.9"),
    ("fuse", "6.12"),
    ("virtiofs", "6.12"),
];

fn of_id_map(op: &Op<'_>, failure: &Failure<'_>) -> Option<String> {
    let fs_type = detail(failure)?;
    let is_new = matches!(op, Op::MountFs { .. });
    Some(match failure.errno {
        libc::EINVAL if is_new && fs_type == "tmpfs" => {
            "tmpfs has id-mapped mounts from Linux 6.3 on, and none with the mapping of its own user \
             namespace"
                .to_owned()
        }
        libc::EINVAL if failure.item != 0 => {
            format!("this kernel can id-map {fs_type}, but not the file system of a mount below it")
        }
        libc::EINVAL => {
            let kind = fs_type.split('.').next();
            let since = ID_MAPPED_SINCE.iter().find(|(name, _)| Some(*name) == kind);
            let since = since.map_or_else(
                || "which this kernel cannot id-map".to_owned(),
                |(_, since)| format!("which can be id-mapped from Linux {since} on"),
            );
            format!("the file system is {fs_type}, {since}")
        }
        libc::EPERM => format!(
            "the mount is id-mapped already, or the runtime has no CAP_SYS_ADMIN in the user \
             namespace of its file system, {fs_type}"
        ),
        _ => return None,
    })
}

fn of_memory_policy(failure: &Failure<'_>) -> Option<String> {
    Some(match failure.errno {
        libc::EINVAL => "this kernel does not know the mode or a flag, or does not take them \
             together, or none of the nodes is there and in the container's cpuset"
            .to_owned(),
        libc::ENOSYS => "this kernel has no memory policies (CONFIG_NUMA)".to_owned(),
        _ => return None,
    })
}

/// runc's words.
fn inside_proc(target: &str) -> String {
    format!("{target:?} cannot be mounted because it is inside /proc")
}

/// runc's words.
fn ordinary_directory(fstype: &str) -> String {
    format!("filesystem {fstype:?} must be mounted on ordinary directory")
}

fn of_bind(source: &str, target: &str, flags: u32, failure: &Failure<'_>) -> Option<String> {
    Some(match (failure.stage, failure.errno) {
        (Stage::Source | Stage::Clone, libc::ENOENT) => {
            format!("no such file or directory: the source {source}")
        }
        (Stage::Source | Stage::Clone, libc::EINVAL) => {
            format!("the source {source} is on an unbindable mount, or on one with locked children")
        }
        (Stage::Attr, libc::EPERM) => {
            "operation not permitted: cannot clear locked flags of the source's mount".to_owned()
        }
        (Stage::Verify, _) if flags & SOURCE_IS_PROC != 0 => {
            format!("{target:?} cannot be mounted because it is not of type proc")
        }
        (Stage::Verify, _) => inside_proc(target),
        (Stage::Attach, libc::ENOTDIR) => {
            format!("not a directory: one of {source} and {target} is a file, the other is not")
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

/// The option that failed: from the plan, or, where it is none of the list (the source), as init says it.
fn option(op: &Op<'_>, failure: &Failure<'_>) -> String {
    let from_plan = match *op {
        Op::MountFs { options, .. } => options.iter().nth(failure.item.into()).map(text),
        _ => None,
    };
    from_plan.or_else(|| detail(failure)).unwrap_or_default()
}

fn of_root(op: &Op<'_>, failure: &Failure<'_>) -> Option<String> {
    let hint = match (op, failure.stage, failure.errno) {
        (Op::Rootfs { path } | Op::OpenRoot { path }, _, libc::ENOENT) => {
            return Some(format!("no such file or directory: {}", text(path)));
        }
        (Op::Rootfs { path } | Op::OpenRoot { path }, _, libc::ENOTDIR) => {
            return Some(format!("not a directory: {}", text(path)));
        }
        // In the words of clone3, which makes the namespace elsewhere.
        (Op::RootNamespace { .. }, Stage::Op, libc::EPERM) => "new namespaces need CAP_SYS_ADMIN",
        (Op::RootNamespace { .. }, Stage::Op, libc::ENOSPC) => {
            "a limit of /proc/sys/user/max_*_namespaces is reached"
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
        (Op::Keyring { .. }, _, libc::EDQUOT) => {
            "this user has no keys left (kernel.keys.maxkeys; /proc/key-users), of which ended containers give theirs back only \
             after minutes: --no-new-keyring does without"
        }
        (Op::OomScoreAdj { .. }, _, libc::EACCES | libc::EPERM) => {
            "lowering it needs CAP_SYS_RESOURCE"
        }
        (Op::Rlimit { .. }, _, libc::EINVAL) => "the soft limit is above the hard one",
        (Op::Sysctl { .. }, _, libc::ENOENT) => "this kernel has no such sysctl",
        (Op::Sysctl { .. }, Stage::Write, libc::EINVAL) => "the kernel does not take this value",
        (Op::Scheduler { .. }, _, libc::EPERM) => {
            "this needs CAP_SYS_NICE; a SCHED_DEADLINE process scheduler can't be used together with AllowedCPUs"
        }
        (Op::IoPriority { .. }, _, libc::EPERM) => "IOPRIO_CLASS_RT needs CAP_SYS_NICE",
        (Op::AppArmor { .. }, Stage::Write, libc::ENOENT) => "the profile is not loaded",
        (Op::AppArmor { .. }, Stage::Write, libc::EACCES | libc::EPERM) => {
            "the profile that the runtime is confined by does not allow the change"
        }
        (Op::SelinuxExec { .. } | Op::SelinuxKeys { .. }, Stage::Write, libc::EINVAL) => {
            "the policy knows no such label"
        }
        (Op::Credentials { .. }, Stage::Capset | Stage::Bounding, libc::EPERM) => {
            "the runtime does not have these capabilities itself"
        }
        (Op::Credentials { .. }, Stage::ReadBack, _) => "the kernel has set something else",
        (Op::MappedIds { .. }, _, libc::EINVAL) => {
            "the user namespace that is joined does not map this id"
        }
        (Op::Join { .. }, _, libc::EINVAL) => "the file is no such namespace",
        (Op::TimeNamespace { .. }, Stage::Write, libc::ERANGE) => {
            "an offset would make a clock negative or too large"
        }
        _ => return None,
    };
    Some(hint.into())
}
