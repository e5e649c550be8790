//! `linux.resources`: the text that is read back from the container's cgroup, and the effect in the container.
//!
//! Runs in: any process.

use std::fs;
use std::path::PathBuf;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Controller, Corten, HybridCgroup, NotOn, PureCgroup2, Root};
use crate::inside::{nothing_left, proc_file, refusal, refuses};
use crate::runtime::Runtime;

const OLD_WEIGHTS: &str = "1.1 has the old, linear weights";
const OURS: &str = "what it adds to runc";
const V1_ONLY: &str = "v1-only properties are an error there";

table! {
    memory_is_read_back: [Root, PureCgroup2, Controller("memory"), NotOn("crun", "leaves what it does not write")],
    cpu_is_read_back: [Root, PureCgroup2, Controller("cpu"), NotOn("crun", "1.8 does not write a quota of -1")],
    cpu_weight_burst_and_idle_are_read_back: [Root, PureCgroup2, Controller("cpu"), NotOn("runc", OLD_WEIGHTS), NotOn("crun", OLD_WEIGHTS)],
    cpuset_is_read_back: [Root, PureCgroup2, Controller("cpuset"), NotOn("crun", "leaves the container of a refused create behind")],
    pids_is_read_back: [Root, PureCgroup2, Controller("pids"), NotOn("crun", "ignores 0"), NotOn("runc", "ignores 0 before 1.4")],
    block_io_is_read_back: [Root, PureCgroup2, Controller("io"), Corten("rate 0 is no limit")],
    hugepages_are_read_back: [Root, PureCgroup2, Controller("hugetlb"), NotOn("crun", "has no rsvd")],
    unified_is_read_back: [Root, PureCgroup2, Controller("memory"), Controller("io")],
    what_runc_has_since_1_2_is_read_back: [Root, PureCgroup2, Controller("memory"), Controller("io"), Controller("hugetlb"), NotOn("runc", "1.1 is older"), NotOn("crun", "has none of it")],
    all_at_once_are_read_back: [Root, PureCgroup2, Controller("memory"), Controller("cpu"), Controller("pids"), NotOn("runc", OLD_WEIGHTS), NotOn("crun", OLD_WEIGHTS)],
    limits_hold_when_the_first_process_enters: [Root, PureCgroup2, Controller("memory"), Corten("init itself is counted")],
    controllers_are_enabled_down_the_path: [Root, PureCgroup2, Controller("memory"), Controller("pids")],
    v1_properties_are_ignored: [Root, PureCgroup2, NotOn("crun", V1_ONLY)],
    memory_limit_kills_who_exceeds_it: [Root, PureCgroup2, Controller("memory")],
    pids_limit_makes_fork_fail: [Root, PureCgroup2, Controller("pids")],
    cpu_quota_throttles: [Root, PureCgroup2, Controller("cpu")],
    file_that_is_not_there_is_refused_by_name: [Root, PureCgroup2, Controller("memory"), Corten(OURS)],
    device_that_is_not_there_is_refused_by_name: [Root, PureCgroup2, Controller("io"), Corten(OURS)],
    internal_processes_are_told: [Root, PureCgroup2, Controller("memory"), Corten(OURS)],
    limits_of_threads_work_beside_processes: [Root, PureCgroup2, Controller("pids"), Corten(OURS)],
    one_process_is_enough_with_a_joined_namespace: [Root, PureCgroup2, Controller("pids")],
    own_files_in_unified_are_refused: [Root, Corten("an init that is born frozen is waited for")],
    controller_that_nobody_has_is_refused: [Root, PureCgroup2, Corten(OURS)],
    limit_on_a_hybrid_host_is_refused_with_the_reason: [Root, HybridCgroup, Corten("v1 is not used")],
    no_limit_is_given_without_the_controller: [Root, Corten(OURS)],
    writable_cgroup_is_delegated: [Root, PureCgroup2, NotOn("runc", "its cgroupfs driver does not"), NotOn("crun", "delegates in user namespaces only")],
}

/// The directory of the container's cgroup.
pub fn directory(runtime: &Runtime, id: &str) -> Result<PathBuf, Failed> {
    let cgroups = proc_file(runtime.pid(id)?, "cgroup")?;
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::/")).ok_or("no cgroup v2")?;
    Ok(PathBuf::from("/sys/fs/cgroup").join(path))
}

