//! `/linux/namespaces`: new, the host's, or joined by path; and what belongs to one: names, clocks, loopback.
//!
//! Runs in: any process.

use std::fs;
use std::path::Path;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::bundle::{self, add};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::holder::Holder;
use crate::host::Need::{Corten, Namespace, NotOn, PureCgroup2, Root};
use crate::inside::{field, namespace_of, proc_file, refusal, refuses, sh};
use crate::runtime::Runtime;

const NO_TIME: &str = "1.1 has no time namespace; 1.2 has";
const NO_DOMAINNAME: &str = "1.1 ignores it; 1.2 sets it";
const LEAVES_CGROUP: &str = "refuses, but after it has made a cgroup, which it leaves";
const NO_KIND_CHECK: &str = "does not look at the kind of a namespace; setns(2) can";

table! {
    new_namespaces_are_not_the_hosts: [Root],
    namespaces_that_are_absent_are_the_hosts: [Root],
    user_namespace_that_is_absent_is_the_hosts: [Root],
    pid_namespace_has_the_process_as_its_first: [Root],
    host_pid_namespace_has_the_process_by_its_pid: [Root],
    cgroup_namespace_has_its_root_at_the_container: [Root, PureCgroup2],
    without_a_cgroup_namespace_the_path_shows: [Root, PureCgroup2],
    joined_namespaces_are_those_of_the_path: [Root],
    joined_pid_namespace_shows_the_others_processes: [Root],
    joined_network_alone_leaves_the_others_new: [Root],
    joined_cgroup_namespace_is_that_of_the_path: [Root, PureCgroup2],
    joined_time_namespace_is_that_of_the_path: [Root, Namespace("time"), NotOn("runc", NO_TIME), NotOn("crun", NO_TIME)],
    joined_mount_namespace_is_that_of_the_path: [Root, NotOn("crun", "mounts nothing in it")],
    joined_mount_namespace_needs_no_procfs: [Root, Corten("the others mount by a path in its /proc")],
    joined_mount_namespace_of_the_runtime_is_refused: [Root, Corten("the others make the container's root that of the host")],
    joined_namespaces_leave_no_helper_behind: [Root],
    joined_namespace_survives_the_one_who_made_it: [Root],
    path_of_another_kind_is_refused: [Root, NotOn("crun", NO_KIND_CHECK), NotOn("runc", NO_KIND_CHECK)],
    path_that_is_no_namespace_is_refused: [Root, NotOn("crun", LEAVES_CGROUP), NotOn("runc", LEAVES_CGROUP)],
    path_that_is_relative_is_refused: [Root, Corten("config-linux.md: MUST be absolute")],
    kind_given_twice_is_refused: [Root, NotOn("crun", "takes the last; config-linux.md: MUST generate an error")],
    kind_that_is_unknown_is_refused: [Root, NotOn("crun", LEAVES_CGROUP)],
    kinds_of_a_pod_are_shared: [Root],
    hostname_and_domainname_are_set: [Root, NotOn("runc", NO_DOMAINNAME)],
    hostname_of_the_host_stays: [Root],
    hostname_without_a_namespace_is_refused: [Root, NotOn("crun", "sets that of the host")],
    loopback_of_a_new_network_is_up: [Root],
    time_offsets_shift_the_clocks: [Root, Namespace("time"), NotOn("runc", NO_TIME), NotOn("crun", NO_TIME)],
    time_offsets_without_a_namespace_are_refused: [Root, Corten("the rule of runc 1.2")],
}

const KINDS: &[(&str, &str)] = &[
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
];

/// The namespaces of a container's process, as it sees them: `net:[1]` each on a line, in the order of [`KINDS`].
fn namespaces(runtime: &Runtime, change: impl FnOnce(&mut Value)) -> Result<Vec<String>, Failed> {
    let files =
        KINDS.iter().map(|(_, file)| format!("readlink /proc/self/ns/{file};")).collect::<String>();
    Ok(sh(runtime, &files, change)?.lines().map(str::to_owned).collect())
}

fn own(file: &str) -> Result<String, Failed> {
    namespace_of(std::process::id().try_into()?, file)
}

