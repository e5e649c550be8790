//! A container's scope, from the look at its place to the cgroup.
//!
//! Runs in: runtime.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::{Cgroup, create, error};
use super::{DEADLINE, Systemd};
use crate::error::Error;
use crate::host::CgroupFacts;
use crate::plan::{CgroupPlan, Manager, Property, UnitPlan};
use crate::state::UnitRecord;

/// How long systemd may take to see that a cgroup is empty, where it cannot be told to look.
const MOMENT: Duration = Duration::from_secs(1);

/// A scope that will be made: nothing is made yet.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    facts: &'a CgroupFacts,
    plan: &'a CgroupPlan,
    unit: &'a UnitPlan,
    systemd: Systemd,
    path: PathBuf,
}

impl<'a> Scope<'a> {
    /// Connects to systemd, and refuses a cgroup that others live in.
    ///
    /// # Errors
    /// [`Error::Systemd`], [`Error::Timeout`], [`Error::Cgroup`].
    pub fn look(
        facts: &'a CgroupFacts,
        plan: &'a CgroupPlan,
        unit: &'a UnitPlan,
    ) -> Result<Self, Error> {
        let mut systemd = Systemd::open(unit.manager, DEADLINE)?;
        let path = match unit.manager {
            Manager::System => plan.path.clone(),
            Manager::User => {
                let own = systemd.control_group()?;
                Path::new(own.trim_start_matches('/')).join(&plan.path)
            }
        };
        create::look(facts, plan, &path)?;
        Ok(Self { facts, plan, unit, systemd, path })
    }

    /// The host's part.
    pub fn facts(&self) -> &'a CgroupFacts {
        self.facts
    }

    /// The unit.
    pub fn unit(&self) -> &'a UnitPlan {
        self.unit
    }

    /// Where its cgroup will be, below the mount point.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has systemd make the scope and move the process into it, which then is where it was meant to be: what systemd does with
    /// what it is asked for is its own (a configuration of the slice). When this fails, the end of the process is the end of
    /// the scope.
    ///
    /// # Errors
    /// [`Error::Systemd`], [`Error::Timeout`], [`Error::Cgroup`].
    pub fn start(&mut self, pid: i32) -> Result<Cgroup, Error> {
        self.systemd.start(self.unit, u32::try_from(pid).unwrap_or_default())?;
        let missing = || {
            let problem = format!("systemd has not put process {pid} there");
            error(self.facts.mount_point.join(&self.path), "open")(io::Error::other(problem))
        };
        let cgroup = Cgroup::open(&self.facts.mount_point, &self.path)?.ok_or_else(missing)?;
        if cgroup.processes()?.contains(&pid) { Ok(cgroup) } else { Err(missing()) }
    }

    /// What systemd is not asked for, and the limits once more: exact, where it rounds, and before the first program.
    ///
    /// # Errors
    /// [`Error::Cgroup`], [`Error::Property`], [`Error::Unsupported`].
    pub fn prepare(&self, cgroup: &Cgroup) -> Result<(), Error> {
        if self.unit.manager == Manager::System {
            cgroup.enable_the_rest()?;
        }
        // systemd knows of no device rules, and so touches none on a reload.
        cgroup.restrict_devices(self.plan)?;
        cgroup.furnish(self.plan, &self.facts.bound_to_v1)
    }
}

/// Ends a unit whose processes are gone, and takes its cgroup away; what systemd could not do is returned, and the cgroup is gone
/// all the same.
///
/// # Errors
/// [`Error::Cgroup`], [`Error::Timeout`]: the cgroup cannot be removed.
pub(crate) fn stop(
    unit: &UnitRecord,
    mount_point: &Path,
    path: &Path,
    deadline: Duration,
) -> Result<Option<Error>, Error> {
    let stopped = Systemd::open(unit.manager, DEADLINE)
        .and_then(|mut systemd| systemd.stop(&unit.name))
        .err();
    if stopped.is_some() {
        wait_until_gone(mount_point, path)?;
    }
    if let Some(cgroup) = Cgroup::open(mount_point, path)? {
        cgroup.remove(deadline)?;
    }
    Ok(stopped)
}

/// Without a bus, systemd sees by itself that the last process has ended: were we the first to remove the cgroup, it would not,
/// and the unit would stay.
fn wait_until_gone(mount_point: &Path, path: &Path) -> Result<(), Error> {
    let until = std::time::Instant::now() + MOMENT;
    while Cgroup::open(mount_point, path)?.is_some() && std::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Has the user's systemd move a process into the unit's cgroup, or into the one `below` it: from the cgroup of a login session
/// no user may do that, and process 1 does it for the user's systemd.
///
/// # Errors
/// [`Error::Systemd`], [`Error::Timeout`].
pub(crate) fn attach(unit: &UnitRecord, below: &Path, pid: i32) -> Result<(), Error> {
    let pid = u32::try_from(pid).unwrap_or_default();
    Systemd::open(unit.manager, DEADLINE)?.attach(&unit.name, below, pid)
}

/// Tells systemd of limits of a container that is there, so that it does not undo them.
///
/// # Errors
/// [`Error::Systemd`], [`Error::Timeout`].
pub(crate) fn set_limits(unit: &UnitRecord, limits: Vec<Property>) -> Result<(), Error> {
    // Of a running scope it cannot be changed.
    let limits: Vec<_> =
        limits.into_iter().filter(|property| property.name != "OOMPolicy").collect();
    if limits.is_empty() {
        return Ok(());
    }
    Systemd::open(unit.manager, DEADLINE)?.set_properties(&unit.name, &limits)
}
