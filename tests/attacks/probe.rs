//! The attackers that run inside containers: this program itself, bound to /probe. It is static.
//!
//! Runs in: a container, or under a caller of the runtime.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde_json::Value;

use crate::inside::bind;
use crate::sys;

/// What the first argument is when this program is an attacker and no suite.
const WORD: &str = "--attacker";

/// Where the program is in a container that [`allow`] was called for.
pub const PROBE: &str = "/probe";

/// Binds this program to /probe.
pub fn allow(config: &mut Value) {
    // It is there: we are running it.
    bind(config, PROBE, std::env::current_exe().unwrap_or_default(), &["bind", "ro"]);
}

/// The arguments that make it the attacker of this name.
pub fn arguments<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [&[PROBE, WORD], words].concat()
}

/// A wrapper for a call of the runtime: the runtime and all that it starts find no such system call.
pub fn without(call: &str) -> io::Result<Vec<String>> {
    let program = std::env::current_exe()?.to_string_lossy().into_owned();
    Ok(vec![program, WORD.to_owned(), "without".to_owned(), call.to_owned()])
}

/// A wrapper for a call of the runtime: its session has a key of this name.
pub fn with_key(name: &str) -> io::Result<Vec<String>> {
    let program = std::env::current_exe()?.to_string_lossy().into_owned();
    Ok(vec![program, WORD.to_owned(), "with-key".to_owned(), name.to_owned()])
}

/// Plays the attacker, when that is what this process was started for.
pub fn play() -> Option<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [word, rest @ ..] = words.as_slice() else { return None };
    if *word != WORD {
        return None;
    }
    let played = match rest {
        ["without", call, program, arguments @ ..] => without_call(call, program, arguments),
        ["with-key", name, program, arguments @ ..] => with_session_key(name, program, arguments),
        ["short-bpf", cgroup] => short_bpf(cgroup),
        ["find-key", name] => find_key(name),
        ["type"] => type_into_stdin(),
        ["snoop", seconds] => seconds.parse().map_err(io::Error::other).and_then(snoop),
        ["overwrite", seconds] => seconds.parse().map_err(io::Error::other).and_then(overwrite),
        _ => Err(io::Error::other(format!("no such attacker: {rest:?}"))),
    };
    match played {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(error) => {
            say(&format!("error: {error}"));
            Some(ExitCode::FAILURE)
        }
    }
}

fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    // Without a stdout there is nobody to tell.
    drop(writeln!(stdout, "{line}").and_then(|()| stdout.flush()));
}

fn without_call(call: &str, program: &str, arguments: &[&str]) -> io::Result<()> {
    let number = match call {
        "openat2" => libc::SYS_openat2,
        "fchmodat2" => libc::SYS_fchmodat2,
        _ => return Err(io::Error::other(format!("{call} is not known here"))),
    };
    sys::hide_calls(&[number])?;
    Err(Command::new(program).args(arguments).exec())
}

fn with_session_key(name: &str, program: &str, arguments: &[&str]) -> io::Result<()> {
    let name = std::ffi::CString::new(name)?;
    sys::add_session_key(c"corten-attacks", &name)?;
    Err(Command::new(program).args(arguments).exec())
}

/// T-21: what the kernel writes behind a short attribute.
fn short_bpf(cgroup: &str) -> io::Result<()> {
    let after = sys::short_bpf_query(fs::File::open(cgroup)?.as_fd())?;
    say(if after == [0xa5; 80] { "nothing was written" } else { "written" });
    Ok(())
}

/// T-19.
fn find_key(name: &str) -> io::Result<()> {
    let name = std::ffi::CString::new(name)?;
    say(if sys::finds_key(&name) { "found" } else { "not found" });
    Ok(())
}

/// T-18: types into the terminal that is stdin, and into the one that controls us.
fn type_into_stdin() -> io::Result<()> {
    let result = |typed: io::Result<()>| {
        typed.map_or_else(|error| error.to_string(), |()| "typed".to_owned())
    };
    say(&format!("stdin: {}", result(sys::type_in(io::stdin().as_fd(), b'!'))));
    let own = fs::File::open("/dev/tty").and_then(|tty| sys::type_in(tty.as_fd(), b'!'));
    say(&format!("/dev/tty: {}", result(own)));
    Ok(())
}

