//! `/linux/sysctl`: written in the container's namespaces, and only there.
//!
//! Runs in: any process.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::{self};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotMapped, NotOn, NotOrdinaryUser, Root};
use crate::inside::{namespace_of, output, refusal, sh};
use crate::namespaces::{join, sleeper};
use crate::runtime::Runtime;

const ONLY_FIRST_DOT: &str = "knows dots alone, or slashes alone; sysctl.d(5) and runc have both";
const OF_THE_HOST: &str = "what is joined belongs to the host's user namespace";

table! {
    sysctl_of_a_namespace_is_set_there_alone: [Root],
    sysctl_with_slashes_is_the_same: [Root],
    sysctl_of_a_device_with_a_dot_is_set: [Root, NotOn("crun", ONLY_FIRST_DOT), NotOn("runc", ONLY_FIRST_DOT)],
    sysctl_of_no_namespace_is_refused: [Root],
    sysctl_of_the_hosts_namespace_is_refused: [Root],
    sysctl_of_the_hosts_namespace_by_its_path_is_refused: [Root, NotMapped(OF_THE_HOST), NotOrdinaryUser(OF_THE_HOST), NotOn("crun", "sets that of the host"), NotOn("runc", "compares the network alone, and sets the others of the host")],
    sysctl_of_another_namespace_by_its_path_is_set: [Root, NotMapped(OF_THE_HOST), NotOrdinaryUser(OF_THE_HOST)],
    sysctl_that_does_not_exist_is_refused: [Root],
    sysctl_does_not_need_proc_in_the_container: [Root, Corten("the others write to the /proc that the config mounts")],
}

fn sysctl_of_a_namespace_is_set_there_alone(runtime: &Runtime) -> TestResult {
    let names = [
        "net/ipv4/ip_default_ttl",
        "kernel/msgmax",
        "kernel/shm_rmid_forced",
        "fs/mqueue/msg_max",
        "kernel/sem",
    ];
    let host = |name: &&str| fs::read_to_string(format!("/proc/sys/{name}"));
    let before = names.iter().map(host).collect::<Result<Vec<_>, _>>()?;
    let script = names.map(|name| format!("cat /proc/sys/{name};")).concat();
    let seen = sh(runtime, &script, |config| {
        config["linux"]["sysctl"] = json!({
            "net.ipv4.ip_default_ttl": "55",
            "kernel.msgmax": "12345",
            "kernel.shm_rmid_forced": "1",
            "fs.mqueue.msg_max": "33",
            "kernel.sem": "100 200 30 40",
        });
    })?;
    ensure_eq!(seen, "55\n12345\n1\n33\n100\t200\t30\t40\n");
    ensure_eq!(names.iter().map(host).collect::<Result<Vec<_>, _>>()?, before);
    Ok(())
}

fn sysctl_with_slashes_is_the_same(runtime: &Runtime) -> TestResult {
    let seen = sh(runtime, "cat /proc/sys/net/ipv4/conf/lo/forwarding", |config| {
        config["linux"]["sysctl"] = json!({ "net/ipv4/conf/lo/forwarding": "1" });
    })?;
    ensure_eq!(seen, "1\n");
    Ok(())
}

fn sysctl_of_a_device_with_a_dot_is_set(runtime: &Runtime) -> TestResult {
    // There is no such device in a new network: the error shows which file was meant.
    for name in ["net.ipv4.conf.eth0/7.forwarding", "net/ipv4/conf/eth0.7/forwarding"] {
        let outcome = refusal(runtime, |config| config["linux"]["sysctl"] = json!({ name: "1" }))?;
        ensure!(
            outcome.stderr.contains("net/ipv4/conf/eth0.7/forwarding"),
            "another file: {outcome}"
        );
    }
    Ok(())
}

