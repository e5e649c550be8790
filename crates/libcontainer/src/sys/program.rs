//! Starting a program of the host (a hook) as vfork does, without a moment in which it has more than it should.
//!
//! `std::process::Command` would do but for the fds: those that the caller of the library, or the engine above, left
//! without close-on-exec (`--preserve-fds`, listening sockets) would reach the program, and a `pre_exec` that closes them
//! makes Command fork instead of vfork.
//!
//! The same rules as in [`super::spawn`] hold between clone and exec.
//!
//! Runs in: runtime (and, marked, in the child before exec).

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use super::spawn::{Child, errno_of, raw, signal_mask};

const STACK_SIZE: usize = 32 * 1024;
/// Signals are 1 to 64 on every architecture but MIPS.
const LAST_SIGNAL: usize = 64;

/// What to start.
#[derive(Debug)]
pub struct Program<'a> {
    /// What is executed; not searched in PATH.
    pub path: &'a CStr,
    /// Its arguments, `argv[0]` first.
    pub argv: &'a [&'a CStr],
    /// Its environment, `NAME=value` each.
    pub environment: &'a [&'a CStr],
    /// Its working directory.
    pub cwd: &'a CStr,
    /// Becomes fd 0; not itself one of 0 to 2.
    pub stdin: BorrowedFd<'a>,
    /// Become fds 1 and 2; not themselves one of 0 to 2.
    pub outputs: [BorrowedFd<'a>; 2],
    /// Where the process writes its pid, after what is in it, before it executes the program, as an `isize`: written by itself, there is no moment
    /// in which it runs and nobody knows it.
    pub announce: Option<BorrowedFd<'a>>,
}

/// Why it was not started.
#[derive(Debug)]
pub enum ProgramError {
    /// By the working directory.
    Cwd(io::Error),
    /// By `execve`, or anything before it.
    Exec(io::Error),
}

/// What the child reads. Lives in the caller's frame, which sleeps until the child has exec'ed.
struct Prepared {
    path: *const c_char,
    argv: *const *const c_char,
    envp: *const *const c_char,
    cwd: *const c_char,
    stdin: RawFd,
    outputs: [RawFd; 2],
    announce: Option<RawFd>,
    parent: u32,
    is_cwd: AtomicI32,
    error: AtomicI32,
}

#[repr(align(16))]
struct Stack(
    #[expect(dead_code, reason = "only its address is used")] [MaybeUninit<u8>; STACK_SIZE],
);

/// Starts `program` in a session and process group of its own, with fds 0 to 2 only, default signal dispositions and no
/// signal blocked; returns when it has been exec'ed. It is killed when the calling thread ends.
///
/// # Errors
/// Why it was not started; no process is left then.
pub fn start(program: &Program<'_>) -> Result<Child, ProgramError> {
    let argv = pointers(program.argv);
    let envp = pointers(program.environment);
    let prepared = Prepared {
        path: program.path.as_ptr(),
        argv: argv.as_ptr(),
        envp: envp.as_ptr(),
        cwd: program.cwd.as_ptr(),
        stdin: program.stdin.as_raw_fd(),
        outputs: program.outputs.map(|fd| fd.as_raw_fd()),
        announce: program.announce.map(|fd| fd.as_raw_fd()),
        parent: std::process::id(),
        is_cwd: AtomicI32::new(0),
        error: AtomicI32::new(0),
    };
    // Every signal is blocked across clone, or a handler of the host program could run in the child, on its memory.
    let old_mask = signal_mask(libc::SIG_SETMASK, Some(!0)).map_err(ProgramError::Exec)?;
    let cloned = clone_vfork(&prepared);
    let restored = signal_mask(libc::SIG_SETMASK, Some(old_mask));
    let child = cloned.map_err(ProgramError::Exec)?;
    match prepared.error.load(Ordering::Relaxed) {
        0 => restored.map(|_| child).map_err(ProgramError::Exec),
        errno => {
            // Its status says no more; and it does not matter if somebody else has reaped it.
            super::wait::wait(std::os::fd::AsFd::as_fd(&child.pidfd)).ok();
            let error = io::Error::from_raw_os_error(errno);
            let is_cwd = prepared.is_cwd.load(Ordering::Relaxed) != 0;
            Err(if is_cwd { ProgramError::Cwd(error) } else { ProgramError::Exec(error) })
        }
    }
}

