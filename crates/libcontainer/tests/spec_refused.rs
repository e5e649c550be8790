//! What is refused in a config.json, with the pointer that the error must name.
//!
//! Runs in: any process.

#![expect(clippy::panic, reason = "helpers of tests, which clippy does not know as such")]

use std::fs;
use std::os::unix::fs::symlink;

use libcontainer::Error;
use libcontainer::spec::{Bundle, SpecError, limits, parse, validate};
use serde_json::{Map, Value, json};

/// A small valid configuration. The tables change one place of it.
fn base() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/bin"],
            "cwd": "/"
        },
        "root": { "path": "rootfs" },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "mount" }, { "type": "uts" }, { "type": "ipc" }, { "type": "network" }
            ]
        }
    })
}

/// Puts `value` at `pointer`; objects on the way are made, and of an array the index after the last appends.
fn put(document: &mut Value, pointer: &str, value: Value) {
    let mut at = document;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
        at = match at {
            Value::Object(members) => members.entry(token).or_insert(Value::Null),
            Value::Array(elements) => {
                let index: usize = token.parse().unwrap_or(usize::MAX);
                if index == elements.len() {
                    elements.push(Value::Null);
                }
                &mut elements[index]
            }
            other => panic!("{other} has no member {token}"),
        };
    }
    *at = value;
}

fn remove(document: &mut Value, pointer: &str) {
    let (parent, last) = pointer.rsplit_once('/').unwrap_or_default();
    let parent = document.pointer_mut(parent).and_then(Value::as_object_mut);
    assert!(parent.and_then(|parent| parent.remove(last)).is_some(), "{pointer}");
}

fn check(text: &[u8]) -> Result<Vec<SpecError>, SpecError> {
    parse(text).and_then(|spec| validate(&spec))
}

#[track_caller]
fn refused(text: &[u8], pointer: &str, problem: &str) {
    let shown = String::from_utf8_lossy(&text[..text.len().min(2000)]);
    match check(text) {
        Ok(_) => panic!("accepted: {shown}"),
        Err(error) => {
            assert_eq!(error.pointer, pointer, "{error}\n{shown}");
            assert!(error.problem.contains(problem), "{error}, not {problem:?}\n{shown}");
        }
    }
}

/// Each row: where, what, and the pointer (empty: the same place) and problem that are expected.
#[track_caller]
fn all_refused(rows: &[(&str, Value, &str, &str)]) {
    for (place, value, pointer, problem) in rows {
        let mut document = base();
        put(&mut document, place, value.clone());
        let pointer = if pointer.is_empty() { place } else { pointer };
        refused(document.to_string().as_bytes(), pointer, problem);
    }
}

#[test]
fn base_is_accepted_without_warning() {
    assert_eq!(check(base().to_string().as_bytes()), Ok(vec![]));
}

