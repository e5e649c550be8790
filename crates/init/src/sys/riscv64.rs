//! System calls on riscv64: the instruction, and what differs from other architectures.
//!
//! Runs in: init.

use core::arch::asm;

use super::abi;

/// One function for each number of arguments: registers that a call does not look at are not set.
macro_rules! syscalls {
    ($($name:ident($($argument:ident in $register:tt),*);)*) => {$(
        /// Makes system call `number`; the result is the kernel's: -4095 to -1 is a negated error number.
        ///
        /// # Safety
        /// The arguments are what the kernel expects of this call: pointers among them are valid for what it reads or writes.
        #[inline(always)]
        pub unsafe fn $name(number: usize, a: usize, $($argument: usize),*) -> isize {
            let result;
            // SAFETY: the kernel changes a0, which is declared, and the memory that the caller vouches for; the asm block is
            // not marked `nomem`, so the compiler assumes any memory may have changed.
            unsafe {
                asm!("ecall", in("a7") number, inlateout("a0") a => result, $(in($register) $argument,)*
                    options(nostack));
            }
            result
        }
    )*};
}
syscalls! {
    syscall1();
    syscall2(b in "a1");
    syscall3(b in "a1", c in "a2");
    syscall4(b in "a1", c in "a2", d in "a3");
    syscall5(b in "a1", c in "a2", d in "a3", e in "a4");
    syscall6(b in "a1", c in "a2", d in "a3", e in "a4", f in "a5");
}

/// As the others, for calls without arguments.
///
/// # Safety
/// The call takes no arguments.
#[inline(always)]
pub unsafe fn syscall0(number: usize) -> isize {
    // SAFETY: the kernel does not look at the argument.
    unsafe { syscall1(number, 0) }
}

/// `clone3(args, size)` with CLONE_VM and no stack: the child comes back with 0, on this stack; the parent makes
/// `sendmsg(socket, message, MSG_NOSIGNAL)` and exits, from registers alone. Comes back in the parent with an error only.
///
/// # Safety
/// `args` is a `struct clone_args` of `size` bytes; `message` a `struct msghdr` in memory that the child leaves alone.
pub unsafe fn clone_and_leave(args: usize, size: usize, socket: usize, message: usize) -> isize {
    let result;
    // SAFETY: as for the calls above. Behind the clone the parent writes neither to its stack nor to other memory, and does not
    // come back; the child has its registers, of which the kernel changes those that are declared.
    unsafe {
        asm!(
            "ecall",
            "blez a0, 2f",
            "mv a0, a3",
            "mv a1, a4",
            "li a2, {nosignal}",
            "li a7, {sendmsg}",
            "ecall",
            "li a0, 0",
            "li a7, {exit}",
            "ecall",
            "unimp",
            "2:",
            sendmsg = const abi::number::SENDMSG, exit = const abi::number::EXIT_GROUP,
            nosignal = const abi::MSG_NOSIGNAL,
            in("a7") abi::number::CLONE3, inlateout("a0") args => result, in("a1") size,
            in("a3") socket, in("a4") message,
            options(nostack));
    }
    result
}

/// An instruction that is none: SIGILL.
pub fn fault() -> ! {
    // SAFETY: what does not come back touches nothing.
    unsafe { asm!("unimp", options(noreturn, nomem, nostack)) }
}

/// `SA_RESTORER`, where a handler cannot be without; else 0.
pub const SA_RESTORER: usize = 0;
/// `O_DIRECTORY` of this architecture.
pub const O_DIRECTORY: u32 = 0o200_000;
/// `O_NOFOLLOW` of this architecture.
pub const O_NOFOLLOW: u32 = 0o400_000;
/// `offsetof(struct stat, st_mode)`, in words of four bytes.
pub const STAT_MODE: usize = 4;
/// `EM_*`: what an ELF program for this machine says.
pub const ELF_MACHINE: u16 = 243;

/// The kernel's generic table.
#[path = "generic.rs"]
pub mod number;
