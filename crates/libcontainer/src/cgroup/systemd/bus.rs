//! A synchronous connection to a bus, or to systemd itself.
//!
//! Everything waits for one moment, [`Bus::until`]: a bus that does not answer costs a deadline, not a hang.
//!
//! Runs in: runtime.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{RecvFlags, SendFlags, SocketAddrUnix, recv, send};

use super::message::{Body, Call, Kind, Message, Taken};
use crate::plan::Manager;
use crate::socket;

const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
/// systemd's own socket, for root and where there is no bus (yet): no broker between, and every signal is sent there.
const PRIVATE: &str = "/run/systemd/private";

/// Why a conversation has failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// Nobody could be asked.
    #[error("{address}")]
    Connect {
        /// Where.
        address: String,
        /// The cause.
        source: io::Error,
    },
    /// There is no bus that this process could ask.
    #[error("{0}")]
    NoAddress(&'static str),
    /// A call on the socket.
    #[error("{call} {address}")]
    Socket {
        /// `send to`, `receive from`.
        call: &'static str,
        /// The other end.
        address: String,
        /// The cause.
        source: io::Error,
    },
    /// The other end has closed the connection.
    #[error("{address} has closed the connection")]
    Closed {
        /// The other end.
        address: String,
    },
    /// What came is no D-Bus, or not what the call gives.
    #[error("{address} does not speak D-Bus as it should: {what}")]
    Protocol {
        /// The other end.
        address: String,
        /// What came.
        what: String,
    },
    /// The deadline has passed.
    #[error("no answer from {address}")]
    Timeout {
        /// The other end.
        address: String,
    },
    /// The call was answered by an error.
    #[error("{message} ({name})")]
    Refused {
        /// `org.freedesktop.systemd1.UnitExists` …
        name: String,
        /// For people.
        message: String,
    },
    /// systemd has not done what it was asked for.
    #[error("its job has ended with result {0:?}; `journalctl` may say more")]
    Job(String),
}

/// A connection.
#[derive(Debug)]
pub struct Bus {
    socket: OwnedFd,
    address: String,
    /// Calls go to names, which a broker knows.
    has_broker: bool,
    /// To be sent with the next call.
    queued: Vec<u8>,
    received: Vec<u8>,
    serial: u32,
    until: Instant,
}

type Result<T> = std::result::Result<T, BusError>;

impl Bus {
    /// Connects to the bus of the manager, and shows who we are.
    pub fn open(manager: Manager, deadline: Duration) -> Result<Self> {
        let until = Instant::now() + deadline;
        match manager {
            Manager::User => Self::open_first(&user_addresses()?, until),
            Manager::System => match std::env::var("DBUS_SYSTEM_BUS_ADDRESS") {
                Ok(addresses) => Self::open_first(&addresses, until),
                Err(_) => Self::open_system(until),
            },
        }
    }

    fn open_system(until: Instant) -> Result<Self> {
        let bus = Self::connect(&SocketAddress::Path(SYSTEM_BUS.into()), true, until);
        match bus {
            Err(BusError::Connect { .. }) if Path::new(PRIVATE).exists() => {
                Self::connect(&SocketAddress::Path(PRIVATE.into()), false, until)
            }
            bus => bus,
        }
    }

    /// The first of several addresses that answers.
    pub(super) fn open_first(addresses: &str, until: Instant) -> Result<Self> {
        let unusable = BusError::NoAddress("the bus's address has no unix:path= or unix:abstract=");
        let mut last = Err(unusable);
        for address in addresses.split(';').filter_map(SocketAddress::parse) {
            last = Self::connect(&address, true, until);
            if last.is_ok() {
                break;
            }
        }
        last
    }

