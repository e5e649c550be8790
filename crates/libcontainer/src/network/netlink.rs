//! NETLINK_ROUTE: requests, and what the kernel answers (netlink(7), rtnetlink(7)).
//!
//! Runs in: runtime.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::sys;

/// `struct nlmsghdr`, and of every attribute `struct rtattr`.
const HEADER: usize = 16;
const ATTRIBUTE: usize = 4;
/// What a message of the kernel's has at most: a part of a dump (`netlink_dump`).
const LARGEST: usize = 32 << 10;

/// How often a list is asked for that changes while it is told.
const DUMPS: u32 = 100;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// A request without its acknowledgement.
pub(super) struct Request(Vec<u8>);

impl Request {
    /// Of one of `RTM_*`, with what that has at its beginning.
    pub fn new(kind: u16, flags: u16, head: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        put(&mut bytes, 4, &kind.to_ne_bytes());
        put(&mut bytes, 6, &(flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        bytes.extend_from_slice(head);
        Self(bytes)
    }

    /// For all objects of a kind.
    pub fn of_all(kind: u16, head: &[u8]) -> Self {
        Self::new(kind, NLM_F_DUMP, head)
    }

    pub fn with(mut self, attribute: u16, value: &[u8]) -> Self {
        let length = u16::try_from(ATTRIBUTE + value.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&attribute.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn finish(&mut self, number: u32) -> &[u8] {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        put(&mut self.0, 0, &length.to_ne_bytes());
        put(&mut self.0, 8, &number.to_ne_bytes());
        &self.0
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// An object that the kernel told of.
#[derive(Debug, Clone)]
pub(super) struct Object {
    bytes: Vec<u8>,
    head: usize,
}

impl Object {
    /// `head`: bytes before the attributes.
    fn new(bytes: &[u8], head: usize) -> Self {
        Self { bytes: bytes.to_vec(), head }
    }

    pub fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    pub fn number(&self, at: usize) -> u32 {
        number32(&self.bytes, at)
    }

    /// Each attribute and its value.
    pub fn attributes(&self) -> impl Iterator<Item = (u16, &[u8])> {
        attributes(self.bytes.get(self.head..).unwrap_or_default())
    }

    pub fn attribute(&self, wanted: u16) -> Option<&[u8]> {
        self.attributes().find_map(|(kind, value)| (kind == wanted).then_some(value))
    }
}

fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(number16(rest, 0)?);
        let (kind, value) = (number16(rest, 2)?, rest.get(ATTRIBUTE..length)?);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        // The two uppermost bits say how the value is made.
        Some((kind & 0x3fff, value))
    })
}

fn number16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn number32(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map_or(0, u32::from_ne_bytes)
}

/// A socket in the network namespace of whoever opened it.
#[derive(Debug)]
pub(super) struct Socket {
    socket: OwnedFd,
    sent: Cell<u32>,
}

impl Socket {
    /// One of our own namespace.
    pub fn open() -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            // NETLINK_ROUTE: 0.
            None,
        )?;
        Self::of(socket)
    }

    /// One that another process has opened.
    pub fn of(socket: OwnedFd) -> io::Result<Self> {
        sys::netlink::explain_errors(socket.as_fd())?;
        Ok(Self { socket, sent: Cell::new(0) })
    }

    /// Its network namespace.
    pub fn namespace(&self) -> io::Result<OwnedFd> {
        sys::namespace::of_socket(self.socket.as_fd())
    }

    /// What the kernel tells, of which each has `head` bytes before its attributes.
    ///
    /// # Errors
    /// What it refuses, with its words where it has any.
    pub fn ask(&self, mut request: Request, head: usize) -> io::Result<Vec<Object>> {
        for _ in 0..DUMPS {
            let number = self.sent.get().wrapping_add(1);
            self.sent.set(number);
            rustix::net::send(&self.socket, request.finish(number), SendFlags::empty())?;
            // What has changed meanwhile may be in it twice, or not at all.
            match self.answer(number, head)? {
                Answer::Whole(objects) => return Ok(objects),
                Answer::Interrupted => {}
            }
        }
        Err(Errno::INTR.into())
    }

    fn answer(&self, number: u32, head: usize) -> io::Result<Answer> {
        let (mut objects, mut was_interrupted) = (Vec::new(), false);
        let mut buffer = vec![0; LARGEST];
        loop {
            let datagram = self.receive(&mut buffer)?;
            for message in messages(datagram) {
                if number32(message, 8) != number {
                    continue;
                }
                let (kind, flags) = (number16(message, 4), number16(message, 6).unwrap_or(0));
                was_interrupted |= flags & NLM_F_DUMP_INTR != 0;
                let body = message.get(HEADER..).unwrap_or_default();
                match kind {
                    Some(NLMSG_ERROR | NLMSG_DONE) => {
                        outcome(body, flags)?;
                        let whole = if was_interrupted {
                            Answer::Interrupted
                        } else {
                            Answer::Whole(objects)
                        };
                        return Ok(whole);
                    }
                    _ => objects.push(Object::new(body, head)),
                }
            }
        }
    }

    /// The next datagram of the kernel's. Others of the namespace may send too.
    fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let length = loop {
            let received = rustix::net::recvfrom(&self.socket, &mut *buffer, RecvFlags::TRUNC);
            let (_, length, from) = match received {
                Err(Errno::INTR) => continue,
                received => received?,
            };
            let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
            if from.is_some_and(|from| from.pid() == 0) {
                break length;
            }
        };
        buffer.get(..length).ok_or_else(|| Errno::MSGSIZE.into())
    }
}

