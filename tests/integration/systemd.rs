//! The systemd driver (`--systemd-cgroup`): scopes, their properties, and what is left of them; and buses that do not answer.
//!
//! What needs a systemd runs in `cargo xtask test --systemd`. `RUNTIME=runc` there runs the same on a peer.
//!
//! Runs in: any process.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::bundle::{Bundle, add};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, Root, Systemd};
use crate::inside::nothing_left;
use crate::resources;
use crate::runtime::{Invocation, Outcome, Runtime};

const OURS: &str = "a name or a text of ours";

table! {
    scope_is_where_slice_prefix_and_name_say: [Root, Systemd],
    scope_without_a_path_has_the_runtimes_name: [Root, Systemd],
    scope_has_the_properties_of_runc: [Root, Systemd, NotOn("crun", "counts no I/O")],
    scope_has_init_alone_in_it: [Root, Systemd],
    cgroup_namespace_begins_at_the_scope: [Root, Systemd],
    annotations_are_properties: [Root, Systemd, NotOn("crun", "knows fewer types")],
    driver_is_remembered: [Root, Systemd],
    delete_leaves_no_unit: [Root, Systemd],
    run_in_the_foreground_leaves_no_unit: [Root, Systemd],
    failed_unit_of_the_same_name_is_replaced: [Root, Systemd],
    unit_of_another_is_refused_and_left_alone: [Root, Systemd, Corten(OURS)],
    unit_that_systemd_stopped_can_be_deleted: [Root, Systemd],
    create_that_fails_leaves_no_unit: [Root, Systemd],
    create_killed_at_random_moments_leaves_no_unit: [Root, Systemd, Corten("the others lose what a killed create has made")],
    limits_are_properties: [Root, Systemd, NotOn("runc", "1.1 has old weights"), NotOn("crun", "1.21 has old weights")],
    scope_has_every_controller_that_its_slice_could_have: [Root, Systemd, NotOn("crun", "has those that systemd delegates")],
    limits_stay_after_daemon_reload: [Root, Systemd],
    update_tells_systemd: [Root, Systemd, NotOn("crun", "1.21 does not tell the quota")],
    update_that_is_refused_leaves_the_properties: [Root, Systemd, Corten("theirs is no transaction")],
    devices_are_denied_after_daemon_reload: [Root, Systemd],
    device_program_stays_after_set_property: [Root, Systemd],
    fifty_parallel_creates_succeed: [Root, Systemd],
    process_that_joins_a_pid_namespace_is_in_the_scope: [Root, Systemd],
    hung_bus_is_an_error_within_the_deadline: [Root, Corten(OURS)],
    bus_that_closes_is_an_error: [Root, Corten(OURS)],
    systemd_that_is_not_there_is_an_error: [Root, Corten(OURS)],
    scope_of_a_user_is_made_by_the_users_systemd: [Root, Systemd, Corten(OURS)],
    cgroups_path_of_the_other_driver_is_refused: [Root, Systemd],
}

const FOREVER: &[&str] = &["sleep", "1000"];

fn create<'a>(runtime: &'a Runtime, bundle: &Bundle, id: &str) -> Invocation<'a> {
    let create = runtime.command(["create", "--bundle"]).arg(bundle.path()).arg(id);
    create.global("--systemd-cgroup")
}

fn with_path(config: &mut Value, path: impl Into<Value>) {
    config["linux"]["cgroupsPath"] = path.into();
}

/// A container in `machine.slice:test:ID`; its id and unit.
fn created(
    runtime: &Runtime,
    arguments: &[&str],
    change: impl FnOnce(&mut Value),
) -> Result<(String, String), Failed> {
    let id = runtime.new_id();
    let mut bundle = runtime.bundle_with(arguments, |config| {
        with_path(config, format!("machine.slice:test:{id}"));
    })?;
    bundle.edit(change)?;
    create(runtime, &bundle, &id).output()?.ok()?;
    let unit = format!("test-{id}.scope");
    Ok((id, unit))
}

