//! Writes to procfs that an image, a mount of the configuration or a hook diverts to another file.
//!
//! Runs in: any process.

use std::fs::{self, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};

use crate::attack::{Attack, attacks, in_own_mounts};
use crate::bundle::{self, Bundle, add};
use crate::harness::TestResult;
use crate::holder::Holder;
use crate::host::Need::{Namespace, Root};
use crate::inside::{bind, tmpfs};
use crate::probe;

attacks! {
    sysctl_is_not_diverted_to_a_fake_procfs: [Root],
    mount_over_a_part_of_procfs_is_refused: [Root],
    proc_of_a_joined_mount_namespace_is_not_written_to: [Root, Namespace("time")],
    modes_are_not_set_through_a_joined_mount_namespace: [Root],
}

const NAME: &str = "sys/net/ipv4/ip_default_ttl";

/// A directory that looks like a procfs with one file.
fn fake(attack: &Attack<'_>) -> Result<PathBuf, Failed> {
    let path = attack.runtime.directory().join("fake");
    let file = path.join(NAME);
    fs::create_dir_all(file.parent().ok_or("no parent")?)?;
    fs::create_dir_all(path.join("self/attr"))?;
    fs::write(&file, "64")?;
    fs::write(path.join("self/attr/current"), "")?;
    Ok(path)
}

fn with_sysctl(config: &mut Value) {
    config["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "55" });
    config["linux"]["maskedPaths"] = json!([]);
    config["linux"]["readonlyPaths"] = json!([]);
}

/// The value in the network namespace of a process: /proc/sys/net shows that of who looks.
fn value_of(pid: i32) -> Result<String, Failed> {
    let namespace = fs::File::open(format!("/proc/{pid}/ns/net"))?;
    let look = || -> Result<String, Failed> {
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
        Ok(fs::read_to_string(format!("/proc/{NAME}"))?.trim().to_owned())
    };
    let joined = std::thread::scope(|scope| scope.spawn(look).join());
    joined.map_err(|_| Failed::from("the thread panicked"))?
}

/// Either there is no container, or it has the value; in no case has the fake file.
fn judge(attack: &Attack<'_>, bundle: &Bundle, what: &str) -> TestResult {
    let id = attack.runtime.new_id();
    let outcome = attack.runtime.create(bundle, &id)?;
    let value =
        if outcome.code() == 0 { value_of(attack.runtime.pid(&id)?)? } else { "55".to_owned() };
    attack.attempt(&format!("{what}: the value is {value}: {outcome}"), value == "55")?;
    let fake = fs::read_to_string(attack.runtime.directory().join("fake").join(NAME))?;
    attack.attempt(&format!("{what}: written to the fake file: {outcome}"), fake == "64")?;
    if outcome.code() == 0 {
        attack.runtime.delete_force(&id)?.ok()?;
    }
    Ok(())
}

/// T-04, CVE-2025-52881, CVE-2019-16884: a write to /proc lands in a file of the attacker, and says that all is well.
fn sysctl_is_not_diverted_to_a_fake_procfs(attack: &Attack<'_>) -> TestResult {
    let fake = fake(attack)?;
    let control = attack.runtime.bundle(&["true"])?;
    in_own_mounts(|| {
        let proc = control.in_rootfs("proc");
        mount(Some("proc"), &proc, Some("proc"), MsFlags::empty(), None::<&str>)?;
        mount(Some(&fake), &proc, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        Ok(fs::write(proc.join(NAME), "55")?)
    })?;
    let diverted = fs::read_to_string(fake.join(NAME))? == "55";
    attack.control("a write by the path in the container's /proc", diverted)?;
    fs::write(fake.join(NAME), "64")?;

    let sleep = ["sleep", "1000"];
    // Mounts of the configuration, on /proc and by a symlink of the image that leads there.
    for (target, link) in
        [("/proc", ""), ("/proc/sys", ""), ("/link", "/proc/sys"), ("/link/net", "proc/sys")]
    {
        let bundle = attack.runtime.bundle_with(&sleep, |config| {
            with_sysctl(config);
            bind(config, target, fake.join(if target == "/proc" { "" } else { "sys" }), &["bind"]);
        })?;
        if !link.is_empty() {
            symlink(link, bundle.in_rootfs("link"))?;
        }
        judge(attack, &bundle, target)?;
    }
    // Who has come into the mount namespace before the write: a hook stands for it.
    let bundle = attack.runtime.bundle_with(&sleep, with_sysctl)?;
    let over = format!(
        "cat >/dev/null; exec mount --bind {} {}",
        fake.display(),
        bundle.in_rootfs("proc").display()
    );
    let mut bundle = bundle;
    bundle.edit(|config| {
        let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", over], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] });
        add(config, "/hooks/createContainer", hook);
    })?;
    judge(attack, &bundle, "a mount by a hook")
}

/// T-04: what the kernel says about a process becomes a lie of the image.
fn mount_over_a_part_of_procfs_is_refused(attack: &Attack<'_>) -> TestResult {
    let fake = fake(attack)?;
    let control = attack.runtime.bundle(&["true"])?;
    let covered = in_own_mounts(|| {
        let proc = control.in_rootfs("proc");
        mount(Some("proc"), &proc, Some("proc"), MsFlags::empty(), None::<&str>)?;
        mount(
            Some(&fake.join("sys")),
            &proc.join("sys"),
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )?;
        Ok(fs::read_to_string(proc.join(NAME))? == "64")
    })?;
    attack.control("mount(2) by the path", covered)?;
    let script = format!(
        "cat /proc/{NAME}; cat /proc/self/attr/current; ls /proc/self/attr; grep ' /proc/' /proc/self/mountinfo"
    );
    for target in [
        "/proc/self",
        "/proc/self/attr",
        "/proc/sys",
        "/proc/1",
        "/proc/sys/net/ipv4",
        "/l",
        "/l/attr",
    ] {
        for is_bind in [true, false] {
            let bundle = attack.runtime.bundle_with(&["sh", "-c", &script], |config| {
                config["linux"]["maskedPaths"] = json!([]);
                config["linux"]["readonlyPaths"] = json!([]);
                if is_bind {
                    bind(config, target, &fake, &["bind"]);
                } else {
                    tmpfs(config, target, &[]);
                }
            })?;
            symlink("/proc/self", bundle.in_rootfs("l"))?;
            for outcome in attack.runs(&bundle)? {
                attack.attempt(
                    &format!("{target}: {outcome}"),
                    !outcome.stdout.contains(" /proc/"),
                )?;
            }
        }
    }
    Ok(())
}

/// Whose /proc has links to `victim` at the names that a runtime writes to.
fn liar(victim: &Path) -> Result<Holder, Failed> {
    let script = "mount -t tmpfs lie /proc && mkdir /proc/self && ln -s \"$0\" /proc/self/timens_offsets \
        && ln -s \"$0\" /proc/self/oom_score_adj && mkdir /proc/self/fd \
        && for number in $(seq 3 40); do ln -s \"$0\" /proc/self/fd/$number; done";
    Holder::new(script, victim)
}

fn join(config: &mut Value, namespace: &str) {
    bundle::remove(config, "/linux/namespaces", "type", "mount");
    add(config, "/linux/namespaces", json!({ "type": "mount", "path": namespace }));
}

/// Who is root in a mount namespace of its own has the runtime write to a file of the host, and believe that all is well.
fn proc_of_a_joined_mount_namespace_is_not_written_to(attack: &Attack<'_>) -> TestResult {
    let victim = attack.runtime.directory().join("victim");
    fs::write(&victim, "whole")?;
    let liar = liar(&victim)?;
    let path = format!("/proc/{}/ns/mnt", liar.pid()?);
    let namespace = fs::File::open(&path)?;
    in_own_mounts(|| {
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNS)?;
        Ok(fs::write("/proc/self/timens_offsets", "boottime 1 0")?)
    })?;
    let diverted = fs::read_to_string(&victim)? == "boottime 1 0";
    attack.control("a write by the path after setns(2)", diverted)?;
    fs::write(&victim, "whole")?;

    let script = "cut -d. -f1 /proc/uptime; cat /proc/self/oom_score_adj";
    for is_mapped in [true, false] {
        let bundle = attack.runtime.bundle_with(&["sh", "-c", script], |config| {
            join(config, &path);
            add(config, "/linux/namespaces", json!({ "type": "time" }));
            config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 7_000_000 } });
            config["process"]["oomScoreAdj"] = json!(500);
            if is_mapped {
                let range = [[0, 100_000, 65_536]];
                bundle::map(config, &range, &range);
            }
        })?;
        let outcome = attack.runtime.run(&bundle)?;
        let kept = fs::read_to_string(&victim)? == "whole";
        attack.attempt(&format!("mapped {is_mapped}: a file is overwritten: {outcome}"), kept)?;
        // With a user namespace of its own it may not mount in that of the host's root.
        let told = outcome.stdout.split_once('\n').is_some_and(|(uptime, score)| {
            uptime.parse::<u64>().is_ok_and(|uptime| uptime >= 7_000_000) && score == "500\n"
        });
        attack.attempt(&format!("it is not as asked: {outcome}"), told || is_mapped)?;
    }
    Ok(())
}

