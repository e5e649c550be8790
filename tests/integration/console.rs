//! `process.terminal`: handed over by `--console-socket`, or shown in the foreground on the caller's own.
//!
//! Runs in: any process.

use std::fs;
use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::{Value, json};

use crate::bundle::{self, Bundle};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, Program, Root, Terminal};
use crate::inside::nothing_left;
use crate::runtime::{Invocation, Running, Runtime};

const OTHER_WORDS: &str =
    "has no such check, or other words for it; containerd's users know runc's";
const LATE_SIZE: &str = "sets the caller's size after the program has begun";
const PAINTS: &str = "1.8 writes some of the output as if it were its own errors, or not at all";
const NEEDS_LINK: &str = "1.8 follows the image's link";

table! {
    socket_gets_one_message_with_the_master_and_a_name: [Root, Terminal],
    socket_gets_the_name_of_the_terminal: [Root, Terminal, Corten("the others send the name of the master or of the slave; ours is the slave's in the container")],
    stdio_is_the_terminal: [Root, Terminal],
    terminal_is_the_controlling_one_and_carries_signals: [Root, Terminal],
    terminal_belongs_to_the_user: [Root, Terminal],
    terminal_is_of_the_containers_devpts: [Root, Terminal],
    console_size_is_that_of_the_terminal: [Root, Terminal],
    console_size_without_a_terminal_is_ignored: [Root],
    detached_run_hands_over_the_terminal: [Root, Terminal],
    output_before_the_end_is_not_lost: [Root, Terminal],
    create_with_a_terminal_needs_a_socket: [Root, NotOn("crun", OTHER_WORDS)],
    socket_without_a_terminal_is_refused: [Root, NotOn("crun", OTHER_WORDS)],
    socket_that_is_missing_fails_and_leaves_nothing: [Root],
    socket_that_nobody_listens_on_fails_and_leaves_nothing: [Root],
    console_of_the_image_stays_inside: [Root, Terminal, NotOn("crun", NEEDS_LINK)],
    ptmx_of_the_image_is_not_used: [Root, Terminal],
    foreground_terminal_shows_the_output: [Root, Terminal, Program("setsid"), NotOn("crun", PAINTS)],
    foreground_terminal_passes_the_input: [Root, Terminal, Program("setsid")],
    foreground_terminal_has_the_callers_size:
        [Root, Terminal, Program("setsid"), NotOn("crun", LATE_SIZE), NotOn("runc", LATE_SIZE)],
    foreground_terminal_follows_the_callers_size: [Root, Terminal, Program("setsid"), NotOn("crun", PAINTS)],
    foreground_terminal_loses_no_output: [Root, Terminal, Program("setsid")],
    foreground_terminal_is_raw_meanwhile_and_restored: [Root, Terminal, Program("setsid")],
    foreground_terminal_gives_the_exit_code: [Root, Terminal, Program("setsid")],
}

const PATIENCE: Duration = Duration::from_secs(20);

fn terminal(config: &mut Value) {
    config["process"]["terminal"] = json!(true);
}

/// Whether there is something to read, or an end, within the time that tests have.
fn readable(fd: impl AsFd) -> Result<bool, Failed> {
    let timeout = Timespec::try_from(PATIENCE)?;
    Ok(poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout))? > 0)
}

/// The engine's end of `--console-socket`.
pub struct Engine {
    pub path: PathBuf,
    listener: UnixListener,
}

impl Engine {
    pub fn new(runtime: &Runtime) -> std::io::Result<Self> {
        let path = runtime.directory().join("console.sock");
        Ok(Self { listener: UnixListener::bind(&path)?, path })
    }

