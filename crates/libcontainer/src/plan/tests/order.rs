//! The order of init's steps, and how init is started.

use corten_plan::wire::{FLAG_EXPECT_PID1, PlanReader};
use serde_json::{Value, json};

use super::{bundle, facts, names, planned, refused, request};
use crate::host::{Facts, Modules};
use crate::plan::words::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWTIME,
};
use crate::plan::{Manager, Plan, Request, plan};

#[test]
fn order_of_a_small_configuration_is_this() {
    let plan = planned(json!({ "root": { "path": "rootfs", "readonly": true } }));
    let devices = ["Device"; 6];
    let links = ["Symlink"; 6];
    let expected = [
        &["DieWithRuntime", "Session", "AllCpus", "Keyring", "Propagation", "Rootfs"][..],
        &devices,
        &links,
        &[
            "Pivot",
            "Stdio",
            "RootAttr",
            "EndBySignals",
            "Umask",
            "Home",
            "Cwd",
            "Credentials",
            "Cwd",
            "Find",
            "Sync",
        ],
        &["WaitStart", "CloseFds", "Exec"],
    ]
    .concat();
    assert_eq!(names(&plan), expected);
    assert_eq!(plan.spawn.clone_flags, CLONE_NEWPID | CLONE_NEWNS);
    assert!(plan.has_private_pid_namespace());
}

#[test]
fn order_of_all_there_is_keeps_every_place() {
    let plan = planned(json!({
        "hostname": "h",
        "domainname": "d",
        "root": { "path": "rootfs", "readonly": true },
        "process": {
            "terminal": true,
            "cwd": "/w",
            "noNewPrivileges": true,
            "rlimits": [
                { "type": "RLIMIT_NOFILE", "soft": 3, "hard": 3 },
                { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
            ],
            "scheduler": { "policy": "SCHED_BATCH" },
            "ioPriority": { "class": "IOPRIO_CLASS_BE", "priority": 7 },
            "env": ["HOME=/h"],
        },
        "mounts": [{ "destination": "/dev", "type": "tmpfs", "options": ["ro"] }],
        "hooks": {
            "prestart": [{ "path": "/a" }],
            "createContainer": [{ "path": "/b" }],
            "startContainer": [{ "path": "/c" }],
        },
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "mount" }, { "type": "network" }, { "type": "cgroup" },
                { "type": "uts" },
            ],
            "rootfsPropagation": "shared",
            "readonlyPaths": ["/proc/sys"],
            "maskedPaths": ["/proc/kcore"],
            "sysctl": { "net.ipv4.ip_forward": "1" },
            "personality": { "domain": "LINUX32" },
        },
    }));
    let mut names = names(&plan);
    names.retain(|name| !matches!(*name, "Device" | "Symlink"));
    let expected = [
        "DieWithRuntime",
        "Session",
        "AllCpus",
        "Keyring",
        "Unshare",
        "Propagation",
        "PrivateParent",
        "Rootfs",
        "MountFs",
        "EnterSent",
        "Sync",
        "Hook",
        "Directory",
        "ReadonlyPath",
        "MaskPath",
        "Pivot",
        "RootPropagation",
        "Terminal",
        "MountAttr",
        "RootAttr",
        "Hostname",
        "Domainname",
        "Sysctl",
        "EndBySignals",
        "Umask",
        "Personality",
        "Scheduler",
        "IoPriority",
        "NoNewPrivileges",
        "Cwd",
        "Rlimit",
        "Rlimit",
        "Credentials",
        "Cwd",
        "Find",
        "Sync",
        "WaitStart",
        "Hook",
        "CloseFds",
        "Exec",
    ];
    assert_eq!(names, expected);
    assert!(plan.init.state_at_mounted && plan.init.state_at_ready);
}

#[test]
fn order_of_run_does_not_wait_for_start() {
    let request = Request { start_at_once: true, ..request() };
    let plan = plan(&bundle(json!({})), &facts(), &request).unwrap();
    assert!(!names(&plan).contains(&"WaitStart") && !names(&plan).contains(&"EndBySignals"));
}

