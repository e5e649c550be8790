//! The range of system call numbers, cut into intervals that answer alike.
//!
//! Runs in: runtime.

use super::action::Answer;
use super::names::Calls;
use super::precedence::{Level, Verdict};

/// What the numbers of an interval answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    Answer(Answer),
    /// It depends on the arguments: an index into [`Intervals::checks`].
    Check(u32),
}

/// The whole range of `seccomp_data.nr`.
#[derive(Debug)]
pub(super) struct Intervals<'c> {
    /// First number and leaf: ascending from 0; neighbours differ.
    pub(super) starts: Vec<(u32, Leaf)>,
    /// All different.
    pub(super) checks: Vec<&'c Level>,
}

impl<'c> Intervals<'c> {
    pub(super) fn new(calls: &'c Calls) -> Self {
        let capacity = 2 * calls.verdicts.len() + calls.background.len();
        let mut all = Self { starts: Vec::with_capacity(capacity), checks: Vec::new() };
        let mut verdicts = calls.verdicts.iter().peekable();
        let mut background = calls.background.iter().peekable();
        while let Some((start, answer)) = background.next() {
            let last = background.peek().map_or(u32::MAX, |(next, _)| next - 1);
            // What has no interval yet; `None`: there is no number left.
            let mut next = Some(*start);
            while let Some((number, verdict)) = verdicts.next_if(|(number, _)| *number <= last) {
                if let Some(gap) = next.filter(|next| next < number) {
                    all.push(gap, Leaf::Answer(*answer));
                }
                let leaf = all.leaf(verdict);
                all.push(*number, leaf);
                next = number.checked_add(1);
            }
            if let Some(gap) = next.filter(|next| *next <= last) {
                all.push(gap, Leaf::Answer(*answer));
            }
        }
        all
    }

    fn leaf(&mut self, verdict: &'c Verdict) -> Leaf {
        let level = match verdict {
            Verdict::Answer(answer) => return Leaf::Answer(*answer),
            Verdict::Check(level) => level,
        };
        let known = self.checks.iter().position(|known| *known == level);
        let index = known.unwrap_or_else(|| {
            self.checks.push(level);
            self.checks.len() - 1
        });
        // As many as there are numbers, at the most.
        Leaf::Check(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Begins an interval. One that answers the same goes on.
    fn push(&mut self, start: u32, leaf: Leaf) {
        if self.starts.last().is_none_or(|(_, last)| *last != leaf) {
            self.starts.push((start, leaf));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Calls, Intervals, Leaf, Verdict};

    fn starts(background: &[(u32, u32)], verdicts: &[(u32, u32)]) -> Vec<(u32, u32)> {
        let calls = Calls {
            audit: 0,
            default: Answer(9),
            background: background.iter().map(|(start, is)| (*start, Answer(*is))).collect(),
            verdicts: verdicts
                .iter()
                .map(|(number, is)| (*number, Verdict::Answer(Answer(*is))))
                .collect(),
        };
        let all = Intervals::new(&calls);
        let answer = |leaf| match leaf {
            Leaf::Answer(Answer(is)) => is,
            Leaf::Check(_) => u32::MAX,
        };
        all.starts.iter().map(|(start, leaf)| (*start, answer(*leaf))).collect()
    }

    #[test]
    fn neighbours_with_one_answer_are_one_interval() {
        assert_eq!(
            starts(&[(0, 9)], &[(0, 1), (1, 1), (2, 1), (5, 1), (6, 2)]),
            [(0, 1), (3, 9), (5, 1), (6, 2), (7, 9)]
        );
    }

    #[test]
    fn verdicts_that_equal_the_background_vanish() {
        assert_eq!(
            starts(&[(0, 9), (100, 8)], &[(3, 9), (99, 8), (100, 9)]),
            [(0, 9), (99, 8), (100, 9), (101, 8)]
        );
    }

    #[test]
    fn last_number_has_no_interval_behind_it() {
        assert_eq!(starts(&[(0, 9)], &[(u32::MAX, 1)]), [(0, 9), (u32::MAX, 1)]);
    }
}
