//! Where the container's cgroup is (runc's rules for its cgroupfs driver), and what devices it may use.
//!
//! Runs in: any process.

use std::path::{Path, PathBuf};

use super::steps::clean;
use super::types::CgroupPlan;
use super::{Inputs, devices};
use crate::spec::SpecError;

const POINTER: &str = "/linux/cgroupsPath";

/// The cgroup and its device program.
pub(super) fn plan(inputs: &Inputs<'_>) -> Result<CgroupPlan, SpecError> {
    let rules = inputs.linux.resources.as_ref().map_or(&[][..], |resources| &resources.devices);
    Ok(CgroupPlan { path: path(inputs)?, devices: devices::program(rules)? })
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
