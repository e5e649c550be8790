//! What each property of `/linux/resources` becomes. The texts are those that runc 1.4 writes, but where a comment says other.

use serde_json::{Value, json};

use super::cpu::weight;
use super::{Otherwise, Setting, Update, settings};
use crate::plan::types::Remark;
use crate::spec::{LinuxResources, SpecError};

fn planned(resources: Value) -> Result<(Vec<Setting>, Vec<Remark>), SpecError> {
    let resources: LinuxResources = serde_json::from_value(resources).unwrap();
    let mut warnings = Vec::new();
    Ok((settings(&resources, &mut warnings)?, warnings))
}

/// `file=text`, in order.
fn written(resources: Value) -> Vec<String> {
    let (settings, _) = planned(resources).unwrap();
    settings.iter().map(|setting| format!("{}={}", setting.file, setting.text)).collect()
}

#[track_caller]
fn table<const N: usize>(cases: [(Value, &[&str]); N]) {
    for (resources, expected) in cases {
        assert_eq!(written(resources.clone()), expected, "{resources}");
    }
}

#[test]
fn memory_of_every_kind_is_written_as_runc_does() {
    let mib = 1 << 20;
    table([
        (json!({}), &[]),
        (json!({ "memory": {} }), &[]),
        (json!({ "memory": { "limit": 0, "reservation": 0, "swap": 0 } }), &[]),
        (json!({ "memory": { "limit": 64 * mib } }), &["memory.max=67108864"]),
        (json!({ "memory": { "limit": 1 } }), &["memory.max=1"]),
        (json!({ "memory": { "limit": i64::MAX } }), &["memory.max=9223372036854775807"]),
        (json!({ "memory": { "limit": -1 } }), &["memory.swap.max=max", "memory.max=max"]),
        (
            json!({ "memory": { "limit": -1, "swap": -1 } }),
            &["memory.swap.max=max", "memory.max=max"],
        ),
        (
            json!({ "memory": { "limit": -1, "swap": 64 * mib } }),
            &["memory.swap.max=67108864", "memory.max=max"],
        ),
        (
            json!({ "memory": { "limit": 64 * mib, "swap": -1 } }),
            &["memory.swap.max=max", "memory.max=67108864"],
        ),
        (
            json!({ "memory": { "limit": 64 * mib, "swap": 64 * mib } }),
            &["memory.swap.max=0", "memory.max=67108864"],
        ),
        (
            json!({ "memory": { "limit": 64 * mib, "swap": 96 * mib } }),
            &["memory.swap.max=33554432", "memory.max=67108864"],
        ),
        (json!({ "memory": { "limit": 64 * mib, "swap": 0 } }), &["memory.max=67108864"]),
        (json!({ "memory": { "swap": -1 } }), &["memory.swap.max=max"]),
        (json!({ "memory": { "reservation": 32 * mib } }), &["memory.low=33554432"]),
        (json!({ "memory": { "reservation": -1 } }), &["memory.low=max"]),
        (
            json!({ "memory": { "limit": 64 * mib, "reservation": 32 * mib, "swap": 65 * mib } }),
            &["memory.swap.max=1048576", "memory.max=67108864", "memory.low=33554432"],
        ),
        (json!({ "memory": { "limit": 4096, "checkBeforeUpdate": true } }), &["memory.max=4096"]),
        (
            json!({ "memory": { "kernel": 5, "kernelTCP": 5, "swappiness": 60, "useHierarchy": true } }),
            &[],
        ),
    ]);
}

#[test]
fn memory_swap_that_means_nothing_is_refused_with_the_text_of_runc() {
    for (memory, text) in [
        (json!({ "swap": 1 }), "unable to set swap limit without memory limit"),
        (json!({ "limit": 0, "swap": 1 }), "unable to set swap limit without memory limit"),
        (json!({ "limit": 2, "swap": 1 }), "memory+swap limit should be >= memory limit"),
    ] {
        let error = planned(json!({ "memory": memory })).unwrap_err();
        assert_eq!(error.to_string(), format!("/linux/resources/memory/swap: {text}"));
    }
}

