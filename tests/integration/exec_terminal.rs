//! `exec` with a terminal: shown in the foreground, or handed over by `--console-socket`; and signals for it.
//!
//! Runs in: any process.

use std::fs;
use std::process::Stdio;

use libtest_mimic::Failed;
use rustix::process::Signal;
use serde_json::json;

use crate::console::{Engine, Screen, read_until, until_the_end};
use crate::exec::{end, exec_with, process_file, running};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{NotOn, Program, Root, Terminal};
use crate::runtime::Runtime;

const OTHER_WORDS: &str = "has no such check, or other words for it";
const WANTS_ONE: &str = "1.1 wants a terminal of its caller";
const PAINTS: &str = "1.8 writes some of the output as if it were its own errors, or not at all";

table! {
    terminal_without_a_terminal_of_the_caller_gives_all_of_the_output: [Root, Terminal, NotOn("crun", PAINTS), NotOn("runc", WANTS_ONE)],
    hundred_with_a_terminal_lose_nothing: [Root, Terminal, NotOn("crun", PAINTS), NotOn("runc", WANTS_ONE)],
    end_of_stdin_ends_a_shell: [Root, Terminal, NotOn("crun", PAINTS), NotOn("runc", WANTS_ONE)],
    terminal_is_of_the_container_and_the_users: [Root, Terminal, NotOn("crun", PAINTS), NotOn("runc", WANTS_ONE)],
    terminal_is_the_controlling_one: [Root, Terminal, NotOn("crun", PAINTS), NotOn("runc", WANTS_ONE)],
    foreground_passes_the_input_and_the_exit_code: [Root, Terminal, Program("setsid")],
    foreground_follows_the_callers_size: [Root, Terminal, Program("setsid"), NotOn("crun", PAINTS)],
    detached_hands_over_the_terminal: [Root, Terminal],
    detached_terminal_has_the_size_of_the_process_file:
        [Root, Terminal, NotOn("crun", "1.8 ends it before its socket is read")],
    detached_terminal_needs_a_socket: [Root, NotOn("crun", OTHER_WORDS)],
    socket_without_a_terminal_is_refused: [Root, NotOn("crun", OTHER_WORDS)],
    terminal_of_the_container_is_not_inherited: [Root, Terminal],
    error_with_a_terminal_is_one_line: [Root, Terminal, NotOn("crun", PAINTS), NotOn("runc", WANTS_ONE)],
    signals_are_forwarded: [Root],
}

fn terminal_without_a_terminal_of_the_caller_gives_all_of_the_output(
    runtime: &Runtime,
) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let shown = exec_with(runtime, &["-t"], &id, &["seq", "1", "30000"]).output()?.ok()?.stdout;
    ensure_eq!(shown.lines().count(), 30_000);
    ensure!(shown.ends_with("30000\n"), "the end is missing");
    Ok(())
}

fn hundred_with_a_terminal_lose_nothing(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    for number in 0..100 {
        let said = format!("x{number}");
        let outcome = exec_with(runtime, &["--tty"], &id, &["echo", &said]).output()?.ok()?;
        ensure_eq!(outcome.stdout.trim_end(), said);
    }
    Ok(())
}

/// Whenever it begins to edit its lines itself: before the end was typed, or after.
fn end_of_stdin_ends_a_shell(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    for _ in 0..20 {
        exec_with(runtime, &["-t"], &id, &["sh"]).stdin(Stdio::null()).output()?.ok()?;
        let script = "sleep 0.0$((RANDOM % 10)); exec sh";
        exec_with(runtime, &["-t"], &id, &["sh", "-c", script])
            .stdin(Stdio::null())
            .output()?
            .ok()?;
    }
    Ok(())
}

fn terminal_is_of_the_container_and_the_users(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let script =
        "for n in 0 1 2; do readlink /proc/self/fd/$n; done; stat -Lc '%u %g' /proc/self/fd/0";
    let flags = ["-t", "-u", "1000:100"];
    let seen = exec_with(runtime, &flags, &id, &["sh", "-c", script]).output()?.ok()?.stdout;
    ensure_eq!(seen.replace('\r', ""), "/dev/pts/0\n/dev/pts/0\n/dev/pts/0\n1000 5\n");
    Ok(())
}

fn terminal_is_the_controlling_one(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let script = "echo to tty >/dev/tty; ps -o pid,tty 2>/dev/null | grep -c 136 >/dev/null; tty";
    let seen = exec_with(runtime, &["-t"], &id, &["sh", "-c", script]).output()?.ok()?.stdout;
    ensure_eq!(seen.replace('\r', ""), "to tty\n/dev/pts/0\n");
    Ok(())
}

