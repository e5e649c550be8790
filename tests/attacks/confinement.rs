//! What the caller has, or the host lacks, must not make a container stronger than its configuration says.
//!
//! Runs in: any process.

use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Failed;
use nix::mount::{MsFlags, mount};
use rustix::thread::{
    CapabilitySet, capabilities, configure_capability_in_ambient_set, set_capabilities,
};
use serde_json::{Value, json};

use crate::attack::{Attack, attacks, in_own_mounts};
use crate::bundle;
use crate::harness::TestResult;
use crate::host::Need::{PureCgroup2, Root};
use crate::inside::{bind, field, tmpfs};
use crate::outside::HostMount;
use crate::probe;
use crate::runtime::Runtime;

attacks! {
    capabilities_of_the_caller_are_not_inherited: [Root],
    profile_that_is_not_there_is_not_left_out: [Root],
    keys_of_the_callers_session_are_not_found: [Root],
    cgroups_without_a_namespace_are_not_writable: [Root, PureCgroup2],
    mounts_of_the_container_do_not_reach_the_host: [Root],
}

/// Does something as a caller whose capabilities are all inheritable and ambient.
fn as_a_generous_caller<T: Send>(
    action: impl FnOnce() -> Result<T, Failed> + Send,
) -> Result<T, Failed> {
    let body = || {
        let mut own = capabilities(None)?;
        own.inheritable = own.permitted;
        set_capabilities(None, own)?;
        for capability in [CapabilitySet::NET_ADMIN, CapabilitySet::SYS_ADMIN] {
            configure_capability_in_ambient_set(capability, true)?;
        }
        action()
    };
    let joined = std::thread::scope(|scope| scope.spawn(body).join());
    joined.map_err(|_| Failed::from("the thread panicked"))?
}

/// Sets of a process, by the names of proc_pid_status(5).
fn set(status: &str, name: &str) -> Result<u64, Failed> {
    Ok(u64::from_str_radix(field(status, name)?, 16)?)
}

/// T-07, CVE-2022-29162, CVE-2025-27612: inheritable and ambient sets that nobody asked for.
fn capabilities_of_the_caller_are_not_inherited(attack: &Attack<'_>) -> TestResult {
    let show = |path: &str| Ok(Command::new("cat").arg(path).output()?.stdout);
    let status = as_a_generous_caller(|| show("/proc/self/status"))?;
    let status = String::from_utf8_lossy(&status).into_owned();
    let inherited = set(&status, "CapInh")? != 0 && set(&status, "CapAmb")? != 0;
    attack.control("a program that was just started", inherited)?;

    let kill = json!(["CAP_KILL"]);
    let asked = json!({ "bounding": kill, "effective": kill, "permitted": kill });
    for (capabilities, uid, bounding) in [
        (asked.clone(), 0, 32),
        (asked, 1000, 32),
        (Value::Null, 0, 0),
        (json!({}), 0, 0),
        (json!({}), 1000, 0),
    ] {
        let bundle = attack.runtime.bundle_with(&["cat", "/proc/self/status"], |config| {
            config["process"]["user"]["uid"] = json!(uid);
            config["process"]["capabilities"] = capabilities.clone();
            if capabilities.is_null()
                && let Some(process) = config["process"].as_object_mut()
            {
                process.remove("capabilities");
            }
        })?;
        let outcome = as_a_generous_caller(|| attack.runtime.run(&bundle))?.ok()?;
        let sets = ["CapInh", "CapAmb", "CapBnd", "CapPrm", "CapEff"];
        let found = sets.map(|name| set(&outcome.stdout, name).unwrap_or(u64::MAX));
        let [inheritable, ambient, bound, permitted, effective] = found;
        let right = inheritable | ambient == 0
            && bound == bounding
            && (permitted | effective) & !bounding == 0;
        attack.attempt(&format!("{capabilities} gives {found:x?}"), right)?;
    }
    executed_has_no_more(attack)
}

/// The same for `exec`.
fn executed_has_no_more(attack: &Attack<'_>) -> TestResult {
    let (id, bundle) = (attack.runtime.new_id(), attack.runtime.bundle(&["sleep", "1000"])?);
    attack.runtime.create(&bundle, &id)?.ok()?;
    attack.runtime.start(&id)?.ok()?;
    let exec = || attack.runtime.command(["exec", &id, "cat", "/proc/self/status"]).output();
    let outcome = as_a_generous_caller(exec)?.ok()?;
    let sets = ["CapInh", "CapAmb"].map(|name| set(&outcome.stdout, name).unwrap_or(u64::MAX));
    attack.attempt(&format!("exec gives {sets:x?}"), sets == [0, 0])
}

/// T-17: a profile that does not exist, or that the host cannot load, is asked for.
fn profile_that_is_not_there_is_not_left_out(attack: &Attack<'_>) -> TestResult {
    // What writes to a file that is not there, or of a kernel without it, goes on without.
    let script = "echo 'exec no-such-profile' >/proc/self/attr/apparmor/exec; echo confined";
    let output = Command::new("sh").args(["-c", script]).output()?;
    let current = fs::read_to_string("/proc/self/attr/apparmor/current").unwrap_or_default();
    let left_out = output.stdout == b"confined\n" && !current.contains("no-such-profile");
    attack.control("a write that nobody looks at", left_out)?;
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 4] = [
        ("apparmorProfile", |config| {
            config["process"]["apparmorProfile"] = json!("no-such-profile");
        }),
        ("selinuxLabel", |config| config["process"]["selinuxLabel"] = json!("a:b:c:s0")),
        ("mountLabel", |config| config["linux"]["mountLabel"] = json!("a:b:c:s0")),
        ("an unknown action of seccomp", |config| {
            config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_NO_SUCH" });
        }),
    ];
    for (what, change) in changes {
        if what.contains("Label") && Path::new("/sys/fs/selinux/enforce").exists() {
            continue;
        }
        let bundle = attack.runtime.bundle_with(&["echo", "ran"], change)?;
        let outcome = attack.runtime.run(&bundle)?;
        attack.attempt(
            &format!("{what}: {outcome}"),
            outcome.code() != 0 && outcome.stdout.is_empty(),
        )?;
    }
    Ok(())
}