#[test]
fn cpu_of_every_kind_is_written_as_runc_does() {
    table([
        (json!({ "cpu": {} }), &[]),
        (json!({ "cpu": { "shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": "" } }), &[]),
        (json!({ "cpu": { "shares": 1024 } }), &["cpu.weight=100"]),
        (json!({ "cpu": { "shares": 2 } }), &["cpu.weight=1"]),
        (json!({ "cpu": { "quota": 50000 } }), &["cpu.max=50000 100000"]),
        (json!({ "cpu": { "quota": 50000, "period": 200_000 } }), &["cpu.max=50000 200000"]),
        (json!({ "cpu": { "period": 200_000 } }), &["cpu.max=max 200000"]),
        (json!({ "cpu": { "quota": 0, "period": 200_000 } }), &["cpu.max=max 200000"]),
        (json!({ "cpu": { "quota": -1 } }), &["cpu.max=max 100000"]),
        (json!({ "cpu": { "quota": -1, "period": 50000 } }), &["cpu.max=max 50000"]),
        (
            json!({ "cpu": { "quota": 50000, "burst": 20000 } }),
            &["cpu.max.burst=20000", "cpu.max=50000 100000"],
        ),
        (json!({ "cpu": { "burst": 20000 } }), &["cpu.max.burst=20000"]),
        (
            json!({ "cpu": { "quota": 50000, "burst": 0 } }),
            &["cpu.max.burst=0", "cpu.max=50000 100000"],
        ),
        (json!({ "cpu": { "idle": 1 } }), &["cpu.idle=1"]),
        (json!({ "cpu": { "idle": 0 } }), &["cpu.idle=0"]),
        (json!({ "cpu": { "idle": 0, "shares": 512 } }), &["cpu.idle=0", "cpu.weight=59"]),
        // runc writes the weight too, and fails.
        (json!({ "cpu": { "idle": 1, "shares": 512 } }), &["cpu.idle=1"]),
        (json!({ "unified": { "cpu.idle": "1", "cpu.weight": "8" } }), &["cpu.idle=1"]),
        (
            json!({ "cpu": { "idle": 0 }, "unified": { "cpu.weight": "8" } }),
            &["cpu.idle=0", "cpu.weight=8"],
        ),
        (json!({ "cpu": { "cpus": "0-1" } }), &["cpuset.cpus=0-1"]),
        (json!({ "cpu": { "mems": "0" } }), &["cpuset.mems=0"]),
        (
            json!({ "cpu": { "cpus": "0", "mems": "0", "shares": 100, "quota": 1000, "period": 1000 } }),
            &["cpu.weight=17", "cpu.max=1000 1000", "cpuset.cpus=0", "cpuset.mems=0"],
        ),
        (json!({ "cpu": { "realtimePeriod": 1, "realtimeRuntime": 1 } }), &[]),
    ]);
}

#[test]
fn cpu_burst_waits_for_a_quota_that_is_set_too() {
    let first = |cpu: Value| planned(json!({ "cpu": cpu })).unwrap().0.remove(0).otherwise;
    assert_eq!(first(json!({ "burst": 5, "quota": 50 })), Otherwise::Later);
    assert_eq!(first(json!({ "burst": 5 })), Otherwise::Fail);
    assert_eq!(first(json!({ "burst": 0, "quota": 50 })), Otherwise::Holds);
}

/// What the formula of opencontainers/cgroups gives, by its own test and by a computation with 60 digits.
#[test]
fn weight_of_shares_follows_the_curve() {
    for (shares, expected) in [
        (0, None),
        (1, Some(1)),
        (2, Some(1)),
        (3, Some(2)),
        (10, Some(4)),
        (100, Some(17)),
        (512, Some(59)),
        (1023, Some(100)),
        (1024, Some(100)),
        (1025, Some(101)),
        (3333, Some(256)),
        (10240, Some(639)),
        (262_143, Some(10_000)),
        (262_144, Some(10_000)),
        (u64::MAX, Some(10_000)),
    ] {
        assert_eq!(weight(shares), expected, "{shares}");
    }
    let all: Vec<_> = (2..=262_144).filter_map(weight).collect();
    assert!(all.is_sorted());
    assert!(all.iter().all(|weight| (1..=10_000).contains(weight)));
}

