//! Id mappings: of the user namespace and of mounts.
//!
//! Runs in: any process.

use super::{Check, check_count, fail};
use crate::spec::LinuxIdMapping;
use crate::spec::limits::MAX_ID_RANGES;

/// What `/proc/PID/uid_map` refuses (user_namespaces(7)): empty ranges, ranges past 4294967295, overlaps.
pub(super) fn check(mappings: &[LinuxIdMapping], pointer: &str) -> Check {
    check_count(pointer, mappings.len(), MAX_ID_RANGES)?;
    for (index, mapping) in mappings.iter().enumerate() {
        if mapping.size == 0 {
            return fail(format!("{pointer}/{index}/size"), "is 0");
        }
        for (property, first) in
            [("containerID", mapping.container_id), ("hostID", mapping.host_id)]
        {
            if first.checked_add(mapping.size).is_none() {
                let problem =
                    format!("is {first}, and with size {} leads past the last id", mapping.size);
                return fail(format!("{pointer}/{index}/{property}"), problem);
            }
        }
        let earlier = mappings.iter().take(index);
        if let Some(property) = earlier.clone().find_map(|earlier| overlap(earlier, mapping)) {
            return fail(format!("{pointer}/{index}/{property}"), "overlaps with an earlier range");
        }
    }
    Ok(())
}

fn overlap(one: &LinuxIdMapping, other: &LinuxIdMapping) -> Option<&'static str> {
    let overlaps = |first: u32, second: u32| {
        u64::from(first) < u64::from(second) + u64::from(other.size)
            && u64::from(second) < u64::from(first) + u64::from(one.size)
    };
    if overlaps(one.container_id, other.container_id) {
        Some("containerID")
    } else if overlaps(one.host_id, other.host_id) {
        Some("hostID")
    } else {
        None
    }
}
