//! Labels of Linux security modules, which execve takes over: written to this process's attributes, and read back.
//!
//! Runs in: init.

use core::ffi::CStr;

use corten_plan::Stage;

use crate::namespaces::write_all;
use crate::path::Path;
use crate::procfs;
use crate::report::{At, Done, Failed};
use crate::run::Init;
use crate::sys::abi::O_RDWR;
use crate::sys::{Errno, Fd, fs};
use crate::target;

/// Profiles and contexts have at most this many bytes: the kernel takes a page, in one write.
const LENGTH: usize = 4096;

/// [`corten_plan::Op::AppArmor`].
///
/// # Errors
/// See [`Stage`]. EACCES of the write: the profile that we are confined by does not allow the change; ENOENT: it is not loaded.
pub fn apparmor(init: &Init, profile: &CStr) -> Done {
    // The second is where kernels without a directory for each module have it.
    let file = open(init, c"thread-self/attr/apparmor/exec").or_else(|failed| match failed {
        Failed { stage: Stage::Open, errno: Errno::ENOENT, .. } => {
            open(init, c"thread-self/attr/exec")
        }
        failed => Err(failed),
    })?;
    let command = Path::<LENGTH>::from_parts(&[b"exec ", profile.to_bytes()]).at(Stage::Write)?;
    write_label(&file, command.bytes())
}

/// [`corten_plan::Op::SelinuxExec`].
///
/// # Errors
/// See [`Stage`].
pub fn selinux_exec(init: &Init, label: &CStr) -> Done {
    write_label(&open(init, c"thread-self/attr/exec")?, label.to_bytes())
}

/// [`corten_plan::Op::SelinuxKeys`].
///
/// # Errors
/// See [`Stage`].
pub fn selinux_keys(init: &Init, label: &CStr) -> Done {
    write_label(&open(init, c"thread-self/attr/keycreate")?, label.to_bytes())
}

/// [`corten_plan::Op::SelinuxFile`].
///
/// # Errors
/// [`Stage::Target`], [`Stage::Write`].
pub fn selinux_file(init: &Init, path: &CStr, label: &CStr) -> Done {
    let file = target::open(init.root()?, path, 0, 0).at(Stage::Target)?;
    fs::set_attribute(file.get(), c"security.selinux", label.to_bytes_with_nul()).at(Stage::Write)
}

/// That of sysctls, where there is one: else one that shows processes only.
fn open(init: &Init, path: &CStr) -> Result<Fd, Failed> {
    let made;
    let procfs = match &init.procfs {
        Some(procfs) => procfs,
        None => {
            made = procfs::mount(Some(c"pid"))?;
            &made
        }
    };
    procfs::open(procfs.get(), path, O_RDWR, 0)
}

/// The kernel gives a label back in its own words (with the mode of a profile, say): that there is one is what is looked at.
fn write_label(file: &Fd, text: &[u8]) -> Done {
    write_all(file.get(), text)?;
    let mut buffer = [0; LENGTH];
    let label = fs::read_at(file.get(), &mut buffer, 0).at(Stage::ReadBack)?;
    if label.is_empty() { Err(Failed::new(Stage::ReadBack, Errno::ENOENT)) } else { Ok(()) }
}
