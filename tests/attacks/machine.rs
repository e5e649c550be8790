//! What belongs to the whole machine: cgroups, abstract sockets, the kernel's writes into the runtime.
//!
//! Runs in: any process.

use std::collections::BTreeMap;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::Failed;
use nix::sched::{CloneFlags, unshare};
use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};

use crate::attack::{Attack, attacks};
use crate::bundle;
use crate::harness::{TestResult, ensure};
use crate::host::Need::{PureCgroup2, Root, Strace};
use crate::leaks;
use crate::probe;
use crate::runtime::Runtime;

attacks! {
    processes_in_cgroups_of_their_own_are_killed: [Root, PureCgroup2],
    cgroup_of_the_container_is_not_left: [Root, PureCgroup2],
    cgroup_of_exec_is_not_that_of_another: [Root, PureCgroup2],
    abstract_sockets_are_not_open: [Root],
    kernel_does_not_write_behind_a_bpf_attribute: [Root, PureCgroup2, Strace],
}

/// A cgroup of the test's own, below the root.
fn cgroup(runtime: &Runtime, name: &str) -> PathBuf {
    PathBuf::from(format!("/sys/fs/cgroup/{}{name}", runtime.marker()))
}

fn writable_cgroup(config: &mut Value) {
    bundle::remove(config, "/mounts", "destination", "/sys/fs/cgroup");
    let mount = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev"] });
    bundle::add(config, "/mounts", mount);
}

