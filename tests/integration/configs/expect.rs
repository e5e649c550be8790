//! What a probe must have seen: everything that its configuration says, and nothing more.
//!
//! Runs in: any process.

use std::fs;

use serde_json::Value;

use super::adapt::{Adapted, array_of, capability};
use super::probe::Seen;
use crate::harness::{TestResult, ensure, ensure_eq};
use crate::inside::{Mount, field, mount_at, mounts, namespace_of};

pub fn all(adapted: &Adapted, seen: &Seen) -> TestResult {
    let config = &adapted.config;
    user(config, seen)?;
    capabilities(config, seen)?;
    environment(config, seen)?;
    limits(config, seen)?;
    ensure_eq!(seen.line("fds"), "0\n1\n2");
    let mounts = mounts(seen.section("mountinfo"));
    mounted(config, &mounts)?;
    modes(config, seen)?;
    root(config, seen, &mounts)?;
    devices(config, seen)?;
    protected(config, seen, &mounts)?;
    namespaces(adapted, seen)?;
    names(adapted, seen)?;
    cgroup(config, seen)
}

fn user(config: &Value, seen: &Seen) -> TestResult {
    let status = seen.section("status");
    let user = &config["process"]["user"];
    for (key, given) in [("Uid", &user["uid"]), ("Gid", &user["gid"])] {
        ensure_eq!(field(status, key)?, format!("{given}\t{given}\t{given}\t{given}"));
    }
    let mut groups: Vec<_> = user["additionalGids"].as_array().cloned().unwrap_or_default();
    groups.sort_by_key(Value::as_u64);
    // runc puts the gid among them too.
    let mut found: Vec<_> = field(status, "Groups")?.split_whitespace().collect();
    if !groups.contains(&user["gid"]) {
        let gid = user["gid"].to_string();
        found.retain(|group| *group != gid);
    }
    let given: Vec<_> = groups.iter().map(ToString::to_string).collect();
    ensure_eq!(found, given);
    let umask = user["umask"].as_u64().unwrap_or(0o022);
    ensure_eq!(field(status, "Umask")?, format!("{umask:04o}"));
    for line in seen.line("stdio").lines() {
        // The null device is everybody's; files and terminals are the user's.
        let is_given = line.split(' ').next() == Some(&user["uid"].to_string());
        ensure!(is_given || line.ends_with(" 1:3"), "stdio belongs to {line}");
    }
    Ok(())
}

fn capabilities(config: &Value, seen: &Seen) -> TestResult {
    let process = &config["process"];
    let given = |set: &str| array_of(&process["capabilities"], set).map(capability).sum::<u64>();
    let (bounding, inheritable) = (given("bounding"), given("inheritable"));
    // capabilities(7): nothing becomes ambient that is not both of these.
    let ambient = given("ambient") & inheritable & given("permitted");
    // capabilities(7): root's program gets all that it may have, a user's what is ambient.
    let is_root = process["user"]["uid"] == 0;
    let effective = if is_root { bounding | inheritable } else { ambient };
    let status = seen.section("status");
    for (key, set) in [
        ("CapInh", inheritable),
        ("CapPrm", effective),
        ("CapEff", effective),
        ("CapBnd", bounding),
        ("CapAmb", ambient),
    ] {
        let set = format!("{set:016x}");
        ensure_eq!((key, field(status, key)?), (key, set.as_str()));
    }
    let no_new_privileges = u8::from(process["noNewPrivileges"] == true);
    ensure_eq!(field(status, "NoNewPrivs")?, no_new_privileges.to_string());
    let filtered = if config["linux"]["seccomp"].is_object() { "2" } else { "0" };
    ensure_eq!(field(status, "Seccomp")?, filtered);
    signals(status)
}