#[test]
#[rustfmt::skip] // one row a line
fn numbers_out_of_range_or_of_another_type_are_refused() {
    let not_an_id = "is 4294967295, which is not an id";
    all_refused(&[
        ("/process/user/uid", json!(4_294_967_295_u32), "", not_an_id),
        ("/process/user/gid", json!(4_294_967_295_u32), "", not_an_id),
        ("/process/user/additionalGids", json!([1, 4_294_967_295_u32]), "/process/user/additionalGids/1", not_an_id),
        ("/process/user/uid", json!(4_294_967_296_u64), "", "expected u32"),
        ("/process/user/uid", json!(-1), "", "expected u32"),
        ("/process/user/uid", json!("1"), "", "invalid type: string \"1\""),
        ("/process/user/uid", json!(1.5), "", "floating point"),
        ("/process/user/uid", json!(true), "", "boolean"),
        ("/process/user/uid", json!([0]), "", "sequence"),
        ("/process/user/uid", json!({ "uid": 0 }), "", "map"),
        ("/process/user/additionalGids", json!([0, "1"]), "/process/user/additionalGids/1", "string"),
        ("/process/user/additionalGids", json!([null]), "/process/user/additionalGids/0", "null"),
        ("/process/user/umask", json!(65_536), "", "permission bits"),
        ("/process/consoleSize", json!({ "height": 65_536, "width": 1 }), "/process/consoleSize/height", "expected u16"),
        ("/process/oomScoreAdj", json!(1001), "", "not from -1000 to 1000"),
        ("/process/oomScoreAdj", json!(-1001), "", "not from -1000 to 1000"),
        ("/process/oomScoreAdj", json!(9_999_999_999_u64), "", "expected i32"),
        ("/process/terminal", json!(1), "", "expected a boolean"),
        ("/process/terminal", json!("true"), "", "expected a boolean"),
        ("/process/args", json!("sh"), "", "invalid type"),
        ("/process/args", json!(["sh", 1]), "/process/args/1", "expected a string"),
        ("/process/args", json!(["sh", null]), "/process/args/1", "null"),
        ("/process/env", json!({ "A": "b" }), "", "invalid type: map"),
        ("/root/readonly", json!("yes"), "", "expected a boolean"),
        ("/mounts/0/options", json!(["ro", "x", 7]), "/mounts/0/options/2", "expected a string"),
        ("/mounts/1", json!("proc"), "", "invalid type"),
        ("/mounts", json!({}), "", "invalid type: map"),
        ("/hooks", json!([]), "", "invalid type: sequence"),
        ("/process/user", json!([0, 0]), "", "expected an object"),
        ("/root", json!(["rootfs", true]), "", "expected an object"),
        ("/linux/namespaces/0", json!(["pid"]), "", "expected an object"),
        ("/annotations", json!({ "a/b~c": 1 }), "/annotations/a~1b~0c", "expected a string"),
        ("/linux/sysctl", json!({ "net.core.somaxconn": 1 }), "/linux/sysctl/net.core.somaxconn", "expected a string"),
        ("/linux/resources/memory/limit", json!(9_223_372_036_854_775_808_u64), "", "expected i64"),
        ("/linux/resources/cpu/shares", json!(-1), "", "expected u64"),
        ("/linux/resources/blockIO/weight", json!(65_536), "", "expected u16"),
        ("/linux", json!("none"), "", "invalid type"),
    ]);
    let exponent = base().to_string().replace("\"uid\":0", "\"uid\":1e3");
    refused(exponent.as_bytes(), "/process/user/uid", "floating point");
    let huge = base().to_string().replace("\"uid\":0", "\"uid\":99999999999999999999999");
    refused(huge.as_bytes(), "/process/user/uid", "floating point");
}

#[test]
#[rustfmt::skip] // one row a line
fn words_that_nobody_knows_are_refused() {
    all_refused(&[
        ("/linux/namespaces/0/type", json!("net"), "", "expected one of pid, network"),
        ("/linux/namespaces/0/type", json!(""), "", "expected one of"),
        ("/linux/rootfsPropagation", json!("sharde"), "", "expected one of"),
        ("/linux/devices", json!([{ "path": "/dev/x", "type": "z", "major": 1, "minor": 1 }]), "/linux/devices/0/type", "\"z\""),
        ("/linux/resources/devices", json!([{ "allow": true, "type": "q" }]), "/linux/resources/devices/0/type", "\"q\""),
        ("/linux/personality", json!({ "domain": "BSD" }), "/linux/personality/domain", "LINUX32"),
        ("/linux/seccomp", json!({ "defaultAction": "ALLOW" }), "/linux/seccomp/defaultAction", "SCMP_ACT_ALLOW"),
        ("/linux/memoryPolicy", json!({ "mode": "MPOL_X" }), "/linux/memoryPolicy/mode", "MPOL_BIND"),
        ("/process/rlimits", json!([{ "type": "NOFILE", "soft": 1, "hard": 1 }]), "/process/rlimits/0/type", "RLIMIT_NOFILE"),
        ("/process/scheduler", json!({ "policy": "FIFO" }), "/process/scheduler/policy", "SCHED_FIFO"),
        ("/process/ioPriority", json!({ "class": "RT" }), "/process/ioPriority/class", "IOPRIO_CLASS_RT"),
    ]);
}

#[test]
#[rustfmt::skip] // one row a line
fn missing_properties_are_named_where_they_should_be() {
    for (place, problem) in [
        ("/ociVersion", "is missing"),
        ("/process", "process property must not be empty"),
        ("/process/args", "args must not be empty"),
        ("/process/cwd", "is missing"),
        ("/root", "root must be specified"),
        ("/root/path", "is missing"),
    ] {
        let mut document = base();
        remove(&mut document, place);
        refused(document.to_string().as_bytes(), place, problem);
        // null is absent
        put(&mut document, place, Value::Null);
        let error = check(document.to_string().as_bytes()).expect_err(place);
        assert_eq!(error.pointer, place, "{error}");
    }
    all_refused(&[
        ("/mounts/0", json!({ "type": "proc" }), "/mounts/0/destination", "is missing"),
        ("/process/rlimits", json!([{ "type": "RLIMIT_CPU", "soft": 1 }]), "/process/rlimits/0/hard", "is missing"),
        ("/linux/namespaces/0", json!({}), "/linux/namespaces/0/type", "is missing"),
        ("/linux/uidMappings", json!([{ "containerID": 0, "size": 1 }]), "/linux/uidMappings/0/hostID", "is missing"),
        ("/linux/devices", json!([{ "path": "/dev/x", "type": "c", "major": 1 }]), "/linux/devices/0/minor", "is missing"),
        ("/linux/resources/devices", json!([{ "access": "r" }]), "/linux/resources/devices/0/allow", "is missing"),
        ("/linux/seccomp", json!({ "syscalls": [] }), "/linux/seccomp/defaultAction", "is missing"),
        ("/linux/resources/hugepageLimits", json!([{ "pageSize": "2MB" }]), "/linux/resources/hugepageLimits/0/limit", "is missing"),
        ("/hooks/prestart", json!([{ "args": ["x"] }]), "/hooks/prestart/0/path", "is missing"),
    ]);
}

