//! libcontainer as programs link it: from several threads, without any change to the calling process.
//!
//! Runs in: any process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "shared with the black-box tests, which use all of it")]
#[path = "integration/bundle.rs"]
mod bundle;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use libcontainer::cgroup::Cgroup;
use libcontainer::container::ExitStatus;
use libcontainer::spec::{LinuxDeviceCgroup, LinuxResources, Spec};
use libcontainer::{Container, CreateOptions, ExecOptions, Signal, Status};
use libtest_mimic::{Arguments, Trial};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

const ROUNDS: usize = 10;

fn main() -> ExitCode {
    // With the first thread glibc takes signal 33 for itself, and any of the tests may be the first to look.
    let joined = thread::spawn(|| ()).join();
    debug_assert!(joined.is_ok());
    let is_root = rustix::process::geteuid().is_root();
    let trial = |name: &str, test: fn(&Place) -> Outcome| {
        let run = move || {
            let place = Place::new()?;
            test(&place).map_err(|error| error.to_string().into())
        };
        Trial::test(format!("library::{name}"), run).with_ignored_flag(!is_root)
    };
    let trials = vec![
        trial("eight_busy_threads_and_four_that_make_containers", busy_threads),
        trial("create_from_a_thread_that_ends_leaves_a_container_that_lives", thread_that_ends),
        trial("operations_leave_the_caller_as_it_was", caller_is_unchanged),
        trial("failed_create_leaves_no_fd_and_no_child", failed_create_leaves_nothing),
        trial("exec_from_busy_threads_leaves_the_caller_as_it_was", exec_from_threads),
        trial("exec_gives_its_stdio_and_leaves_no_fd_and_no_child", exec_with_stdio),
        trial("handle_of_a_deleted_container_does_not_reach_its_successor", successor_is_safe),
        trial("update_replaces_device_rules_and_no_program_is_left", device_rules),
        trial("handle_from_before_the_state_sees_what_create_has_saved", handle_sees_later_state),
        trial("threads_that_share_a_handle_exclude_each_other", threads_share_a_handle),
        trial("terminal_that_nobody_would_receive_is_refused", terminal_that_nobody_receives),
    ];
    // One after the other: what they look at is the process.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A directory with a bundle and a root for states.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Result<Self, String> {
        let directory = tempfile::Builder::new().prefix("corten-lib-").tempdir();
        let directory = directory.map_err(|error| error.to_string())?;
        bundle::share_busybox(directory.path()).map_err(|error| error.to_string())?;
        Ok(Self { directory })
    }

    fn bundle(&self, name: &str, arguments: &[&str]) -> std::io::Result<PathBuf> {
        let path = self.directory.path().join("bundles").join(name);
        bundle::Bundle::new(path.clone(), name, arguments)?;
        Ok(path)
    }

    /// With a mount for which `create` makes a user namespace, in a child that shares this process's memory.
    fn bundle_with_id_map(&self, name: &str, arguments: &[&str]) -> std::io::Result<PathBuf> {
        let path = self.directory.path().join("bundles").join(name);
        let mut bundle = bundle::Bundle::new(path.clone(), name, arguments)?;
        let map = serde_json::json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
        let mount = serde_json::json!({ "destination": "/mapped", "type": "tmpfs", "source": "tmpfs",
            "options": ["idmap"], "uidMappings": map, "gidMappings": map });
        bundle.edit(|config| bundle::add(config, "/mounts", mount))?;
        Ok(path)
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn options(&self, id: &str, bundle: &Path) -> CreateOptions {
        CreateOptions {
            root: self.root(),
            // Cgroups are named by it, and other runs of this test may be at work.
            id: format!("lib{}-{id}", std::process::id()),
            bundle: bundle.to_owned(),
            ..CreateOptions::default()
        }
    }
}

/// From Linux 6.3 on.
fn has_id_mapped_tmpfs() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split('.').map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(3))
}

/// Creates, starts, kills, waits for and deletes one container.
fn whole_life(place: &Place, id: &str) -> Outcome {
    let bundle = if has_id_mapped_tmpfs() {
        place.bundle_with_id_map(id, &["sleep", "1000"])?
    } else {
        place.bundle(id, &["sleep", "1000"])?
    };
    let options = place.options(id, &bundle);
    let (container, init) = Container::create(&options)?;
    assert_eq!(container.status()?, Status::Created, "{id}");
    container.start()?;
    assert_eq!(container.status()?, Status::Running, "{id}");
    container.kill(Signal::KILL, false)?;
    assert_eq!(init.wait()?, ExitStatus::Signaled(9), "{id}");
    assert_eq!(container.status()?, Status::Stopped, "{id}");
    let warnings = Container::delete(&place.root(), &options.id, false)?;
    assert!(warnings.is_empty(), "{warnings:?}");
    Ok(())
}

