//! `--pid-file`: the pid in decimal, no newline, all of it or nothing.
//!
//! Runs in: runtime.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::error::Error;

/// Writes `pid` to a file without a name and gives it one, so that who watches for the file never reads a part of it, and
/// a runtime that is killed meanwhile leaves nothing. A file that is there is replaced as runc does it: by renaming a
/// temporary one beside it.
///
/// # Errors
/// The target exists and is no regular file: renaming over `/dev/full` would destroy it (seen with runc).
pub(crate) fn write(path: &Path, pid: i32) -> Result<(), Error> {
    let failed = |source| Error::State { action: "write the pid file", path: path.into(), source };
    if write_unnamed(path, pid).is_ok() {
        return Ok(());
    }
    if std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(failed(io::Error::other("it exists and is not a regular file")));
    }
    let temporary =
        temporary_beside(path).ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let written = write_new(&temporary, pid).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|source| {
        // The cause is what the caller must hear of; a temporary file that is left is found by its name.
        std::fs::remove_file(&temporary).unwrap_or_default();
        failed(source)
    })
}

/// Fails where there is such a file, and on file systems without `O_TMPFILE`.
fn write_unnamed(path: &Path, pid: i32) -> io::Result<()> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    let mut file = File::from(rustix::fs::open(above.unwrap_or(Path::new(".")), flags, mode)?);
    file.write_all(pid.to_string().as_bytes())?;
    // By procfs, for which `AT_EMPTY_PATH` would need CAP_DAC_READ_SEARCH (`open(2)`).
    let unnamed = format!("/proc/thread-self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(CWD, unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

fn write_new(path: &Path, pid: i32) -> io::Result<()> {
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    file.write_all(pid.to_string().as_bytes())
}

fn temporary_beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    Some(path.with_file_name(hidden))
}