fn sysctl_of_no_namespace_is_refused(runtime: &Runtime) -> TestResult {
    for name in [
        "kernel.core_pattern",
        "vm.swappiness",
        "fs.file-max",
        "kernel/core_pattern",
        "kernel.pid_max",
    ] {
        let outcome = refusal(runtime, |config| config["linux"]["sysctl"] = json!({ name: "1" }))?;
        let named =
            outcome.stderr.contains(name) || outcome.stderr.contains(&name.replace('/', "."));
        ensure!(named, "it is not named: {outcome}");
    }
    Ok(())
}

fn sysctl_of_the_hosts_namespace_is_refused(runtime: &Runtime) -> TestResult {
    for (kind, name) in [
        ("network", "net.ipv4.ip_default_ttl"),
        ("ipc", "kernel.msgmax"),
        ("ipc", "fs.mqueue.msg_max"),
    ] {
        let host = fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/")))?;
        let outcome = refusal(runtime, |config| {
            bundle::remove(config, "/linux/namespaces", "type", kind);
            config["linux"]["sysctl"] = json!({ name: "77" });
        })?;
        ensure!(outcome.stderr.contains(name), "it is not named: {outcome}");
        ensure_eq!(fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/")))?, host);
    }
    Ok(())
}

fn sysctl_of_the_hosts_namespace_by_its_path_is_refused(runtime: &Runtime) -> TestResult {
    let own = std::process::id().try_into()?;
    for (kind, name, words) in [
        ("network", "net.ipv4.ip_default_ttl", "not allowed in host network namespace"),
        ("ipc", "kernel.msgmax", "is not allowed in the hosts ipc namespace"),
        ("uts", "kernel.domainname", "is not in a separate kernel namespace"),
    ] {
        let file = format!("/proc/sys/{}", name.replace('.', "/"));
        let host = fs::read_to_string(&file)?;
        let outcome = refusal(runtime, |config| {
            config["hostname"] = Value::Null;
            join(config, kind, own);
            // What it is already: a test that fails leaves the host as it was.
            config["linux"]["sysctl"] = json!({ name: host.trim() });
        })?;
        let said = format!("sysctl \"{name}\" {words}");
        ensure!(outcome.stderr.replace('\\', "").contains(&said), "not {said}: {outcome}");
        let pointer = format!("/linux/sysctl/{name}");
        ensure!(outcome.stderr.contains(&pointer), "no pointer: {outcome}");
    }
    // Without a parameter of its own it is joined as ever.
    let seen = sh(runtime, "readlink /proc/self/ns/ipc", |config| {
        join(config, "ipc", own);
        config["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "77" });
    })?;
    ensure_eq!(seen.trim(), namespace_of(own, "ipc")?);
    Ok(())
}

fn sysctl_of_another_namespace_by_its_path_is_set(runtime: &Runtime) -> TestResult {
    let (_, pid) = sleeper(runtime, |_| {})?;
    let script = "cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax";
    let seen = sh(runtime, script, |config| {
        join(config, "network", pid);
        join(config, "ipc", pid);
        config["linux"]["sysctl"] =
            json!({ "net.ipv4.ip_default_ttl": "77", "kernel.msgmax": "12345" });
    })?;
    ensure_eq!(seen, "77\n12345\n");
    Ok(())
}

fn sysctl_that_does_not_exist_is_refused(runtime: &Runtime) -> TestResult {
    for (name, value) in [("net.ipv4.nosuch", "1"), ("net.ipv4.ip_default_ttl", "word")] {
        let outcome =
            refusal(runtime, |config| config["linux"]["sysctl"] = json!({ name: value }))?;
        let pointer = format!("/linux/sysctl/{name}");
        ensure!(
            outcome.stderr.contains(&pointer) || !runtime.is("corten"),
            "no pointer: {outcome}"
        );
    }
    Ok(())
}

fn sysctl_does_not_need_proc_in_the_container(runtime: &Runtime) -> TestResult {
    // CVE-2025-52881: what the container has at /proc is not to be written to.
    let seen = output(runtime, &["ls", "/proc"], |config| {
        bundle::remove(config, "/mounts", "type", "proc");
        config["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "55" });
    })?;
    ensure_eq!(seen, "");
    Ok(())
}
