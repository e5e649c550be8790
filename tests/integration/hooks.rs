//! `/hooks`: the six kinds, when and where they run, and what they read (runtime.md, config.md).
//!
//! Runs in: any process.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::bundle::{Bundle, add};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, Root};
use crate::inside::{bind, namespace_of, sh};
use crate::runtime::Runtime;

const LEAKS: &str = "1.1 leaves its own sockets and pipes open in them";

table! {
    hooks_run_at_their_time_and_in_their_order: [Root, NotOn("runc", "1.1 runs poststart in create; runc 1.5 and config.md after start")],
    hooks_of_the_runtime_run_in_its_namespaces: [Root],
    hooks_of_the_container_run_in_its_namespaces: [Root],
    start_container_hooks_have_the_containers_root: [Root],
    start_container_hooks_have_the_environment_of_the_process: [Root, NotOn("crun", "has the runtime's")],
    create_container_hooks_begin_in_the_root_file_system: [Root, NotOn("crun", "in the bundle")],
    mounts_of_a_create_container_hook_are_in_the_container: [Root],
    state_on_stdin_has_the_hosts_pid: [Root],
    state_on_stdin_has_the_status_of_the_specification: [Root, Corten("runtime.md: creating until create has returned; crun says created and starting")],
    state_on_stdin_of_poststop_is_stopped: [Root],
    state_of_container_hooks_has_a_pid_of_their_namespace: [Root, NotOn("crun", "says 0")],
    arguments_and_environment_are_those_given: [Root],
    environment_that_is_absent_is_the_runtimes: [Root],
    hooks_have_three_descriptors: [Root, NotOn("runc", LEAKS)],
    hooks_that_read_nothing_are_no_error: [Root, NotOn("crun", "1.8 dies of the broken pipe")],
    hooks_that_write_much_do_not_block: [Root],
    hooks_may_ask_for_the_state: [Root, Corten("the others have none until create has returned")],
    poststop_hooks_run_after_run_and_forced_delete: [Root],
    null_and_empty_hooks_are_none: [Root],
}

/// A hook that reads its stdin, which crun takes for granted, then runs this.
pub fn shell(script: &str) -> Value {
    unread(&format!("cat >/dev/null; {script}"))
}

pub fn unread(script: &str) -> Value {
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script] })
}

pub fn hook(config: &mut Value, kind: &str, hook: Value) {
    add(config, &format!("/hooks/{kind}"), hook);
}

/// A file that hooks write to, on the host; in the container it is /log/file when [`Log::show`] was called.
pub struct Log {
    directory: PathBuf,
}

impl Log {
    pub fn new(runtime: &Runtime) -> std::io::Result<Self> {
        let directory = runtime.directory().join("log");
        fs::create_dir(&directory)?;
        // Hooks of the container's namespaces may be somebody else on the host.
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777))?;
        Ok(Self { directory })
    }

    pub fn show(&self, config: &mut Value) {
        bind(config, "/log", &self.directory, &["bind"]);
    }

    pub fn file(&self) -> PathBuf {
        self.directory.join("file")
    }

    /// A hook that appends this line.
    pub fn line(&self, line: &str) -> Value {
        shell(&format!("umask 0; echo {line} >>{}", self.file().display()))
    }

    /// A hook that appends what the command prints.
    pub fn output(&self, command: &str) -> Value {
        shell(&format!("umask 0; {{ {command}; }} >>{}", self.file().display()))
    }

    pub fn read(&self) -> String {
        fs::read_to_string(self.file()).unwrap_or_default()
    }

    pub fn lines(&self) -> Vec<String> {
        self.read().lines().map(str::to_owned).collect()
    }
}

pub const FOREVER: &[&str] = &["sleep", "1000"];

fn hooks_run_at_their_time_and_in_their_order(runtime: &Runtime) -> TestResult {
    let (log, id) = (Log::new(runtime)?, runtime.new_id());
    let bundle = runtime.bundle_with(FOREVER, |config| {
        log.show(config);
        for kind in ["poststop", "poststart", "createContainer", "createRuntime", "prestart"] {
            for number in [0, 1] {
                hook(config, kind, log.line(&format!("{kind} {number}")));
            }
        }
        for number in [0, 1] {
            hook(
                config,
                "startContainer",
                shell(&format!("echo startContainer {number} >>/log/file")),
            );
        }
    })?;
    let twice = |kinds: &[&str]| -> Vec<String> {
        kinds.iter().flat_map(|kind| [format!("{kind} 0"), format!("{kind} 1")]).collect()
    };
    runtime.create(&bundle, &id)?.ok()?;
    let created = ["prestart", "createRuntime", "createContainer"];
    ensure_eq!(log.lines(), twice(&created));
    runtime.start(&id)?.ok()?;
    runtime.wait_until("all hooks of start", || Ok(log.lines().len() >= 10))?;
    ensure_eq!(log.lines(), twice(&[&created[..], &["startContainer", "poststart"]].concat()));

    runtime.delete_force(&id)?.ok()?;
    let lines = log.lines();
    ensure_eq!(lines.get(10..), Some(&twice(&["poststop"])[..]));
    Ok(())
}