/// Work that a child which touched this process's memory, locks or heap would spoil.
fn compute(seed: u64) -> bool {
    let numbers: BTreeMap<u64, String> = (0..200).map(|n| (n, format!("{}", n * seed))).collect();
    numbers.iter().all(|(n, text)| text.parse() == Ok(n * seed))
}

fn busy_threads(place: &Place) -> Outcome {
    let (stop, spoilt, done) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let outcomes = thread::scope(|scope| {
        for seed in 1..=8 {
            let (stop, spoilt, done) = (&stop, &spoilt, &done);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    spoilt.fetch_add(u64::from(!compute(seed)), Ordering::Relaxed);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let makers: Vec<_> = (0..4)
            .map(|maker| {
                scope.spawn(move || {
                    (0..ROUNDS).try_for_each(|round| whole_life(place, &format!("{maker}-{round}")))
                })
            })
            .collect();
        let outcomes: Vec<_> = makers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        outcomes
    });
    for outcome in outcomes {
        outcome.map_err(|_| "a maker has panicked")??;
    }
    assert_eq!(spoilt.load(Ordering::Relaxed), 0);
    assert!(done.load(Ordering::Relaxed) > 8, "the busy threads did no work");
    assert_eq!(fs::read_dir(place.root())?.count(), 0);
    Ok(())
}

fn thread_that_ends(place: &Place) -> Outcome {
    let bundle = place.bundle("thread", &["sleep", "1000"])?;
    let options = place.options("thread", &bundle);
    let create = || Container::create(&options).map(|(_, init)| init);
    let init = thread::scope(|scope| scope.spawn(create).join()).map_err(|_| "panicked")??;
    // PDEATHSIG would have come when the thread that cloned init ended.
    thread::sleep(std::time::Duration::from_millis(50));
    let container = Container::load(&place.root(), &options.id)?;
    assert_eq!(container.status()?, Status::Created);
    container.start()?;
    assert_eq!(container.status()?, Status::Running);
    Container::delete(&place.root(), &options.id, true)?;
    assert_eq!(init.wait()?, ExitStatus::Signaled(9));
    Ok(())
}

/// What a library could change of its caller and must not.
#[derive(Debug, PartialEq)]
struct Caller {
    cwd: PathBuf,
    /// Umask, signal masks and dispositions, capabilities, no_new_privs … : `/proc/self/status` without what varies.
    status: Vec<String>,
    oom_score_adj: String,
    dumpable: i32,
    fds: usize,
    environment: usize,
    namespaces: Vec<PathBuf>,
    cgroup: String,
}

impl Caller {
    fn look() -> Result<Self, Box<dyn Error + Send + Sync>> {
        let wanted = [
            "Umask",
            "State",
            // Not SigQ, which counts those of all processes of the user.
            "SigPnd",
            "SigBlk",
            "SigIgn",
            "SigCgt",
            "Shd",
            "Cap",
            "NoNewPrivs",
            "Seccomp:",
            "Groups",
            "Uid",
            "Gid",
        ];
        let status = fs::read_to_string("/proc/thread-self/status")?;
        let status = status.lines().filter(|line| wanted.iter().any(|word| line.starts_with(word)));
        let names =
            ["mnt", "net", "pid", "pid_for_children", "uts", "ipc", "cgroup", "time_for_children"];
        let namespace = |name| fs::read_link(format!("/proc/thread-self/ns/{name}"));
        Ok(Self {
            cwd: std::env::current_dir()?,
            status: status.map(str::to_owned).collect(),
            oom_score_adj: fs::read_to_string("/proc/self/oom_score_adj")?,
            dumpable: rustix::process::dumpable_behavior()? as i32,
            fds: fs::read_dir("/proc/self/fd")?.count(),
            environment: std::env::vars_os().count(),
            namespaces: names.into_iter().map(namespace).collect::<Result<_, _>>()?,
            cgroup: fs::read_to_string("/proc/self/cgroup")?,
        })
    }
}

fn caller_is_unchanged(place: &Place) -> Outcome {
    whole_life(place, "before")?;
    let before = Caller::look()?;
    whole_life(place, "during")?;
    assert_eq!(Caller::look()?, before);
    Ok(())
}

/// A process of the container that runs `script`.
fn process(container: &Container, script: &str) -> Result<ExecOptions, libcontainer::Error> {
    let mut process = container.process()?;
    process.args = ["sh", "-c", script].map(str::to_owned).to_vec();
    Ok(ExecOptions { process, ..ExecOptions::default() })
}

fn exec_from_threads(place: &Place) -> Outcome {
    let bundle = place.bundle("exec", &["sleep", "1000"])?;
    let options = place.options("exec", &bundle);
    let (container, init) = Container::create(&options)?;
    container.start()?;
    let before = Caller::look()?;
    let (stop, spoilt) = (AtomicBool::new(false), AtomicU64::new(0));
    let exec = |code: i32| -> Outcome {
        // By a handle of its own, as another program would.
        let container = Container::load(&place.root(), &options.id)?;
        for _ in 0..ROUNDS {
            let process = container.exec(&process(&container, &format!("exit {code}"))?)?;
            assert_eq!(process.wait()?, ExitStatus::Exited(code));
        }
        Ok(())
    };
    let exec = &exec;
    let outcomes = thread::scope(|scope| {
        for seed in 1..=4 {
            let (stop, spoilt) = (&stop, &spoilt);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    spoilt.fetch_add(u64::from(!compute(seed)), Ordering::Relaxed);
                }
            });
        }
        let execs: Vec<_> = (1..5).map(|code| scope.spawn(move || exec(code))).collect();
        let outcomes: Vec<_> = execs.into_iter().map(thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        outcomes
    });
    for outcome in outcomes {
        outcome.map_err(|_| "a thread has panicked")??;
    }
    assert_eq!(spoilt.load(Ordering::Relaxed), 0);
    assert_eq!(Caller::look()?, before);
    container.remove(true)?;
    init.wait()?;
    Ok(())
}