/// The same for chmod(2) by /proc/self/fd, which is how a mode is set on what is open with `O_PATH` before Linux 6.6.
fn modes_are_not_set_through_a_joined_mount_namespace(attack: &Attack<'_>) -> TestResult {
    let victim = attack.runtime.directory().join("victim");
    fs::write(&victim, "whole")?;
    let (closed, open) = (Permissions::from_mode(0o600), Permissions::from_mode(0o755));
    let mode = || -> Result<u32, Failed> { Ok(victim.metadata()?.permissions().mode() & 0o777) };
    fs::set_permissions(&victim, closed.clone())?;
    let liar = liar(&victim)?;
    let path = format!("/proc/{}/ns/mnt", liar.pid()?);
    let namespace = fs::File::open(&path)?;
    in_own_mounts(|| {
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNS)?;
        Ok(fs::set_permissions("/proc/self/fd/7", open)?)
    })?;
    attack.control("chmod(2) by the path after setns(2)", mode()? == 0o755)?;
    fs::set_permissions(&victim, closed)?;

    let bundle = attack.runtime.bundle_with(&["stat", "-c", "%a", "/etc"], |config| {
        join(config, &path);
        tmpfs(config, "/etc", &["tmpcopyup"]);
    })?;
    let outcome = attack.run_by(&bundle, &probe::without("fchmodat2")?)?;
    attack.attempt(&format!("a file of the host has another mode: {outcome}"), mode()? == 0o600)?;
    attack.attempt(&outcome.to_string(), outcome.stdout == "755\n")
}
