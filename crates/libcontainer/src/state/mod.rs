//! What is known of a container, and what follows from it.
//!
//! [`Record`] holds facts only: written once as the *intent* before the first side effect of create, and once more when init is
//! ready. [`status`] is a pure function of such facts and what the kernel says now. The format is described in
//! `docs/state.md`; it carries a version, and later releases read it: callers replace the binary under running containers.
//!
//! Runs in: runtime.

mod dir;
mod hook;
mod identity;
mod time;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::plan::{ExecBase, LateSteps, Manager};
use crate::spec;

pub(crate) use dir::{Found, Lock, START_FIFO, StateDir, list};
pub(crate) use identity::{Process, ProcessStat, boot_id};
pub use time::rfc3339;

/// The version of the format that this release writes.
const FORMAT: u32 = 1;

/// A container's id: `[A-Za-z0-9_+.-]+`, neither `.` nor `..`, at most 1024 bytes (the rule of runc).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerId(String);

impl ContainerId {
    /// Checks `id`.
    ///
    /// # Errors
    /// [`Error::InvalidId`].
    pub fn new(id: &str) -> Result<Self, Error> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
        let is_valid =
            (1..=1024).contains(&id.len()) && id.bytes().all(allowed) && !matches!(id, "." | "..");
        if is_valid { Ok(Self(id.into())) } else { Err(Error::InvalidId { id: id.into() }) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The statuses of runtime-spec, and `paused`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// A `create` is at work.
    Creating,
    /// init waits for `start`.
    Created,
    /// The user's process runs.
    Running,
    /// All of its processes are frozen.
    Paused,
    /// There is no process any more.
    Stopped,
}

impl Status {
    /// As the specification spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the kernel says now of a container: the input of [`status`] beside the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Another process holds the container's lock.
    pub is_locked: bool,
    /// The recorded init is there and no zombie.
    pub init_is_alive: bool,
    /// It still executes corten's init image.
    pub init_is_ours: bool,
    /// The cgroup is frozen.
    pub is_frozen: bool,
}

/// The status that follows from what is recorded and what is seen.
pub(crate) fn status(has_init: bool, seen: Observed) -> Status {
    match seen {
        Observed { is_locked: true, .. } if !has_init => Status::Creating,
        Observed { init_is_alive: false, .. } => Status::Stopped,
        Observed { is_frozen: true, .. } => Status::Paused,
        Observed { init_is_ours: true, .. } => Status::Created,
        _ => Status::Running,
    }
}

/// The content of `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// [`FORMAT`] of the release that wrote it.
    pub format: u32,
    pub oci_version: String,
    pub id: String,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    /// RFC 3339 with nanoseconds, UTC.
    pub created: String,
    /// Effective user id of who created it.
    pub owner: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The boot that the processes belong to.
    pub boot_id: String,
    /// Absent in the intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Init>,
    /// Absent in the intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecBase>,
    /// Absent where the container has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupRecord>,
    /// Absent where config.json does not ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<RdtRecord>,
    /// Limits and device rules: of config.json, and what `update` has changed since.
    #[serde(default, skip_serializing_if = "is_unlimited")]
    pub resources: spec::LinuxResources,
    /// Whether the container has a pid namespace of its own: killing its init kills all of it.
    pub private_pid_namespace: bool,
    /// What init does after `start`; absent when it does not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<LateSteps>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<spec::Hook>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<spec::Hook>,
}

fn is_unlimited(resources: &spec::LinuxResources) -> bool {
    *resources == spec::LinuxResources::default()
}

/// The container's first process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Init {
    #[serde(flatten)]
    pub process: Process,
    /// Device and inode of the image that it executes until it executes the user's program; absent where nobody asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<(u64, u64)>,
    /// It was let go before it was ready: as long as it executes the image, the container is still being made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ahead: bool,
}