#[test]
#[rustfmt::skip] // one row a line
fn process_rules_are_enforced() {
    let nofile = json!({ "type": "RLIMIT_NOFILE", "soft": 1, "hard": 2 });
    all_refused(&[
        ("/process/args", json!([]), "", "args must not be empty"),
        ("/process/args", json!([""]), "/process/args/0", r#"exec: "": executable file not found in $PATH"#),
        ("/process/cwd", json!(""), "", "Cwd property must not be empty"),
        ("/process/cwd", json!("tmp"), "", "Cwd must be an absolute path"),
        ("/process/env", json!(["A=b", "NAME"]), "/process/env/1", "missing '='"),
        ("/process/env", json!(["=b"]), "/process/env/0", "name cannot be empty"),
        ("/process/rlimits", json!([nofile, nofile]), "/process/rlimits/1/type", "RLIMIT_NOFILE is given twice"),
        ("/process/rlimits", json!([{ "type": "RLIMIT_CPU", "soft": 3, "hard": 2 }]), "/process/rlimits/0/soft", "above the hard"),
        ("/process/scheduler", json!({ "policy": "SCHED_OTHER", "nice": 20 }), "/process/scheduler/nice", "not from -20 to 19"),
        ("/process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": -21 }), "/process/scheduler/nice", "not from -20 to 19"),
        ("/process/scheduler", json!({ "policy": "SCHED_OTHER", "priority": 1 }), "/process/scheduler/priority", "SCHED_RR"),
        ("/process/scheduler", json!({ "policy": "SCHED_FIFO" }), "/process/scheduler/priority", "not from 1 to 99"),
        ("/process/scheduler", json!({ "policy": "SCHED_RR", "priority": 100 }), "/process/scheduler/priority", "not from 1 to 99"),
        ("/process/scheduler", json!({ "policy": "SCHED_FIFO", "priority": 1, "period": 5 }), "/process/scheduler/period", "SCHED_DEADLINE"),
        ("/process/scheduler", json!({ "policy": "SCHED_DEADLINE", "runtime": 9, "deadline": 8 }), "/process/scheduler/runtime", "deadline 8"),
        ("/process/scheduler", json!({ "policy": "SCHED_DEADLINE", "runtime": 7, "deadline": 8, "period": 7 }), "/process/scheduler/deadline", "period 7"),
        ("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }), "/process/ioPriority/priority", "not from 0 to 7"),
        ("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": -1 }), "/process/ioPriority/priority", "not from 0 to 7"),
        ("/process/execCPUAffinity", json!({ "initial": "0-" }), "/process/execCPUAffinity/initial", "not a list"),
        ("/process/execCPUAffinity", json!({ "final": "3-1" }), "/process/execCPUAffinity/final", "not a list"),
        ("/process/capabilities", json!({ "effective": ["CAP_KILL"] }), "/process/capabilities/effective/0", "not permitted"),
    ]);
}

