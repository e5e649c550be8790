//! Hooks of every kind of behaviour, good and bad.
//!
//! Runs in: any process (tests).

use std::error::Error as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;

use super::*;

fn shell(script: &str) -> spec::Hook {
    let args = ["sh", "-c", script].map(String::from).to_vec();
    spec::Hook { path: "/bin/sh".into(), args, env: None, timeout: None }
}

fn shell_with_timeout(script: &str, seconds: i64) -> spec::Hook {
    spec::Hook { timeout: Some(seconds), ..shell(script) }
}

fn path_variable() -> Vec<OsString> {
    vec!["PATH=/usr/bin:/bin".into()]
}

fn scene<'a>(state: &'a [u8], environment: &'a [OsString], cwd: &'a Path) -> Scene<'a> {
    Scene { state, environment, cwd, init: None, outputs: [None; 2], dir: None }
}

fn run_in(hook: &spec::Hook, state: &[u8], cwd: &Path) -> Result<(), Error> {
    run("prestart", 0, hook, &scene(state, &path_variable(), cwd))
}

fn run_hook(hook: &spec::Hook) -> Result<(), Error> {
    run_in(hook, b"{}", Path::new("/"))
}

/// What the error of the hook itself says.
fn failure(hook: &spec::Hook) -> String {
    run_hook(hook).unwrap_err().source().unwrap().to_string()
}

/// What the hook writes, which only an error shows.
fn output(script: &str) -> String {
    let failure = failure(&shell(&format!("{script}; exit 1")));
    failure.strip_prefix("exit status 1, stdout/stderr: ").unwrap_or_default().to_owned()
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < until, "{what} did not happen");
        sleep(Duration::from_millis(5));
    }
}

/// Whether it runs: a zombie of another parent does not.
fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn read_pid(file: &Path) -> i32 {
    fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

fn kill(pid: i32) {
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL)
        .unwrap();
}

#[test]
fn exit_status_decides() {
    for (script, expected) in [
        ("exit 1", "exit status 1"),
        ("exit 42", "exit status 42"),
        ("exit 255", "exit status 255"),
        ("kill -KILL $$", "signal: killed"),
        ("kill -SEGV $$", "signal: segmentation fault"),
        ("kill -64 $$", "signal: signal 64"),
        ("echo out; echo err >&2; exit 2", "exit status 2, stdout/stderr: out\nerr"),
    ] {
        assert_eq!(failure(&shell(script)), expected, "{script}");
    }
    run_hook(&shell("exit 0")).unwrap();
    run_hook(&shell("echo much ado; exit 0")).unwrap();
}

#[test]
fn error_names_kind_index_and_path() {
    let error = run("poststop", 3, &shell("exit 1"), &scene(b"", &[], Path::new("/"))).unwrap_err();
    assert_eq!(error.to_string(), "error running poststop hook #3: /bin/sh");
}

#[test]
fn program_that_cannot_be_started_says_why() {
    let start = |path: &str, cwd: &str| {
        let hook = spec::Hook { path: path.into(), ..spec::Hook::default() };
        let error = run_in(&hook, b"{}", Path::new(cwd)).unwrap_err();
        let Error::Hook { source: HookError::Start(cause), .. } = error else { panic!("{error}") };
        cause
    };
    assert_eq!(start("/nonexistent", "/").raw_os_error(), Some(libc::ENOENT));
    assert_eq!(start("/etc/passwd", "/").raw_os_error(), Some(libc::EACCES));
    assert_eq!(start("/etc", "/").raw_os_error(), Some(libc::EACCES));
    assert_eq!(start("/bin/true\0", "/").kind(), io::ErrorKind::InvalidInput);
    let cwd = start("/bin/true", "/nonexistent").to_string();
    assert!(cwd.starts_with("chdir to /nonexistent: No such file"), "{cwd}");
}

#[test]
fn program_without_arguments_gets_its_path_as_name() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("hook");
    fs::write(&script, "#!/bin/sh\necho $# $0\nexit 1\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = script.to_str().unwrap().to_owned();
    let hook = spec::Hook { path: path.clone(), ..spec::Hook::default() };
    assert_eq!(failure(&hook), format!("exit status 1, stdout/stderr: 0 {path}"));
}