#[test]
fn pids_limit_is_written_as_runtime_spec_1_3_has_it() {
    table([
        (json!({ "pids": {} }), &[]),
        (json!({ "pids": { "limit": null } }), &[]),
        (json!({ "pids": { "limit": 0 } }), &["pids.max=1"]),
        (json!({ "pids": { "limit": 1 } }), &["pids.max=1"]),
        (json!({ "pids": { "limit": 4_194_304 } }), &["pids.max=4194304"]),
        (json!({ "pids": { "limit": -1 } }), &["pids.max=max"]),
        (json!({ "pids": { "limit": i64::MIN } }), &["pids.max=max"]),
    ]);
}

#[test]
fn block_io_of_every_kind_is_written_as_runc_does() {
    let device = |key: &str, value: u64| json!({ "major": 7, "minor": 1, key: value });
    table([
        (json!({ "blockIO": { "weight": 0 } }), &[]),
        (json!({ "blockIO": { "weight": 10 } }), &["io.bfq.weight=10"]),
        (json!({ "blockIO": { "weight": 1000 } }), &["io.bfq.weight=1000"]),
        (
            json!({ "blockIO": { "weight": 500, "weightDevice": [device("weight", 300)] } }),
            &["io.bfq.weight=500", "io.bfq.weight=7:1 300"],
        ),
        (json!({ "blockIO": { "weightDevice": [device("leafWeight", 300)] } }), &[]),
        (
            json!({ "blockIO": { "throttleReadBpsDevice": [device("rate", 1_048_576)] } }),
            &["io.max=7:1 rbps=1048576"],
        ),
        (
            json!({ "blockIO": { "throttleWriteBpsDevice": [device("rate", 1)] } }),
            &["io.max=7:1 wbps=1"],
        ),
        (
            json!({ "blockIO": { "throttleReadIOPSDevice": [device("rate", 9)] } }),
            &["io.max=7:1 riops=9"],
        ),
        (
            json!({ "blockIO": { "throttleWriteIOPSDevice": [device("rate", u64::MAX)] } }),
            &["io.max=7:1 wiops=18446744073709551615"],
        ),
        // runc writes 0, which the kernel refuses.
        (
            json!({ "blockIO": { "throttleReadBpsDevice": [device("rate", 0)] } }),
            &["io.max=7:1 rbps=max"],
        ),
        (
            json!({ "blockIO": {
                "throttleWriteIOPSDevice": [device("rate", 4)], "throttleReadIOPSDevice": [device("rate", 3)],
                "throttleWriteBpsDevice": [device("rate", 2)], "throttleReadBpsDevice": [device("rate", 1)]
            } }),
            &["io.max=7:1 rbps=1", "io.max=7:1 wbps=2", "io.max=7:1 riops=3", "io.max=7:1 wiops=4"],
        ),
    ]);
}

#[test]
fn block_io_weight_without_bfq_is_io_weight() {
    let otherwise = |io: Value| planned(json!({ "blockIO": io })).unwrap().0.remove(0).otherwise;
    for (weight, expected) in [(10, "1"), (11, "11"), (500, "4950"), (750, "7475"), (1000, "10000")]
    {
        let expected = Otherwise::Write("io.weight", expected.into());
        assert_eq!(otherwise(json!({ "weight": weight })), expected);
    }
    let device = json!({ "weightDevice": [{ "major": 8, "minor": 0, "weight": 10 }] });
    assert_eq!(otherwise(device), Otherwise::Write("io.weight", "8:0 1".into()));
}

#[test]
fn hugepages_and_rdma_are_written_as_runc_does() {
    table([
        (
            json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4_194_304 }] }),
            &["hugetlb.2MB.max=4194304", "hugetlb.2MB.rsvd.max=4194304"],
        ),
        (
            json!({ "hugepageLimits": [{ "pageSize": "1GB", "limit": 0 }, { "pageSize": "64KB", "limit": u64::MAX }] }),
            &[
                "hugetlb.1GB.max=0",
                "hugetlb.1GB.rsvd.max=0",
                "hugetlb.64KB.max=18446744073709551615",
                "hugetlb.64KB.rsvd.max=18446744073709551615",
            ],
        ),
        (
            json!({ "rdma": { "mlx5_1": { "hcaHandles": 3, "hcaObjects": 10000 } } }),
            &["rdma.max=mlx5_1 hca_handle=3 hca_object=10000"],
        ),
        (json!({ "rdma": { "mlx4_0": { "hcaObjects": 0 } } }), &["rdma.max=mlx4_0 hca_object=0"]),
        (
            json!({ "rdma": { "b": { "hcaHandles": 1 }, "a": { "hcaHandles": 2 } } }),
            &["rdma.max=a hca_handle=2", "rdma.max=b hca_handle=1"],
        ),
    ]);
}

