//! What is accepted as config.json: what engines write, and what the specification allows.
//!
//! Runs in: any process.

#![expect(clippy::expect_used, reason = "helpers of tests, which clippy does not know as such")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libcontainer::spec::{
    Bundle, NamespaceType, Spec, SpecError, default_spec, parse, rootless, to_pretty_json, validate,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The configurations that Docker, Podman, containerd and others wrote, with their names.
fn written_by_engines() -> &'static [(String, String)] {
    static ALL: LazyLock<Vec<(String, String)>> = LazyLock::new(read_configurations);
    &ALL
}

fn read_configurations() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/configs");
    let entries = fs::read_dir(dir).expect("tests/configs");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let json = paths.filter(|path: &PathBuf| path.extension().is_some_and(|ext| ext == "json"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a text");
        (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), text)
    };
    json.map(read).collect()
}

/// What Go reads as `maskedPaths` is no unknown property here: runc's own tests write `pagesize`.
#[test]
fn case_of_a_key_counts_for_nothing() {
    let (spec, _) = check(&with(json!({ "linux": { "RESOURCES": { "Pids": { "LIMIT": 7 } } } })))
        .expect("accepted");
    let resources = spec.linux.and_then(|linux| linux.resources).expect("resources");
    assert_eq!(resources.pids.and_then(|pids| pids.limit), Some(7));
    let twice = with(json!({ "linux": { "maskedPaths": [], "maskedpaths": ["/a"] } }));
    assert!(check(&twice).is_err(), "two readers may take another one of the two");
}

/// runc's own suite has `cpu` and `CPU`, of which Go makes one.
#[test]
fn limits_in_two_spellings_of_their_key_are_one_object() {
    let with_cpu = |first: Value, second: Value| {
        check(&with(json!({ "linux": { "resources": { "cpu": first, "CPU": second } } })))
    };
    let (spec, _) = with_cpu(json!({ "shares": 5 }), json!({ "Cpus": "0" })).expect("accepted");
    let cpu = spec.linux.and_then(|linux| linux.resources).and_then(|it| it.cpu).expect("cpu");
    assert_eq!((cpu.shares, cpu.cpus.as_str(), cpu.quota), (Some(5), "0", None));
    assert!(with_cpu(json!({ "shares": 5 }), Value::Null).is_ok());
    let error = with_cpu(json!({ "shares": 5 }), json!({ "SHARES": 5 })).unwrap_err();
    assert_eq!(error.to_string(), "/linux/resources: duplicate field `shares`");
}

fn check(text: &str) -> Result<(Spec, Vec<SpecError>), SpecError> {
    let spec = parse(text.as_bytes())?;
    let warnings = validate(&spec)?;
    Ok((spec, warnings))
}

fn minimal() -> Value {
    json!({ "ociVersion": "1.0.0", "process": { "args": ["sh"], "cwd": "/" }, "root": { "path": "rootfs" } })
}

/// The minimal configuration with these members.
fn with(members: Value) -> String {
    let mut document = minimal();
    let members = members.as_object().expect("an object").clone();
    document.as_object_mut().expect("an object").extend(members);
    document.to_string()
}

