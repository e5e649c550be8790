//! `exec`: a process more in a container, with what it inherits.
//!
//! Runs in: any process.

use std::fs;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, Root, Strace};
use crate::inside::{field, namespace_of, proc_file};
use crate::runtime::{Invocation, Outcome, Runtime};

const ANY_ERROR_IS_1: &str = "exits with 1 for its own errors";
const OTHER_WORDS: &str = "has other words for it";
const READS_CONFIG: &str = "reads config.json again";
const FORGETS_IT: &str = "the version of Debian 12 does not inherit it";

table! {
    output_and_exit_code_are_the_process_s: [Root],
    signal_that_ends_it_is_128_and_its_number: [Root],
    own_errors_exit_with_255: [Root, NotOn("crun", ANY_ERROR_IS_1)],
    stopped_container_is_refused: [Root, NotOn("crun", OTHER_WORDS)],
    created_container_takes_processes: [Root],
    container_that_run_still_makes_is_refused: [Root, Strace, Corten("the others record nothing before it is made")],
    process_is_in_all_namespaces_of_init: [Root],
    process_is_in_the_cgroup_of_the_container: [Root],
    process_is_a_child_of_the_runtimes_caller_when_detached: [Root],
    environment_is_that_of_the_container_and_more: [Root, NotOn("crun", FORGETS_IT)],
    empty_environment_variable_is_refused_and_none_is_lost: [Root, NotOn("crun", FORGETS_IT), NotOn("runc", "1.1 takes it")],
    home_comes_from_the_containers_passwd: [Root, NotOn("crun", "sets an empty one where there is no entry")],
    user_is_that_of_the_container_or_the_one_asked_for: [Root, NotOn("crun", FORGETS_IT)],
    groups_are_added: [Root, NotOn("crun", "has no such flag")],
    cwd_is_that_of_the_container_or_the_one_asked_for: [Root, NotOn("crun", FORGETS_IT)],
    limits_are_those_of_the_container: [Root, NotOn("crun", FORGETS_IT)],
    capabilities_are_those_of_the_container_and_more: [Root, NotOn("crun", "--cap replaces them")],
    no_new_privileges_are_inherited_and_can_be_asked_for: [Root, NotOn("crun", FORGETS_IT)],
    umask_of_the_container_holds: [Root, NotOn("runc", FORGETS_IT), NotOn("crun", FORGETS_IT)],
    process_file_says_all: [Root],
    process_file_may_be_a_pipe: [Root],
    process_file_inherits_what_it_leaves_open: [Root, NotOn("crun", FORGETS_IT), NotOn("runc", FORGETS_IT)],
    process_file_with_a_fault_is_refused: [Root, NotOn("crun", "takes some of them")],
    config_that_has_changed_or_vanished_does_not_matter: [Root, NotOn("runc", READS_CONFIG)],
    pid_file_names_the_process: [Root],
    pid_file_that_cannot_be_written_ends_the_process: [Root, NotOn("crun", "leaves it running")],
    preserved_descriptor_arrives: [Root],
    listen_fds_are_not_for_exec: [Root, NotOn("crun", "passes them on, whatever LISTEN_PID says")],
    descriptors_of_the_runtime_do_not: [Root],
    flags_after_the_container_are_the_programs: [Root],
    container_without_namespaces_of_its_own_keeps_its_root:
        [Root, NotOn("runc", "leaves the process in the root of the host"), NotOn("crun", "does not run such a container")],
    hundred_in_a_row_end: [Root],
    processes_end_with_the_container: [Root],
}

/// A container that runs until it is deleted.
pub fn running(
    runtime: &Runtime,
    change: impl FnOnce(&mut Value),
) -> Result<(String, Bundle), Failed> {
    let bundle = runtime.bundle_with(&["sleep", "1000"], change)?;
    let id = runtime.new_id();
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    Ok((id, bundle))
}

pub fn exec<'a>(runtime: &'a Runtime, id: &str, command: &[&str]) -> Invocation<'a> {
    exec_with(runtime, &[], id, command)
}

