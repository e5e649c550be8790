//! Where a container's cgroup is made: by us before init, which is born in it, or by systemd around an init that waits.
//!
//! Runs in: runtime.

use std::cell::OnceCell;
use std::os::fd::BorrowedFd;

use super::kill::KILL_DEADLINE;
use crate::cgroup::systemd::{Scope, stop};
use crate::cgroup::{Cgroup, Site};
use crate::error::{Error, with_causes};
use crate::host::CgroupFacts;
use crate::plan::CgroupPlan;
use crate::state::{CgroupRecord, UnitRecord};

/// A place that was looked at, and nothing made yet.
pub(super) struct Place<'a> {
    facts: &'a CgroupFacts,
    plan: &'a CgroupPlan,
    by: By<'a>,
}

enum By<'a> {
    Us(Site<'a>),
    Systemd(Box<Scope<'a>>),
}

impl<'a> Place<'a> {
    /// Refuses a place where others live.
    pub fn look(facts: &'a CgroupFacts, plan: &'a CgroupPlan) -> Result<Self, Error> {
        let by = match &plan.unit {
            None => By::Us(Site::look(facts, plan)?),
            Some(unit) => By::Systemd(Box::new(Scope::look(facts, plan, unit)?)),
        };
        Ok(Self { facts, plan, by })
    }

    /// What the intent says of it.
    pub fn record(&self) -> CgroupRecord {
        let path = match &self.by {
            By::Us(_) => &self.plan.path,
            By::Systemd(scope) => scope.path(),
        };
        let unit = self.plan.unit.as_ref();
        CgroupRecord {
            mount_point: self.facts.mount_point.clone(),
            path: path.to_owned(),
            unit: unit.map(|unit| UnitRecord { name: unit.name.clone(), manager: unit.manager }),
        }
    }

    /// Makes the cgroup, or gives the scope that is started when there is a process to put into it.
    pub fn create(self, made: &Made<'_>) -> Result<Option<Box<Scope<'a>>>, Error> {
        match self.by {
            By::Us(site) => {
                made.set(site.create()?);
                Ok(None)
            }
            By::Systemd(scope) => Ok(Some(scope)),
        }
    }
}

/// The cgroup, as soon as there is one.
pub(super) struct Made<'a> {
    record: &'a CgroupRecord,
    cgroup: OnceCell<Cgroup>,
}

impl<'a> Made<'a> {
    pub fn new(record: &'a CgroupRecord) -> Self {
        Self { record, cgroup: OnceCell::new() }
    }

    pub fn set(&self, cgroup: Cgroup) -> &Cgroup {
        self.cgroup.get_or_init(|| cgroup)
    }

    pub fn into_cgroup(self) -> Option<Cgroup> {
        self.cgroup.into_inner()
    }

    /// For `CLONE_INTO_CGROUP`.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.cgroup.get().map(Cgroup::fd)
    }

    /// Writes the limits that had to wait until init has been made.
    pub fn apply_late(&self, plan: &CgroupPlan) -> Result<(), Error> {
        self.cgroup.get().map_or(Ok(()), |cgroup| cgroup.apply(&plan.late))
    }

    /// Removes what is left in the cgroup, and the cgroup.
    pub fn remove(&self) {
        let Some(cgroup) = self.cgroup.get() else { return };
        let killed = cgroup.kill(KILL_DEADLINE);
        let CgroupRecord { mount_point, path, unit } = self.record;
        let removed = killed.and_then(|()| match unit {
            None => cgroup.remove(KILL_DEADLINE).map(|()| None),
            Some(unit) => stop(unit, mount_point, path, KILL_DEADLINE),
        });
        if let Some(error) = removed.unwrap_or_else(Some) {
            log::warn!("{}", with_causes(&error));
        }
        // The parents that were made for it.
        cgroup.unmake();
    }
}