#[test]
fn configurations_of_engines_are_accepted() {
    let all = written_by_engines();
    assert!(all.len() >= 10, "only {} in tests/configs", all.len());
    for (name, text) in all {
        match check(text) {
            Ok(_) => {}
            // crun takes a user namespace without mappings and finds some; runc refuses it, and so do we.
            Err(error) if name == "crun-spec-rootless.json" => {
                assert_eq!(error.pointer, "/linux/namespaces/4", "{error}");
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

/// Unknown properties aside, what is read is what is written: no property of an engine's configuration is lost.
#[test]
fn configurations_of_engines_are_kept_whole() {
    for (name, text) in written_by_engines() {
        let theirs: Value = serde_json::from_str(text).expect(name);
        let spec = parse(text.as_bytes()).expect(name);
        let ours = serde_json::to_value(&spec).expect(name);
        assert_eq!(stripped(&ours), stripped(&theirs), "{name}");
        assert_eq!(parse(&to_pretty_json(&spec)), Ok(spec), "{name}");
    }
}

/// Without what means the same as its absence.
fn stripped(value: &Value) -> Option<Value> {
    let kept = match value {
        Value::Object(members) => {
            let members = members.iter();
            Value::Object(
                members.filter_map(|(key, value)| Some((key.clone(), stripped(value)?))).collect(),
            )
        }
        Value::Array(elements) => {
            elements.iter().map(|value| stripped(value).unwrap_or(Value::Null)).collect()
        }
        other => other.clone(),
    };
    let empty = match &kept {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.is_empty(),
    };
    (!empty).then_some(kept)
}

#[test]
fn versions_of_the_specification_are_accepted() {
    for version in [
        "1.0.0",
        "1.0",
        "1.0.0-rc5",
        "1.0.2-dev",
        "1.1.0-rc.3",
        "1.2.1",
        "1.3.0",
        "1.3.0+dev",
        "1.3.99",
    ] {
        let accepted = check(&with(json!({ "ociVersion": version })));
        assert_eq!(accepted.map(|(_, warnings)| warnings), Ok(vec![]), "{version}");
    }
}

#[test]
fn odd_things_warn_and_are_accepted() {
    let capabilities =
        |sets: Value| json!({ "process": { "args": ["sh"], "cwd": "/", "capabilities": sets } });
    for (members, pointer) in [
        (json!({ "ociVersion": "1.4.0" }), "/ociVersion"),
        (
            json!({ "mounts": [{ "destination": "data", "type": "tmpfs" }] }),
            "/mounts/0/destination",
        ),
        (
            capabilities(json!({ "bounding": ["CAP_KILL", "CAP_NEW"] })),
            "/process/capabilities/bounding/1",
        ),
        (capabilities(json!({ "effective": ["cap_kill"] })), "/process/capabilities/effective/0"),
        (
            capabilities(json!({ "ambient": ["CAP_KILL"], "permitted": ["CAP_KILL"] })),
            "/process/capabilities/ambient/0",
        ),
        (
            json!({ "linux": { "personality": { "domain": "LINUX", "flags": ["X"] } } }),
            "/linux/personality/flags",
        ),
        (
            json!({ "linux": { "seccomp": { "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x" } } }),
            "/linux/seccomp/listenerPath",
        ),
    ] {
        let (_, warnings) = check(&with(members.clone())).expect(pointer);
        let pointers: Vec<_> = warnings.iter().map(|warning| warning.pointer.as_str()).collect();
        assert_eq!(pointers, [pointer], "{members}");
    }
}

#[test]
fn unknown_capability_is_kept() {
    let process =
        json!({ "args": ["sh"], "cwd": "/", "capabilities": { "bounding": ["CAP_NEW"] } });
    let (spec, _) = check(&with(json!({ "process": process }))).expect("accepted");
    let sets = spec.process.and_then(|process| process.capabilities).expect("capabilities");
    assert_eq!(sets.bounding, ["CAP_NEW"]);
}

/// Go writes null for empty slices, maps and pointers.
#[test]
fn null_is_absent_everywhere() {
    let nulls = json!({
        "hostname": null, "domainname": null, "mounts": null, "hooks": null, "annotations": null, "x": null,
        "root": { "path": "rootfs", "readonly": null },
        "process": {
            "args": ["sh"], "cwd": "/", "terminal": null, "consoleSize": null, "env": null, "capabilities": null,
            "rlimits": null, "noNewPrivileges": null, "apparmorProfile": null, "oomScoreAdj": null, "scheduler": null,
            "selinuxLabel": null, "ioPriority": null, "execCPUAffinity": null,
            "user": { "uid": null, "gid": null, "umask": null, "additionalGids": null }
        },
        "linux": {
            "uidMappings": null, "gidMappings": null, "sysctl": null, "cgroupsPath": null, "namespaces": null,
            "devices": null, "netDevices": null, "seccomp": null, "rootfsPropagation": null, "maskedPaths": null,
            "readonlyPaths": null, "mountLabel": null, "intelRdt": null, "memoryPolicy": null, "personality": null,
            "timeOffsets": null,
            "resources": {
                "devices": [{ "allow": false, "type": null, "major": null, "minor": null, "access": null }],
                "memory": null, "cpu": { "shares": null, "cpus": null }, "pids": { "limit": null }, "blockIO": null,
                "hugepageLimits": null, "network": null, "rdma": null, "unified": null
            }
        }
    });
    let (mut spec, warnings) = check(&with(nulls)).expect("accepted");
    assert_eq!(warnings, []);
    let linux = spec.linux.take().expect("linux");
    assert_eq!(linux.namespaces, []);
    assert_eq!(
        linux.resources.and_then(|resources| resources.pids).and_then(|pids| pids.limit),
        None
    );
    assert_eq!(Ok(spec), parse(minimal().to_string().as_bytes()));
}

#[test]
fn pids_limit_of_zero_is_not_an_absent_one() {
    let (spec, _) = check(&with(json!({ "linux": { "resources": { "pids": { "limit": 0 } } } })))
        .expect("accepted");
    let resources = spec.linux.and_then(|linux| linux.resources).expect("resources");
    assert_eq!(resources.pids.and_then(|pids| pids.limit), Some(0));
}

#[test]
fn empty_words_of_go_are_absent() {
    let linux = json!({ "rootfsPropagation": "", "resources": { "devices": [{ "allow": true, "type": "" }] } });
    let (spec, _) = check(&with(json!({ "linux": linux }))).expect("accepted");
    assert_eq!(spec.linux.expect("linux").rootfs_propagation, None);
}

#[test]
fn things_at_their_limits_are_accepted() {
    let longest = "x".repeat(131_071 - 2);
    let process = json!({
        "args": ["sh"], "cwd": "/", "env": [format!("A={longest}")], "oomScoreAdj": -1000,
        "user": { "uid": 4_294_967_294_u32, "gid": 0, "umask": 0o777 },
        "scheduler": { "policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 1, "period": 1 },
        "execCPUAffinity": { "initial": "0-3,7", "final": "1" }
    });
    let linux = json!({
        "namespaces": [
            { "type": "user" }, { "type": "time" }, { "type": "network", "path": "/x" }, { "type": "mount" },
            { "type": "ipc" }, { "type": "uts" }, { "type": "pid" }, { "type": "cgroup" }
        ],
        "uidMappings": [{ "containerID": 0, "hostID": 0, "size": 4_294_967_295_u32 }],
        "gidMappings": [{ "containerID": 0, "hostID": 0, "size": 4_294_967_295_u32 }],
        "timeOffsets": { "boottime": { "secs": -1, "nanosecs": 999_999_999 } },
        "sysctl": {
            "net.ipv4.conf.eno2/100.rp_filter": "1", "net/ipv4/ip_forward": "1", "kernel.shmmax": "1",
            "fs.mqueue.msg_max": "1", "kernel.domainname": "x", "user.max_user_namespaces": "1"
        },
        "netDevices": { "eth0": { "name": "e%d" }, "eth1": { "name": "e%d" }, "eth2": {} },
        "devices": [
            { "path": "/dev/a", "type": "c", "major": 4095, "minor": 1_048_575, "fileMode": 8630 },
            { "path": "/fifo", "type": "p" }
        ],
        "intelRdt": { "closID": "/", "schemata": ["L3:0=f", "MB:0=20"] },
        "memoryPolicy": { "mode": "MPOL_PREFERRED", "flags": ["MPOL_F_STATIC_NODES"] },
        "rootfsPropagation": "rshared",
        "cgroupsPath": "/a..b/c"
    });
    let text = with(json!({ "process": process, "linux": linux, "hostname": "h".repeat(64) }));
    assert_eq!(check(&text).map(|(_, warnings)| warnings), Ok(vec![]));
}

#[test]
fn template_is_runcs() {
    let runc =
        written_by_engines().iter().find(|(name, _)| name == "runc-spec.json").expect("runc's");
    let mut theirs = parse(runc.1.as_bytes()).expect("runc's");
    let ours = default_spec();
    assert_eq!(validate(&ours), Ok(vec![]));
    // Debian's runc is older: 1.2.0, ambient capabilities, and on a host without cgroup v2 no cgroup namespace.
    theirs.oci_version.clone_from(&ours.oci_version);
    theirs.hostname.clone_from(&ours.hostname);
    theirs
        .process
        .as_mut()
        .and_then(|process| process.capabilities.as_mut())
        .expect("capabilities")
        .ambient
        .clear();
    let namespaces = &mut theirs.linux.as_mut().expect("linux").namespaces;
    if !namespaces.iter().any(|namespace| namespace.namespace_type == NamespaceType::Cgroup) {
        namespaces.extend(ours.linux.as_ref().and_then(|linux| linux.namespaces.last().cloned()));
    }
    assert_eq!(ours, theirs);
}

#[test]
fn rootless_template_is_runcs() {
    let runc = written_by_engines()
        .iter()
        .find(|(name, _)| name == "runc-spec-rootless.json")
        .expect("runc's");
    let theirs = parse(runc.1.as_bytes()).expect("runc's");
    let mut ours = default_spec();
    rootless(&mut ours);
    assert_eq!(validate(&ours), Ok(vec![]));
    assert_eq!(ours.mounts, theirs.mounts);
    let (ours, theirs) = (ours.linux.expect("linux"), theirs.linux.expect("linux"));
    assert_eq!(ours.resources, theirs.resources);
    assert!(ours.has_namespace(NamespaceType::User) && !ours.has_namespace(NamespaceType::Network));
    assert_eq!((ours.uid_mappings.len(), ours.gid_mappings.len()), (1, 1));
}

#[test]
fn template_text_is_indented_with_tabs() {
    let text = String::from_utf8(to_pretty_json(&default_spec())).expect("a text");
    assert!(
        text.starts_with(
            "{\n\t\"ociVersion\": \"1.3.0\",\n\t\"process\": {\n\t\t\"terminal\": true,"
        ),
        "{text}"
    );
    assert!(text.ends_with('}'), "{text}");
}

#[test]
fn bundle_is_loaded_from_the_directory_behind_links() {
    let parent = tempfile::tempdir().expect("a directory");
    let parent = parent.path().canonicalize().expect("a path");
    fs::create_dir(parent.join("b")).expect("a directory");
    fs::write(parent.join("b/config.json"), minimal().to_string()).expect("a file");
    std::os::unix::fs::symlink("b", parent.join("link")).expect("a link");
    let bundle = Bundle::load(&parent.join("link/../link")).expect("a bundle");
    assert_eq!((bundle.dir, bundle.config_path), (parent.join("b"), parent.join("b/config.json")));
}

/// Every scalar of a real configuration, replaced by what it cannot be: the error names exactly that place.
#[test]
fn wrong_type_of_any_property_is_named_by_its_pointer() {
    let (_, text) = written_by_engines()
        .iter()
        .find(|(name, _)| name == "docker-default.json")
        .expect("docker's");
    let document: Value = serde_json::from_str(text).expect("JSON");
    let mut pointers = Vec::new();
    scalars(&document, "", &mut pointers);
    assert!(pointers.len() > 100);
    for wrong in [json!([[]]), json!({ "a": {} }), json!(1.5)] {
        for pointer in &pointers {
            let mut changed = document.clone();
            *changed.pointer_mut(pointer).expect(pointer) = wrong.clone();
            let error = parse(serde_json::to_string_pretty(&changed).expect("a text").as_bytes());
            assert_eq!(
                error.map(drop).map_err(|error| error.pointer),
                Err(pointer.clone()),
                "{wrong}"
            );
        }
    }
}

fn scalars(value: &Value, pointer: &str, to: &mut Vec<String>) {
    let member = |key: &str| format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| scalars(value, &member(key), to));
        }
        Value::Array(elements) => {
            elements
                .iter()
                .enumerate()
                .for_each(|(index, value)| scalars(value, &member(&index.to_string()), to));
        }
        _ => to.push(pointer.to_owned()),
    }
}

/// A change to the bytes of a text.
#[derive(Debug, Clone)]
enum Change {
    Set(u8),
    Cut(usize),
    Insert(Vec<u8>),
    Repeat(usize),
}

fn change() -> impl Strategy<Value = (usize, Change)> {
    let change = prop_oneof![
        any::<u8>().prop_map(Change::Set),
        (1_usize..200).prop_map(Change::Cut),
        vec(any::<u8>(), 1..8).prop_map(Change::Insert),
        prop::sample::select(vec![
            "[",
            "{",
            "\"",
            "\\",
            ",",
            ":",
            "null",
            "-1",
            "4294967295",
            "\\u0000",
            "1e9"
        ])
        .prop_map(|text| Change::Insert(text.into())),
        (1_usize..500).prop_map(Change::Repeat),
    ];
    (any::<prop::sample::Index>().prop_map(|index| index.index(1 << 20)), change)
}

fn changed(mut text: Vec<u8>, changes: &[(usize, Change)]) -> Vec<u8> {
    for (place, change) in changes {
        let place = place % text.len().max(1);
        let end = |length: usize| (place + length).min(text.len());
        match change {
            Change::Set(byte) => text.splice(place..end(1), [*byte]).for_each(drop),
            Change::Cut(length) => text.splice(place..end(*length), []).for_each(drop),
            Change::Insert(bytes) => {
                text.splice(place..place.min(text.len()), bytes.iter().copied()).for_each(drop);
            }
            Change::Repeat(length) => {
                let again = text[place.min(text.len())..end(*length)].to_vec();
                text.splice(place..place, again).for_each(drop);
            }
        }
    }
    text
}

/// Any JSON value without NUL.
fn any_json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[^\\x00]{0,12}".prop_map(Value::from),
    ];
    scalar.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map("[^\\x00]{0,6}", inner, 0..20)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn changed_configuration_never_panics(changes in vec(change(), 1..6), which in any::<prop::sample::Index>()) {
        let all = written_by_engines();
        let (_, text) = which.get(all);
        let text = changed(text.clone().into_bytes(), &changes);
        if let Err(error) = parse(&text).and_then(|spec| validate(&spec)) {
            prop_assert!(error.pointer.is_empty() || error.pointer.starts_with('/'));
            prop_assert!(!error.problem.is_empty());
        }
    }

    #[test]
    fn unknown_property_of_any_value_is_ignored(value in any_json(), pretty in any::<bool>()) {
        let text = with(json!({ "x-unknown": value }));
        let document: Value = serde_json::from_str(&text).expect("JSON");
        let text = if pretty { serde_json::to_string_pretty(&document).expect("a text") } else { text };
        prop_assert_eq!(parse(text.as_bytes()), parse(minimal().to_string().as_bytes()));
    }

    #[test]
    fn key_given_twice_is_refused_whatever_the_value(value in any_json(), key in "[^\\x00]{0,6}") {
        let key_text = json!(key).to_string();
        let escaped: String = key.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        let text = with(json!({ "x": "here" }))
            .replace("\"here\"", &format!("[0,{{{key_text}:{value},\"{escaped}\":{value}}}]"));
        let pointer = format!("/x/1/{}", key.replace('~', "~0").replace('/', "~1"));
        let error = parse(text.as_bytes()).map(drop);
        prop_assert_eq!(error, Err(SpecError::new(pointer, "is given more than once")));
    }
}