fn signals(status: &str) -> TestResult {
    // The shell itself ignores SIGQUIT, and glibc's posix_spawn, which starts the runtime, its own 32 and 33.
    const OF_OTHERS: u64 = 1 << 2 | 1 << 31 | 1 << 32;
    for (key, others) in [("SigBlk", 0), ("SigIgn", OF_OTHERS)] {
        let set = u64::from_str_radix(field(status, key)?, 16)?;
        ensure!(set & !others == 0, "{key} is {set:x}");
    }
    Ok(())
}

fn environment(config: &Value, seen: &Seen) -> TestResult {
    let process = &config["process"];
    let mut given: Vec<_> = array_of(process, "env").collect();
    if !given.iter().any(|variable| variable.starts_with("HOME=")) {
        given.push(if process["user"]["uid"] == 0 { "HOME=/root" } else { "HOME=/home" });
    }
    let mut found: Vec<_> = seen.line("environ").lines().collect();
    given.sort_unstable();
    found.sort_unstable();
    ensure_eq!(found, given);
    ensure_eq!(seen.line("cwd"), process["cwd"].as_str().unwrap_or_default());
    Ok(())
}

fn limits(config: &Value, seen: &Seen) -> TestResult {
    for limit in config["process"]["rlimits"].as_array().into_iter().flatten() {
        let name = match limit["type"].as_str() {
            Some("RLIMIT_NOFILE") => "Max open files",
            Some("RLIMIT_NPROC") => "Max processes",
            Some("RLIMIT_CORE") => "Max core file size",
            other => return Err(format!("a limit that is new here: {other:?}").into()),
        };
        let lines = seen.section("limits").lines();
        let line = lines.filter_map(|line| line.strip_prefix(name)).next().unwrap_or_default();
        let found: Vec<_> = line.split_whitespace().take(2).collect();
        ensure_eq!((name, found.join(" ")), (name, format!("{} {}", limit["soft"], limit["hard"])));
    }
    let own = fs::read_to_string("/proc/self/oom_score_adj")?;
    let score = config["process"]["oomScoreAdj"].as_i64().map(|score| score.to_string());
    ensure_eq!(seen.line("oom"), score.as_deref().unwrap_or(own.trim()));
    Ok(())
}

/// Of each destination the last mount; the ones below it nobody sees.
fn mounted(config: &Value, mounts: &[Mount]) -> TestResult {
    let given = config["mounts"].as_array().map_or(&[][..], Vec::as_slice);
    for (index, mount) in given.iter().enumerate() {
        let target = &mount["destination"];
        if given.iter().skip(index + 1).any(|later| later["destination"] == *target) {
            continue;
        }
        let found = mount_at(mounts, target.as_str().unwrap_or_default())?;
        as_given(config, mount, found)
            .map_err(|failed| format!("{mount} is {found:?}: {failed:?}"))?;
    }
    Ok(())
}

/// A tmpfs without a mode has that of the directory that it covers, or its own default where that is made for it.
fn modes(config: &Value, seen: &Seen) -> TestResult {
    let lines = seen.section("targets");
    for mount in config["mounts"].as_array().into_iter().flatten() {
        if mount["type"] != "tmpfs" || array_of(mount, "options").any(|it| it.starts_with("mode="))
        {
            continue;
        }
        let target = mount["destination"].as_str().unwrap_or_default();
        let mode = if target == "/run" { "755" } else { "1777" };
        let line = format!("{target}|directory|0:0|{mode}|0:0|{target}");
        ensure!(lines.lines().any(|it| it == line), "no {line} in {lines}");
    }
    Ok(())
}

