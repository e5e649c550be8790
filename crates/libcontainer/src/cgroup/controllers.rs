//! Controllers: enabling them from the root down to the container's cgroup, and saying why one cannot be had.
//!
//! As runc does, all that the host has are enabled, not only those that are asked for: engines read their files (`docker stats`),
//! and `update` may limit later. What only they need is let be where it fails.
//!
//! Runs in: runtime.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{Cgroup, file, open_below, open_root};
use crate::error::Error;
use crate::plan::Setting;

/// Where a cgroup has these, nothing above it is looked at.
const USUAL: [&str; 4] = ["cpu", "io", "memory", "pids"];

/// Those of the usual ones that this host can have, without a look at the hierarchy.
pub(super) fn usual(bound_to_v1: &[String]) -> impl Iterator<Item = &str> {
    let usual: [&str; 4] = USUAL;
    usual.into_iter().filter(move |name| !bound_to_v1.iter().any(|bound| bound == name))
}

/// Those that work between threads: cgroups(7), "Thread mode". All others are for whole processes ("domain controllers").
const THREADED: [&str; 4] = ["cpu", "cpuset", "perf_event", "pids"];

/// A cgroup that does not hand a controller down, and what the kernel said.
struct Obstacle {
    controller: String,
    path: PathBuf,
    errno: Errno,
}

/// Refuses settings whose controllers the root of the hierarchy does not have; changes nothing.
///
/// # Errors
/// [`Error::Unsupported`] with the property, the reason, and what can be done.
pub(super) fn require_at_root(
    root: &OwnedFd,
    mount_point: &Path,
    settings: &[Setting],
) -> Result<(), Error> {
    if settings.iter().all(|setting| setting.controller().is_none()) {
        return Ok(());
    }
    let available = words(root, "cgroup.controllers").map_err(|errno| {
        super::error(mount_point.into(), "read cgroup.controllers")(errno.into())
    })?;
    match first_without(&available, settings) {
        None => Ok(()),
        Some((setting, controller)) => {
            Err(unsupported(setting, absent(controller, root, mount_point)))
        }
    }
}

impl Cgroup {
    /// Makes the controllers work in this cgroup that `settings` need, and those of `also` if they can be had.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for one that `settings` need, with the reason and what can be done; [`Error::Cgroup`].
    pub(super) fn enable_controllers<'a>(
        &self,
        settings: &'a [Setting],
        also: impl Iterator<Item = &'a str>,
    ) -> Result<(), Error> {
        let needed = settings.iter().filter_map(Setting::controller);
        let wanted: Vec<&str> = needed.chain(also).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let own = self.controllers()?;
        if wanted.iter().all(|name| own.iter().any(|own| own == name)) {
            return Ok(());
        }
        let obstacle = self
            .enable_from_root(&own, settings)
            .map_err(|errno| self.at("enable controllers for")(errno.into()))?;
        self.require_domain(settings)?;
        let own = self.controllers()?;
        match first_without(&own, settings) {
            None => Ok(()),
            Some((setting, controller)) => {
                Err(unsupported(setting, self.reason(controller, obstacle)))
            }
        }
    }

    /// Makes those work as well that systemd knows nothing of (hugetlb, rdma, misc) and the root has: runc does. Where that fails, what
    /// needs one of them will say so.
    pub(super) fn enable_the_rest(&self) -> Result<(), Error> {
        let own = self.controllers()?;
        match self.enable_from_root(&own, &[]) {
            Ok(None) => {}
            Ok(Some(Obstacle { controller, path, errno })) => {
                log::debug!("controller {controller} below {}: {errno}", path.display());
            }
            Err(errno) => log::debug!("controllers of {}: {errno}", self.path.display()),
        }
        Ok(())
    }

    fn controllers(&self) -> Result<Vec<String>, Error> {
        words(&self.directory, "cgroup.controllers")
            .map_err(|errno| self.at("read cgroup.controllers")(errno.into()))
    }

    /// Enables in every cgroup above this one what it lacks and the root has.
    fn enable_from_root(
        &self,
        own: &[String],
        settings: &[Setting],
    ) -> rustix::io::Result<Option<Obstacle>> {
        let root = open_root(&self.mount_point)?;
        let mut lacking = words(&root, "cgroup.controllers")?;
        lacking.retain(|name| !own.contains(name));
        if lacking.is_empty() {
            return Ok(None);
        }
        let mut path = PathBuf::new();
        let mut obstacle = None;
        for name in self.path.iter() {
            let found = if path.as_os_str().is_empty() {
                enable_in(&root, &lacking, settings)
            } else {
                enable_in(open_below(&root, &path)?, &lacking, settings)
            };
            let at = || self.mount_point.join(&path);
            obstacle = obstacle.or(found.map(|(controller, errno)| Obstacle {
                controller,
                path: at(),
                errno,
            }));
            path.push(name);
        }
        Ok(obstacle)
    }

    /// A cgroup below one that has processes besides children with controllers is `domain invalid`: no process can be in it. As
    /// threaded it can be used, but not with domain controllers (runc's way out).
    fn require_domain(&self, settings: &[Setting]) -> Result<(), Error> {
        // A child of the root is always a domain.
        if self.path.components().count() < 2 {
            return Ok(());
        }
        let kind = file::read(&self.directory, "cgroup.type")
            .map_err(|errno| self.at("read cgroup.type")(errno.into()))?;
        if !kind.starts_with(b"domain invalid") {
            return Ok(());
        }
        let domain = settings
            .iter()
            .find(|setting| setting.controller().is_some_and(|name| !THREADED.contains(&name)));
        match domain {
            Some(setting) => {
                let path = self.mount_point.join(&self.path);
                let reason = format!(
                    "cannot enter cgroupv2 {path:?} with domain controllers -- it is in an invalid state: a cgroup above it is in thread mode"
                );
                Err(unsupported(setting, reason))
            }
            None => file::write(&self.directory, "cgroup.type", "threaded")
                .map_err(|errno| self.at("set to threaded")(errno.into())),
        }
    }

    fn reason(&self, controller: &str, obstacle: Option<Obstacle>) -> String {
        match obstacle.filter(|obstacle| obstacle.controller == controller) {
            Some(Obstacle { path, errno, .. }) => {
                let path = path.display();
                let hint = obstacle_hint(errno);
                format!(
                    "cgroup controller {controller:?} cannot be enabled below {path}: {errno}{hint}"
                )
            }
            None => match open_root(&self.mount_point) {
                Ok(root) => absent(controller, &root, &self.mount_point),
                Err(errno) => format!("cgroup controller {controller:?} is not there: {errno}"),
            },
        }
    }
}

