//! Terminals: the image's or another container's files in place of them, and input into that of the caller.
//!
//! Runs in: any process.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use rustix::fs::{CWD, FileType, Mode, major, makedev, minor, mknodat};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use serde_json::{Value, json};

use crate::attack::{Attack, Exchange, attacks};
use crate::bundle::{self, Bundle};
use crate::harness::{TestResult, ensure};
use crate::host::Need::{Program, Root, Terminal};
use crate::inside::bind;
use crate::outside::Outside;
use crate::probe;

attacks! {
    console_of_the_image_is_not_followed: [Root, Terminal],
    exchanged_console_is_not_followed: [Root, Terminal],
    terminals_of_the_image_are_not_taken: [Root, Terminal],
    input_is_not_put_into_the_callers_terminal: [Root, Terminal, Program("setsid")],
}

fn with_terminal(config: &mut Value) {
    config["process"]["terminal"] = json!(true);
}

/// Creates and starts it with a terminal; whether that worked, and what the program has written to /result in the image.
fn run_on_a_terminal(attack: &Attack<'_>, bundle: &Bundle) -> Result<(bool, String), Failed> {
    let socket = attack.runtime.directory().join("socket");
    let listener = UnixListener::bind(&socket)?;
    let id = attack.runtime.new_id();
    let create = attack.runtime.command(["create", "--bundle"]).arg(bundle.path());
    let outcome = create.arg("--console-socket").arg(&socket).arg(&id).output()?;
    fs::remove_file(&socket)?;
    if outcome.code() != 0 {
        return Ok((false, outcome.to_string()));
    }
    // The terminal stays in the connection, unread, and so open.
    let (connection, _) = listener.accept()?;
    attack.runtime.start(&id)?.ok()?;
    attack.runtime.wait_for_status(&id, "stopped")?;
    drop(connection);
    attack.runtime.delete_force(&id)?.ok()?;
    Ok((true, fs::read_to_string(bundle.in_rootfs("result")).unwrap_or_default()))
}

/// Says what the terminal and /dev/console are.
const LOOK: &str = "stat -L -c '%F %t' /dev/console /proc/self/fd/0 >/result 2>&1";

fn console_bundle(attack: &Attack<'_>, change: impl FnOnce(&mut Value)) -> Result<Bundle, Failed> {
    attack.runtime.bundle_with(&["sh", "-c", LOOK], |config| {
        with_terminal(config);
        change(config);
    })
}

/// Without mounts on /dev but devpts.
fn without_dev(config: &mut Value) {
    bundle::remove(config, "/mounts", "destination", "/dev");
}

fn judge(attack: &Attack<'_>, bundle: &Bundle, outside: &Outside) -> TestResult {
    let (ran, text) = run_on_a_terminal(attack, bundle)?;
    let right = text == "character special file 88\ncharacter special file 88\n";
    attack.attempt(&format!("/dev/console is something else: {text}"), !ran || right)?;
    attack.attempt_by(outside.check())
}

/// T-12, CVE-2025-52565: what is made for the terminal is made where the image's /dev/console leads.
fn console_of_the_image_is_not_followed(attack: &Attack<'_>) -> TestResult {
    let outside = Outside::new(attack.runtime)?;
    let victim = attack.runtime.directory().join("victim");
    fs::write(&victim, "of the host")?;
    let control = attack.runtime.bundle(&["true"])?;
    symlink(&victim, control.in_rootfs("dev/console"))?;
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(control.in_rootfs("dev/console"))?;
    attack.control("open(O_CREAT|O_TRUNC) by the path", fs::read_to_string(&victim)?.is_empty())?;

    let links =
        [outside.path.join("file"), outside.by_dotdot().join("file"), outside.path.join("new")];
    for link in links {
        let bundle = console_bundle(attack, without_dev)?;
        symlink(link, bundle.in_rootfs("dev/console"))?;
        judge(attack, &bundle, &outside)?;
    }
    let makes: [fn(&Path) -> std::io::Result<()>; 4] = [
        |console| fs::write(console, "of the image"),
        |console| fs::create_dir(console),
        |console| Ok(mknodat(CWD, console, FileType::BlockDevice, Mode::RUSR, makedev(8, 0))?),
        |console| Ok(mknodat(CWD, console, FileType::Fifo, Mode::RUSR, 0)?),
    ];
    for make in makes {
        let bundle = console_bundle(attack, without_dev)?;
        make(&bundle.in_rootfs("dev/console"))?;
        judge(attack, &bundle, &outside)?;
    }
    Ok(())
}

