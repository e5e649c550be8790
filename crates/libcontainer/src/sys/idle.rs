//! A child in new namespaces that does nothing: what holds a namespace while it is set up and opened.
//!
//! It shares this process's memory, so that its cost does not grow with the caller's, and this thread does not sleep
//! meanwhile: it runs on a stack of its own, makes system calls, and touches nothing else.
//!
//! Runs in: runtime (and, marked, in the child).

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::spawn::{CLONE_CLEAR_SIGHAND, CloneArgs, corten_clone3, raw, signal_mask};
use super::wait;

const STACK_SIZE: usize = 8 * 1024;

#[repr(align(16))]
struct Stack(
    #[expect(dead_code, reason = "only its address is used")] [MaybeUninit<u8>; STACK_SIZE],
);

/// Such a child; it is killed and reaped when this is dropped, and by the kernel when the thread that made it ends.
pub struct Idle {
    /// In this process's pid namespace.
    pub pid: i32,
    pidfd: OwnedFd,
    /// What it stands on while it lives.
    stack: Box<MaybeUninit<Stack>>,
}

impl Idle {
    /// A child in these new namespaces (`CLONE_NEW*`, but no pid namespace, in which it would not know its parent).
    ///
    /// # Errors
    /// Those of `clone3(2)`.
    pub fn start(namespaces: u32) -> io::Result<Self> {
        let stack = Box::new(MaybeUninit::uninit());
        // The child has every signal blocked for all its life: a handler of the host program would run on its memory.
        let old_mask = signal_mask(libc::SIG_SETMASK, Some(!0))?;
        let started = Self::clone(namespaces, stack);
        let restored = signal_mask(libc::SIG_SETMASK, Some(old_mask));
        let idle = started?;
        restored.map(|_| idle)
    }

    /// Refers to it.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    fn clone(namespaces: u32, mut stack: Box<MaybeUninit<Stack>>) -> io::Result<Self> {
        let mut pidfd: RawFd = -1;
        let mut args = CloneArgs {
            flags: (libc::CLONE_VM | libc::CLONE_PIDFD) as u64
                | CLONE_CLEAR_SIGHAND
                | u64::from(namespaces),
            pidfd: (&raw mut pidfd).expose_provenance() as u64,
            // No SIGCHLD to the caller, and no wait(-1) of its own sees this child (wait(2), __WCLONE).
            exit_signal: 0,
            stack: stack.as_mut_ptr().expose_provenance() as u64,
            stack_size: STACK_SIZE as u64,
            ..CloneArgs::default()
        };
        let parent = std::ptr::without_provenance(std::process::id() as usize);
        // SAFETY: `args` is a valid clone_args of 88 bytes; `pidfd` is written before the call returns; the stack is on the
        // heap and is freed only after the child has been reaped (`Drop`). The child runs `idle` on it, which takes a
        // number for its argument and never returns.
        let pid = unsafe { corten_clone3(&raw mut args, size_of::<CloneArgs>(), idle, parent) };
        if pid < 0 {
            return Err(io::Error::from_raw_os_error(i32::try_from(-pid).unwrap_or(libc::EIO)));
        }
        // SAFETY: clone3 succeeded with CLONE_PIDFD, so the kernel has put a new fd of ours into `pidfd`.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        Ok(Self { pid: i32::try_from(pid).unwrap_or(i32::MAX), pidfd, stack })
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        wait::send_signal(self.pidfd.as_fd(), libc::SIGKILL).ok();
        // ECHILD: somebody else has reaped it. In both cases it stands on nothing of ours any more.
        if wait::wait(self.pidfd.as_fd())
            .is_err_and(|error| error.raw_os_error() != Some(libc::ECHILD))
        {
            let stack = std::mem::replace(&mut self.stack, Box::new(MaybeUninit::uninit()));
            Box::leak(stack);
        }
    }
}

/// `parent`: the pid of the process that made it.
///
/// Runs in: the child, on memory that it shares with the caller.
extern "C" fn idle(parent: *const c_void) -> ! {
    const DEATHSIG: usize = libc::PR_SET_PDEATHSIG as usize;
    raw(libc::SYS_prctl, [DEATHSIG, libc::SIGKILL as usize, 0, 0, 0]);
    // The parent was killed before that: nobody will come.
    let orphaned = raw(libc::SYS_getppid, [0; 5]).cast_unsigned() != parent.addr();
    loop {
        // Without files and without a timeout it never ends (poll(2)).
        raw(if orphaned { libc::SYS_exit } else { libc::SYS_ppoll }, [0; 5]);
    }
}

#[cfg(test)]
mod tests {
    use super::Idle;

    #[test]
    fn idle_dropped_is_reaped() {
        let idle = Idle::start(0).unwrap();
        let process = format!("/proc/{}/stat", idle.pid);
        let stat = std::fs::read_to_string(&process).unwrap();
        assert!(stat.contains(&format!(" {} ", std::process::id())), "{stat}");
        drop(idle);
        assert!(std::fs::metadata(&process).is_err());
    }
}
