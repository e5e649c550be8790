//! Sockets: bytes and one file descriptor.
//!
//! Runs in: init.

use core::cell::UnsafeCell;

use corten_plan::frame::FRAME_LENGTH;

use super::abi::{self, CloneArgs};
use super::{Argument, Errno, Fd, FdRef, Result, arch, call, check};

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

/// `socket` of datagrams, of the protocol 0 of the family.
pub fn datagram_socket(family: u32) -> Result<Fd> {
    let kind = abi::SOCK_DGRAM | abi::SOCK_CLOEXEC;
    // SAFETY: no pointers.
    unsafe { call!(SOCKET, family, kind, 0u32) }.map(Fd::new)
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

/// What [`fork_and_leave`] sends: at a place that lasts, for the child goes on while its parent sends.
struct Farewell(UnsafeCell<(Frame, IoVec, Control, Message)>);

type Frame = [u8; FRAME_LENGTH];

// SAFETY: init has one thread, and of the two processes that share memory after the clone only the parent's kernel reads it.
unsafe impl Sync for Farewell {}

static FAREWELL: Farewell = Farewell(UnsafeCell::new((
    [0; FRAME_LENGTH],
    IoVec { base: core::ptr::null_mut(), length: 0 },
    Control { length: 0, level: 0, kind: 0, fd: -1, padding: 0 },
    Message {
        name: core::ptr::null_mut(),
        name_length: 0,
        parts: core::ptr::null_mut(),
        part_count: 0,
        control: core::ptr::null_mut(),
        control_length: 0,
        flags: 0,
    },
)));

/// `clone3` of a sibling that goes on in this memory, while this process sends `bytes` with the sibling's pidfd, and exits:
/// nothing is copied, and nothing that was touched faults again. Only the sibling comes back.
pub fn fork_and_leave(flags: u32, socket: FdRef<'_>, bytes: &Frame) -> Result<()> {
    // SAFETY: nobody else has a reference: this function has one caller, which comes here once in the life of a process.
    let (frame, part, control, farewell) = unsafe { &mut *FAREWELL.0.get() };
    *frame = *bytes;
    *part = IoVec { base: frame.as_mut_ptr(), length: FRAME_LENGTH };
    (control.length, control.level, control.kind) =
        (Control::LENGTH, abi::SOL_SOCKET, abi::SCM_RIGHTS);
    *farewell = message(part, control);
    let args = CloneArgs {
        flags: u64::from(flags) | abi::CLONE_PARENT | abi::CLONE_PIDFD,
        // The kernel writes it before the child runs, and to where sendmsg reads it.
        pidfd: u64::try_from((&raw mut control.fd).expose_provenance()).unwrap_or(0),
        ..CloneArgs::default()
    };
    let (args, size) = ((&raw const args).register(), size_of::<CloneArgs>());
    let farewell = (&raw const *farewell).register();
    // SAFETY: `args` is a `struct clone_args` of that size. Both processes have one stack, but the parent does not touch memory
    // after the clone: it makes two system calls from registers, of which the first reads what is static.
    check(unsafe { arch::clone_and_leave(args, size, socket.register(), farewell) }).map(drop)
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