#[test]
fn unified_is_written_last_and_line_by_line() {
    table([
        (json!({ "unified": {} }), &[]),
        (json!({ "unified": { "memory.high": "1073741824" } }), &["memory.high=1073741824"]),
        (
            json!({ "unified": { "memory.min": "1", "cgroup.max.depth": "3", "misc.max": "res_a 1" } }),
            &["cgroup.max.depth=3", "memory.min=1", "misc.max=res_a 1"],
        ),
        (
            json!({ "unified": { "io.max": "7:1 riops=333 wiops=444\n7:2 riops=555\n" } }),
            &["io.max=7:1 riops=333 wiops=444", "io.max=7:2 riops=555"],
        ),
        (json!({ "unified": { "cpuset.cpus": "" } }), &["cpuset.cpus=\n"]),
        (
            json!({ "memory": { "limit": 5 }, "pids": { "limit": 7 }, "unified": { "memory.max": "9" } }),
            &["pids.max=7", "memory.max=5", "memory.max=9"],
        ),
    ]);
}

#[test]
fn update_of_the_weight_alone_ends_idleness() {
    let resources = |value: Value| serde_json::from_value(value).unwrap();
    let written = |recorded: Value, asked: Value| {
        let update = Update::new(&resources(recorded), &resources(asked)).unwrap();
        let texts = update.settings.iter().map(|it| format!("{}={}", it.file, it.text));
        texts.collect::<Vec<_>>()
    };
    for recorded in [
        json!({ "cpu": { "idle": 1, "shares": 9 } }),
        json!({ "unified": { "cpu.idle": "1" } }),
        json!({ "cpu": { "idle": 0 }, "unified": { "cpu.idle": "1" } }),
    ] {
        for (asked, expected) in [
            (json!({ "cpu": { "shares": 512 } }), &["cpu.idle=0", "cpu.weight=59"][..]),
            (json!({ "unified": { "cpu.weight": "8" } }), &["cpu.idle=0", "cpu.weight=8"]),
            (json!({ "cpu": { "shares": 512, "idle": 1 } }), &["cpu.idle=1"]),
            (json!({ "unified": { "cpu.weight": "8", "cpu.idle": "1" } }), &["cpu.idle=1"]),
            (json!({ "pids": { "limit": 5 } }), &["pids.max=5"]),
        ] {
            let mut found = written(recorded.clone(), asked.clone());
            // The weight that waited is written as well, before the one of `unified`.
            found.retain(|text| text != "cpu.weight=3");
            assert_eq!(found, expected, "{recorded} and {asked}");
        }
    }
    assert_eq!(written(json!({}), json!({ "cpu": { "shares": 512 } })), ["cpu.weight=59"]);
}

#[test]
fn unified_that_contradicts_a_property_is_a_warning_that_names_both() {
    let (_, warnings) =
        planned(json!({ "memory": { "limit": 5 }, "unified": { "memory.max": "9" } })).unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0].pointer, "/linux/resources/unified/memory.max");
    assert_eq!(warnings[0].text, "is written after /linux/resources/memory/limit and overrides it");
    let same = json!({ "memory": { "limit": 9 }, "unified": { "memory.max": "9" } });
    assert!(planned(same).unwrap().1.is_empty());
}

#[test]
fn unified_of_paths_and_of_the_runtimes_own_files_is_refused() {
    for file in ["../memory.max", "a/memory.max", "/etc/passwd"] {
        let error = planned(json!({ "unified": { file: "1" } })).unwrap_err();
        assert!(error.to_string().contains("must be a file name (no slashes)"), "{error}");
    }
    for file in ["cgroup.freeze", "cgroup.procs", "cgroup.subtree_control"] {
        let error = planned(json!({ "unified": { file: "1" } })).unwrap_err();
        assert_eq!(error.pointer, format!("/linux/resources/unified/{file}"));
    }
}