#[test]
#[rustfmt::skip] // one row a line
fn top_level_rules_are_enforced() {
    all_refused(&[
        ("/ociVersion", json!("2.0.0"), "", "not supported"),
        ("/ociVersion", json!("0.9.0"), "", "not supported"),
        ("/ociVersion", json!(""), "", "is empty"),
        ("/ociVersion", json!("latest"), "", "not a semantic version"),
        ("/ociVersion", json!(1.0), "", "expected a string"),
        ("/root/path", json!(""), "", "is empty"),
        ("/mounts/0/destination", json!(""), "", "is empty"),
        ("/hostname", json!("a\nb"), "", "control character"),
        ("/hostname", json!("h".repeat(65)), "", "longer than 64"),
        ("/domainname", json!("d".repeat(65)), "", "longer than 64"),
        ("/annotations", json!({ "": "x" }), "/annotations/", "empty key"),
        ("/hooks/poststop", json!([{ "path": "bin/true" }]), "/hooks/poststop/0/path", "not an absolute path"),
        ("/hooks/createRuntime", json!([{ "path": "" }]), "/hooks/createRuntime/0/path", "is empty"),
        ("/hooks/prestart", json!([{ "path": "/x", "timeout": 0 }]), "/hooks/prestart/0/timeout", "not greater than zero"),
        ("/hooks/startContainer", json!([{ "path": "/x", "timeout": -1 }]), "/hooks/startContainer/0/timeout", "not greater than zero"),
        ("/hooks/poststart", json!([{ "path": "/x", "timeout": 1_u64 << 40 }]), "/hooks/poststart/0/timeout", "more than"),
        ("/mounts/0/uidMappings", json!([{ "containerID": 0, "hostID": 0, "size": 1 }]), "", "without gidMappings"),
        ("/mounts/0/gidMappings", json!([{ "containerID": 0, "hostID": 0, "size": 1 }]), "", "without uidMappings"),
    ]);
}

#[test]
#[rustfmt::skip] // one row a line
fn namespace_rules_are_enforced() {
    let map = |container: u32, host: u32, size: u32| json!({ "containerID": container, "hostID": host, "size": size });
    let user = |maps: Value| json!({ "namespaces": [{ "type": "user" }], "uidMappings": maps, "gidMappings": [map(0, 0, 1)] });
    let time =
        |offsets: Value| json!({ "namespaces": [{ "type": "time" }], "timeOffsets": offsets });
    let joined = json!({ "namespaces": [{ "type": "time", "path": "/x" }], "timeOffsets": { "monotonic": { "secs": 1 } } });
    all_refused(&[
        ("/linux/namespaces/5", json!({ "type": "pid" }), "/linux/namespaces/5/type", "duplicated ns \"pid\""),
        ("/linux/namespaces/0/path", json!("proc/1/ns/pid"), "", "not an absolute path"),
        ("/linux/uidMappings", json!([map(0, 0, 1)]), "", "user namespace isn't enabled"),
        ("/linux/gidMappings", json!([map(0, 0, 1)]), "", "user namespace isn't enabled"),
        ("/linux/namespaces/5", json!({ "type": "user" }), "", "no namespace path to join nor mappings"),
        ("/linux", user(json!([map(0, 0, 0)])), "/linux/uidMappings/0/size", "is 0"),
        ("/linux", user(json!([map(1, u32::MAX, 1)])), "/linux/uidMappings/0/hostID", "past the last id"),
        ("/linux", user(json!([map(u32::MAX, 0, 1)])), "/linux/uidMappings/0/containerID", "past the last id"),
        ("/linux", user(json!([map(0, 0, 10), map(9, 100, 1)])), "/linux/uidMappings/1/containerID", "overlaps"),
        ("/linux", user(json!([map(0, 0, 10), map(20, 9, 1)])), "/linux/uidMappings/1/hostID", "overlaps"),
        ("/linux", user(json!((0..341).map(|id| map(id, id, 1)).collect::<Vec<_>>())), "/linux/uidMappings", "more than 340"),
        ("/linux/timeOffsets", json!({ "monotonic": { "secs": 1 } }), "", "time namespace isn't enabled"),
        ("/linux", joined, "/linux/timeOffsets", "both namespace path and time offsets"),
        ("/linux", time(json!({ "realtime": { "secs": 1 } })), "/linux/timeOffsets/realtime", "not a clock"),
        ("/linux", time(json!({ "boottime": { "nanosecs": 1_000_000_000 } })), "/linux/timeOffsets/boottime/nanosecs", "not from 0"),
        ("/linux", time(json!({ "boottime": { "secs": i64::MAX } })), "/linux/timeOffsets/boottime/secs", "not from"),
        ("/linux/maskedPaths", json!(["/proc/acpi", "kcore"]), "/linux/maskedPaths/1", "not an absolute path"),
        ("/linux/readonlyPaths", json!([""]), "/linux/readonlyPaths/0", "is empty"),
        ("/linux", json!({ "maskedPaths": ["/x"] }), "/linux/maskedPaths", "private MNT namespace"),
        ("/linux", json!({ "readonlyPaths": ["/x"] }), "/linux/readonlyPaths", "private MNT namespace"),
    ]);
    for (place, name) in [("/hostname", "hostname"), ("/domainname", "domainname")] {
        let mut document = base();
        put(&mut document, place, json!("box"));
        put(&mut document, "/linux", json!({}));
        refused(
            document.to_string().as_bytes(),
            place,
            &format!("unable to set {name} without a private UTS"),
        );
    }
}

