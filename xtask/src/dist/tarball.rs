//! The tarball: `tar -C /usr/local --strip-components=1 -xf corten-VERSION-linux-MACHINE.tar.gz`.
//!
//! Runs in: any process.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::release::Release;
use super::tree::Tree;
use super::{fresh, set_times};
use crate::machine::succeed;

/// The same bytes from the same files (<https://reproducible-builds.org/docs/archives/>).
pub fn write(release: &Release, tree: &Tree, out: &Path) -> Result<PathBuf> {
    let name = format!("corten-{}-linux-{}", release.version, release.machine());
    let stage = out.join("stage/tarball");
    fresh(&stage)?;
    tree.write(&stage.join(&name))?;
    set_times(&stage, release)?;
    let path = out.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--sort=name",
        "--format=ustar",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
    ]);
    tar.args(["--use-compress-program", "gzip --best --no-name", "--file"]).arg(&path);
    succeed(
        tar.arg("--directory").arg(&stage).arg(&name).env("LC_ALL", "C").env_remove("TAR_OPTIONS"),
    )?;
    Ok(path)
}