fn hooks_of_the_runtime_run_in_its_namespaces(runtime: &Runtime) -> TestResult {
    let (log, id) = (Log::new(runtime)?, runtime.new_id());
    let kinds = ["prestart", "createRuntime", "poststart", "poststop"];
    let bundle = runtime.bundle_with(FOREVER, |config| {
        kinds.iter().for_each(|kind| hook(config, kind, log.output("readlink /proc/self/ns/mnt /proc/self/ns/net /proc/self/ns/pid | tr '\\n' ' '; echo")));
    })?;
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    runtime.delete_force(&id)?.ok()?;
    let own = std::process::id().try_into()?;
    let expected = ["mnt", "net", "pid"]
        .map(|kind| namespace_of(own, kind))
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    let expected = format!("{} ", expected.join(" "));
    runtime.wait_until("the hooks", || Ok(log.lines().len() == kinds.len()))?;
    ensure!(log.lines().iter().all(|line| *line == expected), "not {expected}: {}", log.read());
    Ok(())
}

fn hooks_of_the_container_run_in_its_namespaces(runtime: &Runtime) -> TestResult {
    let (log, id) = (Log::new(runtime)?, runtime.new_id());
    let kinds = ["mnt", "net", "pid", "uts", "ipc"];
    let files = kinds.map(|kind| format!("/proc/self/ns/{kind}")).join(" ");
    let bundle = runtime.bundle_with(FOREVER, |config| {
        log.show(config);
        // The /proc here is the host's still: self is by its pid there.
        hook(
            config,
            "createContainer",
            log.output(&format!("for f in {files}; do readlink $f; done")),
        );
        hook(
            config,
            "startContainer",
            shell(&format!("for f in {files}; do readlink $f; done >>/log/file")),
        );
    })?;
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    runtime.wait_until("the hooks", || Ok(log.lines().len() == 10))?;
    let pid = runtime.pid(&id)?;
    let expected =
        kinds.map(|kind| namespace_of(pid, kind)).into_iter().collect::<Result<Vec<_>, _>>()?;
    ensure_eq!(log.lines(), [expected.clone(), expected].concat());
    Ok(())
}

fn start_container_hooks_have_the_containers_root(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["cat", "/seen"], |config| {
        let hooks = json!({ "path": "/opt/hook", "args": ["hook", "argument"] });
        hook(config, "startContainer", hooks);
    })?;
    fs::create_dir(bundle.in_rootfs("opt"))?;
    bundle.script("opt/hook", "ls / >/seen; echo $1 >>/seen")?;
    let seen = runtime.run(&bundle)?.ok()?.stdout;
    ensure!(seen.contains("opt\n") && seen.ends_with("argument\n"), "another root: {seen}");
    Ok(())
}

fn start_container_hooks_have_the_environment_of_the_process(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["cat", "/seen"], |config| {
        config["process"]["env"] = json!(["PATH=/bin", "ONE=two"]);
        let script = "echo $ONE $HOME >/seen";
        hook(config, "startContainer", json!({ "path": "/bin/sh", "args": ["sh", "-c", script] }));
    })?;
    // HOME comes from the image's /etc/passwd, or is / without it.
    let seen = runtime.run(&bundle)?.ok()?.stdout;
    ensure!(seen.starts_with("two /"), "another environment: {seen}");
    Ok(())
}

fn create_container_hooks_begin_in_the_root_file_system(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["cat", "/seen"], |config| {
        hook(config, "createContainer", shell("echo made >./seen"));
    })?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "made\n");
    Ok(())
}

fn mounts_of_a_create_container_hook_are_in_the_container(runtime: &Runtime) -> TestResult {
    // How GPU hooks bring libraries in: before pivot, in the container's mount namespace.
    let mut bundle = runtime.bundle(&["cat", "/mnt/file"])?;
    fs::create_dir(bundle.in_rootfs("mnt"))?;
    let target = bundle.in_rootfs("mnt").display().to_string();
    bundle.edit(|config| {
        hook(
            config,
            "createContainer",
            shell(&format!("mount -t tmpfs tmpfs {target} && echo mounted >{target}/file")),
        );
    })?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "mounted\n");
    ensure!(!bundle.in_rootfs("mnt/file").exists(), "the mount was the host's");
    Ok(())
}

