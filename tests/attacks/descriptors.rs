//! Descriptors that lead to the host: of the caller, of the runtime, of hooks.
//!
//! Runs in: any process.

use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Failed;
use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use crate::attack::{Attack, attacks, in_own_mounts};
use crate::bundle::{self, Bundle, add};
use crate::harness::TestResult;
use crate::host::Need::Root;
use crate::runtime::Outcome;

attacks! {
    cwd_by_a_leaked_descriptor_is_not_the_hosts: [Root],
    program_by_a_leaked_descriptor_is_not_the_hosts: [Root],
    descriptors_of_the_caller_are_not_in_the_container: [Root],
    descriptors_and_environment_are_not_in_hooks: [Root],
}

/// Descriptors 3 to 8 of a caller that has forgotten to close them.
const LEAKS: &str = "3</ 4</tmp 5</sys/fs/cgroup 6</proc 7</etc 8</";

fn run_with_leaks(attack: &Attack<'_>, bundle: &Bundle) -> Result<Outcome, Failed> {
    let run = attack.runtime.command(["run", "--bundle"]).arg(bundle.path());
    run.arg(attack.runtime.new_id()).redirected(LEAKS).output()
}

/// A secret of the host, and its path without the first slash.
fn secret(attack: &Attack<'_>) -> Result<String, Failed> {
    let path = attack.runtime.directory().join("secret");
    fs::write(&path, "of the host")?;
    Ok(path.strip_prefix("/")?.to_string_lossy().into_owned())
}

