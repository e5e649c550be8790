//! Where a container's cgroup is made: by us before init, which is born in it, or by systemd around an init that waits.
//!
//! Runs in: runtime.

use std::cell::OnceCell;
use std::os::fd::BorrowedFd;
use std::path::Path;

use super::kill::KILL_DEADLINE;
use super::undo::Left;
use crate::cgroup::systemd::{Scope, stop};
use crate::cgroup::{Cgroup, Site, permission};
use crate::error::{Error, with_causes};
use crate::host::CgroupFacts;
use crate::plan::{CgroupPlan, UnitPlan};
use crate::state::{self, CgroupRecord, Record, UnitRecord};

/// A place that was looked at, and nothing made yet.
pub(super) enum Place<'a> {
    /// No cgroup of its own: the container stays in that of the caller.
    Nowhere,
    Ours(Site<'a>),
    Systemds(Box<Scope<'a>>),
}

impl<'a> Place<'a> {
    /// Refuses a place where others live.
    pub fn look(facts: &'a CgroupFacts, plan: Option<&'a CgroupPlan>) -> Result<Self, Error> {
        let Some(plan) = plan else { return Ok(Self::Nowhere) };
        match &plan.unit {
            None => match Site::look(facts, plan) {
                Ok(site) => Ok(Self::Ours(site)),
                Err(error) => permission::done_without(plan, error).map(|()| Self::Nowhere),
            },
            Some(unit) => Ok(Self::Systemds(Box::new(Scope::look(facts, plan, unit)?))),
        }
    }

    /// What the intent says of it.
    pub fn record(&self) -> Option<CgroupRecord> {
        match self {
            Self::Nowhere => None,
            Self::Ours(site) => Some(record(site.facts(), site.path(), None)),
            Self::Systemds(scope) => Some(record(scope.facts(), scope.path(), Some(scope.unit()))),
        }
    }

    /// Makes the cgroup, or gives the scope that is started when there is a process to put into it. Makes nothing where that
    /// is not allowed and nothing asks for a cgroup.
    pub fn create(self, made: &Made<'_>) -> Result<Option<Box<Scope<'a>>>, Error> {
        match self {
            Self::Nowhere => Ok(None),
            Self::Ours(site) => {
                let plan = site.plan();
                match site.create() {
                    Ok(cgroup) => drop(made.set(cgroup)),
                    Err(error) => permission::done_without(plan, error)?,
                }
                Ok(None)
            }
            Self::Systemds(scope) => Ok(Some(scope)),
        }
    }
}

fn record(facts: &CgroupFacts, path: &Path, unit: Option<&UnitPlan>) -> CgroupRecord {
    CgroupRecord {
        mount_point: facts.mount_point.clone(),
        path: path.to_owned(),
        id: None,
        unit: unit.map(|unit| UnitRecord { name: unit.name.clone(), manager: unit.manager }),
    }
}

/// What is at the path of a container's cgroup now.
pub(super) enum There {
    Nothing,
    Its(Cgroup),
    /// The container's was removed, and somebody has made another.
    Anothers,
}

impl There {
    /// Told apart by the kernel's id, which is given once in a boot (`__kernfs_new_node` in fs/kernfs/dir.c). A record without one is
    /// taken by its word.
    pub fn of(record: &Record) -> Result<Self, Error> {
        let Some(place) = &record.cgroup else { return Ok(Self::Nothing) };
        let Some(cgroup) = Cgroup::open(&place.mount_point, &place.path)? else {
            return Ok(Self::Nothing);
        };
        let Some(id) = place.id else { return Ok(Self::Its(cgroup)) };
        if cgroup.id()? == id && *state::boot_id()? == *record.boot_id {
            return Ok(Self::Its(cgroup));
        }
        log::debug!("cgroup {} is not that of {} any more", place.path.display(), record.id);
        Ok(Self::Anothers)
    }

    pub fn cgroup(self) -> Option<Cgroup> {
        match self {
            Self::Its(cgroup) => Some(cgroup),
            Self::Nothing | Self::Anothers => None,
        }
    }
}

/// The cgroup, as soon as there is one.
pub(super) struct Made<'a> {
    record: Option<&'a CgroupRecord>,
    cgroup: OnceCell<Cgroup>,
    left: &'a Left,
}

impl<'a> Made<'a> {
    /// `record`: what the intent says of it; `left` is told when it cannot be removed.
    pub fn new(record: Option<&'a CgroupRecord>, left: &'a Left) -> Self {
        Self { record, cgroup: OnceCell::new(), left }
    }

    /// What the state says of it: nothing where nothing was made.
    pub fn record(&self) -> Result<Option<CgroupRecord>, Error> {
        let Some((cgroup, record)) = self.cgroup.get().zip(self.record) else { return Ok(None) };
        Ok(Some(CgroupRecord { id: Some(cgroup.id()?), ..record.clone() }))
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

    /// What holds from before the first hook on, and is done while init is at work already: the device rules, and limits that had to
    /// wait until init has been made. Not of a cgroup that systemd has still to make.
    pub fn complete(&self, plan: Option<&CgroupPlan>) -> Result<(), Error> {
        let Some((cgroup, plan)) = self.cgroup.get().zip(plan) else { return Ok(()) };
        cgroup.restrict_devices(plan)?;
        cgroup.apply(&plan.late)
    }

    /// Removes what is left in the cgroup, and the cgroup.
    pub fn remove(&self) {
        let (Some(cgroup), Some(record)) = (self.cgroup.get(), self.record) else { return };
        let removed = remove(cgroup, record).unwrap_or_else(|error| {
            self.left.set();
            Some(error)
        });
        if let Some(error) = removed {
            log::warn!("{}", with_causes(&error));
        }
        // The parents that were made for it.
        cgroup.unmake();
    }
}

/// What systemd could not do is returned, as [`stop`] does.
fn remove(cgroup: &Cgroup, record: &CgroupRecord) -> Result<Option<Error>, Error> {
    let CgroupRecord { mount_point, path, unit, .. } = record;
    // The first: it needs no further fd, for want of which the create may have failed.
    if unit.is_none() && cgroup.remove_if_empty()? {
        return Ok(None);
    }
    cgroup.kill(KILL_DEADLINE)?;
    match unit {
        None => cgroup.remove(KILL_DEADLINE).map(|()| None),
        Some(unit) => stop(unit, mount_point, path, KILL_DEADLINE),
    }
}
