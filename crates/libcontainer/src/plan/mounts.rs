//! The mounts of config.json, each as one op, in the order that they have there.
//!
//! Runs in: any process.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::path::{Path, PathBuf};

use corten_plan::Op;
use corten_plan::op::MAX_SOURCES;
use corten_plan::op::mount_flags::{
    COPY_UP, ID_MAP, KEPT, MAY_COVER_PROC, MODE_OF_TARGET, NO_SYMLINKS, PLAIN, RECURSIVE,
    SOURCE_IS_PROC,
};
use corten_plan::wire::Ids;

use super::annotations::Annotations;
use super::lsm::OfMount;
use super::options::Options;
use super::steps::{Steps, c_path, c_string, c_strings, clean, is_within, list};
use super::types::Origin;
use super::words::{
    CLONE_NEWCGROUP, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER, MOUNT_ATTR_RDONLY, MS_RDONLY,
    MS_REC, MS_REMOUNT,
};
use super::{Inputs, cgroup, id_maps, namespaces, rootfs};
use crate::spec::{Mount, SpecError};

const POINTER: &str = "/mounts";

/// Files of procfs that LXCFS and others replace by a mount, as runc's list has them; nothing else may be mounted below
/// /proc, where it could fake what the runtime and tools read (CVE-2019-16884).
const REPLACEABLE: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// File systems to whose source and options no path belongs: for them it is the same which directory init is in.
const PATHLESS: [&str; 7] = ["cgroup", "cgroup2", "devpts", "mqueue", "proc", "sysfs", "tmpfs"];

/// A mount with its words read.
pub(super) struct PlannedMount<'a> {
    origin: Origin,
    mount: &'a Mount,
    options: Options<'a>,
    target: PathBuf,
}

/// Reads the options of all mounts.
pub(super) fn read<'a>(mounts: &'a [Mount], rootfs: &Path) -> Vec<PlannedMount<'a>> {
    let read = |(index, mount)| PlannedMount::new(index, mount, rootfs);
    mounts.iter().enumerate().map(read).collect()
}

/// Makes all mounts. `enters_network`: before the first of them to which it matters, or at the end, init enters its network
/// namespace.
pub(super) fn make(
    steps: &mut Steps,
    inputs: &Inputs<'_>,
    mounts: &[PlannedMount<'_>],
    enters_network: bool,
) -> Result<(), SpecError> {
    let mut enters_network = enters_network;
    // A relative path among the options of any other file system (lowerdir=…) is the kernel's to resolve.
    let pathless = mounts.iter().all(PlannedMount::is_pathless);
    let plain = if pathless { PLAIN } else { 0 };
    // For each directory of the root the last mount below it.
    let below =
        mounts.iter().enumerate().filter(|(_, mount)| mount.target.components().count() > 2);
    let last: BTreeMap<_, _> =
        below.map(|(index, mount)| (mount.target.components().nth(1), index)).collect();
    let fills_dev = fills_dev(mounts);
    // In a mount namespace that was there before there may be others, who could change what is in it.
    let is_ours = inputs.namespaces.is_new(CLONE_NEWNS);
    for (index, mount) in mounts.iter().enumerate() {
        let later = last.get(&mount.target.components().nth(1)).is_some_and(|last| *last > index);
        let is_filled = later || fills_dev && mount.target == Path::new("/dev");
        let how = if is_ours && is_filled && mount.can_be_kept() { KEPT } else { plain };
        if enters_network && mount.may_need_network() {
            namespaces::enter_network(steps);
            enters_network = false;
        }
        mount.make(steps, inputs, how)?;
    }
    if enters_network {
        namespaces::enter_network(steps);
    }
    Ok(())
}

/// Whether the mounts are the same where nothing of the host is to be seen but what is bound, whose sources are opened before all
/// others are made.
pub(super) fn need_no_host(inputs: &Inputs<'_>, mounts: &[PlannedMount<'_>]) -> bool {
    let rootfs = rootfs::path(inputs);
    let mut covered = BTreeSet::new();
    let mut are_ordered = true;
    for mount in mounts {
        // mountinfo has them in the order in which they came to be, and who looks for a mount point takes its last one.
        if mount.is_bind() {
            are_ordered &= !covered.contains(&mount.target);
        } else {
            covered.insert(&mount.target);
        }
    }
    are_ordered
        && mounts.iter().filter(|mount| mount.is_bind()).count() <= MAX_SOURCES
        && mounts.iter().all(|mount| mount.needs_no_host(&inputs.bundle.dir, &rootfs))
}

