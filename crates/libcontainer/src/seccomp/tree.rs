//! The program: for each architecture a balanced search tree over the numbers, whose leaves check arguments.
//!
//! The kernel answers calls that are allowed whatever their arguments from a bitmap that it fills by running the filter once per
//! number (`seccomp_cache_prepare`), so the depth of the tree matters little, and its size is what counts.
//!
//! Runs in: runtime.

use super::action::Answer;
use super::assembler::{Assembler, Instruction, Jump, Target};
use super::condition::Condition;
use super::names::{Calls, too_long};
use super::numbers::{Intervals, Leaf};
use super::precedence::{Branch, Level, Verdict};
use crate::spec::SpecError;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// Writes the whole program, the native architecture first in it.
pub(super) fn program(calls: &[Calls]) -> Result<Vec<Instruction>, SpecError> {
    let mut to = Assembler::new();
    let mut entries = Vec::with_capacity(calls.len());
    for calls in calls.iter().rev() {
        entries.push((calls.audit, write_calls(&mut to, calls)?));
    }
    let mut target = Target::Answer(Answer::KILL_THREAD);
    for (audit, entry) in entries {
        target = to.branch(Jump::Equal, audit, entry, target);
    }
    to.load(ARCH, target);
    check_length(&to)?;
    Ok(to.finish())
}

fn write_calls(to: &mut Assembler, calls: &Calls) -> Result<Target, SpecError> {
    let intervals = Intervals::new(calls);
    let groups = groups(&intervals.starts);
    let written = vec![None; intervals.checks.len()];
    let mut leaves = Leaves { default: calls.default, checks: intervals.checks, written };
    let root = write_tree(to, &groups, &mut leaves)?;
    Ok(to.load(NUMBER, root))
}

/// An interval with single numbers in it that answer something else: `outer` from `start` on, but for `singles`.
#[derive(Debug)]
struct Group<'s> {
    start: u32,
    outer: Leaf,
    /// Every second interval is one of the single numbers.
    singles: &'s [(u32, Leaf)],
}

/// Checking a single number for equality takes one instruction, cutting it out as an interval two. More than a few make
/// the path long.
const MAX_SINGLES: usize = 4;

fn groups(starts: &[(u32, Leaf)]) -> Vec<Group<'_>> {
    let mut all = Vec::with_capacity(starts.len());
    let mut rest = starts;
    while let Some(((start, outer), after)) = rest.split_first() {
        let pairs = after.chunks_exact(2).take(MAX_SINGLES);
        let holes = pairs.take_while(|pair| is_hole(pair, *outer)).count();
        let (singles, next) = after.split_at(2 * holes);
        all.push(Group { start: *start, outer: *outer, singles });
        rest = next;
    }
    all
}

/// Whether a pair of intervals is a single number, and then `outer` again.
fn is_hole(pair: &[(u32, Leaf)], outer: Leaf) -> bool {
    matches!(pair, [(single, _), (next, leaf)] if single + 1 == *next && *leaf == outer)
}

/// The checks of one architecture, each written once.
struct Leaves<'c> {
    /// Where no condition holds.
    default: Answer,
    checks: Vec<&'c Level>,
    written: Vec<Option<Target>>,
}

fn write_tree(
    to: &mut Assembler,
    groups: &[Group<'_>],
    leaves: &mut Leaves<'_>,
) -> Result<Target, SpecError> {
    check_length(to)?;
    let (low, high) = groups.split_at(groups.len() / 2);
    match (low, high) {
        ([], [group]) => write_group(to, group, leaves),
        (_, [first, ..]) => {
            let above = write_tree(to, high, leaves)?;
            let below = write_tree(to, low, leaves)?;
            Ok(to.branch(Jump::GreaterEqual, first.start, above, below))
        }
        // Not reached: there is an interval that begins at 0.
        (_, []) => Ok(Target::Answer(Answer::KILL_THREAD)),
    }
}

fn write_group(
    to: &mut Assembler,
    group: &Group<'_>,
    leaves: &mut Leaves<'_>,
) -> Result<Target, SpecError> {
    let mut target = leaves.write(to, group.outer)?;
    for (number, leaf) in group.singles.iter().step_by(2).rev() {
        let leaf = leaves.write(to, *leaf)?;
        target = to.branch(Jump::Equal, *number, leaf, target);
    }
    Ok(target)
}

impl Leaves<'_> {
    fn write(&mut self, to: &mut Assembler, leaf: Leaf) -> Result<Target, SpecError> {
        let index = match leaf {
            Leaf::Answer(answer) => return Ok(Target::Answer(answer)),
            Leaf::Check(index) => index as usize,
        };
        if let Some(Some(target)) = self.written.get(index) {
            return Ok(*target);
        }
        let Some(level) = self.checks.get(index) else {
            return Ok(Target::Answer(Answer::KILL_THREAD));
        };
        let target = write_level(to, level, Target::Answer(self.default))?;
        if let Some(written) = self.written.get_mut(index) {
            *written = Some(target);
        }
        Ok(target)
    }
}

/// Writes the conditions of a level; `otherwise` where none holds.
fn write_level(to: &mut Assembler, level: &Level, otherwise: Target) -> Result<Target, SpecError> {
    let mut target = otherwise;
    let mut rest = level.branches();
    while let Some((last, before)) = rest.split_last() {
        check_length(to)?;
        let alike = before.iter().rev().take_while(|branch| is_one_set(branch, last)).count();
        let (before, alike) = rest.split_at(before.len() - alike);
        target = match (alike, &last.then) {
            ([_], Verdict::Check(level)) => {
                let yes = write_level(to, level, target)?;
                last.condition.write(to, yes, target)
            }
            ([_], Verdict::Answer(answer)) => {
                last.condition.write(to, Target::Answer(*answer), target)
            }
            _ => {
                let equalities = alike.iter().rev().filter_map(equality);
                last.condition.write_any(to, equalities, target)
            }
        };
        rest = before;
    }
    Ok(target)
}

/// Whether two branches are values of one argument, with nothing behind them, that differ in the low half alone.
fn is_one_set(a: &Branch, b: &Branch) -> bool {
    equality(a).is_some() && equality(b).is_some() && a.condition.shares_high_half(&b.condition)
}

fn equality(branch: &Branch) -> Option<(&Condition, Target)> {
    match branch.then {
        Verdict::Answer(answer) => Some((&branch.condition, Target::Answer(answer))),
        Verdict::Check(_) => None,
    }
}

fn check_length(to: &Assembler) -> Result<(), SpecError> {
    if to.len() > super::MAX_INSTRUCTIONS { Err(too_long()) } else { Ok(()) }
}
