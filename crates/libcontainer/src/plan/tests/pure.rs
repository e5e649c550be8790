//! The planner has no effects: it runs where hardly any system call is allowed.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use corten_plan::{Failure, Stage};

use super::{facts, request};
use crate::plan::{describe, plan, print};
use crate::spec::Bundle;
use crate::sys::confine::confine_thread;

/// Memory, output, and what a thread needs to end.
const ALLOWED: [libc::c_long; 14] = [
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mprotect,
    libc::SYS_futex,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

const BREAK_OUT: &str = "CORTEN_TEST_BREAK_OUT";

/// Runs [`confined`] in a process of its own, which the filter may kill.
fn run_confined(break_out: bool) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    // glibc reads /proc/sys/vm/overcommit_memory when it trims any arena but the main one.
    command.env("MALLOC_ARENA_MAX", "1");
    command.args(["--exact", "plan::tests::pure::confined", "--ignored", "--test-threads=1"]);
    if break_out {
        command.env(BREAK_OUT, "1");
    }
    command.output().unwrap().status
}

#[test]
fn plan_of_every_configuration_makes_no_system_call() {
    let status = run_confined(false);
    assert!(status.success(), "{status}");
}

/// The test above can fail.
#[test]
fn plan_that_looks_at_a_file_is_killed() {
    assert_eq!(run_confined(true).signal(), Some(libc::SIGSYS));
}

/// Not a test by itself.
#[test]
#[ignore = "run in a process of its own by the tests above"]
fn confined() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/configs");
    let mut bundles = Vec::new();
    for entry in std::fs::read_dir(configs).unwrap() {
        let path = entry.unwrap().path();
        let directory = tempfile::tempdir().unwrap();
        if path.extension().is_some_and(|extension| extension == "json") {
            std::fs::copy(path, directory.path().join("config.json")).unwrap();
            bundles.extend(Bundle::load(directory.path()));
        }
    }
    let (facts, request) = (facts(), request());
    let break_out = std::env::var_os(BREAK_OUT).is_some();
    assert!(bundles.len() >= 10);

    confine_thread(&ALLOWED).unwrap();
    for bundle in &bundles {
        let plan = plan(bundle, &facts, &request).unwrap();
        assert!(!print::text(&plan).is_empty());
        assert!(!print::json(&plan).is_empty());
        for op in 0..=u16::try_from(plan.init.origins.len()).unwrap() {
            let failure = Failure { op, stage: Stage::Op, item: 0, errno: 22, detail: b"x" };
            assert!(!describe::init_error(&plan.init, &failure).message.is_empty());
        }
    }
    if break_out {
        assert!(std::fs::metadata("/").is_ok());
    }
}