/// One file of the container's cgroup, without the line end.
pub fn file(runtime: &Runtime, id: &str, name: &str) -> Result<String, Failed> {
    let path = directory(runtime, id)?.join(name);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.trim_end().to_owned())
}

/// Puts `resources` beside the device rules.
pub fn put(config: &mut Value, resources: &Value) {
    for (name, value) in resources.as_object().into_iter().flatten() {
        config["linux"]["resources"][name] = value.clone();
    }
}

/// Creates a container with these resources for each row, and reads each file back.
fn read_back<const N: usize>(runtime: &Runtime, rows: [(Value, &[(&str, &str)]); N]) -> TestResult {
    for (resources, expected) in rows {
        let bundle = runtime.bundle_with(&["true"], |config| put(config, &resources))?;
        let id = runtime.new_id();
        let created = runtime.create(&bundle, &id)?.ok();
        created
            .map_err(|failed| format!("{resources}: {}", failed.message().unwrap_or_default()))?;
        for (name, text) in expected {
            let found = file(runtime, &id, name)?;
            // Devices are in the order of their making.
            let mut lines: Vec<_> = found.lines().collect();
            lines.sort_unstable();
            ensure!(lines.join("\n") == *text, "{resources}: {name} is {found:?}, not {text:?}");
        }
        runtime.delete_force(&id)?.ok()?;
    }
    nothing_left(runtime)
}

fn memory_is_read_back(runtime: &Runtime) -> TestResult {
    let mib = 1 << 20;
    read_back(
        runtime,
        [
            (json!({}), &[("memory.max", "max"), ("memory.low", "0"), ("memory.swap.max", "max")]),
            (json!({ "memory": {} }), &[("memory.max", "max")]),
            (
                json!({ "memory": { "limit": 0, "reservation": 0, "swap": 0 } }),
                &[("memory.max", "max"), ("memory.swap.max", "max")],
            ),
            (
                json!({ "memory": { "limit": 64 * mib } }),
                &[("memory.max", "67108864"), ("memory.swap.max", "max")],
            ),
            // Down to a whole page.
            (json!({ "memory": { "limit": 64 * mib + 4095 } }), &[("memory.max", "67108864")]),
            (json!({ "memory": { "limit": i64::MAX } }), &[("memory.max", "max")]),
            (
                json!({ "memory": { "limit": -1 } }),
                &[("memory.max", "max"), ("memory.swap.max", "max")],
            ),
            (
                json!({ "memory": { "limit": -1, "swap": -1 } }),
                &[("memory.max", "max"), ("memory.swap.max", "max")],
            ),
            (
                json!({ "memory": { "limit": 64 * mib, "swap": -1 } }),
                &[("memory.max", "67108864"), ("memory.swap.max", "max")],
            ),
            (
                json!({ "memory": { "limit": 64 * mib, "swap": 64 * mib } }),
                &[("memory.max", "67108864"), ("memory.swap.max", "0")],
            ),
            (
                json!({ "memory": { "limit": 64 * mib, "swap": 96 * mib } }),
                &[("memory.max", "67108864"), ("memory.swap.max", "33554432")],
            ),
            (
                json!({ "memory": { "limit": 64 * mib, "swap": 0 } }),
                &[("memory.max", "67108864"), ("memory.swap.max", "max")],
            ),
            (
                json!({ "memory": { "swap": -1 } }),
                &[("memory.max", "max"), ("memory.swap.max", "max")],
            ),
            (
                json!({ "memory": { "reservation": 32 * mib } }),
                &[("memory.low", "33554432"), ("memory.max", "max")],
            ),
            (json!({ "memory": { "reservation": -1 } }), &[("memory.low", "max")]),
            (
                json!({ "memory": { "limit": 64 * mib, "reservation": 32 * mib, "swap": 65 * mib } }),
                &[
                    ("memory.max", "67108864"),
                    ("memory.low", "33554432"),
                    ("memory.swap.max", "1048576"),
                ],
            ),
            (
                json!({ "memory": { "limit": 64 * mib, "checkBeforeUpdate": true } }),
                &[("memory.max", "67108864")],
            ),
        ],
    )
}

