//! `linux.intelRdt` on a host without resctrl, which nearly all are; what is done where it is: `libcontainer::intel_rdt`.
//!
//! Runs in: any process.

use std::path::Path;

use serde_json::json;

use crate::harness::{TestResult, ensure, table};
use crate::host::Need::{Corten, NotOn, Root};
use crate::inside::{refusal, refuses};
use crate::runtime::Runtime;

const ALONE: &str =
    "1.1 and 1.8 look for it only where there is something to write; runc 1.5 refuses too";

table! {
    host_without_resctrl_refuses_it: [Root, NotOn("runc", ALONE), NotOn("crun", ALONE)],
    plan_says_what_is_written: [Corten("there is no other plan")],
    values_that_are_none_are_refused: [Root, Corten("the pointer")],
}

fn host_without_resctrl_refuses_it(runtime: &Runtime) -> TestResult {
    ensure!(!Path::new("/sys/fs/resctrl/schemata").exists(), "this host has it: write the test");
    for asked in [
        json!({}),
        json!({ "closID": "a" }),
        json!({ "closID": "/" }),
        json!({ "l3CacheSchema": "L3:0=f" }),
        json!({ "enableMonitoring": true, "schemata": ["MB:0=20"] }),
    ] {
        let outcome = refusal(runtime, |config| config["linux"]["intelRdt"] = asked.clone())?;
        if runtime.is("corten") {
            let text = "/linux/intelRdt: no resctrl file system is mounted";
            ensure!(outcome.stderr.contains(text), "{asked}: {outcome}");
        }
    }
    Ok(())
}

fn plan_says_what_is_written(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["true"], |config| {
        config["linux"]["intelRdt"] = json!({ "closID": "gold", "schemata": ["L2:0=3"],
            "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=f", "enableMonitoring": true });
    })?;
    let plan = runtime.command(["plan", "--bundle"]).arg(bundle.path()).output()?.ok()?.stdout;
    let places = [
        "have the class of service gold",
        "[/linux/intelRdt/l3CacheSchema]",
        "[/linux/intelRdt/memBwSchema]",
        "write \"L2:0=3\" to its schemata  [/linux/intelRdt/schemata/0]",
        "[/linux/intelRdt/enableMonitoring]",
        "start init: clone3",
    ]
    .map(|text| plan.find(text));
    ensure!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} in {plan}");
    Ok(())
}

fn values_that_are_none_are_refused(runtime: &Runtime) -> TestResult {
    for (asked, pointer) in [
        (json!({ "closID": ".." }), "/linux/intelRdt/closID"),
        (json!({ "closID": "a/b" }), "/linux/intelRdt/closID"),
        (json!({ "closID": "/a" }), "/linux/intelRdt/closID"),
        (json!({ "l3CacheSchema": "MB:0=1" }), "/linux/intelRdt/l3CacheSchema"),
        (json!({ "l3CacheSchema": "L3:0=1\nMB:0=10" }), "/linux/intelRdt/l3CacheSchema"),
        (json!({ "memBwSchema": "L3:0=1" }), "/linux/intelRdt/memBwSchema"),
        (json!({ "schemata": ["L3:0=1", "L2:0=1\n"] }), "/linux/intelRdt/schemata/1"),
        (json!({ "enableMonitoring": "yes" }), "/linux/intelRdt/enableMonitoring"),
    ] {
        refuses(runtime, &[pointer], |config| config["linux"]["intelRdt"] = asked)?;
    }
    Ok(())
}