fn systemctl(arguments: &[&str]) -> Result<String, Failed> {
    let output = Command::new("systemctl").arg("--no-pager").args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "systemctl {arguments:?}: {text}{errors}");
    Ok(text)
}

fn show(unit: &str, property: &str) -> Result<String, Failed> {
    Ok(systemctl(&["show", "--value", "--property", property, unit])?.trim().to_owned())
}

/// The units of this test that systemd knows.
fn units(runtime: &Runtime) -> Result<String, Failed> {
    let pattern = format!("*{}*", runtime.marker());
    systemctl(&["list-units", "--all", "--plain", "--no-legend", &pattern])
}

fn no_unit_left(runtime: &Runtime) -> TestResult {
    nothing_left(runtime)?;
    runtime.wait_until("no unit", || Ok(units(runtime)?.is_empty()))
}

fn scope_is_where_slice_prefix_and_name_say(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle =
        runtime.bundle_with(FOREVER, |config| with_path(config, format!("a-b.slice:pre:{id}")))?;
    create(runtime, &bundle, &id).output()?.ok()?;
    let unit = format!("pre-{id}.scope");
    ensure_eq!(show(&unit, "ActiveState")?, "active");
    ensure_eq!(show(&unit, "Slice")?, "a-b.slice");
    let path = format!("/a.slice/a-b.slice/{unit}");
    ensure_eq!(show(&unit, "ControlGroup")?, path);
    let pid = runtime.pid(&id)?;
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let found = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("");
    ensure!(found.starts_with(&path), "init is in {found}");
    Ok(())
}

fn scope_without_a_path_has_the_runtimes_name(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    create(runtime, &runtime.bundle(FOREVER)?, &id).output()?.ok()?;
    let name = if runtime.is("runc") { "runc" } else { "corten" };
    let name = if runtime.is("crun") { "crun" } else { name };
    ensure_eq!(show(&format!("{name}-{id}.scope"), "Slice")?, "system.slice");
    Ok(())
}

fn scope_has_the_properties_of_runc(runtime: &Runtime) -> TestResult {
    let (_, unit) = created(runtime, FOREVER, |_| {})?;
    for (property, expected) in [
        ("Delegate", "yes"),
        ("DefaultDependencies", "no"),
        ("MemoryAccounting", "yes"),
        ("CPUAccounting", "yes"),
        ("IOAccounting", "yes"),
        ("TasksAccounting", "yes"),
        ("Transient", "yes"),
    ] {
        let found = show(&unit, property)?;
        // systemd 258 has no such property any more: CPU is always accounted.
        ensure!(found == expected || found.is_empty(), "{property} is {found:?}");
    }
    Ok(())
}

fn scope_has_init_alone_in_it(runtime: &Runtime) -> TestResult {
    let (id, unit) = created(runtime, FOREVER, |_| {})?;
    let path = format!("/sys/fs/cgroup{}", show(&unit, "ControlGroup")?);
    let mut pids = Vec::new();
    for file in [format!("{path}/cgroup.procs"), format!("{path}/container/cgroup.procs")] {
        pids.extend(fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned));
    }
    ensure_eq!(pids, [runtime.pid(&id)?.to_string()]);
    Ok(())
}

fn cgroup_namespace_begins_at_the_scope(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["cat", "/proc/self/cgroup"], |config| {
        with_path(config, format!("machine.slice:test:{}", runtime.new_id()));
    })?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    let seen = run.global("--systemd-cgroup").output()?.ok()?.stdout;
    ensure_eq!(seen, "0::/\n");
    Ok(())
}