fn pointers(strings: &[&CStr]) -> Vec<*const c_char> {
    strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

fn clone_vfork(prepared: &Prepared) -> io::Result<Child> {
    let mut stack = MaybeUninit::<Stack>::uninit();
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let top = stack.as_mut_ptr().wrapping_add(1).cast::<c_void>();
    // SAFETY: `top` is the end of a stack that, with CLONE_VFORK, lives until the child has exec'ed or exited, as do
    // `prepared`, which the child only reads but for its atomics, and `pidfd`, where CLONE_PIDFD puts the fd.
    let pid = unsafe {
        libc::clone(
            child,
            top,
            flags,
            std::ptr::from_ref(prepared).cast_mut().cast(),
            &raw mut pidfd,
        )
    };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: clone succeeded with CLONE_PIDFD, so the kernel has put a new fd of ours into `pidfd`.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid, pidfd })
}

/// Runs in: the child, between clone and exec, on memory that it shares with a sleeping caller.
extern "C" fn child(prepared: *mut c_void) -> c_int {
    // SAFETY: `clone_vfork` passes its `&Prepared`, which lives until this process has exec'ed or exited, and of which
    // nobody has a mutable reference.
    let prepared = unsafe { &*prepared.cast_const().cast::<Prepared>() };
    let errno = match prepare(prepared) {
        0 => errno_of(raw(
            libc::SYS_execve,
            [
                prepared.path.expose_provenance(),
                prepared.argv.expose_provenance(),
                prepared.envp.expose_provenance(),
                0,
                0,
            ],
        )),
        errno => errno,
    };
    prepared.error.store(errno, Ordering::Relaxed);
    loop {
        raw(libc::SYS_exit, [127, 0, 0, 0, 0]);
    }
}

/// Everything before execve; returns the error number of what did not work, or 0.
///
/// Runs in: the child.
#[expect(clippy::cast_sign_loss, reason = "fds, constants: raw register values of system calls")]
fn prepare(prepared: &Prepared) -> i32 {
    const PDEATHSIG: [usize; 5] =
        [libc::PR_SET_PDEATHSIG as usize, libc::SIGKILL as usize, 0, 0, 0];
    let (stdin, [stdout, stderr]) =
        (prepared.stdin as usize, prepared.outputs.map(|fd| fd as usize));
    let calls = [
        (libc::SYS_setsid, [0; 5]),
        (libc::SYS_prctl, PDEATHSIG),
        (libc::SYS_dup3, [stdin, 0, 0, 0, 0]),
        (libc::SYS_dup3, [stdout, 1, 0, 0, 0]),
        (libc::SYS_dup3, [stderr, 2, 0, 0, 0]),
    ];
    for (number, arguments) in calls {
        let result = raw(number, arguments);
        if result < 0 {
            return errno_of(result);
        }
    }
    let announced = prepared.announce.map_or(0, announce);
    if announced < 0 {
        return errno_of(announced);
    }
    let result = raw(libc::SYS_close_range, [3, u32::MAX as usize, 0, 0, 0]);
    if result < 0 {
        return errno_of(result);
    }
    // The parent was killed before PDEATHSIG was set: nobody waits for this hook.
    if raw(libc::SYS_getppid, [0; 5]).cast_unsigned() != prepared.parent as usize {
        return libc::ESRCH;
    }
    let result = raw(libc::SYS_chdir, [prepared.cwd.expose_provenance(), 0, 0, 0, 0]);
    if result < 0 {
        prepared.is_cwd.store(1, Ordering::Relaxed);
        return errno_of(result);
    }
    default_signals()
}

/// Writes the pid.
///
/// Runs in: the child.
#[expect(clippy::cast_sign_loss, reason = "an fd: raw register value of a system call")]
fn announce(to: RawFd) -> isize {
    let pid = raw(libc::SYS_getpid, [0; 5]).to_ne_bytes();
    raw(libc::SYS_write, [to as usize, pid.as_ptr().expose_provenance(), pid.len(), 0, 0])
}

/// Handlers would be reset by execve, but what is ignored stays ignored: SIGPIPE in every Rust program. The mask comes last,
/// or a handler of the caller's could run here.
///
/// Runs in: the child.
fn default_signals() -> i32 {
    // `struct sigaction` of the kernel, all zero: SIG_DFL, no flags, no restorer, empty mask. At most 32 bytes.
    static DEFAULT: [u64; 4] = [0; 4];
    static NONE: u64 = 0;
    const SET_MASK: usize = libc::SIG_SETMASK as usize;
    let mut signal = 1;
    while signal <= LAST_SIGNAL {
        // SIGKILL and SIGSTOP answer EINVAL.
        raw(libc::SYS_rt_sigaction, [signal, (&raw const DEFAULT).expose_provenance(), 0, 8, 0]);
        signal = signal.wrapping_add(1);
    }
    match raw(libc::SYS_rt_sigprocmask, [SET_MASK, (&raw const NONE).expose_provenance(), 0, 8, 0])
    {
        0 => 0,
        result => errno_of(result),
    }
}
