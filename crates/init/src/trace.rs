//! The time of each op, for whoever asked for it.
//!
//! Runs in: init.

use corten_plan::Stage;

use crate::report::{At, Done};
use crate::sys::{FdRef, fs, process};

/// Bytes for each op: start and end.
const RECORD: usize = 16;

/// Does `op` and writes down when it began and ended.
///
/// The beginning is written first, with 0 for the end: an op that ends in execve, or waits, is seen too.
///
/// # Errors
/// Those of `op`, and of writing to `times`.
pub fn timed(times: FdRef<'_>, index: u16, op: impl FnOnce() -> Done) -> Done {
    let start = process::now();
    write(times, index, start, 0)?;
    op()?;
    write(times, index, start, process::now())
}

fn write(times: FdRef<'_>, index: u16, start: u64, end: u64) -> Done {
    let mut record = [0; RECORD];
    let (first, second) = record.split_at_mut(8);
    first.copy_from_slice(&start.to_le_bytes());
    second.copy_from_slice(&end.to_le_bytes());
    fs::write_at(times, &record, usize::from(index) * RECORD).map(drop).at(Stage::Plan)
}