#[test]
#[rustfmt::skip] // one row a line
fn sysctl_that_is_not_the_containers_is_refused() {
    for (name, problem) in [
        ("kernel.core_pattern", "not in a separate kernel namespace"),
        ("kernel/core_pattern", "not in a separate kernel namespace"),
        ("vm.swappiness", "not in a separate kernel namespace"),
        ("kernel.hostname", "conflicts with the OCI \"hostname\" field"),
        ("user.max_user_namespaces", "not allowed without a user namespace"),
        ("net/../kernel/core_pattern", "is not a name"),
        ("net.//.kernel.core_pattern", "is not a name"),
        ("/net/core/somaxconn", "is not a name"),
        ("net.core\nx", "is not a name"),
        ("", "is not a name"),
    ] {
        let mut document = base();
        put(&mut document, "/linux/sysctl", json!({ name: "1" }));
        let pointer = format!("/linux/sysctl/{}", name.replace('/', "~1"));
        refused(document.to_string().as_bytes(), &pointer, problem);
    }
    for (name, problem) in [
        ("net.core.somaxconn", "host network namespace"),
        ("kernel.shmmax", "hosts ipc namespace"),
        ("fs.mqueue.msg_max", "hosts ipc namespace"),
        ("kernel.domainname", "not in a separate kernel namespace"),
    ] {
        let mut document = base();
        put(&mut document, "/linux", json!({ "sysctl": { name: "1" } }));
        refused(document.to_string().as_bytes(), &format!("/linux/sysctl/{name}"), problem);
    }
}

#[test]
#[rustfmt::skip] // one row a line
fn linux_rules_are_enforced() {
    let device = |path: &str, major: i64, minor: i64| json!([{ "path": path, "type": "c", "major": major, "minor": minor }]);
    all_refused(&[
        ("/linux/devices", device("dev/x", 1, 1), "/linux/devices/0/path", "not an absolute path"),
        ("/linux/devices", device("/dev/x", 4096, 1), "/linux/devices/0/major", "not from 0 to 4095"),
        ("/linux/devices", device("/dev/x", 1, -1), "/linux/devices/0/minor", "not from 0"),
        ("/linux/devices", json!([{ "path": "/p", "type": "p", "fileMode": 1 << 17 }]), "/linux/devices/0/fileMode", "not from 0"),
        ("/linux/devices", json!([{ "path": "/p", "type": "p", "uid": u32::MAX }]), "/linux/devices/0/uid", "not an id"),
        ("/linux/devices", json!([{ "path": "/p", "type": "p", "gid": u32::MAX }]), "/linux/devices/0/gid", "not an id"),
        ("/linux/netDevices", json!({ "a/b": {} }), "/linux/netDevices/a~1b", "invalid network device name"),
        ("/linux/netDevices", json!({ "..": {} }), "/linux/netDevices/..", "invalid network device name"),
        ("/linux/netDevices", json!({ "eth0": { "name": "a b" } }), "/linux/netDevices/eth0/name", "invalid network device name"),
        ("/linux/netDevices", json!({ "eth0": { "name": "n".repeat(16) } }), "/linux/netDevices/eth0/name", "invalid network device name"),
        ("/linux/netDevices", json!({ "eth0": { "name": "e" }, "eth1": { "name": "e" } }), "/linux/netDevices/eth1/name", "two devices"),
        ("/linux", json!({ "netDevices": { "eth0": {} } }), "/linux/netDevices", "without a NET namespace"),
        ("/linux/cgroupsPath", json!("/a/../../../../tmp/x"), "", "component .."),
        ("/linux/cgroupsPath", json!("system.slice:..:x"), "", "component .."),
        ("/linux/cgroupsPath", json!("a\nb"), "", "control character"),
        ("/linux/intelRdt", json!({ "closID": "../x" }), "/linux/intelRdt/closID", "invalid intelRdt.ClosID"),
        ("/linux/intelRdt", json!({ "closID": ".." }), "/linux/intelRdt/closID", "invalid intelRdt.ClosID"),
        ("/linux/intelRdt", json!({ "memBwSchema": "L3:0=1" }), "/linux/intelRdt/memBwSchema", "does not start with MB:"),
        ("/linux/intelRdt", json!({ "schemata": ["L3:0=1", "a\nb"] }), "/linux/intelRdt/schemata/1", "newline"),
        ("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND" }), "/linux/memoryPolicy/nodes", "at least one node"),
        ("/linux/memoryPolicy", json!({ "mode": "MPOL_LOCAL", "nodes": "0" }), "/linux/memoryPolicy/nodes", "mode requires 0 nodes but got 1"),
        ("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "0,x" }), "/linux/memoryPolicy/nodes", "not a list"),
    ]);
}

