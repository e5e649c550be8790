//! What the planner is given and what it makes.
//!
//! Runs in: any process.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use corten_plan::{Handle, Op, PlanReader};

use super::resources::Setting;
use super::seccomp::SeccompPlan;
use super::unit::{Manager, UnitPlan};
use super::user_namespace::IdMaps;
use super::words::CLONE_NEWPID;
use crate::spec;

/// What the caller wants, besides what config.json says; merged and checked once.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The container's id.
    pub id: String,
    /// The bundle directory, absolute.
    pub bundle: PathBuf,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// How many fds from 3 on the process keeps: LISTEN_FDS plus `--preserve-fds`.
    pub preserved_fds: u32,
    /// How many of them are LISTEN_FDS; 0: none, and no variables are set.
    pub listen_fds: u32,
    /// `run`: the process starts without waiting for `start`.
    pub start_at_once: bool,
    /// The caller's environment: what hooks without `env` get, as with runc and crun.
    pub environment: Vec<OsString>,
    /// `--systemd-cgroup`: the systemd that makes the cgroup.
    pub systemd: Option<Manager>,
    /// `--cgroup-manager disabled`: no cgroup is made.
    pub no_cgroup: bool,
    /// `--rootless`: whether a cgroup that cannot be had is done without, where nothing asks for one; `None`: where the caller is
    /// not root of the host.
    pub rootless: Option<bool>,
}

/// All that `create` or `run` will do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The namespaces and how init is started.
    pub spawn: SpawnPlan,
    /// The cgroup; `None`: the container has none of its own.
    pub cgroup: Option<CgroupPlan>,
    /// Hooks that run in the runtime's namespaces; those of the container's namespaces are ops of init.
    pub hooks: RuntimeHooks,
    /// The class of service, if config.json asks for one.
    pub intel_rdt: Option<RdtPlan>,
    /// Network devices that the runtime moves into the container.
    pub net_devices: Vec<NetDevice>,
    /// Whether the process has a terminal of its own.
    pub terminal: bool,
    /// The root file system on the host, absolute.
    pub rootfs: PathBuf,
    /// What init does.
    pub init: InitPlan,
    /// The system call filter, which init loads.
    pub seccomp: Option<SeccompPlan>,
    /// What config.json asks for and this version cannot give: `create` refuses each by name.
    pub unsupported: Vec<Remark>,
    /// What the log gets as warnings.
    pub warnings: Vec<Remark>,
}

impl Plan {
    /// Whether programs of the host run while init waits at Mounted.
    pub fn has_hooks_before_init_is_ready(&self) -> bool {
        !self.hooks.prestart.is_empty() || !self.hooks.create_runtime.is_empty()
    }

    /// Whether the container has a new pid namespace: all its processes end with init.
    pub fn has_private_pid_namespace(&self) -> bool {
        (self.spawn.clone_flags | self.spawn.fork_flags) & CLONE_NEWPID != 0
    }
}

/// A property and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// JSON pointer, or the flag of the command line.
    pub pointer: String,
    /// The text.
    pub text: String,
}

impl Remark {
    pub(super) fn new(pointer: impl fmt::Display, text: impl Into<String>) -> Self {
        Self { pointer: pointer.to_string(), text: text.into() }
    }
}

/// How init is started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpawnPlan {
    /// `CLONE_NEW*` bits of the first `clone3`.
    pub clone_flags: u32,
    /// `CLONE_NEW*` bits of the second, which init's first stage makes ([`Op::Fork`]).
    pub fork_flags: u32,
    /// Namespaces joined by path: opened by the runtime, entered by init's first stage.
    pub joins: Vec<NamespacePath>,
    /// Whether the runtime has a child of its own make the network namespace, with its loopback device up, while it does what comes
    /// before init and init comes to be: it is half of what the kernel does for a start.
    pub network_ahead: bool,
    /// Whether the plan has an [`Op::Fork`]: a first stage in the host's pid namespace makes init.
    pub two_stages: bool,
    /// The id maps of a new user namespace, written by the runtime when the first process is at `Unmapped`.
    pub id_maps: Option<IdMaps>,
    /// The id maps that config.json says a joined user namespace has, maybe none: compared when the first process is at
    /// `Unmapped`.
    pub joined_id_maps: Option<IdMaps>,
}

/// A namespace to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespacePath {
    /// The one `CLONE_NEW*` bit.
    pub kind: u32,
    /// What to open.
    pub path: PathBuf,
    /// The property that named it.
    pub pointer: String,
    /// What the ops call it.
    pub handle: Handle,
    /// What is wrong if it is the runtime's own; `None`: nothing is.
    pub own_is_refused: Option<spec::SpecError>,
}

/// A class of service of resctrl, and what is written of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RdtPlan {
    /// Its directory below the root of resctrl; empty: the root itself.
    pub group: String,
    /// `closID` names it: it may be there before, and stays.
    pub is_named: bool,
    /// What is written to `schemata`: below `/linux/intelRdt` the property, and its line.
    pub lines: Vec<(String, String)>,
    /// The group in it that is monitored, if any: the container's id.
    pub monitor: Option<String>,
}

