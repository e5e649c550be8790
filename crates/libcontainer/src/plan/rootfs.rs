//! The root file system: how it becomes the root, what the runtime puts into /dev, what is hidden and protected in it.
//!
//! Runs in: any process.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::path::PathBuf;

use corten_plan::Op;

use super::mounts::PlannedMount;
use super::options::propagation;
use super::steps::{Steps, c_path, c_string, clean};
use super::types::Origin;
use super::words::{CLONE_NEWNS, MOUNT_ATTR_RDONLY, MS_PRIVATE, MS_REC, MS_SLAVE, MS_UNBINDABLE};
use super::{Inputs, hooks, lsm, mounts};
use crate::spec::{DeviceType, Hooks, Linux, LinuxDevice, Root, RootfsPropagation, SpecError};

const PROPAGATION: &str = "/linux/rootfsPropagation";
const ROOT: &str = "/root";
const DEVICES: &str = "/linux/devices";

/// `S_IF*` of inode(7).
const S_IFIFO: u32 = 0o010_000;
const S_IFCHR: u32 = 0o020_000;
const S_IFBLK: u32 = 0o060_000;

/// The devices of config-linux.md, "Default Devices": character devices, 0666, owned by root. /dev/console and
/// /dev/ptmx are made elsewhere.
const DEFAULT_DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/random", 1, 8),
    ("/dev/full", 1, 7),
    ("/dev/tty", 5, 0),
    ("/dev/zero", 1, 5),
    ("/dev/urandom", 1, 9),
];

/// runtime-linux.md, "Dev symbolic links", and what runc and crun add.
const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
];

/// What engines mask that is a file.
const MASKED_FILES: [&CStr; 7] = [
    c"/proc/interrupts",
    c"/proc/kcore",
    c"/proc/keys",
    c"/proc/latency_stats",
    c"/proc/sched_debug",
    c"/proc/timer_list",
    c"/proc/timer_stats",
];

/// Where the root file system is on the host.
pub(super) fn path(inputs: &Inputs<'_>) -> PathBuf {
    clean(inputs.bundle.dir.join(&inputs.root.path))
}

/// Separates the mount namespace from the host, and makes the root file system a mount of its own.
pub(super) fn enter(steps: &mut Steps, inputs: &Inputs<'_>) -> Result<(), SpecError> {
    let path = c_path(&ROOT.into(), &path(inputs))?;
    if !inputs.namespaces.has(CLONE_NEWNS) {
        without_mount_namespace(inputs)?;
        // What is mounted is the host's then, and stays there, as with runc. At least it is a mount of its own: nothing of
        // it reaches other namespaces, and one umount takes all of it away.
        let mounts = !inputs.spec.mounts.is_empty() || inputs.root.readonly;
        let op = if mounts { Op::Rootfs { path: &path } } else { Op::OpenRoot { path: &path } };
        steps.push(ROOT, &op);
        return Ok(());
    }
    let given = given_propagation(inputs.linux);
    if inputs.request.no_pivot && given.is_some_and(|flags| flags & MS_PRIVATE != 0) {
        let text = "[r]private is not safe without pivot_root (--no-pivot)";
        return Err(SpecError::new(PROPAGATION, text));
    }
    let first = first_propagation(given);
    if inputs.namespaces.copies_no_mounts {
        let propagation = word(first & !MS_REC);
        steps.push("/linux/namespaces", &Op::RootNamespace { path: &path, propagation });
    }
    let origin = given.map_or(Origin::Always, |_| PROPAGATION.into());
    steps.push(origin, &Op::Propagation { flags: word(first) });
    if needs_private_parent(given) {
        steps.push(ROOT, &Op::PrivateParent { path: &path });
    }
    steps.push(ROOT, &Op::Rootfs { path: &path });
    Ok(())
}

/// Whether every mount of the container becomes a slave of the host's, or private, before anything else, and stays so.
pub(super) fn is_cut_off(linux: &Linux) -> bool {
    let given = given_propagation(linux);
    !needs_private_parent(given) && given.is_none_or(|flags| flags & (MS_PRIVATE | MS_SLAVE) != 0)
}

/// How the mounts that were copied from the host hear of it.
fn first_propagation(given: Option<u64>) -> u64 {
    match given {
        // What the host mounts later is seen, what the container mounts never gets out. runc's default too.
        None => MS_SLAVE | MS_REC,
        // An unbindable mount cannot be cloned, neither as the root file system nor as the source of a bind mount
        // (which is where runc fails): private until all is there, and unbindable after pivot.
        Some(flags) if flags & MS_UNBINDABLE != 0 => MS_PRIVATE | MS_REC,
        Some(flags) => flags,
    }
}

/// Not needed where all mounts were just made slaves or private: then the one that the root file system lies on is not
/// shared, which is what pivot_root asks for.
fn needs_private_parent(given: Option<u64>) -> bool {
    let first = first_propagation(given);
    first & MS_REC == 0 || first & (MS_SLAVE | MS_PRIVATE) == 0
}

/// What would change the host outside of the root file system: none of it is done.
fn without_mount_namespace(inputs: &Inputs<'_>) -> Result<(), SpecError> {
    let linux = inputs.linux;
    let asked = [
        (!linux.masked_paths.is_empty(), "/linux/maskedPaths"),
        (!linux.readonly_paths.is_empty(), "/linux/readonlyPaths"),
        (linux.rootfs_propagation.is_some(), PROPAGATION),
    ];
    match asked.iter().find(|(is_asked, _)| *is_asked) {
        Some((_, pointer)) => Err(SpecError::new(*pointer, "needs a mount namespace of its own")),
        None => Ok(()),
    }
}

