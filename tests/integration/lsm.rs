//! Labels of Linux security modules.
//!
//! Runs in: any process.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Failed;
use serde_json::json;

use crate::bundle::BUSYBOX;
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::{
    self,
    Need::{AppArmor, NotOn, Root, Vm},
};
use crate::inside::{refusal, sh};
use crate::runtime::Runtime;

const UNCONFINED: &str = "starts the container without the profile";
const LOADS: &str = "loads a profile into the kernel";

table! {
    apparmor_profile_that_cannot_be_had_is_refused: [Root, NotOn("crun", UNCONFINED)],
    selinux_label_that_cannot_be_had_is_refused: [Root],
    apparmor_profile_is_in_force: [Root, AppArmor, Vm(LOADS)],
    apparmor_profile_does_not_need_proc_in_the_container: [Root, AppArmor, Vm(LOADS)],
    apparmor_profile_of_exec_is_in_force: [Root, AppArmor, Vm(LOADS)],
    apparmor_profile_is_in_force_in_a_runtime_without_securityfs: [Root, AppArmor, Vm(LOADS)],
    apparmor_profile_of_an_engine_lets_signals_in: [Root, AppArmor, Vm(LOADS)],
    apparmor_confinement_of_the_runtime_is_that_of_the_container: [Root, AppArmor, Vm(LOADS), NotOn("crun", "does not bear that it may not change the owner of stdout")],
}

/// There is no such profile; or no AppArmor at all, which is an error before anything is made.
fn apparmor_profile_that_cannot_be_had_is_refused(runtime: &Runtime) -> TestResult {
    let outcome = refusal(runtime, |config| {
        config["process"]["apparmorProfile"] = json!("corten-no-such-profile");
    })?;
    if runtime.is("corten") {
        let why = if host::has_apparmor() { "the profile is not loaded" } else { "not supported" };
        ensure!(outcome.stderr.contains("/process/apparmorProfile: "), "{outcome}");
        ensure!(outcome.stderr.contains(why), "{outcome}");
    }
    Ok(())
}

fn selinux_label_that_cannot_be_had_is_refused(runtime: &Runtime) -> TestResult {
    ensure!(
        !Path::new("/sys/fs/selinux/enforce").exists(),
        "this host has SELinux: write the test for it"
    );
    let outcome = refusal(runtime, |config| {
        config["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0:c1,c2");
    })?;
    if runtime.is("corten") {
        ensure!(outcome.stderr.contains("/process/selinuxLabel: selinux"), "{outcome}");
        let outcome = refusal(runtime, |config| {
            config["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0:c1,c2");
        })?;
        ensure!(outcome.stderr.contains("/linux/mountLabel: selinux"), "{outcome}");
    }
    Ok(())
}

/// A profile that allows everything but to write below /tmp, compiled (`tests/integration/lsm/README`).
const PROFILE: &[u8] = include_bytes!("lsm/corten-test-profile");
const NAME: &str = "corten-test-profile";

fn load_profile() -> Result<(), Failed> {
    if !fs::read_to_string("/sys/kernel/security/apparmor/profiles")?.contains(NAME) {
        fs::write("/sys/kernel/security/apparmor/.replace", PROFILE)?;
    }
    Ok(())
}

const LOOK: &str = "cat /proc/self/attr/current; touch /tmp/x 2>&1; touch /var/x && echo made";
const SEEN: &str = "corten-test-profile (enforce)\ntouch: /tmp/x: Permission denied\nmade\n";

fn apparmor_profile_is_in_force(runtime: &Runtime) -> TestResult {
    load_profile()?;
    for no_new_privileges in [true, false] {
        let seen = sh(runtime, LOOK, |config| {
            config["process"]["apparmorProfile"] = json!(NAME);
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["process"]["user"] = json!({ "uid": 0, "gid": 0 });
        })?;
        ensure_eq!(seen, SEEN);
    }
    Ok(())
}

/// It is written through a procfs that the container has no part in (CVE-2019-16884).
fn apparmor_profile_does_not_need_proc_in_the_container(runtime: &Runtime) -> TestResult {
    load_profile()?;
    let seen = sh(runtime, "touch /tmp/x 2>&1; true", |config| {
        config["process"]["apparmorProfile"] = json!(NAME);
        crate::bundle::remove(config, "/mounts", "destination", "/proc");
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    })?;
    ensure_eq!(seen, "touch: /tmp/x: Permission denied\n");
    Ok(())
}