fn cpu_is_read_back(runtime: &Runtime) -> TestResult {
    read_back(
        runtime,
        [
            (json!({ "cpu": {} }), &[("cpu.weight", "100"), ("cpu.max", "max 100000")]),
            (
                json!({ "cpu": { "shares": 0, "quota": 0, "period": 0 } }),
                &[("cpu.weight", "100"), ("cpu.max", "max 100000")],
            ),
            (json!({ "cpu": { "quota": 50000 } }), &[("cpu.max", "50000 100000")]),
            (
                json!({ "cpu": { "quota": 50000, "period": 200_000 } }),
                &[("cpu.max", "50000 200000")],
            ),
            (json!({ "cpu": { "period": 200_000 } }), &[("cpu.max", "max 200000")]),
            (json!({ "cpu": { "quota": -1 } }), &[("cpu.max", "max 100000")]),
            (json!({ "cpu": { "quota": -1, "period": 50000 } }), &[("cpu.max", "max 50000")]),
            (json!({ "cpu": { "quota": 1000, "period": 1000 } }), &[("cpu.max", "1000 1000")]),
        ],
    )
}

fn cpu_weight_burst_and_idle_are_read_back(runtime: &Runtime) -> TestResult {
    read_back(
        runtime,
        [
            (json!({ "cpu": { "shares": 1 } }), &[("cpu.weight", "1")]),
            (json!({ "cpu": { "shares": 2 } }), &[("cpu.weight", "1")]),
            (json!({ "cpu": { "shares": 512 } }), &[("cpu.weight", "59")]),
            (json!({ "cpu": { "shares": 1024 } }), &[("cpu.weight", "100")]),
            (json!({ "cpu": { "shares": 3333 } }), &[("cpu.weight", "256")]),
            (json!({ "cpu": { "shares": 262_144 } }), &[("cpu.weight", "10000")]),
            (json!({ "cpu": { "shares": 1_u64 << 40 } }), &[("cpu.weight", "10000")]),
            (
                json!({ "cpu": { "quota": 50000, "burst": 20000 } }),
                &[("cpu.max", "50000 100000"), ("cpu.max.burst", "20000")],
            ),
            (json!({ "cpu": { "quota": 50000, "burst": 50000 } }), &[("cpu.max.burst", "50000")]),
            (json!({ "cpu": { "quota": 50000, "burst": 0 } }), &[("cpu.max.burst", "0")]),
            // Its weight then shows as 0, or since some kernel after 6.1 as 1.
            (json!({ "cpu": { "idle": 1 } }), &[("cpu.idle", "1")]),
            (json!({ "cpu": { "idle": 0 } }), &[("cpu.idle", "0")]),
            (
                json!({ "cpu": { "idle": 0, "shares": 512 } }),
                &[("cpu.idle", "0"), ("cpu.weight", "59")],
            ),
            (json!({ "cpu": { "idle": 1, "shares": 512 } }), &[("cpu.idle", "1")]),
        ],
    )
}

fn cpuset_is_read_back(runtime: &Runtime) -> TestResult {
    read_back(
        runtime,
        [
            (
                json!({ "cpu": { "cpus": "", "mems": "" } }),
                &[("cpuset.cpus", ""), ("cpuset.mems", "")],
            ),
            (
                json!({ "cpu": { "cpus": "0" } }),
                &[("cpuset.cpus", "0"), ("cpuset.cpus.effective", "0")],
            ),
            (json!({ "cpu": { "cpus": "0-0,0" } }), &[("cpuset.cpus", "0")]),
            (json!({ "cpu": { "mems": "0" } }), &[("cpuset.mems", "0")]),
        ],
    )?;
    refuses(runtime, &["cpuset.cpus"], |config| put(config, &json!({ "cpu": { "cpus": "5000" } })))
}

fn pids_is_read_back(runtime: &Runtime) -> TestResult {
    read_back(
        runtime,
        [
            (json!({ "pids": {} }), &[("pids.max", "max")]),
            (json!({ "pids": { "limit": null } }), &[("pids.max", "max")]),
            (json!({ "pids": { "limit": 0 } }), &[("pids.max", "1")]),
            (json!({ "pids": { "limit": 1 } }), &[("pids.max", "1")]),
            (json!({ "pids": { "limit": 2048 } }), &[("pids.max", "2048")]),
            (json!({ "pids": { "limit": -1 } }), &[("pids.max", "max")]),
        ],
    )
}

