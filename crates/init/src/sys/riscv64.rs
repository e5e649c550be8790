//! System calls on riscv64: the instruction, and what differs from other architectures.
//!
//! Runs in: init.

use core::arch::asm;

pub use super::generic as number;

/// Makes system call `number`; the result is the kernel's: -4095 to -1 is a negated error number.
///
/// # Safety
/// The arguments are what the kernel expects of this call: pointers among them are valid for what it reads or writes.
#[inline(always)]
pub unsafe fn syscall(number: usize, registers: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = registers;
    let result;
    // SAFETY: the kernel changes a0, which is declared, and the memory that the caller vouches for; the asm block is not
    // marked `nomem`, so the compiler assumes any memory may have changed.
    unsafe {
        asm!("ecall", in("a7") number, inlateout("a0") a => result, in("a1") b, in("a2") c, in("a3") d,
            in("a4") e, in("a5") f, options(nostack));
    }
    result
}

/// `O_DIRECTORY` of this architecture.
pub const O_DIRECTORY: u32 = 0o200_000;
/// `O_NOFOLLOW` of this architecture.
pub const O_NOFOLLOW: u32 = 0o400_000;
/// `EM_*`: what an ELF program for this machine says.
pub const ELF_MACHINE: u16 = 243;
