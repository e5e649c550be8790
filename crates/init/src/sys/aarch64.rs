//! System calls on aarch64: the instruction, and what differs from other architectures.
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
            // SAFETY: the kernel changes x0, which is declared, and the memory that the caller vouches for; the asm block is
            // not marked `nomem`, so the compiler assumes any memory may have changed.
            unsafe {
                asm!("svc 0", in("x8") number, inlateout("x0") a => result, $(in($register) $argument,)*
                    options(nostack));
            }
            result
        }
    )*};
}
syscalls! {
    syscall1();
    syscall2(b in "x1");
    syscall3(b in "x1", c in "x2");
    syscall4(b in "x1", c in "x2", d in "x3");
    syscall5(b in "x1", c in "x2", d in "x3", e in "x4");
    syscall6(b in "x1", c in "x2", d in "x3", e in "x4", f in "x5");
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
            "svc 0",
            "cmp x0, #0",
            "b.le 2f",
            "mov x0, x3",
            "mov x1, x4",
            "mov x2, #{nosignal}",
            "mov x8, #{sendmsg}",
            "svc 0",
            "mov x0, #0",
            "mov x8, #{exit}",
            "svc 0",
            "udf #0",
            "2:",
            sendmsg = const abi::number::SENDMSG, exit = const abi::number::EXIT_GROUP,
            nosignal = const abi::MSG_NOSIGNAL,
            in("x8") abi::number::CLONE3, inlateout("x0") args => result, in("x1") size,
            in("x3") socket, in("x4") message,
            options(nostack));
    }
    result
}

/// An instruction that is none: SIGILL.
pub fn fault() -> ! {
    // SAFETY: what does not come back touches nothing.
    unsafe { asm!("udf #0", options(noreturn, nomem, nostack)) }
}

/// `SA_RESTORER`, where a handler cannot be without; else 0.
pub const SA_RESTORER: usize = 0;
/// `O_DIRECTORY` of this architecture.
pub const O_DIRECTORY: u32 = 0o40_000;
/// `O_NOFOLLOW` of this architecture.
pub const O_NOFOLLOW: u32 = 0o100_000;
/// `offsetof(struct stat, st_mode)`, in words of four bytes.
pub const STAT_MODE: usize = 4;
/// `EM_*`: what an ELF program for this machine says.
pub const ELF_MACHINE: u16 = 183;

/// The kernel's generic table.
#[path = "generic.rs"]
pub mod number;