    fn connect(address: &SocketAddress, has_broker: bool, until: Instant) -> Result<Self> {
        let name = address.to_string();
        let opened = open_socket(address, until);
        let socket = opened.map_err(|errno| match errno {
            Errno::TIMEDOUT => BusError::Timeout { address: name.clone() },
            errno => BusError::Connect { address: name.clone(), source: errno.into() },
        })?;
        let (queued, received) = (Vec::new(), Vec::new());
        let mut bus =
            Self { socket, address: name, has_broker, queued, received, serial: 0, until };
        bus.authenticate()?;
        if has_broker {
            bus.queue("org.freedesktop.DBus", "/org/freedesktop/DBus", "Hello", Body::default());
        }
        Ok(bus)
    }

    /// The kernel tells the other end who we are (`EXTERNAL`); with an empty identity there is no uid to be right about, which in a user
    /// namespace we do not know.
    fn authenticate(&mut self) -> Result<()> {
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        loop {
            while let Some(end) = self.received.windows(2).position(|two| two == b"\r\n") {
                let rest = self.received.split_off(end + 2);
                let line = std::mem::replace(&mut self.received, rest);
                if line.starts_with(b"OK ") {
                    return Ok(());
                }
                if !line.starts_with(b"DATA") {
                    return Err(self.garbled(String::from_utf8_lossy(&line).trim_end()));
                }
            }
            if self.received.len() > 4096 {
                return Err(self.garbled("a line without an end"));
            }
            self.receive()?;
        }
    }

    /// Begins a conversation that may last this long.
    pub fn begin(&mut self, deadline: Duration) {
        self.until = Instant::now() + deadline;
    }

    /// Has the broker pass on the signals that match the rule; systemd itself sends us all of its signals.
    pub fn add_match(&mut self, rule: &str) {
        if self.has_broker {
            let body = Body::default().with_string(rule);
            self.queue("org.freedesktop.DBus", "/org/freedesktop/DBus", "AddMatch", body);
        }
    }

    /// A call to the broker, whose answer nobody waits for: what it refuses shows in what follows.
    fn queue(&mut self, name: &str, path: &str, member: &str, body: Body) {
        self.serial += 1;
        let call = Call { destination: Some(name), path, interface: name, member, body };
        self.queued.extend(call.encode(self.serial));
    }

    /// Calls a method of systemd's and waits for the answer. Signals that come before it go to `signal`.
    pub fn call(
        &mut self,
        interface: &str,
        member: &str,
        body: Body,
        signal: &mut dyn FnMut(&Message),
    ) -> Result<Message> {
        self.serial += 1;
        let serial = self.serial;
        let path = "/org/freedesktop/systemd1";
        let destination = self.has_broker.then_some("org.freedesktop.systemd1");
        let mut bytes = std::mem::take(&mut self.queued);
        bytes.extend(Call { destination, path, interface, member, body }.encode(serial));
        self.send(&bytes)?;
        loop {
            let message = self.next()?;
            match message.kind {
                Kind::Signal => signal(&message),
                // Of the broker's calls, too: after one that has failed nothing else comes.
                Kind::Error => return Err(self.refusal(&message)),
                Kind::Reply if message.reply_to == serial => return Ok(message),
                Kind::Reply | Kind::Other => {}
            }
        }
    }

    /// The next signal.
    pub fn signal(&mut self) -> Result<Message> {
        loop {
            let message = self.next()?;
            if message.kind == Kind::Signal {
                return Ok(message);
            }
        }
    }

    /// For an answer without what it should have.
    pub fn garbled(&self, what: &str) -> BusError {
        BusError::Protocol { address: self.address.clone(), what: format!("{what:?}") }
    }

    fn refusal(&self, message: &Message) -> BusError {
        let text = if message.signature.starts_with('s') {
            message.arguments().string().unwrap_or_default()
        } else {
            "no reason given"
        };
        BusError::Refused { name: message.error.clone(), message: text.to_owned() }
    }

    fn next(&mut self) -> Result<Message> {
        loop {
            match Message::take(&mut self.received) {
                Taken::Message(message) => return Ok(message),
                Taken::Malformed => return Err(self.garbled("no message of D-Bus")),
                Taken::Partial => self.receive()?,
            }
        }
    }