/// Points the container at the namespace of this kind that a process is in.
pub fn join(config: &mut Value, kind: &str, pid: i32) {
    let file = KINDS.iter().find(|(name, _)| *name == kind).map_or(kind, |(_, file)| file);
    bundle::remove(config, "/linux/namespaces", "type", kind);
    add(
        config,
        "/linux/namespaces",
        json!({ "type": kind, "path": format!("/proc/{pid}/ns/{file}") }),
    );
}

/// A container that sleeps; returns its pid.
pub fn sleeper(
    runtime: &Runtime,
    change: impl FnOnce(&mut Value),
) -> Result<(String, i32), Failed> {
    let id = runtime.new_id();
    let bundle = runtime.bundle_with(&["sleep", "1000"], change)?;
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    let pid = runtime.pid(&id)?;
    Ok((id, pid))
}

fn new_namespaces_are_not_the_hosts(runtime: &Runtime) -> TestResult {
    let seen = namespaces(runtime, |_| {})?;
    ensure_eq!(seen.len(), KINDS.len());
    for (seen, (_, file)) in seen.iter().zip(KINDS) {
        ensure!(*seen != own(file)?, "{file} is the host's");
    }
    Ok(())
}

fn namespaces_that_are_absent_are_the_hosts(runtime: &Runtime) -> TestResult {
    // A mount namespace it must have.
    for (index, (kind, file)) in KINDS.iter().enumerate().filter(|(_, (kind, _))| *kind != "mount")
    {
        let seen = namespaces(runtime, |config| {
            bundle::remove(config, "/linux/namespaces", "type", kind);
            if *kind == "uts" {
                config["hostname"] = Value::Null;
            }
            if *kind == "network" {
                // sysfs shows one network, which must be the mounter's own.
                bundle::remove(config, "/mounts", "type", "sysfs");
                bundle::remove(config, "/mounts", "type", "cgroup");
            }
        })?;
        for (other, (_, other_file)) in KINDS.iter().enumerate() {
            let is_host = seen.get(other) == Some(&own(other_file)?);
            ensure!(
                is_host == (other == index),
                "without {kind}: {other_file} is the host's: {is_host}"
            );
        }
        ensure!(seen.get(index) == Some(&own(file)?), "{kind} is not the host's");
    }
    Ok(())
}

fn user_namespace_that_is_absent_is_the_hosts(runtime: &Runtime) -> TestResult {
    let seen = sh(runtime, "readlink /proc/self/ns/user; cat /proc/self/uid_map", |_| {})?;
    ensure!(seen.starts_with(&own("user")?), "not the host's: {seen}");
    Ok(())
}

fn pid_namespace_has_the_process_as_its_first(runtime: &Runtime) -> TestResult {
    let seen = sh(runtime, "echo $$ $PPID; ls -d /proc/[0-9]*", |_| {})?;
    let mut lines = seen.lines();
    ensure_eq!(lines.next(), Some("1 0"));
    ensure_eq!(lines.next(), Some("/proc/1"));
    Ok(())
}

fn host_pid_namespace_has_the_process_by_its_pid(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = runtime.bundle_with(&["sh", "-c", "echo $$; sleep 1000"], |config| {
        bundle::remove(config, "/linux/namespaces", "type", "pid");
    })?;
    let created = runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    runtime.wait_until("the pid", || Ok(created.stdout_now().ends_with('\n')))?;
    ensure_eq!(created.stdout_now(), format!("{}\n", runtime.pid(&id)?));
    Ok(())
}

fn cgroup_namespace_has_its_root_at_the_container(runtime: &Runtime) -> TestResult {
    ensure_eq!(sh(runtime, "grep ^0:: /proc/self/cgroup", |_| {})?, "0::/\n");
    Ok(())
}

fn without_a_cgroup_namespace_the_path_shows(runtime: &Runtime) -> TestResult {
    let path = format!("/{}/inner", runtime.new_id());
    let bundle = runtime.bundle_with(&["grep", "^0::", "/proc/self/cgroup"], |config| {
        bundle::remove(config, "/linux/namespaces", "type", "cgroup");
        config["linux"]["cgroupsPath"] = json!(path);
    })?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, format!("0::{path}\n"));
    // What is above may have others in it: it stays with runc and crun, and is the test's to remove.
    if let Some(parent) = path.strip_suffix("/inner") {
        fs::remove_dir(format!("/sys/fs/cgroup{parent}")).ok();
    }
    Ok(())
}

