//! A child in new namespaces that does nothing: what holds a namespace while it is set up and opened.
//!
//! It shares this process's memory, so that its cost does not grow with the caller's, and this thread does not sleep
//! meanwhile: it runs on a stack of its own, makes system calls, and writes to one word besides.
//!
//! Runs in: runtime (and, marked, in the child).

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex;
use rustix::time::Timespec;

use super::spawn::{CLONE_CLEAR_SIGHAND, CloneArgs, corten_clone3, raw, signal_mask};
use super::wait;

const STACK_SIZE: usize = 8 * 1024;

#[repr(align(16))]
struct Stack(
    #[expect(dead_code, reason = "only its address is used")] [MaybeUninit<u8>; STACK_SIZE],
);

/// What the child is told, and its answer.
struct Task {
    /// The pid of the process that made it.
    parent: u32,
    makes_network: bool,
    /// [`PENDING`], [`AWAITED`], [`DONE`], or the call that failed: its place in [`NETWORK_CALLS`], counted from 1, and the errno.
    state: AtomicU32,
}

const PENDING: u32 = 0;
/// As [`PENDING`], and somebody sleeps until it is not.
const AWAITED: u32 = 1;
const DONE: u32 = u32::MAX;
const NETWORK_CALLS: [&str; 3] =
    ["unshare(CLONE_NEWNET)", "socket(AF_UNIX)", "ioctl(SIOCSIFFLAGS) of lo"];
/// How long its end may go unnoticed while it is waited for.
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Such a child; it is killed and reaped when this is dropped, and by the kernel when the thread that made it ends.
pub struct Idle {
    /// In this process's pid namespace.
    pub pid: i32,
    pidfd: OwnedFd,
    /// What it stands on while it lives.
    stack: Box<MaybeUninit<Stack>>,
    task: Arc<Task>,
}

impl Idle {
    /// A child in these new namespaces (`CLONE_NEW*`, but no pid namespace, in which it would not know its parent).
    ///
    /// # Errors
    /// Those of `clone3(2)`.
    pub fn start(namespaces: u32) -> io::Result<Self> {
        Self::begin(namespaces, false)
    }

    /// A child that makes a network namespace for itself and sets its loopback device up, while this returns.
    ///
    /// # Errors
    /// Those of `clone3(2)`.
    pub fn start_network() -> io::Result<Self> {
        Self::begin(0, true)
    }

    fn begin(namespaces: u32, makes_network: bool) -> io::Result<Self> {
        let state = AtomicU32::new(PENDING);
        let task = Arc::new(Task { parent: std::process::id(), makes_network, state });
        let stack = Box::new(MaybeUninit::uninit());
        // The child has every signal blocked for all its life: a handler of the host program would run on its memory.
        let old_mask = signal_mask(libc::SIG_SETMASK, Some(!0))?;
        let started = Self::clone(namespaces, task, stack);
        let restored = signal_mask(libc::SIG_SETMASK, Some(old_mask));
        let idle = started?;
        restored.map(|_| idle)
    }

    /// Waits until it has done what it was started for.
    ///
    /// # Errors
    /// Which call has failed, and how.
    pub fn wait(&self) -> Result<(), (&'static str, io::Error)> {
        loop {
            let pending = self.task.state.compare_exchange(
                PENDING,
                AWAITED,
                Ordering::Acquire,
                Ordering::Acquire,
            );
            match pending {
                Ok(_) | Err(AWAITED) => {}
                Err(DONE) => return Ok(()),
                Err(state) => {
                    let call = NETWORK_CALLS.get(((state >> 16) as usize).wrapping_sub(1)).copied();
                    let errno = i32::try_from(state & 0xffff).unwrap_or_default();
                    return Err((call.unwrap_or_default(), io::Error::from_raw_os_error(errno)));
                }
            }
            match futex::wait(&self.task.state, futex::Flags::empty(), AWAITED, Some(&GLANCE)) {
                Ok(()) | Err(Errno::INTR | Errno::AGAIN) => {}
                Err(Errno::TIMEDOUT) => {
                    let has_ended = wait::ends_within(self.pidfd(), Duration::ZERO);
                    if has_ended.map_err(|error| ("poll", error))? {
                        return Err(("a child was killed", Errno::SRCH.into()));
                    }
                }
                Err(errno) => return Err(("futex", errno.into())),
            }
        }
    }

