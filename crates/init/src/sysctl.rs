//! Kernel parameters, through a procfs that no image and no mount of the container has a part in (CVE-2025-52881).
//!
//! Runs in: init.

use core::ffi::CStr;

use corten_plan::Stage;

use crate::namespaces::write_all;
use crate::path::Path;
use crate::report::{At, Done, Failed};
use crate::run::Init;
use crate::sys::abi::{O_WRONLY, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV};
use crate::sys::{Fd, mount};
use crate::target;

/// The longest name of a parameter, with some to spare: network devices and their parts have at most 16 bytes each.
const LENGTH: usize = 256;

/// [`corten_plan::Op::Sysctl`].
///
/// # Errors
/// See [`Stage`].
pub fn set(init: &mut Init, path: &CStr, value: &CStr) -> Done {
    let procfs = match init.procfs.take() {
        Some(procfs) => procfs,
        None => private_procfs()?,
    };
    let path = Path::<LENGTH>::from_parts(&[b"sys/", path.to_bytes()]).at(Stage::Open)?;
    let resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
    let file = target::open(procfs.get(), path.as_c_str(), O_WRONLY, resolve).at(Stage::Open)?;
    write_all(file.get(), value.to_bytes())?;
    init.procfs = Some(procfs);
    Ok(())
}

/// A procfs of our pid namespace that is attached nowhere.
fn private_procfs() -> Result<Fd, Failed> {
    let context = mount::fsopen(c"proc").at(Stage::FsOpen)?;
    mount::fsconfig_create(context.get()).at(Stage::FsCreate)?;
    mount::fsmount(context.get(), 0).at(Stage::FsMount)
}
