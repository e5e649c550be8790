//! What a caller without root's rights cannot do with cgroups, and when that is let be.
//!
//! runc's rules for its "rootless" cgroup manager (opencontainers/cgroups, fs2.go): no cgroup, where nothing asks for one; and
//! no device rules, ever.
//!
//! Runs in: runtime.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags};

use crate::error::{Error, with_causes};
use crate::host;
use crate::plan::CgroupPlan;

/// What mends it.
const DELEGATION: &str = "the cgroup is not delegated to this user: run below the user's systemd (systemd-run --user --scope -p \
     Delegate=yes COMMAND), have it make the cgroup (--systemd-cgroup), or have root delegate one (cgroups(7), \"Delegation\")";

/// Lets the error be that keeps a cgroup from being made, if nothing asks for one; else says what to mend.
///
/// # Errors
/// The same error, or one that says more.
pub(crate) fn done_without(plan: &CgroupPlan, error: Error) -> Result<(), Error> {
    if !is_refused(&error) || !is_rootless(plan) {
        return Err(error);
    }
    if plan.is_optional() {
        log::debug!("no cgroup of its own: {}", with_causes(&error));
        return Ok(());
    }
    Err(match plan.settings.first() {
        // The words of runc, which its tests look for.
        Some(setting) if !plan.is_named => Error::Unsupported {
            pointer: setting.origin.to_string(),
            feature: format!(
                "rootless needs no limits + no cgrouppath when no permission is granted for cgroups: {}: {DELEGATION}",
                with_causes(&error)
            ),
        },
        _ => Error::Unsupported {
            pointer: "/linux/cgroupsPath".into(),
            feature: format!(
                "unable to apply cgroup configuration: {}: {DELEGATION}",
                with_causes(&error)
            ),
        },
    })
}

/// Whether this process may have one of its own go into the cgroup `path`: who moves must be able to write to `cgroup.procs` of
/// the one that both are below (cgroups(7), "Delegation containment").
///
/// # Errors
/// What procfs says.
pub(crate) fn may_enter(mount_point: &Path, path: &Path) -> Result<bool, Error> {
    let own = host::cgroup_of("/proc/self/cgroup")?;
    let own = own.strip_prefix("/").unwrap_or(&own);
    let common = own.iter().zip(path.iter()).take_while(|(own, other)| own == other);
    let common: PathBuf = common.map(|(name, _)| name).collect();
    let file = mount_point.join(common).join("cgroup.procs");
    let access = (Access::WRITE_OK, AtFlags::EACCESS);
    Ok(rustix::fs::accessat(rustix::fs::CWD, file, access.0, access.1).is_ok())
}

/// bpf(2) is root's. In a user namespace no device can be made, and the host's are not opened by who could not open them before
/// (runc's canSkipEBPFError).
///
/// # Errors
/// Any other.
pub(super) fn without_devices(plan: &CgroupPlan, attached: Result<(), Error>) -> Result<(), Error> {
    match attached {
        Err(error) if is_refused(&error) && is_rootless(plan) => {
            log::debug!("no device rules: {}", with_causes(&error));
            Ok(())
        }
        attached => attached,
    }
}

fn is_rootless(plan: &CgroupPlan) -> bool {
    plan.rootless.unwrap_or_else(host::is_rootless)
}

fn is_refused(error: &Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, Unsupported};
    let Error::Cgroup { source, .. } = error else { return false };
    matches!(source.kind(), PermissionDenied | ReadOnlyFilesystem | Unsupported)
}
