//! What the first bytes of a file say about why it cannot be executed.
//!
//! Runs in: init.

use crate::sys::ELF_MACHINE;

/// What a file is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program<'a> {
    /// It begins with `#!`.
    Script {
        /// The first line, without the end of line.
        line: &'a [u8],
        /// Whether CR LF ends it: the kernel takes the CR as part of the interpreter's name.
        carriage_return: bool,
    },
    /// An ELF file.
    Elf {
        /// `EM_*`.
        machine: u16,
        /// The dynamic linker that it names, where that is among the bytes.
        interpreter: Option<&'a [u8]>,
    },
    /// Nothing is in it.
    Empty,
    /// Something else.
    Other,
}

/// Looks at the first bytes of a file.
pub fn program(head: &[u8]) -> Program<'_> {
    match head {
        [] => Program::Empty,
        [b'#', b'!', ..] => script(head),
        [0x7f, b'E', b'L', b'F', ..] => elf(head).unwrap_or(Program::Other),
        _ => Program::Other,
    }
}

fn script(head: &[u8]) -> Program<'_> {
    let end = head.iter().position(|byte| *byte == b'\n').unwrap_or(head.len());
    let line = head.get(..end).unwrap_or(head);
    let stripped = line.strip_suffix(b"\r");
    Program::Script { line: stripped.unwrap_or(line), carriage_return: stripped.is_some() }
}

/// `None`: too short, or of the other byte order.
fn elf(head: &[u8]) -> Option<Program<'_>> {
    const LITTLE_ENDIAN: u8 = 1;
    if *head.get(5)? != LITTLE_ENDIAN {
        return None;
    }
    Some(Program::Elf {
        machine: integer(head, 18, 2)?.try_into().ok()?,
        interpreter: interpreter(head),
    })
}

/// The string of PT_INTERP of a 64-bit file.
fn interpreter(head: &[u8]) -> Option<&[u8]> {
    const CLASS_64: u8 = 2;
    const PT_INTERP: usize = 3;
    if *head.get(4)? != CLASS_64 {
        return None;
    }
    let (start, size, count) =
        (integer(head, 32, 8)?, integer(head, 54, 2)?, integer(head, 56, 2)?);
    let headers = head.get(start..)?.chunks_exact(size.max(56)).take(count);
    let header = headers.into_iter().find(|header| integer(header, 0, 4) == Some(PT_INTERP))?;
    let start = integer(header, 8, 8)?;
    let string = head.get(start..start.checked_add(integer(header, 32, 8)?)?)?;
    Some(string.strip_suffix(&[0]).unwrap_or(string))
}

/// The little-endian integer of `size` bytes at `at`.
fn integer(bytes: &[u8], at: usize, size: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    bytes
        .iter()
        .rev()
        .try_fold(0usize, |number, byte| number.checked_mul(256)?.checked_add(usize::from(*byte)))
}

/// Why the kernel said ENOEXEC: parts of a sentence.
pub fn no_program(kind: Program<'_>) -> [&'static [u8]; 3] {
    match kind {
        Program::Empty => [b"the file is empty", b"", b""],
        Program::Elf { machine, .. } if machine != ELF_MACHINE => {
            [b"it is a program for ", machine_name(machine), b", this machine is another"]
        }
        Program::Elf { .. } => [b"the ELF file is damaged or no program", b"", b""],
        Program::Script { .. } => [b"its interpreter cannot be executed", b"", b""],
        Program::Other => [
            b"it is neither an ELF program nor a script whose first line names its interpreter",
            b"",
            b"",
        ],
    }
}

fn machine_name(machine: u16) -> &'static [u8] {
    match machine {
        3 => b"i386",
        8 => b"mips",
        20 => b"ppc",
        21 => b"ppc64",
        22 => b"s390x",
        40 => b"arm",
        62 => b"x86_64",
        183 => b"aarch64",
        243 => b"riscv64",
        258 => b"loongarch64",
        _ => b"an unknown machine",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf_file(machine: u16, interpreter: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 120];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        file[64] = 3;
        file[72] = 120;
        file[96] = u8::try_from(interpreter.len()).unwrap();
        file.extend_from_slice(interpreter);
        file
    }

    #[test]
    fn script_gives_its_first_line() {
        let plain = Program::Script { line: b"#!/bin/sh -e", carriage_return: false };
        assert_eq!(program(b"#!/bin/sh -e\nexit\r\n"), plain);
        assert_eq!(program(b"#!/bin/sh -e"), plain);
        let line = b"#!/bin/sh";
        assert_eq!(program(b"#!/bin/sh\r\n"), Program::Script { line, carriage_return: true });
    }

    #[test]
    fn elf_gives_machine_and_dynamic_linker() {
        let file = elf_file(183, b"/lib/ld.so\0");
        let expected = Program::Elf { machine: 183, interpreter: Some(b"/lib/ld.so") };
        assert_eq!(program(&file), expected);
        assert_eq!(no_program(program(&elf_file(22, b"")))[1], b"s390x");
    }

    #[test]
    fn elf_cut_at_any_byte_does_not_panic() {
        let file = elf_file(62, b"/lib/ld.so\0");
        for length in 0..file.len() {
            let kind = program(&file[..length]);
            assert!(!matches!(kind, Program::Elf { interpreter: Some(_), .. }), "{length}");
        }
    }

    #[test]
    fn elf_with_absurd_offsets_has_no_dynamic_linker() {
        for at in [32, 54, 56, 72, 96] {
            let mut file = elf_file(62, b"/lib/ld.so\0");
            file[at..at + 2].fill(0xff);
            file[39] = 0xff;
            assert!(matches!(program(&file), Program::Elf { interpreter: None, .. }), "{at}");
        }
    }

    #[test]
    fn other_files_are_named_as_such() {
        assert_eq!(program(b""), Program::Empty);
        assert_eq!(program(b"#"), Program::Other);
        assert_eq!(program(b"MZ\x90"), Program::Other);
        assert_eq!(program(b"\x7fELF"), Program::Other);
    }
}
