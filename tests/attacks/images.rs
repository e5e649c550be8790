//! Images whose content lies: symlinks, nodes and names in place of what a runtime expects.
//!
//! Runs in: any process.

use std::fs::{self, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Failed;
use nix::mount::{MsFlags, mount};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mknodat};
use rustix::io::Errno;
use serde_json::json;

use crate::attack::{Attack, attacks, in_own_mounts};
use crate::bundle::{self, add};
use crate::harness::TestResult;
use crate::host::Need::Root;
use crate::outside::{Outside, with_link};

attacks! {
    user_name_that_is_a_number_does_not_change_the_id: [Root],
    passwd_that_is_no_file_is_not_opened: [Root],
    proc_and_sys_as_symlinks_are_not_followed: [Root],
    dev_as_a_symlink_gets_no_nodes_on_the_host: [Root],
    names_in_dev_as_symlinks_are_not_followed: [Root],
    device_of_another_kind_is_not_opened_up: [Root],
    dangling_symlink_as_a_target_makes_nothing_on_the_host: [Root],
}

/// T-01, CVE-2016-3697: the image's /etc/passwd gives the user named `1000` uid 0.
fn user_name_that_is_a_number_does_not_change_the_id(attack: &Attack<'_>) -> TestResult {
    let bundle = attack.runtime.bundle_with(&["id", "-u"], |config| {
        config["process"]["user"]["uid"] = json!(1000);
    })?;
    fs::write(bundle.in_rootfs("etc/passwd"), "1000:x:0:0::/:/bin/sh\n")?;
    let mut su = Command::new("chroot");
    su.arg(bundle.in_rootfs("")).args([
        "/bin/busybox",
        "su",
        "1000",
        "-s",
        "/bin/sh",
        "-c",
        "id -u",
    ]);
    let seen = String::from_utf8(su.output()?.stdout)?;
    attack.control("a lookup of the name gives uid 0", seen == "0\n")?;

    let outcome = attack.runtime.run(&bundle)?;
    attack.attempt(&outcome.to_string(), outcome.stdout == "1000\n")
}

/// The image's /etc/passwd is something that does something when it is opened, and the runtime does so as root.
fn passwd_that_is_no_file_is_not_opened(attack: &Attack<'_>) -> TestResult {
    let mode = Mode::from_raw_mode(0o644);
    for (kind, number) in [(FileType::Fifo, 0), (FileType::CharacterDevice, makedev(1, 3))] {
        let bundle = attack.runtime.bundle_with(&["sleep", "1000"], |config| {
            config["process"]["env"] = json!(["PATH=/bin"]);
        })?;
        let passwd = bundle.in_rootfs("etc/passwd");
        fs::remove_file(&passwd)?;
        mknodat(CWD, &passwd, kind, mode, number)?;
        let opens = Opens::of(&passwd)?;
        let nonblock = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        drop(rustix::fs::open(&passwd, nonblock, Mode::empty())?);
        attack.control("open(2), and a look at what it is afterwards", opens.seen()?)?;

        let id = attack.runtime.new_id();
        attack.runtime.create(&bundle, &id)?.ok()?;
        attack.runtime.start(&id)?.ok()?;
        attack.attempt(&format!("create opens {kind:?}"), !opens.seen()?)?;
        attack.runtime.command(["exec"]).arg(&id).arg("true").output()?.ok()?;
        attack.attempt(&format!("exec opens {kind:?}"), !opens.seen()?)?;
    }
    Ok(())
}

/// Whether a file is opened, but for `O_PATH`.
struct Opens(OwnedFd);

impl Opens {
    fn of(path: &Path) -> Result<Self, Failed> {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&watch, path, WatchFlags::OPEN)?;
        Ok(Self(watch))
    }

    /// Since the last time.
    fn seen(&self) -> Result<bool, Failed> {
        match rustix::io::read(&self.0, &mut [0; 4096]) {
            Err(Errno::AGAIN) => Ok(false),
            read => Ok(read? > 0),
        }
    }
}