#[test]
fn order_without_hooks_of_create_has_one_point() {
    let hooks = json!({ "hooks": { "poststop": [{ "path": "/a" }] } });
    let syncs = |plan: &Plan| names(plan).iter().filter(|name| **name == "Sync").count();
    assert_eq!(syncs(&planned(hooks)), 1);
    for kind in ["prestart", "createRuntime", "createContainer"] {
        assert_eq!(syncs(&planned(json!({ "hooks": { kind: [{ "path": "/a" }] } }))), 2, "{kind}");
    }
}

/// Every combination of: the pid namespace new, joined or the runtime's; another one joined or not; a new time
/// namespace.
#[test]
fn spawn_truth_table() {
    for pid in ["new", "joined", "host"] {
        for (is_other_joined, is_time_new) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            let mut namespaces = vec![json!({ "type": "mount" }), json!({ "type": "cgroup" })];
            match pid {
                "new" => namespaces.push(json!({ "type": "pid" })),
                "joined" => namespaces.push(json!({ "type": "pid", "path": "/proc/1/ns/pid" })),
                _ => {}
            }
            if is_other_joined {
                namespaces.push(json!({ "type": "ipc", "path": "/ns/ipc" }));
            } else {
                namespaces.push(json!({ "type": "ipc" }));
            }
            if is_time_new {
                namespaces.push(json!({ "type": "time" }));
            }
            let plan = planned(json!({ "linux": { "namespaces": namespaces } }));
            let two = pid == "joined" || is_other_joined || is_time_new;
            let case = format!("pid {pid}, joined {is_other_joined}, time {is_time_new}");
            assert_eq!(plan.spawn.two_stages, two, "{case}");
            assert_eq!(names(&plan).contains(&"Fork"), two, "{case}");
            assert_eq!(names(&plan).contains(&"TimeNamespace"), is_time_new, "{case}");
            let flags = plan.spawn.clone_flags;
            assert_eq!(flags & CLONE_NEWIPC != 0, !is_other_joined, "{case}");
            assert_eq!(flags & CLONE_NEWPID != 0, pid == "new" && !two, "{case}");
            assert_eq!(plan.spawn.fork_flags & CLONE_NEWPID != 0, pid == "new" && two, "{case}");
            assert_eq!(flags & (CLONE_NEWCGROUP | CLONE_NEWTIME), 0, "{case}");
            assert_eq!(plan.has_private_pid_namespace(), pid == "new", "{case}");
            let header = PlanReader::new(&plan.init.bytes).unwrap().header();
            assert_eq!(header.flags & FLAG_EXPECT_PID1 != 0, pid == "new", "{case}");
        }
    }
}

#[test]
fn spawn_joins_have_handles_in_order_and_come_first() {
    let plan = planned(json!({ "linux": { "namespaces": [
        { "type": "mount" }, { "type": "network", "path": "/ns/net" }, { "type": "uts", "path": "/ns/uts" },
    ] } }));
    let handles: Vec<u16> = plan.spawn.joins.iter().map(|join| join.handle.0).collect();
    assert_eq!(handles, [5, 6]);
    assert_eq!(plan.spawn.joins[1].pointer, "/linux/namespaces/2");
    assert_eq!(names(&plan)[..5], ["NotDumpable", "Join", "Join", "Fork", "DieWithRuntime"]);
    assert!(!names(&plan).contains(&"Loopback"), "only a new network namespace has it down");
}

