//! How the kernel treats the process: oom score, scheduler, I/O priority, personality, session keyring.
//!
//! Runs in: any process.

#![allow(unsafe_code, reason = "sched_getattr(2) has no wrapper")]

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, Root};
use crate::inside::{output, refusal, refuses, sh};
use crate::runtime::Runtime;

const NOT_YET: &str =
    "the version here has not got it; runc 1.2 and later, crun 1.9 and later have";

table! {
    oom_score_is_as_given: [Root],
    oom_score_that_is_absent_stays: [Root],
    oom_score_out_of_range_is_refused: [Root, NotOn("crun", "leaves a process behind")],
    scheduler_batch_and_idle_are_set_with_their_nice: [Root, NotOn("runc", NOT_YET), NotOn("crun", NOT_YET)],
    scheduler_of_every_policy_is_in_force: [Root, NotOn("runc", NOT_YET), NotOn("crun", NOT_YET)],
    scheduler_deadline_has_its_times: [Root, NotOn("runc", NOT_YET), NotOn("crun", NOT_YET)],
    scheduler_other_sets_nice: [Root, NotOn("runc", NOT_YET), NotOn("crun", NOT_YET)],
    scheduler_with_a_flag_resets_on_fork: [Root, NotOn("runc", NOT_YET), NotOn("crun", NOT_YET)],
    scheduler_that_contradicts_itself_is_refused: [Root, Corten("the rules of runc 1.2, with the pointer")],
    io_priority_is_as_given: [Root, NotOn("runc", NOT_YET), NotOn("crun", NOT_YET)],
    io_priority_out_of_range_is_refused: [Root, Corten("the pointer")],
    personality_32_bit_is_seen_by_uname: [Root, NotOn("runc", NOT_YET)],
    personality_unknown_is_refused: [Root, NotOn("runc", NOT_YET)],
    personality_flags_are_a_warning: [Root, Corten("runc ignores them, crun refuses them")],
    session_keyring_is_new: [Root, NotOn("crun", "names it after the container without _ses.")],
    no_new_keyring_keeps_that_of_the_caller: [Root],
    cpu_affinity_of_the_caller_is_not_inherited: [Root, NotOn("runc", NOT_YET), NotOn("crun", NOT_YET)],
}

fn oom_score_is_as_given(runtime: &Runtime) -> TestResult {
    // Lower than the caller's needs CAP_SYS_RESOURCE.
    for score in [0, 1, 500, 1000] {
        let seen = output(runtime, &["cat", "/proc/self/oom_score_adj"], |config| {
            config["process"]["oomScoreAdj"] = json!(score);
        })?;
        ensure_eq!(seen, format!("{score}\n"));
    }
    Ok(())
}

fn oom_score_that_is_absent_stays(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["cat", "/proc/self/oom_score_adj"])?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    // config.md: "the runtime MUST NOT change the value".
    let script = "echo 123 >/proc/self/oom_score_adj; exec \"$@\"";
    ensure_eq!(run.wrapped_by(["sh", "-c", script, "sh"]).output()?.ok()?.stdout, "123\n");
    Ok(())
}

fn oom_score_out_of_range_is_refused(runtime: &Runtime) -> TestResult {
    for score in [1001, -1001] {
        refusal(runtime, |config| config["process"]["oomScoreAdj"] = json!(score))?;
    }
    Ok(())
}

/// Nice value and policy of the process, from the 19th and 41st field of its stat (proc(5)).
fn scheduling(runtime: &Runtime, scheduler: &Value) -> Result<(String, String), Failed> {
    let stat = output(runtime, &["cat", "/proc/self/stat"], |config| {
        config["process"]["scheduler"] = scheduler.clone();
    })?;
    let mut words = stat.split_whitespace().map(str::to_owned);
    let nice = words.nth(18).ok_or("no nice value")?;
    let policy = words.nth(21).ok_or("no policy")?;
    Ok((nice, policy))
}

fn scheduler_batch_and_idle_are_set_with_their_nice(runtime: &Runtime) -> TestResult {
    for (policy, nice, number) in [("SCHED_BATCH", 5, "3"), ("SCHED_BATCH", 0, "3")] {
        let seen = scheduling(runtime, &json!({ "policy": policy, "nice": nice }))?;
        ensure_eq!(seen, (nice.to_string(), number.to_owned()));
    }
    // sched_setattr(2): the nice value is for SCHED_OTHER and SCHED_BATCH.
    ensure_eq!(scheduling(runtime, &json!({ "policy": "SCHED_IDLE", "nice": 0 }))?.1, "5");
    Ok(())
}

