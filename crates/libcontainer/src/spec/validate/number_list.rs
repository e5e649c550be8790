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

fn is_range(range: &str) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last)
}

fn number(text: &str) -> Option<u32> {
    let text = text.trim_matches(' ');
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}