/// T-05, CVE-2019-19921, CVE-2023-27561, CVE-2025-54867: procfs where the image's symlink leads.
fn proc_and_sys_as_symlinks_are_not_followed(attack: &Attack<'_>) -> TestResult {
    let outside = Outside::new(attack.runtime)?;
    for (name, fstype, proof) in [("proc", "proc", "version"), ("sys", "sysfs", "kernel")] {
        let bundle = with_link(attack.runtime, &["true"], (name, &outside.path), |_| {})?;
        let reached = in_own_mounts(|| {
            mount(
                Some(fstype),
                &bundle.in_rootfs(name),
                Some(fstype),
                MsFlags::empty(),
                None::<&str>,
            )?;
            Ok(outside.path.join(proof).exists())
        })?;
        attack.control("mount(2) by the path", reached)?;
        for target in [Path::new("tmp"), Path::new("/tmp"), &outside.path, &outside.by_dotdot()] {
            let script = format!("ls -d /tmp/{proof} {}/{proof}", outside.path.display());
            let bundle = with_link(attack.runtime, &["sh", "-c", &script], (name, target), |_| {})?;
            for outcome in attack.runs(&bundle)? {
                attack.attempt(&outcome.to_string(), !outcome.stdout.contains(proof))?;
            }
            attack.attempt_by(outside.check())?;
        }
    }
    Ok(())
}

/// What runtimes did to `/dev/ptmx`: by path, before the root is changed.
fn replace_ptmx_by_path(rootfs: &Path) -> Result<(), Failed> {
    fs::remove_file(rootfs.join("dev/ptmx"))?;
    Ok(symlink("pts/ptmx", rootfs.join("dev/ptmx"))?)
}

/// T-13, CVE-2026-41579, CVE-2026-47766: the image's /dev is a symlink to a directory of the host.
fn dev_as_a_symlink_gets_no_nodes_on_the_host(attack: &Attack<'_>) -> TestResult {
    let outside = Outside::new(attack.runtime)?;
    let bundle = with_link(attack.runtime, &["true"], ("dev", &outside.path), |_| {})?;
    replace_ptmx_by_path(&bundle.in_rootfs(""))?;
    let reached = fs::read_link(outside.path.join("ptmx"))? == Path::new("pts/ptmx");
    attack.control("unlink and symlink by the path", reached)?;
    fs::remove_file(outside.path.join("ptmx"))?;
    symlink("nowhere", outside.path.join("ptmx"))?;

    // With mounts on /dev and without; where the target exists in the image and where it does not.
    for (has_mounts, exists) in [(true, true), (true, false), (false, true), (false, false)] {
        for target in [outside.path.clone(), outside.by_dotdot()] {
            let bundle = with_link(attack.runtime, &["true"], ("dev", &target), |config| {
                for mount in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
                    if !has_mounts {
                        bundle::remove(config, "/mounts", "destination", mount);
                    }
                }
            })?;
            if exists {
                fs::create_dir_all(bundle.in_rootfs(&outside.path.to_string_lossy()))?;
            }
            attack.runs(&bundle)?;
            attack.attempt_by(outside.check())?;
        }
    }
    Ok(())
}

/// T-13: single names in the image's /dev, and a way of a device of the configuration.
fn names_in_dev_as_symlinks_are_not_followed(attack: &Attack<'_>) -> TestResult {
    let outside = Outside::new(attack.runtime)?;
    let control = attack.runtime.bundle(&["true"])?;
    symlink(outside.path.join("made"), control.in_rootfs("dev/null"))?;
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(control.in_rootfs("dev/null"))?;
    let made = outside.path.join("made");
    attack.control("open(O_CREAT) by the path", made.exists())?;
    fs::remove_file(made)?;

    for name in ["pts", "shm", "mqueue", "fd", "stdin", "ptmx", "core", "null", "tty", "console"] {
        for target in [outside.path.clone(), outside.by_dotdot(), outside.path.join("file")] {
            let bundle = attack.runtime.bundle_with(&["true"], |config| {
                bundle::remove(config, "/mounts", "destination", "/dev");
            })?;
            symlink(target, bundle.in_rootfs("dev").join(name))?;
            attack.runs(&bundle)?;
            attack.attempt_by(outside.check())?;
        }
    }
    for path in ["/link/node", "/link/new/node", "/dev/../link/node", "/link/file", "link/node"] {
        let bundle = with_link(attack.runtime, &["true"], ("link", &outside.path), |config| {
            add(
                config,
                "/linux/devices",
                json!({ "path": path, "type": "c", "major": 1, "minor": 5 }),
            );
        })?;
        attack.runs(&bundle)?;
        attack.attempt_by(outside.check())?;
    }
    Ok(())
}

