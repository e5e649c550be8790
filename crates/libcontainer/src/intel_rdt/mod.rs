//! `linux.intelRdt`: a class of service of the container's, or one that is there, and a group that is monitored
//! (Documentation/filesystems/resctrl.rst; config-linux.md, "IntelRdt").
//!
//! All is done below an fd of the root of resctrl. What is made is in the intent before it is made. A group that has a
//! `closID` belongs to whoever chose it: only a create that fails takes it away again.
//!
//! Runs in: runtime.

mod schemata;
mod stats;

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use serde_json::{Map, Value};

use crate::cgroup::file;
use crate::error::Error;
use crate::plan::RdtPlan;
use crate::state::RdtRecord;

const POINTER: &str = "/linux/intelRdt";
/// Where the kernel makes a directory for it.
const USUAL_MOUNT_POINT: &str = "/sys/fs/resctrl";
/// `RDTGROUP_SUPER_MAGIC`.
const MAGIC: u64 = 0x0765_5821;

/// What config.json asks for.
#[derive(Debug, Default)]
pub(crate) struct Rdt<'a>(Option<Asked<'a>>);

#[derive(Debug)]
struct Asked<'a> {
    plan: &'a RdtPlan,
    root: OwnedFd,
    group_is_there: bool,
    /// How many of [`RdtPlan::directories`] were made.
    made: Cell<usize>,
}

impl<'a> Rdt<'a> {
    /// Looks at what is there; nothing is changed.
    ///
    /// # Errors
    /// There is no resctrl; the class is not there and nothing says what it should be; it is there and something else.
    pub fn look(plan: Option<&'a RdtPlan>) -> Result<Self, Error> {
        let Some(plan) = plan else { return Ok(Self(None)) };
        let root = find_root()?.ok_or_else(no_resctrl)?;
        Ok(Self(Some(Asked::look(plan, root)?)))
    }

    /// What the intent says.
    pub fn intent(&self) -> Option<RdtRecord> {
        self.0.as_ref().map(|asked| asked.record(true))
    }

    /// What the state says: `delete` leaves a class that has a name of its own.
    pub fn record(&self) -> Option<RdtRecord> {
        self.0.as_ref().map(|asked| asked.record(!asked.plan.is_named))
    }

    /// Makes what is missing, and says what the class is to be.
    ///
    /// # Errors
    /// The kernel refuses, in its words; [`Self::unmake`] takes away what was made.
    pub fn make(&self) -> Result<(), Error> {
        self.0.as_ref().map_or(Ok(()), Asked::make)
    }

    /// Puts a process there, before it does anything of the container's.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn assign(&self, pid: i32) -> Result<(), Error> {
        let Some(asked) = &self.0 else { return Ok(()) };
        assign(asked.root.as_fd(), &asked.record(false), pid)
    }

    /// Takes away what was made.
    pub fn unmake(&self) {
        let Some(asked) = &self.0 else { return };
        for path in asked.directories().take(asked.made.get()).collect::<Vec<_>>().iter().rev() {
            if let Err(error) = remove_group(asked.root.as_fd(), path) {
                log::warn!("remove the resctrl group {path}: {error}");
            }
        }
    }
}

impl<'a> Asked<'a> {
    fn look(plan: &'a RdtPlan, root: OwnedFd) -> Result<Self, Error> {
        let supported = text(root.as_fd(), "schemata");
        for (property, line) in &plan.lines {
            let resource = schemata::resource(line);
            if schemata::line_of(&supported, resource).is_none() {
                return refuse(property, "resctrl of this host has no resource ", resource);
            }
        }
        let group = open_group(root.as_fd(), &plan.group);
        let group_is_there = match group {
            Ok(group) => {
                compare(plan, root.as_fd(), group.as_fd())?;
                true
            }
            Err(Errno::NOENT) if plan.is_named && plan.lines.is_empty() => {
                let text = "without a schema it must be there, and there is no class of service ";
                return refuse("closID", text, &plan.group);
            }
            Err(Errno::NOENT) => false,
            Err(errno) => return Err(refused(root.as_fd(), "closID", "open the class", errno)),
        };
        Ok(Self { plan, root, group_is_there, made: Cell::new(0) })
    }

