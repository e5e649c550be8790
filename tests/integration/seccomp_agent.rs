//! A seccomp agent: takes the listener of each filter, and answers every call that it is notified of.
//!
//! Runs in: any process.

#![allow(unsafe_code, reason = "the ioctls of seccomp_unotify(2) have no wrapper")]

use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use libtest_mimic::Failed;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::Value;

use crate::harness::ensure_eq;
use crate::runtime::Runtime;

/// What a notified call gives.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// This error.
    Errno(i32),
    /// What the kernel says.
    Continue,
}

/// What came over one connection.
#[derive(Debug)]
pub struct Received {
    pub state: Value,
    pub descriptors: usize,
    connection: UnixStream,
}

/// The agent; it lives as long as the test's process.
#[derive(Debug)]
pub struct Agent {
    pub path: PathBuf,
    received: Receiver<io::Result<Received>>,
}

impl Agent {
    pub fn new(runtime: &Runtime, answer: Answer) -> io::Result<Self> {
        let path = runtime.directory().join("agent.sock");
        let listener = UnixListener::bind(&path)?;
        let (send, received) = channel();
        std::thread::spawn(move || {
            while let Ok((connection, _)) = listener.accept() {
                if send.send(take(connection, answer)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { path, received })
    }

    /// The next container process state; the runtime must close the connection.
    pub fn next(&self) -> Result<Value, Failed> {
        let mut received = self.receive()?;
        received.connection.set_read_timeout(Some(Duration::from_secs(20)))?;
        ensure_eq!(received.connection.read(&mut [0; 1])?, 0);
        Ok(received.state)
    }

    /// As [`Self::next`], for runtimes that close it later.
    pub fn receive(&self) -> Result<Received, Failed> {
        let received = self.received.recv_timeout(Duration::from_secs(20));
        let received = received.map_err(|_| "the agent has received nothing")??;
        ensure_eq!(received.descriptors, 1);
        Ok(received)
    }

    /// Nothing more has come.
    pub fn is_left_alone(&self) -> bool {
        self.received.try_recv().is_err()
    }
}

/// Takes the listener, begins to answer, and takes the rest of the state.
fn take(mut connection: UnixStream, answer: Answer) -> io::Result<Received> {
    let mut payload = vec![0; 65536];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffers = [IoSliceMut::new(&mut payload)];
    let count = recvmsg(&connection, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    payload.truncate(count);
    let mut descriptors = 0;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            for fd in received {
                descriptors += 1;
                std::thread::spawn(move || while answer_one(&fd, answer).is_ok() {});
            }
        }
    }
    while serde_json::from_slice::<Value>(&payload).is_err() {
        let mut more = [0; 4096];
        let count = connection.read(&mut more)?;
        if count == 0 {
            break;
        }
        payload.extend_from_slice(more.get(..count).unwrap_or_default());
    }
    Ok(Received { state: serde_json::from_slice(&payload)?, descriptors, connection })
}

/// `struct seccomp_notif`.
#[repr(C)]
#[derive(Default)]
struct Notification {
    id: u64,
    pid: u32,
    flags: u32,
    data: [u64; 8],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// `_IOWR('!', 0, struct seccomp_notif)` and `_IOWR('!', 1, struct seccomp_notif_resp)`.
const NOTIF_RECV: libc::c_ulong = 0xc050_2100;
const NOTIF_SEND: libc::c_ulong = 0xc018_2101;
const USER_NOTIF_FLAG_CONTINUE: u32 = 1;

fn answer_one(listener: &OwnedFd, answer: Answer) -> io::Result<()> {
    let mut files = [PollFd::new(listener, PollFlags::IN)];
    poll(&mut files, None)?;
    let [file] = files;
    if !file.revents().contains(PollFlags::IN) {
        // Nobody has the filter any more.
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    let mut notification = Notification::default();
    // SAFETY: the kernel writes a `struct seccomp_notif` of the 80 bytes that the request names, to zeros of that size.
    let received = unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_RECV, &raw mut notification) };
    if received != 0 {
        let error = io::Error::last_os_error();
        // The caller was killed meanwhile.
        return if error.raw_os_error() == Some(libc::ENOENT) { Ok(()) } else { Err(error) };
    }
    let (error, flags) = match answer {
        Answer::Errno(errno) => (-errno, 0),
        Answer::Continue => (0, USER_NOTIF_FLAG_CONTINUE),
    };
    let mut response = Response { id: notification.id, value: 0, error, flags };
    // SAFETY: the kernel reads the 24 bytes that the request names.
    unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_SEND, &raw mut response) };
    Ok(())
}
