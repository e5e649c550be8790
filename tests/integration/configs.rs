//! The configurations that Docker, Podman, containerd and others wrote, planned and run.
//!
//! Each file of `tests/configs` is a test. As it is, it is planned, and refused by name where this version lacks what
//! it asks for. Without that (`adapt::unsupported` has the list) and with what belongs to the machine of its capture
//! replaced (`adapt`), it runs `probe`, and `expect` compares what the probe sees with what the file says.
//! `CORTEN_PROBES=DIR` keeps what each probe printed, to compare two runtimes with `diff -r`.
//!
//! Runs in: any process.

mod adapt;
mod expect;
mod probe;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use libtest_mimic::Failed;
use serde_json::Value;

use self::adapt::Adapted;
use self::probe::Seen;
use crate::bundle::Bundle;
use crate::console::Created;
use crate::harness::{Test, TestResult, ensure, ensure_eq};
use crate::host;
use crate::host::Need::{self, NotOn, PureCgroup2, Root, Terminal};
use crate::inside::nothing_left;
use crate::leaks;
use crate::runtime::{Outcome, Runtime};

const PRIVATE_ROOT: &str = "leaves a shared root private before 1.4; crun does not";
const READONLY_SYSFS: &str =
    "makes the super block of a pod's sysfs read-only, for all its containers (moby issue 24000)";
const CHOWNS_NULL: &str = "gives the container's null device to the user";
const COPY_UP_MODE: &str = "1.8 gives a tmpfs with tmpcopyup 1777, whatever it covers";
const NO_RRO: &str = "1.8 cannot open a file as the target of rro";

/// `configs! { file_name: [needs], ... }`, with `_` for the `-` of the file's name, makes a test of each file.
macro_rules! configs {
    ($($name:ident : [$($need:expr),* $(,)?]),* $(,)?) => {
        $(fn $name(runtime: &Runtime) -> TestResult {
            check(runtime, stringify!($name))
        })*

        const NAMES: &[&str] = &[$(stringify!($name)),*];

        pub fn tests() -> Vec<Test> {
            let all = Test {
                name: concat!(module_path!(), "::captured_files_are_all_run"),
                needs: &[],
                body: captured_files_are_all_run,
            };
            vec![all, $(Test {
                name: concat!(module_path!(), "::", stringify!($name)),
                needs: {
                    const NEEDS: &[Need] = &[Root, PureCgroup2, $($need),*];
                    NEEDS
                },
                body: $name,
            }),*]
        }
    };
}

configs! {
    cri_hostnet_privileged: [NotOn("runc", PRIVATE_ROOT), NotOn("crun", CHOWNS_NULL)],
    cri_hostnet_sandbox: [],
    cri_pod_container: [NotOn("crun", CHOWNS_NULL)],
    cri_pod_container_terminal: [Terminal],
    cri_pod_sandbox: [],
    cri_userns_container: [],
    cri_userns_sandbox: [],
    crun_spec: [Terminal],
    crun_spec_rootless: [Terminal],
    ctr_apparmor: [],
    ctr_cgroup: [],
    ctr_default: [],
    ctr_hostname_annotation_no_pivot: [],
    ctr_mounts: [NotOn("crun", CHOWNS_NULL)],
    ctr_net_host: [],
    ctr_privileged: [NotOn("crun", CHOWNS_NULL)],
    ctr_seccomp: [],
    ctr_systemd_cgroup: [],
    ctr_tty: [Terminal],
    ctr_userns: [],
    ctr_with_ns: [],
    docker_cgroup_parent: [],
    docker_default: [],
    docker_device: [],
    docker_host_namespaces: [],
    docker_memory_cpu_quota: [],
    docker_mounts: [NotOn("crun", NO_RRO)],
    docker_privileged: [],
    docker_resources: [],
    docker_seccomp_unconfined: [],
    docker_security: [NotOn("crun", CHOWNS_NULL)],
    docker_shared_namespaces: [],
    docker_terminal: [Terminal],
    podman_cgroupfs: [],
    podman_cgroups_split: [],
    podman_default: [],
    podman_device_sysctl: [NotOn("crun", COPY_UP_MODE)],
    podman_host_namespaces: [],
    podman_idmapped_volume: [],
    podman_init_security: [NotOn("crun", CHOWNS_NULL)],
    podman_mounts: [NotOn("crun", COPY_UP_MODE)],
    podman_no_cgroups: [],
    podman_pod_infra: [],
    podman_pod_member: [],
    podman_privileged: [NotOn("runc", READONLY_SYSFS)],
    podman_resources: [],
    podman_rootless_cgroupfs: [],
    podman_rootless_default: [],
    podman_rootless_keep_id: [NotOn("crun", CHOWNS_NULL)],
    podman_rootless_privileged_hostnet: [],
    podman_rootless_resources_terminal: [Terminal],
    podman_runc_default: [],
    podman_sdnotify: [],
    podman_terminal: [Terminal],
    podman_userns_map: [],
    runc_spec: [Terminal],
    runc_spec_rootless: [Terminal],
}