/// Processes hide from a signal to what is listed: in cgroups below their own, in sessions of their own, without a parent.
fn processes_in_cgroups_of_their_own_are_killed(attack: &Attack<'_>) -> TestResult {
    let below = cgroup(attack.runtime, "control/below");
    fs::create_dir_all(&below)?;
    let mut child = Command::new("sleep").arg("1000").spawn()?;
    fs::write(below.join("cgroup.procs"), child.id().to_string())?;
    let above = below.parent().ok_or("no parent")?;
    for pid in fs::read_to_string(above.join("cgroup.procs"))?.lines() {
        let pid = pid.parse().ok().and_then(Pid::from_raw).ok_or("no pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    }
    let escaped = child.try_wait()?.is_none();
    child.kill()?;
    child.wait()?;
    attack.runtime.wait_until("an empty cgroup", || Ok(fs::remove_dir(&below).is_ok()))?;
    fs::remove_dir(above)?;
    attack.control("a signal to each process of the cgroup", escaped)?;

    let script = "cd /sys/fs/cgroup; d=.; for n in 1 2 3 4 5 6 7 8; do d=$d/n; mkdir $d; \
        (setsid sh -c \"echo 0 >$d/cgroup.procs; trap '' TERM INT HUP; sleep 1000\" &) ; done; \
        while [ $(cat n/n/n/n/n/n/n/n/cgroup.procs | wc -l) = 0 ]; do usleep 1000; done; echo hidden; sleep 1000";
    let ways: [&[&str]; 2] = [&["delete", "--force"], &["kill", "--all"]];
    for way in ways {
        let bundle = attack.runtime.bundle_with(&["sh", "-c", script], writable_cgroup)?;
        let id = attack.runtime.new_id();
        let created = attack.runtime.create(&bundle, &id)?.ok()?;
        attack.runtime.start(&id)?.ok()?;
        attack
            .runtime
            .wait_until("hidden processes", || Ok(created.stdout_now().contains("hidden")))?;
        let mut words = way.to_vec();
        words.push(&id);
        if way.contains(&"kill") {
            words.push("KILL");
        }
        attack.runtime.command(&words).output()?.ok()?;
        let gone = attack.runtime.wait_until("their end", || {
            leaks::reap(attack.runtime.marker());
            Ok(leaks::processes(attack.runtime.marker()).is_empty())
        });
        attack.attempt(&format!("{way:?} leaves processes"), gone.is_ok())?;
        attack.runtime.delete_force(&id)?.ok()?;
    }
    Ok(())
}

/// T-14: a process leaves its cgroup by paths that lead above what it sees.
fn cgroup_of_the_container_is_not_left(attack: &Attack<'_>) -> TestResult {
    let own = cgroup(attack.runtime, "left");
    fs::create_dir(&own)?;
    let mut child = Command::new("sleep").arg("1000").spawn()?;
    fs::write(own.join("cgroup.procs"), child.id().to_string())?;
    // Who has the host's view, and no namespace.
    fs::write(own.join("../cgroup.procs"), child.id().to_string())?;
    let left = fs::read_to_string(format!("/proc/{}/cgroup", child.id()))?;
    child.kill()?;
    child.wait()?;
    attack.runtime.wait_until("an empty cgroup", || Ok(fs::remove_dir(&own).is_ok()))?;
    attack.control("a write to ../cgroup.procs", !left.contains(attack.runtime.marker()))?;

    let script = "cd /sys/fs/cgroup; for f in ../cgroup.procs ../../cgroup.procs /sys/fs/cgroup/../cgroup.procs; do \
        echo 0 >$f; done 2>/dev/null; mkdir /c; mount -t cgroup2 c /c && for f in /c/../cgroup.procs /c/../../cgroup.procs; do \
        echo 0 >$f; done 2>/dev/null; echo done; sleep 1000";
    let bundle = attack.runtime.bundle_with(&["sh", "-c", script], |config| {
        writable_cgroup(config);
        let all = json!(["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
        config["process"]["capabilities"] =
            json!({ "bounding": all, "effective": all, "permitted": all });
    })?;
    let id = attack.runtime.new_id();
    let created = attack.runtime.create(&bundle, &id)?.ok()?;
    attack.runtime.start(&id)?.ok()?;
    attack.runtime.wait_until("the attempts", || Ok(created.stdout_now().contains("done")))?;
    let now = fs::read_to_string(format!("/proc/{}/cgroup", attack.runtime.pid(&id)?))?;
    attack.attempt(&now, now.contains(&id))?;
    Ok(())
}

/// T-14: `exec --cgroup` that leads to another container, also to one whose name begins alike.
fn cgroup_of_exec_is_not_that_of_another(attack: &Attack<'_>) -> TestResult {
    let start = |cgroups_path: String| -> Result<String, Failed> {
        let id = attack.runtime.new_id();
        let bundle = attack.runtime.bundle_with(&["sleep", "1000"], |config| {
            config["linux"]["cgroupsPath"] = json!(cgroups_path);
            writable_cgroup(config);
        })?;
        attack.runtime.create(&bundle, &id)?.ok()?;
        attack.runtime.start(&id)?.ok()?;
        Ok(id)
    };
    let marker = attack.runtime.marker();
    let (own, alike) = (format!("/{marker}p/c"), format!("/{marker}p/cb"));
    let (id, other) = (start(own.clone())?, start(alike.clone())?);
    let joined = format!("{own}/../cb");
    let cleaned = fs::canonicalize(format!("/sys/fs/cgroup{joined}"))?;
    let naive = cleaned.starts_with("/sys/fs/cgroup")
        && joined.starts_with(&own)
        && alike.starts_with(&own);
    attack.control("a comparison of how the paths begin", naive)?;
    for path in [
        "..",
        "../cb",
        "/../cb",
        "/..",
        "./../cb",
        "b",
        "../../",
        "../../../../../tmp",
        "c/../../cb",
    ] {
        let exec =
            attack.runtime.command(["exec", "--cgroup", path, &id, "cat", "/proc/self/cgroup"]);
        let outcome = exec.output()?;
        attack.attempt(
            &format!("{path} is taken: {outcome}"),
            outcome.code() != 0 && outcome.stdout.is_empty(),
        )?;
    }
    for id in [&other, &id] {
        attack.runtime.delete_force(id)?.ok()?;
    }
    // Whoever names a cgroup above his own keeps it.
    fs::remove_dir(format!("/sys/fs/cgroup/{marker}p")).ok();
    Ok(())
}

/// Abstract sockets of this thread's network namespace.
fn abstract_sockets() -> Result<Vec<String>, Failed> {
    let all = fs::read_to_string("/proc/thread-self/net/unix")?;
    let names = all.lines().filter_map(|line| line.split_whitespace().nth(7));
    Ok(names.filter(|name| name.starts_with('@')).map(str::to_owned).collect())
}

/// T-24, CVE-2020-15257: a socket that everybody in the host's network namespace can connect to.
fn abstract_sockets_are_not_open(attack: &Attack<'_>) -> TestResult {
    let body = || -> TestResult {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name("corten")?)?;
        attack.control("a listener without a file", abstract_sockets()? == ["@corten"])?;
        drop(listener);
        let (id, bundle) = (
            attack.runtime.new_id(),
            attack.runtime.bundle_with(&["sleep", "1000"], |config| {
                bundle::remove(config, "/linux/namespaces", "type", "network");
                bundle::remove(config, "/mounts", "destination", "/sys");
                bundle::add(
                    config,
                    "/hooks/createRuntime",
                    json!({ "path": "/bin/sleep", "args": ["sleep", "0.2"] }),
                );
            })?,
        );
        let mut seen = Vec::new();
        let exec: [&str; 3] = ["exec", &id, "true"];
        let create =
            attack.runtime.command(["create", "--bundle"]).arg(bundle.path()).arg(&id).spawn()?;
        while create.pid().and_then(|pid| Ok(!ended(pid)?))? {
            seen.extend(abstract_sockets()?);
        }
        create.wait()?.ok()?;
        seen.extend(abstract_sockets()?);
        attack.runtime.start(&id)?.ok()?;
        for _ in 0..5 {
            let exec = attack.runtime.command(exec).spawn()?;
            seen.extend(abstract_sockets()?);
            exec.wait()?.ok()?;
        }
        attack.attempt(&format!("{seen:?}"), seen.is_empty())
    };
    let joined = std::thread::scope(|scope| scope.spawn(body).join());
    joined.map_err(|_| Failed::from("the thread panicked"))?
}

/// Whether a child has ended and waits to be reaped.
fn ended(pid: Pid) -> Result<bool, Failed> {
    test_kill_process(pid)?;
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
    Ok(stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z')))
}

/// T-21: some kernels from 6.17 on write a field of `BPF_PROG_QUERY` that lies behind a short attribute: into whatever the
/// caller has there. This one may be none of them, so the control is that a short attribute is noticed.
fn kernel_does_not_write_behind_a_bpf_attribute(attack: &Attack<'_>) -> TestResult {
    let own = cgroup(attack.runtime, "bpf");
    fs::create_dir(&own)?;
    let probe = probe::arguments(&["short-bpf", own.to_str().ok_or("path")?]);
    let mut strace = Command::new("strace");
    let log = attack.runtime.directory().join("strace");
    strace.args(["-f", "-e", "trace=bpf", "-o"]).arg(&log).arg(std::env::current_exe()?);
    let output = strace.args(probe.iter().skip(1)).output()?;
    let short = sizes(&fs::read_to_string(&log)?).iter().any(|(_, size)| *size < 128);
    attack.control(
        &format!("an attribute of 48 bytes: {output:?}"),
        output.status.success() && short,
    )?;

    // The cgroup is there already: its programs are asked for, and replaced.
    let strace = ["strace", "-f", "-e", "trace=bpf", "-o", log.to_str().ok_or("path")?];
    let bundle = attack.runtime.bundle_with(&["true"], |config| {
        config["linux"]["cgroupsPath"] = json!(format!("/{}bpf", attack.runtime.marker()));
    })?;
    let run =
        attack.runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(attack.runtime.new_id());
    run.wrapped_by(strace).output()?.ok()?;
    let log = fs::read_to_string(log)?;
    ensure!(log.contains("BPF_PROG_QUERY"), "no query in {log}");
    for (line, size) in sizes(&log) {
        attack.attempt(&line, size >= 128)?;
    }
    Ok(())
}

/// The sizes that calls of bpf(2) give, with the lines that strace has written.
fn sizes(log: &str) -> Vec<(String, usize)> {
    let size = |line: &str| {
        let (call, _) = line.rsplit_once(") = ")?;
        call.rsplit_once(", ")?.1.parse().ok()
    };
    let calls = whole_lines(log).into_iter().filter(|line| line.contains("bpf("));
    calls.map(|line| (line.clone(), size(&line).unwrap_or(0))).collect()
}

/// The lines of strace, each after the pid: a call during which another process was reported is written in two.
fn whole_lines(log: &str) -> Vec<String> {
    let mut begun = BTreeMap::new();
    let mut whole = Vec::new();
    for (pid, line) in log.lines().filter_map(|line| line.split_once(' ')) {
        if let Some(begin) = line.strip_suffix(" <unfinished ...>") {
            begun.insert(pid, begin.trim_start());
        } else if let (Some((_, end)), Some(begin)) = (line.split_once(" resumed>"), begun.get(pid))
        {
            whole.push(format!("{begin}{end}"));
        } else {
            whole.push(line.trim_start().to_owned());
        }
    }
    whole
}
