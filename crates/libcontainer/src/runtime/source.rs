//! What is mounted into a container whose root, on the host, may not search the directories that lead there.
//!
//! It is opened from outside, but in init's own mount namespace and below init's own root: it is the file that init would have
//! found, on a mount whose flags are locked for the container (mount_namespaces(7)). No path is taken for one of another
//! namespace.
//!
//! Runs in: runtime.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use corten_plan::op::mount_flags::SOURCE_NOFOLLOW;
use corten_plan::{Failure, Op, Stage};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::error::Error;
use crate::plan::{InitPlan, describe};

/// `PROC_SUPER_MAGIC` of `<linux/magic.h>`.
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// Opens what the op of this index has on the host, for init with this pid.
///
/// # Errors
/// As an error of that op.
pub(crate) fn open(plan: &InitPlan, op: u16, init: i32) -> Result<OwnedFd, Error> {
    let mut follow = OFlags::empty();
    let path = match plan.ops().nth(op.into()) {
        Some((_, Op::MountBind { source, flags, .. })) => {
            follow.set(OFlags::NOFOLLOW, flags & SOURCE_NOFOLLOW != 0);
            source.to_owned()
        }
        Some((_, Op::Rootfs { path })) => path.to_owned(),
        _ => {
            let call = "receive from init: an op that has no source".into();
            return Err(Error::Os { call, source: Errno::PROTO.into() });
        }
    };
    open_below(init, &path, follow).map_err(|errno| {
        let errno = errno.raw_os_error();
        let failure = Failure { op, stage: Stage::Source, item: 0, errno, detail: b"" };
        Error::Init(Box::new(describe::init_error(plan, &failure)))
    })
}

fn open_below(init: i32, path: &CStr, follow: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, format!("/proc/{init}/root"), flags, Mode::empty())?;
    // Links like /proc/self/fd/3 would be ours, and not init's.
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let opened = openat2(&root, path, flags | follow, Mode::empty(), resolve)?;
    // As would /proc/self itself.
    let kind = u64::try_from(rustix::fs::fstatfs(&opened)?.f_type).unwrap_or_default();
    if kind == PROC_SUPER_MAGIC { Err(Errno::ACCESS) } else { Ok(opened) }
}
