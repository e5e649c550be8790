//! What changes a container that is there: update, pause, resume; what is seen of it: events; and signals to all of it.
//!
//! Runs in: any process.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Controller, Corten, NotOn, PureCgroup2, Root};
use crate::resources::{directory, file, put};
use crate::runtime::{Outcome, Runtime};

const OLD: &str = "1.1.5 and 1.8 know fewer flags and the old weights";

table! {
    update_flags_change_what_they_name: [Root, PureCgroup2, Controller("memory"), Controller("cpu"), Controller("pids"), NotOn("runc", OLD), NotOn("crun", OLD)],
    update_reads_resources_from_stdin_and_from_a_file: [Root, PureCgroup2, Controller("memory"), Controller("pids")],
    update_changes_one_number_in_the_light_of_the_others: [Root, PureCgroup2, Controller("memory"), Controller("cpu"), NotOn("crun", "keeps no record")],
    update_of_a_burst_follows_the_quota: [Root, PureCgroup2, Controller("cpu"), NotOn("runc", OLD), NotOn("crun", OLD)],
    update_of_idle_brings_the_weight_back: [Root, PureCgroup2, Controller("cpu"), Corten("runc leaves it at 100")],
    update_that_fails_halfway_changes_nothing: [Root, PureCgroup2, Controller("memory"), Controller("cpu"), Controller("cpuset"), Controller("pids"), Controller("io"), Corten("all or nothing")],
    update_below_the_use_is_refused_where_asked: [Root, PureCgroup2, Controller("memory")],
    update_errors_name_the_flag: [Root, Corten("its own texts")],
    update_leaves_device_rules_alone: [Root, PureCgroup2, NotOn("crun", "raises RLIMIT_MEMLOCK for a device program, also where none is asked for")],
    update_of_a_stopped_container_is_refused: [Root, NotOn("crun", "has other words")],
    update_of_a_created_container_works: [Root, PureCgroup2, Controller("pids")],
    update_to_no_limit_needs_no_controller: [Root, Corten("v1 is not used")],
    pause_stops_all_processes_and_resume_lets_them_run: [Root, PureCgroup2],
    pause_of_a_created_container_holds_its_init: [Root, PureCgroup2, Corten("crun says that it is not running")],
    pause_and_resume_in_the_wrong_status_fail: [Root, PureCgroup2, NotOn("crun", "has other words")],
    paused_container_is_killed_and_deleted: [Root, PureCgroup2],
    events_stats_has_the_form_of_runc: [Root, PureCgroup2, NotOn("crun", "has no events")],
    events_stats_counts: [Root, PureCgroup2, Controller("memory"), Controller("pids"), NotOn("crun", "has no events")],
    events_stream_ends_with_the_container: [Root, PureCgroup2, NotOn("crun", "has no events"), NotOn("runc", "1.1 needs the memory controller")],
    events_stream_tells_of_an_oom_kill: [Root, PureCgroup2, Controller("memory"), NotOn("crun", "has no events")],
    events_of_a_stopped_container_are_refused: [Root, NotOn("crun", "has no events")],
    kill_all_by_another_signal_reaches_every_process: [Root, PureCgroup2, NotOn("runc", "sends it to init alone")],
    kill_all_of_a_paused_container_leaves_it_paused: [Root, PureCgroup2, Corten("crun thaws")],
    kill_ends_threaded_cgroups_in_the_container: [Root, PureCgroup2, NotOn("runc", "1.1 reads cgroup.procs of a threaded cgroup, which cannot be read")],
}

/// A container that runs `script`, with these resources.
fn started(runtime: &Runtime, script: &str, resources: &Value) -> Result<String, Failed> {
    let bundle = runtime.bundle_with(&["sh", "-c", script], |config| put(config, resources))?;
    let id = runtime.new_id();
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    Ok(id)
}

fn update(runtime: &Runtime, id: &str, flags: &[&str]) -> Result<Outcome, Failed> {
    runtime.command(["update"].iter().chain(flags)).arg(id).output()
}

/// By `--resources -`.
fn update_json(runtime: &Runtime, id: &str, resources: &Value) -> Result<Outcome, Failed> {
    let update = runtime.command(["update", "--resources", "-", id]).stdin(Stdio::piped());
    let mut update = update.spawn()?;
    let mut stdin = update.child.stdin.take().ok_or("no stdin")?;
    stdin.write_all(resources.to_string().as_bytes())?;
    drop(stdin);
    update.wait()
}

