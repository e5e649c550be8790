//! Which numbers and which arguments stand for all.
//!
//! Runs in: any process.

use libcontainer::seccomp::Arch;
use libcontainer::spec::LinuxSeccomp;

use crate::peer::abis;

/// Every value of `seccomp_data.arch` that the kernel reports, and one that it does not.
pub fn architectures(native: Arch) -> Vec<u32> {
    const S390X: u32 = 0x8000_0016;
    let mut all: Vec<u32> = abis(native).iter().map(|(_, _, audit)| *audit).collect();
    all.push(S390X);
    all.dedup();
    all
}

/// Every number that an ABI has or could soon have, and both sides of every border.
pub fn numbers() -> Vec<u32> {
    const X32_BIT: u32 = 0x4000_0000;
    let mut all: Vec<u32> = (0..700).chain(X32_BIT..X32_BIT + 700).collect();
    all.extend(0xf_0000 - 2..0xf_0010);
    for border in [0x1_0000, X32_BIT, 0x8000_0000, 0x8000_0000 | X32_BIT] {
        all.extend([border - 1, border, border + 1, border + 39]);
    }
    all.extend([u32::MAX - 1, u32::MAX]);
    all
}

/// Values of one argument: for every condition on it, both sides of what it compares with, in each half; and what negative
/// numbers are in either width.
pub fn values(profile: &LinuxSeccomp, argument: u32) -> Vec<u64> {
    let mut all = vec![0, 1, u64::from(u32::MAX), u64::MAX];
    // What socketcall and ipc take.
    if argument == 0 {
        all.extend([2, 5, 8, 20, 21, 24]);
    }
    let conditions = profile.syscalls.iter().flat_map(|rule| &rule.args);
    for condition in conditions.filter(|condition| condition.index == argument) {
        let mut values = vec![condition.value];
        if condition.op == libcontainer::spec::SeccompOperator::MaskedEqual {
            let inside = condition.value & condition.value_two;
            values = vec![inside, inside | !condition.value, condition.value_two];
        }
        for value in values {
            let low = value & u64::from(u32::MAX);
            all.extend([value, value.wrapping_sub(1), value.wrapping_add(1), low]);
            all.extend([value ^ 1 << 32, low | u64::from(u32::MAX) << 32, value ^ 1 << 31]);
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// Combinations of the values of all six arguments, at most `limit`: all of them where they are that few, otherwise spread
/// evenly over all.
pub fn combinations(values: &[Vec<u64>; 6], limit: u128) -> impl Iterator<Item = [u64; 6]> {
    let count: u128 = values.iter().map(|values| values.len() as u128).product();
    // Odd, and thus without a factor in common with most lengths: no argument stands still.
    let step = (count / limit).max(1) | 1;
    let steps = (0..count.min(limit))
        .map(move |index| if count <= limit { index } else { (index * step) % count });
    steps.map(move |mut index| {
        let mut arguments = [0; 6];
        for (argument, values) in arguments.iter_mut().zip(values) {
            let length = values.len() as u128;
            let place = usize::try_from(index % length.max(1)).unwrap_or_default();
            *argument = values.get(place).copied().unwrap_or_default();
            index /= length.max(1);
        }
        arguments
    })
}