fn annotations_are_properties(runtime: &Runtime) -> TestResult {
    let (_, unit) = created(runtime, FOREVER, |config| {
        config["annotations"] = json!({
            "org.systemd.property.TimeoutStopUSec": "uint64 17000000",
            "org.systemd.property.RuntimeMaxSec": "uint64 3600",
            "org.systemd.property.KillSignal": "10",
            "org.systemd.property.Documentation": "['man:true(1)', 'man:false(1)']",
            "org.systemd.property.SendSIGHUP": "true",
        });
    })?;
    for (property, expected) in [
        ("TimeoutStopUSec", "17s"),
        ("RuntimeMaxUSec", "1h"),
        ("KillSignal", "10"),
        ("Documentation", "\"man:true(1)\" \"man:false(1)\""),
        ("SendSIGHUP", "yes"),
    ] {
        ensure_eq!(show(&unit, property)?, expected);
    }
    Ok(())
}

fn driver_is_remembered(runtime: &Runtime) -> TestResult {
    // As containerd calls it: the flag is there for create alone.
    let (id, unit) = created(runtime, FOREVER, |_| {})?;
    runtime.start(&id)?.ok()?;
    ensure_eq!(runtime.status(&id)?, "running");
    runtime.kill(&id, "KILL")?.ok()?;
    runtime.wait_for_status(&id, "stopped")?;
    runtime.delete(&id)?.ok()?;
    ensure_eq!(show(&unit, "LoadState")?, "not-found");
    Ok(())
}

fn delete_leaves_no_unit(runtime: &Runtime) -> TestResult {
    let (waits, _) = created(runtime, FOREVER, |_| {})?;
    runtime.delete_force(&waits)?.ok()?;
    let (runs, _) = created(runtime, FOREVER, |_| {})?;
    runtime.start(&runs)?.ok()?;
    runtime.delete_force(&runs)?.ok()?;
    let (ends, _) = created(runtime, &["true"], |_| {})?;
    runtime.start(&ends)?.ok()?;
    runtime.wait_for_status(&ends, "stopped")?;
    runtime.delete(&ends)?.ok()?;
    // With cgroups of its own below the scope.
    let (nested, unit) = created(runtime, FOREVER, |_| {})?;
    let path = format!("/sys/fs/cgroup{}", show(&unit, "ControlGroup")?);
    fs::create_dir_all(format!("{path}/a/b"))?;
    runtime.delete_force(&nested)?.ok()?;
    no_unit_left(runtime)
}

fn run_in_the_foreground_leaves_no_unit(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["sh", "-c", "exit 7"])?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    ensure_eq!(run.global("--systemd-cgroup").output()?.code(), 7);
    no_unit_left(runtime)
}

fn failed_unit_of_the_same_name_is_replaced(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let unit = format!("test-{id}");
    // A scope cannot be made to fail as simply as a service, but the name is what counts: the runtime's own is a scope.
    let scope = format!("{unit}.scope");
    let run = Command::new("systemd-run")
        .args(["--quiet", "--scope", "--slice", "machine.slice", "--unit", &unit])
        .args(["--property", "RuntimeMaxSec=1", "sleep", "1000"])
        .status()?;
    ensure!(!run.success(), "the scope has not been ended");
    runtime.wait_until("the scope to fail", || Ok(show(&scope, "ActiveState")? == "failed"))?;
    let bundle = runtime.bundle_with(FOREVER, |config| {
        with_path(config, format!("machine.slice:test:{id}"));
    })?;
    create(runtime, &bundle, &id).output()?.ok()?;
    ensure_eq!(show(&scope, "ActiveState")?, "active");
    runtime.delete_force(&id)?.ok()?;
    no_unit_left(runtime)
}

fn unit_of_another_is_refused_and_left_alone(runtime: &Runtime) -> TestResult {
    let (first, unit) = created(runtime, FOREVER, |_| {})?;
    let second = runtime.new_id();
    let bundle = runtime.bundle_with(FOREVER, |config| {
        with_path(config, format!("machine.slice:test:{first}"));
    })?;
    create(runtime, &bundle, &second).output()?.fails_with("not empty")?;
    // In another slice there is no cgroup that could be looked at.
    let bundle = runtime
        .bundle_with(FOREVER, |config| with_path(config, format!("system.slice:test:{first}")))?;
    create(runtime, &bundle, &second).output()?.fails_with("UnitExists")?;
    ensure_eq!(runtime.containers(), std::slice::from_ref(&first));
    ensure_eq!(show(&unit, "ActiveState")?, "active");
    ensure_eq!(runtime.status(&first)?, "created");
    Ok(())
}

