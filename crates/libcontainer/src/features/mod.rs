//! The Features structure of the runtime specification: what this program can do, whatever the host is.
//!
//! [`Features::of_this_program`] is what `corten features` prints; engines ask it before they use a user namespace, an
//! id-mapped mount or `rro`. Nothing is claimed that the planner refuses, and nothing left out that it takes:
//! `tests/integration/features.rs` holds it against `corten plan`. [`Features::of_this_host`] leaves out what the
//! kernel and the system here do not give.
//!
//! Runs in: runtime.

mod host;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::plan::{CAPABILITIES, MOUNT_OPTIONS};
use crate::spec::{
    MemoryPolicyFlag, MemoryPolicyMode, NamespaceType, SeccompAction, SeccompArch, SeccompFlag,
    SeccompOperator, template,
};

/// features.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    /// The oldest `ociVersion` that is taken.
    pub oci_version_min: &'static str,
    /// The newest.
    pub oci_version_max: &'static str,
    /// Kinds of hooks.
    pub hooks: Vec<&'static str>,
    /// Words of `mounts[].options`, but those that are a file system's own.
    pub mount_options: Vec<&'static str>,
    /// What is Linux's.
    pub linux: LinuxFeatures,
    /// What has no property of its own.
    pub annotations: BTreeMap<String, String>,
    /// Annotations of config.json that change what is done; with a dot at the end: all that begin so.
    pub potentially_unsafe_config_annotations: Vec<&'static str>,
}

/// features-linux.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinuxFeatures {
    /// Kinds of namespaces.
    pub namespaces: Vec<NamespaceType>,
    /// Names of capabilities.
    pub capabilities: Vec<&'static str>,
    /// Cgroups.
    pub cgroup: CgroupFeatures,
    /// System call filters.
    pub seccomp: SeccompFeatures,
    /// AppArmor profiles.
    pub apparmor: Enabled,
    /// SELinux labels.
    pub selinux: Enabled,
    /// Intel RDT.
    pub intel_rdt: IntelRdtFeatures,
    /// Id-mapped mounts.
    pub mount_extensions: MountExtensions,
    /// Network devices of the host moved into the container.
    pub net_devices: Enabled,
    /// NUMA memory policies.
    pub memory_policy: MemoryPolicyFeatures,
}

/// Which cgroups can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CgroupFeatures {
    /// Never: deprecated everywhere. Containers of a hybrid host live in its unified hierarchy.
    pub v1: bool,
    /// The unified hierarchy.
    pub v2: bool,
    /// Made by the system's systemd.
    pub systemd: bool,
    /// Made by the user's systemd.
    pub systemd_user: bool,
    /// `linux.resources.rdma`.
    pub rdma: bool,
}

/// What a profile may hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SeccompFeatures {
    /// Whether there are filters at all.
    pub enabled: bool,
    /// Answers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<SeccompAction>,
    /// Comparisons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<SeccompOperator>,
    /// Architectures; of those that this kernel never reports nothing has to be filtered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub archs: Vec<SeccompArch>,
    /// Flags that are understood.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub known_flags: Vec<SeccompFlag>,
    /// Flags that can be used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supported_flags: Vec<SeccompFlag>,
}

/// Whether it can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Enabled {
    /// It can.
    pub enabled: bool,
}

/// `linux.memoryPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryPolicyFeatures {
    /// Modes.
    pub modes: Vec<MemoryPolicyMode>,
    /// Flags.
    pub flags: Vec<MemoryPolicyFlag>,
}

/// Intel RDT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct IntelRdtFeatures {
    /// `linux.intelRdt`.
    pub enabled: bool,
    /// `schemata` of it.
    pub schemata: bool,
    /// `enableMonitoring` of it.
    pub monitoring: bool,
}

/// What mounts can do beyond mount(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MountExtensions {
    /// `uidMappings` and `gidMappings` of a mount, `idmap` and `ridmap`.
    pub idmap: Enabled,
}

impl Features {
    /// What this program can do, on whatever host.
    pub fn of_this_program() -> Self {
        let version = ("corten.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        let checkpoint = ("corten.checkpoint.enabled".to_owned(), "false".to_owned());
        Self {
            oci_version_min: "1.0.0",
            oci_version_max: template::OCI_VERSION,
            hooks: vec![
                "prestart",
                "createRuntime",
                "createContainer",
                "startContainer",
                "poststart",
                "poststop",
            ],
            mount_options: MOUNT_OPTIONS.to_vec(),
            linux: LinuxFeatures::of_this_program(),
            annotations: BTreeMap::from([version, checkpoint]),
            potentially_unsafe_config_annotations: vec!["run.oci.", "org.systemd.property."],
        }
    }
}

impl LinuxFeatures {
    fn of_this_program() -> Self {
        Self {
            namespaces: NamespaceType::ALL.to_vec(),
            capabilities: CAPABILITIES.to_vec(),
            cgroup: CgroupFeatures {
                v1: false,
                v2: true,
                systemd: true,
                systemd_user: true,
                rdma: true,
            },
            seccomp: SeccompFeatures::of_this_program(),
            apparmor: Enabled { enabled: true },
            selinux: Enabled { enabled: true },
            intel_rdt: IntelRdtFeatures { enabled: true, schemata: true, monitoring: true },
            mount_extensions: MountExtensions { idmap: Enabled { enabled: true } },
            net_devices: Enabled { enabled: true },
            memory_policy: MemoryPolicyFeatures {
                modes: MemoryPolicyMode::ALL.to_vec(),
                flags: MemoryPolicyFlag::ALL.to_vec(),
            },
        }
    }
}

impl SeccompFeatures {
    fn of_this_program() -> Self {
        Self {
            enabled: true,
            actions: SeccompAction::ALL.to_vec(),
            operators: SeccompOperator::ALL.to_vec(),
            archs: SeccompArch::ALL.to_vec(),
            known_flags: SeccompFlag::ALL.to_vec(),
            supported_flags: SeccompFlag::ALL.to_vec(),
        }
    }

    fn none() -> Self {
        Self {
            enabled: false,
            actions: Vec::new(),
            operators: Vec::new(),
            archs: Vec::new(),
            known_flags: Vec::new(),
            supported_flags: Vec::new(),
        }
    }
}
