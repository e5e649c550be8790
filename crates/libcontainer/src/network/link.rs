//! Network devices and their addresses, as rtnetlink(7) has them.
//!
//! Runs in: runtime.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::netlink::{Object, Request, Socket};

/// Bytes of `struct ifinfomsg` and of `struct ifaddrmsg`.
const LINK_HEAD: usize = 16;
const ADDRESS_HEAD: usize = 8;

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const NLM_F_CREATE_EXCL: u16 = 0x600;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_PERM_ADDRESS: u16 = 54;
const IFF_UP: u32 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
const IFA_PROTO: u16 = 11;
const IFA_F_PERMANENT: u32 = 0x80;
const RT_SCOPE_UNIVERSE: u8 = 0;
/// Flags that are asked for and not the kernel's to tell: NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN.
const IFA_F_ASKED: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;

/// A network device.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub index: u32,
    pub is_up: bool,
    pub name: String,
    /// Hardware addresses, the one in use and the one it was made with.
    hardware: [Option<Vec<u8>>; 2],
}

impl Link {
    fn of(object: &Object) -> Self {
        let hardware = |attribute| object.attribute(attribute).map(<[u8]>::to_vec);
        Self {
            index: object.number(4),
            is_up: object.number(8) & IFF_UP != 0,
            name: object.attribute(IFLA_IFNAME).map(text).unwrap_or_default(),
            hardware: [hardware(IFLA_ADDRESS), hardware(IFLA_PERM_ADDRESS)],
        }
    }

    /// The one with this name.
    pub fn find(socket: &Socket, name: &str) -> io::Result<Self> {
        let request = Request::new(RTM_GETLINK, 0, &[0; LINK_HEAD]);
        let found = socket.ask(request.with(IFLA_IFNAME, &with_nul(name)), LINK_HEAD)?;
        let link = found.first().map(Self::of).filter(|link| link.name == name);
        link.ok_or_else(|| rustix::io::Errno::NODEV.into())
    }

    /// All of them.
    pub fn all(socket: &Socket) -> io::Result<Vec<Self>> {
        let request = Request::of_all(RTM_GETLINK, &[0; LINK_HEAD]);
        Ok(socket.ask(request, LINK_HEAD)?.iter().map(Self::of).collect())
    }

    /// Whether both are one device, in whatever namespace: it keeps its hardware addresses. One without any (tun) is
    /// known by its index, which the kernel keeps where it can.
    pub fn is_same_device(&self, other: &Self) -> bool {
        self.hardware == other.hardware
            && (self.hardware.iter().any(Option::is_some) || self.index == other.index)
    }

    /// Moves it from the socket's namespace and renames it, in one request: so the name cannot be in the way of another
    /// device, in neither namespace.
    pub fn move_to(
        &self,
        socket: &Socket,
        namespace: BorrowedFd<'_>,
        name: &str,
    ) -> io::Result<()> {
        let request = Request::new(RTM_NEWLINK, 0, &self.head(0))
            .with(IFLA_IFNAME, &with_nul(name))
            .with(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
        socket.ask(request, LINK_HEAD).map(drop)
    }

    pub fn set_up(&self, socket: &Socket) -> io::Result<()> {
        let request = Request::new(RTM_NEWLINK, 0, &self.head(IFF_UP));
        socket.ask(request, LINK_HEAD).map(drop)
    }

    /// `struct ifinfomsg`: these flags are set, the others stay.
    fn head(&self, flags: u32) -> [u8; LINK_HEAD] {
        let mut head = [0; LINK_HEAD];
        let (_, fields) = head.split_at_mut(4);
        let values = [self.index, flags, flags].into_iter().flat_map(u32::to_ne_bytes);
        fields.iter_mut().zip(values).for_each(|(to, from)| *to = from);
        head
    }

    /// Its addresses, in the order in which they were added.
    pub fn addresses(&self, socket: &Socket) -> io::Result<Vec<Address>> {
        let all = socket.ask(Request::of_all(RTM_GETADDR, &[0; ADDRESS_HEAD]), ADDRESS_HEAD)?;
        let own = all.into_iter().filter(|object| object.number(4) == self.index);
        Ok(own.map(Address).collect())
    }
}

/// An address of a device, as the kernel told it.
#[derive(Debug, Clone)]
pub(super) struct Address(Object);

impl Address {
    /// What config-linux.md wants to be kept: IFA_F_PERMANENT and RT_SCOPE_UNIVERSE. Others belong to the network that the
    /// device was in.
    pub fn is_permanent_and_global(&self) -> bool {
        self.flags() & IFA_F_PERMANENT != 0 && self.0.byte(3) == RT_SCOPE_UNIVERSE
    }

    fn flags(&self) -> u32 {
        let all = self.0.attribute(IFA_FLAGS).and_then(|value| value.try_into().ok());
        all.map_or(self.0.byte(2).into(), u32::from_ne_bytes)
    }

    /// Adds it to the device of this index, without its label, which begins with a name that may have changed.
    pub fn add(&self, socket: &Socket, index: u32) -> io::Result<()> {
        self.send(
            socket,
            index,
            &[IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_RT_PRIORITY, IFA_PROTO],
        )
    }

    /// Adds it as it was.
    pub fn put_back(&self, socket: &Socket, index: u32) -> io::Result<()> {
        let kept = [
            IFA_ADDRESS,
            IFA_LOCAL,
            IFA_BROADCAST,
            IFA_RT_PRIORITY,
            IFA_PROTO,
            IFA_LABEL,
            IFA_CACHEINFO,
        ];
        self.send(socket, index, &kept)
    }

    fn send(&self, socket: &Socket, index: u32, kept: &[u16]) -> io::Result<()> {
        let (family, prefix, scope) = (self.0.byte(0), self.0.byte(1), self.0.byte(3));
        let mut head = vec![family, prefix, 0, scope];
        head.extend_from_slice(&index.to_ne_bytes());
        let flags = (self.flags() & IFA_F_ASKED).to_ne_bytes();
        let request = Request::new(RTM_NEWADDR, NLM_F_CREATE_EXCL, &head).with(IFA_FLAGS, &flags);
        let attributes = self.0.attributes().filter(|(kind, _)| kept.contains(kind));
        let request = attributes.fold(request, |request, (kind, value)| request.with(kind, value));
        socket.ask(request, ADDRESS_HEAD).map(drop)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self.0.attribute(IFA_LOCAL).or_else(|| self.0.attribute(IFA_ADDRESS));
        let own = own.unwrap_or_default();
        let prefix = self.0.byte(1);
        if let Ok(four) = <[u8; 4]>::try_from(own) {
            write!(to, "{}/{prefix}", Ipv4Addr::from(four))
        } else if let Ok(sixteen) = <[u8; 16]>::try_from(own) {
            write!(to, "{}/{prefix}", Ipv6Addr::from(sixteen))
        } else {
            write!(to, "{own:?}/{prefix}")
        }
    }
}

fn with_nul(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}
