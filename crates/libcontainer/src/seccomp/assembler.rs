//! Instructions of classic BPF, written from the last to the first.
//!
//! Every jump of BPF leads forward. Written backwards, its target is there already, and the distance is known. A conditional
//! jump reaches 255 instructions; for more, a copy of the return, or a jump of any distance, is put right behind it.
//!
//! Runs in: runtime.

use super::action::Answer;

/// A `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation, operand and mode.
    pub code: u16,
    /// How many instructions to skip where a condition holds.
    pub jt: u8,
    /// How many where it does not.
    pub jf: u8,
    /// The constant.
    pub k: u32,
}

impl Instruction {
    /// As `struct sock_filter` in this machine's byte order.
    pub fn to_bytes(self) -> [u8; 8] {
        let [a, b] = self.code.to_ne_bytes();
        let [e, f, g, h] = self.k.to_ne_bytes();
        [a, b, self.jt, self.jf, e, f, g, h]
    }
}

const LD_W_ABS: u16 = 0x20;
const ALU_AND_K: u16 = 0x54;
const JMP_JA: u16 = 0x05;
const RET_K: u16 = 0x06;

/// How the accumulator is compared with a constant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Jump {
    Equal = 0x15,
    Greater = 0x25,
    GreaterEqual = 0x35,
}

/// Where to go on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    /// Return an answer.
    Answer(Answer),
    /// An instruction that is written, by how many were written before it.
    At(usize),
}

/// A program that grows towards its beginning.
#[derive(Debug)]
pub(super) struct Assembler {
    reversed: Vec<Instruction>,
    /// For each answer, its return that was written last.
    returns: Vec<(Answer, usize)>,
}

/// What `jt` and `jf` can skip.
const REACH: usize = 255;

impl Assembler {
    pub(super) fn new() -> Self {
        // Docker's profile needs fewer.
        Self { reversed: Vec::with_capacity(1024), returns: Vec::with_capacity(8) }
    }

    pub(super) fn len(&self) -> usize {
        self.reversed.len()
    }

    /// The whole program, which starts with what was written last.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }

    /// Writes a conditional jump.
    pub(super) fn branch(&mut self, jump: Jump, k: u32, yes: Target, no: Target) -> Target {
        // The second may put one instruction between the first and the jump.
        let yes = self.within_reach(yes, REACH - 1);
        let no = self.within_reach(no, REACH);
        let (jt, jf) = (self.distance(yes), self.distance(no));
        self.push(Instruction {
            code: jump as u16,
            jt: u8::try_from(jt).unwrap_or(u8::MAX),
            jf: u8::try_from(jf).unwrap_or(u8::MAX),
            k,
        })
    }

    /// Writes a load of the word at `offset` of `struct seccomp_data`, which goes on at `next`.
    pub(super) fn load(&mut self, offset: u32, next: Target) -> Target {
        self.fall_into(next);
        self.push(Instruction { code: LD_W_ABS, jt: 0, jf: 0, k: offset })
    }

    /// Writes an AND of the accumulator, which goes on at `next`.
    pub(super) fn mask(&mut self, mask: u32, next: Target) -> Target {
        self.fall_into(next);
        self.push(Instruction { code: ALU_AND_K, jt: 0, jf: 0, k: mask })
    }

    /// An instruction within `reach` that is `target` or leads there.
    fn within_reach(&mut self, target: Target, reach: usize) -> usize {
        match target {
            Target::Answer(answer) => {
                let known = self.returns.iter().position(|(known, _)| *known == answer);
                let near = known.and_then(|known| self.returns.get(known)).map(|(_, at)| *at);
                match near.filter(|at| self.distance(*at) <= reach) {
                    Some(at) => at,
                    None => self.push_return(answer, known),
                }
            }
            Target::At(at) if self.distance(at) <= reach => at,
            Target::At(at) => self.push_jump(at),
        }
    }

    /// Makes what is written next go on at `target`.
    fn fall_into(&mut self, target: Target) {
        let at = self.within_reach(target, usize::MAX);
        if self.distance(at) > 0 {
            self.push_jump(at);
        }
    }

    fn push_return(&mut self, answer: Answer, known: Option<usize>) -> usize {
        let at = self.reversed.len();
        self.push(Instruction { code: RET_K, jt: 0, jf: 0, k: answer.0 });
        match known.and_then(|known| self.returns.get_mut(known)) {
            Some(entry) => entry.1 = at,
            None => self.returns.push((answer, at)),
        }
        at
    }

    fn push_jump(&mut self, to: usize) -> usize {
        let at = self.reversed.len();
        let distance = u32::try_from(self.distance(to)).unwrap_or(u32::MAX);
        self.push(Instruction { code: JMP_JA, jt: 0, jf: 0, k: distance });
        at
    }

    /// How many instructions the next one that is written has to skip.
    fn distance(&self, to: usize) -> usize {
        self.reversed.len().saturating_sub(to + 1)
    }

    fn push(&mut self, instruction: Instruction) -> Target {
        self.reversed.push(instruction);
        Target::At(self.reversed.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Assembler, JMP_JA, Jump, RET_K, Target};

    #[test]
    fn branch_to_a_near_return_shares_it() {
        let mut program = Assembler::new();
        let (yes, no) = (Target::Answer(Answer(1)), Target::Answer(Answer(2)));
        let first = program.branch(Jump::Equal, 7, yes, no);
        program.branch(Jump::Equal, 8, yes, first);
        let program = program.finish();
        assert_eq!(program.len(), 4);
        assert_eq!((program[0].jt, program[0].jf), (2, 0));
    }

    #[test]
    fn branch_to_a_far_return_copies_it_and_to_far_code_jumps() {
        let mut program = Assembler::new();
        let last =
            program.branch(Jump::Equal, 0, Target::Answer(Answer(1)), Target::Answer(Answer(2)));
        let mut target = last;
        for _ in 0..300 {
            target = program.load(0, target);
        }
        program.branch(Jump::Equal, 9, Target::Answer(Answer(1)), last);
        let program = program.finish();
        let [branch, jump, copy] = [program[0], program[1], program[2]];
        assert_eq!((branch.jt, branch.jf), (1, 0));
        assert_eq!((jump.code, jump.k), (JMP_JA, 301));
        assert_eq!((copy.code, copy.k), (RET_K, 1));
    }

    #[test]
    fn reach_of_both_sides_holds_at_every_distance() {
        for padding in 245..260 {
            let mut program = Assembler::new();
            let far = program.load(1, Target::Answer(Answer(1)));
            let mut target = far;
            for _ in 0..padding {
                target = program.load(0, target);
            }
            program.branch(Jump::Equal, 9, far, Target::Answer(Answer(1)));
            let program = program.finish();
            let follow = |skip: u8| {
                let at = program[1 + usize::from(skip)];
                if at.code == JMP_JA {
                    1 + usize::from(skip) + 1 + usize::try_from(at.k).unwrap()
                } else {
                    1 + usize::from(skip)
                }
            };
            let (yes, no) = (program[follow(program[0].jt)], program[follow(program[0].jf)]);
            assert_eq!(yes.k, 1, "padding {padding}");
            assert_eq!((no.code, no.k), (RET_K, 1), "padding {padding}");
        }
    }
}
