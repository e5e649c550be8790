//! Starting init: `clone3` of all namespaces at once, then `execveat` of the sealed image.
//!
//! The child shares this process's memory (`CLONE_VM`) until it has exec'ed and this thread sleeps meanwhile
//! (`CLONE_VFORK`), so that the cost does not grow with the caller's memory, and no lock of another thread matters:
//! between clone and exec the child makes raw system calls on memory that was prepared before, writes nothing but its
//! own stack and one error word, and changes neither credentials nor the dumpable flag, which are the caller's too.
//! It has file descriptors (a copy, no `CLONE_FILES`) and signal dispositions of its own.
//!
//! nix and libc have no clone3 that is sound with `CLONE_VM` (nix issue 360): the child needs a stack of its own, and
//! so a few lines of assembly that never return to the caller's frame.
//!
//! Runs in: runtime (and, marked, in the child before exec).

use std::ffi::{CStr, c_char, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// `struct clone_args` of `<linux/sched.h>`, version 2 (88 bytes, Linux 5.7).
#[repr(C, align(8))]
#[derive(Debug, Default)]
pub(super) struct CloneArgs {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    pub cgroup: u64,
}

const CLONE_NEWUSER: u32 = libc::CLONE_NEWUSER as u32;
pub(super) const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const STACK_SIZE: usize = 16 * 1024;

/// What to start, prepared: nothing of it is allocated or looked up after clone.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// `CLONE_NEW*`.
    pub namespaces: u32,
    /// The cgroup directory that the child is born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The program.
    pub image: BorrowedFd<'a>,
    /// Its arguments, `argv[0]` first.
    pub argv: &'a [&'a CStr],
    /// What becomes its fds 0, 1 and 2; `None`: this process's own.
    pub stdio: Option<[BorrowedFd<'a>; 3]>,
    /// The fds that survive exec under their own numbers.
    pub inherit: &'a [BorrowedFd<'a>],
    /// Fds from 3 up to (not with) this one keep the close-on-exec flag that they have; all others are closed at exec.
    pub first_closed: u32,
}

/// A process that was just started.
#[derive(Debug)]
pub struct Child {
    /// In this process's pid namespace.
    pub pid: i32,
    /// Refers to it whatever becomes of the number.
    pub pidfd: OwnedFd,
}

/// Which call failed.
#[derive(Debug)]
pub enum SpawnError {
    /// `clone3`.
    Clone(io::Error),
    /// What the child did before and with `execveat`.
    Exec(io::Error),
}

/// What the child reads. Lives in the caller's frame, which sleeps until the child has exec'ed.
struct Prepared {
    image: RawFd,
    argv: *const *const c_char,
    envp: *const *const c_char,
    stdio: Option<[RawFd; 3]>,
    inherit: *const RawFd,
    inherit_count: usize,
    first_closed: u32,
    keeps_capabilities: bool,
    error: AtomicI32,
}

#[repr(align(16))]
struct Stack(
    #[expect(dead_code, reason = "only its address is used")] [MaybeUninit<u8>; STACK_SIZE],
);

/// Starts the program; returns when it has been exec'ed.
///
/// # Errors
/// Which call failed, and with what; no process is left then.
pub fn spawn(what: &Spawn<'_>) -> Result<Child, SpawnError> {
    let mut argv: Vec<*const c_char> = what.argv.iter().map(|arg| arg.as_ptr()).collect();
    argv.push(std::ptr::null());
    let envp: [*const c_char; 1] = [std::ptr::null()];
    let inherit: Vec<RawFd> = what.inherit.iter().map(AsRawFd::as_raw_fd).collect();
    let prepared = Prepared {
        image: what.image.as_raw_fd(),
        argv: argv.as_ptr(),
        envp: envp.as_ptr(),
        stdio: what.stdio.map(|fds| fds.map(|fd| fd.as_raw_fd())),
        inherit: inherit.as_ptr(),
        inherit_count: inherit.len(),
        first_closed: what.first_closed,
        keeps_capabilities: what.namespaces & CLONE_NEWUSER != 0,
        error: AtomicI32::new(0),
    };
    // Every signal is blocked across clone, or a handler of the host program could run in the child, on its memory.
    let old_mask = signal_mask(libc::SIG_SETMASK, Some(!0)).map_err(SpawnError::Clone)?;
    let cloned = clone_vfork(what, &prepared);
    let restored = signal_mask(libc::SIG_SETMASK, Some(old_mask));
    let child = cloned.map_err(SpawnError::Clone)?;
    match prepared.error.load(Ordering::Relaxed) {
        0 => {
            restored.map_err(SpawnError::Clone)?;
            Ok(child)
        }
        errno => {
            // The child has exited; what it has to say is `errno`, whoever reaps it (ECHILD: the caller's own wait).
            match super::wait::wait(std::os::fd::AsFd::as_fd(&child.pidfd)) {
                Err(error) if error.raw_os_error() != Some(libc::ECHILD) => {
                    return Err(SpawnError::Exec(error));
                }
                _ => {}
            }
            Err(SpawnError::Exec(io::Error::from_raw_os_error(errno)))
        }
    }
}