fn foreground_passes_the_input_and_the_exit_code(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let screen = Screen::new(24, 80)?;
    let script = "echo ready; read line; echo \"got $line\"; exit 42";
    let call = screen.call(exec_with(runtime, &["-t"], &id, &["sh", "-c", script]))?;
    read_until(&screen.master, |text| text.contains("ready"))?;
    rustix::io::write(&screen.master, b"typed\n")?;
    read_until(&screen.master, |text| text.contains("got typed"))?;
    call.wait()?.exits(42)?;
    Ok(())
}

fn foreground_follows_the_callers_size(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let screen = Screen::new(33, 111)?;
    let script = "echo is $(stty size); while [ \"$(stty size)\" != '44 132' ]; do sleep 0.05; done; echo followed";
    let call = screen.call(exec_with(runtime, &["-t"], &id, &["sh", "-c", script]))?;
    let first = read_until(&screen.master, |text| text.contains("\n"))?;
    ensure!(first.contains("is 33 111") || !runtime.is("corten"), "{first}");
    screen.resize(44, 132)?;
    read_until(&screen.master, |text| text.contains("followed"))?;
    call.wait()?.ok()?;
    Ok(())
}

fn detached_hands_over_the_terminal(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let engine = Engine::new(runtime)?;
    let socket = engine.path.to_str().ok_or("path")?;
    let flags = ["--tty", "--detach", "--console-socket", socket];
    let call =
        exec_with(runtime, &flags, &id, &["sh", "-c", "read line; echo got $line"]).spawn()?;
    let (master, payload, _connection) = engine.receive()?;
    call.wait()?.ok()?;
    ensure!(!payload.is_empty(), "no name comes with the descriptor");
    rustix::io::write(&master, b"a line\n")?;
    read_until(&master, |text| text.contains("got a line"))?;
    end(runtime, &id)
}

/// As containerd calls it: all is in the file, `--tty` is not given.
fn detached_terminal_has_the_size_of_the_process_file(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let engine = Engine::new(runtime)?;
    let file = process_file(
        runtime,
        json!({ "terminal": true, "consoleSize": { "height": 10, "width": 110 }, "args": ["stty", "size"] }),
    )?;
    let pid_file = runtime.directory().join("pid");
    let call = runtime.command(["exec", "--process", &file, "--console-socket"]).arg(&engine.path);
    let call = call.arg("--detach").arg("--pid-file").arg(&pid_file).arg(&id).spawn()?;
    let (master, _, _connection) = engine.receive()?;
    call.wait()?.ok()?;
    ensure_eq!(read_until(&master, until_the_end)?, "10 110\r\n");
    fs::read_to_string(pid_file)?.parse::<u32>()?;
    end(runtime, &id)
}

fn detached_terminal_needs_a_socket(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let call = exec_with(runtime, &["-t", "-d"], &id, &["true"]).output()?;
    call.fails_with("without setting console socket")?;
    Ok(())
}

fn socket_without_a_terminal_is_refused(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let engine = Engine::new(runtime)?;
    let socket = engine.path.to_str().ok_or("path")?;
    for flags in [vec!["-d"], vec!["-t"]] {
        let flags = [flags, vec!["--console-socket", socket]].concat();
        exec_with(runtime, &flags, &id, &["true"])
            .output()?
            .fails_with("cannot use console socket if")?;
    }
    Ok(())
}

fn terminal_of_the_container_is_not_inherited(runtime: &Runtime) -> TestResult {
    let bundle = runtime
        .bundle_with(&["sleep", "1000"], |config| config["process"]["terminal"] = json!(true))?;
    let created = crate::console::Created::new(runtime, &bundle)?;
    runtime.start(&created.id)?.ok()?;
    let seen = exec_with(runtime, &[], &created.id, &["sh", "-c", "test -t 0 || echo none"])
        .output()?
        .ok()?;
    ensure_eq!(seen.stdout, "none\n");
    Ok(())
}

fn error_with_a_terminal_is_one_line(runtime: &Runtime) -> TestResult {
    let (id, bundle) = running(runtime, |_| {})?;
    bundle.script("run.sh", "true")?;
    let text = fs::read_to_string(bundle.in_rootfs("run.sh"))?;
    fs::write(bundle.in_rootfs("run.sh"), text.replace("/bin/sh", "/no/such foo"))?;
    let outcome = exec_with(runtime, &["-t"], &id, &["/run.sh"])
        .output()?
        .fails_with("no such file or directory")?;
    ensure_eq!(outcome.stderr.lines().count(), 1);
    Ok(())
}

fn signals_are_forwarded(runtime: &Runtime) -> TestResult {
    let (id, _bundle) = running(runtime, |_| {})?;
    let script = "trap 'echo terminated; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let call = exec_with(runtime, &[], &id, &["sh", "-c", script]).stdin(Stdio::null()).spawn()?;
    runtime.wait_until("the process", || Ok::<_, Failed>(call.stdout().contains("ready")))?;
    call.signal(Signal::TERM)?;
    let outcome = call.wait()?.exits(7)?;
    ensure_eq!(outcome.stdout, "ready\nterminated\n");
    Ok(())
}
