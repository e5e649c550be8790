//! The runtime's end of the socket to init.
//!
//! Runs in: runtime.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use corten_plan::frame::FRAME_LENGTH;
use corten_plan::{Frame, Point};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::error::Error;

/// What init has said.
#[derive(Debug)]
pub(crate) enum Message {
    /// It waits at this point.
    Reached(Point),
    /// The first stage has made the container's init; this refers to it.
    Forked(OwnedFd),
    /// An op failed: a [`Frame::Failed`].
    Failed(Box<[u8; FRAME_LENGTH]>),
    /// Something of less weight failed: a [`Frame::Warned`].
    Warned(Box<[u8; FRAME_LENGTH]>),
    /// It needs something of us.
    Asked(Asked),
    /// The end: it has executed the user's program, or has died.
    Closed,
}

/// What init needs of the runtime.
#[derive(Debug)]
pub(crate) enum Asked {
    /// It is about to load a filter whose listener will have this number among its descriptors, and is to be taken.
    Listener(i32),
    /// It waits until this mount, which is attached nowhere, has the id mapping that the op of this index wants.
    IdMap(u16, OwnedFd),
    /// It waits for what the op of this index has on the host, which it may not reach itself.
    Source(u16),
    /// It goes on: network devices, into the namespace of this socket.
    Network(OwnedFd),
}

/// The socket.
#[derive(Debug)]
pub(crate) struct Link {
    socket: OwnedFd,
    deadline: Option<Duration>,
    /// What was received before its turn.
    early: RefCell<VecDeque<Message>>,
}

impl Link {
    /// The two ends: ours, and init's. No message is waited for longer than `deadline` (`None`: for ever).
    pub fn pair(deadline: Option<Duration>) -> Result<(Self, OwnedFd), Error> {
        let (ours, inits) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|errno| Error::os("socketpair", errno))?;
        if deadline.is_some() {
            set_socket_timeout(&ours, Timeout::Recv, deadline)
                .map_err(|errno| Error::os("setsockopt(SO_RCVTIMEO)", errno))?;
        }
        Ok((Self { socket: ours, deadline, early: RefCell::default() }, inits))
    }

    /// Lets init go on; `state` is what its hooks read on stdin.
    pub fn go(&self, ignored_signals: u64, state: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        let frame = Frame::Go { ignored: ignored_signals }.encode();
        let fds: Vec<BorrowedFd<'_>> = state.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        }
        let sent = rustix::net::sendmsg(
            &self.socket,
            &[IoSlice::new(&frame)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        );
        match sent {
            // It has died: what it had to say is still to be received.
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(Error::os("send to init", errno)),
        }
    }

    /// Keeps a message for later: of the first stage and the init that it has made each has the other end of this socket, and
    /// init may be heard first.
    pub fn keep(&self, message: Message) {
        self.early.borrow_mut().push_back(message);
    }

    /// The next message; `what` says what is waited for, should the deadline pass.
    pub fn receive(&self, what: &str) -> Result<Message, Error> {
        let early = self.early.borrow_mut().pop_front();
        early.map_or_else(|| self.receive_new(what), Ok)
    }

    /// As [`Self::receive`], but not of what was kept.
    pub fn receive_new(&self, what: &str) -> Result<Message, Error> {
        let mut bytes = Box::new([0; FRAME_LENGTH]);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let begin = Instant::now();
        let is_late = || self.deadline.is_some_and(|deadline| begin.elapsed() >= deadline);
        let received = loop {
            let mut buffers = [IoSliceMut::new(&mut *bytes)];
            match rustix::net::recvmsg(
                &self.socket,
                &mut buffers,
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                // The socket's own timeout begins anew, after each signal that the host program handles.
                Err(Errno::INTR) if !is_late() => {}
                Err(Errno::INTR | Errno::AGAIN) => return Err(self.timeout(what)),
                // The other end was closed with a Go of ours unread. It is said once, and before what init has said last.
                Err(Errno::CONNRESET) => {}
                received => {
                    break received.map_err(|errno| Error::os("receive from init", errno))?;
                }
            }
        };
        if received.bytes == 0 {
            return Ok(Message::Closed);
        }
        let fd = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let garbled = || Error::os("receive from init", Errno::PROTO);
        match (Frame::decode(&*bytes).map_err(|_| garbled())?, fd) {
            (Frame::Reached(point), _) => Ok(Message::Reached(point)),
            (Frame::Forked, Some(pidfd)) => Ok(Message::Forked(pidfd)),
            (Frame::Failed(_), _) => Ok(Message::Failed(bytes)),
            (Frame::Warned(_), _) => Ok(Message::Warned(bytes)),
            (Frame::Listener { number }, _) => Ok(Message::Asked(Asked::Listener(number))),
            (Frame::IdMap { op }, Some(mount)) => Ok(Message::Asked(Asked::IdMap(op, mount))),
            (Frame::Source { op }, _) => Ok(Message::Asked(Asked::Source(op))),
            (Frame::Network, Some(socket)) => Ok(Message::Asked(Asked::Network(socket))),
            (Frame::Forked | Frame::IdMap { .. } | Frame::Network | Frame::Go { .. }, _) => {
                Err(garbled())
            }
        }
    }

    /// Whether a message, or the end, is there to be received, or comes within `patience`.
    pub fn has_message(&self, patience: Duration) -> bool {
        let timeout = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
        let mut files = [PollFd::new(&self.socket, PollFlags::IN)];
        // Interrupted: the caller asks again.
        poll(&mut files, Some(&timeout)).is_ok_and(|ready| ready > 0)
    }

    fn timeout(&self, what: &str) -> Error {
        Error::Timeout { what: what.into(), seconds: self.deadline.unwrap_or_default().as_secs() }
    }
}
