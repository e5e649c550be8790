//! Hooks of the container's namespaces.

use std::time::{Duration, Instant};

use corten_plan::wire::List;
use corten_plan::{Op, Point, Stage};

use crate::bundle::{begin, pivot_and_execute};
use crate::container::{Container, Outcome, list};

fn run(path: &str, args: &[&str], timeout_ms: u64) -> Outcome {
    let mut container = Container::new();
    container.state = Some(b"{\"status\":\"creating\"}");
    begin(&mut container);
    container.push(&Op::Sync { point: Point::Mounted as u8 });
    let (args, env) = (list(args), list(&["NAME=value"]));
    let path = std::ffi::CString::new(path).unwrap();
    let hook = Op::Hook {
        path: &path,
        args: List::new(&args).unwrap(),
        env: List::new(&env).unwrap(),
        cwd: c"/usr",
        timeout_ms,
        home: false,
    };
    // Twice: each reads the state from its beginning.
    container.push(&hook);
    container.push(&hook);
    pivot_and_execute(&mut container, "echo done");
    container.run()
}

fn shell(script: &str, timeout_ms: u64) -> Outcome {
    run("/bin/sh", &["sh", "-c", script], timeout_ms)
}

#[test]
fn hook_reads_the_state_and_has_its_environment_and_nothing_of_ours() {
    let script = "test \"$(cat)\" = '{\"status\":\"creating\"}' || exit 2; test \"$NAME$HOME\" = value || exit 3; \
                  test \"$PWD\" = /usr || exit 4; set -- /proc/self/fd/*; test $# -le 4 || exit 5; \
                  grep -q 'SigBlk:.0000000000000000' /proc/self/status || exit 6; \
                  grep -q 'SigIgn:.0000000000000000' /proc/self/status || { grep Sig /proc/self/status; exit 7; }; \
                  test \"$(cut -d' ' -f6 /proc/$$/stat)\" != 1 || exit 8";
    let outcome = shell(script, 0);
    assert_eq!((outcome.output.as_str(), outcome.status), ("done\n", 0), "{outcome:?}");
}

#[test]
fn hook_that_fails_gives_its_status_and_its_last_words() {
    let outcome = shell("echo first; echo last >&2; exit 3", 5000);
    let failure = outcome.failure();
    assert_eq!((failure.stage, failure.item, failure.errno), (Stage::HookStatus, 3, 0));
    assert_eq!(failure.detail, "first\nlast\n");
    let outcome = shell("kill -9 $$", 5000);
    assert_eq!((outcome.failure().stage, outcome.failure().item), (Stage::HookStatus, 137));
}

#[test]
fn hook_that_writes_without_end_keeps_the_last_of_it() {
    let outcome = shell("head -c 1000000 /dev/zero | tr '\\0' x; echo end; exit 1", 20000);
    let failure = outcome.failure();
    assert!(failure.detail.len() > 200 && failure.detail.ends_with("xxend\n"), "{failure:?}");
}

#[test]
fn hook_that_runs_too_long_is_killed_with_its_children() {
    let begin = Instant::now();
    let outcome = shell("echo waiting; sleep 987 & sleep 986; true", 300);
    let failure = outcome.failure();
    assert_eq!((failure.stage, failure.detail.as_str()), (Stage::HookTimeout, "waiting\n"));
    assert!(begin.elapsed() < Duration::from_secs(60));
    assert!(!is_running("sleep\x00987") && !is_running("sleep\x00986"));
}

#[test]
fn hook_that_leaves_a_child_with_its_output_is_not_waited_for() {
    let begin = Instant::now();
    let outcome = shell("sleep 30 & exit 0", 0);
    assert_eq!(outcome.output, "done\n", "{outcome:?}");
    assert!(begin.elapsed() < Duration::from_secs(25));
}

fn is_running(command: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(command))
}

#[test]
fn hook_that_cannot_be_started_gives_the_reason() {
    let outcome = run("/nonesuch", &["x"], 0);
    assert_eq!((outcome.failure().stage, outcome.failure().errno), (Stage::HookStart, 2));
    let outcome = run("/etc/passwd", &["x"], 0);
    assert_eq!((outcome.failure().stage, outcome.failure().errno), (Stage::HookStart, 13));
}