fn joined_namespaces_are_those_of_the_path(runtime: &Runtime) -> TestResult {
    let (_, pid) = sleeper(runtime, |_| {})?;
    let joined = ["network", "ipc", "uts", "pid"];
    let seen = namespaces(runtime, |config| {
        config["hostname"] = Value::Null;
        joined.iter().for_each(|kind| join(config, kind, pid));
    })?;
    for (seen, (kind, file)) in seen.iter().zip(KINDS) {
        let same = *seen == namespace_of(pid, file)?;
        ensure!(same == joined.contains(kind), "{kind} is joined: {same}");
        ensure!(*seen != own(file)?, "{kind} is the host's");
    }
    Ok(())
}

fn joined_pid_namespace_shows_the_others_processes(runtime: &Runtime) -> TestResult {
    let (_, pid) = sleeper(runtime, |_| {})?;
    let seen = sh(
        runtime,
        "tr '\\0' ' ' </proc/1/cmdline; echo; [ $$ -gt 1 ] && echo not first",
        |config| {
            join(config, "pid", pid);
        },
    )?;
    ensure_eq!(seen, "sleep 1000 \nnot first\n");
    Ok(())
}

fn joined_network_alone_leaves_the_others_new(runtime: &Runtime) -> TestResult {
    // Network plugins make namespaces and have them joined by path, as of a file under /run.
    let (_, pid) = sleeper(runtime, |config| {
        config["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "77" });
    })?;
    let seen = sh(
        runtime,
        "cat /proc/sys/net/ipv4/ip_default_ttl; echo $$; ls /sys/class/net",
        |config| {
            join(config, "network", pid);
        },
    )?;
    ensure!(seen.starts_with("77\n1\n"), "not that network: {seen}");
    ensure!(seen.contains("lo\n"), "no interface: {seen}");
    Ok(())
}

fn joined_cgroup_namespace_is_that_of_the_path(runtime: &Runtime) -> TestResult {
    let (_, pid) = sleeper(runtime, |_| {})?;
    let seen = sh(runtime, "readlink /proc/self/ns/cgroup", |config| join(config, "cgroup", pid))?;
    ensure_eq!(seen.trim(), namespace_of(pid, "cgroup")?);
    Ok(())
}

fn joined_time_namespace_is_that_of_the_path(runtime: &Runtime) -> TestResult {
    let (_, pid) = sleeper(runtime, |config| {
        add(config, "/linux/namespaces", json!({ "type": "time" }));
        config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 7_000_000 } });
    })?;
    let seen = sh(runtime, "readlink /proc/self/ns/time; cut -d. -f1 /proc/uptime", |config| {
        join(config, "time", pid);
    })?;
    let (namespace, uptime) = seen.split_once('\n').ok_or("no lines")?;
    ensure_eq!(namespace, namespace_of(pid, "time")?);
    ensure!(
        uptime.trim().parse::<u64>()? >= 7_000_000,
        "the clock is not that of the namespace: {seen}"
    );
    Ok(())
}

/// Whose mount namespace has a file in `directory` that is seen in it alone.
fn holder_of_a_file(directory: &Path) -> Result<Holder, Failed> {
    fs::create_dir(directory)?;
    Holder::new("mount -t tmpfs held \"$0\" && touch \"$0/here\"", directory)
}

fn joined_mount_namespace_is_that_of_the_path(runtime: &Runtime) -> TestResult {
    let directory = runtime.directory().join("held");
    let holder = holder_of_a_file(&directory)?;
    let pid = holder.pid()?;
    let namespace = namespace_of(pid, "mnt")?;
    let seen = sh(
        runtime,
        "readlink /proc/self/ns/mnt; ls /held; ls -d /bin /proc/self",
        |config| {
            join(config, "mount", pid);
            let bind = json!({ "destination": "/held", "type": "bind", "source": directory, "options": ["bind"] });
            add(config, "/mounts", bind);
        },
    )?;
    ensure_eq!(seen, format!("{namespace}\nhere\n/bin\n/proc/self\n"));
    ensure!(!directory.join("here").exists(), "a mount has come out of the namespace");
    Ok(())
}