fn unit_that_systemd_stopped_can_be_deleted(runtime: &Runtime) -> TestResult {
    let (id, unit) = created(runtime, FOREVER, |_| {})?;
    runtime.start(&id)?.ok()?;
    systemctl(&["kill", "--signal=KILL", &unit])?;
    runtime.wait_for_status(&id, "stopped")?;
    runtime.delete(&id)?.ok()?;
    no_unit_left(runtime)
}

fn create_that_fails_leaves_no_unit(runtime: &Runtime) -> TestResult {
    let failures: [fn(&mut Value); 3] = [
        |config| config["process"]["args"] = json!(["/no/such/program"]),
        |config| add(config, "/hooks/createRuntime", json!({ "path": "/bin/false" })),
        |config| {
            add(config, "/mounts", json!({ "destination": "/x", "type": "nofs", "source": "x" }));
        },
    ];
    for failure in failures {
        let bundle = runtime.bundle_with(FOREVER, failure)?;
        create(runtime, &bundle, &runtime.new_id()).output()?.fails()?;
        no_unit_left(runtime)?;
    }
    Ok(())
}

fn create_killed_at_random_moments_leaves_no_unit(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(FOREVER)?;
    let begin = Instant::now();
    let id = runtime.new_id();
    create(runtime, &bundle, &id).output()?.ok()?;
    let whole = begin.elapsed();
    runtime.delete_force(&id)?.ok()?;
    for round in 0..24 {
        let id = runtime.new_id();
        let call = create(runtime, &bundle, &id).spawn()?;
        sleep(whole * round / 20);
        // It may have ended before.
        call.signal(rustix::process::Signal::KILL).ok();
        call.wait()?;
        if runtime.containers().contains(&id) {
            let deleted = runtime.delete_force(&id)?;
            ensure!(deleted.code() == 0, "killed after {round}/20 of {whole:?}: {deleted}");
        }
        no_unit_left(runtime)?;
    }
    Ok(())
}

fn limits() -> Value {
    json!({
        "memory": { "limit": 67_108_864, "reservation": 33_554_432, "swap": 134_217_728 },
        "cpu": { "shares": 512, "quota": 33_300, "period": 100_000, "cpus": "0", "mems": "0" },
        "pids": { "limit": 20 },
        "unified": { "memory.high": "60000000", "memory.oom.group": "1" }
    })
}

fn properties_are(unit: &str, expected: &[(&str, &str)]) -> TestResult {
    for (property, expected) in expected {
        let found = show(unit, property)?;
        ensure!(found == *expected, "{property} is {found:?}, not {expected:?}");
    }
    Ok(())
}

fn files_are(runtime: &Runtime, id: &str, expected: &[(&str, &str)]) -> TestResult {
    for (file, expected) in expected {
        let found = resources::file(runtime, id, file)?;
        ensure!(found == *expected, "{file} is {found:?}, not {expected:?}");
    }
    Ok(())
}

fn limits_are_properties(runtime: &Runtime) -> TestResult {
    let (id, unit) = created(runtime, FOREVER, |config| resources::put(config, &limits()))?;
    let properties = [
        ("MemoryMax", "67108864"),
        ("MemoryLow", "33554432"),
        ("MemorySwapMax", "67108864"),
        ("MemoryHigh", "60000000"),
        ("CPUWeight", "59"),
        // Rounded up to a hundredth of a CPU.
        ("CPUQuotaPerSecUSec", "340ms"),
        ("CPUQuotaPeriodUSec", "100ms"),
        ("TasksMax", "20"),
        ("AllowedCPUs", "0"),
        ("AllowedMemoryNodes", "0"),
        ("OOMPolicy", "kill"),
    ];
    properties_are(&unit, &properties)?;
    let files = [
        ("memory.max", "67108864"),
        ("memory.low", "33554432"),
        ("memory.swap.max", "67108864"),
        // Whole pages.
        ("memory.high", "59998208"),
        ("memory.oom.group", "1"),
        ("cpu.weight", "59"),
        ("pids.max", "20"),
        ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"),
    ];
    files_are(runtime, &id, &files)?;
    // Rounded since runc 1.4; Debian's is older.
    let quota = if runtime.is("corten") { "34000 100000" } else { "33300 100000" };
    files_are(runtime, &id, &[("cpu.max", quota)])
}

