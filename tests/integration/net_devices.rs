//! `linux.netDevices`: devices of the caller's network namespace, here one of the test's own, in the container.
//!
//! Runs in: any process.

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::bundle::{BUSYBOX, Bundle, add, map, remove};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, Namespace, NotOn, Root};
use crate::inside::{nothing_left, refuses};
use crate::namespaces::{join, sleeper};
use crate::runtime::{Outcome, Runtime};

const NOT_YET: &str = "the version here has not got it; runc 1.4 has";
const ALL_BACK: &str = "runc leaves it to the end of the namespace, with which the device ends";

table! {
    device_comes_with_what_it_had_and_is_up: [Root, NotOn("runc", NOT_YET), NotOn("crun", NOT_YET)],
    device_is_renamed: [Root, NotOn("runc", NOT_YET), NotOn("crun", NOT_YET)],
    device_leaves_the_host_and_ends_with_the_container: [Root, NotOn("runc", NOT_YET), NotOn("crun", NOT_YET)],
    device_stays_in_a_joined_namespace: [Root, NotOn("runc", NOT_YET), NotOn("crun", NOT_YET)],
    device_moves_into_a_network_of_a_user_namespace: [Root, NotOn("runc", NOT_YET), NotOn("crun", NOT_YET)],
    device_moves_into_a_joined_network_that_the_user_namespace_does_not_own: [Root, NotOn("runc", NOT_YET), NotOn("crun", NOT_YET)],
    template_gets_a_number_that_is_free: [Root, Corten("runc 1.5 does not find the device again")],
    sysctl_of_the_device_is_set: [Root, NotOn("runc", NOT_YET), NotOn("crun", NOT_YET)],
    hooks_of_create_see_it_moved: [Root, NotOn("runc", NOT_YET), NotOn("crun", NOT_YET)],
    exec_sees_it: [Root, NotOn("runc", NOT_YET), NotOn("crun", NOT_YET)],
    device_without_the_right_to_move_it_is_refused: [Root, Namespace("user"), Corten("before anything is made")],
    device_that_is_missing_is_refused: [Root, NotOn("runc", NOT_YET), NotOn("crun", NOT_YET)],
    names_that_are_none_are_refused: [Root, Corten("the pointer, before anything is made")],
    name_that_is_taken_in_the_container_is_refused: [Root, Corten(ALL_BACK)],
    device_that_cannot_move_brings_the_others_back: [Root, Corten(ALL_BACK)],
    create_that_fails_later_brings_devices_back: [Root, Corten(ALL_BACK)],
    network_of_the_runtime_is_refused: [Root, Corten("the device would be lost to nobody, and renamed on the host")],
}

/// `v0` with its peer `veth0` (with which it ends, and so with the namespace that the peer is in), up, with addresses that come along and some that do not.
const V0: &str = "ip link add name v0 type veth; \
    ip link set v0 mtu 1433 address 02:00:00:00:00:09; \
    ip addr add 192.0.2.7/24 dev v0; ip addr add 192.0.2.8/24 brd + dev v0; \
    ip addr add 2001:db8::7/64 dev v0 nodad || ip addr add 2001:db8::7/64 dev v0; \
    ip addr add 127.0.0.33/32 scope host dev v0; \
    ip link set v0 up; ip link set veth0 up;";

/// Runs the container by a caller whose network namespace `before` has filled; `after` is run when it has ended.
fn run(runtime: &Runtime, before: &str, bundle: &Bundle, after: &str) -> Result<Outcome, Failed> {
    let script = format!(
        "ip() {{ {BUSYBOX} ip \"$@\"; }}; set -e; {before} set +e; \"$@\"; code=$?; {after}; exit $code"
    );
    let call = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    call.wrapped_by([BUSYBOX, "unshare", "-n", BUSYBOX, "sh", "-c", &script, "sh"]).output()
}

/// A container that runs `script` and asks for these devices.
fn bundle(runtime: &Runtime, script: &str, devices: Value) -> Result<Bundle, Failed> {
    runtime.bundle_with(&["sh", "-c", script], |config| {
        config["linux"]["netDevices"] = devices;
        let all = json!(["CAP_NET_ADMIN"]);
        config["process"]["capabilities"] =
            json!({ "bounding": all, "permitted": all, "effective": all });
    })
}

