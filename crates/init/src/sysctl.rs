//! Kernel parameters, through a private procfs.
//!
//! Runs in: init.

use core::ffi::CStr;

use corten_plan::Stage;

use crate::namespaces::write_all;
use crate::path::Path;
use crate::procfs;
use crate::report::{At, Done};
use crate::run::Init;
use crate::sys::abi::{O_WRONLY, RESOLVE_NO_SYMLINKS};

/// The longest name of a parameter, with some to spare: network devices and their parts have at most 16 bytes each.
const LENGTH: usize = 256;

/// [`corten_plan::Op::Sysctl`].
///
/// # Errors
/// See [`Stage`].
pub fn set(init: &mut Init, path: &CStr, value: &CStr) -> Done {
    let procfs = match init.procfs.take() {
        Some(procfs) => procfs,
        None => procfs::mount(None)?,
    };
    let path = Path::<LENGTH>::from_parts(&[b"sys/", path.to_bytes()]).at(Stage::Open)?;
    let file = procfs::open(procfs.get(), path.as_c_str(), O_WRONLY, RESOLVE_NO_SYMLINKS)?;
    write_all(file.get(), value.to_bytes())?;
    init.procfs = Some(procfs);
    Ok(())
}
