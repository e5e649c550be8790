//! Paths that somebody exchanges, again and again, while a container is made: another container that shares a volume.
//!
//! Runs in: any process.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::attack::{Attack, Exchange, attacks, in_own_mounts};
use crate::bundle::Bundle;
use crate::harness::{TestResult, ensure};
use crate::host::Need::Root;
use crate::inside::bind;
use crate::outside::Outside;

attacks! {
    mount_on_an_exchanged_directory_stays_inside: [Root],
    target_made_in_an_exchanged_directory_stays_inside: [Root],
}

/// A volume with a directory `a` and a symlink `link` to a directory of the host, for [`Exchange`].
struct Volume {
    path: PathBuf,
}

impl Volume {
    fn new(attack: &Attack<'_>, to: &Path) -> Result<Self, Failed> {
        let path = attack.runtime.directory().join("volume");
        fs::create_dir_all(path.join("a"))?;
        let relative = Path::new(&"../".repeat(40)).join(to.strip_prefix("/")?);
        symlink(relative, path.join("link"))?;
        Ok(Self { path })
    }

    fn exchanging(&self) -> Result<Exchange, Failed> {
        Exchange::of(self.path.join("a"), self.path.join("link"))
    }

    /// Where a root file system of the test's own has it, in the mount namespace of the caller.
    fn in_rootfs(&self, bundle: &Bundle) -> Result<PathBuf, Failed> {
        let path = bundle.in_rootfs("v");
        fs::create_dir_all(&path)?;
        bind_mount(&self.path, &path)?;
        Ok(path)
    }
}

fn bind_mount(from: &Path, to: &Path) -> Result<(), Failed> {
    Ok(mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}

/// What looks safe: the path, resolved, is below `root`.
fn looks_inside(path: &Path, root: &Path) -> bool {
    fs::canonicalize(path).is_ok_and(|resolved| resolved.starts_with(root))
}

/// T-06, CVE-2021-30465, CVE-2019-18837: between the look at the target and the mount, the target becomes a symlink.
fn mount_on_an_exchanged_directory_stays_inside(attack: &Attack<'_>) -> TestResult {
    let outside = attack.runtime.directory().join("outside");
    let loot = attack.runtime.directory().join("loot");
    fs::create_dir_all(outside.join("b"))?;
    fs::create_dir(&loot)?;
    fs::write(loot.join("planted"), "")?;
    let volume = Volume::new(attack, &outside)?;
    fs::create_dir(volume.path.join("a/b"))?;

    let checked = attack.runtime.bundle(&["true"])?;
    let exchange = volume.exchanging()?;
    in_own_mounts(|| {
        let target = volume.in_rootfs(&checked)?.join("a/b");
        attack.control_race("mount(2) by a path that was checked", || {
            if !looks_inside(&target, checked.path()) || bind_mount(&loot, &target).is_err() {
                return Ok(false);
            }
            let reached = outside.join("b/planted").exists();
            umount2(&target, MntFlags::MNT_DETACH).ok();
            Ok(reached)
        })
    })?;
    // Sources are opened in the order of the mounts: the last shows what the one before it has done to the host's directory.
    let bundle = attack.runtime.bundle_with(&["ls", "/probe"], |config| {
        bind(config, "/v", &volume.path, &["bind"]);
        bind(config, "/v/a/b", &loot, &["bind"]);
        bind(config, "/probe", outside.join("b"), &["bind"]);
    })?;
    attack.race(|| {
        for outcome in attack.runs(&bundle)? {
            attack.attempt(&outcome.to_string(), !outcome.stdout.contains("planted"))?;
        }
        Ok(())
    })?;
    drop(exchange);
    ensure!(attack.runtime.run(&bundle)?.ok()?.stdout.is_empty(), "the probe is not empty");
    Ok(())
}

/// T-10, CVE-2024-45310: what is missing of a target is made behind a directory that becomes a symlink.
fn target_made_in_an_exchanged_directory_stays_inside(attack: &Attack<'_>) -> TestResult {
    let outside = Outside::new(attack.runtime)?;
    let volume = Volume::new(attack, &outside.path)?;
    let checked = attack.runtime.bundle(&["true"])?;
    let exchange = volume.exchanging()?;
    in_own_mounts(|| {
        let target = volume.in_rootfs(&checked)?.join("a");
        attack.control_race("mkdir -p by a path that was checked", || {
            if looks_inside(&target, checked.path()) {
                fs::create_dir_all(target.join("y/z")).ok();
            }
            let reached = outside.path.join("y").exists();
            fs::remove_dir_all(outside.path.join("y")).ok();
            Ok(reached)
        })
    })?;
    let bundle = attack.runtime.bundle_with(&["true"], |config| {
        bind(config, "/v", &volume.path, &["bind"]);
        bind(config, "/v/a/y/directory", "/tmp", &["bind"]);
        bind(config, "/v/a/y/file", "/proc/version", &["bind"]);
        config["process"]["cwd"] = serde_json::json!("/v/a/x/cwd");
    })?;
    attack.race(|| {
        attack.runs(&bundle)?;
        for name in ["a/x", "a/y", "link/x", "link/y"] {
            // It lies in one of the two.
            fs::remove_dir_all(volume.path.join(name)).ok();
        }
        attack.attempt_by(outside.check())
    })?;
    drop(exchange);
    fs::create_dir(volume.path.join("a")).ok();
    Ok(())
}