#[test]
fn first_argument_is_the_name() {
    let args = ["own-name", "-c", "echo $0 $(cat /proc/$$/cmdline | tr '\\0' ' '); exit 1"];
    let hook = spec::Hook { args: args.map(String::from).to_vec(), ..shell("") };
    assert!(failure(&hook).contains("own-name own-name -c"), "{}", failure(&hook));
}

#[test]
fn state_reaches_the_hook_whole() {
    let directory = tempfile::tempdir().unwrap();
    for size in [0, 2, 4096, 65_536, 65_537, 3_000_000] {
        let state: Vec<u8> = (0..size).map(|index: u32| b'a' + (index % 23) as u8).collect();
        run_in(&shell("sleep 0.02; cat > state"), &state, directory.path()).unwrap();
        assert!(fs::read(directory.path().join("state")).unwrap() == state, "{size} bytes");
    }
}

#[test]
fn hook_that_does_not_read_its_state_succeeds() {
    let state = vec![b'x'; 1_000_000];
    for script in ["exit 0", "exec <&-; sleep 0.1", "head -c 10 >/dev/null", "sleep 0.1"] {
        run_in(&shell(script), &state, Path::new("/")).unwrap();
    }
}

#[test]
fn timeout_kills_the_hook_and_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let script = "echo before; echo $$ > parent; sleep 888 & echo $! > child; wait";
    let started = Instant::now();
    let error = run_in(&shell_with_timeout(script, 1), b"{}", directory.path()).unwrap_err();
    let took = started.elapsed();
    assert_eq!(
        error.source().unwrap().to_string(),
        "hook ran past specified timeout of 1.0s, stdout/stderr: before"
    );
    assert!((Duration::from_secs(1)..Duration::from_secs(10)).contains(&took), "{took:?}");
    for file in ["parent", "child"] {
        let pid = read_pid(&directory.path().join(file));
        eventually("the end of the group", || !is_alive(pid));
    }
}

#[test]
fn timeout_ends_one_that_ignores_every_signal_and_writes_without_end() {
    for script in ["trap '' TERM INT HUP; while :; do echo x; done", "kill -STOP $$"] {
        let message = failure(&shell_with_timeout(script, 1));
        assert!(message.starts_with("hook ran past specified timeout of 1.0s"), "{message}");
    }
}

#[test]
fn hook_that_ends_in_time_is_not_held_by_its_timeout() {
    let started = Instant::now();
    run_hook(&shell_with_timeout("exit 0", 100)).unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn daemon_of_a_successful_hook_lives_on_and_does_not_hold_us() {
    let directory = tempfile::tempdir().unwrap();
    let started = Instant::now();
    run_in(&shell("sleep 888 & echo $! > daemon"), b"{}", directory.path()).unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
    let daemon = read_pid(&directory.path().join("daemon"));
    assert!(is_alive(daemon));
    kill(daemon);
}

#[test]
fn child_that_writes_on_after_the_end_does_not_hold_us() {
    let started = Instant::now();
    assert!(failure(&shell("yes & exit 7")).starts_with("exit status 7"));
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn output_of_a_gigabyte_is_read_and_its_end_is_kept() {
    let script = "head -c 1000000000 /dev/zero; echo the end; exit 3";
    let message = failure(&shell(script));
    assert!(message.starts_with("exit status 3, stdout/stderr: \0\0"), "{}", message.len());
    assert!(message.ends_with("\0the end"));
    assert!(message.len() < OUTPUT_SHOWN + 100, "{}", message.len());
}

#[test]
fn hook_has_no_fds_but_the_first_three() {
    // An fd as the engine above leaves it: not close-on-exec.
    let leaked = rustix::io::dup(std::io::stderr()).unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    assert_eq!(output("ls /proc/$$/fd"), "0\n1\n2");
}

#[test]
fn environment_is_its_own_or_ours() {
    assert_eq!(
        output("/usr/bin/env | grep -v -e ^PWD= -e ^SHLVL= -e ^_="),
        path_variable()[0].to_str().unwrap()
    );
    let own = |entries: &[&str]| spec::Hook {
        env: Some(entries.iter().map(ToString::to_string).collect()),
        ..shell("/usr/bin/env | /usr/bin/grep -v -e ^PWD= -e ^SHLVL= -e ^_=; exit 1")
    };
    assert_eq!(failure(&own(&["A=1", "B=2 3"])), "exit status 1, stdout/stderr: A=1\nB=2 3");
    assert_eq!(failure(&own(&[])), "exit status 1");
}

#[test]
fn hook_begins_in_its_directory_with_default_signals_in_a_session_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let script = "sed -n '/^Sig[BIC]/p' /proc/self/status; pwd -P; cut -d' ' -f5,6 /proc/self/stat; echo $$ $$; exit 1";
    let error = run_in(&shell(script), b"", directory.path()).unwrap_err();
    let message = error.source().unwrap().to_string();
    let lines: Vec<&str> = message.lines().collect();
    let zero = "0000000000000000";
    assert!(lines[0].ends_with(&format!("SigBlk:\t{zero}")), "{message}");
    assert_eq!(lines[1], format!("SigIgn:\t{zero}"));
    assert_eq!(lines[2], format!("SigCgt:\t{zero}"));
    assert_eq!(PathBuf::from(lines[3]), directory.path().canonicalize().unwrap());
    assert_eq!(lines[4], lines[5], "process group and session are the hook's own");
}

#[test]
fn caller_keeps_its_mask_directory_and_fds() {
    let status = || {
        let text = fs::read_to_string("/proc/thread-self/status").unwrap();
        text.lines().filter(|line| line.starts_with("Sig")).map(String::from).collect::<Vec<_>>()
    };
    let before = (status(), std::env::current_dir().unwrap());
    run_in(&shell("exit 0"), b"{}", Path::new("/tmp")).unwrap();
    assert_eq!((status(), std::env::current_dir().unwrap()), before);
}

#[test]
fn hooks_of_many_threads_do_not_meet() {
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for round in 0..20 {
                    let code = 1 + (thread * 20 + round) % 200;
                    assert_eq!(
                        failure(&shell(&format!("exit {code}"))),
                        format!("exit status {code}")
                    );
                }
            });
        }
    });
}

