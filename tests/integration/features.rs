//! `features` is complete and truthful: by the specification's schema, and by what the planner takes.
//!
//! Runs in: any process.

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::bundle::add;
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, Root};
use crate::runtime::Runtime;
use crate::schema;

const PLAN: &str = "`plan` says what is taken";
const OLD_RUNC: &str = "1.1 has no features of later specifications";
const OLD_CRUN: &str = "1.8 has no such command";

table! {
    features_are_what_the_schema_says: [NotOn("crun", OLD_CRUN)],
    schema_finds_what_is_wrong: [],
    probed_features_are_what_the_schema_says: [Corten("--probe is ours")],
    probed_features_are_some_of_all: [Corten("--probe is ours")],
    features_are_those_that_the_planner_takes: [Corten(PLAN)],
    features_have_every_mount_option_that_the_planner_takes: [Corten(PLAN)],
    features_name_every_hook_that_runs: [Corten(PLAN)],
    features_name_the_annotations_that_act: [Corten(PLAN)],
    features_have_every_capability_of_this_kernel: [NotOn("crun", OLD_CRUN)],
    features_have_every_seccomp_word_that_the_planner_takes: [Corten(PLAN)],
    features_versions_are_taken: [Root, NotOn("runc", OLD_RUNC), NotOn("crun", OLD_CRUN)],
    containerd_asks_for_features_without_global_flags: [NotOn("crun", OLD_CRUN)],
    docker_asks_for_features_with_its_runtime_arguments: [NotOn("crun", OLD_CRUN)],
    crio_finds_recursive_read_only: [NotOn("runc", OLD_RUNC), NotOn("crun", OLD_CRUN)],
}

fn features(runtime: &Runtime, arguments: &[&str]) -> Result<Value, Failed> {
    let command = runtime.command(["features"].iter().chain(arguments));
    let outcome = command.output()?.ok()?;
    ensure_eq!(outcome.stderr, "");
    Ok(serde_json::from_str(&outcome.stdout)?)
}

fn has(list: &Value, word: &str) -> bool {
    list.as_array().is_some_and(|list| list.contains(&json!(word)))
}

fn features_are_what_the_schema_says(runtime: &Runtime) -> TestResult {
    let found = schema::problems("features-schema.json", &features(runtime, &[])?)?;
    ensure_eq!(found, Vec::<String>::new());
    Ok(())
}

/// The checker itself.
fn schema_finds_what_is_wrong(_: &Runtime) -> TestResult {
    let wrong = json!({
        "ociVersionMin": 1,
        "hooks": ["a", 2],
        "linux": { "capabilities": ["chown"], "namespaces": ["net"], "cgroup": { "v1": "no" } },
    });
    let found = schema::problems("features-schema.json", &wrong)?;
    let pointers: Vec<&str> = found.iter().filter_map(|it| it.split(':').next()).collect();
    for pointer in [
        "",
        "/ociVersionMin",
        "/hooks/1",
        "/linux/capabilities/0",
        "/linux/namespaces/0",
        "/linux/cgroup/v1",
    ] {
        ensure!(pointers.contains(&pointer), "{pointer:?} is not among {found:?}");
    }
    ensure_eq!(found.len(), 6);
    Ok(())
}

fn probed_features_are_what_the_schema_says(runtime: &Runtime) -> TestResult {
    let found = schema::problems("features-schema.json", &features(runtime, &["--probe"])?)?;
    ensure_eq!(found, Vec::<String>::new());
    Ok(())
}