    /// The master, what came with it, and the connection.
    pub fn receive(&self) -> Result<(OwnedFd, String, UnixStream), Failed> {
        if !readable(&self.listener)? {
            return Err("nobody connects to the console socket".into());
        }
        let (connection, _) = self.listener.accept()?;
        if !readable(&connection)? {
            return Err("nothing comes over the console socket".into());
        }
        let mut payload = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let message = recvmsg(
            &connection,
            &mut [IoSliceMut::new(&mut payload)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        let payload = payload.get(..message.bytes).unwrap_or_default();
        ensure_one(&descriptors)?;
        let master = descriptors.pop().ok_or("no descriptor")?;
        Ok((master, String::from_utf8_lossy(payload).into_owned(), connection))
    }
}

fn ensure_one(descriptors: &[OwnedFd]) -> TestResult {
    ensure_eq!(descriptors.len(), 1);
    Ok(())
}

/// Reads from a terminal's master until the text meets the condition or everybody has closed the terminal.
pub fn read_until(master: &OwnedFd, met: impl Fn(&str) -> bool) -> Result<String, Failed> {
    let mut text = Vec::new();
    let begin = Instant::now();
    loop {
        let seen = String::from_utf8_lossy(&text).into_owned();
        if met(&seen) {
            return Ok(seen);
        }
        let mut chunk = [0; 4096];
        if begin.elapsed() > PATIENCE || !readable(master)? {
            return Err(format!("the terminal has shown only {seen:?}").into());
        }
        match rustix::io::read(master, &mut chunk) {
            Ok(0) | Err(rustix::io::Errno::IO) => return Ok(seen),
            Ok(count) => text.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) => return Err(error.into()),
        }
    }
}

pub fn until_the_end(_: &str) -> bool {
    false
}

/// A container created with a terminal; not started.
pub struct Created {
    pub id: String,
    master: OwnedFd,
    payload: String,
    connection: UnixStream,
}

impl Created {
    pub fn new(runtime: &Runtime, bundle: &Bundle) -> Result<Self, Failed> {
        let engine = Engine::new(runtime)?;
        let id = runtime.new_id();
        let create = runtime.command(["create", "--bundle"]).arg(bundle.path());
        let create = create.arg("--console-socket").arg(&engine.path).arg(&id).spawn()?;
        let (master, payload, connection) = engine.receive()?;
        create.wait()?.ok()?;
        fs::remove_file(&engine.path)?;
        Ok(Self { id, master, payload, connection })
    }