    /// What is made, in order.
    fn directories(&self) -> impl Iterator<Item = String> {
        let group = (!self.group_is_there).then(|| self.plan.group.clone());
        group.into_iter().chain(self.monitor())
    }

    fn monitor(&self) -> Option<String> {
        let RdtPlan { group, monitor, .. } = self.plan;
        let name = monitor.as_ref()?;
        let group = if group.is_empty() { String::new() } else { format!("{group}/") };
        Some(format!("{group}mon_groups/{name}"))
    }

    fn record(&self, with_class: bool) -> RdtRecord {
        let made = self.directories().filter(|path| with_class || *path != self.plan.group);
        RdtRecord { group: self.plan.group.clone(), monitor: self.monitor(), made: made.collect() }
    }

    fn make(&self) -> Result<(), Error> {
        let root = self.root.as_fd();
        for path in self.directories() {
            let property =
                if Some(&path) == self.monitor().as_ref() { "enableMonitoring" } else { "closID" };
            rustix::fs::mkdirat(root, &path, Mode::from_raw_mode(0o755)).map_err(|errno| {
                self.refused(property, &format!("make the group {path}"), errno)
            })?;
            self.made.set(self.made.get() + 1);
        }
        if self.plan.lines.is_empty() {
            // config-linux.md: MUST NOT write.
            return Ok(());
        }
        let group = open_group(root, &self.plan.group);
        let group = group.map_err(|errno| self.refused("closID", "open the class", errno))?;
        // schemata after the two others: it may say something else of the same resource, which one write may not.
        let (all, single): (Vec<_>, Vec<_>) =
            self.plan.lines.iter().partition(|(property, _)| property.starts_with("schemata"));
        for lines in [single, all].into_iter().filter(|lines| !lines.is_empty()) {
            let text: String = lines.iter().map(|(_, line)| format!("{line}\n")).collect();
            let property = lines.first().map_or("", |(property, _)| property);
            file::write(&group, "schemata", &text)
                .map_err(|errno| self.refused(property, &format!("write {text:?}"), errno))?;
        }
        Ok(())
    }

    /// An error with the kernel's words.
    fn refused(&self, property: &str, what: &str, errno: Errno) -> Error {
        refused(self.root.as_fd(), property, what, errno)
    }
}

/// A class that is there is another's, and must be what config.json says (config-linux.md).
fn compare(plan: &RdtPlan, root: BorrowedFd<'_>, group: BorrowedFd<'_>) -> Result<(), Error> {
    if !plan.is_named {
        return Ok(());
    }
    let there = text(group, "schemata");
    let granularity = text(root, "info/MB/bandwidth_gran").trim().parse().unwrap_or(1).max(1);
    for (property, line) in &plan.lines {
        if !property.starts_with("schemata") && !schemata::says(&there, line, granularity) {
            let found = schemata::line_of(&there, schemata::resource(line)).unwrap_or("nothing");
            let text = format!("the class {:?} is there with {found:?}, not {line:?}", plan.group);
            return Err(problem(property, &text));
        }
    }
    Ok(())
}

/// Puts a process that is executed in the container where the others are. As with runc, a class that is no more is no error:
/// its processes are in the root's.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn enter(record: &RdtRecord, pid: i32) -> Result<(), Error> {
    match find_root()? {
        Some(root) if open_group(root.as_fd(), &record.group).is_ok() => {
            assign(root.as_fd(), record, pid)
        }
        _ => Ok(()),
    }
}

