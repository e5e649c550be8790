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
    /// Another answer than an earlier rule's whose conditions are the same, or begin with the same. libseccomp refuses it with EEXIST.
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
            Self::Check(level) => match level.add(conditions, answer) {
                Err(Refusal::Contradiction) if level.settle(conditions, answer) => Ok(false),
                result => result,
            },
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

    fn find(&self, condition: &Condition) -> Option<&Branch> {
        let rank = condition.rank();
        let start = self.branches.partition_point(|branch| branch.condition.rank() > rank);
        let ties = self.branches.iter().skip(start);
        let mut ties = ties.take_while(|branch| branch.condition.rank() == rank);
        ties.find(|branch| branch.condition == *condition)
    }

    fn answers_only(&self, answer: Answer) -> bool {
        self.branches.iter().all(|branch| match &branch.then {
            Verdict::Answer(other) => *other == answer,
            Verdict::Check(level) => level.answers_only(answer),
        })
    }

    /// Whether a contradiction of a new rule does not matter, because one side of it is never reached; then the rule is added or
    /// left out. libseccomp removes such rules as it goes (`_db_tree_prune`), and so meets no contradiction.
    fn settle(&mut self, conditions: &[Condition], answer: Answer) -> bool {
        if self.shadows(conditions, false) {
            return true;
        }
        let mut path = Vec::new();
        let is_settled = self.each_rule(conditions, &mut path, &mut |rule, other| {
            other == answer || self.shadows(rule, false)
        });
        if is_settled {
            self.replace(conditions, answer);
        }
        is_settled
    }

    /// Whether a rule with some of these conditions, but not all, is there: it is tried earlier, for the conditions of a rule are
    /// sorted by argument and later arguments are tried first. `skipped`: the way here left conditions out.
    fn shadows(&self, conditions: &[Condition], skipped: bool) -> bool {
        conditions.iter().enumerate().any(|(index, condition)| {
            let rest = conditions.get(index + 1..).unwrap_or_default();
            let skipped = skipped || index > 0;
            match self.find(condition).map(|branch| &branch.then) {
                None => false,
                Some(Verdict::Answer(_)) => skipped || !rest.is_empty(),
                Some(Verdict::Check(level)) => level.shadows(rest, skipped),
            }
        })
    }

    /// Whether `holds` for all rules whose conditions begin with `prefix`. `path`: the conditions that led here.
    fn each_rule(
        &self,
        prefix: &[Condition],
        path: &mut Vec<Condition>,
        holds: &mut impl FnMut(&[Condition], Answer) -> bool,
    ) -> bool {
        let (first, rest) = match prefix.split_first() {
            Some((first, rest)) => (Some(first), rest),
            None => (None, prefix),
        };
        let branches = self.branches.iter();
        let mut branches =
            branches.filter(|branch| first.is_none_or(|first| branch.condition == *first));
        branches.all(|branch| {
            path.push(branch.condition);
            let all = match &branch.then {
                Verdict::Answer(answer) => holds(path, *answer),
                Verdict::Check(level) => level.each_rule(rest, path, holds),
            };
            path.pop();
            all
        })
    }

    /// Puts an answer in the place of all rules whose conditions begin with these.
    fn replace(&mut self, conditions: &[Condition], answer: Answer) {
        let Some((first, rest)) = conditions.split_first() else { return };
        let same = self.branches.iter_mut().find(|branch| branch.condition == *first);
        match same.map(|branch| &mut branch.then) {
            Some(Verdict::Check(level)) if !rest.is_empty() => level.replace(rest, answer),
            Some(then) => *then = Verdict::Answer(answer),
            None => {}
        }
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

#[cfg(test)]
mod tests {
    use super::{Answer, Condition, Level, Refusal, Verdict};
    use crate::seccomp::arch::Abi;
    use crate::spec::{LinuxSeccompArg, SeccompOperator};

    /// Adds rules of equalities of (argument, value), and gives the first refusal.
    fn add(rules: &[(&[(u8, u64)], u32)]) -> Result<Verdict, Refusal> {
        let mut verdict = Verdict::Check(Level::default());
        for (equalities, answer) in rules {
            let condition = |(argument, value): &(u8, u64)| {
                let (value, op) = (*value, SeccompOperator::EqualTo);
                let from = LinuxSeccompArg { index: 0, value, value_two: 0, op };
                Condition::new(*argument, &from, Abi::X86_64).unwrap()
            };
            let conditions: Vec<Condition> = equalities.iter().map(condition).collect();
            verdict.add(&conditions, Answer(*answer))?;
        }
        Ok(verdict)
    }

    #[test]
    fn later_arguments_and_greater_values_come_first() {
        let Ok(Verdict::Check(level)) =
            add(&[(&[(0, 1)], 1), (&[(1, 2)], 2), (&[(0, 5)], 3), (&[(0, 1), (2, 1)], 4)])
        else {
            panic!("no level");
        };
        let answers: Vec<_> = level.branches().iter().map(|branch| &branch.then).collect();
        // The fourth holds for less than the first.
        assert_eq!(answers, [2, 3, 1].map(|answer| Verdict::Answer(Answer(answer))).each_ref());
    }

    #[test]
    fn same_conditions_with_another_answer_are_a_contradiction() {
        let contradiction = Err(Refusal::Contradiction);
        assert_eq!(add(&[(&[(0, 1)], 1), (&[(0, 1)], 2)]), contradiction);
        assert_eq!(add(&[(&[(0, 1), (1, 1)], 1), (&[(0, 1)], 2)]), contradiction);
        assert!(add(&[(&[(0, 1), (1, 1)], 1), (&[(0, 1)], 1)]).is_ok());
    }

    #[test]
    fn contradiction_with_a_rule_that_is_never_reached_does_not_matter() {
        assert!(add(&[(&[(0, 1), (2, 1)], 1), (&[(2, 1)], 1), (&[(0, 1)], 2)]).is_ok());
        assert!(add(&[(&[(0, 1), (2, 1)], 1), (&[(2, 1)], 1), (&[(0, 1), (2, 1)], 2)]).is_ok());
    }

    #[test]
    fn rule_without_conditions_replaces_all() {
        let always = Ok(Verdict::Answer(Answer(2)));
        assert_eq!(add(&[(&[(0, 1)], 1), (&[], 2), (&[], 3), (&[(0, 1)], 4)]), always);
    }
}
