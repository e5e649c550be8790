//! NOTIFY_SOCKET (sd_notify(3)), as a systemd unit of `Type=notify` uses it; and LISTEN_FDS beside it.
//!
//! Runs in: any process.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use libtest_mimic::Failed;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::json;

use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, Root};
use crate::inside::nothing_left;
use crate::runtime::{Invocation, Runtime};

const ONE_LINE: &str = "knows READY=1 only as the first line";
const OTHER_PLACE: &str = "has the socket at another place";
const ZOMBIE: &str = "waits as long as nobody has reaped the process";
const STATUS: &str = "no other passes on more than READY";

table! {
    systemd_unit_with_run_hears_ready_and_the_pid_to_watch: [Root, NotOn("crun", OTHER_PLACE)],
    systemd_unit_with_detached_run_hears_ready_and_the_containers_pid: [Root, NotOn("crun", OTHER_PLACE)],
    systemd_unit_with_create_and_start_hears_ready_and_a_barrier: [Root, NotOn("crun", OTHER_PLACE)],
    systemd_unit_hears_ready_inside_a_longer_datagram: [Root, NotOn("runc", ONE_LINE), NotOn("crun", OTHER_PLACE)],
    systemd_unit_hears_the_status_and_not_what_is_about_the_host: [Root, Corten(STATUS)],
    systemd_unit_start_ends_with_a_container_that_never_is_ready: [Root, NotOn("runc", ZOMBIE), NotOn("crun", OTHER_PLACE)],
    notify_socket_that_nobody_has_does_not_keep_the_container_from_running: [Root, Corten("runc fails after the start")],
    notify_socket_with_a_long_root_works: [Root, Corten("runc's address is too long")],
    container_without_notify_socket_has_none: [Root],
    create_with_notify_socket_and_delete_leave_nothing: [Root],
    exec_is_not_part_of_the_service: [Root, NotOn("crun", OTHER_PLACE)],
}

/// The service manager.
struct Manager {
    socket: UnixDatagram,
    path: std::path::PathBuf,
}

impl Manager {
    fn new(runtime: &Runtime) -> Result<Self, Failed> {
        let path = runtime.directory().join("manager");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self { socket, path })
    }

    fn given_to<'a>(&self, invocation: Invocation<'a>) -> Invocation<'a> {
        invocation.env("NOTIFY_SOCKET", &self.path)
    }

    /// The next datagram; what comes with it is closed, as systemd answers BARRIER=1.
    fn hear(&self) -> Result<String, Failed> {
        let mut buffer = [0; 4096];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffers = [std::io::IoSliceMut::new(&mut buffer)];
        let received =
            rustix::net::recvmsg(&self.socket, &mut buffers, &mut control, RecvFlags::empty());
        let count = received.map_err(|errno| format!("nothing to hear: {errno}"))?.bytes;
        let has_fd =
            control.drain().any(|message| matches!(message, RecvAncillaryMessage::ScmRights(_)));
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        ensure!(!text.contains("BARRIER") || has_fd, "a barrier without a fd");
        Ok(text)
    }

    /// Everything up to this word, as lines.
    fn hear_until(&self, word: &str) -> Result<Vec<String>, Failed> {
        let mut lines: Vec<String> = Vec::new();
        while !lines.iter().any(|line| line.starts_with(word)) {
            lines.extend(self.hear()?.lines().map(str::to_owned));
        }
        Ok(lines)
    }

    fn hears_nothing(&self) -> TestResult {
        self.socket.set_nonblocking(true)?;
        match self.socket.recv(&mut [0; 16]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            heard => Err(format!("{heard:?}").into()),
        }
    }
}

/// busybox's nc has no datagrams of unix sockets: the message comes from this test, as a process of the container would send it.
fn say(runtime: &Runtime, id: &str, text: &str) -> TestResult {
    let socket = runtime.root().join(id).join("notify/notify.sock");
    runtime.wait_until("the socket", || Ok(socket.exists()))?;
    UnixDatagram::unbound()?.send_to(text.as_bytes(), &socket)?;
    Ok(())
}

