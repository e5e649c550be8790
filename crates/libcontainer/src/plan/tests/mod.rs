//! Tests of whole plans, on an imagined host.
//!
//! Runs in: tests.

mod errors;
mod mounts;
mod order;
mod process;
mod pure;
mod root_namespace;
mod seccomp;

use serde_json::{Value, json};

use super::{InitPlan, Plan, Request, plan};
use crate::error::Error;
use crate::host::{CgroupFacts, CgroupLayout, Facts, Modules};
use crate::spec::Bundle;

pub(super) fn facts() -> Facts {
    Facts {
        euid: 0,
        egid: 0,
        last_capability: 40,
        cgroup: CgroupFacts {
            layout: CgroupLayout::Unified,
            mount_point: "/sys/fs/cgroup".into(),
            own: "/user.slice/session.scope".into(),
            bound_to_v1: Vec::new(),
        },
        modules: Modules { apparmor: true, selinux: true },
        root_namespaces: false,
    }
}

pub(super) fn request() -> Request {
    Request { id: "c1".into(), bundle: "/bundle".into(), ..Request::default() }
}

/// A small configuration, with members of `changes` in the place of its own; members of `linux` and `process` likewise.
pub(super) fn bundle(changes: Value) -> Bundle {
    let mut config = json!({
        "ociVersion": "1.3.0",
        "root": { "path": "rootfs" },
        "process": { "cwd": "/", "args": ["sh"], "user": { "uid": 0, "gid": 0 } },
        "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }] },
    });
    for (name, change) in changes.as_object().unwrap() {
        match (name.as_str(), change) {
            ("linux" | "process", Value::Object(members)) => {
                for (member, value) in members {
                    config[name][member] = value.clone();
                }
            }
            _ => config[name] = change.clone(),
        }
    }
    Bundle {
        dir: "/bundle".into(),
        config_path: "/bundle/config.json".into(),
        spec: serde_json::from_value(config).unwrap(),
        warnings: Vec::new(),
    }
}

fn planned(changes: Value) -> Plan {
    plan(&bundle(changes), &facts(), &request()).unwrap()
}

/// The pointer and the problem of a refusal.
fn refused(changes: Value) -> (String, String) {
    match plan(&bundle(changes), &facts(), &request()) {
        Err(Error::Property { pointer, problem }) => (pointer, problem),
        other => panic!("{other:?}"),
    }
}

/// The steps that `property` made, as Rust prints them.
fn steps_of(plan: &InitPlan, property: &str) -> Vec<String> {
    let of_property = plan.ops().filter(|(origin, _)| origin.to_string().starts_with(property));
    of_property.map(|(_, op)| format!("{op:?}")).collect()
}

/// The names of all steps in order.
fn names(plan: &Plan) -> Vec<&'static str> {
    plan.init.ops().map(|(_, op)| op.name()).collect()
}
