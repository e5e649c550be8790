//! Waiting for a child by its pidfd.
//!
//! Runs in: runtime.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
}

/// Waits until the child that `pidfd` refers to has ended, and reaps it.
///
/// `__WALL`, because a child whose exit signal is not SIGCHLD is otherwise not seen (`wait(2)`).
///
/// # Errors
/// ECHILD when it is not a child of this process, or somebody else has reaped it.
pub fn wait(pidfd: BorrowedFd<'_>) -> io::Result<ExitStatus> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let id = libc::id_t::try_from(pidfd.as_raw_fd()).map_err(|_| io::ErrorKind::InvalidInput)?;
    loop {
        // SAFETY: `info` is a siginfo_t of ours that the kernel fills; P_PIDFD takes the number of an open fd.
        let result = unsafe {
            libc::waitid(libc::P_PIDFD, id, info.as_mut_ptr(), libc::WEXITED | libc::__WALL)
        };
        if result == 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: zeroed is a valid siginfo_t, and waitid has filled it.
    let info = unsafe { info.assume_init() };
    // SAFETY: waitid filled the fields of SIGCHLD, si_status among them.
    let status = unsafe { info.si_status() };
    Ok(match info.si_code {
        libc::CLD_EXITED => ExitStatus::Exited(status),
        _ => ExitStatus::Signaled(status),
    })
}

/// Whether the process that `pidfd` refers to has ended, or ends within `time`: it is a zombie, or reaped.
///
/// # Errors
/// Those of `poll(2)`, but EINTR: a signal that the host program handles does not end the wait.
pub fn ends_within(pidfd: BorrowedFd<'_>, time: Duration) -> io::Result<bool> {
    let begin = Instant::now();
    let mut left = time;
    loop {
        let timeout = Timespec::try_from(left).unwrap_or_default();
        let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Err(Errno::INTR) => left = time.saturating_sub(begin.elapsed()),
            polled => return Ok(polled? > 0),
        }
    }
}

/// Sends signal `number` to the process that `pidfd` refers to.
///
/// Not rustix's: its signals are those it knows by name, and real-time signals are sent too.
///
/// # Errors
/// ESRCH when it has ended.
pub fn send_signal(pidfd: BorrowedFd<'_>, number: i32) -> Result<(), rustix::io::Errno> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the fd is borrowed and so open; with a null siginfo the kernel reads no memory of ours.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, no_info, 0u32)
    };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    Err(rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::INVAL))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::thread::JoinHandleExt;
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    static IS_OVER: AtomicBool = AtomicBool::new(false);

    extern "C" fn handler(_signal: i32) {}

    #[test]
    fn handled_signals_do_not_end_the_wait() {
        let time = Duration::from_millis(200);
        let waits = std::thread::spawn(move || {
            let mut child = Command::new("sleep").arg("100").spawn().unwrap();
            let pid = rustix::process::Pid::from_child(&child);
            let flags = rustix::process::PidfdFlags::empty();
            let pidfd = rustix::process::pidfd_open(pid, flags).unwrap();
            let begin = Instant::now();
            let ended = ends_within(pidfd.as_fd(), time);
            IS_OVER.store(true, Ordering::Relaxed);
            child.kill().unwrap();
            child.wait().unwrap();
            (ended.unwrap(), begin.elapsed())
        });
        let handler = handler as extern "C" fn(i32);
        // SAFETY: a handler that does nothing, of a signal that no other test uses.
        unsafe { libc::signal(libc::SIGURG, handler as usize) };
        while !IS_OVER.load(Ordering::Relaxed) {
            // SAFETY: the thread has not been joined.
            unsafe { libc::pthread_kill(waits.as_pthread_t(), libc::SIGURG) };
            std::thread::sleep(Duration::from_millis(5));
        }
        let (ended, took) = waits.join().unwrap();
        assert!(!ended && took >= time, "{ended} {took:?}");
    }
}