/// runc 1.1 waits for nobody.
fn last_word(runtime: &Runtime) -> &'static str {
    if runtime.is("runc") { "MAINPID=" } else { "BARRIER=1" }
}

const SERVICE: &str = "echo $NOTIFY_SOCKET; ls -l /run/notify; exec sleep 1000";

fn systemd_unit_with_run_hears_ready_and_the_pid_to_watch(runtime: &Runtime) -> TestResult {
    let (manager, id) = (Manager::new(runtime)?, runtime.new_id());
    let bundle = runtime.bundle(&["sh", "-c", SERVICE])?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(&id);
    let run = manager.given_to(run).spawn()?;
    runtime.wait_until("the service", || Ok(run.stdout().contains(" notify.sock\n")))?;
    say(runtime, &id, "READY=1")?;
    let heard = manager.hear_until("MAINPID=")?;
    ensure!(heard.contains(&"READY=1".to_owned()), "{heard:?}");
    let runtimes = format!("MAINPID={}", run.pid()?);
    ensure!(heard.contains(&runtimes), "without {runtimes}: {heard:?}");
    let inside = run.stdout();
    ensure!(inside.starts_with("/run/notify/notify.sock\n"), "another place: {inside}");
    ensure!(inside.contains("srwxrwxrwx"), "another mode: {inside}");
    runtime.kill(&id, "KILL")?.ok()?;
    run.wait()?.exits(137)?;
    Ok(())
}

fn systemd_unit_with_detached_run_hears_ready_and_the_containers_pid(
    runtime: &Runtime,
) -> TestResult {
    let (manager, id) = (Manager::new(runtime)?, runtime.new_id());
    let bundle = runtime.bundle(&["sleep", "1000"])?;
    let run = runtime.command(["run", "--detach", "--bundle"]).arg(bundle.path()).arg(&id);
    let run = manager.given_to(run).spawn()?;
    runtime
        .wait_until("the container", || Ok(runtime.status(&id).is_ok_and(|it| it == "running")))?;
    say(runtime, &id, "READY=1\n")?;
    let heard = manager.hear_until(last_word(runtime))?;
    run.wait()?.ok()?;
    let containers = format!("MAINPID={}", runtime.pid(&id)?);
    ensure!(heard.contains(&containers), "without {containers}: {heard:?}");
    Ok(())
}

fn systemd_unit_with_create_and_start_hears_ready_and_a_barrier(runtime: &Runtime) -> TestResult {
    let (manager, id) = (Manager::new(runtime)?, runtime.new_id());
    let bundle = runtime.bundle(&["sleep", "1000"])?;
    let create = runtime.command(["create", "--bundle"]).arg(bundle.path()).arg(&id);
    manager.given_to(create).output()?.ok()?;
    let start = manager.given_to(runtime.command(["start", &id])).spawn()?;
    say(runtime, &id, "READY=1")?;
    let heard = manager.hear_until(last_word(runtime))?;
    start.wait()?.ok()?;
    ensure!(heard.contains(&"READY=1".to_owned()), "{heard:?}");
    ensure!(heard.contains(&format!("MAINPID={}", runtime.pid(&id)?)), "{heard:?}");
    Ok(())
}

fn systemd_unit_hears_ready_inside_a_longer_datagram(runtime: &Runtime) -> TestResult {
    let (manager, id) = (Manager::new(runtime)?, runtime.new_id());
    let bundle = runtime.bundle(&["sleep", "1000"])?;
    let create = runtime.command(["create", "--bundle"]).arg(bundle.path()).arg(&id);
    manager.given_to(create).output()?.ok()?;
    let start = manager.given_to(runtime.command(["start", &id])).spawn()?;
    say(runtime, &id, "STATUS=listening\nREADY=1\nX_MINE=2\n")?;
    let heard = manager.hear_until(last_word(runtime))?;
    start.wait()?.ok()?;
    ensure!(heard.contains(&"READY=1".to_owned()), "{heard:?}");
    Ok(())
}