    /// Refers to it.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    fn clone(
        namespaces: u32,
        task: Arc<Task>,
        mut stack: Box<MaybeUninit<Stack>>,
    ) -> io::Result<Self> {
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
        let argument = Arc::as_ptr(&task).cast::<c_void>();
        // SAFETY: `args` is a valid clone_args of 88 bytes; `pidfd` is written before the call returns; stack and task are on
        // the heap and are freed only after the child has been reaped (`Drop`). The child runs `idle` on that stack, which
        // takes a `Task` for its argument and never returns.
        let pid = unsafe { corten_clone3(&raw mut args, size_of::<CloneArgs>(), idle, argument) };
        if pid < 0 {
            return Err(io::Error::from_raw_os_error(i32::try_from(-pid).unwrap_or(libc::EIO)));
        }
        // SAFETY: clone3 succeeded with CLONE_PIDFD, so the kernel has put a new fd of ours into `pidfd`.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        Ok(Self { pid: i32::try_from(pid).unwrap_or(i32::MAX), pidfd, stack, task })
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
            std::mem::forget(Arc::clone(&self.task));
        }
    }
}

/// Runs in: the child, on memory that it shares with the caller.
extern "C" fn idle(task: *const c_void) -> ! {
    const DEATHSIG: usize = libc::PR_SET_PDEATHSIG as usize;
    // SAFETY: `clone` passes its `Task`, which lives until this process has been reaped.
    let task = unsafe { &*task.cast::<Task>() };
    raw(libc::SYS_prctl, [DEATHSIG, libc::SIGKILL as usize, 0, 0, 0]);
    // The parent was killed before that: nobody will come.
    let orphaned = raw(libc::SYS_getppid, [0; 5]).cast_unsigned() != task.parent as usize;
    if !orphaned {
        // It never executes anything, and its copies would keep pipes and sockets open that the host program has closed.
        raw(libc::SYS_close_range, [0, u32::MAX as usize, 0, 0, 0]);
        let state = if task.makes_network { make_network() } else { DONE };
        if task.state.swap(state, Ordering::Release) == AWAITED {
            raw(libc::SYS_futex, [task.state.as_ptr().addr(), libc::FUTEX_WAKE as usize, 1, 0, 0]);
        }
    }
    loop {
        // Without files and without a timeout it never ends (poll(2)).
        raw(if orphaned { libc::SYS_exit } else { libc::SYS_ppoll }, [0; 5]);
    }
}

/// `struct ifreq` of `<linux/if.h>`: 16 bytes of name, a short with the flags, of which the kernel keeps those that nobody may
/// change.
static LOOPBACK_UP: [u8; 40] = {
    let mut request = [0; 40];
    (request[0], request[1]) = (b'l', b'o');
    [request[16], request[17]] = 1u16.to_ne_bytes(); // IFF_UP
    request
};

/// What becomes the task's state.
///
/// Runs in: the child.
fn make_network() -> u32 {
    const KIND: usize = (libc::SOCK_DGRAM | libc::SOCK_CLOEXEC) as usize;
    /// `SIOCSIFFLAGS` of `<linux/sockios.h>`.
    const SET_FLAGS: usize = 0x8914;
    let unshared = raw(libc::SYS_unshare, [libc::CLONE_NEWNET as usize, 0, 0, 0, 0]);
    if unshared < 0 {
        return failed(1, unshared);
    }
    let socket = raw(libc::SYS_socket, [libc::AF_UNIX as usize, KIND, 0, 0, 0]);
    if socket < 0 {
        return failed(2, socket);
    }
    // The request is read, and not written (`dev_ioctl()`).
    let request = (&raw const LOOPBACK_UP).expose_provenance();
    let is_up = raw(libc::SYS_ioctl, [socket.cast_unsigned(), SET_FLAGS, request, 0, 0]);
    if is_up < 0 { failed(3, is_up) } else { DONE }
}

/// Runs in: the child.
fn failed(call: u32, result: isize) -> u32 {
    // Error numbers are below 4096.
    let errno = result.unsigned_abs() & 0xffff;
    call << 16 | u32::try_from(errno).unwrap_or(1)
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

    #[test]
    fn idle_keeps_no_file_of_ours_open() {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let _idle = Idle::start(0).unwrap();
        drop(write);
        // The end of file comes, and comes before that of the child.
        assert_eq!(rustix::io::read(&read, &mut [0; 1]), Ok(0));
    }

    #[test]
    fn idle_network_is_a_namespace_of_its_own_with_loopback_up() {
        let idle = match Idle::start_network() {
            Ok(idle) => idle,
            Err(error) => panic!("{error}"),
        };
        match idle.wait() {
            Ok(()) => {}
            // Not root: it says which call is refused.
            Err((call, error)) => {
                assert_eq!(
                    (call, error.raw_os_error()),
                    ("unshare(CLONE_NEWNET)", Some(libc::EPERM))
                );
                return;
            }
        }
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
        let pid = idle.pid.to_string();
        assert_ne!(namespace(&pid), namespace("self"));
        // Addresses that are local, in a namespace whose loopback device is up.
        let routes = std::fs::read_to_string(format!("/proc/{pid}/net/fib_trie")).unwrap();
        assert!(routes.contains("127.0.0.1"), "{routes}");
    }
}
