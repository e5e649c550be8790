//! User namespaces, from outside: their id maps, and such that no process of a container is in.
//!
//! Runs in: runtime.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::map_helper;
use crate::error::Error;
use crate::plan::IdMaps;
use crate::spec::LinuxIdMapping;
use crate::sys::idle::Idle;
use crate::sys::wait;

/// What the kernel takes for a map is shorter than a page.
const PAGE: usize = 4096;

/// A file that could not be written.
#[derive(Debug)]
struct Refused {
    /// In config.json, of the container's user namespace.
    pointer: &'static str,
    call: String,
    source: io::Error,
}

impl Refused {
    fn is_permission(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }

    /// As an error of the container's own mappings.
    fn of_container(self) -> Error {
        let problem = format!("{}: {}{}", self.call, self.source, self.hint());
        Error::Property { pointer: self.pointer.into(), problem }
    }

    fn hint(&self) -> &'static str {
        match self.source.raw_os_error() {
            Some(libc::EPERM) => {
                ": each id has to be mapped in the runtime's own user namespace, and the runtime needs CAP_SETUID, CAP_SETGID and, for the host's root, CAP_SETFCAP"
            }
            Some(libc::EINVAL) if self.call.len() >= PAGE => ": the map is longer than a page",
            _ => "",
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let call = format!("{}{}", refused.call, refused.hint());
        Self::Os { call, source: refused.source }
    }
}

const GIDS: &str = "/linux/gidMappings";
const UIDS: &str = "/linux/uidMappings";

/// Writes the maps of the user namespace that the process is in, and whose maps are empty.
///
/// The groups first: who forbids `setgroups` must do so before there are any (user_namespaces(7)).
///
/// # Errors
/// The maps are not permitted.
fn write_maps(pid: i32, pidfd: BorrowedFd<'_>, maps: &IdMaps) -> Result<(), Refused> {
    let process = open_process(pid, pidfd)?;
    if maps.deny_setgroups {
        write(&process, "setgroups", "deny", GIDS)?;
    }
    write(&process, "gid_map", &IdMaps::lines(&maps.gids), GIDS)?;
    write(&process, "uid_map", &IdMaps::lines(&maps.uids), UIDS)
}

/// As [`write_maps`], for a container: what the kernel does not permit to an ordinary user, newgidmap and newuidmap are asked
/// for. (The process must be dumpable: they write only for one whose files in procfs are the user's.)
///
/// # Errors
/// [`Error::Property`] with the mappings that are not permitted, and what to mend.
pub(crate) fn map_container(pid: i32, pidfd: BorrowedFd<'_>, maps: &IdMaps) -> Result<(), Error> {
    let process = open_process(pid, pidfd).map_err(Refused::of_container)?;
    if maps.deny_setgroups {
        write(&process, "setgroups", "deny", GIDS).map_err(Refused::of_container)?;
    }
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid().as_raw());
    for (file, pointer, mappings, helper, own) in [
        ("gid_map", GIDS, &maps.gids, map_helper::GIDS, gid),
        ("uid_map", UIDS, &maps.uids, map_helper::UIDS, uid.as_raw()),
    ] {
        match write(&process, file, &IdMaps::lines(mappings), pointer) {
            Err(refused) if refused.is_permission() && !uid.is_root() => {
                helper.map(pid, mappings, own)?;
            }
            written => written.map_err(Refused::of_container)?,
        }
    }
    Ok(())
}

/// The maps of the user namespace that a process is in, as this process's sees them.
///
/// # Errors
/// The process is gone.
pub(crate) fn maps_of(pid: i32) -> Result<IdMaps, Error> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        let text = crate::host::read_file(&path)?;
        let garbled =
            || Error::Os { call: path.clone(), source: io::ErrorKind::InvalidData.into() };
        IdMaps::parse(&String::from_utf8_lossy(&text)).ok_or_else(garbled)
    };
    Ok(IdMaps { uids: read("uid_map")?, gids: read("gid_map")?, deny_setgroups: false })
}

/// Looks whether the user namespace that a process has joined has these maps, in whatever order: containerd and CRI-O repeat
/// them beside the path.
///
/// # Errors
/// In the words of runc: it has others.
pub(crate) fn compare_maps(pid: i32, expected: &IdMaps) -> Result<(), Error> {
    if expected.uids.is_empty() && expected.gids.is_empty() {
        return Ok(());
    }
    let found = maps_of(pid)?;
    let sorted = |mappings: &[LinuxIdMapping]| {
        let mut lines: Vec<_> =
            mappings.iter().map(|map| (map.container_id, map.host_id, map.size)).collect();
        lines.sort_unstable();
        lines
    };
    for (pointer, found, expected) in [
        ("/linux/uidMappings", &found.uids, &expected.uids),
        ("/linux/gidMappings", &found.gids, &expected.gids),
    ] {
        if sorted(found) != sorted(expected) {
            let problem = "user namespaces enabled, but both namespace path and non-matching mapping specified -- you may only provide one";
            return Err(Error::Property { pointer: pointer.into(), problem: problem.into() });
        }
    }
    Ok(())
}

/// A new user namespace with these maps, which lives as long as the fd or what is made with it.
///
/// # Errors
/// The maps are not permitted (user_namespaces(7)), or no more user namespaces are.
pub(crate) fn with_maps(
    uids: &[LinuxIdMapping],
    gids: &[LinuxIdMapping],
) -> Result<OwnedFd, Error> {
    let failed = |call: &str, source| Error::Os { call: call.into(), source };
    let idle = Idle::start(libc::CLONE_NEWUSER.cast_unsigned())
        .map_err(|source| failed("clone3(CLONE_NEWUSER)", source))?;
    // Without the privilege in the parent namespace a gid map wants it; nobody will ever call setgroups there.
    let maps = IdMaps { uids: uids.to_vec(), gids: gids.to_vec(), deny_setgroups: true };
    write_maps(idle.pid, idle.pidfd(), &maps)?;
    let path = format!("/proc/{}/ns/user", idle.pid);
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| failed(&path, errno.into()))
}

/// /proc/PID of this very process: while it has not ended, its number is nobody else's.
fn open_process(pid: i32, pidfd: BorrowedFd<'_>) -> Result<OwnedFd, Refused> {
    let open = || -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(format!("/proc/{pid}"), flags, Mode::empty())?;
        if wait::ends_within(pidfd, Duration::ZERO)? {
            return Err(Errno::SRCH.into());
        }
        Ok(opened)
    };
    let call = || format!("open /proc/{pid}");
    open().map_err(|source| Refused { pointer: UIDS, call: call(), source })
}

/// One write(2), which is all that a map takes.
fn write(
    process: &OwnedFd,
    file: &'static str,
    text: &str,
    pointer: &'static str,
) -> Result<(), Refused> {
    let refused = |errno: Errno| Refused {
        pointer,
        call: format!("write {:?} to {file}", text.trim_end().replace('\n', ", ")),
        source: errno.into(),
    };
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(process, file, flags, Mode::empty()).map_err(refused)?;
    match rustix::io::write(&opened, text.as_bytes()).map_err(refused)? {
        count if count == text.len() => Ok(()),
        _ => Err(refused(Errno::IO)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_that_overlap_are_refused_with_what_was_written() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let map = |container_id, host_id| LinuxIdMapping { container_id, host_id, size: 10 };
        let maps = [map(0, 100_000), map(5, 200_000)];
        let error = with_maps(&maps, &maps).unwrap_err().to_string();
        assert!(error.contains("write \"0 100000 10, 5 200000 10\" to gid_map"), "{error}");
    }
}