fn joined_mount_namespace_needs_no_procfs(runtime: &Runtime) -> TestResult {
    for no_pivot in [false, true] {
        // Each leaves its namespace with another root.
        let holder = Holder::new("mount -t tmpfs none /proc", runtime.directory())?;
        let pid = holder.pid()?;
        let bundle = runtime.bundle_with(&["grep", " /new ", "/proc/self/mountinfo"], |config| {
            join(config, "mount", pid);
            // Octal, and longer than fsconfig(2) takes; then what only mount(2) does.
            let size = format!("size={}10000", "0".repeat(256));
            for options in [vec![size.as_str()], vec!["remount", "size=8192"]] {
                let mount = json!({ "destination": "/new", "type": "tmpfs", "source": "new", "options": options });
                add(config, "/mounts", mount);
            }
        })?;
        let run = runtime.command(["run", "--bundle"]).arg(bundle.path());
        let run = if no_pivot { run.arg("--no-pivot") } else { run };
        let seen = run.arg(runtime.new_id()).output()?.ok()?.stdout;
        ensure!(seen.contains("size=8k"), "not mounted, or not mounted again: {seen}");
    }
    Ok(())
}

fn joined_mount_namespace_of_the_runtime_is_refused(runtime: &Runtime) -> TestResult {
    let own = std::process::id().try_into()?;
    refuses(runtime, &["/linux/namespaces/5", "runtime's own"], |config| join(config, "mount", own))
}

fn joined_namespaces_leave_no_helper_behind(runtime: &Runtime) -> TestResult {
    let (first, pid) = sleeper(runtime, |_| {})?;
    let (second, joined) = sleeper(runtime, |config| join(config, "pid", pid))?;
    // In the namespace there are the two processes alone, and the second has no parent in it.
    let inner = |pid| -> Result<String, Failed> {
        Ok(field(&proc_file(pid, "status")?, "NSpid")?.to_owned())
    };
    ensure!(inner(pid)?.ends_with("\t1"), "not the first of its namespace");
    let threads = crate::leaks::processes(runtime.marker());
    ensure_eq!(threads.len(), 2);
    ensure!(threads.contains(&joined), "another process than {joined}: {threads:?}");
    runtime.delete_force(&second)?.ok()?;
    ensure_eq!(runtime.status(&first)?, "running");
    // The first of a pid namespace ends when all others have been reaped, which is for who is their parent now.
    crate::leaks::reap(runtime.marker());
    Ok(())
}

fn joined_namespace_survives_the_one_who_made_it(runtime: &Runtime) -> TestResult {
    let (first, pid) = sleeper(runtime, |_| {})?;
    let namespace = namespace_of(pid, "net")?;
    let (second, joined) = sleeper(runtime, |config| join(config, "network", pid))?;
    runtime.delete_force(&first)?.ok()?;
    ensure_eq!(runtime.status(&second)?, "running");
    ensure_eq!(namespace_of(joined, "net")?, namespace);
    Ok(())
}

fn path_of_another_kind_is_refused(runtime: &Runtime) -> TestResult {
    let pid = std::process::id();
    let outcome = refusal(runtime, |config| {
        bundle::remove(config, "/linux/namespaces", "type", "network");
        add(
            config,
            "/linux/namespaces",
            json!({ "type": "network", "path": format!("/proc/{pid}/ns/uts") }),
        );
    })?;
    ensure!(outcome.stderr.contains("/linux/namespaces/5"), "no pointer: {outcome}");
    Ok(())
}

fn path_that_is_no_namespace_is_refused(runtime: &Runtime) -> TestResult {
    for path in ["/etc/passwd", "/no/such/namespace", "/proc/self/ns", "/dev/null"] {
        let outcome = refusal(runtime, |config| {
            bundle::remove(config, "/linux/namespaces", "type", "network");
            add(config, "/linux/namespaces", json!({ "type": "network", "path": path }));
        })?;
        ensure!(
            outcome.stderr.contains(path) || !runtime.is("corten"),
            "the path is not named: {outcome}"
        );
    }
    Ok(())
}

fn path_that_is_relative_is_refused(runtime: &Runtime) -> TestResult {
    refuses(runtime, &["/linux/namespaces/5/path"], |config| {
        bundle::remove(config, "/linux/namespaces", "type", "network");
        add(config, "/linux/namespaces", json!({ "type": "network", "path": "ns/net" }));
    })
}

fn kind_given_twice_is_refused(runtime: &Runtime) -> TestResult {
    let outcome =
        refusal(runtime, |config| add(config, "/linux/namespaces", json!({ "type": "ipc" })))?;
    ensure!(
        !runtime.is("corten") || outcome.stderr.contains("/linux/namespaces/6"),
        "no pointer: {outcome}"
    );
    Ok(())
}