fn is(runtime: &Runtime, id: &str, expected: &[(&str, &str)]) -> TestResult {
    for (name, text) in expected {
        let found = file(runtime, id, name)?;
        ensure!(found == *text, "{name} is {found:?}, not {text:?}");
    }
    Ok(())
}

/// Flags, and files with their texts after.
type Row = (&'static [&'static str], &'static [(&'static str, &'static str)]);

fn update_flags_change_what_they_name(runtime: &Runtime) -> TestResult {
    let id = started(runtime, "sleep 1000", &json!({}))?;
    let rows: &[Row] = &[
        (&["--memory", "64m"], &[("memory.max", "67108864"), ("memory.swap.max", "max")]),
        (&["--memory-swap", "96M"], &[("memory.max", "67108864"), ("memory.swap.max", "33554432")]),
        (&["--memory-reservation", "32mb"], &[("memory.low", "33554432")]),
        (&["--memory", "-1"], &[("memory.max", "max"), ("memory.swap.max", "max")]),
        (&["--cpu-share", "512"], &[("cpu.weight", "59")]),
        (&["--cpu-quota", "50000"], &[("cpu.max", "50000 100000")]),
        (&["--cpu-period", "200000"], &[("cpu.max", "50000 200000")]),
        (&["--cpu-quota=-1"], &[("cpu.max", "max 200000")]),
        (
            &["--cpuset-cpus", "0", "--cpuset-mems", "0"],
            &[("cpuset.cpus", "0"), ("cpuset.mems", "0")],
        ),
        (&["--pids-limit", "20"], &[("pids.max", "20")]),
        (&["--pids-limit", "0"], &[("pids.max", "1")]),
        (&["--pids-limit=-1"], &[("pids.max", "max")]),
        (&["--cpu-idle", "1"], &[("cpu.idle", "1")]),
        (&["--cpu-idle", "0"], &[("cpu.idle", "0")]),
        // What runc's scripts write for nothing.
        (
            &["--memory", "", "--pids-limit", "7", "--cpuset-cpus", ""],
            &[("pids.max", "7"), ("cpuset.cpus", "0")],
        ),
        (&["--kernel-memory", "10m", "--kernel-memory-tcp", "10m"], &[("pids.max", "7")]),
    ];
    for (flags, expected) in rows {
        let outcome = update(runtime, &id, flags)?.ok()?;
        ensure_eq!(outcome.stdout, "");
        is(runtime, &id, expected)
            .map_err(|failed| format!("{flags:?}: {}", failed.message().unwrap_or_default()))?;
    }
    Ok(())
}