    fn receive(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        let count = loop {
            let left = self.left()?;
            set_socket_timeout(&self.socket, Timeout::Recv, Some(left))
                .map_err(|errno| self.failed("receive from", errno))?;
            match recv(&self.socket, &mut buffer, RecvFlags::empty()) {
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(Errno::CONNRESET) => break 0,
                result => break result.map_err(|errno| self.failed("receive from", errno))?.0,
            }
        };
        if count == 0 {
            return Err(BusError::Closed { address: self.address.clone() });
        }
        self.received.extend_from_slice(buffer.get(..count).unwrap_or_default());
        Ok(())
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let left = self.left()?;
            set_socket_timeout(&self.socket, Timeout::Send, Some(left))
                .map_err(|errno| self.failed("send to", errno))?;
            match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => {
                    return Err(BusError::Closed { address: self.address.clone() });
                }
                Err(errno) => return Err(self.failed("send to", errno)),
            }
        }
        Ok(())
    }

    fn left(&self) -> Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(BusError::Timeout { address: self.address.clone() });
        }
        Ok(left)
    }

    fn failed(&self, call: &'static str, errno: Errno) -> BusError {
        BusError::Socket { call, address: self.address.clone(), source: errno.into() }
    }
}

fn open_socket(address: &SocketAddress, until: Instant) -> rustix::io::Result<OwnedFd> {
    let address = match address {
        SocketAddress::Path(path) => SocketAddrUnix::new(path)?,
        SocketAddress::Abstract(name) => SocketAddrUnix::new_abstract_name(name)?,
    };
    socket::connect(&address, until)
}

/// Where the user's bus is, as sd-bus and runc look for it.
fn user_addresses() -> Result<String> {
    if let Ok(addresses) = std::env::var("DBUS_SESSION_BUS_ADDRESS")
        && !addresses.is_empty()
    {
        return Ok(addresses);
    }
    let directory = match std::env::var("XDG_RUNTIME_DIR") {
        Ok(directory) if !directory.is_empty() => directory,
        _ => format!("/run/user/{}", rustix::process::geteuid().as_raw()),
    };
    let path = format!("{directory}/bus");
    if !Path::new(&path).exists() {
        return Err(BusError::NoAddress(
            "no bus of the user: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR leads to one (is \
             dbus-user-session installed, and has the user logged in?)",
        ));
    }
    Ok(format!("unix:path={path}"))
}

/// An address of a unix socket.
#[derive(Debug, PartialEq, Eq)]
enum SocketAddress {
    Path(PathBuf),
    Abstract(Vec<u8>),
}

impl SocketAddress {
    /// `unix:path=…` or `unix:abstract=…`, with other keys and `%XX` (D-Bus specification, "Server Addresses").
    fn parse(address: &str) -> Option<Self> {
        let keys = address.strip_prefix("unix:")?;
        keys.split(',').find_map(|key| match key.split_once('=')? {
            ("path", path) => Some(Self::Path(OsString::from_vec(unescaped(path)?).into())),
            ("abstract", name) => unescaped(name).map(Self::Abstract),
            _ => None,
        })
    }
}

impl std::fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
        }
    }
}

fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(part.get(2..)?.as_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_of_a_unix_socket_is_read_with_escapes_and_other_keys() {
        let path = |path: &str| Some(SocketAddress::Path(path.into()));
        let table = [
            ("unix:path=/run/bus", path("/run/bus")),
            ("unix:guid=0a,path=/a%20b", path("/a b")),
            ("unix:abstract=/tmp/x,guid=1", Some(SocketAddress::Abstract(b"/tmp/x".into()))),
            ("unix:runtime=yes", None),
            ("unix:path", None),
            ("unix:path=/a%2", None),
            ("unix:path=/a%zz", None),
            ("tcp:host=localhost", None),
            ("", None),
        ];
        for (address, expected) in table {
            assert_eq!(SocketAddress::parse(address), expected, "{address}");
        }
    }
}
