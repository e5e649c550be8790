//! A procfs that no image and no mount of the container has a part in (CVE-2019-16884, CVE-2025-52881).
//!
//! Runs in: init.

use core::ffi::CStr;

use corten_plan::Stage;

use crate::report::{At, Failed};
use crate::sys::abi::RESOLVE_NO_XDEV;
use crate::sys::{Fd, FdRef, mount};
use crate::target;

/// A procfs of our pid namespace that is attached nowhere; `subset`: `pid` for one without `/proc/sys` and all else that is no
/// process.
///
/// # Errors
/// See [`Stage`].
pub fn mount(subset: Option<&CStr>) -> Result<Fd, Failed> {
    let context = mount::fsopen(c"proc").at(Stage::FsOpen)?;
    if subset.is_some() {
        mount::fsconfig_set(context.get(), c"subset", subset).at(Stage::Option)?;
    }
    mount::fsconfig_create(context.get()).at(Stage::FsCreate)?;
    mount::fsmount(context.get(), 0).at(Stage::FsMount)
}

/// Opens a file in it; `more`: `RESOLVE_NO_SYMLINKS`, or nothing for paths that begin with `thread-self`, a link of the kernel's.
///
/// # Errors
/// Those of openat2(2), at [`Stage::Open`].
pub fn open(procfs: FdRef<'_>, path: &CStr, flags: u32, more: u64) -> Result<Fd, Failed> {
    target::open(procfs, path, flags, RESOLVE_NO_XDEV | more).at(Stage::Open)
}
