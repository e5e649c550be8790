//! Namespaces: joined, made, and what belongs to a new one.
//!
//! Runs in: init.

use core::ffi::CStr;

use corten_plan::{Frame, Handle, Stage};

use crate::report::{At, Done, Failed};
use crate::run::{Init, check_pid};
use crate::sys::abi::{
    AF_NETLINK, AF_UNIX, CLONE_NEWTIME, CLONE_PARENT, CLONE_VM, IFF_UP, O_WRONLY, SIOCSIFFLAGS,
};
use crate::sys::process::Forked;
use crate::sys::{self, Errno, FdRef, fs, process, socket};

/// [`corten_plan::Op::Join`].
///
/// # Errors
/// Those of setns(2).
pub fn join(init: &mut Init, handle: Handle, kind: u32, may_wait: bool) -> Done {
    // There is none any more: it was joined the first time.
    let Some(namespace) = init.handles.find(handle) else { return Ok(()) };
    match process::setns(namespace, kind) {
        Err(Errno::EPERM) if may_wait => return Ok(()),
        done => done.at(Stage::Op)?,
    }
    init.handles.take(handle).map(drop)
}

/// [`corten_plan::Op::JoinProcess`].
///
/// # Errors
/// Those of setns(2).
pub fn join_process(init: &Init, handle: Handle, flags: u32) -> Done {
    process::setns(init.handles.get(handle)?, flags).at(Stage::Op)
}

/// [`corten_plan::Op::EnterSent`].
///
/// # Errors
/// [`Stage::Wait`]; those of setns(2).
pub fn enter_sent(init: &mut Init, kind: u32) -> Done {
    let namespace = crate::process::sent_file(init)?;
    process::setns(namespace.get(), kind).at(Stage::Op)
}

/// [`corten_plan::Op::EnterCgroup`].
///
/// # Errors
/// [`Stage::Write`]: those of `cgroups(7)`.
pub fn enter_cgroup(init: &Init, handle: Handle) -> Done {
    // 0: who writes.
    write_all(init.handles.get(handle)?, b"0")
}

/// [`corten_plan::Op::TimeOffsets`].
///
/// # Errors
/// [`Stage::Open`].
pub fn time_offsets(init: &mut Init) -> Done {
    let file = fs::openat(FdRef::CWD, c"/proc/self/timens_offsets", O_WRONLY, 0).at(Stage::Open)?;
    init.time_offsets = Some(file);
    Ok(())
}

/// [`corten_plan::Op::TimeNamespace`].
///
/// # Errors
/// See [`Stage`].
pub fn time(init: &mut Init, offsets: &CStr) -> Done {
    process::unshare(CLONE_NEWTIME).at(Stage::Op)?;
    if offsets.is_empty() {
        return Ok(());
    }
    // Before the first process is in the namespace, so before Fork.
    let file = init.time_offsets.take().ok_or(Errno::EBADF).at(Stage::Plan)?;
    write_all(file.get(), offsets.to_bytes())
}

/// Writes `bytes` to a file that is looked up as the runtime would: not in a mount namespace of somebody else.
///
/// # Errors
/// [`Stage::Open`], [`Stage::Write`].
pub fn write_file(path: &CStr, bytes: &[u8]) -> Done {
    let file = fs::openat(FdRef::CWD, path, O_WRONLY, 0).at(Stage::Open)?;
    write_all(file.get(), bytes)
}

/// Writes `bytes` with one write(2), which files of the kernel want.
///
/// # Errors
/// [`Stage::Write`].
pub fn write_all(file: FdRef<'_>, bytes: &[u8]) -> Done {
    match fs::write(file, bytes).at(Stage::Write)? {
        count if count == bytes.len() => Ok(()),
        _ => Err(Failed::new(Stage::Write, Errno::EIO)),
    }
}

/// [`corten_plan::Op::Fork`]: only the child comes back.
///
/// # Errors
/// [`Stage::Fork`].
pub fn fork(init: &Init, flags: u32) -> Done {
    // Both have what is open now; what is not needed, neither.
    sys::close_dropped();
    let socket = init.handles.get(Handle::SOCKET)?;
    let frame = Frame::Forked.encode();
    if flags & CLONE_VM != 0 {
        socket::fork_and_leave(flags, socket, &frame).at(Stage::Fork)?;
        return check_pid(init);
    }
    // CLONE_PARENT: the container's init is a child of the runtime's caller, as in the one-stage case; it goes with no exit
    // signal but the parent's own.
    match process::fork(u64::from(flags) | CLONE_PARENT, 0).at(Stage::Fork)? {
        Forked::Child => check_pid(init),
        Forked::Parent { pidfd, .. } => {
            let sent = socket::send_fd(socket, &frame, pidfd.get());
            // A runtime that is gone leaves an end of stream, at which the child exits.
            sys::exit(i32::from(sent.is_err()))
        }
    }
}

/// [`corten_plan::Op::Loopback`].
///
/// # Errors
/// Those of the ioctl.
pub fn loopback() -> Done {
    let socket = socket::datagram_socket(AF_UNIX).at(Stage::Op)?;
    // struct ifreq: 16 bytes of name, then here a short with the flags. The kernel keeps those that nobody may change.
    let mut request = [0u8; 40];
    let (name, flags) = request.split_at_mut(16);
    name.iter_mut().zip(b"lo").for_each(|(to, from)| *to = *from);
    flags.iter_mut().zip(IFF_UP.to_le_bytes()).for_each(|(to, from)| *to = from);
    fs::ioctl_with(socket.get(), SIOCSIFFLAGS, &mut request).at(Stage::Op)
}

/// [`corten_plan::Op::NetworkSocket`].
///
/// # Errors
/// [`Stage::Op`]: those of socket(2); [`Stage::Send`].
pub fn network_socket(init: &Init) -> Done {
    // Protocol 0 of this family is NETLINK_ROUTE.
    let socket = socket::datagram_socket(AF_NETLINK).at(Stage::Op)?;
    let channel = init.handles.get(Handle::SOCKET)?;
    socket::send_fd(channel, &Frame::Network.encode(), socket.get()).map(drop).at(Stage::Send)
}