/// systemd delegates those that it knows.
fn scope_has_every_controller_that_its_slice_could_have(runtime: &Runtime) -> TestResult {
    let (id, _) = created(runtime, FOREVER, |_| {})?;
    let slices = resources::file(runtime, &id, "../cgroup.controllers")?;
    ensure_eq!(resources::file(runtime, &id, "cgroup.controllers")?, slices);
    let roots = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")?;
    ensure_eq!(slices, roots.trim_end());
    Ok(())
}

fn limits_stay_after_daemon_reload(runtime: &Runtime) -> TestResult {
    let (id, _) = created(runtime, FOREVER, |config| {
        resources::put(config, &limits());
        let huge = json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4_194_304 }] });
        resources::put(config, &huge);
    })?;
    systemctl(&["daemon-reload"])?;
    let files = [
        ("memory.max", "67108864"),
        ("memory.low", "33554432"),
        ("memory.swap.max", "67108864"),
        ("memory.high", "59998208"),
        ("pids.max", "20"),
        ("cpuset.cpus", "0"),
        ("hugetlb.2MB.max", "4194304"),
        ("cpu.max", "34000 100000"),
    ];
    files_are(runtime, &id, &files)
}

fn update_tells_systemd(runtime: &Runtime) -> TestResult {
    let (id, unit) = created(runtime, FOREVER, |config| resources::put(config, &limits()))?;
    runtime.start(&id)?.ok()?;
    let update =
        ["update", "--memory", "50331648", "--pids-limit", "30", "--cpu-quota", "44400", &id];
    runtime.command(update).output()?.ok()?;
    let properties = [
        ("MemoryMax", "50331648"),
        ("TasksMax", "30"),
        ("CPUQuotaPerSecUSec", "450ms"),
        ("MemoryLow", "33554432"),
    ];
    properties_are(&unit, &properties)?;
    systemctl(&["daemon-reload"])?;
    files_are(
        runtime,
        &id,
        &[("memory.max", "50331648"), ("pids.max", "30"), ("memory.low", "33554432")],
    )
}

fn update_that_is_refused_leaves_the_properties(runtime: &Runtime) -> TestResult {
    let (id, unit) = created(runtime, FOREVER, |config| resources::put(config, &limits()))?;
    let refused = ["update", "--pids-limit", "30", "--cpuset-cpus", "4000", &id];
    runtime.command(refused).output()?.fails()?;
    properties_are(&unit, &[("TasksMax", "20"), ("AllowedCPUs", "0")])?;
    files_are(runtime, &id, &[("pids.max", "20"), ("cpuset.cpus", "0")])
}

/// Opens a device that the rules deny, and one that they allow, when `/go` is there.
const PROBE: &str = "while [ ! -e /go ]; do sleep 0.1; done; (: < /tmp/denied) 2>&1 && echo OPEN; : < /tmp/allowed && echo fine";

