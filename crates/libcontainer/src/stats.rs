//! What a container uses: the numbers of its cgroup, in the JSON form of `runc events`, which engines and exporters read.
//!
//! As there, a number that is 0 is left out where runc leaves it out, and swap is counted together with memory, as in cgroup v1.
//!
//! Runs in: any process.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// What happens to a container.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The numbers, every so often.
    Stats(Box<Stats>),
    /// The kernel has killed a process of it for want of memory.
    Oom,
}

/// The numbers at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Processor time.
    pub cpu: Cpu,
    /// Only zeros, which cgroup v1 had something else for.
    pub cpuset: CpuSet,
    /// Memory and swap.
    pub memory: Memory,
    /// Processes and threads.
    pub pids: Pids,
    /// Block devices.
    pub blkio: Blkio,
    /// Huge pages, by their size as in `2MB`.
    pub hugetlb: BTreeMap<String, Hugetlb>,
    /// Cache and memory bandwidth, as runc has it; empty without `linux.intelRdt`.
    pub intel_rdt: serde_json::Map<String, serde_json::Value>,
    /// `null`.
    pub network_interfaces: (),
}

/// Processor time, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// What was used.
    pub usage: CpuUsage,
    /// How the quota has held it up.
    #[serde(skip_serializing_if = "is_unset")]
    pub throttling: Throttling,
    /// How long it has waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// In nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CpuUsage {
    /// Both.
    #[serde(skip_serializing_if = "is_unset")]
    pub total: u64,
    /// In the kernel.
    pub kernel: u64,
    /// Outside of it.
    pub user: u64,
}

/// What the quota has done.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods that have passed.
    #[serde(skip_serializing_if = "is_unset")]
    pub periods: u64,
    /// Those of them in which the quota was used up.
    #[serde(skip_serializing_if = "is_unset")]
    pub throttled_periods: u64,
    /// Nanoseconds that were waited.
    #[serde(skip_serializing_if = "is_unset")]
    pub throttled_time: u64,
}

/// What runc prints of a cpuset on cgroup v2.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "all of them are 0")]
pub struct CpuSet {
    pub cpu_exclusive: u64,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Of files.
    #[serde(skip_serializing_if = "is_unset")]
    pub cache: u64,
    /// Memory alone.
    #[serde(skip_serializing_if = "is_unset")]
    pub usage: MemoryUsage,
    /// Memory and swap together.
    #[serde(skip_serializing_if = "is_unset")]
    pub swap: MemoryUsage,
    /// `memory.stat` as it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// How long it has waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// In bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MemoryUsage {
    /// `u64::MAX`: none.
    pub limit: u64,
    /// Now.
    #[serde(skip_serializing_if = "is_unset")]
    pub usage: u64,
    /// The most so far; 0 where the kernel does not tell.
    #[serde(skip_serializing_if = "is_unset")]
    pub max: u64,
    /// 0: cgroup v1 had it.
    pub failcnt: u64,
}

/// Processes and threads.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Pids {
    /// Now.
    #[serde(skip_serializing_if = "is_unset")]
    pub current: u64,
    /// 0: none.
    #[serde(skip_serializing_if = "is_unset")]
    pub limit: u64,
}

/// Block devices.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blkio {
    /// Bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    /// Requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    /// How long it has waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// A number of one device.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct BlkioEntry {
    /// Of the device.
    #[serde(skip_serializing_if = "is_unset")]
    pub major: u64,
    /// Of the device.
    #[serde(skip_serializing_if = "is_unset")]
    pub minor: u64,
    /// `Read` or `Write`.
    pub op: &'static str,
    /// Bytes or requests.
    #[serde(skip_serializing_if = "is_unset")]
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Hugetlb {
    /// What is reserved; before Linux 5.7 what is used.
    #[serde(skip_serializing_if = "is_unset")]
    pub usage: u64,
    /// How often the limit was in the way.
    pub failcnt: u64,
}

/// Pressure stall information (`Documentation/accounting/psi.rst`).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Psi {
    /// Some tasks have waited.
    #[serde(skip_serializing_if = "is_unset")]
    pub some: Stalled,
    /// All tasks have waited.
    #[serde(skip_serializing_if = "is_unset")]
    pub full: Stalled,
}

/// How long was waited.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stalled {
    /// Percent of the last 10 seconds.
    #[serde(serialize_with = "as_go_does")]
    pub avg10: f64,
    /// Percent of the last minute.
    #[serde(serialize_with = "as_go_does")]
    pub avg60: f64,
    /// Percent of the last 5 minutes.
    #[serde(serialize_with = "as_go_does")]
    pub avg300: f64,
    /// Microseconds in all.
    pub total: u64,
}

fn is_unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A number without a fraction is written without a point.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::trivially_copy_pass_by_ref,
    reason = "a percentage; serde gives a reference"
)]
fn as_go_does<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    if value.fract() == 0.0 { to.serialize_u64(*value as u64) } else { to.serialize_f64(*value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_of_nothing_are_those_of_runc() {
        // What runc 1.4 prints of a cgroup without controllers.
        let expected = r#"{"cpu":{"usage":{"kernel":0,"user":0}},"cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},"memory":{},"pids":{},"blkio":{},"hugetlb":{},"intel_rdt":{},"network_interfaces":null}"#;
        assert_eq!(serde_json::to_string(&Stats::default()).unwrap(), expected);
    }

    #[test]
    fn percentages_are_written_as_go_writes_them() {
        let stalled = Stalled { avg10: 0.0, avg60: 12.5, avg300: 3.0, total: 7 };
        let text = serde_json::to_string(&stalled).unwrap();
        assert_eq!(text, r#"{"avg10":0,"avg60":12.5,"avg300":3,"total":7}"#);
    }
}