enum Answer {
    Whole(Vec<Object>),
    Interrupted,
}

fn messages(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = usize::try_from(number32(rest, 0)).ok()?;
        let message = rest.get(..length).filter(|message| message.len() >= HEADER)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The error number (0: none) at the beginning of an acknowledgement, and the kernel's words behind it.
fn outcome(body: &[u8], flags: u16) -> io::Result<()> {
    let errno = number32(body, 0).cast_signed().wrapping_neg();
    if errno == 0 {
        return Ok(());
    }
    let error = io::Error::from_raw_os_error(errno);
    // The header of the request is between them.
    let words = body.get(4 + HEADER..).filter(|_| flags & NLM_F_ACK_TLVS != 0).unwrap_or_default();
    let words = attributes(words).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG);
    match words.and_then(|(_, words)| std::str::from_utf8(words).ok()) {
        Some(words) => {
            Err(io::Error::new(error.kind(), format!("{error}: {}", words.trim_end_matches('\0'))))
        }
        None => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_has_its_length_and_padded_attributes() {
        let mut request = Request::new(18, 0, &[1, 2, 3, 4]).with(3, b"ab\0").with(28, &[5]);
        let bytes = request.finish(7);
        assert_eq!(bytes.len(), 36);
        assert_eq!(number32(bytes, 0), 36);
        assert_eq!(number32(bytes, 8), 7);
        let object = Object::new(&bytes[16..], 4);
        let found: Vec<_> = object.attributes().collect();
        assert_eq!(found, [(3, &b"ab\0"[..]), (28, &[5])]);
    }

    #[test]
    fn attributes_that_are_cut_or_have_no_length_end_the_list() {
        for bytes in [&[0u8; 0][..], &[0; 4], &[3, 0, 1, 0], &[9, 0, 1, 0, 1], &[255; 7]] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
    }

    #[test]
    fn outcome_has_the_words_of_the_kernel() {
        let mut body = (-libc::EINVAL).to_ne_bytes().to_vec();
        assert_eq!(outcome(&body, 0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        body.extend_from_slice(&[0; HEADER]);
        body.extend_from_slice(&Request(Vec::new()).with(1, b"no good\0").0);
        let error = outcome(&body, NLM_F_ACK_TLVS).unwrap_err().to_string();
        assert_eq!(error, "Invalid argument (os error 22): no good");
        assert!(outcome(&[0; 4], 0).is_ok());
    }

    #[test]
    fn loopback_is_found_and_what_is_not_there_is_an_error() {
        let socket = Socket::open().unwrap();
        let ask = |name: &[u8]| socket.ask(Request::new(18, 0, &[0; 16]).with(3, name), 16);
        let found = ask(b"lo\0").unwrap();
        assert_eq!((found.len(), found[0].attribute(3)), (1, Some(&b"lo\0"[..])));
        assert_eq!(found[0].number(4), 1, "its index");
        let refused = ask(b"corten-no-such\0").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ENODEV), "{refused}");
        let all = socket.ask(Request::of_all(18, &[0; 16]), 16).unwrap();
        assert!(all.iter().any(|link| link.attribute(3) == Some(b"lo\0")));
    }
}
