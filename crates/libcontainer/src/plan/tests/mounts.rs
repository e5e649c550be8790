//! Mounts, devices and protected paths as steps.

use corten_plan::Op;
use corten_plan::op::mount_flags::{KEPT, MODE_OF_TARGET, PLAIN};
use serde_json::{Value, json};

use super::{bundle, facts, planned, refused, request, steps_of};
use crate::plan::plan;

/// The one step of a mount.
fn step(mount: Value) -> String {
    let steps = steps_of(&planned(json!({ "mounts": [mount] })).init, "/mounts/0");
    assert_eq!(steps.len(), 1, "{steps:?}");
    steps[0].clone()
}

fn problem(mount: Value) -> String {
    refused(json!({ "mounts": [mount] })).1
}

#[test]
fn mount_tmpfs_options_go_to_attributes_and_file_system() {
    let step = step(json!({
        "destination": "/t", "type": "tmpfs", "source": "tmpfs",
        "options": ["nosuid", "noexec", "sync", "size=1m,nr_inodes=5", "rslave", "private"],
    }));
    assert!(step.contains(r#"options: ["sync", "size=1m", "nr_inodes=5"]"#), "{step}");
    assert!(step.contains("attr: 10, "), "{step}");
    assert!(
        step.contains(&format!("propagation: [{}, {}]", (1 << 19) | (1 << 14), 1 << 18)),
        "{step}"
    );
    assert!(step.contains("flags: 8, "), "mode of the target: {step}");
}

#[test]
fn mount_label_is_an_option_of_mounts_that_know_it_and_else_set_on_their_root() {
    let steps = |fstype: &str| {
        let mount = json!({ "destination": "/x", "type": fstype, "source": "x" });
        let plan =
            planned(json!({ "mounts": [mount], "linux": { "mountLabel": "a:b:c:s0:c1,c2" } }));
        plan.init.ops().map(|(_, op)| format!("{op:?}")).collect::<Vec<_>>().join("\n")
    };
    assert!(steps("tmpfs").contains(r#""context=a:b:c:s0:c1,c2""#), "{}", steps("tmpfs"));
    assert!(steps("mqueue").contains("SelinuxFile"), "{}", steps("mqueue"));
    for fstype in ["tmpfs", "proc", "sysfs", "cgroup"] {
        assert!(!steps(fstype).contains("SelinuxFile"), "{fstype}");
    }
    for fstype in ["mqueue", "proc", "sysfs", "cgroup"] {
        assert!(!steps(fstype).contains("context="), "{fstype}");
    }
}

#[test]
fn mount_tmpfs_readonly_waits_until_it_is_filled() {
    for (mount, waits) in [
        (json!({ "destination": "/t", "type": "tmpfs", "options": ["ro"] }), true),
        (json!({ "destination": "/dev", "type": "devtmpfs", "options": ["ro"] }), true),
        (json!({ "destination": "/x", "type": "ext4", "options": ["ro"] }), false),
        (json!({ "destination": "/dev", "source": "/dev", "options": ["bind", "ro"] }), false),
    ] {
        let steps = steps_of(&planned(json!({ "mounts": [mount] })).init, "/mounts/0");
        let is_writable = steps[0].contains("attr: 0") && !steps[0].contains("\"ro\"");
        assert_eq!((steps.len() == 2, is_writable), (waits, waits), "{steps:?}");
        assert_eq!(steps.last().unwrap().contains("MountAttr"), waits);
    }
}

#[test]
fn mount_of_a_shared_file_system_is_readonly_alone() {
    for (fstype, is_shared) in
        [("sysfs", true), ("mqueue", true), ("cgroup", true), ("ext4", false)]
    {
        let step = step(json!({ "destination": "/x", "type": fstype, "options": ["ro"] }));
        assert!(step.contains("attr: 1, "), "{step}");
        assert_eq!(!step.contains("\"ro\""), is_shared, "{step}");
    }
}

#[test]
fn mount_proc_takes_no_symbolic_links_and_covers_proc() {
    let step = step(json!({ "destination": "/proc", "type": "proc", "source": "proc" }));
    assert!(step.contains(&format!("flags: {}, ", 5 | PLAIN)), "{step}");
    let sysfs = self::step(json!({ "destination": "/sys", "type": "sysfs" }));
    assert!(
        sysfs.contains(&format!("flags: {}, ", 1 | PLAIN)) && sysfs.contains("source: None"),
        "{sysfs}"
    );
}

#[test]
fn mount_below_proc_only_what_is_replaceable() {
    let bind = |destination: &str| json!({ "destination": destination, "source": "/x", "options": ["bind"] });
    for allowed in ["/proc/cpuinfo", "/proc/./meminfo", "/proc/sys/crypto/fips_enabled"] {
        assert!(step(bind(allowed)).contains("flags: 4 "), "{allowed}");
    }
    for refused in ["/proc/self/attr", "/proc/sys", "/proc/cpuinfo/x", "/a/../proc/1"] {
        assert!(problem(bind(refused)).contains("because it is inside /proc"), "{refused}");
    }
    assert!(step(bind("/proc")).contains("flags: 68 "), "the source must be a procfs");
    assert!(step(bind("/process")).contains("flags: 0 "));
    let tmpfs = json!({ "destination": "/proc", "type": "tmpfs" });
    assert_eq!(problem(tmpfs), "\"/proc\" cannot be mounted because it is not of type proc");
}

#[test]
fn mount_on_the_root_is_refused() {
    for destination in ["/", "/..", "/a/..", ".", "//"] {
        let mount = json!({ "destination": destination, "type": "tmpfs" });
        assert_eq!(problem(mount), "is on top of the root file system", "{destination}");
    }
}

#[test]
fn mount_bind_source_is_below_the_bundle_unless_absolute() {
    for (source, expected) in [("data", "/bundle/data"), ("/data", "/data"), ("", "/bundle/")] {
        let step = step(json!({ "destination": "d", "source": source, "options": ["rbind"] }));
        assert!(step.contains(&format!("source: {expected:?}")), "{step}");
        assert!(step.contains("target: \"/d\""), "{step}");
        assert!(step.contains("flags: 16 "), "{step}");
    }
}

#[test]
fn mount_bind_by_type_alone_is_recursive() {
    let step = step(json!({ "destination": "/d", "source": "/s", "type": "bind" }));
    assert!(step.starts_with("MountBind") && step.contains("flags: 16 "), "{step}");
}

#[test]
fn mount_bind_with_data_is_refused_as_runc_does() {
    let mount =
        json!({ "destination": "/d", "source": "/s", "options": ["bind", "ro", "size=1m"] });
    let expected = "bind mounts cannot have any filesystem-specific options applied (\"size=1m\")";
    assert_eq!(problem(mount), expected);
}

#[test]
fn mount_without_type_is_refused() {
    assert!(problem(json!({ "destination": "/d", "source": "/s" })).contains("has no type"));
}

#[test]
fn mount_tmpcopyup_is_for_tmpfs_only() {
    let tmpfs =
        json!({ "destination": "/t", "type": "tmpfs", "options": ["tmpcopyup", "mode=755"] });
    assert!(step(tmpfs).contains("flags: 2, "));
    let ext4 = json!({ "destination": "/t", "type": "ext4", "options": ["tmpcopyup"] });
    assert!(problem(ext4).contains("only a tmpfs"));
}

#[test]
fn mount_with_what_fsconfig_cannot_carry_is_by_mount() {
    let lowerdir = format!("lowerdir={}", "/layer:".repeat(40));
    for options in [
        json!([lowerdir]),
        json!(["context=\"system_u:object_r:tmp_t:s0:c1,c2\""]),
        json!(["upperdir=/a\\,b"]),
        json!(["silent"]),
        json!(["iversion"]),
    ] {
        let mount = json!({ "destination": "/o", "type": "overlay", "options": options });
        let step = step(mount);
        assert!(step.starts_with("MountData"), "{step}");
    }
    let long = "s".repeat(256);
    let source = step(json!({ "destination": "/o", "type": "nfs", "source": long }));
    assert!(source.starts_with("MountData"), "{source}");
    let short = json!({ "destination": "/o", "type": "nfs", "source": "s".repeat(255) });
    assert!(step(short).starts_with("MountFs"));
}

#[test]
fn mount_remount_is_by_mount_with_all_its_flags() {
    let step = step(json!({ "destination": "/o", "options": ["remount", "bind", "ro"] }));
    let flags = (1 << 5) | (1 << 12) | 1;
    assert!(
        step.starts_with("MountData") && step.contains(&format!("ms_flags: {flags},")),
        "{step}"
    );
}

#[test]
fn mount_cgroup_is_cgroup2_with_a_fallback() {
    let mount = json!([{ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup" }]);
    for (namespaces, fallback) in [
        (json!([{ "type": "mount" }]), "/sys/fs/cgroup"),
        (json!([{ "type": "mount" }, { "type": "cgroup" }]), "/sys/fs/cgroup/user.slice/c1"),
    ] {
        let plan = planned(json!({ "mounts": mount, "linux": { "namespaces": namespaces } }));
        let step = &steps_of(&plan.init, "/mounts/0")[0];
        assert!(step.contains("fstype: \"cgroup2\""), "{step}");
        assert!(step.contains(&format!("fallback: Some({fallback:?})")), "{step}");
    }
}

#[test]
fn devices_of_the_configuration_replace_the_default_ones() {
    let plan = planned(json!({ "linux": { "devices": [
        { "type": "c", "path": "/dev/null", "major": 1, "minor": 3, "fileMode": 0o20_600, "uid": 5 },
        { "type": "p", "path": "/run/fifo", "major": 7, "minor": 7 },
        { "type": "b", "path": "/dev/ptmx", "major": 5, "minor": 2 },
    ] } }));
    let devices: Vec<String> = plan
        .init
        .ops()
        .filter(|(_, op)| op.name() == "Device")
        .map(|(_, op)| format!("{op:?}"))
        .collect();
    assert_eq!(devices.len(), 5 + 2, "{devices:?}");
    assert!(devices[5].contains(&format!("mode: {}, major: 1, minor: 3, uid: 5", 0o20_600)));
    assert!(devices[6].contains(&format!("mode: {}, major: 0, minor: 0", 0o10_666)));
    assert_eq!(devices.iter().filter(|device| device.contains("\"/dev/null\"")).count(), 1);
}

#[test]
fn devices_are_none_on_a_bound_dev() {
    let bound = |destination: &str| {
        let mount = json!([{ "destination": destination, "source": "/x", "options": ["rbind"] }]);
        let plan = planned(json!({ "mounts": mount }));
        plan.init.ops().filter(|(_, op)| matches!(op.name(), "Device" | "Symlink")).count()
    };
    assert_eq!(bound("/dev/"), 0);
    assert_eq!(bound("/dev/shm"), 12);
}

#[test]
fn protected_paths_are_clean_and_masked_once() {
    let plan = planned(json!({ "linux": {
        "maskedPaths": ["/proc/kcore", "/proc//kcore/", "/x/../y"],
        "readonlyPaths": ["/proc/sys"],
    } }));
    let steps =
        [steps_of(&plan.init, "/linux/readonlyPaths"), steps_of(&plan.init, "/linux/maskedPaths")];
    let expected = [
        "ReadonlyPath { path: \"/proc/sys\", alone: false }",
        "MaskPath { path: \"/proc/kcore\", file: true }",
        "MaskPath { path: \"/y\", file: false }",
    ];
    assert_eq!(steps.concat(), expected);
}

/// For each mount of a new file system whether it is [`PLAIN`] and whether it is [`KEPT`].
fn ways(mounts: Value) -> Vec<(bool, bool)> {
    let plan = planned(json!({ "mounts": mounts }));
    let flags = plan.init.ops().filter_map(|(_, op)| match op {
        Op::MountFs { flags, .. } => Some(flags),
        _ => None,
    });
    flags.map(|flags| (flags & PLAIN != 0, flags & KEPT != 0)).collect()
}

#[test]
fn mounts_are_plain_unless_any_may_have_a_path_among_its_options() {
    let tmpfs = json!({ "destination": "/t", "type": "tmpfs", "options": ["mode=700"] });
    let bind = json!({ "destination": "/b", "source": "x", "options": ["bind"] });
    let overlay = json!({ "destination": "/o", "type": "overlay", "options": ["lowerdir=a:b"] });
    assert_eq!(ways(json!([tmpfs, bind])), [(true, false)]);
    assert_eq!(ways(json!([tmpfs, overlay])), [(false, false), (false, false)]);
    for option in ["rro", "rshared", "tmpcopyup"] {
        let mount = json!({ "destination": "/t", "type": "tmpfs", "options": [option] });
        assert_eq!(ways(json!([mount])), [(false, false)], "{option}");
    }
}

#[test]
fn mount_of_a_tmpfs_is_kept_where_it_is_filled() {
    let tmpfs = |destination: &str| json!({ "destination": destination, "type": "tmpfs" });
    let bind = json!({ "destination": "/dev", "source": "/x", "options": ["bind"] });
    let copied = json!({ "destination": "/dev", "type": "tmpfs", "options": ["tmpcopyup"] });
    assert_eq!(ways(json!([tmpfs("/dev")])), [(false, true)]);
    assert_eq!(ways(json!([tmpfs("/dev"), bind])), [(true, false)], "nothing is put into it");
    assert_eq!(ways(json!([tmpfs("/a"), tmpfs("/a/b")])), [(false, true), (true, false)]);
    assert_eq!(ways(json!([tmpfs("/a/b"), tmpfs("/a/b/c")])), [(true, false), (true, false)]);
    assert_eq!(ways(json!([copied])), [(false, false)]);
    let joined = json!({ "namespaces": [{ "type": "mount", "path": "/n" }] });
    let plan = planned(json!({ "mounts": [tmpfs("/dev")], "linux": joined }));
    let step = &steps_of(&plan.init, "/mounts/0")[0];
    assert!(step.contains(&format!("flags: {}, ", PLAIN | MODE_OF_TARGET)), "{step}");
}

#[test]
fn readonly_path_is_alone_where_only_a_new_file_system_is() {
    let alone = |mounts: Value, hooks: Value, path: &str| {
        let linux = json!({ "readonlyPaths": [path] });
        let plan = planned(json!({ "mounts": mounts, "hooks": hooks, "linux": linux }));
        steps_of(&plan.init, "/linux/readonlyPaths")[0].contains("alone: true")
    };
    let proc = json!({ "destination": "/proc", "type": "proc" });
    let bind = |destination: &str| json!({ "destination": destination, "source": "/x", "options": ["bind"] });
    let hook = json!({ "createContainer": [{ "path": "/h" }] });
    assert!(alone(json!([proc]), json!({}), "/proc/sys"));
    assert!(alone(json!([proc, bind("/proc/uptime")]), json!({}), "/proc/sys"));
    assert!(!alone(json!([proc]), hook, "/proc/sys"));
    assert!(!alone(json!([proc, bind("/proc/sys/crypto/fips_enabled")]), json!({}), "/proc/sys"));
    assert!(!alone(json!([bind("/a")]), json!({}), "/a/b"), "the source may have mounts");
    assert!(!alone(json!([]), json!({}), "/a"), "the root file system may");
}

#[test]
fn plan_of_a_hundred_thousand_mounts_is_an_error() {
    let mount = json!({ "destination": "/t", "type": "tmpfs" });
    let bundle = bundle(json!({ "mounts": vec![mount; 70_000] }));
    assert!(plan(&bundle, &facts(), &request()).is_err());
}