fn probe(runtime: &Runtime, between: impl FnOnce(&str) -> TestResult) -> Result<Outcome, Failed> {
    let id = runtime.new_id();
    let bundle = runtime.bundle_with(&["sh", "-c", PROBE], |config| {
        with_path(config, format!("machine.slice:test:{id}"));
        config["linux"]["resources"]["devices"] = json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "b", "major": 7, "minor": 0, "access": "rwm" },
        ]);
        // Loop devices open for everybody, with nothing in them too.
        let device = |path: &str, minor: u32| {
            json!({ "path": path, "type": "b", "major": 7, "minor": minor, "fileMode": 0o666 })
        };
        add(config, "/linux/devices", device("/tmp/allowed", 0));
        add(config, "/linux/devices", device("/tmp/denied", 1));
    })?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(&id);
    let run = run.global("--systemd-cgroup").spawn()?;
    let unit = format!("test-{id}.scope");
    runtime.wait_until("the container", || {
        // The others have no state at first.
        Ok(runtime.status(&id).is_ok_and(|status| status == "running"))
    })?;
    between(&unit)?;
    fs::write(bundle.in_rootfs("go"), "")?;
    run.wait()
}

fn only_the_allowed_opens(outcome: &Outcome) -> TestResult {
    ensure!(outcome.stdout.ends_with("Operation not permitted\nfine\n"), "{outcome}");
    Ok(())
}

fn devices_are_denied_after_daemon_reload(runtime: &Runtime) -> TestResult {
    only_the_allowed_opens(&probe(runtime, |_| systemctl(&["daemon-reload"]).map(drop))?)
}

fn device_program_stays_after_set_property(runtime: &Runtime) -> TestResult {
    let outcome = probe(runtime, |unit| {
        systemctl(&["set-property", "--runtime", unit, "CPUWeight=50", "MemoryHigh=1G"])?;
        systemctl(&["daemon-reload"]).map(drop)
    })?;
    only_the_allowed_opens(&outcome)
}

fn fifty_parallel_creates_succeed(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(FOREVER)?;
    let mut running = Vec::new();
    for _ in 0..50 {
        let id = runtime.new_id();
        running.push((create(runtime, &bundle, &id).spawn()?, id));
    }
    let mut ids = Vec::new();
    for (create, id) in running {
        create.wait()?.ok()?;
        ids.push(id);
    }
    ensure_eq!(units(runtime)?.lines().count(), 50);
    let deletes: Vec<_> = ids
        .iter()
        .map(|id| runtime.command(["delete", "--force", id]).spawn())
        .collect::<Result<_, _>>()?;
    for delete in deletes {
        delete.wait()?.ok()?;
    }
    no_unit_left(runtime)
}

fn process_that_joins_a_pid_namespace_is_in_the_scope(runtime: &Runtime) -> TestResult {
    // Two stages: the process that is moved is the second.
    let (first, _) = created(runtime, FOREVER, |_| {})?;
    let path = format!("/proc/{}/ns/pid", runtime.pid(&first)?);
    let (second, unit) = created(runtime, FOREVER, |config| {
        config["linux"]["namespaces"][0] = json!({ "type": "pid", "path": path });
    })?;
    let own = fs::read_to_string(format!("/proc/{}/cgroup", runtime.pid(&second)?))?;
    ensure!(own.contains(&unit), "{own}");
    // Its pid namespace ends with the first.
    runtime.delete_force(&second)?.ok()?;
    runtime.delete_force(&first)?.ok()?;
    no_unit_left(runtime)
}

/// A bus in this test's directory that shows the door after these bytes; `None`: it never answers.
fn fake_bus(runtime: &Runtime, words: Option<&'static [u8]>) -> Result<String, Failed> {
    let path = runtime.directory().join("bus");
    let listener = UnixListener::bind(&path)?;
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            match words {
                None => kept.push(stream),
                // The client reads an end, or a reset; either is the end.
                Some(words) => drop((stream.read(&mut [0; 64]), stream.write_all(words))),
            }
        }
    });
    Ok(format!("unix:path={}", path.display()))
}

fn with_fake_bus(runtime: &Runtime, words: Option<&'static [u8]>) -> Result<Outcome, Failed> {
    let address = fake_bus(runtime, words)?;
    let create = create(runtime, &runtime.bundle(FOREVER)?, &runtime.new_id());
    let create = create.env("DBUS_SYSTEM_BUS_ADDRESS", address);
    let outcome = create.patience(Duration::from_secs(120)).output()?;
    nothing_left(runtime)?;
    Ok(outcome)
}