const CALLER: &str = "CORTEN_TEST_HOOK_CALLER";

/// Runs in a process of its own, see the tests below.
#[test]
fn caller_of_hooks() {
    match std::env::var(CALLER).as_deref() {
        Ok("ignores-sigchld") => {
            for round in 0..50 {
                run_hook(&shell("exit 0")).unwrap();
                let code = 1 + round % 100;
                assert_eq!(failure(&shell(&format!("exit {code}"))), format!("exit status {code}"));
            }
        }
        Ok(directory) => {
            run_in(&shell("echo $$ > pid; exec sleep 888"), b"", Path::new(directory)).unwrap();
        }
        Err(_) => {}
    }
}

fn caller(mode: &std::ffi::OsStr) -> Command {
    let mut command = Command::new("env");
    let own = std::env::current_exe().unwrap();
    command.arg("--ignore-signal=CHLD").arg(own).args(["--exact", "hooks::tests::caller_of_hooks"]);
    command.env(CALLER, mode).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The kernel reaps children of such a process itself; how they ended is known all the same, from Linux 6.15 on.
#[test]
fn exit_status_is_known_when_the_caller_ignores_sigchld() {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    if (numbers.next(), numbers.next()) < (Some(6), Some(15)) {
        return;
    }
    let output = caller("ignores-sigchld".as_ref()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn hook_ends_when_its_caller_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut caller = caller(directory.path().as_os_str()).spawn().unwrap();
    let file = directory.path().join("pid");
    eventually("the start of the hook", || {
        fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n'))
    });
    let hook = read_pid(&file);
    assert!(is_alive(hook));
    caller.kill().unwrap();
    caller.wait().unwrap();
    eventually("the end of the hook", || !is_alive(hook));
}

#[test]
fn init_that_ends_ends_the_hook_and_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let mut init = Command::new("sleep").arg("0.2").spawn().unwrap();
    let pid = Pid::from_raw(init.id().try_into().unwrap()).unwrap();
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    let hook = shell("echo before; sleep 1000 & echo $! >child; wait");
    let begin = Instant::now();
    let path = path_variable();
    let error = run(
        "createRuntime",
        0,
        &hook,
        &Scene { init: Some(pidfd.as_fd()), ..scene(b"{}", &path, directory.path()) },
    );
    let message = error.unwrap_err().source().unwrap().to_string();
    assert_eq!(
        message,
        "was killed, because the container's init has ended, stdout/stderr: before"
    );
    assert!(begin.elapsed() < Duration::from_secs(100));
    let child = read_pid(&directory.path().join("child"));
    eventually("the end of the hook's child", || !is_alive(child));
    init.wait().unwrap();
}
