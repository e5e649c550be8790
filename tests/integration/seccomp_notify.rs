//! SCMP_ACT_NOTIFY: the listener reaches the agent, whatever the profile stops.
//!
//! Runs in: any process.

use std::path::Path;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, Root};
use crate::inside::{nothing_left, refusal, sh};
use crate::runtime::Runtime;
use crate::seccomp_agent::{Agent, Answer};

const ITS_CALLS: &str = "the others make more calls than these before their agent can answer";
const LATER: &str = "sends it when the container is started, with pid 0";
const CONNECTS: &str = "connects to it all the same (the specification: \"this value is ignored\")";
const NO_WAY: &str = "crun 1.8 lets it hang, or sends it from a process of its own";

table! {
    call_is_answered_by_the_agent: [Root],
    state_is_that_of_the_specification: [Root, NotOn("crun", LATER)],
    listener_arrives_although_every_call_of_init_waits_for_it: [Root, Corten(ITS_CALLS)],
    agent_that_is_gone_is_an_error: [Root],
    agent_of_a_create_runtime_hook_is_found: [Root, Corten("the hook is this test's")],
    listener_path_without_notify_is_ignored: [Root, NotOn("crun", CONNECTS)],
    notify_of_write_is_refused: [Root, NotOn("crun", NO_WAY)],
    process_of_exec_has_a_listener_of_its_own: [Root, NotOn("crun", LATER)],
}

fn notifying(names: &[&str], agent: &Path) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": agent,
        "listenerMetadata": "for the agent",
        "syscalls": [{ "names": names, "action": "SCMP_ACT_NOTIFY" }],
    })
}

/// runc before 1.2 and crun close the connection later than they must (runc issue 4796).
fn next(runtime: &Runtime, agent: &Agent) -> Result<Value, Failed> {
    if runtime.is("corten") { agent.next() } else { Ok(agent.receive()?.state) }
}

const MKDIR: [&str; 2] = ["mkdir", "mkdirat"];
/// ENOMEDIUM: no kernel says so of mkdir.
const ANSWER: Answer = Answer::Errno(libc::ENOMEDIUM);

fn call_is_answered_by_the_agent(runtime: &Runtime) -> TestResult {
    let agent = Agent::new(runtime, ANSWER)?;
    for no_new_privileges in [true, false] {
        let seen = sh(runtime, "mkdir /tmp/x 2>&1; ls /tmp", |config| {
            config["linux"]["seccomp"] = notifying(&MKDIR, &agent.path);
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        })?;
        ensure_eq!(seen, "mkdir: can't create directory '/tmp/x': No medium found\n");
        next(runtime, &agent)?;
    }
    ensure!(agent.is_left_alone(), "more than one message for a container");
    Ok(())
}

fn state_is_that_of_the_specification(runtime: &Runtime) -> TestResult {
    let agent = Agent::new(runtime, ANSWER)?;
    let bundle = runtime.bundle_with(&["sleep", "1000"], |config| {
        config["linux"]["seccomp"] = notifying(&MKDIR, &agent.path);
        config["annotations"] = json!({ "org.a": "b" });
    })?;
    let id = runtime.new_id();
    runtime.create(&bundle, &id)?.ok()?;
    let state = next(runtime, &agent)?;
    let pid = runtime.pid(&id)?;
    ensure_eq!(state["fds"], json!(["seccompFd"]));
    ensure_eq!(state["pid"], json!(pid));
    ensure_eq!(state["metadata"], json!("for the agent"));
    ensure!(state["ociVersion"].is_string(), "{state}");
    let inner = &state["state"];
    ensure!(inner["ociVersion"].is_string(), "{state}");
    ensure_eq!(inner["id"], json!(id));
    ensure_eq!(inner["status"], json!("creating"));
    ensure_eq!(inner["pid"], json!(pid));
    ensure_eq!(inner["bundle"], json!(bundle.path()));
    ensure_eq!(inner["annotations"]["org.a"], json!("b"));
    Ok(())
}

