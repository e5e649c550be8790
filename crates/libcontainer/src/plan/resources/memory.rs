//! `/linux/resources/memory`.
//!
//! Runs in: any process.

use super::Setting;
use crate::spec::{LinuxMemory, SpecError};

const LIMIT: &str = "/linux/resources/memory/limit";
const RESERVATION: &str = "/linux/resources/memory/reservation";
const SWAP: &str = "/linux/resources/memory/swap";

/// 0 is as absent: engines write it for what they do not set. -1 is no limit.
pub(super) fn set(memory: &LinuxMemory, settings: &mut Vec<Setting>) -> Result<(), SpecError> {
    let value = |value: Option<i64>| value.filter(|value| *value != 0);
    // Before the limit: with swap still allowed, a limit below the use would swap out first.
    if let Some(swap) = swap_limit(memory)? {
        // Kernels without swap accounting have no file, and no swap to forbid or to allow.
        let holds = swap <= 0;
        let origin = if value(memory.swap).is_some() { SWAP } else { LIMIT };
        settings.push(Setting::new(origin, "memory.swap.max", bytes(swap)).unless(holds));
    }
    if let Some(limit) = value(memory.limit) {
        settings.push(Setting::new(LIMIT, "memory.max", bytes(limit)).unless(limit < 0));
    }
    if let Some(reservation) = value(memory.reservation) {
        settings.push(Setting::new(RESERVATION, "memory.low", bytes(reservation)));
    }
    Ok(())
}

fn bytes(value: i64) -> String {
    if value < 0 { "max".into() } else { value.to_string() }
}

/// What `memory.swap.max` is to be: config.json counts memory and swap together, v2 swap alone. `None`: as it is; negative: no
/// limit. No limit of memory lifts that of swap too, unless that is said, as in v1.
fn swap_limit(memory: &LinuxMemory) -> Result<Option<i64>, SpecError> {
    match (memory.limit.unwrap_or(0), memory.swap.unwrap_or(0)) {
        (..=-1, 0) | (_, ..=-1) => Ok(Some(-1)),
        (_, 0) => Ok(None),
        (..=-1, swap) => Ok(Some(swap)),
        (0, _) => Err(SpecError::new(SWAP, "unable to set swap limit without memory limit")),
        (limit, swap) if swap < limit => {
            Err(SpecError::new(SWAP, "memory+swap limit should be >= memory limit"))
        }
        (limit, swap) => Ok(Some(swap - limit)),
    }
}
