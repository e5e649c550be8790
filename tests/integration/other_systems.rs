//! What config.json says of other systems than Linux is not looked at, as runc does it.
//!
//! Runs in: any process.

use serde_json::json;

use crate::harness::{TestResult, ensure_eq, table};
use crate::host::Need::Root;
use crate::inside::output;
use crate::runtime::Runtime;

table! {
    sections_of_other_systems_are_ignored: [Root],
    properties_of_windows_in_process_are_ignored: [Root],
}

fn sections_of_other_systems_are_ignored(runtime: &Runtime) -> TestResult {
    let rows = [
        ("solaris", json!({ "milestone": "m", "anet": [{ "linkname": "net0" }] })),
        ("solaris", json!({ "cappedCPU": { "ncpus": "8" }, "cappedMemory": { "swap": "1m" } })),
        ("windows", json!({ "layerFolders": ["C:\\a"], "servicing": true })),
        (
            "windows",
            json!({ "layerFolders": ["C:\\a"], "resources": { "memory": { "limit": 1 } } }),
        ),
        ("vm", json!({ "hypervisor": { "path": "/no/such" }, "kernel": { "path": "/no/such" } })),
        ("vm", json!({ "kernel": { "path": "/k" }, "image": { "path": "/i", "format": "raw" } })),
        ("zos", json!({ "namespaces": [{ "type": "pid" }] })),
        ("freebsd", json!({ "jail": { "parent": "p", "vnet": "new" } })),
        ("freebsd", json!({ "devices": [{ "path": "zero" }] })),
    ];
    for (section, value) in rows {
        let seen = output(runtime, &["hostname"], |config| config[section] = value)?;
        ensure_eq!(seen, output(runtime, &["hostname"], |_| {})?);
    }
    Ok(())
}

fn properties_of_windows_in_process_are_ignored(runtime: &Runtime) -> TestResult {
    let seen = output(runtime, &["id", "-u"], |config| {
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000, "username": "root" });
        config["process"]["commandLine"] = json!("/bin/false");
    })?;
    ensure_eq!(seen, "1000\n");
    Ok(())
}
