//! config.json from disk.
//!
//! Runs in: runtime.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::SpecError;
use super::limits::MAX_CONFIG_SIZE;

/// The content of the file, which is read once.
pub(super) fn file(path: &Path) -> Result<Vec<u8>, SpecError> {
    let mut file = open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            whole(format!("JSON specification file {} not found", path.display()))
        }
        _ => whole(format!("cannot be opened: {error}")),
    })?;
    let metadata = file.metadata().map_err(|error| whole(format!("cannot be read: {error}")))?;
    if !metadata.is_file() {
        return Err(whole("is not a regular file".to_owned()));
    }
    let size = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if size > MAX_CONFIG_SIZE {
        return Err(too_large());
    }
    let text = read(&mut file, size).map_err(|error| whole(format!("cannot be read: {error}")))?;
    if text.len() > MAX_CONFIG_SIZE { Err(too_large()) } else { Ok(text) }
}

/// A FIFO or device does not hold us up: `O_NONBLOCK`; a terminal does not become ours: `O_NOCTTY`.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// Reads to the end, at most a byte beyond the limit. `size` is what the file said before; it may grow meanwhile. A read of a
/// regular file that returns less than was asked for is the last one.
fn read(file: &mut File, size: usize) -> io::Result<Vec<u8>> {
    let mut text = vec![0; size + 1];
    let mut filled = 0;
    loop {
        let place = text.get_mut(filled..).unwrap_or_default();
        let asked = place.len();
        let count = file.read(place)?;
        filled += count;
        if count < asked || filled > MAX_CONFIG_SIZE {
            text.truncate(filled);
            return Ok(text);
        }
        text.resize((filled * 2).min(MAX_CONFIG_SIZE + 1), 0);
    }
}

fn too_large() -> SpecError {
    whole(format!("is larger than {} MiB", MAX_CONFIG_SIZE >> 20))
}

fn whole(problem: String) -> SpecError {
    SpecError::new("", problem)
}
