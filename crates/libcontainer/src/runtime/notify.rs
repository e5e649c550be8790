//! The socket by which the container's service says that it is ready (sd_notify(3)): its directory and how the container
//! finds it. Who binds the socket there, and reads from it, is the caller: see [`crate::CreateOptions::notify`].
//!
//! The directory is mounted and not the socket, for the socket is made anew by whoever starts the container.
//!
//! Runs in: runtime.

use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use crate::error::Error;
use crate::spec::{Bundle, Mount};
use crate::state::StateDir;

const DIRECTORY: &str = "notify";
/// runc's, as is the name of the socket.
const IN_CONTAINER: &str = "/run/notify";

/// Adds the mount and the variable to what config.json says.
pub(crate) fn add(bundle: &mut Bundle, state: &Path) {
    bundle.spec.mounts.push(Mount {
        destination: IN_CONTAINER.into(),
        source: socket_directory(state).display().to_string(),
        options: ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec(),
        ..Mount::default()
    });
    if let Some(process) = &mut bundle.spec.process {
        process.env.push(format!("NOTIFY_SOCKET={IN_CONTAINER}/notify.sock"));
    }
}

/// Makes the directory. Everybody may enter it, for the container's processes are whoever they are.
pub(crate) fn make(dir: &StateDir) -> Result<(), Error> {
    let mode = Mode::from_raw_mode(0o755);
    // As mkdir(2) alone would leave out what the umask has.
    rustix::fs::mkdirat(dir.fd(), DIRECTORY, mode)
        .and_then(|()| rustix::fs::chmodat(dir.fd(), DIRECTORY, mode, rustix::fs::AtFlags::empty()))
        .map_err(|errno| Error::State {
            action: "make",
            path: socket_directory(dir.path()),
            source: errno.into(),
        })
}

fn socket_directory(state: &Path) -> PathBuf {
    state.join(DIRECTORY)
}
