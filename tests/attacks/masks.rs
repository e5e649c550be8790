//! Masked paths, where the image or another container has its hands on what they are covered with.
//!
//! Runs in: any process.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use libtest_mimic::Failed;
use nix::mount::{MsFlags, mount};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::{Value, json};

use crate::attack::{Attack, Exchange, attacks, in_own_mounts};
use crate::bundle::{self, Bundle, add};
use crate::harness::TestResult;
use crate::host::Need::Root;
use crate::inside::bind;
use crate::runtime::Outcome;

attacks! {
    null_device_of_the_image_does_not_unmask: [Root],
    exchanged_null_device_does_not_unmask: [Root],
    path_that_cannot_be_masked_is_not_left_open: [Root],
}

/// Reads the secret that is masked, and tries to write it.
const READ: &str = "cat /etc/secret; echo x >/etc/secret; echo x >/proc/sys/kernel/core_pattern";

fn masked(config: &mut Value) {
    bundle::remove(config, "/mounts", "destination", "/dev");
    add(config, "/linux/maskedPaths", json!("/etc/secret"));
    add(config, "/linux/maskedPaths", json!("/proc/sys/kernel/core_pattern"));
}

fn with_secret(attack: &Attack<'_>, change: impl FnOnce(&mut Value)) -> Result<Bundle, Failed> {
    let bundle = attack.runtime.bundle_with(&["sh", "-c", READ], |config| {
        masked(config);
        change(config);
    })?;
    fs::write(bundle.in_rootfs("etc/secret"), "secret")?;
    Ok(bundle)
}

/// What the container read and wrote must be nothing, and the file must be as it was.
fn judge(attack: &Attack<'_>, bundle: &Bundle, outcome: &Outcome) -> TestResult {
    attack.attempt(&outcome.to_string(), !outcome.stdout.contains("secret"))?;
    let kept = fs::read_to_string(bundle.in_rootfs("etc/secret"))? == "secret";
    attack.attempt(&format!("the secret was written: {outcome}"), kept)
}

/// What lies at /dev/null of an image.
type Make = fn(&Path) -> std::io::Result<()>;

fn node(path: &Path, kind: FileType, major: u32, minor: u32) -> std::io::Result<()> {
    Ok(mknodat(CWD, path, kind, Mode::from_raw_mode(0o666), makedev(major, minor))?)
}

const NULLS: &[(&str, Make)] = &[
    ("a symlink to the secret", |null| symlink("../etc/secret", null)),
    ("a symlink to a kernel file", |null| symlink("/proc/sys/kernel/core_pattern", null)),
    ("a file", |null| fs::write(null, "secret")),
    ("the zero device", |null| node(null, FileType::CharacterDevice, 1, 5)),
    ("a block device", |null| node(null, FileType::BlockDevice, 1, 3)),
    ("a directory", |null| fs::create_dir(null)),
    ("a FIFO", |null| node(null, FileType::Fifo, 0, 0)),
    ("missing", |_| Ok(())),
];

/// T-11, CVE-2025-31133, CVE-2025-62161: the image's /dev/null is something else.
fn null_device_of_the_image_does_not_unmask(attack: &Attack<'_>) -> TestResult {
    let control = with_secret(attack, |_| {})?;
    symlink("../etc/secret", control.in_rootfs("dev/null"))?;
    let seen = in_own_mounts(|| {
        let (null, secret) = (control.in_rootfs("dev/null"), control.in_rootfs("etc/secret"));
        mount(Some(&null), &secret, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        Ok(fs::read_to_string(secret)?)
    })?;
    attack.control("a bind mount of the image's /dev/null by its path", seen == "secret")?;
    for (what, make) in NULLS {
        let bundle = with_secret(attack, |_| {})?;
        make(&bundle.in_rootfs("dev/null")).map_err(|error| format!("{what}: {error}"))?;
        for outcome in attack.runs(&bundle)? {
            judge(attack, &bundle, &outcome)?;
        }
    }
    Ok(())
}

/// T-11: /dev is a volume in which another container exchanges `null`.
fn exchanged_null_device_does_not_unmask(attack: &Attack<'_>) -> TestResult {
    let volume = attack.runtime.directory().join("volume");
    fs::create_dir(&volume)?;
    node(&volume.join("null"), FileType::CharacterDevice, 1, 3)?;
    symlink("../etc/secret", volume.join("link"))?;
    let control = with_secret(attack, |_| {})?;
    let exchange = Exchange::of(volume.join("null"), volume.join("link"))?;
    in_own_mounts(|| {
        let dev = control.in_rootfs("dev");
        mount(Some(&volume), &dev, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        let (null, secret) = (dev.join("null"), control.in_rootfs("etc/secret"));
        attack.control_race("a bind mount of a /dev/null that was looked at", || {
            let looks_right = fs::symlink_metadata(&null).is_ok_and(|status| !status.is_symlink());
            if !looks_right {
                return Ok(false);
            }
            mount(Some(&null), &secret, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            let seen = fs::read_to_string(&secret)?;
            nix::mount::umount2(&secret, nix::mount::MntFlags::MNT_DETACH)?;
            Ok(seen == "secret")
        })
    })?;
    let bundle = with_secret(attack, |config| bind(config, "/dev", &volume, &["bind"]))?;
    attack.race(|| judge(attack, &bundle, &attack.runtime.run(&bundle)?))?;
    drop(exchange);
    Ok(())
}

/// T-11: a mask that cannot be looked up now, and can later.
fn path_that_cannot_be_masked_is_not_left_open(attack: &Attack<'_>) -> TestResult {
    let script = "rm -f /etc/way; mv /etc/kept /etc/way; cat /etc/way/secret";
    let bundle = attack.runtime.bundle_with(&["sh", "-c", script], |config| {
        add(config, "/linux/maskedPaths", json!("/etc/way/secret"));
    })?;
    let prepare = || -> Result<(), Failed> {
        fs::remove_dir_all(bundle.in_rootfs("etc/way")).ok();
        fs::write(bundle.in_rootfs("etc/way"), "")?;
        fs::create_dir_all(bundle.in_rootfs("etc/kept"))?;
        Ok(fs::write(bundle.in_rootfs("etc/kept/secret"), "secret")?)
    };
    prepare()?;
    // What is not found is left out, whatever the reason.
    let secret = bundle.in_rootfs("etc/way/secret");
    let left_out = !secret.exists();
    fs::remove_file(bundle.in_rootfs("etc/way"))?;
    fs::rename(bundle.in_rootfs("etc/kept"), bundle.in_rootfs("etc/way"))?;
    attack.control(
        "a mask left out for ENOTDIR",
        left_out && fs::read_to_string(secret)? == "secret",
    )?;
    prepare()?;
    let outcome = attack.runtime.run(&bundle)?;
    attack.attempt(&outcome.to_string(), !outcome.stdout.contains("secret"))
}
