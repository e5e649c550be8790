//! What a test puts on the host for containers to use: mounts that end with the test.
//!
//! Runs in: any process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A mount in the harness's mount namespace, gone with the value.
#[derive(Debug)]
pub struct HostMount {
    path: PathBuf,
}

impl HostMount {
    /// A tmpfs at `path`, which is made; `flags` are those of the mount, not of the file system.
    pub fn tmpfs(path: PathBuf, flags: MsFlags) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
        let mounted = Self { path };
        if !flags.is_empty() {
            mounted.change(MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags)?;
        }
        Ok(mounted)
    }

    /// Makes `path` a mount of its own, so that it can have a propagation of its own.
    pub fn on_itself(path: PathBuf) -> io::Result<Self> {
        mount(Some(&path), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        Ok(Self { path })
    }

    /// A later mount(2) on it: flags of a remount, or a propagation.
    pub fn change(&self, flags: MsFlags) -> io::Result<()> {
        Ok(mount(None::<&str>, &self.path, None::<&str>, flags, None::<&str>)?)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        // What is left is found by its name.
        umount2(&self.path, MntFlags::MNT_DETACH).ok();
    }
}
