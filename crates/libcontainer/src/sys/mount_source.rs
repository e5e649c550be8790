//! Opening a mount's source in another mount namespace, with the rights of this process.
//!
//! A process in the container's user namespace may not walk where only the host's users may. This process may, but does not
//! enter namespaces: a child does, which shares its memory and its file descriptors while this thread sleeps (`CLONE_VM`,
//! `CLONE_FILES`, `CLONE_VFORK`), makes two system calls and ends. The same rules hold for it as in [`super::spawn`].
//!
//! Runs in: runtime (and, marked, in the child).

use std::ffi::{CStr, c_char, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use super::spawn::{CLONE_CLEAR_SIGHAND, CloneArgs, corten_clone3, errno_of, raw, signal_mask};

const STACK_SIZE: usize = 8 * 1024;

/// What the child reads and answers. Lives in the caller's frame, which sleeps until the child has ended.
struct Prepared {
    process: RawFd,
    path: *const c_char,
    flags: u32,
    /// The new fd, of this process too; -1 until there is one.
    tree: AtomicI32,
    error: AtomicI32,
}

#[repr(align(16))]
struct Stack(
    #[expect(dead_code, reason = "only its address is used")] [MaybeUninit<u8>; STACK_SIZE],
);

/// `open_tree(OPEN_TREE_CLONE)` of `path`, absolute, in the mount namespace of the process that `process` is a pidfd of;
/// `flags`: `AT_RECURSIVE`, `AT_SYMLINK_NOFOLLOW`.
///
/// # Errors
/// Those of `open_tree(2)`. EACCES where this process may not enter that namespace.
pub fn clone_in(process: BorrowedFd<'_>, path: &CStr, flags: u32) -> io::Result<OwnedFd> {
    let prepared = Prepared {
        process: process.as_raw_fd(),
        path: path.as_ptr(),
        flags: flags | libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC,
        tree: AtomicI32::new(-1),
        error: AtomicI32::new(0),
    };
    // Every signal is blocked across clone, or a handler of the host program could run in the child, on its memory.
    let old_mask = signal_mask(libc::SIG_SETMASK, Some(!0))?;
    let child = clone_vfork(&prepared);
    let restored = signal_mask(libc::SIG_SETMASK, Some(old_mask));
    // It has ended; what it has to say is in `prepared`, whoever reaps it.
    super::wait::wait(child?.as_fd()).ok();
    restored?;
    match prepared.tree.load(Ordering::Relaxed) {
        -1 => Err(io::Error::from_raw_os_error(prepared.error.load(Ordering::Relaxed))),
        // SAFETY: the child, which shared this process's table of descriptors, has put a new one there for us.
        tree => Ok(unsafe { OwnedFd::from_raw_fd(tree) }),
    }
}

fn clone_vfork(prepared: &Prepared) -> io::Result<OwnedFd> {
    let mut stack = MaybeUninit::<Stack>::uninit();
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES | libc::CLONE_PIDFD;
    let mut args = CloneArgs {
        flags: u64::from(flags.cast_unsigned()) | CLONE_CLEAR_SIGHAND,
        pidfd: (&raw mut pidfd).expose_provenance() as u64,
        // No SIGCHLD to the caller, and no wait(-1) of its own sees this child (wait(2), __WCLONE).
        exit_signal: 0,
        stack: stack.as_mut_ptr().expose_provenance() as u64,
        stack_size: STACK_SIZE as u64,
        ..CloneArgs::default()
    };
    let argument = std::ptr::from_ref(prepared).cast::<c_void>();
    // SAFETY: `args` is a valid clone_args of 88 bytes whose pointers (pidfd, stack) refer to locals that live until the
    // call returns, and with CLONE_VFORK it returns only when the child has exited. The child runs `child` on `stack` and
    // never returns into this frame; it writes only to the atomics of `prepared`, which outlives the call.
    let pid = unsafe { corten_clone3(&raw mut args, size_of::<CloneArgs>(), child, argument) };
    if pid < 0 {
        return Err(io::Error::from_raw_os_error(errno_of(pid)));
    }
    // SAFETY: clone3 succeeded with CLONE_PIDFD, so the kernel has put a new fd of ours into `pidfd`.
    Ok(unsafe { OwnedFd::from_raw_fd(pidfd) })
}

/// Runs in: the child, on memory that it shares with a sleeping caller.
#[expect(clippy::cast_sign_loss, reason = "fds, constants: raw register values of system calls")]
extern "C" fn child(prepared: *const c_void) -> ! {
    // SAFETY: `clone_vfork` passes its `&Prepared`, which lives until this process has exited.
    let prepared = unsafe { &*prepared.cast::<Prepared>() };
    let namespace = libc::CLONE_NEWNS as usize;
    if raw(libc::SYS_setns, [prepared.process as usize, namespace, 0, 0, 0]) < 0 {
        prepared.error.store(libc::EACCES, Ordering::Relaxed);
    } else {
        let path = prepared.path.expose_provenance();
        let here = libc::AT_FDCWD as usize;
        let tree = raw(libc::SYS_open_tree, [here, path, prepared.flags as usize, 0, 0]);
        if tree < 0 {
            prepared.error.store(errno_of(tree), Ordering::Relaxed);
        } else {
            prepared.tree.store(i32::try_from(tree).unwrap_or(-1), Ordering::Relaxed);
        }
    }
    loop {
        raw(libc::SYS_exit, [0; 5]);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};

    use super::clone_in;

    #[test]
    fn clone_in_the_own_namespace_gives_the_directory_or_the_errno() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let own = rustix::process::getpid();
        let pidfd: OwnedFd =
            rustix::process::pidfd_open(own, rustix::process::PidfdFlags::empty()).unwrap();
        let tree = clone_in(pidfd.as_fd(), c"/etc", 0).unwrap();
        let (there, here) = (rustix::fs::fstat(&tree).unwrap(), rustix::fs::stat("/etc").unwrap());
        assert_eq!((there.st_dev, there.st_ino), (here.st_dev, here.st_ino));
        let error = clone_in(pidfd.as_fd(), c"/nonexistent", 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }
}
