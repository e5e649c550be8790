//! Runtimes that are killed, and runs in a row: `delete --force` leaves nothing, whatever came before it.
//!
//! Each call of the runtime is killed alone, at a random moment, as by the kernel's OOM killer or by an engine that ends. The moments
//! are random, and the seed is in the message of a failure; every system call is tried by `cargo xtask fault`.
//!
//! Runs in: any process.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal};
use serde_json::json;

use crate::bundle::{Bundle, add};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, Root, Strace};
use crate::inside::nothing_left;
use crate::leaks;
use crate::runtime::Runtime;

const INTENT: &str = "the others lose the cgroup of a create that was killed (runc issue 4534); ours writes its intent first";

table! {
    two_hundred_runs_leave_nothing: [Root],
    two_hundred_lives_leave_nothing: [Root, NotOn("runc", "1.1 loses a cgroup now and then, when rmdir comes before the end of init")],
    create_killed_at_random_moments_is_cleaned_up: [Root, Corten(INTENT)],
    create_killed_at_random_moments_frees_the_id: [Root, Corten(INTENT)],
    run_killed_at_random_moments_is_cleaned_up: [Root, Corten(INTENT)],
    start_killed_at_random_moments_is_cleaned_up: [Root, Corten(INTENT)],
    delete_killed_at_random_moments_can_be_repeated: [Root, Corten(INTENT)],
    create_killed_in_a_hook_is_cleaned_up: [Root, Corten("the others leave the hook, the cgroup and init")],
    number_of_a_hook_that_is_somebody_elses_by_now_spares_them: [Root, Corten("the others have no record of a hook")],
    init_killed_before_start_is_cleaned_up: [Root],
    process_of_a_killed_foreground_run_is_cleaned_up: [Root, NotOn("crun", "1.8 has no state of it yet when the process runs")],
    state_that_was_cut_off_does_not_hide_the_others: [Root, Corten("one bad file makes list of crun and delete of all fail")],
    state_that_was_cut_off_can_be_deleted: [Root, Corten("the others leave the process or refuse for ever")],
    create_fails_cleanly_where_state_cannot_be_written: [Root],
    run_with_few_descriptors_fails_cleanly: [Root, NotOn("crun", "1.8 leaves the cgroup"), NotOn("runc", "Go hangs with 13 of them")],
    create_that_cannot_remove_its_cgroup_keeps_the_state: [Root, Corten(INTENT), Strace],
}

const ROUNDS: u32 = 60;

/// Moments: xorshift, seeded by the clock.
struct Moments {
    seed: u64,
    state: u64,
}

impl Moments {
    fn new() -> Result<Self, Failed> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos();
        let seed = u64::from(now) | 1;
        Ok(Self { seed, state: seed })
    }

    /// From nothing to a little longer than `whole`.
    fn within(&mut self, whole: Duration) -> Duration {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let share = u32::try_from(self.state % 1200).unwrap_or(0);
        whole * share / 1000
    }
}

/// How long the call takes when nothing comes between.
fn measure(mut call: impl FnMut() -> TestResult) -> Result<Duration, Failed> {
    let mut least = Duration::from_secs(60);
    for _ in 0..3 {
        let begin = Instant::now();
        call()?;
        least = least.min(begin.elapsed());
    }
    Ok(least)
}

/// Makes the call with these arguments and kills it, and only it, after this time.
fn kill_after(runtime: &Runtime, arguments: &[&str], time: Duration) -> TestResult {
    let call = runtime.command(arguments).spawn()?;
    sleep(time);
    // It may have ended before.
    call.signal(Signal::KILL).ok();
    call.wait()?;
    Ok(())
}

/// `delete --force` must succeed and leave nothing of this test.
fn must_clean_up(runtime: &Runtime, id: &str, seed: u64, time: Duration) -> TestResult {
    let outcome = runtime.delete_force(id)?;
    ensure!(outcome.code() == 0, "after {time:?} (seed {seed}): {outcome}");
    nothing_left(runtime).map_err(|failed| {
        format!(
            "after {time:?} (seed {seed}): {}: {:?}",
            failed.message().unwrap_or(""),
            leaks::find(runtime.marker())
        )
        .into()
    })
}

fn bundle_of(runtime: &Runtime) -> Result<(Bundle, String), Failed> {
    let bundle = runtime.bundle_with(&["sleep", "1000"], |config| {
        config["linux"]["cgroupsPath"] = json!(format!("/{}", runtime.marker()));
    })?;
    let path = bundle.path().to_string_lossy().into_owned();
    Ok((bundle, path))
}

fn two_hundred_runs_leave_nothing(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["true"])?;
    for _ in 0..200 {
        runtime.run(&bundle)?.ok()?;
    }
    nothing_left(runtime)
}