#[test]
fn properties_that_only_v1_had_are_warnings() {
    let (settings, warnings) = planned(json!({
        "memory": { "swappiness": 0, "disableOOMKiller": true, "kernel": 1, "kernelTCP": 1 },
        "cpu": { "realtimeRuntime": 1, "realtimePeriod": 1 },
        "blockIO": { "leafWeight": 10 },
        "network": { "classID": 1, "priorities": [{ "name": "eth0", "priority": 1 }] }
    }))
    .unwrap();
    assert!(settings.is_empty());
    assert_eq!(warnings.len(), 9, "{warnings:?}");
    let unset = json!({
        "memory": { "disableOOMKiller": false, "kernel": 0, "kernelTCP": -1 },
        "cpu": { "realtimeRuntime": 0, "realtimePeriod": 0 },
        "blockIO": { "leafWeight": 0 },
        "network": { "classID": 0, "priorities": [] }
    });
    assert!(planned(unset).unwrap().1.is_empty());
}

#[test]
fn update_warns_of_what_only_v1_had_and_takes_a_part_that_alone_means_nothing() {
    let resources = |value| serde_json::from_value::<LinuxResources>(value).unwrap();
    let recorded = resources(json!({ "memory": { "limit": 1 << 20 } }));
    let asked = resources(json!({ "memory": { "swap": 2 << 20, "kernel": 1 } }));
    let update = Update::new(&recorded, &asked).unwrap();
    let of: Vec<_> = update.warnings.iter().map(|remark| remark.pointer.as_str()).collect();
    assert_eq!(of, ["/linux/resources/memory/kernel"]);
    assert!(update.settings.iter().any(|setting| setting.file == "memory.swap.max"));
}

#[test]
fn controllers_are_needed_only_for_what_does_not_hold_anyway() {
    let needed = |resources: Value| {
        let (settings, _) = planned(resources).unwrap();
        let names: Vec<_> =
            settings.iter().filter_map(Setting::controller).map(str::to_owned).collect();
        names.join(" ")
    };
    for (resources, expected) in [
        (json!({ "memory": { "limit": -1 }, "pids": { "limit": -1 }, "cpu": { "quota": -1 } }), ""),
        (json!({ "cpu": { "shares": 1024, "idle": 0, "burst": 0 } }), ""),
        (json!({ "memory": { "limit": 5, "swap": 5 } }), "memory"),
        (json!({ "memory": { "reservation": -1 } }), "memory"),
        (json!({ "cpu": { "shares": 2 }, "pids": { "limit": 0 } }), "pids cpu"),
        (json!({ "cpu": { "cpus": "0" } }), "cpuset"),
        (json!({ "blockIO": { "weight": 10 } }), "io"),
        (json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 0 }] }), "hugetlb"),
        (json!({ "rdma": { "a": { "hcaHandles": 1 } } }), "rdma"),
        (json!({ "unified": { "cgroup.max.depth": "1", "misc.max": "a 1" } }), "misc"),
    ] {
        assert_eq!(needed(resources.clone()), expected, "{resources}");
    }
}

#[test]
fn origin_of_a_setting_is_its_property() {
    let (settings, _) = planned(json!({
        "memory": { "limit": 5, "swap": 6 },
        "blockIO": { "throttleReadBpsDevice": [{ "major": 1, "minor": 1, "rate": 1 }, { "major": 1, "minor": 2, "rate": 1 }] },
        "rdma": { "a~b": { "hcaHandles": 1 } }
    }))
    .unwrap();
    let origins: Vec<_> = settings.iter().map(|setting| setting.origin.to_string()).collect();
    assert_eq!(
        origins,
        [
            "/linux/resources/memory/swap",
            "/linux/resources/memory/limit",
            "/linux/resources/blockIO/throttleReadBpsDevice/0",
            "/linux/resources/blockIO/throttleReadBpsDevice/1",
            "/linux/resources/rdma/a~0b",
        ]
    );
}
