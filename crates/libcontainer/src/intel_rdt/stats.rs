//! What resctrl tells of a container's class and of the group that is monitored, as runc prints it.
//!
//! Runs in: runtime.

use std::os::fd::{AsFd, BorrowedFd};

use serde_json::{Map, Value};

use super::{open_group, schemata, text};
use crate::state::RdtRecord;

/// What the kernel tells of each resource that can be divided: its name here, what runc calls it, the files in `info`.
const RESOURCES: [(&str, &str, &[&str]); 2] = [
    ("L3", "l3_cache", &["cbm_mask", "min_cbm_bits", "num_closids"]),
    ("MB", "mem_bw", &["bandwidth_gran", "delay_linear", "min_bandwidth", "num_closids"]),
];

/// What it counts: the list that runc prints, and the numbers in it.
const COUNTED: [(&str, &[&str]); 2] =
    [("mbm_stats", &["mbm_total_bytes", "mbm_local_bytes"]), ("cmt_stats", &["llc_occupancy"])];

/// The numbers of the groups of `record` below `root`.
pub(super) fn read(root: BorrowedFd<'_>, record: &RdtRecord) -> Map<String, Value> {
    let mut found = Map::new();
    let Ok(group) = open_group(root, &record.group) else { return found };
    let (of_root, of_group) = (text(root, "schemata"), text(group.as_fd(), "schemata"));
    for (resource, name, files) in RESOURCES {
        let info = format!("info/{resource}");
        if open_group(root, &info).is_err() {
            continue;
        }
        let numbers = files.iter().filter_map(|file| {
            // A mask is text, and a 0 is left out, as runc has it.
            let value = text(root, &format!("{info}/{file}")).trim().to_owned();
            let number = if *file == "cbm_mask" { None } else { value.parse::<u64>().ok() };
            let is_nothing = value.is_empty() || number == Some(0);
            let value = number.map_or(Value::String(value), Value::from);
            (!is_nothing).then(|| ((*file).to_owned(), value))
        });
        found.insert(format!("{name}_info"), numbers.collect::<Map<_, _>>().into());
        for (end, text) in [("schema_root", &of_root), ("schema", &of_group)] {
            if let Some(line) = schemata::line_of(text, resource) {
                found.insert(format!("{name}_{end}"), line.into());
            }
        }
    }
    let lines: Vec<Value> = of_group.lines().map(|line| line.trim().into()).collect();
    found.insert("schemata".to_owned(), lines.into());
    monitored(root, record, &mut found);
    found
}

/// Of the container's own group; without one of the whole class, as with runc.
fn monitored(root: BorrowedFd<'_>, record: &RdtRecord, found: &mut Map<String, Value>) {
    let features = text(root, "info/L3_MON/mon_features");
    let group = record.monitor.as_ref().unwrap_or(&record.group);
    let data = format!("./{group}/mon_data");
    for (list, files) in COUNTED {
        let is_counted = |file: &str| features.lines().any(|feature| feature == file);
        if !files.iter().any(|file| is_counted(file)) {
            continue;
        }
        let of_domain = |domain: &String| {
            let number = |file: &&str| {
                // 0 where it is not counted, or `Unavailable` for now.
                let text = text(root, &format!("{data}/{domain}/{file}"));
                let number = text.trim().parse::<u64>().unwrap_or(0);
                ((*file).to_owned(), number.into())
            };
            Value::Object(files.iter().map(number).collect())
        };
        let domains: Vec<Value> = directories(root, &data).iter().map(of_domain).collect();
        found.insert(list.to_owned(), domains.into());
    }
}

/// The domains, by name: one for each cache.
fn directories(root: BorrowedFd<'_>, path: &str) -> Vec<String> {
    let entries =
        open_group(root, path).and_then(|directory| rustix::fs::Dir::read_from(&directory));
    let mut names = Vec::new();
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy();
        if !name.starts_with('.') {
            names.push(name.into_owned());
        }
    }
    names.sort_unstable();
    names
}
