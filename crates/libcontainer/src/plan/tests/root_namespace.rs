//! Which plans need no copy of the host's mounts.
//!
//! Runs in: tests.

use serde_json::{Value, json};

use super::{bundle, facts, request, steps_of};
use crate::host::Facts;
use crate::plan::words::CLONE_NEWNS;
use crate::plan::{Plan, Request, plan};

fn planned(changes: Value, request: &Request) -> Plan {
    let facts = Facts { root_namespaces: true, ..facts() };
    plan(&bundle(changes), &facts, request).unwrap()
}

/// Whether the plan copies no mounts; then nothing else may make a mount namespace.
fn copies_none(changes: Value, request: &Request) -> bool {
    let plan = planned(changes, request);
    let names: Vec<_> = plan.init.ops().map(|(_, op)| op.name()).collect();
    let place = |name| names.iter().position(|other| *other == name);
    let copies_none = place("RootNamespace").is_some();
    if copies_none {
        assert_eq!(plan.spawn.clone_flags & CLONE_NEWNS, 0);
        // What is done where it cannot be.
        let root = place("RootNamespace").unwrap();
        assert_eq!((place("Propagation"), place("Rootfs")), (Some(root + 1), Some(root + 2)));
        assert!(place("Pivot").is_some());
    }
    copies_none
}

fn mounts(mounts: Value) -> bool {
    copies_none(json!({ "mounts": mounts }), &request())
}

fn bind(source: &str, target: &str) -> Value {
    json!({ "destination": target, "source": source, "options": ["rbind"] })
}

fn tmpfs(target: &str) -> Value {
    json!({ "destination": target, "type": "tmpfs" })
}

#[test]
fn root_namespace_has_the_root_and_the_propagation_of_sources() {
    for (word, propagation) in [("", 1 << 19), ("rslave", 1 << 19), ("rprivate", 1 << 18)] {
        let plan = planned(json!({ "linux": { "rootfsPropagation": word } }), &request());
        let expected =
            format!("RootNamespace {{ path: \"/bundle/rootfs\", propagation: {propagation} }}");
        assert!(steps_of(&plan.init, "/linux/namespaces").contains(&expected), "{word}");
    }
}

#[test]
fn root_namespace_is_not_made_where_init_must_see_the_host() {
    assert!(copies_none(json!({}), &request()));
    let hook = json!([{ "path": "/bin/true" }]);
    for kind in ["prestart", "createRuntime", "createContainer"] {
        assert!(!copies_none(json!({ "hooks": { kind: hook } }), &request()), "{kind}");
    }
    for kind in ["startContainer", "poststart", "poststop"] {
        assert!(copies_none(json!({ "hooks": { kind: hook } }), &request()), "{kind}");
    }
    let no_pivot = Request { no_pivot: true, ..request() };
    assert!(!copies_none(json!({}), &no_pivot));
    assert!(!mounts(json!([{ "destination": "/o", "type": "overlay", "source": "overlay" }])));
    assert!(!mounts(json!([tmpfs("/t"), { "destination": "/t", "options": ["remount", "ro"] }])));
    let long = format!("mpol={}", "x".repeat(300));
    assert!(!mounts(json!([{ "destination": "/t", "type": "tmpfs", "options": [long] }])));
}

#[test]
fn root_namespace_is_not_made_where_mounts_are_not_cut_off() {
    for word in ["shared", "rshared", "slave", "private", "unbindable", "runbindable"] {
        let changes = json!({ "linux": { "rootfsPropagation": word } });
        let facts = Facts { root_namespaces: true, ..facts() };
        let Ok(plan) = plan(&bundle(changes), &facts, &request()) else { continue };
        assert!(plan.spawn.clone_flags & CLONE_NEWNS != 0, "{word}");
    }
}

#[test]
fn root_namespace_is_not_made_in_other_namespaces() {
    let of = |namespaces: Value| {
        copies_none(
            json!({ "linux": {
                "namespaces": namespaces,
                "uidMappings": [{ "containerID": 0, "hostID": 100_000, "size": 10 }],
                "gidMappings": [{ "containerID": 0, "hostID": 100_000, "size": 10 }],
            } }),
            &request(),
        )
    };
    assert!(of(json!([{ "type": "mount" }, { "type": "network", "path": "/n" }])));
    assert!(!of(json!([{ "type": "mount" }, { "type": "user", "path": "/u" }])));
    let plan = planned(
        json!({ "linux": { "namespaces": [
        { "type": "pid" }, { "type": "mount", "path": "/m" },
    ] } }),
        &request(),
    );
    assert!(plan.init.ops().all(|(_, op)| op.name() != "RootNamespace"));
}

#[test]
fn root_namespace_is_not_made_where_a_source_has_to_do_with_the_root() {
    assert!(mounts(json!([bind("/data", "/d"), bind("beside", "/b")])));
    for source in ["/bundle/rootfs", "rootfs/vol", "/bundle/x/../rootfs/vol", "/bundle", "/", "."] {
        assert!(!mounts(json!([bind(source, "/d")])), "{source}");
    }
    assert!(mounts(json!([bind("/bundle/rootfs2", "/d")])));
}

#[test]
fn root_namespace_is_not_made_where_mountinfo_would_mislead() {
    assert!(mounts(json!([bind("/data", "/d"), tmpfs("/d")])));
    assert!(mounts(json!([tmpfs("/d"), bind("/data", "/d/e")])));
    assert!(!mounts(json!([tmpfs("/d"), bind("/data", "/d/")])));
    let many = |count| Value::from_iter((0..count).map(|index| bind("/x", &format!("/{index}"))));
    assert!(mounts(many(64)));
    assert!(!mounts(many(65)));
}