/// T-12: /dev is a volume in which another container exchanges `console`.
fn exchanged_console_is_not_followed(attack: &Attack<'_>) -> TestResult {
    let outside = Outside::new(attack.runtime)?;
    let volume = attack.runtime.directory().join("volume");
    fs::create_dir_all(volume.join("pts"))?;
    fs::write(volume.join("console"), "")?;
    let victim = attack.runtime.directory().join("victim");
    fs::write(&victim, "of the host")?;
    symlink(&victim, volume.join("link"))?;
    let exchange = Exchange::of(volume.join("console"), volume.join("link"))?;
    attack.control_race("open(O_TRUNC) of a /dev/console that was looked at", || {
        let console = volume.join("console");
        if fs::symlink_metadata(&console).is_ok_and(|status| status.is_file()) {
            OpenOptions::new().write(true).truncate(true).open(&console).ok();
        }
        Ok(fs::read_to_string(&victim)?.is_empty())
    })?;
    drop(exchange);
    fs::write(&victim, "of the host")?;
    for name in ["console", "link"] {
        fs::remove_file(volume.join(name))?;
    }
    fs::write(volume.join("console"), "")?;
    symlink(outside.by_dotdot().join("file"), volume.join("link"))?;
    let exchange = Exchange::of(volume.join("console"), volume.join("link"))?;
    let bundle = attack.runtime.bundle_with(&["true"], |config| {
        with_terminal(config);
        without_dev(config);
        let pts = config["mounts"]
            .as_array()
            .and_then(|mounts| mounts.iter().position(|mount| mount["destination"] == "/dev/pts"));
        let pts = pts.map(|index| config["mounts"][index].take());
        if let Some(mounts) = config["mounts"].as_array_mut() {
            mounts.retain(|mount| !mount.is_null());
        }
        bind(config, "/dev", &volume, &["bind"]);
        bundle::add(config, "/mounts", pts.unwrap_or_default());
    })?;
    attack.race(|| {
        run_on_a_terminal(attack, &bundle)?;
        attack.attempt_by(outside.check())
    })?;
    drop(exchange);
    Ok(())
}

/// T-12: there is no devpts, but files that look like one.
fn terminals_of_the_image_are_not_taken(attack: &Attack<'_>) -> TestResult {
    let outside = Outside::new(attack.runtime)?;
    let control = attack.runtime.bundle(&["true"])?;
    fs::create_dir(control.in_rootfs("dev/pts"))?;
    symlink(outside.path.join("file"), control.in_rootfs("dev/pts/0"))?;
    let opened = OpenOptions::new().read(true).write(true).open(control.in_rootfs("dev/pts/0"))?;
    attack.control("open by /dev/pts/N", opened.metadata()?.is_file())?;

    let makes: [fn(&Path) -> std::io::Result<()>; 3] = [
        |ptmx| fs::write(ptmx, ""),
        |ptmx| symlink("/file", ptmx),
        // One of the host: it would give a terminal of the host.
        |ptmx| {
            Ok(mknodat(
                CWD,
                ptmx,
                FileType::CharacterDevice,
                Mode::from_raw_mode(0o666),
                makedev(5, 2),
            )?)
        },
    ];
    let before = host_terminals();
    for make in makes {
        let bundle = attack.runtime.bundle_with(&["sh", "-c", LOOK], |config| {
            with_terminal(config);
            without_dev(config);
            bundle::remove(config, "/mounts", "destination", "/dev/pts");
        })?;
        fs::create_dir(bundle.in_rootfs("dev/pts"))?;
        make(&bundle.in_rootfs("dev/pts/ptmx"))?;
        let (ran, text) = run_on_a_terminal(attack, &bundle)?;
        attack.attempt(&format!("a terminal of what the image has: {text}"), !ran)?;
    }
    ensure!(host_terminals() <= before + 1, "terminals of the host are left");
    attack.attempt_by(outside.check())
}

fn host_terminals() -> usize {
    fs::read_dir("/dev/pts").map_or(0, Iterator::count)
}

/// T-18, CVE-2016-10124, CVE-2017-5226: what the container writes is read by the caller's shell as if it had been typed.
fn input_is_not_put_into_the_callers_terminal(attack: &Attack<'_>) -> TestResult {
    let open = || -> Result<_, Failed> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let terminal = ioctl_tiocgptpeer(&master, flags)?;
        Ok((master, fs::File::from(terminal)))
    };
    let own = std::env::current_exe()?;
    let (_master, terminal) = open()?;
    let status = terminal.metadata()?;
    ensure!((major(status.rdev()), minor(status.rdev())).0 == 136, "no terminal");
    let mut setsid = Command::new("setsid");
    setsid
        .args(["--ctty", "--wait"])
        .arg(own)
        .args(probe::arguments(&["type"]).into_iter().skip(1));
    let output = setsid.stdin(Stdio::from(terminal)).output()?;
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    let typed = seen.contains("/dev/tty: typed");
    attack.control(&format!("a child in the caller's session: {seen}"), typed)?;

    let bundle = attack.runtime.bundle_with(&probe::arguments(&["type"]), probe::allow)?;
    for with_exec in [false, true] {
        let (_master, terminal) = open()?;
        let id = attack.runtime.new_id();
        let call = if with_exec {
            let mut sleeping = attack.runtime.bundle(&["sleep", "1000"])?;
            sleeping.edit(probe::allow)?;
            attack.runtime.create(&sleeping, &id)?.ok()?;
            attack.runtime.start(&id)?.ok()?;
            attack
                .runtime
                .command(["exec", id.as_str()].into_iter().chain(probe::arguments(&["type"])))
        } else {
            attack.runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(&id)
        };
        let call = call.wrapped_by(["setsid", "--ctty", "--wait"]).stdin(terminal);
        let outcome = call.output()?.ok()?;
        let typed = outcome.stdout.contains("typed") || !outcome.stdout.contains("/dev/tty: ");
        attack.attempt(&outcome.to_string(), !typed)?;
    }
    Ok(())
}
