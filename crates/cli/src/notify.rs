//! NOTIFY_SOCKET: passes on to the host's service manager what the container's service says by sd_notify(3).
//!
//! The container gets a socket of its own, and not the host's: what it says is read here, and only words about its
//! service go further. MAINPID is ours to say, for pids of the container mean nothing outside; fds are dropped.
//!
//! Runs in: runtime.

use std::env;
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags};

const VARIABLE: &str = "NOTIFY_SOCKET";
const SOCKET: &str = "notify.sock";

/// What a service may say of itself. Not MAINPID, NOTIFYACCESS, FDSTORE…: those are about processes and fds of the host.
const PASSED_ON: [&[u8]; 8] = [
    b"READY",
    b"RELOADING",
    b"STOPPING",
    b"STATUS",
    b"ERRNO",
    b"WATCHDOG",
    b"EXTEND_TIMEOUT_USEC",
    b"MONOTONIC_USEC",
];

/// How long the service manager may take to read what was said; runc's time.
const BARRIER: Duration = Duration::from_secs(30);

/// Whether a service manager wants to hear.
pub fn is_asked() -> bool {
    address().is_some()
}

fn address() -> Option<OsString> {
    env::var_os(VARIABLE).filter(|socket| !socket.is_empty())
}

/// The container's socket, and a connection to the host's.
#[derive(Debug)]
pub struct Notify {
    container: OwnedFd,
    host: OwnedFd,
}

impl Notify {
    /// Binds the container's socket, before its program starts. `None`: nobody wants to hear, or the container was created
    /// without the socket. What is wrong is logged: the container runs without.
    pub fn listen(root: &Path, id: &str) -> Option<Self> {
        let address = address()?;
        match bind(&root.join(id).join("notify")) {
            Ok(container) => match connect(&address) {
                Ok(host) => Some(Self { container, host }),
                Err(errno) => {
                    log::warn!("connect to {VARIABLE} {}: {errno}", address.display());
                    None
                }
            },
            Err(Errno::NOENT) => None,
            Err(errno) => {
                log::warn!("bind the container's {SOCKET}: {errno}");
                None
            }
        }
    }

    /// Becomes readable when the service has said something.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.container.as_fd()
    }

    /// Passes on what was said; `main` is the process that the service manager is to watch. `true`: the service is ready.
    pub fn relay(&self, main: u32) -> bool {
        let mut is_ready = false;
        let mut buffer = [0; 8192];
        // Fds that came along are closed by the kernel, as there is no place for them: that is what BARRIER waits for.
        while let Ok((said, _)) =
            rustix::net::recv(&self.container, &mut buffer[..], RecvFlags::DONTWAIT)
        {
            let message = buffer.get(..said).map(|said| message(said, main)).unwrap_or_default();
            is_ready |= message.is_ready;
            if !message.text.is_empty()
                && let Err(errno) =
                    rustix::net::send(&self.host, &message.text, SendFlags::NOSIGNAL)
            {
                log::warn!("tell {VARIABLE}: {errno}");
            }
        }
        is_ready
    }

    /// Stays until the service is ready and the service manager knows it, or the process has ended.
    pub fn wait_for_ready(&self, pid: i32) -> io::Result<()> {
        let Some(pid) = Pid::from_raw(pid) else { return Ok(()) };
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(()),
            opened => opened?,
        };
        let main = pid.as_raw_nonzero().get().unsigned_abs();
        loop {
            let mut fds =
                [PollFd::new(&self.container, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let has_ended = fds.last().is_some_and(|fd| !fd.revents().is_empty());
            if self.relay(main) {
                return Ok(self.barrier()?);
            }
            if has_ended {
                return Ok(());
            }
        }
    }

    /// Waits until the service manager has read all (sd_notify_barrier(3)): who exits before is nobody it knows.
    fn barrier(&self) -> rustix::io::Result<()> {
        let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let rights = [theirs.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&rights));
        let text = [IoSlice::new(b"BARRIER=1")];
        rustix::net::sendmsg(&self.host, &text, &mut control, SendFlags::NOSIGNAL)?;
        drop(theirs);
        let timeout = Timespec::try_from(BARRIER).map_err(|_| Errno::INVAL)?;
        let mut fds = [PollFd::new(&ours, PollFlags::IN)];
        if poll(&mut fds, Some(&timeout))? == 0 {
            log::warn!("{VARIABLE}: no answer to BARRIER=1 within {} s", BARRIER.as_secs());
        }
        Ok(())
    }
}

/// By way of the directory's fd, for an address has at most 108 bytes.
fn bind(directory: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    match rustix::fs::unlinkat(&directory, SOCKET, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let socket = datagrams()?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    // The container's processes are whoever they are.
    rustix::fs::chmodat(&directory, SOCKET, Mode::from_raw_mode(0o777), AtFlags::empty())?;
    Ok(socket)
}

/// systemd's is a path, or a name that begins with `@`.
fn connect(address: &OsString) -> rustix::io::Result<OwnedFd> {
    let address = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddrUnix::new_abstract_name(name)?,
        None => SocketAddrUnix::new(Path::new(address))?,
    };
    let socket = datagrams()?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

fn datagrams() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
}

/// What becomes of a datagram.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    text: Vec<u8>,
    is_ready: bool,
}

/// READY may stand anywhere in the datagram; the process to watch is told in the same one, so that one never comes without
/// the other.
fn message(said: &[u8], main: u32) -> Message {
    let mut message = Message::default();
    for line in said.split(|byte| *byte == b'\n') {
        let Some(at) = line.iter().position(|byte| *byte == b'=') else { continue };
        let name = line.split_at(at).0;
        if !PASSED_ON.contains(&name) {
            continue;
        }
        message.is_ready |= line == b"READY=1";
        message.text.extend_from_slice(line);
        message.text.push(b'\n');
    }
    if message.is_ready {
        message.text.extend_from_slice(format!("MAINPID={main}\n").as_bytes());
    }
    message
}

#[cfg(test)]
mod tests {
    use super::message;

    fn passed_on(said: &str) -> (String, bool) {
        let message = message(said.as_bytes(), 42);
        (String::from_utf8(message.text).unwrap(), message.is_ready)
    }

    #[test]
    fn ready_is_found_anywhere_in_a_datagram() {
        let expected = ("STATUS=up\nREADY=1\nMAINPID=42\n".to_owned(), true);
        assert_eq!(passed_on("STATUS=up\nREADY=1\n"), expected);
        assert_eq!(passed_on("STATUS=up\nX=1\nREADY=1"), expected);
        assert_eq!(passed_on("READY=1"), ("READY=1\nMAINPID=42\n".to_owned(), true));
    }

    #[test]
    fn words_about_the_host_are_not_passed_on() {
        let said =
            "MAINPID=1\nFDSTORE=1\nNOTIFYACCESS=all\nBARRIER=1\nFDNAME=x\nSTATUS=a=b\nREADY\n=1";
        assert_eq!(passed_on(said), ("STATUS=a=b\n".to_owned(), false));
        assert_eq!(passed_on(""), (String::new(), false));
    }

    #[test]
    fn ready_with_another_value_is_not_ready() {
        assert!(!passed_on("READY=0").1);
        assert!(!passed_on("STATUS=READY=1").1);
    }
}