fn two_hundred_lives_leave_nothing(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["sleep", "1000"])?;
    for _ in 0..200 {
        let id = runtime.new_id();
        runtime.create(&bundle, &id)?.ok()?;
        runtime.start(&id)?.ok()?;
        runtime.delete_force(&id)?.ok()?;
    }
    nothing_left(runtime)
}

fn create_killed_at_random_moments_is_cleaned_up(runtime: &Runtime) -> TestResult {
    let (bundle, path) = bundle_of(runtime)?;
    let mut moments = Moments::new()?;
    let whole = measure(|| {
        let id = runtime.new_id();
        runtime.create(&bundle, &id)?.ok()?;
        runtime.delete_force(&id)?.ok()?;
        Ok(())
    })?;
    for _ in 0..ROUNDS {
        let (id, time) = (runtime.new_id(), moments.within(whole));
        kill_after(runtime, &["create", "--bundle", &path, &id], time)?;
        must_clean_up(runtime, &id, moments.seed, time)?;
    }
    Ok(())
}

fn create_killed_at_random_moments_frees_the_id(runtime: &Runtime) -> TestResult {
    let (bundle, path) = bundle_of(runtime)?;
    let mut moments = Moments::new()?;
    let id = runtime.new_id();
    // The first may be killed before it has made the root, without which `list` is an error.
    fs::create_dir_all(runtime.root())?;
    for _ in 0..ROUNDS / 3 {
        let time = moments.within(Duration::from_millis(12));
        kill_after(runtime, &["create", "--bundle", &path, &id], time)?;
        // What it answers is one thing; that it answers is another.
        runtime.command(["state", &id]).output()?;
        runtime.command(["list"]).output()?.ok()?;
        runtime.delete_force(&id)?.ok()?;
        runtime.create(&bundle, &id)?.ok()?;
        ensure_eq!(runtime.status(&id)?, "created");
        must_clean_up(runtime, &id, moments.seed, time)?;
    }
    Ok(())
}

fn run_killed_at_random_moments_is_cleaned_up(runtime: &Runtime) -> TestResult {
    let (_bundle, path) = bundle_of(runtime)?;
    let mut moments = Moments::new()?;
    for _ in 0..ROUNDS {
        let (id, time) = (runtime.new_id(), moments.within(Duration::from_millis(20)));
        kill_after(runtime, &["run", "--bundle", &path, &id], time)?;
        must_clean_up(runtime, &id, moments.seed, time)?;
    }
    Ok(())
}

fn start_killed_at_random_moments_is_cleaned_up(runtime: &Runtime) -> TestResult {
    let (bundle, _) = bundle_of(runtime)?;
    let mut moments = Moments::new()?;
    for _ in 0..ROUNDS / 2 {
        let (id, time) = (runtime.new_id(), moments.within(Duration::from_millis(6)));
        runtime.create(&bundle, &id)?.ok()?;
        kill_after(runtime, &["start", &id], time)?;
        let status = runtime.status(&id)?;
        ensure!(matches!(status.as_str(), "created" | "running"), "after {time:?} it is {status}");
        // It may be started by another call, unless it was.
        let again = runtime.start(&id)?;
        ensure!(
            again.code() == 0 || runtime.status(&id)? == "running",
            "neither started nor startable: {again}"
        );
        must_clean_up(runtime, &id, moments.seed, time)?;
    }
    Ok(())
}

fn delete_killed_at_random_moments_can_be_repeated(runtime: &Runtime) -> TestResult {
    let (bundle, _) = bundle_of(runtime)?;
    let mut moments = Moments::new()?;
    for _ in 0..ROUNDS / 2 {
        let (id, time) = (runtime.new_id(), moments.within(Duration::from_millis(12)));
        runtime.create(&bundle, &id)?.ok()?;
        runtime.start(&id)?.ok()?;
        kill_after(runtime, &["delete", "--force", &id], time)?;
        must_clean_up(runtime, &id, moments.seed, time)?;
    }
    Ok(())
}

fn create_killed_in_a_hook_is_cleaned_up(runtime: &Runtime) -> TestResult {
    for kind in ["createRuntime", "createContainer"] {
        let id = runtime.new_id();
        let reached = runtime.directory().join(kind);
        let (mut bundle, path) = bundle_of(runtime)?;
        bundle.edit(|config| {
            // The kernel kills the hook with the runtime, but not what it has started.
            let script = format!("sleep 888 & touch {}; sleep 887; true", reached.display());
            add(
                config,
                &format!("/hooks/{kind}"),
                json!({ "path": "/bin/sh", "args": ["sh", "-c", script] }),
            );
        })?;
        let create = runtime.command(["create", "--bundle", &path, &id]).spawn()?;
        runtime.wait_until("the hook", || Ok(reached.exists()))?;
        create.signal(Signal::KILL)?;
        create.wait()?;
        must_clean_up(runtime, &id, 0, Duration::ZERO)?;
    }
    Ok(())
}