fn block_io_is_read_back(runtime: &Runtime) -> TestResult {
    let rate = |list: &str, rate: u64| json!({ "blockIO": { list: [{ "major": 7, "minor": 0, "rate": rate }] } });
    read_back(
        runtime,
        [
            (json!({ "blockIO": { "weight": 0 } }), &[("io.max", "")]),
            (
                rate("throttleReadBpsDevice", 1_048_576),
                &[("io.max", "7:0 rbps=1048576 wbps=max riops=max wiops=max")],
            ),
            (
                rate("throttleWriteBpsDevice", 1_048_576),
                &[("io.max", "7:0 rbps=max wbps=1048576 riops=max wiops=max")],
            ),
            (
                rate("throttleReadIOPSDevice", 100),
                &[("io.max", "7:0 rbps=max wbps=max riops=100 wiops=max")],
            ),
            (
                rate("throttleWriteIOPSDevice", 100),
                &[("io.max", "7:0 rbps=max wbps=max riops=max wiops=100")],
            ),
            (rate("throttleReadBpsDevice", 0), &[("io.max", "")]),
            (
                json!({ "blockIO": {
                "throttleReadBpsDevice": [{ "major": 7, "minor": 0, "rate": 4096 }, { "major": 7, "minor": 1, "rate": 8192 }],
                "throttleWriteIOPSDevice": [{ "major": 7, "minor": 1, "rate": 5 }]
            } }),
                &[(
                    "io.max",
                    "7:0 rbps=4096 wbps=max riops=max wiops=max\n7:1 rbps=8192 wbps=max riops=max wiops=5",
                )],
            ),
        ],
    )?;
    weights_are_read_back(runtime)
}

/// In whatever file this kernel has; without any the weight is refused.
fn weights_are_read_back(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    runtime.create(&runtime.bundle(&["true"])?, &id)?.ok()?;
    let has = |name: &str| Ok::<_, Failed>(directory(runtime, &id)?.join(name).exists());
    let (bfq, iocost) = (has("io.bfq.weight")?, has("io.weight")?);
    runtime.delete_force(&id)?.ok()?;
    if bfq {
        return read_back(
            runtime,
            [
                (json!({ "blockIO": { "weight": 10 } }), &[("io.bfq.weight", "default 10")]),
                (json!({ "blockIO": { "weight": 750 } }), &[("io.bfq.weight", "default 750")]),
                (json!({ "blockIO": { "weight": 1000 } }), &[("io.bfq.weight", "default 1000")]),
            ],
        );
    }
    if iocost {
        return read_back(
            runtime,
            [
                (json!({ "blockIO": { "weight": 10 } }), &[("io.weight", "default 1")]),
                (json!({ "blockIO": { "weight": 750 } }), &[("io.weight", "default 7475")]),
                (json!({ "blockIO": { "weight": 1000 } }), &[("io.weight", "default 10000")]),
            ],
        );
    }
    let weight = json!({ "blockIO": { "weight": 10 } });
    refuses(runtime, &["/linux/resources/blockIO/weight", "BFQ"], |config| put(config, &weight))
}

fn hugepages_are_read_back(runtime: &Runtime) -> TestResult {
    let limit = |limit: u64| json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": limit }] });
    read_back(
        runtime,
        [
            (limit(0), &[("hugetlb.2MB.max", "0")]),
            (limit(4_194_304), &[("hugetlb.2MB.max", "4194304")]),
            // Down to a whole page.
            (limit(4_194_305), &[("hugetlb.2MB.max", "4194304")]),
        ],
    )?;
    refuses(runtime, &["hugetlb.3MB.max"], |config| {
        put(config, &json!({ "hugepageLimits": [{ "pageSize": "3MB", "limit": 0 }] }));
    })
}