fn hung_bus_is_an_error_within_the_deadline(runtime: &Runtime) -> TestResult {
    let begin = Instant::now();
    with_fake_bus(runtime, None)?
        .fails_with("timed out after 30 s waiting for systemd to connect")?;
    ensure!(begin.elapsed() < Duration::from_secs(60), "after {:?}", begin.elapsed());
    Ok(())
}

fn bus_that_closes_is_an_error(runtime: &Runtime) -> TestResult {
    with_fake_bus(runtime, Some(b""))?.fails_with("has closed the connection")?;
    Ok(())
}

fn systemd_that_is_not_there_is_an_error(runtime: &Runtime) -> TestResult {
    let create = create(runtime, &runtime.bundle(FOREVER)?, &runtime.new_id());
    let create = create.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/no/such/bus");
    create.output()?.fails_with("systemd: connect: ")?;
    nothing_left(runtime)
}

fn cgroups_path_of_the_other_driver_is_refused(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(FOREVER, |config| with_path(config, "/a/b"))?;
    let create = create(runtime, &bundle, &runtime.new_id()).output()?.fails()?;
    ensure!(runtime.is("crun") || create.stderr.contains("to be of format"), "{create}");
    no_unit_left(runtime)
}

/// Runs a script in the session of the user `lab` of the VM, as `how` has it, with a bundle of its own in $BUNDLE.
fn as_user(runtime: &Runtime, how: &[&str], script: &str) -> Result<String, Failed> {
    let home = format!("/home/lab/{}", runtime.marker());
    let bundle =
        runtime.bundle_with(&["sh", "-c", "cat /proc/self/cgroup; sleep 1000"], |config| {
            // In a user namespace no device can be made.
            let mounts = config["mounts"].as_array_mut();
            mounts.into_iter().for_each(|mounts| {
                mounts.retain(|mount| {
                    !mount["destination"].as_str().is_some_and(|to| to.starts_with("/dev"))
                });
            });
            let dev = json!({ "destination": "/dev", "source": "/dev", "options": ["rbind"] });
            add(config, "/mounts", dev);
        })?;
    let copy = format!(
        "mkdir {home} && cp -r {} {home}/b && chown -R lab: {home}",
        bundle.path().display()
    );
    ensure!(Command::new("sh").args(["-c", &copy]).status()?.success(), "{copy}");
    let corten = format!("{} --root {home}/root", runtime.program().display());
    let script = format!("corten='{corten}'; cd {home}/b; id={}\n{script}", runtime.new_id());
    let output = Command::new("systemd-run")
        .args(["--quiet", "--pipe", "--wait", "--collect"])
        .args(how)
        .args(["sh", "-exc", &script])
        .output()?;
    fs::remove_dir_all(&home)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{errors}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// In a user namespace that somebody else has made, with all ids of the user, as Podman calls runtimes.
const AS_USER: &str = "unshare --map-root-user --map-auto --mount sh -exc \"
    $corten --systemd-cgroup create --bundle . $id
    $corten start $id
    systemctl --user show --value --property ControlGroup --property Slice corten-$id.scope
    $corten delete --force $id
    test -z \\\"\\$(systemctl --user list-units --all --plain --no-legend corten-$id.scope)\\\"\"";

fn scope_of_a_user_is_made_by_the_users_systemd(runtime: &Runtime) -> TestResult {
    for how in [
        &["--user", "-M", "lab@.host"][..],
        // A login session, whose cgroup is not below that of the user's systemd.
        &["-p", "User=lab", "-p", "PAMName=login", "-E", "XDG_RUNTIME_DIR=/run/user/1000"],
    ] {
        let seen = as_user(runtime, how, AS_USER)?;
        let expected = "/user.slice/user-1000.slice/user@1000.service/user.slice/corten-";
        ensure!(seen.contains("user.slice\n") && seen.contains(expected), "{seen}");
        no_unit_left(runtime)?;
    }
    Ok(())
}
