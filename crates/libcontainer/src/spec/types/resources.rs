//! The types of `/linux/resources`.
//!
//! Runs in: any process.

use std::collections::BTreeMap;

use crate::spec::words::DeviceRuleType;

objects! {
    /// Limits of the container's cgroup, and the device rules.
    #[derive(Default)]
    LinuxResources {
        /// Device rules, in order: the last that matches decides.
        "devices" devices: Vec<LinuxDeviceCgroup>,
        /// Memory.
        "memory" (merged) memory: Option<LinuxMemory>,
        /// Processor time.
        "cpu" (merged) cpu: Option<LinuxCpu>,
        /// Number of tasks.
        "pids" pids: Option<LinuxPids>,
        /// Block devices.
        "blockIO" (merged) block_io: Option<LinuxBlockIo>,
        /// Huge pages, by size.
        "hugepageLimits" hugepage_limits: Vec<LinuxHugepageLimit>,
        /// Network classes.
        "network" network: Option<LinuxNetwork>,
        /// RDMA, by device.
        "rdma" rdma: BTreeMap<String, LinuxRdma>,
        /// Files of cgroup v2, by name.
        "unified" unified: BTreeMap<String, String>,
    }

    /// A device rule.
    #[derive(Default)]
    LinuxDeviceCgroup {
        /// Allow or deny.
        "allow" (required) allow: bool,
        /// `None`: all.
        "type" (word) device_type: Option<DeviceRuleType>,
        /// `None` or -1: all.
        "major" major: Option<i64>,
        /// `None` or -1: all.
        "minor" minor: Option<i64>,
        /// Letters of `rwm`. Empty: all three.
        "access" access: String,
    }

    /// Limits of memory, in bytes; -1: no limit.
    #[derive(Default)]
    LinuxMemory {
        /// The limit.
        "limit" limit: Option<i64>,
        /// The soft limit.
        "reservation" reservation: Option<i64>,
        /// Memory and swap together.
        "swap" swap: Option<i64>,
        /// Deprecated: no kernel of today has it.
        "kernel" kernel: Option<i64>,
        /// Of TCP buffers.
        "kernelTCP" kernel_tcp: Option<i64>,
        /// 0 to 100.
        "swappiness" swappiness: Option<u64>,
        /// Whether the OOM killer leaves the cgroup alone (cgroup v1).
        "disableOOMKiller" disable_oom_killer: Option<bool>,
        /// cgroup v1.
        "useHierarchy" use_hierarchy: Option<bool>,
        /// Whether a limit below the present use is refused.
        "checkBeforeUpdate" check_before_update: Option<bool>,
    }

    /// Processor time.
    #[derive(Default)]
    LinuxCpu {
        /// Relative weight.
        "shares" shares: Option<u64>,
        /// Microseconds in each period; negative: no limit.
        "quota" quota: Option<i64>,
        /// Microseconds that may be saved up.
        "burst" burst: Option<u64>,
        /// Microseconds.
        "period" period: Option<u64>,
        /// Microseconds of realtime in each realtime period.
        "realtimeRuntime" realtime_runtime: Option<i64>,
        /// Microseconds.
        "realtimePeriod" realtime_period: Option<u64>,
        /// A list as in `0-3,7`. Empty: all.
        "cpus" cpus: String,
        /// A list of memory nodes. Empty: all.
        "mems" mems: String,
        /// 1: SCHED_IDLE.
        "idle" idle: Option<i64>,
    }

    /// Number of tasks.
    #[derive(Default)]
    LinuxPids {
        /// `None`: unchanged; negative: no limit.
        "limit" limit: Option<i64>,
    }

    /// Limits of block devices.
    #[derive(Default)]
    LinuxBlockIo {
        /// 10 to 1000.
        "weight" weight: Option<u16>,
        /// CFQ's.
        "leafWeight" leaf_weight: Option<u16>,
        /// By device.
        "weightDevice" weight_device: Vec<LinuxWeightDevice>,
        /// Bytes read in a second.
        "throttleReadBpsDevice" throttle_read_bps_device: Vec<LinuxThrottleDevice>,
        /// Bytes written in a second.
        "throttleWriteBpsDevice" throttle_write_bps_device: Vec<LinuxThrottleDevice>,
        /// Reads in a second.
        "throttleReadIOPSDevice" throttle_read_iops_device: Vec<LinuxThrottleDevice>,
        /// Writes in a second.
        "throttleWriteIOPSDevice" throttle_write_iops_device: Vec<LinuxThrottleDevice>,
    }

    /// A weight of one device.
    #[derive(Default)]
    LinuxWeightDevice {
        /// Device number.
        "major" (required) major: i64,
        /// Device number.
        "minor" (required) minor: i64,
        /// 10 to 1000.
        "weight" weight: Option<u16>,
        /// CFQ's.
        "leafWeight" leaf_weight: Option<u16>,
    }

    /// A limit of one device.
    #[derive(Default)]
    LinuxThrottleDevice {
        /// Device number.
        "major" (required) major: i64,
        /// Device number.
        "minor" (required) minor: i64,
        /// In a second; 0: no limit.
        "rate" (written) rate: u64,
    }

    /// A limit of huge pages.
    #[derive(Default)]
    LinuxHugepageLimit {
        /// `2MB`, `1GB` …
        "pageSize" (required) page_size: String,
        /// Bytes.
        "limit" (required) limit: u64,
    }

    /// Network classes (cgroup v1).
    #[derive(Default)]
    LinuxNetwork {
        /// Class of the packets.
        "classID" class_id: Option<u32>,
        /// Priority by device.
        "priorities" priorities: Vec<LinuxInterfacePriority>,
    }

    /// The priority of one network device.
    #[derive(Default)]
    LinuxInterfacePriority {
        /// The device.
        "name" (required) name: String,
        /// Its priority.
        "priority" (required) priority: u32,
    }

    /// Limits of an RDMA device.
    #[derive(Default)]
    LinuxRdma {
        /// `None`: no limit.
        "hcaHandles" hca_handles: Option<u32>,
        /// `None`: no limit.
        "hcaObjects" hca_objects: Option<u32>,
    }
}