fn device_comes_with_what_it_had_and_is_up(runtime: &Runtime) -> TestResult {
    let bundle = bundle(runtime, "ip addr show dev v0; ip link", json!({ "v0": {} }))?;
    let seen = run(runtime, V0, &bundle, "true")?.ok()?.stdout;
    for part in [
        "mtu 1433",
        "02:00:00:00:00:09",
        "inet 192.0.2.7/24",
        "inet 192.0.2.8/24 brd 192.0.2.255",
        "inet6 2001:db8::7/64 scope global",
        ",UP,LOWER_UP>",
    ] {
        ensure!(seen.contains(part), "no {part:?} in {seen}");
    }
    // Not global, or not permanent: of the network that it was in.
    ensure!(!seen.contains("127.0.0.33"), "a host's address came along: {seen}");
    ensure!(!seen.contains(" veth0"), "the peer came along: {seen}");
    Ok(())
}

fn device_is_renamed(runtime: &Runtime) -> TestResult {
    let bundle = bundle(runtime, "ip addr show dev ctr_v0", json!({ "v0": { "name": "ctr_v0" } }))?;
    let seen = run(runtime, V0, &bundle, "true")?.ok()?.stdout;
    ensure!(seen.contains("192.0.2.7/24") && seen.contains(",UP,"), "{seen}");
    Ok(())
}

fn device_leaves_the_host_and_ends_with_the_container(runtime: &Runtime) -> TestResult {
    let bundle = bundle(runtime, "true", json!({ "v0": {} }))?;
    // The kernel ends a namespace some time after its last process.
    let after = "i=0; while ip link show veth0 >/dev/null 2>&1 && [ $i -lt 200 ]; do \
        i=$((i+1)); usleep 20000; done; ip link";
    let seen = run(runtime, V0, &bundle, after)?.ok()?.stdout;
    ensure!(!seen.contains("v0") && seen.contains(" lo:"), "{seen}");
    Ok(())
}

fn device_stays_in_a_joined_namespace(runtime: &Runtime) -> TestResult {
    let (id, pid) = sleeper(runtime, |_| {})?;
    let mut bundle =
        bundle(runtime, "ip addr show dev n0", json!({ "v0": { "name": "n0" }, "veth0": {} }))?;
    bundle.edit(|config| join(config, "network", pid))?;
    let seen = run(runtime, V0, &bundle, "true")?.ok()?.stdout;
    ensure!(seen.contains("192.0.2.7/24") && seen.contains(",UP"), "{seen}");
    // The namespace is another's, and so is the device now.
    let seen = runtime.command(["exec", &id, "ip", "addr", "show", "dev", "n0"]).output()?.ok()?;
    ensure!(seen.stdout.contains("192.0.2.7/24"), "{seen}");
    Ok(())
}

const IDS: &[[u32; 3]] = &[[0, 100_000, 65_536]];

fn device_moves_into_a_network_of_a_user_namespace(runtime: &Runtime) -> TestResult {
    let mut bundle = bundle(runtime, "ip addr show dev n0", json!({ "v0": { "name": "n0" } }))?;
    bundle.edit(|config| map(config, IDS, IDS))?;
    let seen = run(runtime, V0, &bundle, "true")?.ok()?.stdout;
    ensure!(seen.contains("192.0.2.7/24") && seen.contains(",UP,"), "{seen}");
    Ok(())
}

fn device_moves_into_a_joined_network_that_the_user_namespace_does_not_own(
    runtime: &Runtime,
) -> TestResult {
    let (_, pid) = sleeper(runtime, |_| {})?;
    let mut bundle = bundle(runtime, "ip addr show dev n0", json!({ "v0": { "name": "n0" } }))?;
    bundle.edit(|config| {
        join(config, "network", pid);
        map(config, IDS, IDS);
        // Of the joined namespace the kernel shows no sysfs to this one.
        remove(config, "/mounts", "type", "sysfs");
    })?;
    let seen = run(runtime, V0, &bundle, "true")?.ok()?.stdout;
    ensure!(seen.contains("192.0.2.7/24") && seen.contains(",UP,"), "{seen}");
    Ok(())
}