#[test]
#[rustfmt::skip] // one row a line
fn resource_rules_are_enforced() {
    let resources = |pointer: &str| format!("/linux/resources/{pointer}");
    for (value, pointer, problem) in [
        (json!({ "devices": [{ "allow": true, "access": "rx" }] }), "devices/0/access", "letters besides"),
        (json!({ "devices": [{ "allow": true, "major": -2 }] }), "devices/0/major", "not from -1"),
        (json!({ "memory": { "limit": -2 } }), "memory/limit", "not from -1"),
        (json!({ "memory": { "swappiness": 101 } }), "memory/swappiness", "not from 0 to 100"),
        (json!({ "memory": { "swap": 1 } }), "memory/swap", "without memory limit"),
        (json!({ "memory": { "limit": 2, "swap": 1 } }), "memory/swap", "should be >= memory limit"),
        (json!({ "cpu": { "cpus": "0-" } }), "cpu/cpus", "not a list"),
        (json!({ "cpu": { "mems": "a" } }), "cpu/mems", "not a list"),
        (json!({ "cpu": { "idle": 2 } }), "cpu/idle", "not from 0 to 1"),
        (json!({ "cpu": { "quota": 5, "burst": 6 } }), "cpu/burst", "above the quota"),
        (json!({ "blockIO": { "weight": 9 } }), "blockIO/weight", "not from 10 to 1000"),
        (json!({ "blockIO": { "weightDevice": [{ "major": 8, "minor": 0, "weight": 1001 }] } }), "blockIO/weightDevice/0/weight", "not from"),
        (json!({ "blockIO": { "weightDevice": [{ "major": 8, "minor": 0 }] } }), "blockIO/weightDevice/0", "neither weight nor"),
        (json!({ "blockIO": { "throttleReadIOPSDevice": [{ "major": -1, "minor": 0, "rate": 1 }] } }), "blockIO/throttleReadIOPSDevice/0/major", "not from"),
        (json!({ "hugepageLimits": [{ "pageSize": "2mb", "limit": 1 }] }), "hugepageLimits/0/pageSize", "not a size"),
        (json!({ "hugepageLimits": [{ "pageSize": "../2MB", "limit": 1 }] }), "hugepageLimits/0/pageSize", "not a size"),
        (json!({ "network": { "priorities": [{ "name": "", "priority": 1 }] } }), "network/priorities/0/name", "invalid network device name"),
        (json!({ "rdma": { "mlx5 0": { "hcaHandles": 1 } } }), "rdma/mlx5 0", "not the name"),
        (json!({ "rdma": { "mlx5_0": {} } }), "rdma/mlx5_0", "neither hcaHandles nor"),
        (json!({ "unified": { "../memory.max": "1" } }), "unified/..~1memory.max", "no slashes"),
        (json!({ "unified": { "memory": "1" } }), "unified/memory", "CONTROLLER.PARAMETER"),
        (json!({ "unified": { "a\nb.c": "1" } }), "unified/a\nb.c", "no slashes"),
    ] {
        let mut document = base();
        put(&mut document, "/linux/resources", value);
        refused(document.to_string().as_bytes(), &resources(pointer), problem);
    }
}