/// T-19: a key of the caller's session.
fn keys_of_the_callers_session_are_not_found(attack: &Attack<'_>) -> TestResult {
    let name = attack.runtime.marker();
    let [program, arguments @ ..] = &probe::with_key(name)?[..] else {
        return Err("no wrapper".into());
    };
    let find = probe::arguments(&["find-key", name]);
    let mut command = Command::new(program);
    command.args(arguments).arg(program).args(find.iter().skip(1));
    let output = command.output()?;
    attack.control(&format!("a child of the session: {output:?}"), output.stdout == b"found\n")?;

    let bundle = attack.runtime.bundle_with(&find, probe::allow)?;
    let outcome = attack.run_by(&bundle, &probe::with_key(name)?)?.ok()?;
    attack.attempt(&outcome.to_string(), outcome.stdout.starts_with("not found"))
}

/// T-08, CVE-2023-25809: cgroups of others can be changed where the container sees the whole hierarchy.
fn cgroups_without_a_namespace_are_not_writable(attack: &Attack<'_>) -> TestResult {
    let marker = attack.runtime.marker();
    let name = format!("{marker}evil");
    let made = in_own_mounts(|| {
        let copy = attack.runtime.directory().join("sys");
        fs::create_dir(&copy)?;
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some("/sys"), &copy, None::<&str>, flags, None::<&str>)?;
        // As it was: the mounts below /sys stay writable.
        let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, &copy, None::<&str>, read_only, None::<&str>)?;
        let made = copy.join("fs/cgroup").join(&name);
        fs::create_dir(&made)?;
        Ok(fs::remove_dir(made).is_ok())
    })?;
    attack.control("a bind mount of /sys that was made read-only, but not what is below", made)?;

    let script = format!(
        "for d in $(find /sys -type d 2>/dev/null); do mkdir $d/{name} 2>/dev/null && echo $d && rmdir $d/{name}; done; true"
    );
    let changes: [fn(&mut Value); 2] = [
        |_| {},
        |config| {
            bundle::remove(config, "/mounts", "destination", "/sys");
            bundle::remove(config, "/mounts", "destination", "/sys/fs/cgroup");
            bind(config, "/sys", "/sys", &["rbind", "rro"]);
        },
    ];
    for change in changes {
        let bundle = attack.runtime.bundle_with(&["sh", "-c", &script], |config| {
            bundle::remove(config, "/linux/namespaces", "type", "cgroup");
            config["linux"]["maskedPaths"] = json!([]);
            change(config);
        })?;
        let outcome = attack.runtime.run(&bundle)?.ok()?;
        attack.attempt(&outcome.to_string(), outcome.stdout.is_empty())?;
    }
    Ok(())
}

/// Mounts that the host has in the test's directory.
fn hosts_mounts(runtime: &Runtime) -> Result<Vec<String>, Failed> {
    let all = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(all.lines().filter(|line| line.contains(runtime.marker())).map(str::to_owned).collect())
}

/// T-23: the root file system lies on a mount that is shared with the host.
fn mounts_of_the_container_do_not_reach_the_host(attack: &Attack<'_>) -> TestResult {
    let propagations =
        ["", "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable"];
    for propagation in propagations {
        let bundle = attack.runtime.bundle_with(
            &["sh", "-c", "mount -t tmpfs tmpfs /tmp; sleep 1000"],
            |config| {
                config["linux"]["rootfsPropagation"] = json!(propagation);
                let all = json!(["CAP_SYS_ADMIN"]);
                config["process"]["capabilities"] =
                    json!({ "bounding": all, "effective": all, "permitted": all });
                tmpfs(config, "/t", &["rshared"]);
            },
        )?;
        let shared = HostMount::on_itself(bundle.path().to_owned())?;
        shared.change(MsFlags::MS_SHARED)?;
        let before = hosts_mounts(attack.runtime)?;
        if propagation.is_empty() {
            let seen = in_own_mounts(|| {
                let target = bundle.in_rootfs("tmp");
                mount(Some("tmpfs"), &target, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
                let seen = hosts_mounts(attack.runtime)?;
                nix::mount::umount(&target)?;
                Ok(seen.len())
            })?;
            attack.control("a mount in a namespace that was just made", seen > before.len())?;
        }
        let id = attack.runtime.new_id();
        attack.runtime.create(&bundle, &id)?.ok()?;
        attack.runtime.start(&id)?.ok()?;
        let pid = attack.runtime.pid(&id)?;
        attack.runtime.wait_until("the container's own mount", || {
            Ok(fs::read_to_string(format!("/proc/{pid}/mountinfo"))?.contains(" /tmp "))
        })?;
        let after = hosts_mounts(attack.runtime)?;
        attack.attempt(&format!("{propagation}: {after:#?}"), after == before)?;
        attack.runtime.delete_force(&id)?.ok()?;
        let after = hosts_mounts(attack.runtime)?;
        attack.attempt(&format!("{propagation}, deleted: {after:#?}"), after == before)?;
    }
    Ok(())
}