fn update_reads_resources_from_stdin_and_from_a_file(runtime: &Runtime) -> TestResult {
    let id = started(runtime, "sleep 1000", &json!({}))?;
    let resources = json!({
        "memory": { "limit": 67_108_864, "reservation": 33_554_432 },
        "pids": { "limit": 30 },
        "unified": { "memory.high": "50331648" }
    });
    update_json(runtime, &id, &resources)?.ok()?;
    is(
        runtime,
        &id,
        &[
            ("memory.max", "67108864"),
            ("memory.low", "33554432"),
            ("pids.max", "30"),
            ("memory.high", "50331648"),
        ],
    )?;
    let path = runtime.directory().join("resources.json");
    fs::write(&path, r#"{ "pids": { "limit": 31 } }"#)?;
    update(runtime, &id, &["-r", path.to_str().ok_or("path")?, "--pids-limit", "5"])?.ok()?;
    is(runtime, &id, &[("pids.max", "31"), ("memory.max", "67108864")])
}

fn update_changes_one_number_in_the_light_of_the_others(runtime: &Runtime) -> TestResult {
    let limits = json!({
        "memory": { "limit": 67_108_864, "swap": 134_217_728 },
        "cpu": { "quota": 50000, "period": 50000 }
    });
    let id = started(runtime, "sleep 1000", &limits)?;
    update(runtime, &id, &["--memory", "100m"])?.ok()?;
    is(runtime, &id, &[("memory.max", "104857600"), ("memory.swap.max", "29360128")])?;
    update(runtime, &id, &["--cpu-quota", "25000"])?.ok()?;
    is(runtime, &id, &[("cpu.max", "25000 50000")])?;
    update(runtime, &id, &["--memory", "200m"])?
        .fails_with("memory+swap limit should be >= memory limit")?;
    is(runtime, &id, &[("memory.max", "104857600"), ("memory.swap.max", "29360128")])
}

fn update_of_a_burst_follows_the_quota(runtime: &Runtime) -> TestResult {
    let id = started(runtime, "sleep 1000", &json!({ "cpu": { "quota": 20000, "burst": 10000 } }))?;
    // Above the old quota, then below the old burst.
    for (quota, burst) in [("90000", "80000"), ("5000", "4000")] {
        update(runtime, &id, &["--cpu-quota", quota, "--cpu-burst", burst])?.ok()?;
        is(runtime, &id, &[("cpu.max", &format!("{quota} 100000")), ("cpu.max.burst", burst)])?;
    }
    update(runtime, &id, &["--cpu-burst", "6000"])?.fails_with("--cpu-burst")?;
    is(runtime, &id, &[("cpu.max", "5000 100000"), ("cpu.max.burst", "4000")])
}

fn update_of_idle_brings_the_weight_back(runtime: &Runtime) -> TestResult {
    let id = started(runtime, "sleep 1000", &json!({ "cpu": { "shares": 512 } }))?;
    for _ in 0..2 {
        update(runtime, &id, &["--cpu-idle", "1"])?.ok()?;
        is(runtime, &id, &[("cpu.idle", "1")])?;
        update(runtime, &id, &["--cpu-idle", "0"])?.ok()?;
        is(runtime, &id, &[("cpu.idle", "0"), ("cpu.weight", "59")])?;
    }
    update(runtime, &id, &["--cpu-idle", "2"])?.fails_with("--cpu-idle")?;
    is(runtime, &id, &[("cpu.idle", "0"), ("cpu.weight", "59")])
}

/// Each of the kinds of files has been written when the last one is refused.
fn update_that_fails_halfway_changes_nothing(runtime: &Runtime) -> TestResult {
    let limits = json!({
        "memory": { "limit": 67_108_864, "swap": 134_217_728 },
        "cpu": { "shares": 512, "quota": 50000 },
        "pids": { "limit": 50 },
        "blockIO": { "throttleReadBpsDevice": [{ "major": 7, "minor": 0, "rate": 4096 }] },
        "unified": { "memory.high": "60000000" }
    });
    let id = started(runtime, "sleep 1000", &limits)?;
    let names = [
        "memory.max",
        "memory.swap.max",
        "memory.high",
        "memory.low",
        "cpu.weight",
        "cpu.max",
        "cpu.max.burst",
        "cpuset.cpus.effective",
        "pids.max",
        "io.max",
    ];
    let all = || names.iter().map(|name| file(runtime, &id, name)).collect::<Result<Vec<_>, _>>();
    let (before, state) = (all()?, fs::read(runtime.root().join(&id).join("state.json"))?);
    let rate = |minor: u32| json!({ "major": 7, "minor": minor, "rate": 8192 });
    let refused = update_json(
        runtime,
        &id,
        &json!({
            "memory": { "limit": 50_331_648, "reservation": 10_000_000 },
            "cpu": { "shares": 100, "quota": 30000, "burst": 1000, "cpus": "0" },
            "pids": { "limit": 60 },
            "blockIO": { "throttleReadBpsDevice": [rate(0), rate(1)] },
            "unified": { "memory.high": "40000000", "memory.oom.group": "not a number" }
        }),
    )?;
    refused.fails_with("/unified/memory.oom.group")?;
    ensure_eq!(all()?, before);
    ensure!(
        fs::read(runtime.root().join(&id).join("state.json"))? == state,
        "the state has changed"
    );
    Ok(())
}

fn update_below_the_use_is_refused_where_asked(runtime: &Runtime) -> TestResult {
    let id = started(runtime, "sleep 1000", &json!({}))?;
    let limit = |limit: u64, check: bool| json!({ "memory": { "limit": limit, "checkBeforeUpdate": check } });
    update_json(runtime, &id, &limit(4096, true))?
        .fails_with("rejecting memory limit 4096 <= usage")?;
    is(runtime, &id, &[("memory.max", "max")])?;
    update_json(runtime, &id, &limit(67_108_864, true))?.ok()?;
    is(runtime, &id, &[("memory.max", "67108864")])?;
    ensure_eq!(runtime.status(&id)?, "running");
    Ok(())
}

fn update_errors_name_the_flag(runtime: &Runtime) -> TestResult {
    let id = started(runtime, "sleep 1000", &json!({}))?;
    for (flags, text) in [
        (&["--memory", "lots"][..], "invalid value for memory"),
        (&["--cpu-period=-1"], "invalid value for cpu-period"),
        (&["--blkio-weight", "5"], "--blkio-weight"),
        (&["--cpuset-cpus", "a-b"], "--cpuset-cpus"),
        (&["--memory-swap", "1g"], "--memory-swap: unable to set swap limit without memory limit"),
        (&["--l3-cache-schema", "L3:0=f"], "Intel RDT"),
        (&["--resources", "/nosuch/file"], "/nosuch/file"),
        (&["--nosuch", "1"], "flag provided but not defined: -nosuch"),
    ] {
        update(runtime, &id, flags)?.fails_with(text)?;
    }
    update_json(runtime, &id, &json!({ "memory": { "limit": "a" } }))?
        .fails_with("/memory/limit")?;
    Ok(())
}

/// Engines send those of config.json along.
fn update_leaves_device_rules_alone(runtime: &Runtime) -> TestResult {
    let script = "while sleep 0.05; do [ -e /go ] && break; done; head -c 1 /dev/zero | wc -c";
    let bundle = runtime.bundle(&["sh", "-c", script])?;
    let id = runtime.new_id();
    let created = runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    update_json(runtime, &id, &json!({ "devices": [{ "allow": false, "access": "rwm" }] }))?
        .ok()?;
    fs::write(bundle.in_rootfs("go"), "")?;
    runtime.wait_for_status(&id, "stopped")?;
    ensure_eq!(created.stdout_now(), "1\n");
    Ok(())
}

fn update_of_a_stopped_container_is_refused(runtime: &Runtime) -> TestResult {
    let id = started(runtime, "true", &json!({}))?;
    runtime.wait_for_status(&id, "stopped")?;
    update(runtime, &id, &["--pids-limit", "5"])?.fails()?;
    update(runtime, "nosuch", &["--pids-limit", "5"])?.fails_with("container does not exist")?;
    Ok(())
}

fn update_of_a_created_container_works(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["sh", "-c", "cat /sys/fs/cgroup/pids.max"])?;
    let id = runtime.new_id();
    let created = runtime.create(&bundle, &id)?.ok()?;
    update(runtime, &id, &["--pids-limit", "12"])?.ok()?;
    runtime.start(&id)?.ok()?;
    runtime.wait_for_status(&id, "stopped")?;
    ensure_eq!(created.stdout_now(), "12\n");
    Ok(())
}

