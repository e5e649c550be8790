//! `exec.fifo`: how `start`, which is another process, reaches an init that waits.
//!
//! init holds the fifo open from before its root changes, so that it needs no path and no procfs. The fifo has room for
//! one page, and is full: init's one-byte write blocks until `start` takes the page out. After a seccomp filter without
//! noNewPrivileges this wait is write(2), which runc's wait makes too. What init writes after is a failure, or nothing: the
//! end of file says that execve worked.
//!
//! Runs in: runtime.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use corten_plan::frame::{FIFO_FILL, FRAME_LENGTH, STARTED};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::state::{START_FIFO, StateDir};

/// Makes the fifo in the state directory, full.
pub(crate) fn create(dir: &StateDir) -> Result<OwnedFd, Error> {
    let failed = |action, errno: Errno| Error::State {
        action,
        path: dir.path().join(START_FIFO),
        source: errno.into(),
    };
    rustix::fs::mknodat(dir.fd(), START_FIFO, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .map_err(|errno| failed("create", errno))?;
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fifo = rustix::fs::openat(dir.fd(), START_FIFO, flags, Mode::empty())
        .map_err(|errno| failed("open", errno))?;
    // One page, of whatever size: what is less leaves room for init's byte.
    let room = rustix::pipe::fcntl_setpipe_size(&fifo, FIFO_FILL.len())
        .map_err(|errno| failed("set the size of", errno))?;
    let filled = rustix::io::write(&fifo, &vec![0; room]).map_err(|errno| failed("fill", errno))?;
    if filled == room { Ok(fifo) } else { Err(failed("fill", Errno::NOSPC)) }
}

/// What became of a start.
#[derive(Debug)]
pub(crate) enum Started {
    /// execve worked, or init has ended without a word.
    Executed,
    /// init's last frame.
    Failed(Box<[u8; FRAME_LENGTH]>),
}

/// Lets init go on, and waits until it has executed the user's program or failed.
///
/// `init`: a pidfd, so that the wait ends when init is killed.
pub(crate) fn start(dir: &StateDir, init: BorrowedFd<'_>) -> Result<Option<Started>, Error> {
    let failed = |action, errno: Errno| Error::State {
        action,
        path: dir.path().join(START_FIFO),
        source: errno.into(),
    };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fifo = match rustix::fs::openat(dir.fd(), START_FIFO, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened.map_err(|errno| failed("open", errno))?,
    };
    let room = rustix::pipe::fcntl_getpipe_size(&fifo)
        .map_err(|errno| failed("ask for the size of", errno))?;
    let mut page = vec![0; room];
    // EAGAIN: an earlier `start` was killed after it had taken the page out; init has gone on, or will.
    match rustix::io::read(&fifo, &mut page) {
        Ok(_) | Err(Errno::AGAIN) => {}
        Err(errno) => return Err(failed("read", errno)),
    }
    // From here on init is on its way: the fifo has done its service.
    rustix::fs::unlinkat(dir.fd(), START_FIFO, rustix::fs::AtFlags::empty())
        .map_err(|errno| failed("remove", errno))?;
    outcome(&fifo, init).map(Some).map_err(|errno| failed("read", errno))
}

fn outcome(fifo: &OwnedFd, init: BorrowedFd<'_>) -> Result<Started, Errno> {
    let mut received = Vec::new();
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(fifo.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(init, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let mut buffer = [0; FRAME_LENGTH];
        match rustix::io::read(fifo, &mut buffer) {
            Ok(0) => break,
            Ok(count) => received.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            // Nothing more is written by an init that has ended, even if somebody else has the fifo open.
            Err(Errno::AGAIN) if !fds[1].revents().is_empty() => break,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    let frame = received.strip_prefix(&STARTED).and_then(|frame| frame.try_into().ok());
    Ok(frame.map_or(Started::Executed, |frame| Started::Failed(Box::new(frame))))
}
