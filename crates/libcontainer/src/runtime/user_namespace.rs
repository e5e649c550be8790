//! User namespaces that no process of a container is in: they are made for their maps, which id-mapped mounts take.
//!
//! Runs in: runtime.

use std::fmt::Write as _;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use crate::error::Error;
use crate::spec::LinuxIdMapping;
use crate::sys::idle::Idle;

/// A new user namespace with these maps, which lives as long as the fd or what is made with it.
///
/// # Errors
/// The maps are not permitted (user_namespaces(7)), or no more user namespaces are.
pub(crate) fn with_maps(
    uids: &[LinuxIdMapping],
    gids: &[LinuxIdMapping],
) -> Result<OwnedFd, Error> {
    let clone = |source| Error::Os { call: "clone3(CLONE_NEWUSER)".into(), source };
    let idle = Idle::start(libc::CLONE_NEWUSER.cast_unsigned()).map_err(clone)?;
    // Without the privilege in the parent namespace a gid map wants it; nobody will ever call setgroups there.
    write(&idle, "setgroups", "deny")?;
    write(&idle, "uid_map", &lines(uids))?;
    write(&idle, "gid_map", &lines(gids))?;
    let path = format!("/proc/{}/ns/user", idle.pid);
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::Os { call: path, source: errno.into() })
}

/// The lines of `/proc/PID/uid_map`.
fn lines(maps: &[LinuxIdMapping]) -> String {
    let mut lines = String::new();
    for LinuxIdMapping { container_id, host_id, size } in maps {
        // Writing to a String cannot fail.
        writeln!(lines, "{container_id} {host_id} {size}").unwrap_or_default();
    }
    lines
}

/// One write(2), which is all that a map takes.
fn write(idle: &Idle, file: &str, text: &str) -> Result<(), Error> {
    let path = format!("/proc/{}/{file}", idle.pid);
    let failed =
        |source: io::Error| Error::Os { call: format!("write {text:?} to {path}"), source };
    let opened = rustix::fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let opened = opened.map_err(|errno| failed(errno.into()))?;
    rustix::io::write(&opened, text.as_bytes()).map_err(|errno| failed(errno.into()))?;
    Ok(())
}
