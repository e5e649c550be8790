//! Runs a classic BPF program on a `struct seccomp_data`, as the kernel does, and refuses what its checker refuses.
//!
//! Runs in: any process.

use libcontainer::seccomp::Instruction;

/// `struct seccomp_data` without the instruction pointer, at which no profile looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    /// The system call.
    pub number: u32,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// What a run gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// `SECCOMP_RET_*`.
    pub answer: u32,
    /// Whether the way to it looked at arguments.
    pub read_arguments: bool,
}

impl Event {
    /// The word at `offset`, for a little-endian machine.
    fn word(&self, offset: u32) -> Option<u32> {
        let argument = || {
            let index = usize::try_from(offset.checked_sub(16)? / 8).ok()?;
            let value = self.arguments.get(index)?;
            let half = if offset.is_multiple_of(8) { *value } else { value >> 32 };
            u32::try_from(half & 0xffff_ffff).ok()
        };
        match offset {
            0 => Some(self.number),
            4 => Some(self.arch),
            8 | 12 => Some(0),
            _ if offset.is_multiple_of(4) => argument(),
            _ => None,
        }
    }
}

/// Runs the program to its return.
///
/// # Errors
/// An instruction that `seccomp_check_filter` refuses, or a jump out of the program, in words.
pub fn run(program: &[Instruction], event: &Event) -> Result<Outcome, String> {
    let mut outcome = Outcome { answer: 0, read_arguments: false };
    let (mut at, mut accumulator) = (0_usize, 0_u32);
    loop {
        let Some(Instruction { code, jt, jf, k }) = program.get(at).copied() else {
            return Err(format!("jump to {at}, out of the program"));
        };
        at += 1;
        let jump = |holds| usize::from(if holds { jt } else { jf });
        match code {
            // BPF_LD | BPF_W | BPF_ABS
            0x20 => {
                accumulator = event.word(k).ok_or_else(|| format!("load at offset {k}"))?;
                outcome.read_arguments |= k >= 16;
            }
            // BPF_ALU | BPF_AND | BPF_K
            0x54 => accumulator &= k,
            // BPF_JMP | BPF_JA, BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET
            0x05 => at += usize::try_from(k).map_err(|error| error.to_string())?,
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            0x45 => at += jump(accumulator & k != 0),
            // BPF_RET | BPF_K
            0x06 => return Ok(Outcome { answer: k, ..outcome }),
            other => return Err(format!("instruction {other:#x}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Instruction, run};

    const EVENT: Event = Event { arch: 7, number: 8, arguments: [0x1_0000_0002, 0, 0, 0, 0, 5] };

    fn loaded(offset: u32) -> Result<u32, String> {
        let load = Instruction { code: 0x20, jt: 0, jf: 0, k: offset };
        // Returns 1 where the accumulator has the wanted value.
        (0..16)
            .find(|value| {
                let compare = Instruction { code: 0x15, jt: 0, jf: 1, k: *value };
                let returns = [1, 0].map(|k| Instruction { code: 0x06, jt: 0, jf: 0, k });
                let program = [load, compare, returns[0], returns[1]];
                run(&program, &EVENT).is_ok_and(|outcome| outcome.answer == 1)
            })
            .ok_or_else(|| run(&[load], &EVENT).unwrap_err())
    }

    #[test]
    fn words_are_where_the_kernel_has_them() {
        for (offset, value) in [(0, 8), (4, 7), (16, 2), (20, 1), (56, 5), (60, 0)] {
            assert_eq!(loaded(offset), Ok(value), "{offset}");
        }
        assert!(loaded(64).is_err() && loaded(2).is_err());
    }

    #[test]
    fn program_without_return_is_an_error() {
        assert!(run(&[], &EVENT).is_err());
    }
}
