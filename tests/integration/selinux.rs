//! SELinux labels in force, under a small policy of our own: in a VM that `cargo xtask test` boots with SELinux.
//!
//! Runs in: any process.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use libtest_mimic::Failed;
use rustix::mount::{MountFlags, mount};
use serde_json::{Value, json};

use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Root, Selinux, Vm};
use crate::inside::{refusal, sh};
use crate::runtime::Runtime;

const LOADS: &str = "loads a policy into the kernel";

table! {
    process_and_mount_label_are_in_force: [Root, Selinux, Vm(LOADS)],
    label_of_exec_is_in_force: [Root, Selinux, Vm(LOADS)],
    label_that_the_policy_does_not_have_is_refused: [Root, Selinux, Vm(LOADS)],
}

/// `container_t` may make files of `container_file_t` alone (`tests/integration/lsm/README`).
const POLICY: &[u8] = include_bytes!("lsm/selinux-policy");
const LABEL: &str = "system_u:system_r:container_t:s0:c1,c2";
const FILE_LABEL: &str = "system_u:object_r:container_file_t:s0:c1,c2";

/// Once: the policy is that of the machine.
fn load_policy() -> Result<(), Failed> {
    static LOADING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = LOADING.lock();
    if !Path::new("/sys/fs/selinux/load").exists() {
        mount("selinuxfs", "/sys/fs/selinux", "selinuxfs", MountFlags::empty(), None)?;
    }
    if fs::read_to_string("/sys/fs/selinux/enforce")?.trim() != "1" {
        fs::write("/sys/fs/selinux/load", POLICY)?;
        fs::write("/sys/fs/selinux/enforce", "1")?;
    }
    Ok(())
}

fn labelled(config: &mut Value) {
    config["process"]["selinuxLabel"] = json!(LABEL);
    config["linux"]["mountLabel"] = json!(FILE_LABEL);
    config["process"]["user"] = json!({ "uid": 0, "gid": 0 });
}

const LOOK: &str =
    "cat /proc/self/attr/current; touch /dev/shm/x && echo made; touch /etc/x 2>&1; true";

fn seen(label: &str) -> String {
    format!("{label}\0made\ntouch: /etc/x: Permission denied\n")
}

/// The label of the mounts has a comma in it, which mount(2) takes in quotes only.
fn process_and_mount_label_are_in_force(runtime: &Runtime) -> TestResult {
    load_policy()?;
    for no_new_privileges in [true, false] {
        let found = sh(runtime, LOOK, |config| {
            labelled(config);
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        })?;
        ensure_eq!(found, seen(LABEL));
    }
    let mounts = sh(runtime, "cat /proc/mounts", labelled)?;
    for target in ["/dev", "/dev/shm"] {
        let line = mounts.lines().find(|line| line.contains(&format!(" {target} tmpfs ")));
        let context = format!("context=\"{FILE_LABEL}\"");
        ensure!(line.is_some_and(|line| line.contains(&context)), "{target}: {mounts}");
    }
    Ok(())
}

fn label_of_exec_is_in_force(runtime: &Runtime) -> TestResult {
    load_policy()?;
    let bundle = runtime.bundle_with(&["sleep", "1000"], labelled)?;
    let id = runtime.new_id();
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    let outcome = runtime.command(["exec", &id, "sh", "-c", LOOK]).output()?.ok()?;
    ensure_eq!(outcome.stdout, seen(LABEL));
    let other = "system_u:system_r:container_t:s0:c3";
    let outcome = runtime.command(["exec", "--process-label", other, &id, "sh", "-c", LOOK]);
    ensure_eq!(outcome.output()?.ok()?.stdout, seen(other));
    Ok(())
}

fn label_that_the_policy_does_not_have_is_refused(runtime: &Runtime) -> TestResult {
    load_policy()?;
    let pointer = |pointer| if runtime.is("corten") { pointer } else { "" };
    let outcome = refusal(runtime, |config| {
        config["process"]["selinuxLabel"] = json!("system_u:system_r:nosuch_t:s0");
    })?;
    ensure!(outcome.stderr.contains(pointer("/process/selinuxLabel: ")), "{outcome}");
    let outcome = refusal(runtime, |config| {
        config["linux"]["mountLabel"] = json!("system_u:object_r:nosuch_t:s0");
    })?;
    ensure!(outcome.stderr.contains(pointer("/mounts/")), "{outcome}");
    Ok(())
}
