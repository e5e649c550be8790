//! Lists of processors and memory nodes: `0-3,7`.
//!
//! Runs in: any process.

use super::{Check, fail};

/// cpulist format of cpuset(7), without strides. An empty list is no list.
pub(super) fn check(list: &str, pointer: impl FnOnce() -> String) -> Check {
    if list.is_empty() || list.trim().split(',').all(is_range) {
        return Ok(());
    }
    fail(pointer(), format!("is {list:?}, not a list as in 0-3,7"))
}

/// How many numbers are in a list that was found good; those in two ranges twice.
pub(super) fn count(list: &str) -> u64 {
    let ranges = list.trim().split(',').filter_map(range);
    ranges.map(|(first, last)| u64::from(last - first) + 1).sum()
}

fn is_range(text: &str) -> bool {
    range(text).is_some()
}

fn range(text: &str) -> Option<(u32, u32)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

fn number(text: &str) -> Option<u32> {
    let text = text.trim_matches(' ');
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}