/// Enables `lacking` for the children of `cgroup`. Returns the first needed one that it refuses.
fn enable_in(
    cgroup: impl AsFd,
    lacking: &[String],
    settings: &[Setting],
) -> Option<(String, Errno)> {
    let is_needed = |name: &&String| is_needed_by(settings, name);
    // To enable only controllers that work between threads would succeed, and make a thread mode out of it.
    if has_own_processes(&cgroup) {
        return enable_each(&cgroup, lacking.iter().filter(is_needed), settings);
    }
    let all: Vec<String> = lacking.iter().map(|name| format!("+{name}")).collect();
    match file::write(&cgroup, "cgroup.subtree_control", &all.join(" ")) {
        Ok(()) => None,
        Err(_) => enable_each(&cgroup, lacking.iter(), settings),
    }
}

fn enable_each<'a>(
    cgroup: impl AsFd,
    names: impl Iterator<Item = &'a String>,
    settings: &[Setting],
) -> Option<(String, Errno)> {
    let mut refused = None;
    for name in names {
        if let Err(errno) = file::write(&cgroup, "cgroup.subtree_control", &format!("+{name}"))
            && refused.is_none()
            && is_needed_by(settings, name)
        {
            refused = Some((name.clone(), errno));
        }
    }
    refused
}

/// Whether some setting needs the controller.
fn is_needed_by(settings: &[Setting], name: &str) -> bool {
    settings.iter().any(|setting| setting.controller() == Some(name))
}

/// The root of all, which has no type, may have processes and children with controllers.
fn has_own_processes(cgroup: impl AsFd) -> bool {
    file::read(&cgroup, "cgroup.type").is_ok()
        && file::read(&cgroup, "cgroup.procs").is_ok_and(|pids| !pids.is_empty())
}

fn first_without<'a>(
    available: &[String],
    settings: &'a [Setting],
) -> Option<(&'a Setting, &'a str)> {
    let mut needed = settings.iter().filter_map(|setting| Some((setting, setting.controller()?)));
    needed.find(|(_, name)| !available.iter().any(|available| available == name))
}

fn unsupported(setting: &Setting, feature: String) -> Error {
    Error::Unsupported { pointer: setting.origin.to_string(), feature }
}

/// Why the root of the hierarchy does not have the controller.
fn absent(controller: &str, root: &OwnedFd, mount_point: &Path) -> String {
    let what = format!("cgroup controller {controller:?}");
    if bound_to_v1().iter().any(|bound| bound == controller) {
        return format!(
            "{what} is bound to cgroup v1 on this host, which corten does not use: boot with systemd.unified_cgroup_hierarchy=1, or with cgroup_no_v1={controller}"
        );
    }
    // The root of all has no type.
    if file::read(root, "cgroup.type").is_ok() {
        let path = mount_point.display();
        return format!(
            "{what} is not delegated to {path}, which is a cgroup namespace: enable it in the cgroup above (systemd: Delegate=yes)"
        );
    }
    format!(
        "{what} is not in this kernel: it was built without it, or booted with cgroup_disable={controller}"
    )
}

fn bound_to_v1() -> Vec<String> {
    crate::host::CgroupFacts::read().map(|facts| facts.bound_to_v1).unwrap_or_default()
}

fn obstacle_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::BUSY => {
            ": it has processes of its own, and only the root may have both (cgroups(7), \"no internal processes\"): move them into a cgroup below, or choose another linux.cgroupsPath"
        }
        Errno::ACCESS | Errno::PERM | Errno::ROFS => {
            ": it is not delegated to this user (systemd: Delegate=yes)"
        }
        Errno::OPNOTSUPP => ": it is in thread mode",
        Errno::NOENT => ": the cgroup above it does not hand it down",
        _ => "",
    }
}

fn words(cgroup: impl AsFd, name: &str) -> rustix::io::Result<Vec<String>> {
    let content = file::read(cgroup, name)?;
    Ok(String::from_utf8_lossy(&content).split_ascii_whitespace().map(str::to_owned).collect())
}