fn unified_is_read_back(runtime: &Runtime) -> TestResult {
    read_back(
        runtime,
        [
            (json!({ "unified": {} }), &[("memory.max", "max")]),
            (json!({ "unified": { "memory.high": "20971520" } }), &[("memory.high", "20971520")]),
            (
                json!({ "unified": { "memory.min": "131072", "memory.oom.group": "1" } }),
                &[("memory.min", "131072"), ("memory.oom.group", "1")],
            ),
            (
                json!({ "unified": { "cgroup.max.depth": "3", "cgroup.max.descendants": "5" } }),
                &[("cgroup.max.depth", "3"), ("cgroup.max.descendants", "5")],
            ),
            (
                json!({ "unified": { "cpu.max": "10000 100000", "cpu.weight": "42" } }),
                &[("cpu.max", "10000 100000"), ("cpu.weight", "42")],
            ),
            (json!({ "unified": { "pids.max": "99\n" } }), &[("pids.max", "99")]),
            // The last word.
            (
                json!({ "memory": { "limit": 33_554_432 }, "pids": { "limit": 20 }, "unified": { "memory.max": "41943040", "pids.max": "42" } }),
                &[("memory.max", "41943040"), ("pids.max", "42")],
            ),
        ],
    )
}

fn what_runc_has_since_1_2_is_read_back(runtime: &Runtime) -> TestResult {
    read_back(
        runtime,
        [
            (
                json!({ "memory": { "limit": -1, "swap": 67_108_864 } }),
                &[("memory.max", "max"), ("memory.swap.max", "67108864")],
            ),
            (
                json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4_194_304 }] }),
                &[("hugetlb.2MB.max", "4194304"), ("hugetlb.2MB.rsvd.max", "4194304")],
            ),
            (
                json!({ "unified": { "io.max": "7:0 riops=333 wiops=444\n7:1 riops=555 wiops=666\n" } }),
                &[(
                    "io.max",
                    "7:0 rbps=max wbps=max riops=333 wiops=444\n7:1 rbps=max wbps=max riops=555 wiops=666",
                )],
            ),
        ],
    )
}

fn all_at_once_are_read_back(runtime: &Runtime) -> TestResult {
    let resources = json!({
        "memory": { "limit": 67_108_864, "reservation": 33_554_432, "swap": 134_217_728 },
        "cpu": { "shares": 512, "quota": 50000, "period": 100_000, "burst": 10000, "cpus": "0", "mems": "0" },
        "pids": { "limit": 100 },
        "blockIO": { "throttleReadBpsDevice": [{ "major": 7, "minor": 0, "rate": 1_048_576 }] },
        "hugepageLimits": [{ "pageSize": "2MB", "limit": 2_097_152 }],
        "unified": { "memory.high": "50331648" }
    });
    read_back(
        runtime,
        [(
            resources,
            &[
                ("memory.max", "67108864"),
                ("memory.low", "33554432"),
                ("memory.swap.max", "67108864"),
                ("memory.high", "50331648"),
                ("cpu.weight", "59"),
                ("cpu.max", "50000 100000"),
                ("cpu.max.burst", "10000"),
                ("cpuset.cpus", "0"),
                ("cpuset.mems", "0"),
                ("pids.max", "100"),
                ("io.max", "7:0 rbps=1048576 wbps=max riops=max wiops=max"),
                ("hugetlb.2MB.max", "2097152"),
            ],
        )],
    )
}

/// A limit that is written after the first process has entered does not keep that process out.
fn limits_hold_when_the_first_process_enters(runtime: &Runtime) -> TestResult {
    let refused = refusal(runtime, |config| put(config, &json!({ "memory": { "limit": 4096 } })))?;
    ensure!(!refused.stderr.is_empty(), "no message");
    Ok(())
}

fn controllers_are_enabled_down_the_path(runtime: &Runtime) -> TestResult {
    let path = format!("/{}/a/b/c", runtime.marker());
    let bundle = runtime.bundle_with(&["true"], |config| {
        config["linux"]["cgroupsPath"] = json!(path);
        put(config, &json!({ "pids": { "limit": 7 } }));
    })?;
    let id = runtime.new_id();
    runtime.create(&bundle, &id)?.ok()?;
    ensure_eq!(file(runtime, &id, "pids.max")?, "7");
    // Not only that: engines read the files of all.
    ensure_eq!(file(runtime, &id, "memory.max")?, "max");
    runtime.delete_force(&id)?.ok()?;
    let top = PathBuf::from("/sys/fs/cgroup").join(runtime.marker());
    // The parents are the caller's, as with runc.
    for directory in [top.join("a/b"), top.join("a"), top] {
        fs::remove_dir(directory)?;
    }
    Ok(())
}