fn given_propagation(linux: &Linux) -> Option<u64> {
    linux.rootfs_propagation.map(RootfsPropagation::as_str).and_then(propagation)
}

/// The devices that every container has unless config.json has its own in their place, its own ones, and the links.
pub(super) fn fill_dev(steps: &mut Steps, linux: &Linux) -> Result<(), SpecError> {
    let replaced = |path: &str| linux.devices.iter().any(|device| device.path == path);
    for (path, major, minor) in DEFAULT_DEVICES {
        if !replaced(path) {
            let path = c_string(&Origin::Always, path)?;
            let mode = S_IFCHR | 0o666;
            steps.always(&Op::Device { path: &path, mode, major, minor, uid: 0, gid: 0 });
        }
    }
    for (index, device) in linux.devices.iter().enumerate() {
        make_device(steps, &Origin::Element(DEVICES, index), device)?;
    }
    // Always a link into the container's own devpts, whatever the image or config.json has there: the host's ptmx would
    // give terminals of the host.
    steps.always(&Op::Symlink { path: c"/dev/ptmx", target: c"pts/ptmx", replace: true });
    for (path, target) in LINKS {
        let (path, target) = (c_string(&Origin::Always, path)?, c_string(&Origin::Always, target)?);
        steps.always(&Op::Symlink { path: &path, target: &target, replace: false });
    }
    Ok(())
}

fn make_device(steps: &mut Steps, origin: &Origin, device: &LinuxDevice) -> Result<(), SpecError> {
    let path = clean(&device.path);
    if path == clean("/dev/ptmx") {
        return Ok(());
    }
    let kind = match device.device_type {
        DeviceType::Char | DeviceType::Unbuffered => S_IFCHR,
        DeviceType::Block => S_IFBLK,
        DeviceType::Fifo => S_IFIFO,
    };
    let is_fifo = kind == S_IFIFO;
    let number = |value: Option<i64>, name: &str| match u32::try_from(value.unwrap_or(0)) {
        _ if is_fifo => Ok(0),
        Ok(number) => Ok(number),
        Err(_) => Err(SpecError::new(format!("{origin}/{name}"), "is not a device number")),
    };
    let (major, minor) = (number(device.major, "major")?, number(device.minor, "minor")?);
    let path = c_path(origin, &path)?;
    // The file type bits of st_mode may be there (Podman writes them): the type says it all.
    let mode = kind | device.file_mode.unwrap_or(0o666) & 0o7777;
    let (uid, gid) = (device.uid.unwrap_or(0), device.gid.unwrap_or(0));
    steps.push(origin.clone(), &Op::Device { path: &path, mode, major, minor, uid, gid });
    Ok(())
}

/// What is hidden and what cannot be written.
pub(super) fn protect_paths(
    steps: &mut Steps,
    linux: &Linux,
    hooks: &Hooks,
    mounts: &[PlannedMount<'_>],
) -> Result<(), SpecError> {
    for (index, path) in linux.readonly_paths.iter().enumerate() {
        let origin = Origin::Element("/linux/readonlyPaths", index);
        let path = clean(path);
        // Nobody knows what hooks have mounted.
        let alone = !hooks::any_before_pivot(hooks) && mounts::is_alone(mounts, &path);
        let path = c_path(&origin, &path)?;
        steps.push(origin, &Op::ReadonlyPath { path: &path, alone });
    }
    if !linux.masked_paths.is_empty() {
        lsm::of_masks(steps, linux)?;
    }
    let mut masked = BTreeSet::new();
    for (index, path) in linux.masked_paths.iter().enumerate() {
        let origin = Origin::Element("/linux/maskedPaths", index);
        let path = c_path(&origin, &clean(path))?;
        // Clients repeat some; a second mask would cover the first, as a file.
        if !masked.contains(&path) {
            let file = MASKED_FILES.contains(&path.as_c_str());
            steps.push(origin, &Op::MaskPath { path: &path, file });
            masked.insert(path);
        }
    }
    Ok(())
}

/// Makes the root file system the root of init.
pub(super) fn jail(steps: &mut Steps, inputs: &Inputs<'_>) {
    if !inputs.namespaces.has(CLONE_NEWNS) {
        steps.push(ROOT, &Op::Chroot);
        return;
    }
    let given = given_propagation(inputs.linux);
    if inputs.request.no_pivot {
        steps.push(ROOT, &Op::MoveRoot);
    } else {
        steps.push(ROOT, &Op::Pivot { slave_old: may_be_shared(given) });
    }
    // runc: [r]private and [r]slave were set before, on all there was; the others can only be set on what is now "/",
    // or they would reach the host.
    if let Some(flags) = given.filter(|flags| flags & (MS_PRIVATE | MS_SLAVE) == 0) {
        steps.push(PROPAGATION, &Op::RootPropagation { flags: word(flags) });
    }
}

/// Whether mounts of the old root may still be peers of the host's.
fn may_be_shared(given: Option<u64>) -> bool {
    let first = first_propagation(given);
    first & MS_REC == 0 || first & (MS_SLAVE | MS_PRIVATE) == 0
}

/// The root mount is read-only from here on.
pub(super) fn make_readonly(steps: &mut Steps, root: &Root) {
    if root.readonly {
        steps.push("/root/readonly", &Op::RootAttr { set: MOUNT_ATTR_RDONLY });
    }
}

/// `MS_*` of `mount(2)` that fit the op's field: all propagation flags are below 2^32.
fn word(flags: u64) -> u32 {
    u32::try_from(flags).unwrap_or_default()
}