fn update_to_no_limit_needs_no_controller(runtime: &Runtime) -> TestResult {
    let id = started(runtime, "sleep 1000", &json!({}))?;
    update(runtime, &id, &["--pids-limit=-1", "--memory=-1", "--cpu-quota=-1"])?.ok()?;
    Ok(())
}

/// A script that counts in a file.
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i > /count; usleep 1000; done";

fn pause_stops_all_processes_and_resume_lets_them_run(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["sh", "-c", COUNT])?;
    let id = runtime.new_id();
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    let count = || fs::read_to_string(bundle.in_rootfs("count")).unwrap_or_default();
    runtime.wait_until("the first count", || Ok(!count().is_empty()))?;
    for _ in 0..3 {
        let pause = runtime.command(["pause", &id]).output()?.ok()?;
        ensure_eq!(pause.stdout, "");
        ensure_eq!(runtime.status(&id)?, "paused");
        let seen = count();
        sleep(Duration::from_millis(100));
        ensure_eq!(count(), seen);
        runtime.command(["resume", &id]).output()?.ok()?;
        ensure_eq!(runtime.status(&id)?, "running");
        runtime.wait_until("more counts", || Ok(!count().is_empty() && count() != seen))?;
    }
    Ok(())
}

fn pause_of_a_created_container_holds_its_init(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    runtime.create(&runtime.bundle(&["true"])?, &id)?.ok()?;
    runtime.command(["pause", &id]).output()?.ok()?;
    ensure_eq!(runtime.status(&id)?, "paused");
    runtime.start(&id)?.fails_with("cannot start a container in the paused state")?;
    runtime.command(["resume", &id]).output()?.ok()?;
    ensure_eq!(runtime.status(&id)?, "created");
    runtime.start(&id)?.ok()?;
    runtime.wait_for_status(&id, "stopped")
}