/// T-13: the image has a node of the host's disk at a name that the runtime opens up for everybody.
fn device_of_another_kind_is_not_opened_up(attack: &Attack<'_>) -> TestResult {
    let closed = Mode::from_raw_mode(0o600);
    let control = attack.runtime.bundle(&["true"])?;
    let null = control.in_rootfs("dev/null");
    mknodat(CWD, &null, FileType::BlockDevice, closed, makedev(8, 0))?;
    // mknod says EEXIST, which is taken for success.
    mknodat(CWD, &null, FileType::CharacterDevice, closed, makedev(1, 3)).ok();
    rustix::fs::chmod(&null, Mode::from_raw_mode(0o666))?;
    let status = rustix::fs::stat(&null)?;
    let opened = status.st_rdev == makedev(8, 0) && status.st_mode & 0o777 == 0o666;
    attack.control("mknod that takes EEXIST for success, then chmod", opened)?;
    fs::remove_file(null)?;

    for kind in [FileType::BlockDevice, FileType::CharacterDevice, FileType::RegularFile] {
        let bundle =
            attack.runtime.bundle_with(&["stat", "-c", "%F %t:%T", "/dev/null"], |config| {
                bundle::remove(config, "/mounts", "destination", "/dev");
                config["linux"]["maskedPaths"] = json!([]);
            })?;
        let null = bundle.in_rootfs("dev/null");
        mknodat(CWD, &null, kind, closed, makedev(8, 0))?;
        let outcome = attack.runtime.run(&bundle)?;
        let right = outcome.code() != 0 || outcome.stdout == "character special file 1:3\n";
        attack.attempt(&outcome.to_string(), right)?;
        let changed = fs::symlink_metadata(&null).is_ok_and(|_| {
            rustix::fs::stat(&null).is_ok_and(|status| {
                status.st_rdev == makedev(8, 0) && status.st_mode & 0o777 != 0o600
            })
        });
        attack.attempt("the node of the image has another mode", !changed)?;
    }
    Ok(())
}

/// T-10: what is missing is made where a dangling symlink leads.
fn dangling_symlink_as_a_target_makes_nothing_on_the_host(attack: &Attack<'_>) -> TestResult {
    let outside = Outside::new(attack.runtime)?;
    let missing = outside.path.join("missing");
    let control = with_link(attack.runtime, &["true"], ("link", &missing), |_| {})?;
    OpenOptions::new().write(true).create(true).truncate(true).open(control.in_rootfs("link"))?;
    attack.control("open(O_CREAT) by the path", missing.exists())?;
    fs::remove_file(&missing)?;

    for target in [missing, outside.by_dotdot().join("missing")] {
        for destination in ["/link", "/link/a/b", "/link/../a"] {
            for fstype in ["tmpfs", "bind"] {
                let bundle = with_link(attack.runtime, &["true"], ("link", &target), |config| {
                    let source = if fstype == "bind" { "/proc/version" } else { "tmpfs" };
                    let options = if fstype == "bind" { json!(["bind"]) } else { json!([]) };
                    add(
                        config,
                        "/mounts",
                        json!({ "destination": destination, "type": fstype,
                        "source": source, "options": options }),
                    );
                })?;
                attack.runs(&bundle)?;
                attack.attempt_by(outside.check())?;
            }
        }
        let bundle = with_link(attack.runtime, &["true"], ("link", &target), |config| {
            config["process"]["cwd"] = json!("/link/cwd");
        })?;
        attack.runs(&bundle)?;
        attack.attempt_by(outside.check())?;
    }
    Ok(())
}