/// Whether `path` lies in a file system that the plan mounts, and nothing of the plan is mounted on a part of it.
pub(super) fn is_alone(mounts: &[PlannedMount<'_>], path: &Path) -> bool {
    let mounts = mounts.iter().filter(|mount| mount.options.flags & MS_REMOUNT == 0);
    let has_none_below = !mounts.clone().any(|mount| mount.is_below(path));
    let under = mounts.rev().find(|mount| is_within(path, &mount.target));
    has_none_below && under.is_some_and(|mount| !mount.is_bind())
}

/// Makes those read-only that had to wait: runc keeps a tmpfs and /dev writable until devices, mount points and the
/// console are in them.
pub(super) fn make_readonly(
    steps: &mut Steps,
    mounts: &[PlannedMount<'_>],
) -> Result<(), SpecError> {
    for mount in mounts.iter().filter(|mount| mount.is_readonly_late()) {
        let path = c_path(&mount.origin, &mount.target)?;
        steps.push(mount.origin.clone(), &Op::MountAttr { path: &path, set: MOUNT_ATTR_RDONLY });
    }
    Ok(())
}

/// Whether /dev is filled by the runtime: not when it is a bind mount, for that is somebody else's directory.
pub(super) fn fills_dev(mounts: &[PlannedMount<'_>]) -> bool {
    !mounts.iter().any(|mount| mount.is_bind() && mount.target == Path::new("/dev"))
}

impl<'a> PlannedMount<'a> {
    /// Whether the container may write to the hierarchy of its cgroup.
    pub fn is_writable_cgroup(&self) -> bool {
        matches!(self.mount.mount_type.as_str(), "cgroup" | "cgroup2")
            && self.target == Path::new("/sys/fs/cgroup")
            && self.options.flags & MS_RDONLY == 0
    }

    /// A destination that begins with the path of the root file system on the host is one in it, as with runc.
    fn new(index: usize, mount: &'a Mount, rootfs: &Path) -> Self {
        let target = clean(&mount.destination);
        let inner =
            target.strip_prefix(rootfs).ok().filter(|_| rootfs != Path::new("/")).map(clean);
        Self {
            origin: Origin::Element(POINTER, index),
            mount,
            options: Options::parse(&mount.options),
            target: inner.unwrap_or(target),
        }
    }

    /// `bind` or `rbind` among the options; or the type `bind` without them, which crun takes for `rbind`.
    pub fn is_bind(&self) -> bool {
        self.options.is_bind() || self.mount.mount_type == "bind"
    }

    /// Whether it is made by the new mount API.
    fn is_detached_first(&self) -> bool {
        let by_mount = self.options.needs_mount(&self.mount.source);
        self.options.flags & MS_REMOUNT == 0 && (self.is_bind() || !by_mount)
    }

    fn is_tmpfs(&self) -> bool {
        !self.is_bind() && self.mount.mount_type == "tmpfs"
    }

    fn is_pathless(&self) -> bool {
        self.is_bind() || PATHLESS.contains(&self.mount.mount_type.as_str())
    }

    /// Whether it may be another mount in another network namespace: sysfs belongs to one, file systems of the network use one, a source
    /// may lie in `/proc/net`. And whether the runtime has to help with it, whose `Go` must not come first.
    fn may_need_network(&self) -> bool {
        let is_sysfs = self.mount.mount_type == "sysfs";
        let is_mapped = self.options.id_map.is_some() || !self.mount.uid_mappings.is_empty();
        self.is_bind() || is_sysfs || is_mapped || !self.is_pathless()
    }

    /// mount(2) takes paths, and init's way to give it a descriptor leads through the host's procfs. A source in the root file
    /// system may be a mount of the container, and what lies above it has the container's mounts in it.
    fn needs_no_host(&self, bundle: &Path, rootfs: &Path) -> bool {
        if !self.is_bind() {
            return self.is_pathless() && self.is_detached_first();
        }
        let source = clean(bundle.join(&self.mount.source));
        let is_apart = !is_within(&source, rootfs) && !is_within(rootfs, &source);
        is_apart && self.is_detached_first()
    }

    fn is_below(&self, path: &Path) -> bool {
        self.target != path && is_within(&self.target, path)
    }

    /// Whether it is a tmpfs directly below the root. Not one whose contents come from the image: there names may be links.
    fn can_be_kept(&self) -> bool {
        self.is_tmpfs() && self.target.components().count() == 2 && !self.options.copy_up
    }

    fn is_readonly_late(&self) -> bool {
        let waits = self.is_tmpfs() || !self.is_bind() && self.target == Path::new("/dev");
        waits && self.options.flags & MS_RDONLY != 0 && self.options.flags & MS_REMOUNT == 0
    }

    fn problem(&self, text: impl Into<String>) -> SpecError {
        SpecError::new(self.origin.to_string(), text)
    }

    /// `how`: [`PLAIN`] or [`KEPT`], where the mount turns out to be one of a new file system.
    fn make(&self, steps: &mut Steps, inputs: &Inputs<'_>, how: u32) -> Result<(), SpecError> {
        let proc_flags = self.check_target()?;
        let target = c_path(&self.origin, &self.target)?;
        let map = id_maps::of_mount(inputs, self.mount, self.options.id_map, &self.origin)?;
        if let Some(map) = map.as_ref().filter(|_| !self.is_detached_first()) {
            // mount(2) attaches at once, and an attached mount keeps its ids.
            let problem = "a mount that is remounted, or has options only mount(2) takes, \
                 cannot be id-mapped";
            return Err(SpecError::new(map.pointer.clone(), problem));
        }
        let flags = proc_flags | if map.is_some() { ID_MAP } else { 0 };
        let how = if map.is_some() { 0 } else { how };
        steps.map_ids(map);
        if self.options.flags & MS_REMOUNT != 0 {
            return self.make_by_mount(
                steps,
                &target,
                &self.mount.mount_type,
                proc_flags,
                OfMount::None,
            );
        }
        if self.is_bind() {
            return self.make_bind(steps, &inputs.bundle.dir, &target, flags);
        }
        if self.options.copy_up && !self.is_tmpfs() {
            return Err(self.problem("has the option tmpcopyup, which only a tmpfs can have"));
        }
        let option = Annotations(&inputs.spec.annotations).mount_context()?;
        let label = OfMount::new(inputs.linux, &self.mount.mount_type, option);
        let done = match self.mount.mount_type.as_str() {
            "" => Err(self.problem("has no type, and none of the options bind and rbind")),
            // The specification's word for the cgroup hierarchies of the host, whichever version they have.
            "cgroup" => {
                let source = cgroup_source(inputs);
                self.make_fs(steps, &target, ("cgroup2", label), flags | how, source)
            }
            "sysfs" => {
                let source = sysfs_source(inputs);
                self.make_fs(steps, &target, ("sysfs", label), flags | how, source)
            }
            fstype => self.make_fs(steps, &target, (fstype, label), flags | how, None),
        };
        done.and_then(|()| label.of_root(steps, &target))
    }

    /// What may be mounted where, as runc has it (`checkProcMount`); gives the flags for init.
    fn check_target(&self) -> Result<u32, SpecError> {
        let target = self.target.as_path();
        let shown = target.display();
        if target == Path::new("/") {
            return Err(self.problem("is on top of the root file system"));
        }
        if !is_within(target, Path::new("/proc")) {
            return Ok(0);
        }
        if target == Path::new("/proc") {
            return match self.mount.mount_type.as_str() {
                _ if self.is_bind() => Ok(MAY_COVER_PROC | SOURCE_IS_PROC),
                "proc" => Ok(MAY_COVER_PROC),
                _ => Err(self.problem(format!(
                    "{shown:?} cannot be mounted because it is not of type proc"
                ))),
            };
        }
        if REPLACEABLE.iter().any(|file| target == Path::new(file)) {
            return Ok(MAY_COVER_PROC);
        }
        Err(self.problem(format!("{shown:?} cannot be mounted because it is inside /proc")))
    }

    fn make_bind(
        &self,
        steps: &mut Steps,
        bundle: &Path,
        target: &CString,
        proc_flags: u32,
    ) -> Result<(), SpecError> {
        let options = &self.options;
        if let Some(data) = options.data.first() {
            // The kernel would ignore them: the file system is mounted already.
            return Err(self.problem(format!(
                "bind mounts cannot have any filesystem-specific options applied ({data:?})"
            )));
        }
        if options.copy_up {
            return Err(self.problem("has the option tmpcopyup, which only a tmpfs can have"));
        }
        let source = c_path(&self.origin, &bundle.join(&self.mount.source))?;
        let attr = options.bind_attr();
        let is_recursive = !options.is_bind() || options.flags & MS_REC != 0;
        steps.push(
            self.origin.clone(),
            &Op::MountBind {
                source: &source,
                target,
                set: attr.set,
                clear: attr.clear,
                must_clear: attr.must_clear,
                recursive_set: options.recursive_set,
                recursive_clear: options.recursive_clear,
                propagation: self.propagation()?,
                flags: proc_flags | if is_recursive { RECURSIVE } else { 0 },
            },
        );
        Ok(())
    }

    fn make_fs(
        &self,
        steps: &mut Steps,
        target: &CString,
        (fstype, label): (&str, OfMount<'_>),
        flags: u32,
        fallback: Option<PathBuf>,
    ) -> Result<(), SpecError> {
        let options = &self.options;
        if options.needs_mount(&self.mount.source) {
            return self.make_by_mount(steps, target, fstype, flags & !(PLAIN | KEPT), label);
        }
        // What mount(2) does not do at once is set on a detached mount.
        let not_plain = options.copy_up
            || options.recursive_set | options.recursive_clear != 0
            || !options.propagation.is_empty()
            // A comma in it would end it there.
            || label != OfMount::None
            // It would make the super block read-only, too.
            || (shares_superblock(fstype) && options.attr() & MOUNT_ATTR_RDONLY != 0);
        let flags = flags & if not_plain { !PLAIN } else { !0 };
        let waits = self.is_readonly_late();
        let of_mount = waits || shares_superblock(fstype);
        let words = options.superblock().filter(|word| !(of_mount && *word == "ro"));
        let context = label.option();
        let all = words.chain(options.pairs()).chain(context.as_deref());
        let pairs = c_strings(&self.origin, all)?;
        let fstype_c = c_string(&self.origin, fstype)?;
        let source = self.source()?;
        let fallback = fallback.map(|path| c_path(&self.origin, &path)).transpose()?;
        steps.push(
            self.origin.clone(),
            &Op::MountFs {
                target,
                fstype: &fstype_c,
                source: source.as_deref(),
                options: list(&self.origin, &pairs)?,
                attr: options.attr() & !if waits { MOUNT_ATTR_RDONLY } else { 0 },
                recursive_set: options.recursive_set,
                recursive_clear: options.recursive_clear,
                propagation: self.propagation()?,
                flags: flags | self.fs_flags(fstype),
                fallback: fallback.as_deref(),
            },
        );
        Ok(())
    }

    fn make_by_mount(
        &self,
        steps: &mut Steps,
        target: &CString,
        fstype: &str,
        proc_flags: u32,
        label: OfMount<'_>,
    ) -> Result<(), SpecError> {
        let options = &self.options;
        let late = if self.is_readonly_late() { MS_RDONLY } else { 0 };
        let context = label.quoted();
        let words: Vec<&str> = options.data.iter().copied().chain(context.as_deref()).collect();
        let data = c_string(&self.origin, words.join(","))?;
        let fstype_c = c_string(&self.origin, fstype)?;
        let source = self.source()?;
        steps.push(
            self.origin.clone(),
            &Op::MountData {
                target,
                fstype: &fstype_c,
                source: source.as_deref(),
                ms_flags: options.flags & !late,
                data: &data,
                recursive_set: options.recursive_set,
                recursive_clear: options.recursive_clear,
                propagation: self.propagation()?,
                flags: proc_flags | self.fs_flags(fstype),
            },
        );
        Ok(())
    }

    fn fs_flags(&self, fstype: &str) -> u32 {
        let mut flags = 0;
        if matches!(fstype, "proc" | "sysfs") {
            flags |= NO_SYMLINKS;
        }
        if fstype == "tmpfs" && !self.options.has_key("mode") {
            flags |= MODE_OF_TARGET;
        }
        if self.options.copy_up {
            flags |= COPY_UP;
        }
        flags
    }

    fn source(&self) -> Result<Option<CString>, SpecError> {
        let source = self.mount.source.as_str();
        (!source.is_empty()).then(|| c_string(&self.origin, source)).transpose()
    }

    fn propagation(&self) -> Result<Ids<'_>, SpecError> {
        Ids::new(&self.options.propagation).map_err(|_| self.problem("has too many options"))
    }
}

/// Whether all mounts of this type in a namespace (network, IPC) or on the host have one super block.
///
/// Were it made read-only by a pod's first container, the /sys of a privileged one in the same network could not be
/// written (moby issue 24000, containerd issue 3221). So only the mount is.
fn shares_superblock(fstype: &str) -> bool {
    matches!(fstype, "sysfs" | "mqueue" | "cgroup2")
}

/// What is bound where the kernel permits no new sysfs: it shows the network namespace, and that has to belong to the user
/// namespace. As crun.
fn sysfs_source(inputs: &Inputs<'_>) -> Option<PathBuf> {
    let namespaces = &inputs.namespaces;
    let may_be_refused = namespaces.has(CLONE_NEWUSER) && !namespaces.is_new(CLONE_NEWNET);
    may_be_refused.then(|| "/sys".into())
}

/// What is bound where cgroup2 may not be mounted: the container's own cgroup where it is to see only that, else all.
fn cgroup_source(inputs: &Inputs<'_>) -> Option<PathBuf> {
    let mount_point = &inputs.facts.cgroup.mount_point;
    if inputs.namespaces.has(CLONE_NEWCGROUP) {
        cgroup::path(inputs).ok().map(|path| mount_point.join(path))
    } else {
        Some(mount_point.clone())
    }
}