fn apparmor_profile_of_exec_is_in_force(runtime: &Runtime) -> TestResult {
    load_profile()?;
    let bundle = runtime.bundle_with(&["sleep", "1000"], |config| {
        config["process"]["apparmorProfile"] = json!(NAME);
    })?;
    let id = runtime.new_id();
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    let outcome = runtime.command(["exec", &id, "sh", "-c", LOOK]).output()?.ok()?;
    ensure_eq!(outcome.stdout, SEEN);
    Ok(())
}

/// A runtime in a container: securityfs is not mounted there.
fn apparmor_profile_is_in_force_in_a_runtime_without_securityfs(runtime: &Runtime) -> TestResult {
    load_profile()?;
    let bundle = runtime.bundle_with(&["sh", "-c", LOOK], |config| {
        config["process"]["apparmorProfile"] = json!(NAME);
        config["process"]["user"] = json!({ "uid": 0, "gid": 0 });
    })?;
    let script = "umount /sys/kernel/security && exec \"$@\"";
    let nested = [BUSYBOX, "unshare", "-m", BUSYBOX, "sh", "-c", script, "sh"];
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    let seen = run.wrapped_by(nested).output()?.ok()?.stdout;
    ensure_eq!(seen, SEEN);
    Ok(())
}

/// Of corten itself as packaging/apparmor/corten has it, and one like those that engines make for containers (compiled).
const ENGINE: &[u8] = include_bytes!("lsm/corten-test-engine");

/// The runtime runs under a profile of its own, which that of the container does not know.
fn apparmor_profile_of_an_engine_lets_signals_in(runtime: &Runtime) -> TestResult {
    if !fs::read_to_string("/sys/kernel/security/apparmor/profiles")?.contains("corten-test-engine")
    {
        fs::write("/sys/kernel/security/apparmor/.replace", ENGINE)?;
    }
    let profile = if runtime.is("corten") { "corten" } else { "unconfined" };
    let enter =
        format!("echo -n \"exec {profile}\" > /proc/self/attr/apparmor/exec && exec \"$@\"");
    let call = |words: &[&str]| {
        runtime
            .command(words)
            .wrapped_by([BUSYBOX, "sh", "-c", enter.as_str(), "sh"])
            .output()?
            .ok()
    };
    let script = "trap 'exit 7' TERM; echo > /var/ready; while :; do sleep 0.05; done";
    for (signal, all) in [("TERM", false), ("KILL", false), ("KILL", true)] {
        let bundle = runtime.bundle_with(&["sh", "-c", script], |config| {
            config["process"]["apparmorProfile"] = json!("corten-test-engine");
        })?;
        let id = runtime.new_id();
        call(&["create", "--bundle", &bundle.path().to_string_lossy(), &id])?;
        call(&["start", &id])?;
        runtime.wait_until("its trap", || Ok(bundle.in_rootfs("var/ready").exists()))?;
        let label = call(&["exec", &id, "cat", "/proc/1/attr/current"])?.stdout;
        ensure_eq!(label, "corten-test-engine (enforce)\n");
        if all {
            call(&["kill", "--all", &id, signal])?;
        } else {
            call(&["kill", &id, signal])?;
        }
        runtime.wait_for_status(&id, "stopped")?;
        call(&["delete", &id])?;
    }
    Ok(())
}

/// A runtime in a container that is confined itself: what it starts is confined as it is, and the kernel decides whether
/// another profile may be set (apparmor(7), change_profile).
fn apparmor_confinement_of_the_runtime_is_that_of_the_container(runtime: &Runtime) -> TestResult {
    load_profile()?;
    let script =
        "echo -n \"exec corten-test-profile\" > /proc/self/attr/apparmor/exec && exec \"$@\"";
    let confined = [BUSYBOX, "sh", "-c", script, "sh"];
    // Not below /tmp: there it may not write.
    let place = tempfile::Builder::new().prefix("corten-lsm-").tempdir_in("/run")?;
    for profile in ["", NAME] {
        let bundle = runtime.bundle_with(&["sh", "-c", LOOK], |config| {
            config["process"]["apparmorProfile"] = json!(profile);
            config["process"]["user"] = json!({ "uid": 0, "gid": 0 });
        })?;
        let copy = place.path().join(format!("bundle-{profile}"));
        let copied = Command::new("cp").arg("-a").arg(bundle.path()).arg(&copy).status()?;
        ensure!(copied.success(), "cp: {copied}");
        let state = place.path().join("state");
        let run = runtime
            .command([
                OsStr::new("--root"),
                state.as_os_str(),
                OsStr::new("run"),
                OsStr::new("--bundle"),
            ])
            .arg(&copy)
            .arg(runtime.new_id());
        let outcome = run.wrapped_by(confined).output()?.ok()?;
        ensure_eq!(outcome.stdout, SEEN);
    }
    Ok(())
}