fn probed_features_are_some_of_all(runtime: &Runtime) -> TestResult {
    let (all, here) = (features(runtime, &[])?, features(runtime, &["--probe"])?);
    is_part(&all, &here, "")?;
    ensure_eq!(here["annotations"]["corten.host.kernel"], read("/proc/sys/kernel/osrelease"));
    for name in here["linux"]["namespaces"].as_array().into_iter().flatten() {
        let file = match name.as_str() {
            Some("mount") => "mnt",
            Some("network") => "net",
            other => other.unwrap_or("?"),
        };
        let path = format!("/proc/self/ns/{file}");
        ensure!(std::path::Path::new(&path).exists(), "{path}");
    }
    Ok(())
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

/// Lists are shorter, switches false instead of true; annotations are more.
fn is_part(all: &Value, part: &Value, at: &str) -> TestResult {
    match (all, part) {
        (Value::Object(all), Value::Object(part)) => {
            for (name, member) in part.iter().filter(|(name, _)| *name != "annotations") {
                is_part(&all[name], member, &format!("{at}/{name}"))?;
            }
        }
        (Value::Array(all), Value::Array(part)) => {
            ensure!(part.iter().all(|item| all.contains(item)), "{at}: {part:?} has more");
        }
        (all, part) => {
            let less = (all, part) == (&json!(true), &json!(false));
            ensure!(all == part || less, "{at}: {part} is not {all}");
        }
    }
    Ok(())
}

/// The pointers that `plan` calls unsupported, of a configuration with this change.
fn unsupported(
    runtime: &Runtime,
    flags: &[&str],
    change: impl FnOnce(&mut Value),
) -> Result<Vec<String>, Failed> {
    let bundle = runtime.bundle_with(&["true"], change)?;
    let mut plan = runtime.command(["plan", "--format", "json", "--bundle"]).arg(bundle.path());
    for flag in flags {
        plan = plan.global(flag);
    }
    let plan: Value = serde_json::from_str(&plan.output()?.ok()?.stdout)?;
    let list = plan["unsupported"].as_array().into_iter().flatten();
    // The rest is what the program can do and this host has not: a security module.
    let list = list.filter(|remark| {
        remark["text"].as_str().is_some_and(|text| text.contains("not supported yet"))
    });
    Ok(list.map(|remark| remark["pointer"].as_str().unwrap_or_default().to_owned()).collect())
}

/// A feature, whether it is claimed, and a change of the configuration that uses it.
type Use = (&'static str, bool, &'static [&'static str], fn(&mut Value));

fn features_are_those_that_the_planner_takes(runtime: &Runtime) -> TestResult {
    let all = features(runtime, &[])?;
    let linux = &all["linux"];
    let is = |pointer: &str| linux.pointer(pointer) == Some(&json!(true));
    let uses: &[Use] = &[
        ("user namespaces", has(&linux["namespaces"], "user"), &[], |config| {
            add(config, "/linux/namespaces", json!({ "type": "user" }));
            let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
        }),
        ("time namespaces", has(&linux["namespaces"], "time"), &[], |config| {
            add(config, "/linux/namespaces", json!({ "type": "time" }));
        }),
        ("seccomp", is("/seccomp/enabled"), &[], |config| {
            config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
        }),
        ("selinux", is("/selinux/enabled"), &[], |config| {
            config["process"]["selinuxLabel"] = json!("a:b:c:s0");
        }),
        ("apparmor", is("/apparmor/enabled"), &[], |config| {
            config["process"]["apparmorProfile"] = json!("unconfined");
        }),
        ("intelRdt", is("/intelRdt/enabled"), &[], |config| {
            config["linux"]["intelRdt"] = json!({ "closID": "a" });
        }),
        ("netDevices", is("/netDevices/enabled"), &[], |config| {
            config["linux"]["netDevices"] = json!({ "eth9": {} });
        }),
        ("memoryPolicy", !linux["memoryPolicy"].is_null(), &[], |config| {
            config["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_LOCAL" });
        }),
        ("idmap", is("/mountExtensions/idmap/enabled"), &[], |config| {
            let map = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
            let mount = json!({ "destination": "/x", "source": "/", "options": ["bind"],
                "uidMappings": map, "gidMappings": map });
            add(config, "/mounts", mount);
        }),
        ("systemd", is("/cgroup/systemd"), &["--systemd-cgroup"], |config| {
            config["linux"]["cgroupsPath"] = json!("system.slice:corten:x");
        }),
        ("rdma", is("/cgroup/rdma"), &[], |config| {
            config["linux"]["resources"]["rdma"] = json!({ "mlx5_1": { "hcaHandles": 3 } });
        }),
    ];
    for (name, is_claimed, flags, change) in uses {
        let refused = unsupported(runtime, flags, change)?;
        ensure!(*is_claimed == refused.is_empty(), "{name}: {is_claimed}, but plan: {refused:?}");
    }
    ensure_eq!(has(&all["mountOptions"], "idmap"), is("/mountExtensions/idmap/enabled"));
    ensure!(!is("/cgroup/v1") && is("/cgroup/v2") && is("/cgroup/systemdUser"), "{linux}");
    Ok(())
}

/// Words that are not its own the planner passes to the file system: so it is seen which it knows.
fn features_have_every_mount_option_that_the_planner_takes(runtime: &Runtime) -> TestResult {
    let all = features(runtime, &[])?;
    let words = all["mountOptions"].as_array().ok_or("no mountOptions")?;
    ensure!(words.len() >= 60, "{} words", words.len());
    for word in words.iter().filter_map(Value::as_str) {
        if matches!(word, "bind" | "rbind" | "remount" | "idmap" | "ridmap") {
            continue;
        }
        let bundle = runtime.bundle_with(&["true"], |config| {
            let mount =
                json!({ "destination": "/x", "type": "tmpfs", "source": "x", "options": [word] });
            add(config, "/mounts", mount);
        })?;
        let plan = runtime.command(["plan", "--format", "json", "--bundle"]).arg(bundle.path());
        let plan: Value = serde_json::from_str(&plan.output()?.ok()?.stdout)?;
        let text = plan.to_string();
        let data = |word: &str| text.contains(&format!("\"data\":\"{word}\""));
        let superblock = ["ro", "sync", "dirsync", "lazytime", "mand"].contains(&word);
        ensure!(
            superblock || !(text.contains(&format!("\"options\":[\"{word}\"]")) || data(word)),
            "{word} goes to the file system"
        );
    }
    Ok(())
}

fn features_name_every_hook_that_runs(runtime: &Runtime) -> TestResult {
    let all = features(runtime, &[])?;
    let schema = schema::read("config-schema.json")?;
    let kinds = schema["properties"]["hooks"]["properties"].as_object().ok_or("no hooks")?;
    ensure_eq!(all["hooks"].as_array().map(Vec::len), Some(kinds.len()));
    for kind in kinds.keys() {
        ensure!(has(&all["hooks"], kind), "{kind} is not among {}", all["hooks"]);
        let bundle = runtime.bundle_with(&["true"], |config| {
            add(config, &format!("/hooks/{kind}"), json!({ "path": "relative" }));
        })?;
        let plan = runtime.command(["plan", "--bundle"]).arg(bundle.path()).output()?;
        plan.fails_with(&format!("/hooks/{kind}/0/path"))?;
    }
    Ok(())
}

/// What an annotation of the list changes is an error in a configuration where it cannot be.
fn features_name_the_annotations_that_act(runtime: &Runtime) -> TestResult {
    let all = features(runtime, &[])?;
    let unsafe_ones = &all["potentiallyUnsafeConfigAnnotations"];
    for (name, prefix) in
        [("run.oci.handler", "run.oci."), ("org.systemd.property.Slice", "org.systemd.property.")]
    {
        ensure!(has(unsafe_ones, prefix), "{prefix} is not among {unsafe_ones}");
        let bundle = runtime.bundle_with(&["true"], |config| {
            config["annotations"][name] = json!("wasm");
            config["linux"]["cgroupsPath"] = json!("system.slice:corten:x");
        })?;
        let plan = runtime.command(["plan", "--format", "json", "--bundle"]).arg(bundle.path());
        let said = plan.global("--systemd-cgroup").output()?;
        ensure!(format!("{said}").contains(&format!("/annotations/{name}")), "{name}: {said}");
    }
    Ok(())
}

fn features_have_every_capability_of_this_kernel(runtime: &Runtime) -> TestResult {
    let all = features(runtime, &[])?;
    let last: usize = read("/proc/sys/kernel/cap_last_cap").parse()?;
    let names = all["linux"]["capabilities"].as_array().map_or(0, Vec::len);
    ensure!(names > last, "{names} names, and the last is {last}");
    Ok(())
}

fn features_have_every_seccomp_word_that_the_planner_takes(runtime: &Runtime) -> TestResult {
    let all = features(runtime, &[])?;
    let words = schema::read("defs-linux.json")?;
    for (list, definition) in [
        ("actions", "SeccompAction"),
        ("operators", "SeccompOperators"),
        ("archs", "SeccompArch"),
        ("knownFlags", "SeccompFlag"),
        ("supportedFlags", "SeccompFlag"),
    ] {
        for word in words["definitions"][definition]["enum"].as_array().into_iter().flatten() {
            ensure!(
                all["linux"]["seccomp"][list].as_array().is_some_and(|all| all.contains(word)),
                "{word} is not among {list}"
            );
            let bundle = runtime.bundle_with(&["true"], |config| {
                let mut rule = json!({ "names": ["getcwd"], "action": "SCMP_ACT_NOTIFY" });
                let mut profile =
                    json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/a" });
                match list {
                    "actions" => rule["action"] = word.clone(),
                    "operators" => rule["args"] = json!([{ "index": 0, "value": 1, "op": word }]),
                    "archs" => profile["architectures"] = json!([word]),
                    _ => profile["flags"] = json!([word]),
                }
                profile["syscalls"] = json!([rule]);
                config["linux"]["seccomp"] = profile;
            })?;
            let plan = runtime.command(["plan", "--bundle"]).arg(bundle.path()).output()?;
            plan.ok().map_err(|error| format!("{word}: {}", error.message().unwrap_or("")))?;
        }
    }
    Ok(())
}

fn features_versions_are_taken(runtime: &Runtime) -> TestResult {
    let all = features(runtime, &[])?;
    for bound in ["ociVersionMin", "ociVersionMax"] {
        let bundle =
            runtime.bundle_with(&["true"], |config| config["ociVersion"] = all[bound].clone())?;
        runtime.run(&bundle)?.ok()?;
    }
    Ok(())
}

fn containerd_asks_for_features_without_global_flags(runtime: &Runtime) -> TestResult {
    let output = std::process::Command::new(runtime.program()).arg("features").output()?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let all: Value = serde_json::from_slice(&output.stdout)?;
    // What it looks at: gates of user namespaces, id-mapped mounts and recursive read-only.
    ensure!(all["linux"]["namespaces"].is_array() && all["mountOptions"].is_array(), "{all}");
    Ok(())
}

fn docker_asks_for_features_with_its_runtime_arguments(runtime: &Runtime) -> TestResult {
    let outcome = runtime.command(["features"]).global("--debug").output()?.ok()?;
    let all: Value = serde_json::from_str(&outcome.stdout)?;
    ensure!(all["ociVersionMin"].is_string() && all["ociVersionMax"].is_string(), "{all}");
    Ok(())
}

fn crio_finds_recursive_read_only(runtime: &Runtime) -> TestResult {
    let all = features(runtime, &[])?;
    ensure!(has(&all["mountOptions"], "rro"), "{all}");
    Ok(())
}
