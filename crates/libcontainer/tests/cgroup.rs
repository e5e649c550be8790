//! Cgroups on this machine's kernel, as root: in whatever layout the host has, and once more where cgroup2 alone is
//! mounted at /sys/fs/cgroup, in a mount namespace of its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use libcontainer::cgroup::Cgroup;
use libcontainer::host::{CgroupFacts, CgroupLayout, Facts};
use libcontainer::plan::CgroupPlan;
use libcontainer::{Error, Signal};

/// `struct bpf_insn` on a little-endian machine.
const fn insn(code: u64, dst: u64, src: u64, off: u64, imm: u64) -> u64 {
    code | dst << 8 | src << 12 | off << 16 | imm << 32
}

/// return 0
const DENY_ALL: [u64; 2] = [insn(0xb7, 0, 0, 0, 0), insn(0x95, 0, 0, 0, 0)];
/// return 1
const ALLOW_ALL: [u64; 2] = [insn(0xb7, 0, 0, 0, 1), insn(0x95, 0, 0, 0, 0)];
/// return ctx->minor == 3: of /dev/null (1:3) and /dev/zero (1:5) only the first
const ALLOW_NULL: [u64; 5] = [
    insn(0x61, 2, 1, 8, 0),
    insn(0xb7, 0, 0, 0, 0),
    insn(0x55, 2, 0, 1, 3),
    insn(0xb7, 0, 0, 0, 1),
    insn(0x95, 0, 0, 0, 0),
];
/// return r3, which was never set: the verifier refuses it
const UNSET_REGISTER: [u64; 2] = [insn(0xbf, 0, 3, 0, 0), insn(0x95, 0, 0, 0, 0)];

const SOON: Duration = Duration::from_secs(10);

/// A directory of the test's own below which it makes its cgroups; goes with everything inside.
struct Scratch {
    facts: CgroupFacts,
    name: String,
}

impl Scratch {
    fn new(name: &str) -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests need root");
        let facts = Facts::read(&libcontainer::spec::Spec::default()).unwrap().cgroup;
        assert_ne!(facts.layout, CgroupLayout::None, "these tests need cgroup v2");
        Self { facts, name: format!("corten-test-{}-{name}", std::process::id()) }
    }

    fn plan(&self, below: &str, devices: Option<&[u64]>) -> CgroupPlan {
        CgroupPlan {
            path: Path::new(&self.name).join(below),
            devices: devices.map(<[u64]>::to_vec),
            ..Default::default()
        }
    }

    fn create(&self, below: &str) -> Result<Cgroup, Error> {
        Cgroup::create(&self.facts, &self.plan(below, None))
    }

    fn create_with(&self, below: &str, devices: &[u64]) -> Result<Cgroup, Error> {
        Cgroup::create(&self.facts, &self.plan(below, Some(devices)))
    }

    fn directory(&self, below: &str) -> PathBuf {
        self.facts.mount_point.join(&self.name).join(below)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.directory(file), text).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(cgroup) = Cgroup::open(&self.facts.mount_point, Path::new(&self.name)).unwrap()
        {
            cgroup.thaw().unwrap();
            cgroup.kill(SOON).unwrap();
            cgroup.remove(SOON).unwrap();
        }
    }
}

/// A shell in a cgroup; killed and reaped when dropped.
struct Process(Child);