/// A session whose leader has ended, and the one process in it.
struct Left {
    leader: isize,
    pid: Pid,
}

impl Left {
    fn begin(runtime: &Runtime) -> Result<Self, Failed> {
        let script = "sleep 886 <&- >/dev/null 2>&1 & echo $$ $!";
        let setsid = runtime.command([""]).replaced_by(["setsid", "--wait", "sh", "-c", script]);
        let said = setsid.output()?.ok()?.stdout;
        let (leader, pid) = said.trim().split_once(' ').ok_or("no pids")?;
        let pid = Pid::from_raw(pid.parse()?).ok_or("no pid")?;
        Ok(Self { leader: leader.parse()?, pid })
    }

    fn is_alive(&self) -> bool {
        fs::read_to_string(format!("/proc/{}/stat", self.pid.as_raw_pid()))
            .is_ok_and(|stat| !stat.contains(") Z "))
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        rustix::process::kill_process(self.pid, Signal::KILL).ok();
    }
}

/// What a hook has left is killed by its number, unless somebody else has that: of another boot, older than the hook, or in a record
/// of the pid alone, which older releases wrote.
fn number_of_a_hook_that_is_somebody_elses_by_now_spares_them(runtime: &Runtime) -> TestResult {
    let older = Left::begin(runtime)?;
    // The record that is there while a hook runs.
    let sample = runtime.directory().join("sample");
    let created = |id: &str| -> TestResult {
        let (mut bundle, _) = bundle_of(runtime)?;
        let record = runtime.root().join(id).join("createRuntime.hook");
        bundle.edit(|config| {
            let script = format!("cp {} {}", record.display(), sample.display());
            let shell = |script: &str| json!({ "path": "/bin/sh", "args": ["sh", "-c", script] });
            add(config, "/hooks/createRuntime", shell(&script));
            add(config, "/hooks/poststop", shell("true"));
        })?;
        runtime.create(&bundle, id)?.ok()?;
        Ok(())
    };
    // After `older`, by the clock of start times, which has 100 ticks in a second.
    sleep(Duration::from_millis(50));
    for (form, is_older, is_spared) in [
        ("pid", true, true),
        ("pid", false, true),
        ("whole", true, true),
        ("boot", false, true),
        ("whole", false, false),
    ] {
        let id = runtime.new_id();
        created(&id)?;
        let younger = Left::begin(runtime)?;
        let left = if is_older { &older } else { &younger };
        let mut record = fs::read(&sample)?;
        let length = record.len().checked_sub(size_of::<isize>()).ok_or("no record")?;
        record.truncate(length);
        match form {
            "pid" => record.clear(),
            "boot" => record.rotate_left(1),
            _ => {}
        }
        record.extend(left.leader.to_ne_bytes());
        fs::write(runtime.root().join(&id).join("poststop.hook"), record)?;
        runtime.delete_force(&id)?.ok()?;
        ensure_eq!((form, is_older, left.is_alive()), (form, is_older, is_spared));
    }
    Ok(())
}

fn init_killed_before_start_is_cleaned_up(runtime: &Runtime) -> TestResult {
    let (id, bundle) = (runtime.new_id(), runtime.bundle(&["true"])?);
    runtime.create(&bundle, &id)?.ok()?;
    let pid = Pid::from_raw(runtime.pid(&id)?).ok_or("no pid")?;
    rustix::process::kill_process(pid, Signal::KILL)?;
    runtime.wait_for_status(&id, "stopped")?;
    ensure_eq!(runtime.state(&id)?["pid"], 0);
    runtime.start(&id)?.fails()?;
    runtime.delete(&id)?.ok()?;
    nothing_left(runtime)
}

fn process_of_a_killed_foreground_run_is_cleaned_up(runtime: &Runtime) -> TestResult {
    let (id, bundle) = (runtime.new_id(), runtime.bundle(&["sh", "-c", "echo ready; sleep 1000"])?);
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(&id).spawn()?;
    // runc copies the output: it comes only while it lives.
    runtime.wait_until("the process", || Ok(run.stdout() == "ready\n"))?;
    run.signal(Signal::KILL)?;
    run.wait()?;
    ensure_eq!(runtime.status(&id)?, "running");
    runtime.delete_force(&id)?.ok()?;
    nothing_left(runtime)
}

/// Cuts every file of the container's state in half.
fn damage(runtime: &Runtime, id: &str) -> TestResult {
    for entry in fs::read_dir(runtime.root().join(id))?.flatten() {
        let metadata = entry.metadata()?;
        if metadata.is_file() {
            fs::OpenOptions::new().write(true).open(entry.path())?.set_len(metadata.len() / 2)?;
        }
    }
    Ok(())
}

