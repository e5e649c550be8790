//! `/mounts`.
//!
//! Runs in: any process.

use super::{Check, check_count, fail, id_mappings};
use crate::spec::limits::MAX_STEPS;
use crate::spec::{Mount, SpecError};

pub(super) fn check(mounts: &[Mount], warnings: &mut Vec<SpecError>) -> Check {
    check_count("/mounts", mounts.len(), MAX_STEPS)?;
    for (index, mount) in mounts.iter().enumerate() {
        let pointer = format!("/mounts/{index}");
        check_destination(&format!("{pointer}/destination"), &mount.destination, warnings)?;
        check_mappings(&pointer, mount)?;
    }
    Ok(())
}

/// A relative path counts from `/`, for old configurations (config.md); runc says so in the log.
fn check_destination(pointer: &str, destination: &str, warnings: &mut Vec<SpecError>) -> Check {
    if destination.is_empty() {
        return fail(pointer, "is empty");
    }
    if !destination.starts_with('/') {
        let problem = format!("{destination:?} is relative, which is deprecated; it counts from /");
        warnings.push(SpecError::new(pointer, problem));
    }
    Ok(())
}

fn check_mappings(pointer: &str, mount: &Mount) -> Check {
    for (property, mappings, other, other_mappings) in [
        ("uidMappings", &mount.uid_mappings, "gidMappings", &mount.gid_mappings),
        ("gidMappings", &mount.gid_mappings, "uidMappings", &mount.uid_mappings),
    ] {
        if !mappings.is_empty() && other_mappings.is_empty() {
            return fail(format!("{pointer}/{property}"), format!("is given without {other}"));
        }
        id_mappings::check(mappings, &format!("{pointer}/{property}"))?;
    }
    Ok(())
}