fn exec_with_stdio(place: &Place) -> Outcome {
    let bundle = place.bundle("stdio", &["sleep", "1000"])?;
    let options = place.options("stdio", &bundle);
    let (container, init) = Container::create(&options)?;
    let before = Caller::look()?;
    let (reader, writer) = std::io::pipe()?;
    let stdio = [fs::File::open("/dev/null")?.into(), writer.try_clone()?.into(), writer.into()];
    let exec = ExecOptions { stdio: Some(stdio), ..process(&container, "echo out; echo err >&2")? };
    let process = container.exec(&exec)?;
    drop(exec);
    assert_eq!(std::io::read_to_string(reader)?, "out\nerr\n");
    assert_eq!(process.wait()?, ExitStatus::Exited(0));
    drop(process);
    let refused = container.exec(&crate::process(&container, "true").map(|mut options| {
        options.process.args = vec!["/no/such".into()];
        options
    })?);
    assert!(refused.is_err());
    assert_eq!(Caller::look()?, before);
    let children = fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id()))?;
    assert_eq!(children.split_whitespace().collect::<Vec<_>>(), [init.pid().to_string()]);
    container.remove(true)?;
    init.wait()?;
    Ok(())
}

fn failed_create_leaves_nothing(place: &Place) -> Outcome {
    let bundle = place.bundle("failing", &["/no/such/program"])?;
    let before = Caller::look()?;
    for _ in 0..5 {
        let failed = Container::create(&place.options("failing", &bundle));
        let error = failed.err().ok_or("created a container without a program")?.to_string();
        assert!(error.contains("no such file or directory"), "{error}");
    }
    assert_eq!(Caller::look()?, before);
    let children = fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id()))?;
    assert_eq!(children, "");
    assert_eq!(fs::read_dir(place.root())?.count(), 0);
    Ok(())
}

fn successor_is_safe(place: &Place) -> Outcome {
    let bundle = place.bundle("successor", &["sleep", "1000"])?;
    let options = place.options("successor", &bundle);
    let (old, _) = Container::create(&options)?;
    Container::delete(&place.root(), &options.id, true)?;
    // Of the same id, and so in a cgroup of the same path.
    let (new, _) = Container::create(&options)?;
    old.remove(true)?;
    old.kill(Signal::KILL, true)?;
    assert_eq!(new.status()?, Status::Created);
    new.remove(true)?;
    Ok(())
}

