//! What a test puts on the host for containers to use, or to leave alone: mounts that end with the test, a directory.
//!
//! Runs in: any process.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::Value;

use crate::bundle::Bundle;
use crate::harness::{TestResult, ensure_eq};
use crate::inside::nothing_left;
use crate::runtime::{Outcome, Runtime};

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

    /// `source` at `path`, which is made.
    pub fn bind(source: &Path, path: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        mount(Some(source), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        Ok(Self { path })
    }

    /// A read-only overlay of these directories at `path`, which is made.
    pub fn overlay(layers: &[&Path], path: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        let layers: Vec<_> = layers.iter().map(|layer| layer.to_string_lossy()).collect();
        let options = format!("lowerdir={}", layers.join(":"));
        let options = Some(options.as_str());
        mount(Some("overlay"), &path, Some("overlay"), MsFlags::empty(), options)?;
        Ok(Self { path })
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

/// A directory of the host that no container of the test may change.
#[derive(Debug)]
pub struct Outside {
    pub path: PathBuf,
}

impl Outside {
    pub fn new(runtime: &Runtime) -> std::io::Result<Self> {
        let path = runtime.directory().join("outside");
        fs::create_dir(&path)?;
        fs::write(path.join("file"), "of the host")?;
        fs::set_permissions(path.join("file"), fs::Permissions::from_mode(0o600))?;
        symlink("nowhere", path.join("ptmx"))?;
        Ok(Self { path })
    }

    /// As many `..` as reach the host's root from anywhere, then this directory.
    pub fn by_dotdot(&self) -> PathBuf {
        Path::new(&"../".repeat(40)).join(self.path.strip_prefix("/").unwrap_or(&self.path))
    }

    pub fn check(&self) -> TestResult {
        let mut names: Vec<_> = fs::read_dir(&self.path)?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        ensure_eq!(names, ["file", "ptmx"]);
        ensure_eq!(fs::read_to_string(self.path.join("file"))?, "of the host");
        ensure_eq!(fs::metadata(self.path.join("file"))?.permissions().mode() & 0o7777, 0o600);
        ensure_eq!(fs::read_link(self.path.join("ptmx"))?, Path::new("nowhere"));
        Ok(())
    }

    /// Runs the bundle once with the symlink at `link` absolute, once as `..`; it must not have changed anything here.
    pub fn attack(
        &self,
        runtime: &Runtime,
        make: impl Fn(&Path) -> Result<Bundle, Failed>,
    ) -> Result<Vec<Outcome>, Failed> {
        let mut outcomes = Vec::new();
        for target in [self.path.clone(), self.by_dotdot()] {
            let bundle = make(&target)?;
            outcomes.push(runtime.run(&bundle)?);
            self.check()?;
            nothing_left(runtime)?;
        }
        Ok(outcomes)
    }
}

/// A bundle whose image has `link` as a symlink to `target`; what is there is removed.
pub fn with_link(
    runtime: &Runtime,
    arguments: &[&str],
    (link, target): (&str, &Path),
    change: impl FnOnce(&mut Value),
) -> Result<Bundle, Failed> {
    let bundle = runtime.bundle_with(arguments, change)?;
    let link = bundle.in_rootfs(link);
    if link.is_dir() {
        fs::remove_dir(&link)?;
    }
    fs::remove_file(&link).ok();
    symlink(target, link)?;
    Ok(bundle)
}