fn captured() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/configs"].iter().collect()
}

fn captured_files_are_all_run(_: &Runtime) -> TestResult {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(captured())? {
        let name = entry?.file_name().into_string().map_err(|_| "a name that is no UTF-8")?;
        files.extend(name.strip_suffix(".json").map(|name| name.replace('-', "_")));
    }
    ensure_eq!(files, NAMES.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());
    Ok(())
}

fn check(runtime: &Runtime, name: &str) -> TestResult {
    let file = captured().join(name.replace('_', "-")).with_extension("json");
    let config: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let bundle = runtime.bundle_with(&[], |it| *it = config.clone())?;
    if runtime.is("corten") {
        as_it_is(runtime, &bundle)?;
    }
    let adapted = Adapted::new(runtime, config)?;
    bundle.write_text(format!("{:#}\n", adapted.config).as_bytes())?;
    if runtime.is("corten") {
        ensure_eq!(unsupported(&planned(runtime, &bundle)?.ok()?)?, Vec::<String>::new());
    }
    let seen = run(runtime, name, &bundle, &adapted)?;
    if let Some(directory) = std::env::var_os("CORTEN_PROBES") {
        fs::write(PathBuf::from(directory).join(name), seen.text())?;
    }
    expect::all(&adapted, &seen)
}

/// What the file says is planned, which makes nothing; and refused by name, if it must be.
fn as_it_is(runtime: &Runtime, bundle: &Bundle) -> TestResult {
    let plan = planned(runtime, bundle)?;
    ensure!(!runtime.root().exists(), "plan made {}", runtime.root().display());
    nothing_left(runtime)?;
    if let Some(error) = adapt::error(bundle.config()) {
        plan.fails_with(error)?;
        runtime.create(bundle, &runtime.new_id())?.fails_with(error)?;
        return nothing_left(runtime);
    }
    let unsupported = unsupported(&plan.ok()?)?;
    // So that whoever adds a feature also takes it off the list, and it runs here.
    ensure_eq!(unsupported, adapt::unsupported(bundle.config()));
    if let Some(first) = unsupported.first() {
        let create = runtime.create(bundle, &runtime.new_id())?;
        create.fails_with(&format!("{first}: "))?.fails_with("not supported")?;
    }
    nothing_left(runtime)
}

/// `plan`, without a capability.
fn planned(runtime: &Runtime, bundle: &Bundle) -> Result<Outcome, Failed> {
    let plan = runtime.command(["plan", "--format", "json", "--bundle"]).arg(bundle.path());
    let plan = plan.arg(runtime.new_id());
    if host::is_vm() {
        // busybox's setpriv knows no bounding set.
        return plan.output();
    }
    plan.wrapped_by(["setpriv", "--bounding-set=-all", "--inh-caps=-all"]).output()
}

/// The pointers of what a plan says is not supported.
fn unsupported(plan: &Outcome) -> Result<Vec<String>, Failed> {
    let plan: Value = serde_json::from_str(&plan.stdout)?;
    let entries = plan["unsupported"].as_array().ok_or("a plan without unsupported")?;
    Ok(entries.iter().filter_map(|entry| entry["pointer"].as_str()).map(str::to_owned).collect())
}

/// As an engine does: create, state, start, wait, delete. Returns what the probe printed.
fn run(runtime: &Runtime, name: &str, bundle: &Bundle, adapted: &Adapted) -> Result<Seen, Failed> {
    let config = &adapted.config;
    let terminal = config["process"]["terminal"] == true;
    let (id, printed) = if terminal {
        let created = Created::new(runtime, bundle)?;
        state_is(runtime, &created.id, config)?;
        // The terminal's own way to end a line (termios(3), ONLCR).
        let printed = created.shows(runtime)?.replace("\r\n", "\n");
        (created.id, printed)
    } else {
        let id = runtime.new_id();
        let create = runtime.command(["create", "--bundle"]).arg(bundle.path());
        // As ctr called it, on an initramfs.
        let create = if name.ends_with("no_pivot") { create.arg("--no-pivot") } else { create };
        let created = create.arg(&id).output()?.ok()?;
        state_is(runtime, &id, config)?;
        runtime.start(&id)?.ok()?;
        runtime.wait_for_status(&id, "stopped")?;
        (id, created.stdout_now())
    };
    runtime.wait_for_status(&id, "stopped")?;
    runtime.delete(&id)?.ok()?;
    // The harness is its parent: until then the pid namespace that it joined cannot end.
    leaks::reap(runtime.marker());
    adapted.hook_has_run(&id)?;
    Seen::parse(printed)
}

fn state_is(runtime: &Runtime, id: &str, config: &Value) -> TestResult {
    let state = runtime.state(id)?;
    ensure_eq!(state["status"], "created");
    if let Some(annotations) = config["annotations"].as_object() {
        for (key, value) in annotations {
            ensure_eq!(&state["annotations"][key], value);
        }
    }
    Ok(())
}
