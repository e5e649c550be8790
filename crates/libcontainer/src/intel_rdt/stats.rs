//! What resctrl tells of a container's class and of the group that is monitored, as runc prints it.
//!
//! Runs in: runtime.

use std::os::fd::BorrowedFd;

use super::{open_group, schemata, text};
use crate::state::RdtRecord;
use crate::stats::{CacheOccupancy, IntelRdt, L3CacheInfo, MemBwInfo, MemoryBandwidth};

/// The numbers of the groups of `record` below `root`.
pub(super) fn read(root: BorrowedFd<'_>, record: &RdtRecord) -> IntelRdt {
    let Ok(group) = open_group(root, &record.group) else { return IntelRdt::default() };
    use std::os::fd::AsFd as _;
    let (of_root, of_group) = (text(root, "schemata"), text(group.as_fd(), "schemata"));
    let line = |text: &str, resource: &str| {
        schemata::line_of(text, resource).map(str::to_owned).unwrap_or_default()
    };
    let has = |name: &str| open_group(root, name).is_ok();
    let mut found = IntelRdt {
        schemata: of_group.lines().map(|line| line.trim().to_owned()).collect(),
        ..IntelRdt::default()
    };
    if has("info/L3") {
        found.l3_cache_info = Some(L3CacheInfo {
            cbm_mask: text(root, "info/L3/cbm_mask").trim().to_owned(),
            min_cbm_bits: number(root, "info/L3/min_cbm_bits"),
            num_closids: number(root, "info/L3/num_closids"),
        });
        found.l3_cache_schema_root = line(&of_root, "L3");
        found.l3_cache_schema = line(&of_group, "L3");
    }
    if has("info/MB") {
        found.mem_bw_info = Some(MemBwInfo {
            bandwidth_gran: number(root, "info/MB/bandwidth_gran"),
            delay_linear: number(root, "info/MB/delay_linear"),
            min_bandwidth: number(root, "info/MB/min_bandwidth"),
            num_closids: number(root, "info/MB/num_closids"),
        });
        found.mem_bw_schema_root = line(&of_root, "MB");
        found.mem_bw_schema = line(&of_group, "MB");
    }
    monitored(root, record, &mut found);
    found
}

/// Of the container's own group; without one of the whole class, as with runc.
fn monitored(root: BorrowedFd<'_>, record: &RdtRecord, found: &mut IntelRdt) {
    let features = text(root, "info/L3_MON/mon_features");
    let has = |name: &str| features.lines().any(|feature| feature == name);
    let bandwidth = has("mbm_total_bytes") || has("mbm_local_bytes");
    let occupancy = has("llc_occupancy");
    let group = record.monitor.as_ref().unwrap_or(&record.group);
    let path =
        |name: &str| if group.is_empty() { name.to_owned() } else { format!("{group}/{name}") };
    let mut domains = directories(root, &path("mon_data"));
    domains.sort_unstable();
    let number = |domain: &str, name: &str| match has(name) {
        true => number(root, &format!("{}/{name}", path(&format!("mon_data/{domain}")))),
        false => 0,
    };
    if bandwidth {
        let one = |domain: &String| MemoryBandwidth {
            mbm_total_bytes: number(domain, "mbm_total_bytes"),
            mbm_local_bytes: number(domain, "mbm_local_bytes"),
        };
        found.mbm_stats = Some(domains.iter().map(one).collect());
    }
    if occupancy {
        let one =
            |domain: &String| CacheOccupancy { llc_occupancy: number(domain, "llc_occupancy") };
        found.cmt_stats = Some(domains.iter().map(one).collect());
    }
}

fn directories(root: BorrowedFd<'_>, path: &str) -> Vec<String> {
    let entries =
        open_group(root, path).and_then(|directory| rustix::fs::Dir::read_from(&directory));
    let entries = entries.into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
    names.filter(|name| !name.starts_with('.')).collect()
}

/// 0 where the kernel does not tell, or says `Unavailable`.
fn number(root: BorrowedFd<'_>, path: &str) -> u64 {
    text(root, path).trim().parse().unwrap_or(0)
}