/// The state that each kind reads, by its name.
fn states(runtime: &Runtime, kinds: &[&str]) -> Result<(i32, Bundle, Vec<Value>), Failed> {
    let (log, id) = (Log::new(runtime)?, runtime.new_id());
    let bundle = runtime.bundle_with(FOREVER, |config| {
        log.show(config);
        config["annotations"] = json!({ "a.key": "a \"value\"" });
        for kind in kinds {
            let file = if *kind == "startContainer" {
                "/log".into()
            } else {
                log.directory.display().to_string()
            };
            hook(config, kind, unread(&format!("cat >{file}/{kind}")));
        }
    })?;
    runtime.create(&bundle, &id)?.ok()?;
    let pid = runtime.pid(&id)?;
    runtime.start(&id)?.ok()?;
    runtime.wait_for_status(&id, "running")?;
    let file = |kind: &str| log.directory.join(kind);
    for kind in kinds.iter().filter(|kind| **kind != "poststop") {
        runtime
            .wait_until(kind, || Ok(fs::read(file(kind)).is_ok_and(|text| text.ends_with(b"}"))))?;
    }
    runtime.delete_force(&id)?.ok()?;
    let mut states = Vec::new();
    for kind in kinds {
        let state: Value = serde_json::from_slice(&fs::read(file(kind))?)?;
        ensure_eq!((*kind, state["id"].as_str()), (*kind, Some(id.as_str())));
        states.push(state);
    }
    Ok((pid, bundle, states))
}

fn state_on_stdin_has_the_hosts_pid(runtime: &Runtime) -> TestResult {
    let kinds = ["prestart", "createRuntime", "poststart"];
    let (pid, bundle, states) = states(runtime, &kinds)?;
    for (state, kind) in states.iter().zip(kinds) {
        ensure!(state["pid"] == pid, "{kind}: the pid is not {pid}: {state}");
        ensure_eq!(state["bundle"].as_str(), bundle.path().to_str());
        ensure_eq!(state["annotations"]["a.key"], "a \"value\"");
        ensure!(
            state["ociVersion"].as_str().is_some_and(|version| version.starts_with('1')),
            "{state}"
        );
    }
    Ok(())
}

fn state_on_stdin_has_the_status_of_the_specification(runtime: &Runtime) -> TestResult {
    let rows = [
        ("prestart", "creating"),
        ("createRuntime", "creating"),
        ("createContainer", "creating"),
        ("startContainer", "created"),
        ("poststart", "running"),
        ("poststop", "stopped"),
    ];
    let (_, _, states) = states(runtime, &rows.map(|(kind, _)| kind))?;
    for (state, (kind, status)) in states.iter().zip(rows) {
        ensure!(state["status"] == status, "{kind}: {state}");
    }
    Ok(())
}

fn state_on_stdin_of_poststop_is_stopped(runtime: &Runtime) -> TestResult {
    let (_, _, states) = states(runtime, &["poststop"])?;
    for state in states {
        ensure_eq!(state["status"], "stopped");
    }
    Ok(())
}

fn state_of_container_hooks_has_a_pid_of_their_namespace(runtime: &Runtime) -> TestResult {
    let (_, _, states) = states(runtime, &["createContainer", "startContainer"])?;
    for state in states {
        ensure_eq!(state["pid"], 1);
    }
    Ok(())
}

fn arguments_and_environment_are_those_given(runtime: &Runtime) -> TestResult {
    let (log, id) = (Log::new(runtime)?, runtime.new_id());
    let file = log.file();
    let script = format!("(echo \"$0 $1\"; tr '\\0' '\\n' </proc/$$/environ) >>{}", file.display());
    let bundle = runtime.bundle_with(FOREVER, |config| {
        let args = ["a name", "-c", &script, "zero", "one"];
        hook(
            config,
            "createRuntime",
            json!({ "path": "/bin/sh", "args": args, "env": ["A=1", "PATH=/usr/bin:/bin"] }),
        );
        hook(config, "createRuntime", json!({ "path": "/bin/sh", "args": args, "env": ["B=2"] }));
    })?;
    runtime.create(&bundle, &id)?.ok()?;
    let mut lines = log.lines();
    // A shell without PATH and PWD sets them for itself, not in what it was given.
    ensure_eq!(lines.drain(..3).collect::<Vec<_>>(), ["zero one", "A=1", "PATH=/usr/bin:/bin"]);
    ensure_eq!(lines, ["zero one", "B=2"]);
    Ok(())
}