fn pause_and_resume_in_the_wrong_status_fail(runtime: &Runtime) -> TestResult {
    let id = started(runtime, "sleep 1000", &json!({}))?;
    runtime.command(["resume", &id]).output()?.fails_with("container not paused")?;
    runtime.command(["pause", &id]).output()?.ok()?;
    runtime.command(["pause", &id]).output()?.fails_with("container not running")?;
    runtime.command(["resume", &id]).output()?.ok()?;
    runtime.kill(&id, "KILL")?.ok()?;
    runtime.wait_for_status(&id, "stopped")?;
    runtime.command(["pause", &id]).output()?.fails_with("container not running")?;
    runtime.command(["resume", &id]).output()?.fails_with("container not paused")?;
    Ok(())
}

fn paused_container_is_killed_and_deleted(runtime: &Runtime) -> TestResult {
    let first = started(runtime, "sleep 1000", &json!({}))?;
    runtime.command(["pause", &first]).output()?.ok()?;
    runtime.kill(&first, "KILL")?.ok()?;
    runtime.wait_for_status(&first, "stopped")?;
    runtime.delete(&first)?.ok()?;
    let second = started(runtime, "sleep 1000", &json!({}))?;
    runtime.command(["pause", &second]).output()?.ok()?;
    runtime.delete_force(&second)?.ok()?;
    Ok(())
}

fn events(runtime: &Runtime, id: &str) -> Result<Value, Failed> {
    let outcome = runtime.command(["events", "--stats", id]).output()?.ok()?;
    ensure!(outcome.stdout.ends_with("}\n") && outcome.stdout.lines().count() == 1, "{outcome}");
    Ok(serde_json::from_str(&outcome.stdout)?)
}

fn events_stats_has_the_form_of_runc(runtime: &Runtime) -> TestResult {
    let id = started(runtime, "sleep 1000", &json!({}))?;
    let event = events(runtime, &id)?;
    ensure_eq!(event["type"], "stats");
    ensure_eq!(event["id"], id);
    let mut names: Vec<_> = event["data"].as_object().ok_or("no data")?.keys().cloned().collect();
    names.sort_unstable();
    let expected =
        ["blkio", "cpu", "cpuset", "hugetlb", "intel_rdt", "memory", "network_interfaces", "pids"];
    ensure_eq!(names, expected.map(str::to_owned));
    ensure_eq!(event["data"]["network_interfaces"], Value::Null);
    ensure_eq!(event["data"]["cpuset"]["cpu_exclusive"], 0);
    ensure!(
        event["data"]["cpu"]["usage"]["total"].as_u64().is_some_and(|time| time > 0),
        "{event}"
    );
    Ok(())
}

fn events_stats_counts(runtime: &Runtime) -> TestResult {
    let limits =
        json!({ "memory": { "limit": 67_108_864, "swap": 100_663_296 }, "pids": { "limit": 9 } });
    let id = started(runtime, "sleep 1000 & wait", &limits)?;
    runtime.wait_until("two processes", || {
        Ok(events(runtime, &id)?["data"]["pids"] == json!({ "current": 2, "limit": 9 }))
    })?;
    let event = events(runtime, &id)?;
    let memory = &event["data"]["memory"];
    ensure_eq!(memory["usage"]["limit"], 67_108_864);
    // Memory and swap together, as cgroup v1 counted.
    ensure_eq!(memory["swap"]["limit"], 100_663_296);
    ensure!(memory["usage"]["usage"].as_u64().is_some_and(|used| used > 0), "{event}");
    ensure!(memory["raw"]["anon"].as_u64().is_some(), "{event}");
    ensure!(runtime.is("runc") || event["data"]["cpu"]["psi"].is_object(), "{event}");
    Ok(())
}

fn events_stream_ends_with_the_container(runtime: &Runtime) -> TestResult {
    let id = started(runtime, "sleep 1000", &json!({}))?;
    let events = runtime.command(["events", "--interval", "50ms", &id]).spawn()?;
    runtime.wait_until("two lines", || Ok(events.stdout().lines().count() >= 2))?;
    runtime.kill(&id, "KILL")?.ok()?;
    let outcome = events.wait()?.ok()?;
    for line in outcome.stdout.lines() {
        let event: Value = serde_json::from_str(line)?;
        ensure_eq!(event["type"], "stats");
    }
    runtime
        .command(["events", "--interval", "0s", &id])
        .output()?
        .fails_with("duration interval must be greater than 0")?;
    Ok(())
}

