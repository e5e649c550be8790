//! Making the container's cgroup.
//!
//! Runs in: runtime.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use super::{Cgroup, controllers, error, open_below, open_root, permission, split};
use crate::error::Error;
use crate::host::{CgroupFacts, CgroupLayout};
use crate::plan::CgroupPlan;

/// Another runtime that fails may remove a parent which we found and which it had made; then we begin again.
const ATTEMPTS: usize = 16;

/// Where a container's cgroup will be: looked at, and nothing made yet.
#[derive(Debug)]
pub struct Site<'a> {
    facts: &'a CgroupFacts,
    plan: &'a CgroupPlan,
    root: OwnedFd,
}

impl<'a> Site<'a> {
    /// Refuses a place where others live: what is recorded as the container's is killed with it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a limit whose controller this host does not have; [`Error::Cgroup`]; `container's cgroup is not empty: N process(es) found` and `container's cgroup unexpectedly
    /// frozen` are the texts of runc.
    pub fn look(facts: &'a CgroupFacts, plan: &'a CgroupPlan) -> Result<Self, Error> {
        let root = look(facts, plan, &plan.path)?;
        Ok(Self { facts, plan, root })
    }

    /// The host's part.
    pub fn facts(&self) -> &'a CgroupFacts {
        self.facts
    }

    /// What is asked for.
    pub fn plan(&self) -> &'a CgroupPlan {
        self.plan
    }

    /// Below the mount point.
    pub fn path(&self) -> &'a Path {
        &self.plan.path
    }

    /// Makes the cgroup and its missing parents and writes the limits, which hold before the first process enters. The directory
    /// itself may be there already, empty and not frozen: an engine may have made it. Its device rules are
    /// [`Cgroup::restrict_devices`].
    ///
    /// What was made is removed again on failure.
    ///
    /// # Errors
    /// As [`Site::look`].
    pub fn create(self) -> Result<Cgroup, Error> {
        let mount_point = &self.facts.mount_point;
        let cgroup = make(self.root, mount_point, &self.plan.path)
            .map_err(error(mount_point.join(&self.plan.path), "create"))?;
        match cgroup.prepare(self.plan, &self.facts.bound_to_v1) {
            Ok(()) => Ok(cgroup),
            Err(error) => {
                cgroup.unmake();
                Err(error)
            }
        }
    }
}

/// Refuses a host without what is asked for, and a `path` where others live; gives the root of the hierarchy.
pub(super) fn look(facts: &CgroupFacts, plan: &CgroupPlan, path: &Path) -> Result<OwnedFd, Error> {
    let at = || error(facts.mount_point.join(path), "create");
    if facts.layout == CgroupLayout::None {
        let problem = "no cgroup v2 is mounted at /sys/fs/cgroup or /sys/fs/cgroup/unified";
        return Err(at()(io::Error::new(io::ErrorKind::Unsupported, problem)));
    }
    let root = open_root(&facts.mount_point).map_err(|errno| at()(errno.into()))?;
    controllers::require_at_root(&root, &facts.mount_point, &plan.settings)?;
    if let Some(found) = Cgroup::open_in(&root, &facts.mount_point, path)? {
        found.require_unused()?;
    }
    Ok(root)
}