impl Init {
    /// Whether the process, which lives, has still to execute the user's program.
    pub fn executes_image(&self) -> bool {
        self.image.is_some_and(|image| {
            rustix::fs::stat(format!("/proc/{}/exe", self.process.pid))
                .is_ok_and(|stat| (stat.st_dev, stat.st_ino) == image)
        })
    }

    /// Whether the process, which lives, has still to make the container: its root may be the host's.
    pub fn is_at_work(&self) -> bool {
        self.ahead && self.executes_image()
    }
}

/// Where the cgroup is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CgroupRecord {
    /// Where cgroup v2 was mounted.
    pub mount_point: PathBuf,
    /// Below it.
    pub path: PathBuf,
    /// The kernel's id of it, by which a later one at the same path is told apart; absent in the intent, which is written before there
    /// is a cgroup, and in what an older release has written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The unit whose cgroup it is; absent where the runtime has made the directory itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitRecord>,
}

/// Groups of resctrl, as paths below its root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RdtRecord {
    /// The class of service; empty: the root's.
    pub group: String,
    /// The group that is monitored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
    /// What `delete` removes, in the order in which it was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made: Vec<String>,
}

/// A unit of systemd's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UnitRecord {
    pub name: String,
    pub manager: Manager,
}

impl Record {
    /// The version of a record that is written now.
    pub fn current_format() -> u32 {
        FORMAT
    }

    /// Whether a hook of the runtime's namespaces may be at work, or may have been when its runtime was killed. Those before
    /// init is ready are in config.json alone.
    pub fn may_have_hooks(&self) -> bool {
        self.init.is_none() || !self.poststart.is_empty() || !self.poststop.is_empty()
    }
}

/// What `state` prints: the fields of runtime-spec and runc's own, in runc's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateReport {
    /// Of config.json.
    pub oci_version: String,
    /// The container.
    pub id: String,
    /// Of init in the runtime's pid namespace; 0 when stopped.
    pub pid: i32,
    /// The status.
    pub status: Status,
    /// Absolute.
    pub bundle: PathBuf,
    /// Absolute.
    pub rootfs: PathBuf,
    /// RFC 3339 with nanoseconds, UTC.
    pub created: String,
    /// Of config.json.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The user's name; empty in the output of `state`, as runc has it.
    pub owner: String,
}

/// What hooks read on stdin (runtime.md, "State"): compact, without a newline.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HookState<'a> {
    pub oci_version: &'a str,
    pub id: &'a str,
    pub status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    pub bundle: &'a std::path::Path,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: &'a BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_with_allowed_characters_is_accepted() {
        for id in ["a", "A_b+c.d-9", "...", "-a", &"x".repeat(1024)] {
            assert_eq!(ContainerId::new(id).unwrap().as_str(), id);
        }
    }

    #[test]
    fn id_that_is_no_file_name_is_refused() {
        for id in ["", ".", "..", "a/b", "a b", "é", "a\n", "a\0", &"x".repeat(1025)] {
            assert!(ContainerId::new(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn status_of_every_observation_is_as_the_table_says() {
        let seen = |is_locked, init_is_alive, init_is_ours, is_frozen| Observed {
            is_locked,
            init_is_alive,
            init_is_ours,
            is_frozen,
        };
        let table = [
            (false, seen(true, false, false, false), Status::Creating),
            (false, seen(false, false, false, false), Status::Stopped),
            (true, seen(true, true, true, false), Status::Created),
            (true, seen(false, true, true, false), Status::Created),
            (true, seen(false, true, false, false), Status::Running),
            (true, seen(true, true, false, false), Status::Running),
            (true, seen(false, true, false, true), Status::Paused),
            (true, seen(false, true, true, true), Status::Paused),
            (true, seen(false, false, false, false), Status::Stopped),
            (true, seen(false, false, false, true), Status::Stopped),
            (true, seen(true, false, false, false), Status::Stopped),
        ];
        for (has_init, seen, expected) in table {
            assert_eq!(status(has_init, seen), expected, "{has_init} {seen:?}");
        }
    }
}