/// A chroot with a procfs, and nothing closed: what a runtime without guard is to its container.
fn in_chroot(bundle: &Bundle, script: &str) -> Result<String, Failed> {
    let rootfs = bundle.in_rootfs("");
    let output = in_own_mounts(|| {
        mount(Some("proc"), &rootfs.join("proc"), Some("proc"), MsFlags::empty(), None::<&str>)?;
        let line = format!("exec chroot \"$0\" /bin/sh -c \"$1\" {LEAKS}");
        Ok(Command::new("sh").args(["-c", &line]).arg(&rootfs).arg(script).output()?)
    })?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// T-09, CVE-2024-21626: the working directory is one that the runtime has open.
fn cwd_by_a_leaked_descriptor_is_not_the_hosts(attack: &Attack<'_>) -> TestResult {
    let secret = secret(attack)?;
    let read =
        format!("cat {secret} ../{secret} ../../{secret} ../../../{secret} 2>/dev/null; true");
    let control = attack.runtime.bundle(&["true"])?;
    let seen = in_chroot(&control, &format!("cd /proc/self/fd/3; {read}"))?;
    attack.control(
        "a working directory by a descriptor that was not closed",
        seen.contains("of the host"),
    )?;

    let numbers = (3..=20).chain([64]).map(|number| format!("/proc/self/fd/{number}"));
    let others =
        ["/proc/1/cwd", "/proc/self/fd/3/..", "/proc/1/root", "/proc/thread-self/fd/8/tmp"];
    for cwd in numbers.chain(others.map(str::to_owned)) {
        let bundle = attack.runtime.bundle_with(&["sh", "-c", &read], |config| {
            config["process"]["cwd"] = json!(cwd);
        })?;
        let outcome = run_with_leaks(attack, &bundle)?;
        attack
            .attempt(&format!("cwd {cwd}: {outcome}"), !outcome.stdout.contains("of the host"))?;
    }
    Ok(())
}

/// T-09: the program is one of the host.
fn program_by_a_leaked_descriptor_is_not_the_hosts(attack: &Attack<'_>) -> TestResult {
    let program = attack.runtime.directory().join("program");
    bundle::copy_busybox(&program)?;
    let program = program.strip_prefix("/")?.to_string_lossy().into_owned();
    let control = attack.runtime.bundle(&["true"])?;
    let link = |rootfs: &Path, number: u32| -> Result<(), Failed> {
        let name = rootfs.join("echo");
        fs::remove_file(&name).ok();
        Ok(std::os::unix::fs::symlink(format!("/proc/self/fd/{number}/{program}"), name)?)
    };
    link(&control.in_rootfs(""), 3)?;
    let seen = in_chroot(&control, "exec /echo ran")?;
    attack.control("a program by a descriptor that was not closed", seen == "ran\n")?;
    for number in 3..=12 {
        // By the name itself, and by a symlink of the image that leads there.
        for name in [format!("/proc/self/fd/{number}/{program}"), "/echo".to_owned()] {
            let bundle = attack.runtime.bundle(&[&name, "echo", "ran"])?;
            link(&bundle.in_rootfs(""), number)?;
            let outcome = run_with_leaks(attack, &bundle)?;
            attack.attempt(&outcome.to_string(), !outcome.stdout.contains("ran"))?;
        }
    }
    Ok(())
}

/// T-09: descriptors are closed but for 0, 1, 2 and those asked for.
fn descriptors_of_the_caller_are_not_in_the_container(attack: &Attack<'_>) -> TestResult {
    let control = attack.runtime.bundle(&["true"])?;
    let list = "ls /proc/self/fd/3/etc >/dev/null && echo open";
    attack.control(
        "a program that was started with all of them",
        in_chroot(&control, list)? == "open\n",
    )?;
    let bundle = attack.runtime.bundle(&["sh", "-c", "echo /proc/self/fd/*"])?;
    let outcome = run_with_leaks(attack, &bundle)?.ok()?;
    let mut seen: Vec<_> = outcome.stdout.split_whitespace().collect();
    // The shell's own, of the directory that it reads.
    seen.retain(|path| *path != "/proc/self/fd/3" && *path != "/proc/self/fd/10");
    let three = ["/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"];
    attack.attempt(&outcome.to_string(), seen == three)
}

/// T-16, CVE-2025-23266: hooks of the host are started with what the container's configuration says, or with open
/// descriptors of the runtime.
fn descriptors_and_environment_are_not_in_hooks(attack: &Attack<'_>) -> TestResult {
    let log = attack.runtime.directory().join("log");
    // Where the hook is started from, what its environment is, and what it has open.
    let script = format!(
        "cat >/dev/null; {{ env; ls -l /proc/self/fd | sed 's/.* \\([0-9]* ->\\)/fd \\1/'; echo cwd $(pwd); }} >>{}",
        log.display()
    );
    let evil = ["LD_PRELOAD=/evil.so", "PATH=/evil", "IFS=evil"];
    let output = Command::new("sh")
        .args(["-c", &format!("exec \"$0\" -c \"$1\" {LEAKS}"), "/bin/sh", &script])
        .env("LD_DEBUG_EVIL", "/evil.so")
        .stdin(std::process::Stdio::null())
        .output()?;
    let text = fs::read_to_string(&log).unwrap_or_default();
    let leaky = text.contains("EVIL") && text.contains("fd 8 -> /\n");
    attack.control(&format!("a hook that is spawned as it comes: {output:?}"), leaky)?;
    fs::remove_file(&log)?;

    let bundle = attack.runtime.bundle_with(&["/bin/sleep", "0.5"], |config| {
        for variable in evil {
            add(config, "/process/env", json!(variable));
        }
        for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
            let hook: Value = json!({ "path": "/bin/sh", "args": ["sh", "-c", script] });
            add(config, &format!("/hooks/{kind}"), hook);
        }
    })?;
    run_with_leaks(attack, &bundle)?;
    let text = fs::read_to_string(&log)?;
    attack.attempt(&text, !text.contains("evil"))?;
    let extra = |line: &&str| {
        let number = line.strip_prefix("fd ").and_then(|fd| fd.split(' ').next());
        // Of ls: the directory that it lists.
        number.is_some_and(|number| !["0", "1", "2"].contains(&number)) && !line.ends_with("/fd")
    };
    let extra: Vec<_> = text.lines().filter(extra).collect();
    attack.attempt(&format!("{extra:?} in {text}"), extra.is_empty())?;
    let ran = text.matches("cwd ").count();
    if ran == 5 { Ok(()) } else { Err(format!("{ran} of 5 hooks ran: {text}").into()) }
}