fn state_that_was_cut_off_does_not_hide_the_others(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["sleep", "1000"])?;
    let (whole, damaged) = (runtime.new_id(), runtime.new_id());
    runtime.create(&bundle, &whole)?.ok()?;
    fs::create_dir(runtime.root().join(&damaged))?;
    fs::write(runtime.root().join(&damaged).join("state.json"), "{\"id\":")?;
    let list = runtime.command(["list", "--quiet"]).output()?;
    ensure!(list.stdout.contains(&whole), "not listed: {list}");
    // Without an intent nobody knows what else there is of it: an error, for a human to decide.
    runtime.delete_force(&damaged)?.fails()?;
    fs::remove_dir_all(runtime.root().join(&damaged))?;
    Ok(())
}

fn state_that_was_cut_off_can_be_deleted(runtime: &Runtime) -> TestResult {
    let (bundle, _) = bundle_of(runtime)?;
    let id = runtime.new_id();
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    // state.json alone: what the intent says is enough.
    let state = runtime.root().join(&id).join("state.json");
    let length = fs::metadata(&state)?.len();
    fs::OpenOptions::new().write(true).open(&state)?.set_len(length / 2)?;
    must_clean_up(runtime, &id, 0, Duration::ZERO)?;
    // All of them: an error that says so, or success, but never a success that leaves the process.
    let id = runtime.new_id();
    runtime.create(&bundle, &id)?.ok()?;
    damage(runtime, &id)?;
    let outcome = runtime.delete_force(&id)?;
    let left = leaks::find(runtime.marker());
    ensure!(outcome.code() != 0 || left.is_empty(), "{outcome}left: {left:?}");
    if outcome.code() != 0 {
        outcome.fails()?;
        // Nobody knows its cgroup any more but the test.
        fs::remove_dir_all(runtime.root().join(&id))?;
        leaks::settle(runtime.marker());
    }
    Ok(())
}

fn create_fails_cleanly_where_state_cannot_be_written(runtime: &Runtime) -> TestResult {
    let (id, bundle) = (runtime.new_id(), runtime.bundle(&["true"])?);
    let file = runtime.directory().join("file");
    fs::write(&file, "")?;
    let create = runtime.command(["create", "--bundle"]).arg(bundle.path()).arg(&id);
    create.global("--root").global(file.join("root")).output()?.fails()?;
    nothing_left(runtime)
}

/// Every place at which it can run out of them: what it cannot undo, `delete --force` finds.
fn run_with_few_descriptors_fails_cleanly(runtime: &Runtime) -> TestResult {
    let (bundle, _) = bundle_of(runtime)?;
    let mut ran = 0;
    // Ways around calls that a filter hides take more.
    for most in (4..=48).chain([128]) {
        let id = runtime.new_id();
        let script = format!("ulimit -S -n {most} && exec \"$@\"");
        let run = runtime.command(["run", "--detach", "--bundle"]).arg(bundle.path()).arg(&id);
        let run = run.wrapped_by(["sh", "-c", &script, "sh"]).output()?;
        ran += u32::from(run.code() == 0);
        if run.code() == 0 || runtime.containers().contains(&id) {
            let is_told = run.code() == 0 || run.stderr.contains("the state in ");
            ensure!(
                is_told,
                "with {most} descriptors a state is left that nobody was told of: {run}"
            );
            let delete = runtime.delete_force(&id)?;
            ensure!(delete.code() == 0, "with {most} descriptors: {run}then {delete}");
        }
        nothing_left(runtime).map_err(|failed| {
            format!("with {most} descriptors: {}: {run}", failed.message().unwrap_or(""))
        })?;
    }
    ensure!((1..46).contains(&ran), "{ran} of 46 ran");
    Ok(())
}

fn create_that_cannot_remove_its_cgroup_keeps_the_state(runtime: &Runtime) -> TestResult {
    let (id, log) = (runtime.new_id(), runtime.directory().join("log"));
    let (mut bundle, path) = bundle_of(runtime)?;
    bundle.edit(|config| {
        config["process"]["args"] = json!(["/no/such/program"]);
        let script = format!("echo poststop >>{}", log.display());
        let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script] });
        add(config, "/hooks/poststop", hook);
    })?;
    // The first two are those of the cgroup.
    let strace = ["strace", "-o", "/dev/null", "-e", "inject=unlinkat:error=EIO:when=1..2"];
    let create = runtime.command(["create", "--bundle", &path, &id]).wrapped_by(strace);
    let create = create.output()?.fails_with("/no/such/program")?;
    ensure!(create.stderr.contains("the state in "), "not told: {create}");
    ensure!(!log.exists(), "the poststop hook has run, and will again");
    runtime.delete_force(&id)?.ok()?;
    ensure_eq!(fs::read_to_string(&log)?, "poststop\n");
    nothing_left(runtime)
}