    fn with(
        runtime: &Runtime,
        script: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<Self, Failed> {
        let bundle = runtime.bundle_with(&["sh", "-c", script], |config| {
            terminal(config);
            change(config);
        })?;
        Self::new(runtime, &bundle)
    }

    /// Starts it and returns all that it shows.
    pub fn shows(&self, runtime: &Runtime) -> Result<String, Failed> {
        runtime.start(&self.id)?.ok()?;
        read_until(&self.master, until_the_end)
    }
}

fn socket_gets_one_message_with_the_master_and_a_name(runtime: &Runtime) -> TestResult {
    let mut created = Created::with(runtime, "true", |_| {})?;
    ensure!(!created.payload.is_empty(), "no name comes with the descriptor");
    ensure!(rustix::termios::isatty(&created.master), "it is no terminal");
    let mut rest = Vec::new();
    created.connection.set_read_timeout(Some(PATIENCE))?;
    created.connection.read_to_end(&mut rest)?;
    ensure_eq!(rest, b"");
    Ok(())
}

fn socket_gets_the_name_of_the_terminal(runtime: &Runtime) -> TestResult {
    let created = Created::with(runtime, "true", |_| {})?;
    ensure_eq!(created.payload, "/dev/pts/0");
    Ok(())
}

fn stdio_is_the_terminal(runtime: &Runtime) -> TestResult {
    let created = Created::with(
        runtime,
        "test -t 0 && test -t 1 && test -t 2 && echo all; cd /proc/self/fd; echo *",
        |_| {},
    )?;
    ensure_eq!(created.shows(runtime)?.replace('\r', ""), "all\n0 1 2 3\n");
    Ok(())
}

fn terminal_is_the_controlling_one_and_carries_signals(runtime: &Runtime) -> TestResult {
    let script =
        "trap 'echo interrupted; exit' INT; echo to tty >/dev/tty; while :; do sleep 0.05; done";
    let created = Created::with(runtime, script, |_| {})?;
    runtime.start(&created.id)?.ok()?;
    read_until(&created.master, |text| text.contains("to tty"))?;
    // Control-C: the terminal sends the signal to whom it controls.
    rustix::io::write(&created.master, b"\x03")?;
    read_until(&created.master, |text| text.contains("interrupted"))?;
    Ok(())
}

fn terminal_belongs_to_the_user(runtime: &Runtime) -> TestResult {
    let created = Created::with(
        runtime,
        "stat -Lc '%u %a' /proc/self/fd/0; echo x >/dev/console && echo y >/dev/tty",
        |config| {
            config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        },
    )?;
    let shown = created.shows(runtime)?.replace('\r', "");
    // The group and mode are those of the devpts mount: gid=5, mode=0620.
    ensure_eq!(shown, "1000 620\nx\ny\n");
    Ok(())
}

fn terminal_is_of_the_containers_devpts(runtime: &Runtime) -> TestResult {
    let script = "stat -c '%F %t:%T' /dev/console; stat -Lc '%F %t:%T' /proc/self/fd/0; ls -1 /dev/pts; grep -c ' /dev/console ' /proc/self/mountinfo";
    let created = Created::with(runtime, script, |_| {})?;
    let shown = created.shows(runtime)?.replace('\r', "");
    ensure_eq!(shown, "character special file 88:0\ncharacter special file 88:0\n0\nptmx\n1\n");
    Ok(())
}

fn console_size_is_that_of_the_terminal(runtime: &Runtime) -> TestResult {
    for (height, width) in [(25, 80), (7, 300)] {
        let created = Created::with(runtime, "stty size", |config| {
            config["process"]["consoleSize"] = json!({ "height": height, "width": width });
        })?;
        ensure_eq!(created.shows(runtime)?, format!("{height} {width}\r\n"));
    }
    Ok(())
}

fn console_size_without_a_terminal_is_ignored(runtime: &Runtime) -> TestResult {
    crate::inside::sh(runtime, "true", |config| {
        config["process"]["consoleSize"] = json!({ "height": 25, "width": 80 });
    })?;
    Ok(())
}

fn detached_run_hands_over_the_terminal(runtime: &Runtime) -> TestResult {
    let engine = Engine::new(runtime)?;
    let id = runtime.new_id();
    let bundle = runtime.bundle_with(&["sh", "-c", "read line; echo got $line"], terminal)?;
    let run = runtime.command(["run", "--detach", "--bundle"]).arg(bundle.path());
    let run = run.arg("--console-socket").arg(&engine.path).arg(&id).spawn()?;
    let (master, _, _connection) = engine.receive()?;
    run.wait()?.ok()?;
    rustix::io::write(&master, b"a line\n")?;
    read_until(&master, |text| text.contains("got a line"))?;
    Ok(())
}

fn output_before_the_end_is_not_lost(runtime: &Runtime) -> TestResult {
    let created = Created::with(runtime, "seq 1 30000", |_| {})?;
    let shown = created.shows(runtime)?;
    ensure_eq!(shown.lines().count(), 30_000);
    ensure!(shown.ends_with("30000\r\n"), "the end is missing");
    Ok(())
}

fn create_with_a_terminal_needs_a_socket(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["true"], terminal)?;
    let text = "cannot allocate tty if runc will detach without setting console socket";
    let text = if runtime.is("corten") { "without setting console socket" } else { text };
    runtime.create(&bundle, &runtime.new_id())?.fails_with(text)?;
    let run = runtime.command(["run", "--detach", "--bundle"]).arg(bundle.path());
    run.arg(runtime.new_id()).output()?.fails_with(text)?;
    nothing_left(runtime)
}

fn socket_without_a_terminal_is_refused(runtime: &Runtime) -> TestResult {
    let engine = Engine::new(runtime)?;
    let bundle = runtime.bundle(&["true"])?;
    let create = runtime.command(["create", "--bundle"]).arg(bundle.path());
    let create = create.arg("--console-socket").arg(&engine.path).arg(runtime.new_id());
    create.output()?.fails_with("cannot use console socket if")?;
    nothing_left(runtime)
}

/// `create` with this path as the console socket; it must fail.
fn refused_socket(runtime: &Runtime, path: &std::path::Path) -> TestResult {
    let bundle = runtime.bundle_with(&["true"], terminal)?;
    let create = runtime.command(["create", "--bundle"]).arg(bundle.path());
    let outcome =
        create.arg("--console-socket").arg(path).arg(runtime.new_id()).output()?.fails()?;
    ensure!(
        outcome.stderr.contains("sock") || !runtime.is("corten"),
        "the socket is not named: {outcome}"
    );
    nothing_left(runtime)
}

fn socket_that_is_missing_fails_and_leaves_nothing(runtime: &Runtime) -> TestResult {
    refused_socket(runtime, &runtime.directory().join("missing.sock"))
}

fn socket_that_nobody_listens_on_fails_and_leaves_nothing(runtime: &Runtime) -> TestResult {
    let path = runtime.directory().join("closed.sock");
    drop(UnixListener::bind(&path)?);
    refused_socket(runtime, &path)?;
    let file = runtime.directory().join("file.sock");
    fs::write(&file, "")?;
    refused_socket(runtime, &file)
}

fn console_of_the_image_stays_inside(runtime: &Runtime) -> TestResult {
    let outside = runtime.directory().join("outside");
    fs::write(&outside, "of the host")?;
    for target in [Some(&outside), None] {
        let bundle = runtime.bundle_with(&["sh", "-c", "echo shown >/dev/console"], |config| {
            terminal(config);
            bundle::remove(config, "/mounts", "destination", "/dev");
        })?;
        let console = bundle.in_rootfs("dev/console");
        match target {
            Some(target) => symlink(target, &console)?,
            None => fs::write(&console, "of the image")?,
        }
        // That it is refused is as good.
        if let Ok(created) = Created::new(runtime, &bundle) {
            runtime.start(&created.id)?;
        }
        ensure_eq!(fs::read_to_string(&outside)?, "of the host");
        // runc 1.1 empties it (CVE-2025-52565).
        if target.is_none() && !runtime.is("runc") {
            ensure_eq!(fs::read_to_string(&console)?, "of the image");
        }
        fs::remove_file(runtime.directory().join("console.sock")).ok();
        for id in runtime.containers() {
            runtime.delete_force(&id)?.ok()?;
        }
    }
    Ok(())
}

fn ptmx_of_the_image_is_not_used(runtime: &Runtime) -> TestResult {
    let script = "stat -Lc '%t:%T' /proc/self/fd/0; ls /dev/pts | grep -v ptmx";
    let bundle = runtime.bundle_with(&["sh", "-c", script], |config| {
        terminal(config);
        bundle::remove(config, "/mounts", "destination", "/dev");
    })?;
    fs::write(bundle.in_rootfs("dev/ptmx"), "of the image")?;
    let created = Created::new(runtime, &bundle)?;
    ensure_eq!(created.shows(runtime)?.replace('\r', ""), "88:0\n0\n");
    Ok(())
}

/// A terminal of the test's, as a user has one.
pub struct Screen {
    pub master: OwnedFd,
    slave: OwnedFd,
}

impl Screen {
    pub fn new(rows: u16, columns: u16) -> Result<Self, Failed> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(
            &master,
            OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
        )?;
        let screen = Self { master, slave };
        screen.resize(rows, columns)?;
        Ok(screen)
    }