/// What it must not wait for comes first: the listener is taken from outside.
fn listener_arrives_although_every_call_of_init_waits_for_it(runtime: &Runtime) -> TestResult {
    let agent = Agent::new(runtime, Answer::Continue)?;
    let names = [
        "capset",
        "chdir",
        "close",
        "close_range",
        "execve",
        "faccessat2",
        "getcwd",
        "newfstatat",
        "prctl",
        "read",
        "recvmsg",
        "rt_sigaction",
        "rt_sigprocmask",
        "sendmsg",
        "sendto",
        "setgid",
        "setgroups",
        "setuid",
    ];
    for no_new_privileges in [true, false] {
        let bundle = runtime.bundle_with(&["/bin/true"], |config| {
            config["linux"]["seccomp"] = notifying(&names, &agent.path);
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        })?;
        runtime.run(&bundle)?.ok()?;
        next(runtime, &agent)?;
        let id = runtime.new_id();
        runtime.create(&bundle, &id)?.ok()?;
        next(runtime, &agent)?;
        runtime.start(&id)?.ok()?;
    }
    Ok(())
}

fn agent_that_is_gone_is_an_error(runtime: &Runtime) -> TestResult {
    let path = runtime.directory().join("nobody.sock");
    let gone = |runtime: &Runtime| -> TestResult {
        let outcome = refusal(runtime, |config| {
            config["linux"]["seccomp"] = notifying(&MKDIR, &path);
        })?;
        if runtime.is("corten") {
            ensure!(outcome.stderr.contains("/linux/seccomp/listenerPath"), "{outcome}");
            ensure!(outcome.stderr.contains("seccomp agent"), "{outcome}");
        }
        Ok(())
    };
    gone(runtime)?;
    // A socket file that nobody listens on.
    drop(std::os::unix::net::UnixListener::bind(&path)?);
    gone(runtime)
}

/// It is connected to only after such hooks.
fn agent_of_a_create_runtime_hook_is_found(runtime: &Runtime) -> TestResult {
    let agent = Agent::new(runtime, ANSWER)?;
    let later = runtime.directory().join("later.sock");
    let script = format!("ln -s {} {}", agent.path.display(), later.display());
    let seen = sh(runtime, "mkdir /tmp/x 2>&1", |config| {
        config["linux"]["seccomp"] = notifying(&MKDIR, &later);
        let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script] });
        config["hooks"] = json!({ "createRuntime": [hook] });
        config["process"]["args"] = json!(["sh", "-c", "mkdir /tmp/x 2>&1 || true"]);
    })?;
    ensure!(seen.ends_with("No medium found\n"), "{seen}");
    Ok(())
}

fn listener_path_without_notify_is_ignored(runtime: &Runtime) -> TestResult {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nonesuch/agent.sock",
        "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO" }],
    });
    let seen = sh(runtime, "echo ran", |config| config["linux"]["seccomp"] = profile)?;
    ensure_eq!(seen, "ran\n");
    Ok(())
}

/// runc's rule and words (tests/integration/seccomp-notify.bats).
fn notify_of_write_is_refused(runtime: &Runtime) -> TestResult {
    let agent = Agent::new(runtime, ANSWER)?;
    let outcome = refusal(runtime, |config| {
        config["linux"]["seccomp"] = notifying(&["getpid", "write"], &agent.path);
    })?;
    let text = "SCMP_ACT_NOTIFY cannot be used for the write syscall";
    ensure!(outcome.stderr.contains(text), "{outcome}");
    nothing_left(runtime)
}

fn process_of_exec_has_a_listener_of_its_own(runtime: &Runtime) -> Result<(), Failed> {
    let agent = Agent::new(runtime, ANSWER)?;
    for no_new_privileges in [true, false] {
        let bundle = runtime.bundle_with(&["sleep", "1000"], |config| {
            config["linux"]["seccomp"] = notifying(&MKDIR, &agent.path);
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        })?;
        let id = runtime.new_id();
        runtime.create(&bundle, &id)?.ok()?;
        runtime.start(&id)?.ok()?;
        next(runtime, &agent)?;
        let script = "mkdir /tmp/x 2>&1; grep Seccomp: /proc/self/status";
        let outcome = runtime.command(["exec", &id, "sh", "-c", script]).output()?.ok()?;
        let expected = "mkdir: can't create directory '/tmp/x': No medium found\nSeccomp:\t2\n";
        ensure_eq!(outcome.stdout, expected);
        let state = next(runtime, &agent)?;
        let pid = runtime.pid(&id)?;
        ensure!(state["pid"] != json!(pid), "{state}");
        ensure_eq!(state["state"]["pid"], json!(pid));
        ensure_eq!(state["state"]["status"], json!("running"));
        runtime.delete_force(&id)?.ok()?;
    }
    Ok(())
}
