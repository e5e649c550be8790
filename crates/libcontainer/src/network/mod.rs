//! `linux.netDevices`: devices of the host that are moved into the container's network namespace, with their addresses.
//!
//! The runtime does it, by two sockets: its own, and one that init has opened in the container's namespace and handed
//! over. So nothing of the runtime enters that namespace, and nothing of init knows of netlink. Until the container is
//! made, what was moved can be given back; after that the kernel has it: at the end of the namespace physical devices go
//! back to the first one, virtual ones end (network_namespaces(7)).
//!
//! Runs in: runtime.

mod link;
mod netlink;

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use self::link::{Address, Link};
use self::netlink::Socket;
use crate::error::Error;
use crate::plan::NetDevice;

/// The devices that config.json asks for.
#[derive(Debug, Default)]
pub(crate) struct Devices<'a> {
    host: Option<Host>,
    found: Vec<Found<'a>>,
    inside: RefCell<Option<Inside>>,
}

/// The runtime's side.
#[derive(Debug)]
struct Host {
    socket: Socket,
    /// Where devices come back to.
    namespace: OwnedFd,
}

/// One that is on the host.
#[derive(Debug)]
struct Found<'a> {
    wanted: &'a NetDevice,
    link: Link,
    addresses: Vec<Address>,
}

/// The container's side.
#[derive(Debug)]
struct Inside {
    socket: Socket,
    /// Places in [`Devices::found`] of those that have left the host, or were about to, and the name in the container.
    moved: Vec<(usize, String)>,
}

impl<'a> Devices<'a> {
    /// Looks at those that are asked for; nothing is changed.
    ///
    /// # Errors
    /// One is not there.
    pub fn find(wanted: &'a [NetDevice]) -> Result<Self, Error> {
        let Some(first) = wanted.first() else { return Ok(Self::default()) };
        let failed = |error| problem(first, &format!("look at the host's network: {error}"));
        let socket = Socket::open().map_err(failed)?;
        let found = wanted.iter().map(|wanted| Found::look(&socket, wanted));
        let found = found.collect::<Result<_, _>>()?;
        // It needs the right that moving them takes: so who has not got it hears it before anything is made.
        let namespace = socket.namespace().map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => {
                problem(first, "CAP_NET_ADMIN is needed where the network device is")
            }
            _ => failed(error),
        })?;
        Ok(Self { host: Some(Host { socket, namespace }), found, inside: RefCell::default() })
    }

    /// Moves all of them to the namespace of this socket, which init has opened.
    ///
    /// # Errors
    /// One cannot be moved; [`Self::give_back`] brings back those that were.
    pub fn move_to(&self, socket: OwnedFd) -> Result<(), Error> {
        let (Some(host), Some(first)) = (&self.host, self.found.first()) else { return Ok(()) };
        let failed = |error| first.failed("look at the container's network namespace", &error);
        let socket = Socket::of(socket).map_err(failed)?;
        let namespace = socket.namespace().map_err(failed)?;
        if is_same(&namespace, &host.namespace).map_err(failed)? {
            return Err(problem(first.wanted, "the network namespace is the runtime's own"));
        }
        for Found { wanted, .. } in self.found.iter().filter(|found| !found.wanted.is_template()) {
            if Link::find(&socket, &wanted.name).is_ok() {
                let text = format!("{:?} exists in the container's network namespace", wanted.name);
                return Err(problem(wanted, &text));
            }
        }
        let mut inside = self.inside.borrow_mut();
        let Inside { socket, moved } = inside.insert(Inside { socket, moved: Vec::new() });
        // What has a name of its own first: a number is chosen among what is left.
        for is_template in [false, true] {
            for (index, found) in self.found.iter().enumerate() {
                if found.wanted.is_template() == is_template {
                    let name = found.name_inside(socket)?;
                    moved.push((index, name.clone()));
                    found.move_in(&host.socket, socket, namespace.as_fd(), &name)?;
                }
            }
        }
        Ok(())
    }

    /// Whether all that is asked for was moved.
    pub fn are_moved(&self) -> bool {
        let moved = self.inside.borrow().as_ref().map_or(0, |inside| inside.moved.len());
        moved == self.found.len()
    }

    /// Brings back those that were moved, with name, addresses and state, as far as they can be.
    pub fn give_back(&self) {
        let inside = self.inside.borrow();
        let (Some(host), Some(inside)) = (&self.host, &*inside) else { return };
        for (index, name) in inside.moved.iter().rev() {
            let Some(found) = self.found.get(*index) else { continue };
            if let Err(error) = found.bring_back(host, &inside.socket, name) {
                log::warn!("bring the network device {} back: {error}", found.wanted.host_name);
            }
        }
    }
}