    pub fn resize(&self, rows: u16, columns: u16) -> Result<(), Failed> {
        Ok(tcsetwinsize(
            &self.master,
            Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 },
        )?)
    }

    /// `run` in the foreground, with this as the controlling terminal.
    fn run(&self, runtime: &Runtime, script: &str) -> Result<Running, Failed> {
        let bundle = runtime.bundle_with(&["sh", "-c", script], terminal)?;
        let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
        self.call(run)
    }

    /// A call with this as the controlling terminal.
    pub fn call(&self, call: Invocation<'_>) -> Result<Running, Failed> {
        let stdio = || -> Result<Stdio, Failed> { Ok(self.slave.try_clone()?.into()) };
        let call = call.stdin(stdio()?).stdout(stdio()?).stderr(stdio()?);
        call.wrapped_by(["setsid", "--ctty", "--wait"]).spawn()
    }

    /// Runs it until its end, and returns what the terminal has shown: what was there before its last line was asked for.
    fn shows(&self, runtime: &Runtime, script: &str) -> Result<String, Failed> {
        let run = self.run(runtime, &format!("{script}; echo the-end"))?;
        let shown = read_until(&self.master, |text| text.contains("the-end"))?;
        run.wait()?.ok()?;
        Ok(shown.replace('\r', "").replace("the-end\n", "").replace("the-end", ""))
    }
}