fn v1_properties_are_ignored(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["true"], |config| {
        put(
            config,
            &json!({
                "memory": { "swappiness": 60, "disableOOMKiller": true, "useHierarchy": true },
                "cpu": { "realtimeRuntime": 1000, "realtimePeriod": 1000 },
                "network": { "classID": 1 }
            }),
        );
    })?;
    runtime.run(&bundle)?.ok()?;
    Ok(())
}

fn memory_limit_kills_who_exceeds_it(runtime: &Runtime) -> TestResult {
    // Not pid 1: the shell sees its child die.
    let script = "dd if=/dev/zero of=/dev/null bs=128M count=1 2>/dev/null; echo $?; grep oom_kill /sys/fs/cgroup/memory.events";
    let bundle = runtime.bundle_with(&["sh", "-c", script], |config| {
        put(config, &json!({ "memory": { "limit": 33_554_432, "swap": 33_554_432 } }));
    })?;
    let outcome = runtime.run(&bundle)?.ok()?;
    ensure!(outcome.stdout.starts_with("137\noom_kill 1\n"), "{outcome}");
    Ok(())
}

fn pids_limit_makes_fork_fail(runtime: &Runtime) -> TestResult {
    let script = "for i in 1 2 3 4 5; do sleep 100 & done";
    let bundle = runtime.bundle_with(&["sh", "-c", script], |config| {
        put(config, &json!({ "pids": { "limit": 3 } }));
    })?;
    let outcome = runtime.run(&bundle)?;
    ensure!(outcome.code() != 0 && outcome.stderr.contains("fork"), "{outcome}");
    Ok(())
}

fn cpu_quota_throttles(runtime: &Runtime) -> TestResult {
    let script = "i=0; while grep -q '^nr_throttled 0' /sys/fs/cgroup/cpu.stat; do i=$((i+1)); done; grep nr_throttled /sys/fs/cgroup/cpu.stat";
    let bundle = runtime.bundle_with(&["sh", "-c", script], |config| {
        put(config, &json!({ "cpu": { "quota": 5000, "period": 100_000 } }));
    })?;
    let outcome = runtime.run(&bundle)?.ok()?;
    ensure!(outcome.stdout.starts_with("nr_throttled "), "{outcome}");
    Ok(())
}

fn file_that_is_not_there_is_refused_by_name(runtime: &Runtime) -> TestResult {
    refuses(runtime, &["/linux/resources/unified/memory.nosuch", "no such file"], |config| {
        put(config, &json!({ "unified": { "memory.nosuch": "1" } }));
    })
}

fn device_that_is_not_there_is_refused_by_name(runtime: &Runtime) -> TestResult {
    refuses(
        runtime,
        &["/linux/resources/blockIO/throttleReadBpsDevice/0", "no such disk"],
        |config| {
            let device = json!({ "major": 250, "minor": 99, "rate": 1 });
            put(config, &json!({ "blockIO": { "throttleReadBpsDevice": [device] } }));
        },
    )
}

/// A cgroup below one that has processes cannot have controllers; without limits it can be used.
fn internal_processes_are_told(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let outer = runtime.bundle_with(&["sleep", "1000"], |config| {
        config["linux"]["cgroupsPath"] = json!(format!("/{}", runtime.marker()));
    })?;
    runtime.create(&outer, &id)?.ok()?;
    let inner = |limits: Value| {
        runtime.bundle_with(&["true"], |config| {
            config["linux"]["cgroupsPath"] = json!(format!("/{}/inner", runtime.marker()));
            put(config, &limits);
        })
    };
    let limited = inner(json!({ "memory": { "limit": 67_108_864 } }))?;
    let refused = runtime.create(&limited, &runtime.new_id())?;
    refused.fails_with("/linux/resources/memory/limit")?.fails_with("no internal processes")?;
    runtime.run(&inner(json!({}))?)?.ok()?;
    runtime.delete_force(&id)?.ok()?;
    Ok(())
}