fn events_stream_tells_of_an_oom_kill(runtime: &Runtime) -> TestResult {
    let script = "while [ ! -e /go ]; do usleep 10000; done; dd if=/dev/zero of=/dev/null bs=128M count=1; sleep 1";
    let bundle = runtime.bundle_with(&["sh", "-c", script], |config| {
        put(config, &json!({ "memory": { "limit": 33_554_432, "swap": 33_554_432 } }));
    })?;
    let id = runtime.new_id();
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    let events = runtime.command(["events", "--interval", "200ms", &id]).spawn()?;
    runtime.wait_until("the first line", || Ok(!events.stdout().is_empty()))?;
    fs::write(bundle.in_rootfs("go"), "")?;
    let oom = format!("{{\"type\":\"oom\",\"id\":\"{id}\"}}");
    runtime.wait_until("the oom event", || Ok(events.stdout().lines().any(|line| line == oom)))?;
    let outcome = events.wait()?.ok()?;
    ensure_eq!(outcome.stdout.lines().filter(|line| *line == oom).count(), 1);
    Ok(())
}

fn events_of_a_stopped_container_are_refused(runtime: &Runtime) -> TestResult {
    let id = started(runtime, "true", &json!({}))?;
    runtime.wait_for_status(&id, "stopped")?;
    let text = format!("container with id {id} is not running");
    runtime.command(["events", "--stats", &id]).output()?.fails_with(&text)?;
    Ok(())
}

fn kill_all_by_another_signal_reaches_every_process(runtime: &Runtime) -> TestResult {
    let script = "for i in 1 2 3; do sh -c 'trap \"echo >> /got; exit 0\" USR1; echo >> /ready; while :; do usleep 10000; done' & done; \
        trap 'echo >> /got' USR1; echo >> /ready; wait; wait; wait; wait";
    let bundle = runtime.bundle(&["sh", "-c", script])?;
    let id = runtime.new_id();
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    let lines =
        |name: &str| fs::read_to_string(bundle.in_rootfs(name)).unwrap_or_default().lines().count();
    runtime.wait_until("four processes", || Ok(lines("ready") == 4))?;
    runtime.command(["kill", "--all", &id, "USR1"]).output()?.ok()?;
    // Thawed, or none of them could write.
    runtime.wait_until("four signals", || Ok(lines("got") == 4))?;
    Ok(())
}

fn kill_all_of_a_paused_container_leaves_it_paused(runtime: &Runtime) -> TestResult {
    let id = started(runtime, "trap 'exit 7' USR1; while :; do usleep 10000; done", &json!({}))?;
    runtime.command(["pause", &id]).output()?.ok()?;
    runtime.command(["kill", "--all", &id, "USR1"]).output()?.ok()?;
    ensure_eq!(runtime.status(&id)?, "paused");
    runtime.command(["resume", &id]).output()?.ok()?;
    runtime.wait_for_status(&id, "stopped")
}

/// `cgroup.kill` of a threaded cgroup answers EOPNOTSUPP; that of the container, which is their domain, ends all.
fn kill_ends_threaded_cgroups_in_the_container(runtime: &Runtime) -> TestResult {
    let id = started(runtime, "sleep 1000 & sleep 1000", &json!({}))?;
    let threaded = directory(runtime, &id)?.join("threaded");
    fs::create_dir(&threaded)?;
    fs::write(threaded.join("cgroup.type"), "threaded")?;
    runtime.wait_until("two processes", || {
        Ok(fs::read_to_string(directory(runtime, &id)?.join("cgroup.threads"))?.lines().count()
            == 2)
    })?;
    fs::write(threaded.join("cgroup.threads"), runtime.pid(&id)?.to_string())?;
    ensure!(fs::write(threaded.join("cgroup.kill"), "1").is_err(), "it is not threaded");
    runtime.command(["kill", "--all", &id, "KILL"]).output()?.ok()?;
    runtime.wait_for_status(&id, "stopped")?;
    runtime.delete(&id)?.ok()?;
    ensure!(!threaded.exists(), "the cgroup is left");
    Ok(())
}