fn kind_that_is_unknown_is_refused(runtime: &Runtime) -> TestResult {
    for kind in ["net", "nosuch", ""] {
        refusal(runtime, |config| add(config, "/linux/namespaces", json!({ "type": kind })))?;
    }
    Ok(())
}

fn kinds_of_a_pod_are_shared(runtime: &Runtime) -> TestResult {
    // As CRI does: a sandbox that pauses, containers that join network, ipc and uts, and each with its own pids.
    let (sandbox, pid) = sleeper(runtime, |config| config["hostname"] = json!("pod"))?;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(sleeper(runtime, |config| {
            config["hostname"] = Value::Null;
            ["network", "ipc", "uts"].iter().for_each(|kind| join(config, kind, pid));
        })?);
    }
    for (_, member) in &members {
        for file in ["net", "ipc", "uts"] {
            ensure_eq!(namespace_of(*member, file)?, namespace_of(pid, file)?);
        }
        ensure!(namespace_of(*member, "pid")? != namespace_of(pid, "pid")?, "the pids are shared");
    }
    for (id, _) in &members {
        runtime.delete_force(id)?.ok()?;
    }
    ensure_eq!(runtime.status(&sandbox)?, "running");
    Ok(())
}

fn hostname_and_domainname_are_set(runtime: &Runtime) -> TestResult {
    let script = "hostname; cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname";
    let seen = sh(runtime, script, |config| {
        config["hostname"] = json!("a-name.example");
        config["domainname"] = json!("a-domain");
    })?;
    ensure_eq!(seen, "a-name.example\na-name.example\na-domain\n");
    Ok(())
}

fn hostname_of_the_host_stays(runtime: &Runtime) -> TestResult {
    let before = fs::read_to_string("/proc/sys/kernel/hostname")?;
    let seen = sh(runtime, "hostname", |_| {})?;
    ensure_eq!(seen, "corten\n");
    ensure_eq!(fs::read_to_string("/proc/sys/kernel/hostname")?, before);
    let seen = sh(runtime, "hostname", |config| config["hostname"] = Value::Null)?;
    // A new namespace begins with the name that was.
    ensure_eq!(seen, before);
    Ok(())
}

fn hostname_without_a_namespace_is_refused(runtime: &Runtime) -> TestResult {
    refusal(runtime, |config| bundle::remove(config, "/linux/namespaces", "type", "uts"))?;
    Ok(())
}

fn loopback_of_a_new_network_is_up(runtime: &Runtime) -> TestResult {
    let script = "ip address show lo; ip link | grep -c '^[0-9]'; (echo sent | nc -l -p 77 &) ; sleep 0.2; nc 127.0.0.1 77 </dev/null";
    let seen = sh(runtime, script, |_| {})?;
    ensure!(
        seen.contains("LOOPBACK,UP") && seen.contains("inet 127.0.0.1/8"),
        "lo is not up: {seen}"
    );
    ensure!(seen.ends_with("sent\n"), "nothing went through: {seen}");
    Ok(())
}

fn time_offsets_shift_the_clocks(runtime: &Runtime) -> TestResult {
    let seen = sh(
        runtime,
        "cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets; readlink /proc/self/ns/time",
        |config| {
            add(config, "/linux/namespaces", json!({ "type": "time" }));
            config["linux"]["timeOffsets"] = json!({
                "monotonic": { "secs": 172_800, "nanosecs": 500 },
                "boottime": { "secs": 604_800, "nanosecs": 0 },
            });
        },
    )?;
    let words: Vec<_> = seen.split_whitespace().collect();
    let uptime: u64 = words.first().ok_or("no uptime")?.parse()?;
    ensure!(uptime >= 604_800, "the clock is not shifted: {seen}");
    ensure_eq!(
        words.get(1..7),
        Some(&["monotonic", "172800", "500", "boottime", "604800", "0"][..])
    );
    ensure!(!seen.contains(&own("time")?), "the host's time namespace: {seen}");
    Ok(())
}

fn time_offsets_without_a_namespace_are_refused(runtime: &Runtime) -> TestResult {
    refuses(runtime, &["/linux/timeOffsets"], |config| {
        config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1 } });
    })
}