fn template_gets_a_number_that_is_free(runtime: &Runtime) -> TestResult {
    let devices =
        json!({ "a0": { "name": "n%d" }, "b0": { "name": "n%d" }, "v0": { "name": "n0" } });
    let bundle =
        bundle(runtime, "for n in 0 1 2; do cat /sys/class/net/n$n/address; done", devices)?;
    let before = format!(
        "ip link add name a0 type veth; ip link set a0 address 02:00:00:00:00:0a; \
         ip link add name b0 type veth; ip link set b0 address 02:00:00:00:00:0b; {}",
        V0.replace("; ip link set veth0 up", "")
    );
    let seen = run(runtime, &before, &bundle, "true")?.ok()?.stdout;
    ensure_eq!(seen, "02:00:00:00:00:09\n02:00:00:00:00:0a\n02:00:00:00:00:0b\n");
    Ok(())
}

fn sysctl_of_the_device_is_set(runtime: &Runtime) -> TestResult {
    let script = "cat /proc/sys/net/ipv4/conf/n0/accept_local";
    let mut bundle = bundle(runtime, script, json!({ "v0": { "name": "n0" } }))?;
    bundle.edit(|config| {
        config["linux"]["sysctl"] = json!({ "net.ipv4.conf.n0.accept_local": "1" });
    })?;
    ensure_eq!(run(runtime, V0, &bundle, "true")?.ok()?.stdout, "1\n");
    Ok(())
}

fn hooks_of_create_see_it_moved(runtime: &Runtime) -> TestResult {
    let mut bundle = bundle(runtime, "true", json!({ "v0": {} }))?;
    let file = runtime.directory().join("links");
    bundle.edit(|config| {
        let script = format!("cat >/dev/null; {BUSYBOX} ip link >{}", file.display());
        let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script] });
        add(config, "/hooks/createRuntime", hook);
    })?;
    run(runtime, V0, &bundle, "true")?.ok()?;
    let seen = std::fs::read_to_string(file)?;
    ensure!(seen.contains(" veth0") && !seen.contains(" v0@"), "{seen}");
    Ok(())
}

fn exec_sees_it(runtime: &Runtime) -> TestResult {
    let bundle = bundle(runtime, "exec sleep 1000", json!({ "v0": {}, "veth0": {} }))?;
    let id = runtime.new_id();
    let script = format!("ip() {{ {BUSYBOX} ip \"$@\"; }}; set -e; {V0} \"$@\"");
    let run = runtime.command(["run", "--detach", "--bundle"]).arg(bundle.path()).arg(&id);
    run.wrapped_by([BUSYBOX, "unshare", "-n", BUSYBOX, "sh", "-c", &script, "sh"])
        .output()?
        .ok()?;
    let seen = runtime.command(["exec", &id, "ip", "addr", "show", "dev", "v0"]).output()?.ok()?;
    ensure!(seen.stdout.contains("192.0.2.7/24"), "{seen}");
    Ok(())
}

fn device_without_the_right_to_move_it_is_refused(runtime: &Runtime) -> TestResult {
    let bundle = bundle(runtime, "true", json!({ "v0": {} }))?;
    // Root in a user namespace that the network does not belong to.
    let script =
        format!("ip() {{ {BUSYBOX} ip \"$@\"; }}; {V0} exec {BUSYBOX} unshare -U -r \"$@\"");
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    let run = run.wrapped_by([BUSYBOX, "unshare", "-n", BUSYBOX, "sh", "-c", &script, "sh"]);
    run.output()?.fails()?.fails_with("/linux/netDevices/v0: CAP_NET_ADMIN is needed")?;
    nothing_left(runtime)
}

fn device_that_is_missing_is_refused(runtime: &Runtime) -> TestResult {
    let pointer = if runtime.is("corten") { "/linux/netDevices/nosuch0: " } else { "nosuch0" };
    refuses(runtime, &[pointer], |config| {
        config["linux"]["netDevices"] = json!({ "nosuch0": { "name": "eth0" } });
    })
}