/// The processes that are there, but this one.
fn others() -> io::Result<Vec<i32>> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let names = fs::read_dir("/proc")?.flatten().map(|entry| entry.file_name());
    Ok(names.filter_map(|name| name.to_str()?.parse().ok()).filter(|pid| *pid != own).collect())
}

/// T-02: looks at everything that new processes have, as long as they are the runtime's; one line for each thing that can be
/// seen, once.
fn snoop(seconds: u64) -> io::Result<()> {
    let known: BTreeSet<i32> = others()?.into_iter().collect();
    let root = identity(Path::new("/"))?;
    let mut said = BTreeSet::new();
    say("ready");
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end && !Path::new("/tmp/stop").exists() {
        for pid in others()?.into_iter().filter(|pid| !known.contains(pid)) {
            for line in look_at(pid, root) {
                // Without the numbers, which are others each time.
                if said.insert(line.clone()) {
                    say(&line);
                }
            }
        }
    }
    say("end");
    Ok(())
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|status| (status.dev(), status.ino()))
}

/// What can be seen of a process that is not yet the user's program.
fn look_at(pid: i32, root: (u64, u64)) -> Vec<String> {
    let path = |file: &str| PathBuf::from(format!("/proc/{pid}/{file}"));
    let is_runtimes = || {
        fs::read_to_string(path("comm"))
            .is_ok_and(|name| name.starts_with("corten") || name.starts_with("attacked"))
    };
    let mut seen = Vec::new();
    if !is_runtimes() {
        return seen;
    }
    for name in ["exe", "cwd", "root"] {
        let Ok(target) = fs::read_link(path(name)) else { continue };
        let elsewhere = name != "exe" && identity(&path(name)).is_ok_and(|found| found != root);
        let what = if elsewhere { " which is outside" } else { "" };
        seen.push(format!("{name} {}{what}", target.display()));
    }
    for entry in fs::read_dir(path("fd")).into_iter().flatten().flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let within = fs::read_dir(entry.path()).into_iter().flatten().flatten();
        let names: Vec<_> = within.map(|entry| entry.file_name()).collect();
        let number = entry.file_name();
        let is_inside =
            identity(&entry.path()).is_ok_and(|found| identity(&target).ok() == Some(found));
        let what = if is_inside { " inside" } else { "" };
        seen.push(format!("fd {} {} {names:?}{what}", number.display(), target.display()));
    }
    // Who may take a descriptor may trace (PTRACE_MODE_ATTACH), and tracing would only hold everybody up.
    if let Some(pidfd) =
        Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
    {
        let taken =
            (0..16).filter_map(|number| pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()).ok());
        let count = taken.count();
        if count > 0 {
            seen.push("descriptors were taken".to_owned());
        }
    }
    if is_runtimes() { seen } else { Vec::new() }
}

/// T-03: keeps /proc/PID/exe of every new process, and tries to write to it for as long as there is time.
fn overwrite(seconds: u64) -> io::Result<()> {
    let known: BTreeSet<i32> = others()?.into_iter().collect();
    let mut kept: Vec<(PathBuf, fs::File)> = Vec::new();
    say("ready");
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end && !Path::new("/tmp/stop").exists() {
        for pid in others()?.into_iter().filter(|pid| !known.contains(pid)) {
            let exe = PathBuf::from(format!("/proc/{pid}/exe"));
            let target = fs::read_link(&exe).unwrap_or_default();
            if kept.len() < 200
                && !target.ends_with("busybox")
                && let Ok(file) = fs::File::open(&exe)
            {
                kept.push((target, file));
            }
        }
        for (target, file) in &kept {
            use std::os::fd::AsRawFd;
            let again = format!("/proc/self/fd/{}", file.as_raw_fd());
            let written = fs::OpenOptions::new()
                .write(true)
                .open(again)
                .and_then(|mut file| file.write_all(b"#!/evil"));
            if written.is_ok() {
                say(&format!("overwritten: {}", target.display()));
                return Ok(());
            }
        }
    }
    say(&format!("end: {} kept", kept.len()));
    Ok(())
}