/// One program whatever is done, and none after: those that are loaded are counted by the kernel's own ids.
fn device_rules(place: &Place) -> Outcome {
    let options = place.options("rules", &place.bundle("rules", &["sleep", "1000"])?);
    let (container, init) = Container::create(&options)?;
    container.start()?;
    let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", init.pid()))?;
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::/")).ok_or("no cgroup v2")?;
    let mount_point = libcontainer::host::Facts::read(&Spec::default())?.cgroup.mount_point;
    let cgroup = Cgroup::open(&mount_point, Path::new(path))?.ok_or("no cgroup")?;
    let rule = |allow| LinuxDeviceCgroup { allow, access: "rwm".into(), ..Default::default() };
    let update = |rules: Vec<LinuxDeviceCgroup>| {
        container.update(&LinuxResources { devices: rules, ..Default::default() })
    };
    let mut ids = cgroup.device_programs()?;
    for round in 0..20 {
        // Some that deny something, and every third time none: all is allowed.
        update(vec![rule(round % 3 == 2)])?;
        let now = cgroup.device_programs()?;
        assert_eq!(now.len(), usize::from(round % 3 != 2), "round {round}");
        ids.extend(now);
    }
    // What fails changes nothing, and rules that are not given neither.
    update(vec![LinuxDeviceCgroup { access: "x".into(), ..rule(false) }]).unwrap_err();
    update(Vec::new())?;
    assert_eq!(cgroup.device_programs()?, ids[ids.len() - 1..]);
    assert!(is_loaded(ids[ids.len() - 1]));
    Container::delete(&options.root, &options.id, true)?;
    init.wait()?;
    for _ in 0..1000 {
        if !ids.iter().any(|id| is_loaded(*id)) {
            return Ok(());
        }
        thread::sleep(std::time::Duration::from_millis(5));
    }
    Err("a device program is left".into())
}

/// Whether the kernel has a BPF program of this id: the next one after the id before is it (`BPF_PROG_GET_NEXT_ID`).
#[expect(unsafe_code, reason = "a system call that only the test needs")]
fn is_loaded(id: u32) -> bool {
    const BPF_PROG_GET_NEXT_ID: i32 = 11;
    let mut attr = [0u32; 64];
    attr[0] = id - 1;
    // SAFETY: the attribute is 256 bytes of ours, start_id in the first word and next_id in the second; no pointers.
    let result = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_bpf,
            BPF_PROG_GET_NEXT_ID,
            attr.as_mut_ptr(),
            size_of_val(&attr),
        )
    };
    result == 0 && attr[1] == id
}

fn handle_sees_later_state(place: &Place) -> Outcome {
    let bundle = place.bundle("early", &["sleep", "1000"])?;
    let options = place.options("early", &bundle);
    let (container, init) = Container::create(&options)?;
    // As it was before: only the intent is there.
    let directory = place.root().join(&options.id);
    fs::rename(directory.join("state.json"), directory.join("later"))?;
    let early = Container::load(&place.root(), &options.id)?;
    assert_eq!(early.status()?, Status::Stopped);
    fs::rename(directory.join("later"), directory.join("state.json"))?;
    assert_eq!(early.status()?, Status::Created);
    assert_eq!(early.state()?.pid, init.pid());
    container.start()?;
    let executed = early.exec(&process(&early, "exit 7")?)?;
    assert_eq!(executed.wait()?, ExitStatus::Exited(7));
    container.remove(true)?;
    Ok(())
}

fn threads_share_a_handle(place: &Place) -> Outcome {
    let bundle = place.bundle("shared", &["sleep", "1000"])?;
    let options = place.options("shared", &bundle);
    for _ in 0..ROUNDS {
        let (container, init) = Container::create(&options)?;
        let start = || container.start();
        let started: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
        });
        let (mut has_started, mut refused) = (0, 0);
        for outcome in started {
            match outcome.map_err(|_| "a thread has panicked")? {
                Ok(()) => has_started += 1,
                Err(libcontainer::Error::WrongStatus { status: Some(Status::Running), .. }) => {
                    refused += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
        assert_eq!((has_started, refused), (1, 3));
        container.remove(true)?;
        init.wait()?;
    }
    Ok(())
}

fn terminal_that_nobody_receives(place: &Place) -> Outcome {
    let bundle = place.bundle("terminal", &["true"])?;
    let options = CreateOptions {
        console: Some(libcontainer::container::Console::Receive),
        ..place.options("terminal", &bundle)
    };
    let refused = Container::run(&options).map(|_| ()).unwrap_err().to_string();
    assert_eq!(refused, "console: Console::Receive is for run_prepared and exec_prepared");
    Ok(())
}