#[test]
#[rustfmt::skip] // one row a line
fn seccomp_rules_are_enforced() {
    let rule = |rule: Value| json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    let kill =
        |arg: Value| rule(json!({ "names": ["read"], "action": "SCMP_ACT_KILL", "args": [arg] }));
    for (value, pointer, problem) in [
        (json!({ "defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1 }), "defaultErrnoRet", "no error number"),
        (json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096 }), "defaultErrnoRet", "not from 0 to 4095"),
        (json!({ "defaultAction": "SCMP_ACT_NOTIFY" }), "defaultAction", "cannot be the default"),
        (rule(json!({ "names": [], "action": "SCMP_ACT_KILL" })), "syscalls/0/names", "is empty"),
        (rule(json!({ "names": ["a", ""], "action": "SCMP_ACT_KILL" })), "syscalls/0/names/1", "is empty"),
        (rule(json!({ "names": ["a"], "action": "SCMP_ACT_KILL", "errnoRet": 1 })), "syscalls/0/errnoRet", "no error number"),
        (rule(json!({ "names": ["a"], "action": "SCMP_ACT_NOTIFY" })), "syscalls/0/action", "needs a listenerPath"),
        (kill(json!({ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" })), "syscalls/0/args/0/index", "not from 0 to 5"),
        (kill(json!({ "index": 0, "value": -1, "op": "SCMP_CMP_EQ" })), "syscalls/0/args/0/value", "expected u64"),
        (kill(json!({ "index": 0, "value": 1, "op": "==" })), "syscalls/0/args/0/op", "SCMP_CMP_EQ"),
        (json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x" }), "listenerMetadata", "without listenerPath"),
        (json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["x86"] }), "architectures/0", "SCMP_ARCH_X86_64"),
        (json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["LOG"] }), "flags/0", "SECCOMP_FILTER_FLAG_LOG"),
        (json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"] }), "flags/0", "needs a rule with SCMP_ACT_NOTIFY"),
    ] {
        let mut document = base();
        put(&mut document, "/linux/seccomp", value);
        refused(document.to_string().as_bytes(), &format!("/linux/seccomp/{pointer}"), problem);
    }
}

#[test]
#[rustfmt::skip] // one row a line
fn keys_given_twice_are_refused_at_any_depth() {
    let twice = "is given more than once";
    let text = base().to_string();
    let with = |member: &str| text.replacen('{', &format!("{{{member},"), 1);
    for (member, pointer) in [
        (r#""process":{}"#, "/process"),
        (r#""x":{"a":[{},{"b":1,"c":2,"b":1}]}"#, "/x/a/1/b"),
        (r#""x":{"a":1,"\u0061":2}"#, "/x/a"),
        (r#""x":{"a/b~":1,"a/b~":2}"#, "/x/a~1b~0"),
        (r#""x":{"":1,"":2}"#, "/x/"),
        (r#""annotations":{"k":"1","k":"1"}"#, "/annotations/k"),
        (r#""o":{},"hooks":{"prestart":[],"prestart":null}"#, "/hooks/prestart"),
    ] {
        refused(with(member).as_bytes(), pointer, twice);
    }
    let many: Vec<String> = (0..100).map(|n| format!("\"k{}\":0", n % 99)).collect();
    refused(with(&format!("\"x\":{{{}}}", many.join(","))).as_bytes(), "/x/k0", twice);
}

#[test]
#[rustfmt::skip] // one row a line
fn nul_in_any_string_is_refused() {
    let nul = "contains a NUL";
    all_refused(&[
        ("/process/args", json!(["sh", "a\0b"]), "/process/args/1", nul),
        ("/process/env", json!(["A=\0"]), "/process/env/0", nul),
        ("/process/cwd", json!("/\0"), "", nul),
        ("/hostname", json!("\0"), "", nul),
        ("/mounts/0/source", json!("x\0"), "", nul),
        ("/mounts/0/options", json!(["ro", "size=1\0"]), "/mounts/0/options/1", nul),
        ("/annotations", json!({ "a": "\0" }), "/annotations/a", nul),
        ("/annotations", json!({ "a": "", "b\0": "x" }), "/annotations", "a key that contains a NUL"),
        ("/unknown", json!({ "deep": [["\0"]] }), "/unknown/deep/0/0", nul),
    ]);
    // An escaped backslash before u0000 is no NUL.
    let text = base().to_string().replace("\"sh\"", r#""\\u0000""#);
    assert_eq!(check(text.as_bytes()), Ok(vec![]));
}

#[test]
#[rustfmt::skip] // one row a line
fn text_that_is_not_json_is_refused() {
    let text = base().to_string();
    let changed = |from: &str, to: &str| text.replacen(from, to, 1).into_bytes();
    for (text, pointer, problem) in [
        (Vec::new(), "", "EOF"),
        (b" \n".to_vec(), "", "EOF"),
        (b"null".to_vec(), "", "null"),
        (b"[]".to_vec(), "", "expected an object"),
        (b"{}".to_vec(), "/ociVersion", "is missing"),
        (format!("{text}x").into_bytes(), "", "trailing characters"),
        (format!("{text}{text}").into_bytes(), "", "trailing characters"),
        (format!("\u{feff}{text}").into_bytes(), "", "expected value (line 1, column 1)"),
        (text[..text.len() - 1].into(), "", "EOF"),
        (changed("\"sh\"", "\"sh"), "/process/args/0", "control character"),
        (changed("\"sh\"", "\"\\ud800\""), "/process/args/0", "hex escape"),
        (changed("\"sh\"", "\"\\x\""), "/process/args/0", "escape"),
        (changed("\"sh\"", "'sh'"), "/process/args/0", "expected value"),
        (changed("[\"sh\"]", "[\"sh\",]"), "/process/args/1", "trailing comma"),
        (changed("\"uid\":0", "\"uid\":00"), "/process/user/uid", "invalid number"),
        (changed("\"uid\":0", "\"uid\":0x1"), "/process/user/uid", "expected `,` or `}`"),
        (changed("\"uid\":0", "\"uid\":+1"), "/process/user/uid", "expected value"),
        (changed("\"uid\":0", "uid:0"), "/process/user", "key must be a string"),
        (changed("\"uid\":0", "\"uid\":NaN"), "/process/user/uid", "expected value"),
        (changed("{", "{/* no */"), "", "key must be a string"),
        (b"\xff\xfe{}".to_vec(), "", "is not UTF-8 at byte 0"),
        ([text.as_bytes(), b"\xff"].concat(), "", "is not UTF-8"),
    ] {
        let text = if problem.contains("control") { text_with_newline(text) } else { text };
        let shown = String::from_utf8_lossy(&text).into_owned();
        let error = check(&text).expect_err(&shown);
        assert!(error.problem.contains(problem), "{error}: {problem:?}\n{shown}");
        assert_eq!(error.pointer, pointer, "{error}\n{shown}");
    }
}

fn text_with_newline(mut text: Vec<u8>) -> Vec<u8> {
    let place = text.windows(3).position(|window| window == b"\"sh").map_or(0, |place| place + 3);
    text.insert(place, b'\n');
    text
}

#[test]
#[rustfmt::skip] // one row a line
fn sizes_beyond_the_limits_are_refused() {
    let long = "x".repeat(limits::MAX_ARG_STRLEN);
    let strings =
        |count: usize, length: usize| json!(vec![format!("A={}", "x".repeat(length)); count]);
    let mut deep = json!(0);
    for _ in 0..limits::MAX_DEPTH {
        deep = json!([deep]);
    }
    let mounts = json!(vec![json!({ "destination": "/x" }); limits::MAX_STEPS + 1]);
    let deep_pointer = format!("/x{}", "/0".repeat(limits::MAX_DEPTH - 1));
    all_refused(&[
        ("/process/args", json!(["sh", long]), "/process/args/1", "execve takes 131071"),
        ("/process/env", json!([format!("A={long}")]), "/process/env/0", "execve takes 131071"),
        ("/process/env", strings(7000, 1000), "", "execve takes 6291456"),
        ("/process/args", strings(7000, 1000), "", "execve takes 6291456"),
        ("/process/env", strings(limits::MAX_ELEMENTS + 1, 0), "", "more than 131072 elements"),
        ("/x", deep, &deep_pointer, "nested in more than 64"),
        ("/mounts", mounts, "", "more than 10000"),
        ("/process/user/additionalGids", json!(vec![1; limits::MAX_GROUPS + 1]), "", "more than 65536"),
    ]);
    let mut document = base();
    put(
        &mut document,
        "/process/rlimits",
        json!([{ "type": "RLIMIT_STACK", "soft": 1 << 20, "hard": 1 << 20 }]),
    );
    put(&mut document, "/process/env", strings(300, 1000));
    refused(document.to_string().as_bytes(), "/process/env", "execve takes 262144");
}

#[test]
fn bundle_that_is_no_bundle_is_refused() {
    let bundle = tempfile::tempdir().expect("a directory");
    let config = bundle.path().join("config.json");
    let problem = || match Bundle::load(bundle.path()) {
        Err(Error::Spec { path, source }) => {
            assert!(path.ends_with("config.json"), "{}", path.display());
            assert_eq!(source.pointer, "");
            source.problem
        }
        other => panic!("{other:?}"),
    };
    assert!(problem().contains("config.json not found"));
    fs::create_dir(&config).expect("a directory");
    assert_eq!(problem(), "is not a regular file");
    fs::remove_dir(&config).expect("no directory");
    for device in ["/dev/zero", "/dev/tty", "/dev/null"] {
        symlink(device, &config).expect("a link");
        let problem = problem();
        assert!(
            problem == "is not a regular file" || problem.starts_with("cannot be opened"),
            "{device}: {problem}"
        );
        fs::remove_file(&config).expect("no link");
    }
    rustix::fs::mkfifoat(rustix::fs::CWD, &config, rustix::fs::Mode::RWXU).expect("a FIFO");
    assert_eq!(problem(), "is not a regular file");
    fs::remove_file(&config).expect("no FIFO");
    let file = fs::OpenOptions::new().write(true).create_new(true).open(&config).expect("a file");
    file.set_len(64 << 20).expect("a sparse file");
    assert_eq!(problem(), "is larger than 16 MiB");
    assert!(Bundle::load(&bundle.path().join("missing")).is_err());
}