impl Process {
    /// Returns when the shell is in the cgroup and has done `first`; then it does `script`.
    fn start(directory: &Path, first: &str, script: &str) -> Self {
        let enter = format!("echo 0 > {}/cgroup.procs && {first}", directory.display());
        let mut child = Command::new("sh")
            .args(["-c", &format!("{enter} && echo ready && exec >&2 && {script}")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    fn sleeping(directory: &Path) -> Self {
        let process = Self::start(directory, ":", "exec sleep 1000");
        let name = format!("/proc/{}/comm", process.id());
        eventually("exec of sleep", || fs::read_to_string(&name).unwrap() == "sleep\n");
        process
    }

    fn id(&self) -> i32 {
        self.0.id().try_into().unwrap()
    }

    fn end_signal(mut self) -> Option<i32> {
        self.0.wait().unwrap().signal()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Error and causes, as a user reads them.
fn text(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < until, "{what} did not happen");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn pure_v2_host_passes_the_same_tests() {
    if std::env::var_os("CORTEN_TEST_PURE_V2").is_some() {
        assert_eq!(
            Facts::read(&libcontainer::spec::Spec::default()).unwrap().cgroup.layout,
            CgroupLayout::Unified
        );
        return;
    }
    let script =
        "umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec \"$0\"";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("CORTEN_TEST_PURE_V2", "1")
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(report.contains("device_program_decides_which_device_is_opened ... ok"), "{report}");
}

#[test]
fn create_makes_missing_parents_and_unmake_removes_them() {
    let scratch = Scratch::new("parents");
    let cgroup = scratch.create("a/b/c").unwrap();
    assert!(cgroup.is_ours());
    assert!(scratch.directory("a/b/c/cgroup.procs").exists());
    cgroup.unmake();
    assert!(!scratch.directory("").exists());
}

#[test]
fn unmake_leaves_what_was_there_before() {
    let scratch = Scratch::new("unmake");
    let first = scratch.create("a/first").unwrap();
    let second = scratch.create("a/b/second").unwrap();
    second.unmake();
    assert!(!scratch.directory("a/b").exists());
    assert!(scratch.directory("a/first").exists());
    let again = scratch.create("a/first").unwrap();
    assert!(!again.is_ours());
    again.unmake();
    assert!(scratch.directory("a/first").exists());
    first.unmake();
    assert!(!scratch.directory("").exists());
}

#[test]
fn create_in_one_with_a_process_is_refused_with_the_text_of_runc() {
    let scratch = Scratch::new("busy");
    let cgroup = scratch.create("a").unwrap();
    let _process = Process::sleeping(&scratch.directory("a"));
    let message = text(&scratch.create("a").unwrap_err());
    assert!(message.ends_with("container's cgroup is not empty: 1 process(es) found"), "{message}");
    assert!(scratch.directory("a").exists());
    assert!(cgroup.is_populated().unwrap());
}

#[test]
fn create_in_or_below_a_frozen_one_is_refused_with_the_text_of_runc() {
    let scratch = Scratch::new("frozen");
    scratch.create("a").unwrap().freeze(SOON).unwrap();
    for below in ["a", "a/b", "a/b/c"] {
        let message = text(&scratch.create(below).unwrap_err());
        assert!(message.ends_with("container's cgroup unexpectedly frozen"), "{message}");
        assert!(!scratch.directory("a/b").exists());
    }
}

#[test]
fn create_with_a_program_that_the_verifier_refuses_says_why_and_leaves_nothing() {
    let scratch = Scratch::new("verifier");
    let message = text(&scratch.create_with("a/b", &UNSET_REGISTER).unwrap_err());
    assert!(message.contains("load the device program"), "{message}");
    assert!(message.contains("R3 !read_ok"), "{message}");
    assert!(!scratch.directory("").exists());
}

#[test]
fn create_outside_the_hierarchy_is_refused() {
    let scratch = Scratch::new("outside");
    for path in ["a/../../../tmp/corten-escape", "/a", ""] {
        let plan = CgroupPlan { path: path.into(), ..Default::default() };
        assert!(Cgroup::create(&scratch.facts, &plan).is_err(), "{path}");
    }
    assert!(!Path::new("/tmp/corten-escape").exists());
}

#[test]
fn create_and_unmake_below_shared_parents_from_eight_threads_succeed() {
    let scratch = Scratch::new("threads");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let scratch = &scratch;
            scope.spawn(move || {
                for _ in 0..50 {
                    let cgroup = scratch.create(&format!("a/b/{thread}")).unwrap();
                    cgroup.unmake();
                }
            });
        }
    });
    assert!(!scratch.directory("a/b/0").exists());
}

#[test]
fn open_of_one_that_is_not_there_is_none() {
    let scratch = Scratch::new("none");
    for path in ["a", "a/b/c"] {
        let path = Path::new(&scratch.name).join(path);
        assert!(Cgroup::open(&scratch.facts.mount_point, &path).unwrap().is_none());
    }
}

#[test]
fn open_after_create_is_the_same_cgroup() {
    let scratch = Scratch::new("same");
    let made = scratch.create("a/b").unwrap();
    let found = Cgroup::open(&scratch.facts.mount_point, made.path()).unwrap().unwrap();
    assert_eq!(found.id().unwrap(), made.id().unwrap());
    assert!(!found.is_ours());
}

#[test]
fn removed_cgroup_is_no_error_to_any_question() {
    let scratch = Scratch::new("gone");
    let cgroup = scratch.create("a").unwrap();
    fs::remove_dir(scratch.directory("a")).unwrap();
    assert!(cgroup.processes().unwrap().is_empty());
    assert!(!cgroup.is_populated().unwrap());
    assert!(!cgroup.is_frozen().unwrap());
    cgroup.thaw().unwrap();
    cgroup.kill(SOON).unwrap();
    cgroup.remove(SOON).unwrap();
}

#[test]
fn processes_of_nested_cgroups_are_all_listed() {
    let scratch = Scratch::new("list");
    let cgroup = scratch.create("a").unwrap();
    fs::create_dir_all(scratch.directory("a/b/c")).unwrap();
    let processes: Vec<Process> =
        ["a", "a/b", "a/b/c"].map(|below| Process::sleeping(&scratch.directory(below))).into();
    let mut expected: Vec<i32> = processes.iter().map(Process::id).collect();
    expected.sort_unstable();
    assert_eq!(cgroup.processes().unwrap(), expected);
}

#[test]
fn kill_ends_stubborn_processes_in_nested_cgroups() {
    let scratch = Scratch::new("kill");
    let cgroup = scratch.create("a").unwrap();
    fs::create_dir_all(scratch.directory("a/b/c")).unwrap();
    let ignore = "trap '' TERM INT HUP QUIT";
    let wait = "while :; do sleep 1000 & wait; done";
    let processes =
        ["a", "a/b", "a/b/c"].map(|below| Process::start(&scratch.directory(below), ignore, wait));
    cgroup.kill(SOON).unwrap();
    assert!(cgroup.processes().unwrap().is_empty());
    assert!(!cgroup.is_populated().unwrap());
    for process in processes {
        assert_eq!(process.end_signal(), Some(9));
    }
    cgroup.remove(SOON).unwrap();
    assert!(!scratch.directory("a").exists());
}

#[test]
fn kill_ends_a_fork_bomb() {
    let scratch = Scratch::new("bomb");
    let cgroup = scratch.create("a").unwrap();
    let process =
        Process::start(&scratch.directory("a"), ":", "while :; do (sleep 0.01; :) & (:) & done");
    eventually("forking", || cgroup.processes().unwrap().len() > 3);
    cgroup.kill(SOON).unwrap();
    assert_eq!(process.end_signal(), Some(9));
    cgroup.remove(SOON).unwrap();
}

#[test]
fn kill_ends_frozen_processes() {
    let scratch = Scratch::new("killfrozen");
    let cgroup = scratch.create("a").unwrap();
    let process = Process::sleeping(&scratch.directory("a"));
    cgroup.freeze(SOON).unwrap();
    cgroup.kill(SOON).unwrap();
    assert_eq!(process.end_signal(), Some(9));
}

#[test]
fn kill_of_a_threaded_cgroup_ends_its_processes() {
    let scratch = Scratch::new("threaded");
    // Made by hand: with controllers enabled for the leaf, no process could be in the domain.
    scratch.create("domain").unwrap();
    let process = Process::sleeping(&scratch.directory("domain"));
    fs::create_dir(scratch.directory("domain/leaf")).unwrap();
    scratch.write("domain/leaf/cgroup.type", "threaded");
    let leaf = Path::new(&scratch.name).join("domain/leaf");
    let cgroup = Cgroup::open(&scratch.facts.mount_point, &leaf).unwrap().unwrap();
    scratch.write("domain/leaf/cgroup.procs", &process.id().to_string());
    assert!(fs::write(scratch.directory("domain/leaf/cgroup.kill"), "1").is_err(), "not threaded");
    assert_eq!(cgroup.processes().unwrap(), [process.id()]);
    cgroup.kill(SOON).unwrap();
    assert_eq!(process.end_signal(), Some(9));
    assert!(!cgroup.is_frozen().unwrap());
}

#[test]
fn kill_of_a_domain_ends_processes_of_threaded_cgroups_in_it() {
    let scratch = Scratch::new("domain");
    let cgroup = scratch.create("domain").unwrap();
    let process = Process::sleeping(&scratch.directory("domain"));
    fs::create_dir(scratch.directory("domain/leaf")).unwrap();
    scratch.write("domain/leaf/cgroup.type", "threaded");
    scratch.write("domain/leaf/cgroup.procs", &process.id().to_string());
    assert_eq!(cgroup.processes().unwrap(), [process.id()]);
    cgroup.kill(SOON).unwrap();
    assert_eq!(process.end_signal(), Some(9));
}

/// A process that the freezer of cgroup v1 holds is in state D and takes no SIGKILL.
#[test]
fn kill_of_a_process_in_state_d_times_out_and_names_it() {
    if !Path::new("/sys/fs/cgroup/freezer/cgroup.procs").exists() {
        eprintln!("skipped: needs a v1 freezer");
        return;
    }
    let scratch = Scratch::new("stuck");
    let cgroup = scratch.create("a").unwrap();
    let process = Process::sleeping(&scratch.directory("a"));
    let freezer = PathBuf::from(format!("/sys/fs/cgroup/freezer/{}", scratch.name));
    fs::create_dir(&freezer).unwrap();
    fs::write(freezer.join("cgroup.procs"), process.id().to_string()).unwrap();
    fs::write(freezer.join("freezer.state"), "FROZEN").unwrap();
    eventually("freezing", || {
        fs::read_to_string(freezer.join("freezer.state")).unwrap() == "FROZEN\n"
    });
    let started = Instant::now();
    let killed = cgroup.kill(Duration::from_secs(1));
    let took = started.elapsed();
    fs::write(freezer.join("freezer.state"), "THAWED").unwrap();
    let pid = process.id();
    assert_eq!(process.end_signal(), Some(9));
    eventually("removal", || fs::remove_dir(&freezer).is_ok());
    let message = text(&killed.unwrap_err());
    assert!(message.starts_with("timed out after 1 s waiting for"), "{message}");
    assert!(message.ends_with(&format!("{pid} (sleep, state D)")), "{message}");
    assert!((Duration::from_secs(1)..Duration::from_secs(10)).contains(&took), "{took:?}");
}

#[test]
fn remove_takes_a_thousand_siblings_and_a_thousand_levels() {
    let scratch = Scratch::new("many");
    let cgroup = scratch.create("a").unwrap();
    for index in 0..1000 {
        fs::create_dir(scratch.directory(&format!("a/sibling-{index}"))).unwrap();
    }
    let mut deep = scratch.directory("a");
    for _ in 0..1000 {
        deep.push("n");
        fs::create_dir(&deep).unwrap();
    }
    let started = Instant::now();
    cgroup.remove(Duration::from_secs(60)).unwrap();
    let took = started.elapsed();
    assert!(!scratch.directory("a").exists());
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[test]
fn remove_with_a_process_inside_times_out_and_names_it() {
    let scratch = Scratch::new("left");
    let cgroup = scratch.create("a").unwrap();
    fs::create_dir_all(scratch.directory("a/b")).unwrap();
    let process = Process::sleeping(&scratch.directory("a/b"));
    let message = text(&cgroup.remove(Duration::from_millis(100)).unwrap_err());
    assert!(message.ends_with(&format!("{} (sleep, state S)", process.id())), "{message}");
    drop(process);
    cgroup.remove(SOON).unwrap();
}

#[test]
fn remove_waits_for_processes_that_end() {
    let scratch = Scratch::new("waits");
    let cgroup = scratch.create("a").unwrap();
    let process = Process::start(&scratch.directory("a"), ":", "exec sleep 0.3");
    cgroup.remove(SOON).unwrap();
    assert!(!scratch.directory("a").exists());
    assert_eq!(process.end_signal(), None);
}

#[test]
fn signal_reaches_every_process_and_thaws() {
    let scratch = Scratch::new("signal");
    let cgroup = scratch.create("a").unwrap();
    fs::create_dir(scratch.directory("a/b")).unwrap();
    let processes = ["a", "a/b"].map(|below| Process::sleeping(&scratch.directory(below)));
    cgroup.signal(Signal::parse("RTMIN+3").unwrap()).unwrap();
    for process in processes {
        assert_eq!(process.end_signal(), Some(37));
    }
    assert!(!cgroup.is_frozen().unwrap());
}

#[test]
fn signal_to_a_frozen_cgroup_leaves_it_frozen() {
    let scratch = Scratch::new("paused");
    let cgroup = scratch.create("a").unwrap();
    // A handler: what a signal kills by default, it kills frozen too.
    let wait = "while :; do sleep 0.01; done";
    let mut process = Process::start(&scratch.directory("a"), "trap 'exit 7' TERM", wait);
    cgroup.freeze(SOON).unwrap();
    cgroup.signal(Signal::TERM).unwrap();
    sleep(Duration::from_millis(100));
    assert!(cgroup.is_frozen().unwrap());
    assert!(cgroup.processes().unwrap().contains(&process.id()));
    cgroup.thaw().unwrap();
    assert_eq!(process.0.wait().unwrap().code(), Some(7));
}

#[test]
fn freeze_stops_processes_until_thaw() {
    let scratch = Scratch::new("freeze");
    let cgroup = scratch.create("a").unwrap();
    let process = Process::start(&scratch.directory("a"), ":", "while :; do :; done");
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
        stat.split(' ').nth(13).unwrap().parse::<u64>().unwrap()
    };
    cgroup.freeze(SOON).unwrap();
    assert!(cgroup.is_frozen().unwrap());
    let before = ticks();
    sleep(Duration::from_millis(200));
    assert_eq!(ticks(), before);
    cgroup.thaw().unwrap();
    assert!(!cgroup.is_frozen().unwrap());
    eventually("running on", || ticks() > before);
}

/// What a process in the cgroup can open for reading.
fn opens(scratch: &Scratch, below: &str) -> [bool; 2] {
    ["/dev/null", "/dev/zero"].map(|device| {
        let procs = scratch.directory(below).join("cgroup.procs");
        let script = format!("exec 9<{device}; echo 0 > {} && : < {device}", procs.display());
        Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status().unwrap().success()
    })
}

#[test]
fn device_program_decides_which_device_is_opened() {
    let scratch = Scratch::new("devices");
    scratch.create("free").unwrap();
    assert_eq!(opens(&scratch, "free"), [true, true]);
    scratch.create_with("null", &ALLOW_NULL).unwrap();
    assert_eq!(opens(&scratch, "null"), [true, false]);
    scratch.create_with("deny", &DENY_ALL).unwrap();
    assert_eq!(opens(&scratch, "deny"), [false, false]);
    // A program below can only take away.
    scratch.create_with("null/below", &ALLOW_ALL).unwrap();
    assert_eq!(opens(&scratch, "null/below"), [true, false]);
}

#[test]
fn device_program_is_replaced_and_never_piles_up() {
    let scratch = Scratch::new("replace");
    let cgroup = scratch.create_with("a", &DENY_ALL).unwrap();
    for _ in 0..200 {
        cgroup.replace_devices(&ALLOW_NULL).unwrap();
        assert_eq!(cgroup.device_programs().unwrap().len(), 1);
    }
    assert_eq!(opens(&scratch, "a"), [true, false]);
    // The cgroup of a dead container is taken over with the new container's rules alone.
    let again = scratch.create_with("a", &ALLOW_ALL).unwrap();
    assert_eq!(again.device_programs().unwrap().len(), 1);
    assert_eq!(opens(&scratch, "a"), [true, true]);
}

#[test]
fn device_program_is_gone_when_the_cgroup_is() {
    let scratch = Scratch::new("leak");
    let cgroup = scratch.create_with("a", &DENY_ALL).unwrap();
    let mut ids = cgroup.device_programs().unwrap();
    cgroup.replace_devices(&ALLOW_NULL).unwrap();
    ids.extend(cgroup.device_programs().unwrap());
    assert_eq!(ids.len(), 2);
    assert!(loaded_programs().contains(&ids[1]));
    cgroup.remove(SOON).unwrap();
    eventually("unloading", || ids.iter().all(|id| !loaded_programs().contains(id)));
}

/// The ids of all BPF programs of this machine (BPF_PROG_GET_NEXT_ID).
#[expect(unsafe_code, reason = "a system call that only the test needs")]
fn loaded_programs() -> Vec<u32> {
    const BPF_PROG_GET_NEXT_ID: i32 = 11;
    let mut ids = Vec::new();
    let mut attr = [0u32; 64];
    loop {
        // SAFETY: the attribute is 256 bytes of ours, start_id in the first word and next_id in the second; no pointers.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_PROG_GET_NEXT_ID,
                attr.as_mut_ptr(),
                size_of_val(&attr),
            )
        };
        if result != 0 {
            return ids;
        }
        ids.push(attr[1]);
        attr[0] = attr[1];
        attr[1] = 0;
    }
}
