//! What the kernel says of an init that is ready, where init could not look itself: behind a system call filter that was loaded
//! before its credentials were set it makes only calls that runc makes there too.
//!
//! Runs in: runtime.

use corten_plan::{Op, Point};

use crate::error::Error;
use crate::plan::InitPlan;

const READY: Op<'static> = Op::Sync { point: Point::Ready as u8 };
/// `SECCOMP_MODE_FILTER`.
const SECCOMP_MODE_FILTER: &str = "2";

/// Compares `/proc/PID/status` with what the plan has asked for, if that has loaded a filter already.
///
/// # Errors
/// [`Error::Property`]: the kernel has something else.
pub(super) fn check(pid: i32, plan: &InitPlan) -> Result<(), Error> {
    let mut ops = plan.ops().map(|(_, op)| op);
    let mut before_ready = ops.by_ref().take_while(|op| *op != READY);
    if !before_ready.any(|op| matches!(op, Op::Seccomp { .. })) {
        return Ok(());
    }
    let path = format!("/proc/{pid}/status");
    let status = crate::host::read_file(&path)?;
    let status = String::from_utf8_lossy(&status);
    match difference(&status, plan) {
        None => Ok(()),
        Some((pointer, field)) => Err(Error::Property {
            pointer: pointer.into(),
            problem: format!("read back what was set: {path} has another {field}"),
        }),
    }
}

/// The first property that is not in force, and the field that says so.
fn difference(status: &str, plan: &InitPlan) -> Option<(&'static str, &'static str)> {
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
                let ids = |id: u32| {
                    [id.to_string(), id.to_string(), id.to_string(), id.to_string()].join("\t")
                };
                let listed =
                    |id: u32| field("Groups").split(' ').any(|group| group == id.to_string());
                let checks = [
                    (field("Uid") == ids(uid), "/process/user/uid", "Uid"),
                    (field("Gid") == ids(gid), "/process/user/gid", "Gid"),
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
