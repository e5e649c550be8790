//! Which namespaces are new, joined or the runtime's own, and in how many stages init comes to be.
//!
//! One `clone3` makes init in all its new namespaces. Three things need a first stage that stays in the runtime's pid
//! namespace: joining a namespace by path (a pid namespace is entered by children only), and a new time namespace
//! (its offsets must be written before the first process enters it). Then only [`Op::Fork`] makes a new pid
//! namespace, or the first stage would be its pid 1.
//!
//! A user namespace comes before all that it is to own. clone3 makes only a pid namespace with it, for a process cannot
//! enter a new one later; the others init makes itself when its ids are mapped, because what comes with them (the
//! file system of an IPC namespace, /proc/net, /sys/class/net) belongs to who made them.
//! `docs/design/0007-user-namespaces.md`.
//!
//! Runs in: any process.

use std::fmt::Write as _;
use std::path::PathBuf;

use corten_plan::{Handle, Op, Point};

use super::steps::{Steps, c_string};
use super::types::{NamespacePath, NetDevice, Origin, SpawnPlan};
use super::user_namespace;
use super::words::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWTIME,
    CLONE_NEWUSER, CLONE_NEWUTS, CLONE_VM,
};
use crate::host::Facts;
use crate::spec::{Linux, LinuxNamespace, LinuxNetDevice, NamespaceType, SpecError, sysctl_owner};

const POINTER: &str = "/linux/namespaces";
const NET_DEVICES: &str = "/linux/netDevices";
const TIME_OFFSETS: &str = "/linux/timeOffsets";

/// The container's namespaces.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Namespaces {
    /// `CLONE_NEW*` of those that are made.
    pub new: u32,
    /// Those that are joined: as config.json has them, then a mount namespace, which takes the host's procfs away, then a
    /// user namespace, which takes the rights to those that it does not own.
    pub joined: Vec<NamespacePath>,
    /// Whether init makes a mount namespace of the root file system alone ([`Op::RootNamespace`]).
    pub copies_no_mounts: bool,
}

impl Namespaces {
    /// The namespaces of config.json.
    pub fn of(linux: &Linux) -> Result<Self, SpecError> {
        let mut all = Self::default();
        for (index, namespace) in linux.namespaces.iter().enumerate() {
            let kind = clone_flag(namespace.namespace_type);
            if namespace.path.is_empty() {
                all.new |= kind;
                continue;
            }
            let pointer = Origin::Element(POINTER, index).to_string();
            let handle = u16::try_from(all.joined.len())
                .ok()
                .and_then(|count| Handle::FIRST_FREE.0.checked_add(count))
                .ok_or_else(|| SpecError::new(pointer.clone(), "is one namespace too many"))?;
            let path = PathBuf::from(&namespace.path);
            let own_is_refused = own_is_refused(linux, namespace, &pointer);
            let handle = Handle(handle);
            all.joined.push(NamespacePath { kind, path, pointer, handle, own_is_refused });
        }
        all.joined.sort_by_key(|namespace| match namespace.kind {
            CLONE_NEWUSER => 2,
            CLONE_NEWNS => 1,
            _ => 0,
        });
        Ok(all)
    }

    /// Whether this kind is not the runtime's own.
    pub fn has(&self, kind: u32) -> bool {
        self.new & kind != 0 || self.joined.iter().any(|namespace| namespace.kind == kind)
    }

    /// Whether this kind is new.
    pub fn is_new(&self, kind: u32) -> bool {
        self.new & kind != 0
    }

    /// How init is started.
    pub fn spawn(&self, linux: &Linux, facts: &Facts) -> SpawnPlan {
        let two_stages = self.has_two_stages();
        let joins_user = self.has(CLONE_NEWUSER) && !self.is_new(CLONE_NEWUSER);
        let network_ahead = self.is_network_ahead();
        let elsewhere = if network_ahead { CLONE_NEWNET } else { 0 };
        let later = if self.copies_no_mounts { CLONE_NEWNS } else { 0 };
        let by_clone = self.new & !(CLONE_NEWTIME | self.by_init() | elsewhere | later);
        // The first stage joins before it makes a user namespace: afterwards it may not.
        let of_stage = if two_stages { CLONE_NEWPID | CLONE_NEWUSER } else { 0 };
        SpawnPlan {
            clone_flags: by_clone & !of_stage,
            fork_flags: by_clone & of_stage & CLONE_NEWPID,
            joins: self.joined.clone(),
            network_ahead,
            two_stages,
            id_maps: self.is_new(CLONE_NEWUSER).then(|| user_namespace::maps(linux, facts)),
            joined_id_maps: joins_user.then(|| user_namespace::maps(linux, facts)),
        }
    }

    /// Whether a first stage makes init.
    pub fn has_two_stages(&self) -> bool {
        !self.joined.is_empty() || self.is_new(CLONE_NEWTIME)
    }

    /// See [`SpawnPlan::network_ahead`]. Not one that belongs to a user namespace, which is made only with init.
    pub fn is_network_ahead(&self) -> bool {
        self.is_new(CLONE_NEWNET) && !self.has(CLONE_NEWUSER) && !self.has_two_stages()
    }

    /// Those that init makes. A cgroup namespace's root is the cgroup that the caller of unshare is in: clone3 would take the
    /// runtime's where CLONE_INTO_CGROUP comes later in the kernel's order.
    pub fn by_init(&self) -> u32 {
        let others = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET;
        self.new & (CLONE_NEWCGROUP | if self.has(CLONE_NEWUSER) { others } else { 0 })
    }