pub fn exec_with<'a>(
    runtime: &'a Runtime,
    flags: &[&str],
    id: &str,
    command: &[&str],
) -> Invocation<'a> {
    runtime.command([&["exec"], flags, &[id], command].concat())
}

/// The end of a container with processes that `exec` has left to us: runc 1.1 does not delete one while they are zombies.
pub fn end(runtime: &Runtime, id: &str) -> TestResult {
    runtime.kill(id, "KILL")?.ok()?;
    runtime.wait_until("the end of the container", || {
        crate::leaks::reap(runtime.marker());
        Ok(runtime.status(id)? == "stopped")
    })
}

/// What the container's shell prints in an exec.
pub fn sh(runtime: &Runtime, flags: &[&str], id: &str, script: &str) -> Result<String, Failed> {
    Ok(exec_with(runtime, flags, id, &["sh", "-c", script]).output()?.ok()?.stdout)
}

fn output_and_exit_code_are_the_process_s(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let outcome = exec(runtime, &id, &["sh", "-c", "cat; echo err >&2; exit 42"])
        .stdin(fs::File::open("/etc/hostname")?)
        .output()?
        .exits(42)?;
    ensure_eq!(outcome.stdout, fs::read_to_string("/etc/hostname")?);
    ensure_eq!(outcome.stderr, "err\n");
    exec(runtime, &id, &["false"]).output()?.exits(1)?;
    ensure_eq!(runtime.status(&id)?, "running");
    Ok(())
}

fn signal_that_ends_it_is_128_and_its_number(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    exec(runtime, &id, &["sh", "-c", "kill -KILL $$"]).output()?.exits(137)?;
    Ok(())
}

fn own_errors_exit_with_255(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let fails = |outcome: Outcome, text: &str| outcome.exits(255)?.fails_with(text);
    fails(
        exec(runtime, &id, &["no-such-program"]).output()?,
        "executable file not found in $PATH",
    )?;
    fails(exec(runtime, &id, &["/no/such"]).output()?, "no such file or directory")?;
    fails(exec(runtime, &id, &["/etc/passwd"]).output()?, "permission denied")?;
    fails(exec(runtime, &runtime.new_id(), &["true"]).output()?, "does not exist")?;
    fails(exec(runtime, &id, &[]).output()?, "args cannot be empty")?;
    fails(
        exec_with(runtime, &["--user", "root"], &id, &["true"]).output()?,
        if runtime.is("runc") { "uid failed" } else { "bad uid" },
    )?;
    fails(exec_with(runtime, &["--preserve-fds", "90"], &id, &["true"]).output()?, "preserved-fd")?;
    Ok(())
}

fn stopped_container_is_refused(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    runtime.kill(&id, "KILL")?.ok()?;
    runtime.wait_for_status(&id, "stopped")?;
    exec(runtime, &id, &["true"]).output()?.fails_with("cannot exec in a stopped container")?;
    Ok(())
}

/// Before pivot_root the root of init is that of the host: nobody may be let in.
fn container_that_run_still_makes_is_refused(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["true"])?;
    let id = runtime.new_id();
    let slowly = ["strace", "-f", "-o", "/dev/null", "-e", "inject=pivot_root:delay_enter=3s"];
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(&id);
    let run = run.wrapped_by(slowly).spawn()?;
    let recorded = runtime.root().join(&id).join("state.json");
    runtime.wait_until("the record", || Ok(recorded.exists()))?;
    runtime.wait_for_status(&id, "creating")?;
    let refused = runtime.command(["exec", &id, "cat", "/etc/hostname"]).output()?;
    refused.fails_with("cannot exec in a container that is not created")?;
    ensure_eq!(runtime.status(&id)?, "creating");
    run.wait()?.ok().map(drop)
}

fn created_container_takes_processes(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    runtime.create(&runtime.bundle(&["true"])?, &id)?.ok()?;
    ensure_eq!(exec(runtime, &id, &["hostname"]).output()?.ok()?.stdout, "corten\n");
    ensure_eq!(runtime.status(&id)?, "created");
    Ok(())
}

