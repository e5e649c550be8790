//! What the kernel says of an init that is ready, where init could not look itself: behind a system call filter that was loaded
//! before its credentials were set it makes only calls that runc makes there too.
//!
//! Runs in: runtime.

use corten_plan::Op;

use crate::error::Error;
use crate::plan::{IdMaps, InitPlan, on_host};
use crate::runtime::user_namespace;

/// `SECCOMP_MODE_FILTER`.
const SECCOMP_MODE_FILTER: &str = "2";

/// Compares `/proc/PID/status` with what the plan has asked for, if init could not.
///
/// # Errors
/// [`Error::Property`]: the kernel has something else.
pub(super) fn check(pid: i32, plan: &InitPlan) -> Result<(), Error> {
    let may_not = |op| matches!(op, Op::Credentials { reads_back: false, .. });
    if !plan.ops().any(|(_, op)| may_not(op)) {
        return Ok(());
    }
    let path = format!("/proc/{pid}/status");
    let status = crate::host::read_file(&path)?;
    let status = String::from_utf8_lossy(&status);
    // The kernel tells everybody the ids of his own user namespace.
    let is_mapped = plan.ops().any(|(_, op)| matches!(op, Op::MappedIds { .. }));
    let maps = is_mapped.then(|| user_namespace::maps_of(pid)).transpose()?;
    match difference(&status, plan, maps.as_ref()) {
        None => Ok(()),
        Some((pointer, field)) => Err(Error::Property {
            pointer: pointer.into(),
            problem: format!("read back what was set: {path} has another {field}"),
        }),
    }
}

/// The first property that is not in force, and the field that says so.
fn difference(
    status: &str,
    plan: &InitPlan,
    maps: Option<&IdMaps>,
) -> Option<(&'static str, &'static str)> {
    let uid_here = |id| maps.map_or(Some(id), |maps| on_host(&maps.uids, id));
    let gid_here = |id| maps.map_or(Some(id), |maps| on_host(&maps.gids, id));
    let field = |name: &str| {
        let mut lines = status.lines().filter_map(|line| line.split_once(":\t"));
        lines.find(|(field, _)| *field == name).map_or("", |(_, value)| value.trim())
    };
    if field("Seccomp") != SECCOMP_MODE_FILTER {
        return Some(("/linux/seccomp", "Seccomp"));
    }
    let mut must_forbid = false;
    for (_, op) in plan.ops() {
        match op {
            Op::NoNewPrivileges => must_forbid = true,
            Op::Credentials {
                uid,
                gid,
                groups,
                bounding,
                effective,
                permitted,
                inheritable,
                ..
            } => {
                let set = |name| u64::from_str_radix(field(name), 16).unwrap_or(u64::MAX);
                let are = |name, id: Option<u32>| {
                    let mut ids = field(name).split('\t').map(|it| it.parse().ok());
                    id.is_some() && ids.all(|it| it == id)
                };
                let listed = |id: u32| {
                    let id = gid_here(id);
                    field("Groups").split(' ').any(|group| id.is_some() && group.parse().ok() == id)
                };
                let checks = [
                    (are("Uid", uid_here(uid)), "/process/user/uid", "Uid"),
                    (are("Gid", gid_here(gid)), "/process/user/gid", "Gid"),
                    (
                        groups.is_none_or(|groups| groups.iter().all(listed)),
                        "/process/user/additionalGids",
                        "Groups",
                    ),
                    // What the runtime has not itself cannot be dropped.
                    (set("CapBnd") & !bounding == 0, "/process/capabilities/bounding", "CapBnd"),
                    (set("CapEff") == effective, "/process/capabilities/effective", "CapEff"),
                    (set("CapPrm") == permitted, "/process/capabilities/permitted", "CapPrm"),
                    (set("CapInh") == inheritable, "/process/capabilities/inheritable", "CapInh"),
                ];
                let wrong = checks.into_iter().find(|(is_right, ..)| !is_right);
                if let Some((_, pointer, field)) = wrong {
                    return Some((pointer, field));
                }
            }
            _ => {}
        }
    }
    (must_forbid && field("NoNewPrivs") != "1")
        .then_some(("/process/noNewPrivileges", "NoNewPrivs"))
}
