//! How the host looks while a workload is measured.
//!
//! Runs in: any process.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::scene::Scene;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// As it is.
    Plain,
    /// So many mounts in all.
    Mounts(usize),
    /// So many cgroups more.
    Cgroups(usize),
}

impl Setting {
    pub fn make(self, scene: &Scene) -> Result<()> {
        match self {
            Self::Plain => Ok(()),
            Self::Mounts(count) => mounts(&scene.directory.join("mounts"), count),
            Self::Cgroups(count) => cgroups(&scene.cgroup().join("many"), count),
        }
    }

    /// The cgroups go with [`Scene::sweep`].
    pub fn unmake(self, scene: &Scene) -> Result<()> {
        if let Self::Mounts(_) = self {
            let top = scene.directory.join("mounts");
            // The binds below go with it.
            umount2(&top, MntFlags::MNT_DETACH)?;
            fs::remove_dir(top)?;
        }
        Ok(())
    }
}

/// A tmpfs and binds of it below it, until the mount namespace has `count` mounts. They are in the bench's own mount namespace.
fn mounts(top: &Path, count: usize) -> Result<()> {
    fs::create_dir(top)?;
    mount(Some("many"), top, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    let there = fs::read_to_string("/proc/self/mountinfo")?.lines().count();
    let source = top.join("source");
    fs::create_dir(&source)?;
    for index in there..count {
        let target = top.join(index.to_string());
        fs::create_dir(&target)?;
        mount(Some(&source), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .with_context(|| format!("mount {index} of {count}"))?;
    }
    Ok(())
}

fn cgroups(top: &Path, count: usize) -> Result<()> {
    fs::create_dir(top)?;
    for index in 1..count {
        fs::create_dir(top.join(index.to_string())).context("one more cgroup")?;
    }
    Ok(())
}
