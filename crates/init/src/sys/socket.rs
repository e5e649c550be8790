//! Sockets: bytes and one file descriptor.
//!
//! Runs in: init.

use super::abi;
use super::{Errno, Fd, FdRef, Result, call};

/// `struct iovec`.
#[repr(C)]
struct IoVec {
    base: *mut u8,
    length: usize,
}

/// `struct msghdr`.
#[repr(C)]
struct Message {
    name: *mut u8,
    name_length: u32,
    parts: *mut IoVec,
    part_count: usize,
    control: *mut Control,
    control_length: usize,
    flags: u32,
}

/// A `struct cmsghdr` with one file descriptor behind it, padded as `CMSG_SPACE` does.
#[repr(C)]
struct Control {
    length: usize,
    level: i32,
    kind: i32,
    fd: i32,
    padding: i32,
}

impl Control {
    /// `CMSG_LEN(sizeof(int))`.
    const LENGTH: usize = 20;
}

/// `socket` that is good for ioctls on network devices.
pub fn datagram_socket() -> Result<Fd> {
    let kind = abi::SOCK_DGRAM | abi::SOCK_CLOEXEC;
    // SAFETY: no pointers.
    unsafe { call!(SOCKET, abi::AF_UNIX, kind, 0u32) }.map(Fd::new)
}

/// `sendmsg` of bytes with one file descriptor, without SIGPIPE.
pub fn send_fd(socket: FdRef<'_>, bytes: &[u8], fd: FdRef<'_>) -> Result<usize> {
    let mut part = IoVec { base: bytes.as_ptr().cast_mut(), length: bytes.len() };
    let mut control = Control {
        length: Control::LENGTH,
        level: abi::SOL_SOCKET,
        kind: abi::SCM_RIGHTS,
        fd: fd.number(),
        padding: 0,
    };
    let message = message(&mut part, &mut control);
    // SAFETY: the message points to one part, whose bytes sendmsg only reads, and to one control message of its length; all
    // outlive the call.
    unsafe { call!(SENDMSG, socket, &raw const message, abi::MSG_NOSIGNAL) }
}

/// `recvmsg`: how many bytes came, 0 at the end of the stream, and the file descriptor if one came, close-on-exec.
pub fn receive(socket: FdRef<'_>, bytes: &mut [u8]) -> Result<(usize, Option<Fd>)> {
    let mut part = IoVec { base: bytes.as_mut_ptr(), length: bytes.len() };
    let mut control = Control { length: 0, level: 0, kind: 0, fd: -1, padding: 0 };
    let mut message = message(&mut part, &mut control);
    // SAFETY: the message points to one part, to which the kernel writes at most its length, and to room for one control
    // message with one descriptor; all outlive the call.
    let count = unsafe { call!(RECVMSG, socket, &raw mut message, abi::MSG_CMSG_CLOEXEC) }?;
    if message.control_length == 0 {
        return Ok((count, None));
    }
    if (control.length, control.level, control.kind)
        != (Control::LENGTH, abi::SOL_SOCKET, abi::SCM_RIGHTS)
    {
        return Err(Errno::EPROTO);
    }
    Ok((count, Some(Fd { number: control.fd })))
}

fn message(part: &mut IoVec, control: &mut Control) -> Message {
    Message {
        name: core::ptr::null_mut(),
        name_length: 0,
        parts: part,
        part_count: 1,
        control,
        control_length: size_of::<Control>(),
        flags: 0,
    }
}
