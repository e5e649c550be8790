//! `--pid-file`: the pid in decimal, no newline, all of it or nothing.
//!
//! Runs in: runtime.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Writes `pid` to a temporary file beside `path` and renames it, as runc does, so that who watches for the file never
/// reads a part of it.
///
/// # Errors
/// The target exists and is no regular file: renaming over `/dev/full` would destroy it (seen with runc).
pub(crate) fn write(path: &Path, pid: i32) -> Result<(), Error> {
    let failed = |source| Error::State { action: "write the pid file", path: path.into(), source };
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
