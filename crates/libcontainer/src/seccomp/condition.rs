//! Conditions on arguments, and their instructions.
//!
//! `seccomp_data` has arguments of 64 bits and BPF an accumulator of 32: a comparison is one of the high halves, and one of
//! the low halves where those are equal.
//!
//! Runs in: runtime.

use super::arch::Abi;
use super::assembler::{Assembler, Jump, Target};
use crate::spec::{LinuxSeccompArg, SeccompOperator};

/// A condition on one argument, in the width of an ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// 0 to 5.
    pub(super) argument: u8,
    pub(super) operator: SeccompOperator,
    /// Of MASKED_EQ; otherwise all bits.
    mask: u64,
    /// Of MASKED_EQ: within the mask, for libseccomp ignores what is outside.
    value: u64,
    is_wide: bool,
}

impl Condition {
    /// `None` where it holds for every value: MASKED_EQ with no bit in the mask. For a narrow ABI the upper half of the mask and
    /// of the value is cut off, as libseccomp does: −1 in a profile means 0xffffffff there.
    pub(super) fn new(argument: u8, from: &LinuxSeccompArg, abi: Abi) -> Option<Self> {
        let bits = if abi.is_wide() { u64::MAX } else { u64::from(u32::MAX) };
        let (mask, value) = match from.op {
            SeccompOperator::MaskedEqual => (from.value & bits, from.value_two),
            _ => (bits, from.value),
        };
        let condition =
            Self { argument, operator: from.op, mask, value: value & mask, is_wide: abi.is_wide() };
        Some(condition).filter(|condition| condition.mask != 0)
    }

    /// That argument 0 of a narrow ABI is `value`.
    pub(super) fn first_argument_is(value: u8) -> Self {
        let (operator, mask) = (SeccompOperator::EqualTo, u64::from(u32::MAX));
        Self { argument: 0, operator, mask, value: value.into(), is_wide: false }
    }

    /// Its place among conditions: the greater rank is tried first. It is libseccomp's order (`_db_chain_lt`): later arguments
    /// before earlier ones; equality, then upper bounds, then lower bounds; and the narrower bound first.
    pub(super) fn rank(&self) -> (u8, u8, u64) {
        match self.operator {
            SeccompOperator::EqualTo | SeccompOperator::NotEqual | SeccompOperator::MaskedEqual => {
                (self.argument, 3, self.value)
            }
            SeccompOperator::LessThan | SeccompOperator::LessEqual => {
                (self.argument, 2, !self.value)
            }
            SeccompOperator::GreaterThan | SeccompOperator::GreaterEqual => {
                (self.argument, 1, self.value)
            }
        }
    }

    /// Whether both are an equality that compares the same high half, so that one check of it serves both.
    pub(super) fn shares_high_half(&self, other: &Self) -> bool {
        self.operator == SeccompOperator::EqualTo
            && other.operator == SeccompOperator::EqualTo
            && self.argument == other.argument
            && self.value >> 32 == other.value >> 32
    }

    /// Writes the check: `yes` where it holds, else `no`.
    pub(super) fn write(&self, to: &mut Assembler, yes: Target, no: Target) -> Target {
        match self.operator {
            SeccompOperator::EqualTo => self.write_any(to, [(self, yes)], no),
            SeccompOperator::NotEqual => self.write_any(to, [(self, no)], yes),
            SeccompOperator::GreaterThan => self.write_order(to, Jump::Greater, yes, no),
            SeccompOperator::GreaterEqual => self.write_order(to, Jump::GreaterEqual, yes, no),
            SeccompOperator::LessThan => self.write_order(to, Jump::GreaterEqual, no, yes),
            SeccompOperator::LessEqual => self.write_order(to, Jump::Greater, no, yes),
            SeccompOperator::MaskedEqual => self.write_masked(to, yes, no),
        }
    }

    /// Writes several equalities that [share the high half](Self::shares_high_half) with this one, the last given first.
    pub(super) fn write_any<'c>(
        &self,
        to: &mut Assembler,
        equalities: impl IntoIterator<Item = (&'c Self, Target)>,
        no: Target,
    ) -> Target {
        let mut low = no;
        for (condition, yes) in equalities {
            low = to.branch(Jump::Equal, half(condition.value), yes, low);
        }
        low = to.load(self.low(), low);
        if !self.is_wide {
            return low;
        }
        let high = to.branch(Jump::Equal, half(self.value >> 32), low, no);
        to.load(self.high(), high)
    }

    fn write_order(&self, to: &mut Assembler, jump: Jump, yes: Target, no: Target) -> Target {
        let low = to.branch(jump, half(self.value), yes, no);
        let low = to.load(self.low(), low);
        if !self.is_wide {
            return low;
        }
        let value = half(self.value >> 32);
        let equal = to.branch(Jump::Equal, value, low, no);
        let high = to.branch(Jump::Greater, value, yes, equal);
        to.load(self.high(), high)
    }

    fn write_masked(&self, to: &mut Assembler, yes: Target, no: Target) -> Target {
        let mut target = yes;
        for (offset, shift) in [(self.low(), 0), (self.high(), 32)] {
            let mask = half(self.mask >> shift);
            if mask != 0 {
                target = to.branch(Jump::Equal, half(self.value >> shift), target, no);
                target = to.mask(mask, target);
                target = to.load(offset, target);
            }
        }
        target
    }

    /// Of the low half in `struct seccomp_data`; every architecture here has the low half first.
    fn low(&self) -> u32 {
        const ARGUMENTS: u32 = 16;
        ARGUMENTS + 8 * u32::from(self.argument)
    }

    fn high(&self) -> u32 {
        self.low() + 4
    }
}

fn half(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default()
}