impl<'a> Found<'a> {
    fn look(host: &Socket, wanted: &'a NetDevice) -> Result<Self, Error> {
        let link = Link::find(host, &wanted.host_name).map_err(|error| {
            let what = format!("find the network device {:?} on the host", wanted.host_name);
            problem(wanted, &format!("{what}: {error}"))
        })?;
        let mut found = Self { wanted, link, addresses: Vec::new() };
        let addresses = found.link.addresses(host);
        found.addresses = addresses.map_err(|error| found.failed("read its addresses", &error))?;
        Ok(found)
    }

    /// As runc: the name changes with the move, addresses that are permanent and global come along, and it is up.
    fn move_in(
        &self,
        host: &Socket,
        inside: &Socket,
        namespace: BorrowedFd<'_>,
        name: &str,
    ) -> Result<(), Error> {
        log::debug!("moving network device {} into the container as {name}", self.wanted.host_name);
        self.link.move_to(host, namespace, name).map_err(|error| {
            self.failed(&format!("move it into the container as {name:?}"), &error)
        })?;
        let link = Link::find(inside, name)
            .map_err(|error| self.failed("find it in the container", &error))?;
        for address in self.addresses.iter().filter(|address| address.is_permanent_and_global()) {
            address.add(inside, link.index).map_err(|error| {
                self.failed(&format!("add the address {address} in the container"), &error)
            })?;
        }
        link.set_up(inside).map_err(|error| self.failed("set it up in the container", &error))
    }

    /// The name in the container: of a template the lowest number that is free, as the kernel would choose.
    fn name_inside(&self, inside: &Socket) -> Result<String, Error> {
        let name = &self.wanted.name;
        if !self.wanted.is_template() {
            return Ok(name.clone());
        }
        let taken = Link::all(inside)
            .map_err(|error| self.failed("list those in the container", &error))?;
        let mut names = (0u32..).map(|number| name.replacen("%d", &number.to_string(), 1));
        let is_free = |name: &String| taken.iter().all(|link| link.name != *name);
        Ok(names.find(is_free).unwrap_or_default())
    }

    fn failed(&self, what: &str, error: &io::Error) -> Error {
        problem(self.wanted, &format!("{what}: {error}"))
    }

    fn bring_back(&self, host: &Host, inside: &Socket, name_inside: &str) -> io::Result<()> {
        let name = &self.wanted.host_name;
        let Host { socket: host, namespace } = host;
        if Link::find(host, name).is_err() {
            // By its hardware too: it may have been moved and not renamed, because the name is another's.
            let is_ours = |link: &Link| {
                link.is_same_device(&self.link) && [name, name_inside].contains(&link.name.as_str())
            };
            let link = Link::all(inside)?.into_iter().find(is_ours).ok_or(Errno::NODEV)?;
            link.move_to(inside, namespace.as_fd(), name)?;
        }
        let link = Link::find(host, name)?;
        for address in &self.addresses {
            match address.put_back(host, link.index) {
                Err(error) if error.raw_os_error() != Some(libc::EEXIST) => return Err(error),
                _ => {}
            }
        }
        if self.link.is_up { link.set_up(host) } else { Ok(()) }
    }
}

fn is_same(one: &OwnedFd, other: &OwnedFd) -> io::Result<bool> {
    let (one, other) = (rustix::fs::fstat(one)?, rustix::fs::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

fn problem(device: &NetDevice, problem: &str) -> Error {
    Error::Property { pointer: device.pointer.clone(), problem: problem.to_owned() }
}
