//! Which of several rules for one system call wins.
//!
//! As in libseccomp (`db_rule_add`), not in the order of the profile: a rule without conditions beats all with conditions,
//! the first such rule beats later ones, and conditions are tried by their [rank](Condition::rank).
//!
//! Runs in: runtime.

use super::action::Answer;
use super::condition::Condition;

/// What a system call, or the rest of a rule, answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Answer(Answer),
    Check(Level),
}

/// Conditions that are tried one after another; where none holds, the next of the level above is tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Level {
    /// By descending rank.
    branches: Vec<Branch>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Branch {
    pub(super) condition: Condition,
    pub(super) then: Verdict,
}

/// Why a rule cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another answer for the same conditions, or for some of them and more. libseccomp refuses it with EEXIST.
    Contradiction,
    /// No program can be long enough.
    TooMany,
}

/// Each condition of a level takes an instruction at least.
const MAX_BRANCHES: usize = super::MAX_INSTRUCTIONS;

impl Verdict {
    /// Adds a rule; true where it made the verdict larger. `conditions` are sorted by argument.
    pub(super) fn add(
        &mut self,
        conditions: &[Condition],
        answer: Answer,
    ) -> Result<bool, Refusal> {
        match self {
            Self::Answer(_) => Ok(false),
            Self::Check(_) if conditions.is_empty() => {
                *self = Self::Answer(answer);
                Ok(false)
            }
            Self::Check(level) => level.add(conditions, answer),
        }
    }

    fn after(conditions: &[Condition], answer: Answer) -> Self {
        let mut then = Self::Answer(answer);
        for condition in conditions.iter().rev() {
            let branches = vec![Branch { condition: *condition, then }];
            then = Self::Check(Level { branches });
        }
        then
    }
}

impl Level {
    pub(super) fn branches(&self) -> &[Branch] {
        &self.branches
    }

    fn add(&mut self, conditions: &[Condition], answer: Answer) -> Result<bool, Refusal> {
        let Some((first, rest)) = conditions.split_first() else {
            return Ok(false);
        };
        let rank = first.rank();
        let start = self.branches.partition_point(|branch| branch.condition.rank() > rank);
        let ties = self.branches.iter().skip(start);
        let ties = ties.take_while(|branch| branch.condition.rank() == rank).count();
        let same = self.branches.iter_mut().skip(start).take(ties);
        for branch in same {
            if branch.condition == *first {
                return branch.add(rest, answer);
            }
        }
        if self.branches.len() >= MAX_BRANCHES {
            return Err(Refusal::TooMany);
        }
        let branch = Branch { condition: *first, then: Verdict::after(rest, answer) };
        self.branches.insert(start + ties, branch);
        Ok(true)
    }

    fn answers_only(&self, answer: Answer) -> bool {
        self.branches.iter().all(|branch| match &branch.then {
            Verdict::Answer(other) => *other == answer,
            Verdict::Check(level) => level.answers_only(answer),
        })
    }
}

impl Branch {
    /// Adds a rule whose first conditions led here.
    fn add(&mut self, rest: &[Condition], answer: Answer) -> Result<bool, Refusal> {
        match &mut self.then {
            Verdict::Answer(other) if rest.is_empty() && *other != answer => {
                Err(Refusal::Contradiction)
            }
            // The rule that is there holds for more.
            Verdict::Answer(_) => Ok(false),
            Verdict::Check(level) if rest.is_empty() => {
                if !level.answers_only(answer) {
                    return Err(Refusal::Contradiction);
                }
                self.then = Verdict::Answer(answer);
                Ok(false)
            }
            Verdict::Check(level) => level.add(rest, answer),
        }
    }
}