fn make(root: OwnedFd, mount_point: &Path, path: &Path) -> io::Result<Cgroup> {
    let (above, name) = split(path)?;
    let mut root = Some(root);
    for _ in 0..ATTEMPTS {
        let root = match root.take() {
            Some(root) => root,
            None => open_root(mount_point)?,
        };
        match make_directories(root, above, Path::new(name)) {
            Ok((parent, directory, made)) => {
                return Ok(Cgroup {
                    mount_point: mount_point.into(),
                    path: path.into(),
                    name: name.into(),
                    parent: parent.into(),
                    directory,
                    made,
                });
            }
            Err(Errno::NOENT | Errno::NODEV) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Errno::NOENT.into())
}

impl Cgroup {
    /// [`Site::look`], [`Site::create`] and [`Self::restrict_devices`] in one, for tests.
    ///
    /// # Errors
    /// As [`Site::look`].
    pub fn create(facts: &CgroupFacts, plan: &CgroupPlan) -> Result<Self, Error> {
        let cgroup = Site::look(facts, plan)?.create()?;
        match cgroup.restrict_devices(plan) {
            Ok(()) => Ok(cgroup),
            Err(error) => {
                cgroup.unmake();
                Err(error)
            }
        }
    }

    fn prepare(&self, plan: &CgroupPlan, bound_to_v1: &[String]) -> Result<(), Error> {
        // A new directory right below the root, which cannot be frozen, has nothing to be asked.
        if self.made == 0 || self.path.components().count() > 1 {
            self.require_unused()?;
        }
        self.furnish(plan, bound_to_v1)
    }

    /// Attaches the device program: beside what systemd has attached, in the place of what a cgroup had that was found.
    ///
    /// The verifier takes as long as all that is done for the cgroup besides, so that this may wait until init is at work: nothing
    /// but init itself may run in the cgroup before.
    ///
    /// # Errors
    /// [`Error::Cgroup`].
    pub fn restrict_devices(&self, plan: &CgroupPlan) -> Result<(), Error> {
        let Some(program) = &plan.devices else { return Ok(()) };
        let was_found = self.made == 0 && plan.unit.is_none();
        let attached = match was_found {
            true => self.replace_devices(program),
            false => self.attach_devices(program),
        };
        permission::without_devices(plan, attached)
    }

    /// Controllers and limits of a cgroup that is there.
    pub(super) fn furnish(&self, plan: &CgroupPlan, bound_to_v1: &[String]) -> Result<(), Error> {
        self.enable_controllers(&plan.settings, controllers::usual(bound_to_v1))?;
        self.apply(&plan.settings)?;
        // The last: from here on somebody else may make cgroups below.
        plan.owner.map_or(Ok(()), |uid| self.delegate(uid))
    }

    /// Refuses a cgroup that has processes, and one that is frozen, by itself or by one above it: init would be born frozen,
    /// and a vfork has no deadline.
    ///
    /// # Errors
    /// [`Error::Cgroup`] with the texts of runc.
    pub fn require_unused(&self) -> Result<(), Error> {
        let events = self.events()?;
        if events.populated {
            let count = self.processes()?.len();
            let problem = format!("container's cgroup is not empty: {count} process(es) found");
            return Err(self.at("create")(io::Error::new(io::ErrorKind::AlreadyExists, problem)));
        }
        if events.frozen {
            return Err(self.at("create")(io::Error::other(
                "container's cgroup unexpectedly frozen",
            )));
        }
        Ok(())
    }

    /// Removes the directories that [`Site::create`] made, as far as nobody else uses them by now. For a failed create;
    /// processes inside are to be killed first.
    pub fn unmake(&self) {
        // By what is open: it may be for want of fds that the create failed.
        let is_gone = self.made > 0 && self.remove_if_empty().is_ok_and(|it| it);
        if let (true, Some(above)) = (is_gone && self.made > 1, self.path.parent())
            && let Ok(root) = open_root(&self.mount_point)
        {
            remove_made(&root, above, self.made - 1);
        }
    }
}

/// Parent, directory, and how many of the last directories of the path were made.
fn make_directories(
    root: OwnedFd,
    above: &Path,
    name: &Path,
) -> rustix::io::Result<(OwnedFd, OwnedFd, usize)> {
    if above.as_os_str().is_empty() {
        let (directory, made) = enter(&root, name)?;
        return Ok((root, directory, usize::from(made)));
    }
    let (parent, made_above) = match open_below(&root, above) {
        Ok(parent) => (parent, 0),
        Err(Errno::NOENT) => make_parents(&root, above)?,
        Err(errno) => return Err(errno),
    };
    match enter(&parent, name) {
        Ok((directory, true)) => Ok((parent, directory, made_above + 1)),
        Ok((directory, false)) => Ok((parent, directory, 0)),
        Err(errno) => {
            // An fd for the removal.
            drop(parent);
            remove_made(&root, above, made_above);
            Err(errno)
        }
    }
}

fn make_parents(root: &OwnedFd, above: &Path) -> rustix::io::Result<(OwnedFd, usize)> {
    let mut path = above.iter();
    let first = path.next().unwrap_or_default();
    let (mut parent, made) = enter(root, Path::new(first))?;
    let mut made = usize::from(made);
    let mut depth = 1;
    for name in path {
        match enter(&parent, Path::new(name)) {
            Ok((directory, is_new)) => {
                made = if is_new { made + 1 } else { 0 };
                parent = directory;
                depth += 1;
            }
            Err(errno) => {
                drop(parent);
                let reached: std::path::PathBuf = above.iter().take(depth).collect();
                remove_made(root, &reached, made);
                return Err(errno);
            }
        }
    }
    Ok((parent, made))
}

/// Makes and opens one directory; `false`: it was there.
fn enter(parent: &OwnedFd, name: &Path) -> rustix::io::Result<(OwnedFd, bool)> {
    let is_new = match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(errno) => return Err(errno),
    };
    match open_below(parent, name) {
        Ok(directory) => Ok((directory, is_new)),
        Err(errno) => {
            if is_new {
                remove_made(parent, name, 1);
            }
            Err(errno)
        }
    }
}

/// Removes the last `count` directories of `path`, deepest first; stops at one that is in use.
fn remove_made(root: &OwnedFd, path: &Path, count: usize) {
    for made in path.ancestors().take(count) {
        let removed = match made.parent().zip(made.file_name()) {
            Some((above, name)) if above.as_os_str().is_empty() => {
                rustix::fs::unlinkat(root, name, AtFlags::REMOVEDIR)
            }
            Some((above, name)) => open_below(root, above)
                .and_then(|parent| rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)),
            None => return,
        };
        if let Err(errno) = removed {
            log::debug!("cgroup {}: not removed: {errno}", made.display());
            return;
        }
    }
}