fn assign(root: BorrowedFd<'_>, record: &RdtRecord, pid: i32) -> Result<(), Error> {
    // The class first: a monitored group takes only processes of its class.
    for path in [Some(&record.group), record.monitor.as_ref()].into_iter().flatten() {
        let written =
            open_group(root, path).and_then(|group| file::write(&group, "tasks", &pid.to_string()));
        let what = || format!("put process {pid} into the resctrl group {path:?}");
        written.map_err(|errno| refused(root, "", &what(), errno))?;
    }
    Ok(())
}

/// Other lines for the class of a container that is there, as `update` has them.
///
/// # Errors
/// It is gone, or the kernel refuses.
pub(crate) fn update(record: &RdtRecord, lines: &str) -> Result<(), Error> {
    let root = find_root()?.ok_or_else(no_resctrl)?;
    let written = open_group(root.as_fd(), &record.group)
        .and_then(|group| file::write(&group, "schemata", lines));
    written.map_err(|errno| refused(root.as_fd(), "", &format!("write {lines:?}"), errno))
}

/// What the groups of a container tell; nothing without resctrl.
pub(crate) fn stats(record: &RdtRecord) -> Map<String, Value> {
    let root = open_root().ok().flatten();
    root.map(|root| stats::read(root.as_fd(), record)).unwrap_or_default()
}

/// Removes what was made for a container; what is gone is no error.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn remove(record: &RdtRecord) -> Result<(), Error> {
    if record.made.is_empty() {
        return Ok(());
    }
    let Some(root) = find_root()? else { return Ok(()) };
    for path in record.made.iter().rev() {
        remove_group(root.as_fd(), path).map_err(|errno| {
            refused(root.as_fd(), "", &format!("remove the group {path}"), errno)
        })?;
    }
    Ok(())
}

fn remove_group(root: BorrowedFd<'_>, path: &str) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(root, path, AtFlags::REMOVEDIR) {
        // With the class its monitored groups went.
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}

fn find_root() -> Result<Option<OwnedFd>, Error> {
    open_root().map_err(|error| problem("", &format!("find resctrl: {error}")))
}

fn no_resctrl() -> Error {
    problem("", "no resctrl file system is mounted on this host (Intel RDT)")
}

/// The root of resctrl, at the usual place or wherever it is mounted; `None`: nowhere.
fn open_root() -> io::Result<Option<OwnedFd>> {
    if let Some(root) = open_if_resctrl(USUAL_MOUNT_POINT) {
        return Ok(Some(root));
    }
    let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo")?;
    let resctrl = mounts.lines().filter(|line| line.contains(" - resctrl "));
    Ok(resctrl.filter_map(|line| line.split(' ').nth(4)).find_map(open_if_resctrl))
}

fn open_if_resctrl(path: &str) -> Option<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
    let root = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let found = rustix::fs::fstatfs(&root).ok()?;
    (u64::try_from(found.f_type) == Ok(MAGIC)).then_some(root)
}

/// A directory below the root; the empty path: the root itself.
fn open_group(root: BorrowedFd<'_>, path: &str) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { "." } else { path };
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    rustix::fs::openat(root, path, flags, Mode::empty())
}

/// The file's text; a file that is not there is empty.
fn text(directory: BorrowedFd<'_>, name: &str) -> String {
    let text = file::read(directory, name).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

fn refused(root: BorrowedFd<'_>, property: &str, what: &str, errno: Errno) -> Error {
    let error = io::Error::from(errno);
    let told = text(root, "info/last_cmd_status");
    match told.trim() {
        "" | "ok" => problem(property, &format!("{what}: {error}")),
        told => problem(property, &format!("{what}: {error}: {told}")),
    }
}

fn refuse<T>(property: &str, text: &str, name: &str) -> Result<T, Error> {
    Err(problem(property, &format!("{text}{name:?}")))
}

fn problem(property: &str, problem: &str) -> Error {
    let slash = if property.is_empty() { "" } else { "/" };
    Error::Property { pointer: format!("{POINTER}{slash}{property}"), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests;