fn names_that_are_none_are_refused(runtime: &Runtime) -> TestResult {
    let long = "sixteen-letters!";
    for name in ["", ".", "..", "a/b", "a:b", "a b", "a%d", "a\tb", long] {
        refuses(runtime, &["/linux/netDevices/", "invalid network device name"], |config| {
            config["linux"]["netDevices"] = json!({ name: { "name": "eth0" } });
        })?;
    }
    for name in [".", "..", "a/b", "a:b", "a b", "%d%d", "a%s", "%", "a\nb", long] {
        refuses(runtime, &["/linux/netDevices/v0/name", "invalid"], |config| {
            config["linux"]["netDevices"] = json!({ "v0": { "name": name } });
        })?;
    }
    refuses(runtime, &["/linux/netDevices/w0/name", "is the name of two devices"], |config| {
        config["linux"]["netDevices"] = json!({ "v0": { "name": "e" }, "w0": { "name": "e" } });
    })?;
    refuses(runtime, &["/linux/netDevices", "without a NET namespace"], |config| {
        config["linux"]["netDevices"] = json!({ "v0": {} });
        remove(config, "/linux/namespaces", "type", "network");
    })
}

/// `run` must fail with these texts, and `v0` be as before.
fn brings_back(runtime: &Runtime, before: &str, bundle: &Bundle, texts: &[&str]) -> TestResult {
    let after = "echo; ip addr show dev v0";
    let before = format!("{before} {V0} ip addr show dev v0;");
    let outcome = run(runtime, &before, bundle, after)?.fails()?;
    for text in texts {
        ensure!(outcome.stderr.contains(text), "no {text:?}: {outcome}");
    }
    let (was, is) = outcome.stdout.split_once("\n\n").ok_or("v0 is gone")?;
    // The index may change; the state of the carrier takes a moment, as duplicate address detection does.
    let facts = |text: &str| -> Vec<String> {
        let lines = text.lines().map(str::trim);
        let mut facts: Vec<_> = lines
            .filter(|line| line.starts_with("inet ") || line.starts_with("link/"))
            .map(str::to_owned)
            .collect();
        facts.push(format!("up: {}", text.contains("UP")));
        facts.push(format!("v6: {}", text.contains("2001:db8::7/64")));
        facts.push(format!("mtu: {}", text.contains("mtu 1433")));
        facts
    };
    ensure_eq!(facts(is), facts(was));
    nothing_left(runtime)
}

fn name_that_is_taken_in_the_container_is_refused(runtime: &Runtime) -> TestResult {
    let taken = bundle(runtime, "true", json!({ "v0": { "name": "lo" } }))?;
    brings_back(runtime, "", &taken, &["/linux/netDevices/v0", "exists in the container"])
}

fn device_that_cannot_move_brings_the_others_back(runtime: &Runtime) -> TestResult {
    // The loopback device belongs to its namespace; what has a number in its name comes last.
    let devices = json!({ "v0": { "name": "n0" }, "lo": { "name": "z%d" } });
    let bundle = bundle(runtime, "true", devices)?;
    brings_back(runtime, "", &bundle, &["/linux/netDevices/lo", "move it", "z0"])
}

fn create_that_fails_later_brings_devices_back(runtime: &Runtime) -> TestResult {
    let mut bundle = bundle(runtime, "true", json!({ "v0": { "name": "n0" } }))?;
    bundle.edit(|config| config["process"]["args"] = json!(["/no/such/program"]))?;
    brings_back(runtime, "", &bundle, &["/no/such/program"])
}

fn network_of_the_runtime_is_refused(runtime: &Runtime) -> TestResult {
    let mut bundle = bundle(runtime, "true", json!({ "v0": { "name": "n0" } }))?;
    bundle.edit(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().into_iter().flatten();
        for namespace in namespaces.filter(|namespace| namespace["type"] == "network") {
            namespace["path"] = json!("/proc/self/ns/net");
        }
    })?;
    brings_back(runtime, "", &bundle, &["/linux/netDevices/v0", "the runtime's own"])
}