/// What sched_getattr(2) says of the process of a created container.
fn attributes(runtime: &Runtime, scheduler: Value) -> Result<libc::sched_attr, Failed> {
    let bundle = runtime.bundle_with(&["true"], |config| {
        config["process"]["scheduler"] = scheduler;
    })?;
    let id = runtime.new_id();
    runtime.create(&bundle, &id)?.ok()?;
    let mut found = std::mem::MaybeUninit::<libc::sched_attr>::zeroed();
    let size = size_of::<libc::sched_attr>();
    let pid = runtime.pid(&id)?;
    // SAFETY: the kernel writes at most `size` bytes to `found`, which has as many.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, pid, found.as_mut_ptr(), size, 0) };
    ensure_eq!(got, 0);
    runtime.delete_force(&id)?.ok()?;
    // SAFETY: zeroed at first, and any bytes are valid in its integers.
    Ok(unsafe { found.assume_init() })
}

fn scheduler_of_every_policy_is_in_force(runtime: &Runtime) -> TestResult {
    for (policy, number, priority) in [
        ("SCHED_OTHER", libc::SCHED_OTHER, 0),
        ("SCHED_BATCH", libc::SCHED_BATCH, 0),
        ("SCHED_IDLE", libc::SCHED_IDLE, 0),
        ("SCHED_FIFO", libc::SCHED_FIFO, 1),
        ("SCHED_FIFO", libc::SCHED_FIFO, 99),
        ("SCHED_RR", libc::SCHED_RR, 7),
    ] {
        let found = attributes(runtime, json!({ "policy": policy, "priority": priority }))?;
        ensure_eq!(u32::try_from(number)?, found.sched_policy);
        ensure_eq!(priority, found.sched_priority);
    }
    // A word of the specification that Linux has never had: sched_setattr(2) answers EINVAL.
    refuses(runtime, &["/process/scheduler", "EINVAL"], |config| {
        config["process"]["scheduler"] = json!({ "policy": "SCHED_ISO" });
    })
}

fn scheduler_deadline_has_its_times(runtime: &Runtime) -> TestResult {
    let scheduler = json!({ "policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 20_000_000,
        "period": 40_000_000, "flags": ["SCHED_FLAG_RECLAIM"] });
    let found = attributes(runtime, scheduler)?;
    let times = (found.sched_runtime, found.sched_deadline, found.sched_period);
    ensure_eq!(times, (1_000_000, 20_000_000, 40_000_000));
    ensure_eq!(found.sched_policy, u32::try_from(libc::SCHED_DEADLINE)?);
    ensure_eq!(found.sched_flags, 2);
    Ok(())
}

fn scheduler_other_sets_nice(runtime: &Runtime) -> TestResult {
    let seen = scheduling(runtime, &json!({ "policy": "SCHED_OTHER", "nice": 11 }))?;
    ensure_eq!(seen, ("11".to_owned(), "0".to_owned()));
    Ok(())
}

fn scheduler_with_a_flag_resets_on_fork(runtime: &Runtime) -> TestResult {
    // The shell's child is a fork, and only the shell has the policy.
    let seen = sh(
        runtime,
        "cut -d' ' -f41 /proc/$$/stat; cat /proc/self/stat | cut -d' ' -f41",
        |config| {
            let flags = ["SCHED_FLAG_RESET_ON_FORK"];
            config["process"]["scheduler"] =
                json!({ "policy": "SCHED_FIFO", "priority": 3, "flags": flags });
        },
    )?;
    ensure_eq!(seen, "1\n0\n");
    Ok(())
}