fn as_given(config: &Value, mount: &Value, found: &Mount) -> TestResult {
    let options: Vec<_> = array_of(mount, "options").collect();
    let has = |word: &str| options.contains(&word);
    let is_bind = has("bind") || has("rbind");
    if !is_bind {
        let kind = match mount["type"].as_str() {
            Some("cgroup") => "cgroup2",
            kind => kind.unwrap_or_default(),
        };
        ensure_eq!(found.fstype, kind);
        // Its own, or shared with containers that ask for another.
        ensure!(has("ro") || !found.superblock_has("ro"), "a read-only super block");
    }
    for (flag, is_asked) in [
        ("ro", has("ro") || has("rro")),
        ("nosuid", has("nosuid")),
        ("nodev", has("nodev")),
        ("noexec", has("noexec")),
    ] {
        // A bind keeps the flags that its source has.
        ensure!(found.has(flag) == is_asked || is_bind && !is_asked, "{flag}: {is_asked}");
    }
    let is_asked = options.iter().any(|word| {
        ["private", "slave", "shared"].contains(&word.strip_prefix('r').unwrap_or(word))
    });
    let is_shared = options.iter().any(|word| matches!(*word, "shared" | "rshared"));
    let propagation = propagation(config, is_shared);
    ensure!(!is_asked || found.propagates() == propagation, "propagation: {propagation}");
    for option in &options {
        data(option, found)?;
    }
    Ok(())
}

/// How a mount propagates: that of the root is set last, and for all below it.
///
/// Nothing of the tests is shared, so what is a slave here has no master.
fn propagation(config: &Value, is_shared: bool) -> &'static str {
    let all_are_shared = config["linux"]["rootfsPropagation"] == "rshared";
    if is_shared || all_are_shared { "shared" } else { "private" }
}

/// The words that are the file system's own.
fn data(option: &str, found: &Mount) -> TestResult {
    let shown = match option.split_once('=') {
        Some(("size", size)) => format!("size={}k", kilobytes(size)?),
        // The default of tmpfs, which it does not show.
        Some(("mode", "1777")) | None => return Ok(()),
        Some(("mode", mode)) => format!("mode={}", mode.trim_start_matches('0')),
        Some(("ptmxmode", mode)) => format!("ptmxmode={}", mode.trim_start_matches('0')),
        Some(_) => option.to_owned(),
    };
    ensure!(found.superblock_has(&shown), "no {shown}");
    Ok(())
}

fn kilobytes(size: &str) -> Result<u64, libtest_mimic::Failed> {
    let digits = size.trim_end_matches(['k', 'm']);
    let number: u64 = digits.parse()?;
    Ok(match size.strip_prefix(digits) {
        Some("k") => number,
        Some("m") => number * 1024,
        _ => number / 1024,
    })
}

fn root(config: &Value, seen: &Seen, mounts: &[Mount]) -> TestResult {
    let found = mount_at(mounts, "/")?;
    let is_readonly = config["root"]["readonly"] == true;
    ensure_eq!(found.has("ro"), is_readonly);
    let may_write = !is_readonly && config["process"]["user"]["uid"] == 0;
    ensure_eq!(seen.line("root"), if may_write { "writable" } else { "not" });
    ensure_eq!(found.propagates(), propagation(config, false));
    Ok(())
}

/// `linux.devices` and the devices of config-linux.md that no mount brings.
fn devices(config: &Value, seen: &Seen) -> TestResult {
    let given = config["linux"]["devices"].as_array().map_or(&[][..], Vec::as_slice);
    // runc and crun put their link over it too.
    for device in given.iter().filter(|device| device["path"] != "/dev/ptmx") {
        let number = |key: &str| device[key].as_u64().unwrap_or_default();
        let kind = if device["type"] == "b" { "block" } else { "character" };
        let line = format!(
            "{}|{kind} special file|{:x}:{:x}|{:o}|{}:{}|",
            device["path"].as_str().unwrap_or_default(),
            number("major"),
            number("minor"),
            // Podman writes the whole st_mode.
            number("fileMode") & 0o7777,
            number("uid"),
            number("gid")
        );
        let lines = seen.section("devices");
        ensure!(lines.lines().any(|it| it.starts_with(&line)), "no {line} in {lines}");
    }
    let dev = seen.section("dev");
    for (path, number) in [
        ("/dev/null", "1:3"),
        ("/dev/zero", "1:5"),
        ("/dev/full", "1:7"),
        ("/dev/random", "1:8"),
        ("/dev/urandom", "1:9"),
        ("/dev/tty", "5:0"),
    ] {
        if given.iter().any(|device| device["path"] == path) {
            continue;
        }
        let line = format!("{path}|character special file|{number}|666|0:0|");
        ensure!(dev.lines().any(|it| it.starts_with(&line)), "no {line} in {dev}");
    }
    for (path, target) in
        [("fd", "/proc/self/fd"), ("ptmx", "pts/ptmx"), ("stdout", "/proc/self/fd/1")]
    {
        let start = format!("/dev/{path}|symbolic link|");
        let end = format!("-> '{target}'");
        let is_there = dev.lines().any(|it| it.starts_with(&start) && it.ends_with(&end));
        ensure!(is_there, "no {start} {end} in {dev}");
    }
    Ok(())
}