fn clone_vfork(what: &Spawn<'_>, prepared: &Prepared) -> io::Result<Child> {
    let mut stack = MaybeUninit::<Stack>::uninit();
    let mut pidfd: RawFd = -1;
    #[expect(clippy::cast_sign_loss, reason = "flag bits and an open fd")]
    let mut args = CloneArgs {
        flags: (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD) as u64
            | CLONE_CLEAR_SIGHAND
            | u64::from(what.namespaces)
            | if what.cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 },
        pidfd: (&raw mut pidfd).expose_provenance() as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.as_mut_ptr().expose_provenance() as u64,
        stack_size: STACK_SIZE as u64,
        cgroup: what.cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
        ..CloneArgs::default()
    };
    // SAFETY: `args` is a valid clone_args of 88 bytes whose pointers (pidfd, stack) refer to locals that live until the
    // call returns, and with CLONE_VFORK it returns only when the child has exec'ed or exited. The child runs `child`
    // on `stack` and never returns into this frame; it reads only `prepared`, which outlives the call.
    let pid = unsafe {
        corten_clone3(
            &raw mut args,
            size_of::<CloneArgs>(),
            child,
            std::ptr::from_ref(prepared).cast::<c_void>(),
        )
    };
    if pid < 0 {
        return Err(io::Error::from_raw_os_error(i32::try_from(-pid).unwrap_or(libc::EIO)));
    }
    // SAFETY: clone3 succeeded with CLONE_PIDFD, so the kernel has put a new fd of ours into `pidfd`.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid: i32::try_from(pid).unwrap_or(i32::MAX), pidfd })
}

/// Changes this thread's signal mask by the raw call, which unlike libc's also covers glibc's own signals 32 and 33.
pub(super) fn signal_mask(how: i32, set: Option<u64>) -> io::Result<u64> {
    let mut old = 0u64;
    let new = set.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: both masks are 8 bytes, the size that the fourth argument names; the kernel reads one and writes the other.
    let result = unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, new, &raw mut old, 8usize) };
    if result == 0 { Ok(old) } else { Err(io::Error::last_os_error()) }
}

/// Runs in: the child, between clone and exec, on memory that it shares with a sleeping caller.
extern "C" fn child(prepared: *const c_void) -> ! {
    // SAFETY: `clone_vfork` passes its `&Prepared`, which lives until this process has exec'ed or exited.
    let prepared = unsafe { &*prepared.cast::<Prepared>() };
    let errno = exec(prepared);
    prepared.error.store(errno, Ordering::Relaxed);
    loop {
        raw(libc::SYS_exit, [127, 0, 0, 0, 0]);
    }
}

/// Prepares the fds and executes the image; returns the error number when that did not work.
///
/// Runs in: the child.
#[expect(
    clippy::cast_sign_loss,
    reason = "fds are not negative, and error numbers are negated: raw register values of system calls"
)]
fn exec(prepared: &Prepared) -> i32 {
    const F_SETFD: usize = libc::F_SETFD as usize;
    if let Some(stdio) = prepared.stdio {
        let [stdin, stdout, stderr] = stdio;
        for (from, to) in [(stdin, 0), (stdout, 1), (stderr, 2)] {
            let result = raw(libc::SYS_dup3, [from as usize, to, 0, 0, 0]);
            if result < 0 {
                return errno_of(result);
            }
        }
    }
    let cloexec = libc::CLOSE_RANGE_CLOEXEC as usize;
    let result = raw(
        libc::SYS_close_range,
        [prepared.first_closed as usize, u32::MAX as usize, cloexec, 0, 0],
    );
    if result < 0 {
        return errno_of(result);
    }
    let mut index = 0;
    while index < prepared.inherit_count {
        // SAFETY: `inherit` points to `inherit_count` fd numbers, and `index` is below that.
        let place = unsafe { prepared.inherit.add(index) };
        // SAFETY: as above; the numbers lie in a Vec of the sleeping caller.
        let fd = unsafe { place.read() };
        let result = raw(libc::SYS_fcntl, [fd as usize, F_SETFD, 0, 0, 0]);
        if result < 0 {
            return errno_of(result);
        }
        index = index.wrapping_add(1);
    }
    if prepared.keeps_capabilities {
        let result = keep_capabilities();
        if result < 0 {
            return errno_of(result);
        }
    }
    let empty = c"".as_ptr().expose_provenance();
    errno_of(raw(
        libc::SYS_execveat,
        [
            prepared.image as usize,
            empty,
            prepared.argv.expose_provenance(),
            prepared.envp.expose_provenance(),
            libc::AT_EMPTY_PATH as usize,
        ],
    ))
}