/// By a child of the runtime, or by clone3 or init where it belongs to a user namespace, or to a process that comes second.
#[test]
fn network_is_made_ahead_where_it_belongs_to_nobody_new() {
    let plan = |others: Value| {
        let mut namespaces = vec![json!({ "type": "mount" }), json!({ "type": "network" })];
        namespaces.extend(others.as_array().cloned().unwrap_or_default());
        let maps = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
        let is_mapped = namespaces.iter().any(|namespace| namespace["type"] == "user");
        let maps = if is_mapped { maps } else { json!([]) };
        planned(json!({ "linux": {
            "namespaces": namespaces, "uidMappings": maps, "gidMappings": maps,
        } }))
    };
    let ahead = plan(json!([{ "type": "uts" }]));
    assert!(ahead.spawn.network_ahead && ahead.spawn.clone_flags & CLONE_NEWNET == 0);
    assert!(names(&ahead).contains(&"EnterSent") && !names(&ahead).contains(&"Loopback"));
    for others in [
        json!([{ "type": "user" }]),
        json!([{ "type": "time" }]),
        json!([{ "type": "ipc", "path": "/ns/ipc" }]),
    ] {
        let plan = plan(others);
        assert!(!plan.spawn.network_ahead);
        assert!(names(&plan).contains(&"Loopback") && !names(&plan).contains(&"EnterSent"));
    }
}

/// It waits for the namespace: as late as nobody can tell the difference.
#[test]
fn network_namespace_is_entered_before_the_first_mount_that_may_depend_on_it() {
    let mount = |kind: &str, options: &[&str]| json!({ "destination": "/m", "type": kind, "source": "/s", "options": options });
    let place = |mounts: &[Value], linux: Value| {
        let mut config = json!({ "mounts": mounts, "linux": linux });
        config["linux"]["namespaces"] = json!([{ "type": "mount" }, { "type": "network" }]);
        let plan = planned(config);
        let names = names(&plan);
        let entered = names.iter().position(|name| *name == "EnterSent").unwrap();
        names[..entered].iter().filter(|name| name.starts_with("Mount")).count()
    };
    let [proc, tmpfs] = ["proc", "tmpfs"].map(|kind| mount(kind, &[]));
    let first = [proc.clone(), tmpfs.clone()];
    assert_eq!(place(&first, json!({})), 2, "before hooks and all that follows");
    for last in [
        mount("sysfs", &[]),
        mount("bind", &["rbind"]),
        mount("none", &["bind"]),
        mount("nfs", &[]),
        json!({ "destination": "/m", "type": "tmpfs", "uidMappings": [{ "containerID": 0, "hostID": 1, "size": 1 }],
                "gidMappings": [{ "containerID": 0, "hostID": 1, "size": 1 }] }),
    ] {
        let mounts = [proc.clone(), tmpfs.clone(), last.clone(), tmpfs.clone()];
        assert_eq!(place(&mounts, json!({})), 2, "{last}");
    }
    assert_eq!(
        place(&first, json!({ "netDevices": { "eth0": {} } })),
        0,
        "its socket is handed over early"
    );
}

