//! Where the container's cgroup is (runc's rules for its cgroupfs driver), what it limits, and to whom it is delegated.
//!
//! Runs in: any process.

use std::path::{Path, PathBuf};

use super::mounts::PlannedMount;
use super::resources::Setting;
use super::steps::clean;
use super::types::{CgroupPlan, Remark};
use super::words::{CLONE_NEWCGROUP, CLONE_NEWUSER};
use super::{Inputs, devices, resources, unit, user_namespace};
use crate::spec::SpecError;

const POINTER: &str = "/linux/cgroupsPath";

/// The cgroup, its device program and its limits.
pub(super) fn plan(
    inputs: &Inputs<'_>,
    mounts: &[PlannedMount<'_>],
    warnings: &mut Vec<Remark>,
) -> Result<Option<CgroupPlan>, SpecError> {
    let (rules, mut settings) = match &inputs.linux.resources {
        Some(asked) => (asked.devices.as_slice(), resources::settings(asked, warnings)?),
        None => (&[][..], Vec::new()),
    };
    if inputs.request.no_cgroup {
        let limited = settings.first().map(|setting| setting.origin.to_string());
        return match limited {
            None => {
                if !rules.is_empty() {
                    let text = "do not hold: --cgroup-manager is disabled";
                    warnings.push(Remark::new("/linux/resources/devices", text));
                }
                Ok(None)
            }
            Some(pointer) => {
                Err(SpecError::new(pointer, "needs a cgroup, and --cgroup-manager is disabled"))
            }
        };
    }
    let late = put_off(inputs, &mut settings);
    let (unit, path) = match inputs.request.systemd {
        Some(manager) => {
            unit::round_quotas(&mut settings);
            let (unit, path) = unit::plan(inputs, manager, &settings)?;
            (Some(unit), path)
        }
        None => (None, path(inputs)?),
    };
    Ok(Some(CgroupPlan {
        is_named: !inputs.linux.cgroups_path.is_empty() || unit.is_some(),
        rootless: inputs.request.rootless,
        path,
        unit,
        devices: devices::program(rules)?,
        settings,
        late,
        owner: owner(inputs, mounts),
    }))
}

/// The first stage and init are two processes for a moment: where only one is allowed, that is written after it. (Into systemd's
/// scope only init is put.)
fn put_off(inputs: &Inputs<'_>, settings: &mut [Setting]) -> Vec<Setting> {
    let mut late = Vec::new();
    if inputs.namespaces.has_two_stages() && inputs.request.systemd.is_none() {
        for setting in settings.iter_mut().filter(|it| it.file == "pids.max" && it.text == "1") {
            late.push(setting.clone());
            setting.text = "2".into();
        }
    }
    late
}

/// The user of the process may manage its part of the hierarchy where it has a cgroup namespace of its own and the
/// hierarchy is mounted writable in it (runc's rule). `None`: it is the runtime's own user, to whom all is open already.
fn owner(inputs: &Inputs<'_>, mounts: &[PlannedMount<'_>]) -> Option<u32> {
    let is_asked = inputs.namespaces.is_new(CLONE_NEWCGROUP)
        && mounts.iter().any(PlannedMount::is_writable_cgroup);
    let uid = inputs.process.user.uid;
    let on_host = if inputs.namespaces.has(CLONE_NEWUSER) {
        user_namespace::on_host(&inputs.linux.uid_mappings, uid)
    } else {
        Some(uid)
    };
    on_host.filter(|uid| is_asked && *uid != inputs.facts.euid)
}

/// Below the root of the hierarchy. An absolute `cgroupsPath` counts from there; a relative one, and without any the
/// container's id, from the parent of the runtime's own cgroup: that has processes, so that controllers could not be
/// enabled for children of it.
pub(super) fn path(inputs: &Inputs<'_>) -> Result<PathBuf, SpecError> {
    let wanted = Path::new(&inputs.linux.cgroups_path);
    let own = clean(&inputs.facts.cgroup.own);
    let beside = own.parent().unwrap_or(Path::new("/"));
    let inner = match inputs.linux.cgroups_path.as_str() {
        // An id is one component, and neither `.` nor `..`.
        "" => beside.join(&inputs.request.id),
        _ if wanted.is_absolute() => clean(wanted),
        _ => below(beside, wanted)?,
    };
    let relative = inner.strip_prefix("/").unwrap_or(&inner);
    if relative.as_os_str().is_empty() {
        return Err(SpecError::new(POINTER, "is the root cgroup, in which no container can be"));
    }
    Ok(relative.to_path_buf())
}

/// `..` of a relative path does not lead above its parent.
fn below(parent: &Path, wanted: &Path) -> Result<PathBuf, SpecError> {
    let wanted = clean(wanted);
    match wanted.strip_prefix("/") {
        Ok(inner) if !inner.as_os_str().is_empty() => Ok(parent.join(inner)),
        _ => Err(SpecError::new(POINTER, "names no cgroup of the container's own")),
    }
}