fn process_is_in_all_namespaces_of_init(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let pid = runtime.pid(&id)?;
    for kind in ["pid", "net", "ipc", "uts", "mnt", "cgroup", "user", "time"] {
        let seen =
            exec(runtime, &id, &["readlink", &format!("/proc/self/ns/{kind}")]).output()?.ok()?;
        ensure_eq!(seen.stdout.trim(), namespace_of(pid, kind)?);
    }
    ensure_eq!(sh(runtime, &[], &id, "ls /proc | grep -c ^1$; pwd -P")?, "1\n/\n");
    Ok(())
}

fn process_is_in_the_cgroup_of_the_container(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let unified = |text: &str| text.lines().find(|line| line.starts_with("0::")).map(str::to_owned);
    let file = runtime.directory().join("pid");
    exec_with(
        runtime,
        &["--detach", "--pid-file", file.to_str().ok_or("path")?],
        &id,
        &["sleep", "100"],
    )
    .output()?
    .ok()?;
    let pid = fs::read_to_string(&file)?.parse()?;
    let init = unified(&proc_file(runtime.pid(&id)?, "cgroup")?);
    ensure!(init.is_some(), "no line 0::");
    ensure_eq!(unified(&proc_file(pid, "cgroup")?), init);
    end(runtime, &id)
}

fn process_is_a_child_of_the_runtimes_caller_when_detached(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let file = runtime.directory().join("pid");
    let flags = ["-d", "--pid-file", file.to_str().ok_or("path")?];
    exec_with(runtime, &flags, &id, &["sleep", "100"]).output()?.ok()?;
    let status = proc_file(fs::read_to_string(&file)?.parse()?, "status")?;
    // Its parent is whoever takes orphans here, and no process of the container.
    let parent = field(&status, "PPid")?;
    ensure!(parent != runtime.pid(&id)?.to_string(), "init of the container is its parent");
    ensure!(field(&status, "NSpid")?.split_whitespace().count() == 2, "{status}");
    end(runtime, &id)
}

fn empty_environment_variable_is_refused_and_none_is_lost(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let outcome = exec_with(runtime, &["-e", "A=1", "-e", ""], &id, &["env"]).output()?;
    outcome.exits(255)?.fails_with("invalid environment variable: missing '='").map(drop)
}

fn environment_is_that_of_the_container_and_more(runtime: &Runtime) -> TestResult {
    let (id, _bundle) =
        running(runtime, |config| config["process"]["env"] = json!(["PATH=/bin", "A=1", "B=2"]))?;
    let seen =
        exec_with(runtime, &["-e", "B=3", "-e", "C=4,5"], &id, &["env"]).output()?.ok()?.stdout;
    let mut lines: Vec<_> = seen.lines().collect();
    lines.sort_unstable();
    ensure_eq!(lines, ["A=1", "B=3", "C=4,5", "HOME=/root", "PATH=/bin"]);
    Ok(())
}

fn home_comes_from_the_containers_passwd(runtime: &Runtime) -> TestResult {
    let (id, bundle) = running(runtime, |_| {})?;
    fs::write(bundle.in_rootfs("etc/passwd"), "temp:x:2000:2000::/home/temp:/bin/sh\n")?;
    ensure_eq!(sh(runtime, &["-u", "2000"], &id, "echo $HOME")?, "/home/temp\n");
    ensure_eq!(sh(runtime, &["-u", "2001"], &id, "echo $HOME")?, "/\n");
    Ok(())
}

fn user_is_that_of_the_container_or_the_one_asked_for(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |config| {
        config["process"]["user"] = json!({ "uid": 1000, "gid": 50, "additionalGids": [7] });
    })?;
    let ids = "id -u; id -g; id -G";
    ensure_eq!(sh(runtime, &[], &id, ids)?, "1000\n50\n50 7\n");
    ensure_eq!(sh(runtime, &["--user", "1001:60"], &id, ids)?, "1001\n60\n60 7\n");
    if !runtime.is("crun") {
        ensure_eq!(sh(runtime, &["-u", "0"], &id, "id -u; id -g")?, "0\n50\n");
    }
    Ok(())
}

