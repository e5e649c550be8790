//! System calls on x86_64: the instruction, the numbers, and what differs from other architectures.
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
        pub unsafe fn $name(number: usize, $($argument: usize),*) -> isize {
            let result;
            // SAFETY: the kernel changes rax, rcx and r11, which are declared, and the memory that the caller vouches for;
            // the asm block is not marked `nomem`, so the compiler assumes any memory may have changed.
            unsafe {
                asm!("syscall", inlateout("rax") number => result, $(in($register) $argument,)*
                    lateout("rcx") _, lateout("r11") _, options(nostack));
            }
            result
        }
    )*};
}
syscalls! {
    syscall0();
    syscall1(a in "rdi");
    syscall2(a in "rdi", b in "rsi");
    syscall3(a in "rdi", b in "rsi", c in "rdx");
    syscall4(a in "rdi", b in "rsi", c in "rdx", d in "r10");
    syscall5(a in "rdi", b in "rsi", c in "rdx", d in "r10", e in "r8");
    syscall6(a in "rdi", b in "rsi", c in "rdx", d in "r10", e in "r8", f in "r9");
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
            "syscall",
            "test rax, rax",
            "jle 2f",
            "mov eax, {sendmsg}",
            "mov rdi, r8",
            "mov rsi, r9",
            "mov edx, {nosignal}",
            "syscall",
            "mov eax, {exit}",
            "xor edi, edi",
            "syscall",
            "ud2",
            "2:",
            sendmsg = const abi::number::SENDMSG, exit = const abi::number::EXIT_GROUP,
            nosignal = const abi::MSG_NOSIGNAL,
            inlateout("rax") abi::number::CLONE3 => result, in("rdi") args, in("rsi") size,
            in("r8") socket, in("r9") message, lateout("rcx") _, lateout("r11") _,
            options(nostack));
    }
    result
}

/// An instruction that is none: SIGILL.
pub fn fault() -> ! {
    // SAFETY: what does not come back touches nothing.
    unsafe { asm!("ud2", options(noreturn, nomem, nostack)) }
}

/// `SA_RESTORER`, where a handler cannot be without; else 0.
pub const SA_RESTORER: usize = 0x0400_0000;
/// `O_DIRECTORY` of this architecture.
pub const O_DIRECTORY: u32 = 0o200_000;
/// `O_NOFOLLOW` of this architecture.
pub const O_NOFOLLOW: u32 = 0o400_000;
/// `offsetof(struct stat, st_mode)`, in words of four bytes.
pub const STAT_MODE: usize = 6;
/// `EM_*`: what an ELF program for this machine says.
pub const ELF_MACHINE: u16 = 62;

/// `__NR_*`, from `asm/unistd_64.h`.
pub mod number {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const LSEEK: usize = 8;
    pub const MMAP: usize = 9;
    pub const RT_SIGACTION: usize = 13;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const IOCTL: usize = 16;
    pub const PREAD64: usize = 17;
    pub const PWRITE64: usize = 18;
    pub const GETPID: usize = 39;
    pub const SENDFILE: usize = 40;
    pub const SOCKET: usize = 41;
    pub const SENDMSG: usize = 46;
    pub const RECVMSG: usize = 47;
    pub const CLONE: usize = 56;
    pub const EXECVE: usize = 59;
    pub const KILL: usize = 62;
    pub const GETCWD: usize = 79;
    pub const CHDIR: usize = 80;
    pub const FCHDIR: usize = 81;
    pub const UMASK: usize = 95;
    pub const SETUID: usize = 105;
    pub const SETGID: usize = 106;
    pub const SETSID: usize = 112;
    pub const GETGROUPS: usize = 115;
    pub const SETGROUPS: usize = 116;
    pub const SETRESUID: usize = 117;
    pub const GETRESUID: usize = 118;
    pub const SETRESGID: usize = 119;
    pub const GETRESGID: usize = 120;
    pub const CAPGET: usize = 125;
    pub const CAPSET: usize = 126;
    pub const PERSONALITY: usize = 135;
    pub const FSTATFS: usize = 138;
    pub const PIVOT_ROOT: usize = 155;
    pub const PRCTL: usize = 157;
    pub const CHROOT: usize = 161;
    pub const MOUNT: usize = 165;
    pub const UMOUNT2: usize = 166;
    pub const SETHOSTNAME: usize = 170;
    pub const SETDOMAINNAME: usize = 171;
    pub const FSETXATTR: usize = 190;
    pub const GETDENTS64: usize = 217;
    pub const CLOCK_GETTIME: usize = 228;
    pub const EXIT_GROUP: usize = 231;
    pub const WAITID: usize = 247;
    pub const KEYCTL: usize = 250;
    pub const SET_MEMPOLICY: usize = 238;
    pub const IOPRIO_SET: usize = 251;
    pub const OPENAT: usize = 257;
    pub const MKDIRAT: usize = 258;
    pub const MKNODAT: usize = 259;
    pub const FCHOWNAT: usize = 260;
    pub const NEWFSTATAT: usize = 262;
    pub const UNLINKAT: usize = 263;
    pub const SYMLINKAT: usize = 266;
    pub const READLINKAT: usize = 267;
    pub const FCHMODAT: usize = 268;
    pub const PPOLL: usize = 271;
    pub const UNSHARE: usize = 272;
    pub const UTIMENSAT: usize = 280;
    pub const DUP3: usize = 292;
    pub const PIPE2: usize = 293;
    pub const PRLIMIT64: usize = 302;
    pub const SETNS: usize = 308;
    pub const SECCOMP: usize = 317;
    pub const SCHED_SETAFFINITY: usize = 203;
    pub const SCHED_SETATTR: usize = 314;
    pub const STATX: usize = 332;
}
