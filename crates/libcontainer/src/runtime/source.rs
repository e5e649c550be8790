//! Sources of bind mounts that init, in its user namespace, may not reach: opened here, in init's mount namespace and in
//! mount order, so that the path means what it means to init.
//!
//! Runs in: runtime.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use corten_plan::op::mount_flags::{RECURSIVE, SOURCE_NOFOLLOW};
use corten_plan::{Failure, Op, Stage};

use crate::error::Error;
use crate::plan::{InitPlan, describe};
use crate::sys;

/// A detached clone of the source that the op of this index wants.
///
/// # Errors
/// Those of the kernel, as an error of that op; [`io::ErrorKind::InvalidData`] where it wants none.
pub(crate) fn open(plan: &InitPlan, op: u16, init: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    let Some((_, Op::MountBind { source, flags, .. })) = plan.ops().nth(op.into()) else {
        return Err(Error::Os {
            call: "receive from init: a mount that wants no source".into(),
            source: io::ErrorKind::InvalidData.into(),
        });
    };
    let recursive = if flags & RECURSIVE != 0 { libc::AT_RECURSIVE } else { 0 };
    let nofollow = if flags & SOURCE_NOFOLLOW != 0 { libc::AT_SYMLINK_NOFOLLOW } else { 0 };
    let cloned = sys::mount_source::clone_in(init, source, (recursive | nofollow).cast_unsigned());
    cloned.map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        // As init has it: the call resolves a path and clones a mount, and these are from the second.
        let cloning = matches!(errno, libc::EINVAL | libc::EPERM);
        let stage = if cloning { Stage::Clone } else { Stage::Source };
        let failure = Failure { op, stage, item: 0, errno, detail: b"" };
        Error::Init(Box::new(describe::init_error(plan, &failure)))
    })
}