fn groups_are_added(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let flags = ["--user", "1000:1000", "--additional-gids", "100", "--additional-gids", "65534"];
    ensure_eq!(sh(runtime, &flags, &id, "id -G")?, "1000 100 65534\n");
    Ok(())
}

fn cwd_is_that_of_the_container_or_the_one_asked_for(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |config| config["process"]["cwd"] = json!("/home"))?;
    ensure_eq!(exec(runtime, &id, &["pwd"]).output()?.ok()?.stdout, "/home\n");
    ensure_eq!(
        exec_with(runtime, &["--cwd", "/etc"], &id, &["pwd"]).output()?.ok()?.stdout,
        "/etc\n"
    );
    exec_with(runtime, &["--cwd", "/nowhere"], &id, &["pwd"])
        .output()?
        .fails_with("no such file or directory")?;
    Ok(())
}

fn limits_are_those_of_the_container(runtime: &Runtime) -> TestResult {
    let limits = json!([{ "type": "RLIMIT_NOFILE", "hard": 321, "soft": 123 }, { "type": "RLIMIT_CORE", "hard": 7, "soft": 7 }]);
    let (id, _bundle) = running(runtime, |config| config["process"]["rlimits"] = limits)?;
    let seen = exec(runtime, &id, &["cat", "/proc/self/limits"]).output()?.ok()?.stdout;
    let line = |name: &str| {
        let line = seen.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<u64>>()
    };
    ensure_eq!(line("Max open files"), [123, 321]);
    ensure_eq!(line("Max core file size"), [7, 7]);
    Ok(())
}

fn status(runtime: &Runtime, flags: &[&str], id: &str) -> Result<String, Failed> {
    Ok(exec_with(runtime, flags, id, &["cat", "/proc/self/status"]).output()?.ok()?.stdout)
}

fn capabilities_are_those_of_the_container_and_more(runtime: &Runtime) -> TestResult {
    let one = json!(["CAP_KILL"]);
    let sets = json!({ "bounding": one, "effective": one, "permitted": one });
    let (id, _bundle) = running(runtime, |config| config["process"]["capabilities"] = sets)?;
    let seen = status(runtime, &[], &id)?;
    for set in ["CapBnd", "CapEff", "CapPrm"] {
        ensure_eq!(field(&seen, set)?, "0000000000000020");
    }
    let seen = status(runtime, &["--cap", "CAP_CHOWN", "--cap", "CAP_FOWNER"], &id)?;
    for set in ["CapBnd", "CapEff", "CapPrm"] {
        ensure_eq!(field(&seen, set)?, "0000000000000029");
    }
    ensure_eq!(field(&seen, "CapAmb")?, "0000000000000000");
    Ok(())
}

fn no_new_privileges_are_inherited_and_can_be_asked_for(runtime: &Runtime) -> TestResult {
    for inherited in [true, false] {
        let (id, _bundle) =
            running(runtime, |config| config["process"]["noNewPrivileges"] = json!(inherited))?;
        let seen = status(runtime, &[], &id)?;
        ensure_eq!(field(&seen, "NoNewPrivs")?, if inherited { "1" } else { "0" });
        for (flag, expected) in
            [("--no-new-privs", "1"), ("--no-new-privs=true", "1"), ("--no-new-privs=false", "0")]
        {
            let seen = status(runtime, &[flag], &id)?;
            ensure_eq!(field(&seen, "NoNewPrivs")?, expected);
        }
    }
    Ok(())
}

fn umask_of_the_container_holds(runtime: &Runtime) -> TestResult {
    let (id, _bundle) =
        running(runtime, |config| config["process"]["user"]["umask"] = json!(0o027))?;
    ensure_eq!(sh(runtime, &[], &id, "umask")?, "0027\n");
    Ok(())
}

