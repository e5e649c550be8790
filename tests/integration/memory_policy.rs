//! `linux.memoryPolicy`, seen in /proc/self/numa_maps; of a machine with one node.
//!
//! Runs in: any process.

use serde_json::{Value, json};

use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, Kernel, NotOn, Root};
use crate::inside::{refuses, sh};
use crate::runtime::Runtime;

const NO_POLICY: &str = "1.1 and crun 1.8 do not know the property; runc 1.5 does";
const SCRIPT: &str = "head -n 1 /proc/self/numa_maps | cut -d ' ' -f 2";

table! {
    every_mode_is_set: [Root, NotOn("runc", NO_POLICY), NotOn("crun", NO_POLICY)],
    modes_of_new_kernels_are_set: [Root, Kernel(6, 9), NotOn("runc", NO_POLICY), NotOn("crun", NO_POLICY)],
    every_flag_is_set: [Root, NotOn("runc", NO_POLICY), NotOn("crun", NO_POLICY)],
    exec_has_the_policy_of_the_container: [Root, NotOn("runc", NO_POLICY), NotOn("crun", NO_POLICY)],
    policy_that_cannot_be_is_refused: [Root, Corten("errors have the JSON pointer")],
    node_that_is_not_there_is_refused: [Root, Corten("errors have the JSON pointer")],
}

fn policy(mode: &str, nodes: &str, flags: &[&str]) -> Value {
    json!({ "mode": mode, "nodes": nodes, "flags": flags })
}

/// Runs one container for each row; the kernel's words for the policy must be these.
fn check(runtime: &Runtime, rows: &[(&str, &str, &[&str], &str)]) -> TestResult {
    for (mode, nodes, flags, expected) in rows {
        let seen = sh(runtime, SCRIPT, |config| {
            config["linux"]["memoryPolicy"] = policy(mode, nodes, flags);
        })?;
        ensure!(seen.trim() == *expected, "{mode} {nodes:?} {flags:?} gives {seen}");
    }
    Ok(())
}

fn every_mode_is_set(runtime: &Runtime) -> TestResult {
    check(
        runtime,
        &[
            ("MPOL_DEFAULT", "", &[], "default"),
            ("MPOL_LOCAL", "", &[], "local"),
            ("MPOL_BIND", "0", &[], "bind:0"),
            ("MPOL_INTERLEAVE", "0", &[], "interleave:0"),
            ("MPOL_PREFERRED", "0", &[], "prefer:0"),
            // Without a node it is that where the process runs.
            ("MPOL_PREFERRED", "", &[], "local"),
        ],
    )
}

fn modes_of_new_kernels_are_set(runtime: &Runtime) -> TestResult {
    check(
        runtime,
        &[
            ("MPOL_PREFERRED_MANY", "0", &[], "prefer"),
            ("MPOL_WEIGHTED_INTERLEAVE", "0", &[], "weighted"),
        ],
    )
}

fn every_flag_is_set(runtime: &Runtime) -> TestResult {
    check(
        runtime,
        &[
            ("MPOL_BIND", "0", &["MPOL_F_STATIC_NODES"], "bind=static:0"),
            ("MPOL_INTERLEAVE", "0", &["MPOL_F_RELATIVE_NODES"], "interleave=relative:0"),
            ("MPOL_BIND", "0", &["MPOL_F_NUMA_BALANCING"], "bind=balancing:0"),
        ],
    )
}

fn exec_has_the_policy_of_the_container(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["sleep", "1000"], |config| {
        config["linux"]["memoryPolicy"] = policy("MPOL_BIND", "0", &["MPOL_F_STATIC_NODES"]);
    })?;
    let id = runtime.new_id();
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    let seen = runtime.command(["exec", &id, "sh", "-c", SCRIPT]).output()?.ok()?.stdout;
    ensure_eq!(seen.trim(), "bind=static:0");
    runtime.delete_force(&id)?.ok()?;
    Ok(())
}

fn policy_that_cannot_be_is_refused(runtime: &Runtime) -> TestResult {
    let rows = [
        (json!({ "nodes": "0" }), "mode", "invalid memory policy mode"),
        (policy("INTERLEAVE", "0", &[]), "mode", "invalid memory policy mode"),
        (policy("MPOL_BIND", "0", &["bad"]), "flags/0", "invalid memory policy flag"),
        (policy("MPOL_BIND", "", &[]), "nodes", "requires at least one node but got 0"),
        (policy("MPOL_DEFAULT", "0-6,9", &[]), "nodes", "requires 0 nodes but got 8"),
        (policy("MPOL_BIND", "0-9876543210", &[]), "nodes", "invalid memory policy nodes"),
        (policy("MPOL_BIND", "8192", &[]), "nodes", "too large a number"),
    ];
    for (value, member, text) in rows {
        let pointer = format!("/linux/memoryPolicy/{member}");
        refuses(runtime, &[&pointer, text], |config| config["linux"]["memoryPolicy"] = value)?;
    }
    Ok(())
}

fn node_that_is_not_there_is_refused(runtime: &Runtime) -> TestResult {
    let texts = ["/linux/memoryPolicy", "EINVAL", "none of the nodes is there"];
    for nodes in ["999", "8191"] {
        refuses(runtime, &texts, |config| {
            config["linux"]["memoryPolicy"] = policy("MPOL_BIND", nodes, &[]);
        })?;
    }
    Ok(())
}