/// In a new user namespace this process has all capabilities, but no id yet, and who is not root keeps over execve only
/// those that are ambient (capabilities(7)). These belong to the process alone, and leave its memory's dumpable flag, which
/// is the caller's too, as it is: nothing is added to what is permitted (`commit_creds` of the kernel).
///
/// Runs in: the child.
fn keep_capabilities() -> isize {
    /// `_LINUX_CAPABILITY_VERSION_3`, of this process.
    const HEADER: [u32; 2] = [0x2008_0522, 0];
    /// Effective, permitted, inheritable, two halves of each; the kernel drops the bits that it does not know.
    const ALL: [u32; 6] = [u32::MAX; 6];
    let (header, all) = (HEADER.as_ptr().expose_provenance(), ALL.as_ptr().expose_provenance());
    let result = raw(libc::SYS_capset, [header, all, 0, 0, 0]);
    if result < 0 {
        return result;
    }
    let (option, raise) = (libc::PR_CAP_AMBIENT as usize, libc::PR_CAP_AMBIENT_RAISE as usize);
    let mut capability = 0;
    // Past the last capability: EINVAL.
    while capability < 64 && raw(libc::SYS_prctl, [option, raise, capability, 0, 0]) == 0 {
        capability = capability.wrapping_add(1);
    }
    0
}

pub(super) fn errno_of(result: isize) -> i32 {
    i32::try_from(result.wrapping_neg()).unwrap_or(libc::EIO)
}

/// One system call with five arguments, without libc's errno, which the sleeping thread owns.
///
/// Runs in: the child.
pub(super) fn raw(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the callers in spawn, program and idle pass fds, constants, and pointers into `Prepared`, to statics, to locals, or to
    // the futex word of a `Task`; none makes the kernel write to memory.
    unsafe { corten_syscall(number, a, b, c, d, e) }
}

unsafe extern "C" {
    /// clone3(`args`, `size`); in the child, on its new stack: `child(argument)`. Returns the pid or a negated errno.
    pub(super) fn corten_clone3(
        args: *mut CloneArgs,
        size: usize,
        child: extern "C" fn(*const c_void) -> !,
        argument: *const c_void,
    ) -> isize;
    fn corten_syscall(
        number: libc::c_long,
        a: usize,
        b: usize,
        c: usize,
        d: usize,
        e: usize,
    ) -> isize;
}

#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".pushsection .text.corten_clone3,\"ax\",@progbits",
    ".globl corten_clone3",
    ".type corten_clone3,@function",
    "corten_clone3:",
    "mov r8, rdx",
    "mov r9, rcx",
    "mov eax, 435",
    "syscall",
    "test rax, rax",
    "jnz 1f",
    "xor ebp, ebp",
    "mov rdi, r9",
    "call r8",
    "ud2",
    "1: ret",
    ".size corten_clone3, . - corten_clone3",
    ".globl corten_syscall",
    ".type corten_syscall,@function",
    "corten_syscall:",
    "mov rax, rdi",
    "mov rdi, rsi",
    "mov rsi, rdx",
    "mov rdx, rcx",
    "mov r10, r8",
    "mov r8, r9",
    "syscall",
    "ret",
    ".size corten_syscall, . - corten_syscall",
    ".popsection",
);

#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(
    ".pushsection .text.corten_clone3,\"ax\",@progbits",
    ".globl corten_clone3",
    ".type corten_clone3,@function",
    "corten_clone3:",
    "mov x10, x2",
    "mov x11, x3",
    "mov x8, #435",
    "svc #0",
    "cbnz x0, 1f",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, x11",
    "blr x10",
    "brk #1",
    "1: ret",
    ".size corten_clone3, . - corten_clone3",
    ".globl corten_syscall",
    ".type corten_syscall,@function",
    "corten_syscall:",
    "mov x8, x0",
    "mov x0, x1",
    "mov x1, x2",
    "mov x2, x3",
    "mov x3, x4",
    "mov x4, x5",
    "svc #0",
    "ret",
    ".size corten_syscall, . - corten_syscall",
    ".popsection",
);

#[cfg(target_arch = "riscv64")]
std::arch::global_asm!(
    ".pushsection .text.corten_clone3,\"ax\",@progbits",
    ".globl corten_clone3",
    ".type corten_clone3,@function",
    "corten_clone3:",
    "mv t3, a2",
    "mv t4, a3",
    "li a7, 435",
    "ecall",
    "bnez a0, 1f",
    "mv a0, t4",
    "jalr t3",
    "ebreak",
    "1: ret",
    ".size corten_clone3, . - corten_clone3",
    ".globl corten_syscall",
    ".type corten_syscall,@function",
    "corten_syscall:",
    "mv a7, a0",
    "mv a0, a1",
    "mv a1, a2",
    "mv a2, a3",
    "mv a3, a4",
    "mv a4, a5",
    "ecall",
    "ret",
    ".size corten_syscall, . - corten_syscall",
    ".popsection",
);