/// A process.json with these members and what it must have.
pub fn process_file(runtime: &Runtime, members: Value) -> Result<String, Failed> {
    let mut process = json!({ "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } });
    for (name, value) in members.as_object().ok_or("no object")? {
        process[name] = value.clone();
    }
    let file = runtime.directory().join(format!("{}.json", runtime.new_id()));
    fs::write(&file, process.to_string())?;
    Ok(file.to_str().ok_or("path")?.to_owned())
}

fn process_file_says_all(runtime: &Runtime) -> TestResult {
    let (id, _bundle) =
        running(runtime, |config| config["process"]["env"] = json!(["PATH=/bin", "GONE=1"]))?;
    let script = "pwd; id -u; id -G; echo $A$GONE; umask";
    let user = json!({ "uid": 1000, "gid": 1000, "additionalGids": [5] });
    let file = process_file(
        runtime,
        json!({ "args": ["sh", "-c", script], "cwd": "/etc", "user": user, "env": ["PATH=/bin", "A=x"] }),
    )?;
    let seen = exec_with(runtime, &["--process", &file], &id, &[]).output()?.ok()?;
    ensure_eq!(seen.stdout, "/etc\n1000\n1000 5\nx\n0022\n");
    Ok(())
}

fn process_file_may_be_a_pipe(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let file = process_file(runtime, json!({ "args": ["echo", "piped"] }))?;
    let script = "cat \"$0\" | { exec 5<&0 0</dev/null; exec \"$@\" -p /proc/self/fd/5 $ID; }";
    let piped = runtime.command(["exec"]).env("ID", &id).wrapped_by(["sh", "-c", script, &file]);
    ensure_eq!(piped.output()?.ok()?.stdout, "piped\n");
    Ok(())
}

fn process_file_inherits_what_it_leaves_open(runtime: &Runtime) -> TestResult {
    let limits = json!([{ "type": "RLIMIT_NOFILE", "hard": 321, "soft": 123 }]);
    let (id, _bundle) = running(runtime, |config| config["process"]["rlimits"] = limits)?;
    let file = process_file(
        runtime,
        json!({ "args": ["sh", "-c", "ulimit -n; grep Cap /proc/self/status"] }),
    )?;
    let seen = exec_with(runtime, &["-p", &file], &id, &[]).output()?.ok()?.stdout;
    ensure!(seen.starts_with("123\n"), "{seen}");
    // CAP_AUDIT_WRITE, CAP_KILL, CAP_NET_BIND_SERVICE: what the bundle has.
    ensure_eq!(field(&seen, "CapBnd")?, "0000000020000420");
    Ok(())
}

fn process_file_with_a_fault_is_refused(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let refused = |members: Value| {
        let file = process_file(runtime, members)?;
        exec_with(runtime, &["--process", &file], &id, &[]).output()?.fails()
    };
    refused(json!({ "args": [] }))?;
    refused(json!({ "args": ["true"], "cwd": "etc" }))?;
    refused(json!({ "args": ["true"], "user": "root" }))?;
    exec_with(runtime, &["--process", "/nonexistent"], &id, &[])
        .output()?
        .fails_with("no such file or directory")?;
    Ok(())
}

fn config_that_has_changed_or_vanished_does_not_matter(runtime: &Runtime) -> TestResult {
    let (id, mut bundle) = running(runtime, |config| config["process"]["cwd"] = json!("/home"))?;
    bundle.edit(|config| config["process"]["cwd"] = json!("/etc"))?;
    if !runtime.is("crun") {
        ensure_eq!(exec(runtime, &id, &["pwd"]).output()?.ok()?.stdout, "/home\n");
    }
    fs::remove_file(bundle.config_path())?;
    exec(runtime, &id, &["true"]).output()?.ok()?;
    Ok(())
}

fn pid_file_names_the_process(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let file = runtime.directory().join("pid");
    let flags = ["--pid-file", file.to_str().ok_or("path")?];
    exec_with(runtime, &[&flags[..], &["--detach"]].concat(), &id, &["sleep", "100"])
        .output()?
        .ok()?;
    let pid: i32 = fs::read_to_string(&file)?.parse()?;
    // runc does not wait for its execve.
    runtime.wait_until("the program", || Ok(proc_file(pid, "cmdline")?.starts_with("sleep\0")))?;
    // A second one replaces it.
    exec_with(runtime, &flags, &id, &["true"]).output()?.ok()?;
    ensure!(fs::read_to_string(&file)?.parse::<i32>()? != pid, "the file was not written");
    end(runtime, &id)
}

fn pid_file_that_cannot_be_written_ends_the_process(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    exec_with(runtime, &["-d", "--pid-file", "/nonexistent/pid"], &id, &["sleep", "77"])
        .output()?
        .fails()?;
    runtime.wait_until("the end of the process", || {
        Ok(!sh(runtime, &[], &id, "ps")?.contains("sleep 77"))
    })
}

fn preserved_descriptor_arrives(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let file = runtime.directory().join("preserved");
    fs::write(&file, "hello")?;
    let outcome = exec_with(runtime, &["--preserve-fds=2"], &id, &["sh", "-c", "cat <&4"])
        .redirected(&format!("3</dev/null 4<{}", file.display()))
        .output()?
        .ok()?;
    ensure_eq!(outcome.stdout, "hello");
    Ok(())
}

/// runc's exec knows nothing of them, whatever the help of its `--preserve-fds` says.
fn listen_fds_are_not_for_exec(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let file = runtime.directory().join("preserved");
    fs::write(&file, "hello")?;
    let script = "echo $LISTEN_FDS.$LISTEN_PID; cat <&3; ls /proc/self/fd";
    let exec = exec_with(runtime, &["--preserve-fds=1"], &id, &["sh", "-c", script]);
    let shell =
        format!("export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\" 3<{0} 4<{0}", file.display());
    let seen = exec.wrapped_by(["sh", "-c", &shell, "sh"]).output()?.ok()?.stdout;
    ensure_eq!(seen.split_whitespace().collect::<Vec<_>>(), [".", "hello0", "1", "2", "3", "4"]);
    Ok(())
}

fn descriptors_of_the_runtime_do_not(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let listed =
        exec(runtime, &id, &["ls", "/proc/self/fd"]).redirected("7</etc/passwd").output()?.ok()?;
    // 3 is what `ls` reads.
    ensure_eq!(listed.stdout.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    Ok(())
}

fn flags_after_the_container_are_the_programs(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let seen = exec(runtime, &id, &["echo", "-t", "--root", "/x", "--", "-d"]).output()?.ok()?;
    ensure_eq!(seen.stdout, "-t --root /x -- -d\n");
    Ok(())
}

fn container_without_namespaces_of_its_own_keeps_its_root(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |config| {
        config["linux"]["namespaces"] = json!([{ "type": "pid" }]);
        config["mounts"] = json!([]);
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
        config.as_object_mut().map(|config| config.remove("hostname"));
    })?;
    let seen = exec(runtime, &id, &["sh", "-c", "cat /etc/passwd; ls /"]).output()?.ok()?.stdout;
    ensure!(seen.contains("user:x:1000:1000::/home:/bin/sh") && !seen.contains("boot"), "{seen}");
    Ok(())
}

fn hundred_in_a_row_end(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    for number in 0..100 {
        let said = number.to_string();
        let outcome = exec(runtime, &id, &["echo", &said]).output()?.ok()?;
        ensure_eq!(outcome.stdout.trim(), said);
    }
    Ok(())
}

fn processes_end_with_the_container(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let foreground = exec(runtime, &id, &["sleep", "1000"]).spawn()?;
    runtime.wait_until("the process", || {
        Ok(sh(runtime, &[], &id, "ps | grep -c '[s]leep 1000'")?.trim() == "2")
    })?;
    runtime.delete_force(&id)?.ok()?;
    foreground.wait()?.exits(137)?;
    Ok(())
}
