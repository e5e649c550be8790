//! `update`: other limits for a container that is there.
//!
//! All or nothing: a limit that the kernel refuses takes back those before it, and so does a state that cannot be saved.
//!
//! Runs in: runtime.

use std::time::Duration;

use super::Container;
use crate::cgroup::{Cgroup, systemd};
use crate::error::{Error, with_causes};
use crate::intel_rdt;
use crate::plan::{Setting, Update, device_program, limits, properties, round_quotas};
use crate::spec::{LinuxDeviceCgroup, LinuxMemory, LinuxResources, SpecError};
use crate::state::{Found, Record, Status, UnitRecord};

const LOCK_DEADLINE: Duration = Duration::from_secs(10);

impl Container {
    /// Changes the limits that `asked` names, and the device rules if it has some; all else stays.
    ///
    /// # Errors
    /// [`Error::WrongStatus`] with runc's text `container not running`; [`Error::Property`] with a pointer as into
    /// config.json: `/linux/resources/memory/limit`; [`Error::Unsupported`] for a controller that cannot be had. After an
    /// error everything is as it was.
    pub fn update(&self, asked: &LinuxResources) -> Result<(), Error> {
        let lock = self.dir.lock(LOCK_DEADLINE)?;
        if self.observe_locked(&lock)?.0 == Status::Stopped {
            return Err(self.not_running(Status::Stopped));
        }
        self.require_cgroup("update")?;
        // Not as it was loaded: another update may have come before this one.
        let Found::Record(mut record) = self.dir.read()? else {
            return Err(self.not_running(Status::Stopped));
        };
        let mut update = Update::new(&record.resources, asked).map_err(refused)?;
        if record.cgroup.as_ref().is_some_and(|cgroup| cgroup.unit.is_some()) {
            round_quotas(&mut update.settings);
        }
        for warning in &update.warnings {
            log::warn!("{}: {}", warning.pointer, warning.text);
        }
        let cgroup = self.cgroup()?.ok_or_else(|| self.not_running(Status::Stopped))?;
        if let (Some(true), Some(memory)) = (checks(asked), &update.merged.memory) {
            refuse_below_use(&cgroup, memory)?;
        }
        let changed = cgroup.change(&update.settings)?;
        let before = std::mem::replace(&mut record.resources, update.merged);
        let unit = record.cgroup.as_ref().and_then(|cgroup| cgroup.unit.as_ref());
        let told = unit.map_or(Ok(()), |unit| tell_systemd(unit, &cgroup, &update.settings));
        let saved =
            told.and_then(|()| self.change_devices(&cgroup, &asked.devices, &record, &before));
        saved.inspect_err(|_| {
            let limits = properties::of_writes(changed.before());
            let told = unit.map_or(Ok(()), |unit| systemd::set_limits(unit, limits));
            if let Err(error) = told {
                log::warn!("{}", with_causes(&error));
            }
            changed.revert();
        })
    }

    /// Writes other lines to the schemata of the container's class of service.
    ///
    /// # Errors
    /// [`Error::WrongStatus`] in runc's words where it has none, or is stopped; the kernel refuses.
    pub fn update_intel_rdt(&self, lines: &[&str]) -> Result<(), Error> {
        let _lock = self.dir.lock(LOCK_DEADLINE)?;
        let Some(rdt) = &self.record.intel_rdt else {
            let text = "updating a non-existent Intel RDT configuration is not supported";
            return Err(self.wrong_status(None, text));
        };
        if self.status()? == Status::Stopped {
            return Err(self.not_running(Status::Stopped));
        }
        intel_rdt::update(rdt, &lines.iter().map(|line| format!("{line}\n")).collect::<String>())
    }

    /// Replaces the device program, if there are new rules, and saves the state.
    fn change_devices(
        &self,
        cgroup: &Cgroup,
        rules: &[LinuxDeviceCgroup],
        record: &Record,
        before: &LinuxResources,
    ) -> Result<(), Error> {
        if rules.is_empty() {
            return self.dir.write_state(record);
        }
        replace_devices(cgroup, rules)?;
        self.dir.write_state(record).inspect_err(|_| {
            if let Err(error) = replace_devices(cgroup, &before.devices) {
                log::warn!("set the device rules back: {error}");
            }
        })
    }
}

/// systemd writes them, too, and some as another text (io): once more, exact.
fn tell_systemd(unit: &UnitRecord, cgroup: &Cgroup, settings: &[Setting]) -> Result<(), Error> {
    systemd::set_limits(unit, limits(settings))?;
    cgroup.apply(settings)
}

fn replace_devices(cgroup: &Cgroup, rules: &[LinuxDeviceCgroup]) -> Result<(), Error> {
    match device_program(rules).map_err(refused)? {
        Some(program) => cgroup.replace_devices(&program),
        None => cgroup.remove_devices(),
    }
}

fn checks(asked: &LinuxResources) -> Option<bool> {
    asked.memory.as_ref().and_then(|memory| memory.check_before_update)
}

/// `checkBeforeUpdate`, in the words of runc. Where the use cannot be read, the kernel decides.
fn refuse_below_use(cgroup: &Cgroup, memory: &LinuxMemory) -> Result<(), Error> {
    let Some(used) = cgroup.number("memory.current") else { return Ok(()) };
    let with_swap = used.saturating_add(cgroup.number("memory.swap.current").unwrap_or(0));
    for (property, name, limit, used) in [
        ("swap", "memory+swap limit", memory.swap, with_swap),
        ("limit", "memory limit", memory.limit, used),
    ] {
        if let Some(limit) = limit.filter(|limit| (1..=used).contains(limit)) {
            return Err(Error::Property {
                pointer: format!("/linux/resources/memory/{property}"),
                problem: format!("rejecting {name} {limit} <= usage {used}"),
            });
        }
    }
    Ok(())
}

fn refused(SpecError { pointer, problem }: SpecError) -> Error {
    Error::Property { pointer, problem }
}