/// A network device to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// The property that asks for it.
    pub pointer: String,
    /// Its name on the host.
    pub host_name: String,
    /// Its name in the container; with `%d` in the place of a number that is free there.
    pub name: String,
}

impl NetDevice {
    /// Whether its number is chosen when it is moved.
    pub fn is_template(&self) -> bool {
        self.name.contains("%d")
    }
}

/// Where the container's cgroup is, and what it is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CgroupPlan {
    /// Below the root of the unified hierarchy, without a leading slash, without `.` and `..`; never empty. With a unit of the
    /// user's manager: below that manager's cgroup.
    pub path: PathBuf,
    /// The scope whose cgroup it is; `None`: we make the directory ourselves.
    pub unit: Option<UnitPlan>,
    /// Device rules as BPF instructions (`struct bpf_insn`, 8 bytes each); `None`: every device is allowed.
    pub devices: Option<Vec<u64>>,
    /// Limits, in the order in which they are written.
    pub settings: Vec<Setting>,
    /// Those that are written only when init has been made, in place of what [`Self::settings`] says.
    pub late: Vec<Setting>,
    /// The uid, on the host, that the container's part of the hierarchy is delegated to.
    pub owner: Option<u32>,
    /// Whether config.json says where it is, or systemd makes it.
    pub is_named: bool,
    /// As [`Request::rootless`].
    pub rootless: Option<bool>,
}

impl CgroupPlan {
    /// Whether nothing asks for it: no place, no limit. Its device rules, only root could attach.
    pub fn is_optional(&self) -> bool {
        !self.is_named && self.settings.is_empty()
    }
}

/// The hooks that the runtime process runs, in order.
#[derive(Debug, Clone, Default)]
pub struct RuntimeHooks {
    /// Deprecated, before createRuntime.
    pub prestart: Vec<spec::Hook>,
    /// After the namespaces were made, before pivot.
    pub create_runtime: Vec<spec::Hook>,
    /// After the user's process was started.
    pub poststart: Vec<spec::Hook>,
    /// After the container was deleted.
    pub poststop: Vec<spec::Hook>,
}

/// The ops of init, encoded, and the origin of each.
#[derive(Debug, Clone)]
pub struct InitPlan {
    /// As `PlanWriter::finish` made it.
    pub bytes: Vec<u8>,
    /// By index of op: the property that made it.
    pub origins: Vec<Origin>,
    /// The mounts that get an id mapping from the runtime, in the order in which init asks.
    pub id_maps: Vec<IdMapPlan>,
    /// Whether init needs the state JSON with the Go after Mounted (createContainer hooks).
    pub state_at_mounted: bool,
    /// Whether init needs the state JSON with the Go after Ready (startContainer hooks).
    pub state_at_ready: bool,
    /// Whether the runtime may let init go on from Ready before it is there: until then init asks for nothing, no program of
    /// anybody's runs, and it is not a user namespace that decides what init may reach.
    pub may_go_ahead: bool,
}

impl InitPlan {
    /// The ops in order, each with its origin.
    pub fn ops(&self) -> impl Iterator<Item = (&Origin, Op<'_>)> {
        let ops = PlanReader::new(&self.bytes).into_iter().flatten().filter_map(Result::ok);
        ops.map(|(index, op)| (self.origins.get(usize::from(index)).unwrap_or(&Origin::Always), op))
    }
}

/// A mount that gets an id mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMapPlan {
    /// The op that makes the mount.
    pub op: u16,
    /// `ridmap`: the mounts below it get it, too.
    pub recursive: bool,
    /// Which mapping.
    pub source: MapSource,
    /// The property that asked for it.
    pub pointer: String,
}

/// Where an id mapping comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MapSource {
    /// These maps: `container_id` is what the file system has, `host_id` what the host sees.
    Maps {
        /// Of users.
        uids: Vec<spec::LinuxIdMapping>,
        /// Of groups.
        gids: Vec<spec::LinuxIdMapping>,
    },
    /// Those of the user namespace that the container joins.
    Joined(Handle),
}

/// Which property of config.json made a step; `Display` gives the JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// None: every container has the step. Its pointer is empty.
    Always,
    /// A property.
    Property(Cow<'static, str>),
    /// An element of an array.
    Element(&'static str, usize),
}

impl Origin {
    /// A member of an object whose names are the user's (RFC 6901: `~` and `/` are escaped).
    pub(super) fn member(object: &str, name: &str) -> Self {
        let name = name.replace('~', "~0").replace('/', "~1");
        Self::Property(Cow::Owned(format!("{object}/{name}")))
    }
}

impl From<&'static str> for Origin {
    fn from(pointer: &'static str) -> Self {
        Self::Property(Cow::Borrowed(pointer))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => Ok(()),
            Self::Property(pointer) => to.write_str(pointer),
            Self::Element(array, index) => write!(to, "{array}/{index}"),
        }
    }
}