    /// Init's first stage, or init where there is none: enters what is joined, gets its user namespace, makes the time
    /// namespace, and makes init.
    pub fn first_stage(&self, steps: &mut Steps, linux: &Linux) -> Result<(), SpecError> {
        // While /proc is the host's: what has its place in a mount namespace that is joined would be written as root. And while the
        // files in it are ours, which those of a process are not that is not dumpable. Who opens it is who needs CAP_SYS_TIME in
        // the namespace (`proc_timens_set_offset()` of the kernel), as runc's parent is.
        if self.is_new(CLONE_NEWTIME) && !linux.time_offsets.is_empty() {
            steps.push(TIME_OFFSETS, &Op::TimeOffsets);
        }
        if !self.joined.is_empty() {
            steps.push(POINTER, &Op::NotDumpable);
        }
        self.join(steps);
        if self.has(CLONE_NEWNET) && !self.is_new(CLONE_NEWNET) {
            hand_over_network(steps, linux);
        }
        if self.is_new(CLONE_NEWUSER) && self.has_two_stages() {
            steps.push(POINTER, &Op::Unshare { flags: CLONE_NEWUSER });
        }
        if self.has(CLONE_NEWUSER) {
            steps.push(POINTER, &Op::Sync { point: Point::Unmapped as u8 });
        }
        if self.is_new(CLONE_NEWTIME) {
            let origin = Origin::from(TIME_OFFSETS);
            let offsets = c_string(&origin, time_offsets(linux))?;
            steps.push(origin, &Op::TimeNamespace { offsets: &offsets });
        }
        if self.has_two_stages() {
            let flags = self.new & CLONE_NEWPID | self.sharing();
            steps.push(POINTER, &Op::Fork { flags });
        }
        Ok(())
    }

    /// With the rights that it comes with, the first stage enters what belongs to the host; then the user namespace, and
    /// what that owns. (As runc; the other way round nothing of the host's could be joined.)
    fn join(&self, steps: &mut Steps) {
        let has_user = self.joined.iter().any(|namespace| namespace.kind == CLONE_NEWUSER);
        let mut join = |namespace: &NamespacePath, may_wait| {
            let origin = Origin::Property(namespace.pointer.clone().into());
            let &NamespacePath { handle, kind, .. } = namespace;
            steps.push(origin, &Op::Join { handle, kind, may_wait });
        };
        for namespace in &self.joined {
            join(namespace, has_user && namespace.kind != CLONE_NEWUSER);
        }
        if has_user {
            let others = self.joined.iter().filter(|namespace| namespace.kind != CLONE_NEWUSER);
            others.for_each(|namespace| join(namespace, false));
        }
    }

    /// [`Op::Fork`]'s child goes on in the memory of the first stage, and nothing is copied; but not into a new time namespace:
    /// a process enters that with a memory of its own only (`copy_namespaces()` in the kernel's `nsproxy.c`).
    fn sharing(&self) -> u32 {
        if self.is_new(CLONE_NEWTIME) { 0 } else { CLONE_VM }
    }
}

/// What would happen to the host by a namespace that turns out to be the runtime's own: a path says nothing of that.
fn own_is_refused(linux: &Linux, namespace: &LinuxNamespace, pointer: &str) -> Option<SpecError> {
    let LinuxNamespace { namespace_type: kind, path } = namespace;
    if *kind == NamespaceType::Mount {
        // pivot_root(2) changes the root of every process in it.
        let problem =
            format!("{path} is the runtime's own: its root would become that of the container");
        return Some(SpecError::new(pointer, problem));
    }
    // As runc, which looks so at networks (`isHostNetNS` of its `validator.go`).
    linux.sysctl.keys().find_map(|name| match sysctl_owner(name) {
        Ok((owner, problem)) if owner == *kind => {
            Some(SpecError::new(Origin::member("/linux/sysctl", name).to_string(), problem))
        }
        _ => None,
    })
}

/// Waits for the network namespace that the runtime has made meanwhile, and enters it.
pub(super) fn enter_network(steps: &mut Steps) {
    steps.push(POINTER, &Op::EnterSent { kind: CLONE_NEWNET });
}

/// Gives the runtime what it needs to move network devices in, where there are any.
pub(super) fn hand_over_network(steps: &mut Steps, linux: &Linux) {
    if !linux.net_devices.is_empty() {
        steps.push(NET_DEVICES, &Op::NetworkSocket);
    }
}

/// The network devices that the runtime moves.
pub(super) fn net_devices(linux: &Linux) -> Vec<NetDevice> {
    let device = |(host_name, device): (&String, &LinuxNetDevice)| NetDevice {
        pointer: Origin::member(NET_DEVICES, host_name).to_string(),
        host_name: host_name.clone(),
        name: if device.name.is_empty() { host_name.clone() } else { device.name.clone() },
    };
    linux.net_devices.iter().map(device).collect()
}

/// The lines of `/proc/PID/timens_offsets` (time_namespaces(7)): clock, seconds, nanoseconds.
fn time_offsets(linux: &Linux) -> String {
    let mut lines = String::new();
    for (clock, offset) in &linux.time_offsets {
        // Writing to a String cannot fail.
        writeln!(lines, "{clock} {} {}", offset.secs, offset.nanosecs).unwrap_or_default();
    }
    lines
}

/// The `CLONE_NEW*` bit of a kind of namespace.
pub(super) fn clone_flag(kind: NamespaceType) -> u32 {
    match kind {
        NamespaceType::Pid => CLONE_NEWPID,
        NamespaceType::Network => CLONE_NEWNET,
        NamespaceType::Mount => CLONE_NEWNS,
        NamespaceType::Ipc => CLONE_NEWIPC,
        NamespaceType::Uts => CLONE_NEWUTS,
        NamespaceType::User => CLONE_NEWUSER,
        NamespaceType::Cgroup => CLONE_NEWCGROUP,
        NamespaceType::Time => CLONE_NEWTIME,
    }
}