fn systemd_unit_hears_the_status_and_not_what_is_about_the_host(runtime: &Runtime) -> TestResult {
    let (manager, id) = (Manager::new(runtime)?, runtime.new_id());
    let bundle = runtime.bundle(&["sleep", "1000"])?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(&id);
    let run = manager.given_to(run).spawn()?;
    runtime
        .wait_until("the container", || Ok(runtime.status(&id).is_ok_and(|it| it == "running")))?;
    say(runtime, &id, "MAINPID=1\nNOTIFYACCESS=all\nSTATUS=half")?;
    ensure_eq!(manager.hear()?, "STATUS=half\n");
    say(runtime, &id, "FDSTORE=1")?;
    say(runtime, &id, "READY=1")?;
    ensure_eq!(manager.hear()?, format!("READY=1\nMAINPID={}\n", run.pid()?));
    // Also after it is ready.
    say(runtime, &id, "STOPPING=1")?;
    ensure_eq!(manager.hear()?, "STOPPING=1\n");
    runtime.kill(&id, "KILL")?.ok()?;
    run.wait()?.exits(137)?;
    Ok(())
}

fn systemd_unit_start_ends_with_a_container_that_never_is_ready(runtime: &Runtime) -> TestResult {
    let (manager, id) = (Manager::new(runtime)?, runtime.new_id());
    let bundle = runtime.bundle(&["sleep", "0.2"])?;
    let create = runtime.command(["create", "--bundle"]).arg(bundle.path()).arg(&id);
    manager.given_to(create).output()?.ok()?;
    manager.given_to(runtime.command(["start", &id])).output()?.ok()?;
    runtime.wait_for_status(&id, "stopped")?;
    manager.hears_nothing()
}

fn notify_socket_that_nobody_has_does_not_keep_the_container_from_running(
    runtime: &Runtime,
) -> TestResult {
    let bundle = runtime.bundle(&["true"])?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    run.env("NOTIFY_SOCKET", runtime.directory().join("nobody")).output()?.ok()?;
    nothing_left(runtime)
}

fn notify_socket_with_a_long_root_works(runtime: &Runtime) -> TestResult {
    let (manager, id) =
        (Manager::new(runtime)?, format!("{}{}", runtime.marker(), "x".repeat(150)));
    let bundle = runtime.bundle(&["sh", "-c", "ls /run/notify"])?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(&id);
    let run = manager.given_to(run).output()?.ok()?;
    ensure_eq!(run.stdout, "notify.sock\n");
    nothing_left(runtime)
}

fn container_without_notify_socket_has_none(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["sh", "-c", "echo socket=$NOTIFY_SOCKET; ls /run"])?;
    fs::create_dir_all(bundle.in_rootfs("run"))?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "socket=\n");
    Ok(())
}

fn create_with_notify_socket_and_delete_leave_nothing(runtime: &Runtime) -> TestResult {
    let (manager, id) = (Manager::new(runtime)?, runtime.new_id());
    let bundle =
        runtime.bundle_with(&["true"], |config| config["root"]["readonly"] = json!(false))?;
    let create = runtime.command(["create", "--bundle"]).arg(bundle.path()).arg(&id);
    manager.given_to(create).output()?.ok()?;
    runtime.delete_force(&id)?.ok()?;
    nothing_left(runtime)
}

fn exec_is_not_part_of_the_service(runtime: &Runtime) -> TestResult {
    let (manager, id) = (Manager::new(runtime)?, crate::callers::running(runtime)?);
    let exec = runtime.command(["exec", &id, "sh", "-c", "echo socket=$NOTIFY_SOCKET"]);
    ensure_eq!(manager.given_to(exec).output()?.ok()?.stdout, "socket=\n");
    manager.hears_nothing()
}