/// Below processes the container's cgroup is in thread mode, in which controllers of threads work and others do not.
fn limits_of_threads_work_beside_processes(runtime: &Runtime) -> TestResult {
    let outer = runtime.new_id();
    let bundle = runtime.bundle_with(&["sleep", "1000"], |config| {
        config["linux"]["cgroupsPath"] = json!(format!("/{}", runtime.marker()));
    })?;
    runtime.create(&bundle, &outer)?.ok()?;
    let inner = runtime.bundle_with(&["sleep", "1000"], |config| {
        config["linux"]["cgroupsPath"] = json!(format!("/{}/inner", runtime.marker()));
        put(config, &json!({ "pids": { "limit": 7 } }));
    })?;
    let id = runtime.new_id();
    runtime.create(&inner, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    ensure_eq!(file(runtime, &id, "pids.max")?, "7");
    ensure_eq!(file(runtime, &id, "cgroup.type")?, "threaded");
    runtime.command(["kill", "--all", &id, "TERM"]).output()?.ok()?;
    // pid 1 of a container takes no signal that it does not handle; `cgroup.kill` answers EOPNOTSUPP here.
    runtime.command(["kill", "--all", &id, "KILL"]).output()?.ok()?;
    runtime.wait_for_status(&id, "stopped")?;
    runtime.delete(&id)?.ok()?;
    // Of the processes beside it nobody was killed.
    ensure_eq!(runtime.status(&outer)?, "created");
    runtime.delete_force(&outer)?.ok()?;
    Ok(())
}

fn one_process_is_enough_with_a_joined_namespace(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["cat", "/sys/fs/cgroup/pids.max"], |config| {
        put(config, &json!({ "pids": { "limit": 1 } }));
        let namespaces = config["linux"]["namespaces"].as_array_mut().into_iter().flatten();
        for namespace in namespaces.filter(|namespace| namespace["type"] == "network") {
            namespace["path"] = json!("/proc/1/ns/net");
        }
    })?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "1\n");
    Ok(())
}

fn own_files_in_unified_are_refused(runtime: &Runtime) -> TestResult {
    for name in ["cgroup.freeze", "cgroup.procs", "../cgroup.procs"] {
        refuses(runtime, &["/linux/resources/unified/"], |config| {
            put(config, &json!({ "unified": { name: "1" } }));
        })?;
    }
    Ok(())
}

fn controller_that_nobody_has_is_refused(runtime: &Runtime) -> TestResult {
    refuses(runtime, &["/linux/resources/unified/nosuch.max", "is not in this kernel"], |config| {
        put(config, &json!({ "unified": { "nosuch.max": "1" } }));
    })
}

fn limit_on_a_hybrid_host_is_refused_with_the_reason(runtime: &Runtime) -> TestResult {
    runtime.run(&runtime.bundle(&["true"])?)?.ok()?;
    let texts = [
        "/linux/resources/memory/limit",
        "is bound to cgroup v1",
        "systemd.unified_cgroup_hierarchy=1",
    ];
    refuses(runtime, &texts, |config| put(config, &json!({ "memory": { "limit": 67_108_864 } })))
}

fn no_limit_is_given_without_the_controller(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["true"], |config| {
        put(
            config,
            &json!({
                "memory": { "limit": -1, "swap": -1 }, "pids": { "limit": -1 },
                "cpu": { "quota": -1, "shares": 1024, "idle": 0 }
            }),
        );
    })?;
    runtime.run(&bundle)?.ok()?;
    Ok(())
}

/// config-linux.md, "Cgroup ownership".
fn writable_cgroup_is_delegated(runtime: &Runtime) -> TestResult {
    let owners = "stat -c '%n %u' /sys/fs/cgroup /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/cgroup.max.depth";
    let seen = |options: &[&str]| -> Result<String, Failed> {
        let bundle = runtime.bundle_with(&["sh", "-c", owners], |config| {
            config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
            let mounts = config["mounts"].as_array_mut().into_iter().flatten();
            for mount in mounts.filter(|mount| mount["type"] == "cgroup") {
                mount["options"] = json!(options);
            }
        })?;
        Ok(runtime.run(&bundle)?.ok()?.stdout)
    };
    let expected = |uid: u32| {
        format!(
            "/sys/fs/cgroup {uid}\n/sys/fs/cgroup/cgroup.procs {uid}\n/sys/fs/cgroup/cgroup.max.depth 0\n"
        )
    };
    ensure_eq!(seen(&["nosuid", "rw"])?, expected(1000));
    ensure_eq!(seen(&["nosuid", "ro"])?, expected(0));
    Ok(())
}