fn foreground_terminal_shows_the_output(runtime: &Runtime) -> TestResult {
    let shown =
        Screen::new(24, 80)?.shows(runtime, "test -t 0 && test -t 1 && test -t 2 && echo all")?;
    ensure_eq!(shown, "all\n");
    Ok(())
}

fn foreground_terminal_passes_the_input(runtime: &Runtime) -> TestResult {
    let screen = Screen::new(24, 80)?;
    let run = screen.run(runtime, "echo ready; read line; echo \"got $line\"; cat; echo after")?;
    read_until(&screen.master, |text| text.contains("ready"))?;
    rustix::io::write(&screen.master, b"typed\n")?;
    read_until(&screen.master, |text| text.contains("got typed"))?;
    // Control-D ends cat's input, and nothing else.
    rustix::io::write(&screen.master, b"\x04")?;
    read_until(&screen.master, |text| text.contains("after"))?;
    run.wait()?.ok()?;
    Ok(())
}

fn foreground_terminal_has_the_callers_size(runtime: &Runtime) -> TestResult {
    ensure_eq!(Screen::new(33, 111)?.shows(runtime, "stty size")?, "33 111\n");
    Ok(())
}

fn foreground_terminal_follows_the_callers_size(runtime: &Runtime) -> TestResult {
    let screen = Screen::new(24, 80)?;
    let run = screen.run(runtime, "echo ready; while [ \"$(stty size 2>/dev/null)\" != '44 132' ]; do sleep 0.05; done; echo followed")?;
    read_until(&screen.master, |text| text.contains("ready"))?;
    screen.resize(44, 132)?;
    read_until(&screen.master, |text| text.contains("followed"))?;
    run.wait()?.ok()?;
    Ok(())
}

fn foreground_terminal_loses_no_output(runtime: &Runtime) -> TestResult {
    let screen = Screen::new(24, 80)?;
    for lines in [1, 5000] {
        let run = screen.run(runtime, &format!("seq 1 {lines}"))?;
        let last = format!("{lines}\r\n");
        let shown = read_until(&screen.master, |text| {
            text.ends_with(&last) && text.lines().count() >= lines
        })?;
        ensure_eq!(shown.lines().count(), lines);
        run.wait()?.ok()?;
    }
    Ok(())
}

fn foreground_terminal_is_raw_meanwhile_and_restored(runtime: &Runtime) -> TestResult {
    let screen = Screen::new(24, 80)?;
    let modes = || -> Result<_, Failed> {
        let attributes = tcgetattr(&screen.slave)?;
        Ok((attributes.local_modes, attributes.input_modes, attributes.output_modes))
    };
    let before = modes()?;
    let run = screen.run(runtime, "echo ready; read line")?;
    read_until(&screen.master, |text| text.contains("ready"))?;
    let (meanwhile, ..) = modes()?;
    ensure!(
        !meanwhile.intersects(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG),
        "not raw: {meanwhile:?}"
    );
    rustix::io::write(&screen.master, b"\n")?;
    run.wait()?.ok()?;
    ensure_eq!(modes()?, before);
    Ok(())
}

fn foreground_terminal_gives_the_exit_code(runtime: &Runtime) -> TestResult {
    let screen = Screen::new(24, 80)?;
    screen.run(runtime, "exit 42")?.wait()?.exits(42)?;
    Ok(())
}