/// Paths that this kernel has: masked ones are empty, read-only ones cannot be written, and each is a mount.
fn protected(config: &Value, seen: &Seen, mounts: &[Mount]) -> TestResult {
    for (list, section, sight) in
        [("maskedPaths", "masked", "0"), ("readonlyPaths", "readonly", "closed")]
    {
        let lines = seen.line(section);
        for line in lines.lines() {
            let (path, found) = line.split_once(' ').ok_or("a line without a value")?;
            ensure_eq!((path, found), (path, sight));
            let mount = mount_at(mounts, path)?;
            // What covers a file is the null device of the host, or with runc and crun of the container.
            ensure!(mount.has("ro") || mount.root == "/null", "{path} is {mount:?}");
        }
        let is_given = array_of(&config["linux"], list)
            .any(|path| path == "/proc/kcore" || path == "/proc/sys");
        ensure_eq!(!lines.is_empty(), is_given);
    }
    Ok(())
}

fn namespaces(adapted: &Adapted, seen: &Seen) -> TestResult {
    let own = i32::try_from(std::process::id())?;
    let given = adapted.config["linux"]["namespaces"].as_array().map_or(&[][..], Vec::as_slice);
    let kinds = ["pid", "network", "ipc", "uts", "mount", "cgroup"];
    let files = ["pid", "net", "ipc", "uts", "mnt", "cgroup"];
    for ((kind, file), found) in kinds.iter().zip(files).zip(seen.section("namespaces").lines()) {
        match (given.iter().find(|namespace| namespace["type"] == *kind), adapted.holder) {
            (None, _) => ensure_eq!(found, namespace_of(own, file)?),
            (Some(namespace), Some(holder)) if !namespace["path"].is_null() => {
                ensure_eq!(found, namespace_of(holder, file)?);
            }
            _ => ensure!(found != namespace_of(own, file)?, "{kind} is not new"),
        }
    }
    Ok(())
}

fn names(adapted: &Adapted, seen: &Seen) -> TestResult {
    let config = &adapted.config;
    if let Some(name) = config["hostname"].as_str() {
        ensure_eq!(seen.line("hostname"), name);
    }
    for (key, value) in config["linux"]["sysctl"].as_object().into_iter().flatten() {
        let line = format!("{key} {}", value.as_str().unwrap_or_default());
        let lines = seen.section("sysctl");
        ensure!(lines.lines().any(|it| it == line), "no {line} in {lines}");
    }
    Ok(())
}

fn cgroup(config: &Value, seen: &Seen) -> TestResult {
    let given = config["linux"]["namespaces"].as_array().into_iter().flatten();
    let is_private = given.into_iter().any(|namespace| namespace["type"] == "cgroup");
    let path = config["linux"]["cgroupsPath"].as_str();
    let shown = if is_private { Some("/") } else { path };
    if let Some(shown) = shown {
        ensure!(seen.section("cgroup").lines().any(|it| it == format!("0::{shown}")), "{shown}");
    }
    Ok(())
}