/// Who is let go before he is ready must ask for nothing, and nobody else may see what is not done yet.
#[test]
fn init_goes_ahead_only_where_the_runtime_has_nothing_to_do() {
    let at_once = Request { start_at_once: true, ..request() };
    let of = |config: Value, request: &Request| {
        plan(&bundle(config), &facts(), request).unwrap().init.may_go_ahead
    };
    assert!(of(json!({}), &at_once));
    assert!(!of(json!({}), &request()), "create reports when it is ready");
    let systemd = Request { systemd: Some(Manager::System), ..at_once.clone() };
    assert!(!of(json!({ "linux": { "cgroupsPath": "a.slice:b:c" } }), &systemd));
    let hook = json!([{ "path": "/a" }]);
    let filter = json!({ "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["capget"], "action": "SCMP_ACT_ERRNO" }] });
    for config in [
        json!({ "hooks": { "prestart": hook } }),
        json!({ "hooks": { "createContainer": hook } }),
        json!({ "hooks": { "startContainer": hook } }),
        json!({ "process": { "terminal": true } }),
        json!({ "linux": { "netDevices": { "eth0": {} }, "namespaces": [{ "type": "network" }] } }),
        json!({ "linux": { "seccomp": filter, "namespaces": [] } }),
        json!({ "linux": { "namespaces": [{ "type": "user", "path": "/ns/user" }] } }),
    ] {
        assert!(!of(config.clone(), &at_once), "{config}");
    }
}

#[test]
fn network_socket_is_of_the_containers_namespace_and_sysctls_wait_for_its_devices() {
    let plan = |network: Value| {
        planned(json!({ "linux": {
            "namespaces": [{ "type": "mount" }, network],
            "netDevices": { "a/b": {}, "eth0": { "name": "n%d" } },
            "sysctl": { "net.ipv4.conf.n0.forwarding": "1" },
        } }))
    };
    let place = |plan: &Plan, name: &str| names(plan).iter().position(|op| *op == name).unwrap();
    let new = plan(json!({ "type": "network" }));
    let joined = plan(json!({ "type": "network", "path": "/ns/net" }));
    assert!(place(&new, "EnterSent") < place(&new, "NetworkSocket"));
    assert_eq!(names(&joined)[..4], ["NotDumpable", "Join", "NetworkSocket", "Fork"]);
    for plan in [&new, &joined] {
        let points: Vec<_> = names(plan).into_iter().filter(|name| *name == "Sync").collect();
        assert_eq!(points.len(), 2, "Mounted, Ready");
        assert!(place(plan, "Sync") < place(plan, "Sysctl"));
        let devices: Vec<_> =
            plan.net_devices.iter().map(|it| (&*it.pointer, &*it.name, it.is_template())).collect();
        let expected =
            [("/linux/netDevices/a~1b", "a/b", false), ("/linux/netDevices/eth0", "n%d", true)];
        assert_eq!(devices, expected);
    }
}

#[test]
fn order_without_a_mount_namespace_is_a_chroot() {
    let host = json!({ "namespaces": [{ "type": "pid" }] });
    let names = names(&planned(json!({ "linux": host })));
    for name in ["OpenRoot", "Chroot"] {
        assert!(names.contains(&name), "{name}");
    }
    for name in ["Propagation", "Rootfs", "Pivot"] {
        assert!(!names.contains(&name), "{name}");
    }
    let masks = json!({ "namespaces": [{ "type": "pid" }], "maskedPaths": ["/proc/kcore"] });
    assert_eq!(refused(json!({ "linux": masks })).0, "/linux/maskedPaths");
}

#[test]
fn order_without_a_mount_namespace_mounts_on_a_mount_of_its_own() {
    let host = json!({ "namespaces": [{ "type": "pid" }] });
    let mount = json!([{ "destination": "/t", "type": "tmpfs" }]);
    let root = json!({ "path": "rootfs", "readonly": true });
    for asked in [json!({ "linux": host, "mounts": mount }), json!({ "linux": host, "root": root })]
    {
        let names = names(&planned(asked));
        assert!(["Rootfs", "Chroot"].iter().all(|name| names.contains(name)), "{names:?}");
        assert!(!names.contains(&"Propagation"), "/ is the host's: {names:?}");
    }
}

#[test]
fn order_without_pivot_moves_the_root_and_refuses_private() {
    let no_pivot = Request { no_pivot: true, ..request() };
    let made = plan(&bundle(json!({})), &facts(), &no_pivot).unwrap();
    assert!(names(&made).contains(&"MoveRoot"));
    let private = bundle(json!({ "linux": { "rootfsPropagation": "rprivate" } }));
    assert!(plan(&private, &facts(), &no_pivot).is_err());
    assert!(plan(&private, &facts(), &request()).is_ok());
}

#[test]
fn propagation_of_each_word_is_set_where_it_must_be() {
    // Word; private parent; old root made a slave before its unmount; set again after pivot.
    for (word, parent, slave_old, after) in [
        (None, false, false, false),
        (Some("slave"), true, true, false),
        (Some("rslave"), false, false, false),
        (Some("private"), true, true, false),
        (Some("rprivate"), false, false, false),
        (Some("shared"), true, true, true),
        (Some("rshared"), true, true, true),
        (Some("unbindable"), false, false, true),
        (Some("runbindable"), false, false, true),
    ] {
        let plan = planned(json!({ "linux": { "rootfsPropagation": word } }));
        let names = names(&plan);
        assert_eq!(names.contains(&"PrivateParent"), parent, "{word:?}");
        assert_eq!(names.contains(&"RootPropagation"), after, "{word:?}");
        let pivot =
            format!("{:?}", plan.init.ops().find(|(_, op)| op.name() == "Pivot").unwrap().1);
        assert_eq!(pivot.contains("true"), slave_old, "{word:?}");
    }
}

#[test]
fn cgroup_path_is_below_the_root_whatever_is_asked() {
    for (asked, expected) in [
        ("", "user.slice/c1"),
        ("/a/b", "a/b"),
        ("a", "user.slice/a"),
        ("../../a", "user.slice/a"),
        ("/../../a/./b//", "a/b"),
        ("a/../../../b", "user.slice/b"),
        ("system.slice:runc:c1", "user.slice/system.slice:runc:c1"),
    ] {
        let plan = planned(json!({ "linux": { "cgroupsPath": asked } }));
        assert_eq!(plan.cgroup.unwrap().path, std::path::Path::new(expected), "{asked:?}");
    }
    for asked in ["/", "/..", ".", "..", "a/.."] {
        let (pointer, _) = refused(json!({ "linux": { "cgroupsPath": asked } }));
        assert_eq!(pointer, "/linux/cgroupsPath", "{asked:?}");
    }
}

#[test]
fn cgroup_of_a_runtime_in_the_root_cgroup_is_below_it() {
    let mut facts = facts();
    facts.cgroup.own = "/".into();
    let plan = plan(&bundle(json!({})), &facts, &request()).unwrap();
    assert_eq!(plan.cgroup.unwrap().path, std::path::Path::new("c1"));
}

#[test]
fn unsupported_each_is_named() {
    for (pointer, changes) in [
        ("/process/apparmorProfile", json!({ "process": { "apparmorProfile": "p" } })),
        ("/process/selinuxLabel", json!({ "process": { "selinuxLabel": "l" } })),
        ("/linux/mountLabel", json!({ "linux": { "mountLabel": "l" } })),
    ] {
        let facts = Facts { modules: Modules::default(), ..facts() };
        let plan = plan(&bundle(changes), &facts, &request()).unwrap();
        let pointers: Vec<_> =
            plan.unsupported.iter().map(|remark| remark.pointer.as_str()).collect();
        assert_eq!(pointers, [pointer]);
    }
}

#[test]
fn unsupported_zeros_that_engines_write_are_nothing() {
    let plan = planned(json!({ "linux": { "resources": {
        "devices": [{ "allow": false, "access": "rwm" }],
        "memory": { "limit": 0 },
        "cpu": { "shares": 0, "quota": 0 },
        "pids": {},
        "blockIO": { "weight": 0 },
    } } }));
    assert_eq!(plan.unsupported, []);
    assert_eq!(plan.cgroup.as_ref().unwrap().settings, []);
    assert!(plan.cgroup.unwrap().devices.is_some());
}

#[test]
fn cgroup_is_delegated_where_the_container_may_write_to_it() {
    let owner = |options: &[&str], namespace: &str, uid: u32, mappings: Value| {
        let mount = json!({ "destination": "/sys/fs/cgroup/", "type": "cgroup", "source": "cgroup", "options": options });
        let namespaces = json!([{ "type": "mount" }, { "type": namespace }, { "type": "user" }]);
        let count = if mappings.is_null() { 2 } else { 3 };
        let namespaces = namespaces.as_array().unwrap()[..count].to_vec();
        planned(json!({
            "mounts": [mount],
            "process": { "user": { "uid": uid, "gid": 0 } },
            "linux": { "namespaces": namespaces, "uidMappings": mappings }
        }))
        .cgroup
        .unwrap()
        .owner
    };
    let mapped = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    assert_eq!(owner(&["rw"], "cgroup", 0, mapped.clone()), Some(100_000));
    assert_eq!(owner(&[], "cgroup", 5, mapped.clone()), Some(100_005));
    assert_eq!(owner(&["ro"], "cgroup", 0, mapped.clone()), None);
    assert_eq!(owner(&["rw"], "ipc", 0, mapped), None, "the host's cgroup namespace");
    assert_eq!(owner(&["rw"], "cgroup", 0, Value::Null), None, "the runtime's own user");
    assert_eq!(owner(&["rw"], "cgroup", 1000, Value::Null), Some(1000));
}