fn scheduler_that_contradicts_itself_is_refused(runtime: &Runtime) -> TestResult {
    for (scheduler, text) in [
        (json!({ "policy": "SCHED_OTHER", "priority": 3 }), "/process/scheduler/priority"),
        (json!({ "policy": "SCHED_FIFO" }), "/process/scheduler/priority"),
        (json!({ "policy": "SCHED_OTHER", "nice": 20 }), "/process/scheduler/nice"),
        (json!({ "policy": "SCHED_BATCH", "runtime": 1 }), "/process/scheduler/runtime"),
        (json!({ "policy": "SCHED_NO_SUCH" }), "/process/scheduler/policy"),
        (
            json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NO_SUCH"] }),
            "/process/scheduler/flags/0",
        ),
    ] {
        refuses(runtime, &[text], |config| config["process"]["scheduler"] = scheduler)?;
    }
    Ok(())
}

fn io_priority_is_as_given(runtime: &Runtime) -> TestResult {
    for (class, priority, seen) in [
        ("IOPRIO_CLASS_BE", 6, "best-effort: prio 6\n"),
        ("IOPRIO_CLASS_RT", 2, "realtime: prio 2\n"),
        ("IOPRIO_CLASS_IDLE", 0, "idle\n"),
    ] {
        let priority = json!({ "class": class, "priority": priority });
        let found = sh(runtime, "busybox ionice -p $$", |config| {
            config["process"]["ioPriority"] = priority;
        })?;
        ensure!(
            found == seen || (class.ends_with("IDLE") && found.starts_with("idle")),
            "{class} gives {found}"
        );
    }
    Ok(())
}

fn io_priority_out_of_range_is_refused(runtime: &Runtime) -> TestResult {
    for (priority, pointer) in [
        (json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }), "/process/ioPriority/priority"),
        (json!({ "class": "IOPRIO_CLASS_RT", "priority": -1 }), "/process/ioPriority/priority"),
        (json!({ "class": "IOPRIO_CLASS_NONE" }), "/process/ioPriority/class"),
        (json!({ "priority": 1 }), "/process/ioPriority"),
    ] {
        refuses(runtime, &[pointer], |config| config["process"]["ioPriority"] = priority)?;
    }
    Ok(())
}

fn personality_32_bit_is_seen_by_uname(runtime: &Runtime) -> TestResult {
    let machine = |domain: Value| {
        output(runtime, &["uname", "-m"], |config| config["linux"]["personality"] = domain)
    };
    let usual = output(runtime, &["uname", "-m"], |_| {})?;
    ensure_eq!(machine(json!({ "domain": "LINUX" }))?, usual);
    let compatible = machine(json!({ "domain": "LINUX32" }))?;
    ensure!(compatible != usual, "still {compatible}");
    Ok(())
}

fn personality_unknown_is_refused(runtime: &Runtime) -> TestResult {
    refusal(runtime, |config| config["linux"]["personality"] = json!({ "domain": "LINUX64" }))?;
    Ok(())
}

fn personality_flags_are_a_warning(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["true"], |config| {
        config["linux"]["personality"] =
            json!({ "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] });
    })?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    let run = run.global("--log-level").global("warning").output()?.ok()?;
    ensure!(run.stderr.contains("/linux/personality/flags: are ignored"), "{run}");
    Ok(())
}

/// The keyrings that a process of a container run with these flags has and sees.
fn keyrings(runtime: &Runtime, flags: &[&str], id: &str) -> Result<String, Failed> {
    let bundle = runtime.bundle_with(&["cat", "/proc/keys"], |config| {
        config["linux"]["maskedPaths"] = json!([]);
    })?;
    let run = runtime.command(["run"].iter().chain(flags)).arg("--bundle").arg(bundle.path());
    Ok(run.arg(id).output()?.ok()?.stdout)
}

fn session_keyring_is_new(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let seen = keyrings(runtime, &[], &id)?;
    ensure!(seen.contains(&format!("_ses.{id}")), "no keyring of its own: {seen}");
    Ok(())
}

fn no_new_keyring_keeps_that_of_the_caller(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let seen = keyrings(runtime, &["--no-new-keyring"], &id)?;
    ensure!(!seen.contains(&id), "a keyring of its own: {seen}");
    Ok(())
}

fn cpu_affinity_of_the_caller_is_not_inherited(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["grep", "Cpus_allowed_list", "/proc/self/status"])?;
    let usual = runtime.run(&bundle)?.ok()?.stdout;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    let narrow = run.wrapped_by(["taskset", "--cpu-list", "0"]).output()?.ok()?.stdout;
    ensure_eq!(narrow, usual);
    Ok(())
}