fn environment_that_is_absent_is_the_runtimes(runtime: &Runtime) -> TestResult {
    let (log, id) = (Log::new(runtime)?, runtime.new_id());
    let bundle = runtime.bundle_with(FOREVER, |config| {
        hook(config, "createRuntime", log.output("echo $OF_THE_CALLER"));
    })?;
    let create = runtime.command(["create", "--bundle"]).arg(bundle.path()).arg(&id);
    create.env("OF_THE_CALLER", "inherited").output()?.ok()?;
    ensure_eq!(log.read(), "inherited\n");
    Ok(())
}

fn hooks_have_three_descriptors(runtime: &Runtime) -> TestResult {
    let (log, id) = (Log::new(runtime)?, runtime.new_id());
    let bundle = runtime.bundle_with(FOREVER, |config| {
        log.show(config);
        for kind in ["createRuntime", "createContainer", "poststart"] {
            hook(config, kind, log.output("cd /proc/self/fd; echo *"));
        }
        hook(config, "startContainer", shell("{ cd /proc/self/fd; echo *; } >>/log/file"));
    })?;
    // What the caller has open is no more theirs than what the runtime has.
    let create = runtime.command(["create", "--bundle"]).arg(bundle.path()).arg(&id);
    create.redirected("3</etc/passwd 7</").output()?.ok()?;
    runtime.start(&id)?.ok()?;
    runtime.wait_until("the hooks", || Ok(log.lines().len() == 4))?;
    for line in log.lines() {
        // The shell has moved its stdout to 10 or 3 while echo writes to the file.
        let own: Vec<_> =
            line.split(' ').filter(|number| !matches!(*number, "10" | "11")).collect();
        ensure!(
            own == ["0", "1", "2"] || own == ["0", "1", "2", "3"],
            "more than its own: {}",
            log.read()
        );
    }
    Ok(())
}

fn hooks_that_read_nothing_are_no_error(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = runtime.bundle_with(FOREVER, |config| {
        // More than a pipe holds.
        config["annotations"] = json!({ "large": "x".repeat(300_000) });
        for kind in [
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ] {
            hook(config, kind, unread("exec <&-; true"));
        }
    })?;
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    runtime.delete_force(&id)?.ok()?;
    Ok(())
}

fn hooks_that_write_much_do_not_block(runtime: &Runtime) -> TestResult {
    let noise = "i=0; while [ $i -lt 300 ]; do echo 0123456789012345678901234567890123456789; \
        echo 0123456789012345678901234567890123456789 >&2; i=$((i+1)); done; head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2";
    let bundle = runtime.bundle_with(&["true"], |config| {
        for kind in ["createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
        {
            hook(config, kind, shell(noise));
        }
    })?;
    runtime.run(&bundle)?.ok()?;
    Ok(())
}

fn hooks_may_ask_for_the_state(runtime: &Runtime) -> TestResult {
    let (log, id) = (Log::new(runtime)?, runtime.new_id());
    let ask = format!(
        "{} --root {} state {id} | tr -d '\\n'; echo",
        runtime.program().display(),
        runtime.root().display()
    );
    let bundle = runtime.bundle_with(FOREVER, |config| {
        hook(config, "createRuntime", log.output(&ask));
        hook(config, "poststart", log.output(&ask));
    })?;
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    let states = log
        .lines()
        .iter()
        .map(|line| serde_json::from_str(line))
        .collect::<Result<Vec<Value>, _>>()?;
    ensure_eq!(
        states.iter().map(|state| state["status"].as_str()).collect::<Vec<_>>(),
        [Some("creating"), Some("running")]
    );
    Ok(())
}

fn poststop_hooks_run_after_run_and_forced_delete(runtime: &Runtime) -> TestResult {
    let log = Log::new(runtime)?;
    let bundle =
        runtime.bundle_with(&["true"], |config| hook(config, "poststop", log.line("ran")))?;
    runtime.run(&bundle)?.ok()?;
    ensure_eq!(log.read(), "ran\n");
    let id = runtime.new_id();
    let bundle =
        runtime.bundle_with(FOREVER, |config| hook(config, "poststop", log.line("forced")))?;
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    runtime.delete_force(&id)?.ok()?;
    runtime.delete_force(&id)?.ok()?;
    ensure_eq!(log.read(), "ran\nforced\n");
    Ok(())
}

fn null_and_empty_hooks_are_none(runtime: &Runtime) -> TestResult {
    for hooks in [Value::Null, json!({}), json!({ "prestart": null, "poststop": [] })] {
        sh(runtime, "true", |config| config["hooks"] = hooks.clone())?;
    }
    Ok(())
}
