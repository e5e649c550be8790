//! The types of `/linux`, without `/linux/resources` and `/linux/seccomp`.
//!
//! Runs in: any process.

use std::collections::BTreeMap;

use super::{LinuxResources, LinuxSeccomp};
use crate::spec::words::{
    DeviceType, MemoryPolicyFlag, MemoryPolicyMode, NamespaceType, PersonalityDomain,
    RootfsPropagation,
};

objects! {
    /// What only Linux has.
    #[derive(Default)]
    Linux {
        /// User ids of a new user namespace.
        "uidMappings" uid_mappings: Vec<LinuxIdMapping>,
        /// Group ids of a new user namespace.
        "gidMappings" gid_mappings: Vec<LinuxIdMapping>,
        /// Kernel parameters of the container's namespaces, by name.
        "sysctl" sysctl: BTreeMap<String, String>,
        /// Limits, and the device rules.
        "resources" resources: Option<LinuxResources>,
        /// Where the cgroup is; with systemd `slice:prefix:name`. Empty: the runtime chooses.
        "cgroupsPath" cgroups_path: String,
        /// New ones and joined ones; a type that is not here is the runtime's own.
        "namespaces" namespaces: Vec<LinuxNamespace>,
        /// Device nodes besides the default ones.
        "devices" devices: Vec<LinuxDevice>,
        /// Network devices that move into the container, by their name on the host.
        "netDevices" net_devices: BTreeMap<String, LinuxNetDevice>,
        /// The system call filter.
        "seccomp" seccomp: Option<LinuxSeccomp>,
        /// `None`: rslave, as runc.
        "rootfsPropagation" (word) rootfs_propagation: Option<RootfsPropagation>,
        /// Absolute; what is there cannot be read.
        "maskedPaths" masked_paths: Vec<String>,
        /// Absolute; what is there cannot be written.
        "readonlyPaths" readonly_paths: Vec<String>,
        /// SELinux context of the mounts. Empty: none.
        "mountLabel" mount_label: String,
        /// Intel RDT.
        "intelRdt" intel_rdt: Option<LinuxIntelRdt>,
        /// `set_mempolicy(2)`.
        "memoryPolicy" memory_policy: Option<LinuxMemoryPolicy>,
        /// `personality(2)`.
        "personality" personality: Option<LinuxPersonality>,
        /// By clock: `monotonic`, `boottime`.
        "timeOffsets" time_offsets: BTreeMap<String, LinuxTimeOffset>,
    }

    /// A namespace.
    LinuxNamespace {
        /// Its kind.
        "type" (required) namespace_type: NamespaceType,
        /// Absolute: the one to join. Empty: a new one.
        "path" path: String,
    }

    /// A range of ids.
    #[derive(Default)]
    LinuxIdMapping {
        /// The first in the container.
        "containerID" (required) container_id: u32,
        /// The first on the host.
        "hostID" (required) host_id: u32,
        /// How many; not 0.
        "size" (required) size: u32,
    }

    /// What a clock of a time namespace is ahead by.
    #[derive(Default)]
    LinuxTimeOffset {
        /// Seconds.
        "secs" secs: i64,
        /// Nanoseconds, less than 1,000,000,000.
        "nanosecs" nanosecs: u32,
    }

    /// A device node.
    LinuxDevice {
        /// Absolute, in the container.
        "path" (required) path: String,
        /// Its kind.
        "type" (required) device_type: DeviceType,
        /// `Some` after validation, but for a FIFO.
        "major" major: Option<i64>,
        /// `Some` after validation, but for a FIFO.
        "minor" minor: Option<i64>,
        /// Permissions, maybe with the bits of the type, which Podman writes and which say nothing new. `None`: 0666.
        "fileMode" file_mode: Option<u32>,
        /// The owner. `None`: 0.
        "uid" uid: Option<u32>,
        /// The group. `None`: 0.
        "gid" gid: Option<u32>,
    }

    /// A network device.
    #[derive(Default)]
    LinuxNetDevice {
        /// Its name in the container. Empty: as on the host.
        "name" name: String,
    }

    /// `personality(2)`.
    LinuxPersonality {
        /// The domain.
        "domain" (required) domain: PersonalityDomain,
        /// None is defined.
        "flags" flags: Vec<String>,
    }

    /// Intel RDT: a class of service in resctrl.
    #[derive(Default)]
    LinuxIntelRdt {
        /// `None`: a class of the container's own, named by its id. `/`: the root's.
        "closID" clos_id: Option<String>,
        /// Lines for the file `schemata`.
        "schemata" schemata: Vec<String>,
        /// One line, without [`Self::schemata`].
        "l3CacheSchema" l3_cache_schema: String,
        /// One line, without [`Self::schemata`].
        "memBwSchema" mem_bw_schema: String,
        /// A monitoring group of the container's own.
        "enableMonitoring" enable_monitoring: bool,
    }

    /// `set_mempolicy(2)`.
    LinuxMemoryPolicy {
        /// The mode.
        "mode" (required) mode: MemoryPolicyMode,
        /// A list as in `0-3,7`.
        "nodes" nodes: String,
        /// Mode flags.
        "flags" flags: Vec<MemoryPolicyFlag>,
    }
}
