//! What a container sees and touches of the runtime's processes that enter its namespaces.
//!
//! Runs in: any process.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use nix::sched::{CloneFlags, setns};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use serde_json::{Value, json};

use crate::attack::{Attack, attacks, in_own_mounts};
use crate::bundle::{self, Bundle};
use crate::harness::TestResult;
use crate::host::Need::Root;
use crate::probe;
use crate::runtime::{Outcome, Running};

attacks! {
    processes_that_join_are_not_seen_without_ptrace: [Root],
    processes_that_join_show_ptrace_no_way_out: [Root],
    executable_of_who_joins_is_not_written: [Root],
    interpreter_by_proc_self_exe_is_not_the_runtime: [Root],
    executable_without_memfds_is_not_written: [Root],
}

/// Capabilities of the container and of the control: with CAP_SYS_PTRACE and without.
const WITHOUT_PTRACE: &[CapabilitySet] = &[CapabilitySet::KILL, CapabilitySet::DAC_OVERRIDE];
const WITH_PTRACE: &[CapabilitySet] =
    &[CapabilitySet::KILL, CapabilitySet::DAC_OVERRIDE, CapabilitySet::SYS_PTRACE];

fn grant(config: &mut Value, capabilities: &[CapabilitySet]) {
    let name = |one: &CapabilitySet| match *one {
        CapabilitySet::KILL => "CAP_KILL",
        CapabilitySet::SYS_PTRACE => "CAP_SYS_PTRACE",
        _ => "CAP_DAC_OVERRIDE",
    };
    let names: Vec<_> = capabilities.iter().map(name).collect();
    config["process"]["capabilities"] =
        json!({ "bounding": names, "effective": names, "permitted": names });
}

/// A container in which an attacker of ours runs.
struct Watcher<'a> {
    attack: &'a Attack<'a>,
    id: String,
    pid: i32,
    bundle: Bundle,
    created: Outcome,
}

impl<'a> Watcher<'a> {
    fn start(
        attack: &'a Attack<'a>,
        words: &[&str],
        capabilities: &[CapabilitySet],
    ) -> Result<Self, Failed> {
        let mut bundle = attack.runtime.bundle(&probe::arguments(words))?;
        bundle.edit(|config| {
            grant(config, capabilities);
            probe::allow(config);
            // What it may write to is not to be a program of the images, which all tests share.
            config["root"]["readonly"] = json!(true);
        })?;
        let id = attack.runtime.new_id();
        let created = attack.runtime.create(&bundle, &id)?.ok()?;
        attack.runtime.start(&id)?.ok()?;
        let pid = attack.runtime.pid(&id)?;
        let watcher = Self { attack, id, pid, bundle, created };
        attack.runtime.wait_until("the attacker", || Ok(watcher.seen().contains("ready")))?;
        Ok(watcher)
    }

    fn seen(&self) -> String {
        self.created.stdout_now()
    }

    /// Waits for its end; what it has seen.
    fn stop(self) -> Result<String, Failed> {
        fs::write(self.bundle.in_rootfs("tmp/stop"), "")?;
        self.attack.runtime.wait_until("the end of the attacker", || {
            let seen = self.seen();
            Ok(["end", "overwritten", "error"].iter().any(|word| seen.contains(word)))
        })?;
        let seen = self.seen();
        self.attack.runtime.delete_force(&self.id)?.ok()?;
        Ok(seen)
    }

    /// Has containers join its pid namespace, one after the other, as those of a pod do.
    fn has_others_join(&self, count: usize) -> TestResult {
        let bundle = self.attack.runtime.bundle_with(&["true"], |config| {
            config["root"]["readonly"] = json!(true);
            bundle::remove(config, "/linux/namespaces", "type", "pid");
            bundle::add(
                config,
                "/linux/namespaces",
                json!({ "type": "pid", "path": format!("/proc/{}/ns/pid", self.pid) }),
            );
        })?;
        for _ in 0..count {
            self.attack.runtime.run(&bundle)?.ok()?;
        }
        Ok(())
    }

    /// Has programs executed in it.
    fn has_execs(&self, count: usize) -> TestResult {
        for _ in 0..count {
            self.attack.runtime.command(["exec", &self.id, "true"]).output()?.ok()?;
        }
        Ok(())
    }

    /// Has a program of the host join its pid namespace as a careless runtime would: it can be dumped, and has a directory
    /// of the host open. Its name is one that the attacker looks for.
    fn has_careless_join(&self, program: &Path, directory: &Path, seconds: &str) -> TestResult {
        let namespace = fs::File::open(format!("/proc/{}/ns/pid", self.pid))?;
        let keep = self.bundle.config()["process"]["capabilities"]["bounding"].to_string();
        let body = || -> TestResult {
            for number in 0..=40 {
                let name = [(5, "CAP_KILL"), (19, "CAP_SYS_PTRACE"), (1, "CAP_DAC_OVERRIDE")];
                let kept = name.iter().any(|(own, name)| *own == number && keep.contains(name));
                if let Some(capability) =
                    (!kept).then(|| CapabilitySet::from_bits(1 << number)).flatten()
                {
                    remove_capability_from_bounding_set(capability)?;
                }
            }
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWPID)?;
            let mut command = Command::new(program);
            command
                .arg0("sleep")
                .arg(seconds)
                .stdin(fs::File::open(directory)?)
                .stdout(Stdio::null());
            command.env("CORTEN_TEST", self.attack.runtime.marker()).status()?;
            Ok(())
        };
        let joined = std::thread::scope(|scope| scope.spawn(body).join());
        joined.map_err(|_| Failed::from("the thread panicked"))?
    }
}

/// A copy of busybox that this test alone has.
fn careless_program(attack: &Attack<'_>) -> Result<PathBuf, Failed> {
    let path = attack.runtime.directory().join("attacked");
    bundle::copy_busybox(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

fn secret_directory(attack: &Attack<'_>) -> Result<PathBuf, Failed> {
    let path = attack.runtime.directory().join("directory");
    fs::create_dir(&path)?;
    fs::write(path.join("secret"), "")?;
    Ok(path)
}

/// The control of both attacks that look.
fn looks_at_the_careless(attack: &Attack<'_>, capabilities: &[CapabilitySet]) -> TestResult {
    let watcher = Watcher::start(attack, &["snoop", "60"], capabilities)?;
    watcher.has_careless_join(&careless_program(attack)?, &secret_directory(attack)?, "0.5")?;
    let seen = watcher.stop()?;
    attack.control(
        &format!("a look at a process that can be dumped: {seen}"),
        seen.contains("\"secret\""),
    )
}

/// T-02, CVE-2016-9962: a process of the runtime is in the container's pid namespace for a while, before it is the user's.
fn processes_that_join_are_not_seen_without_ptrace(attack: &Attack<'_>) -> TestResult {
    looks_at_the_careless(attack, WITHOUT_PTRACE)?;
    let watcher = Watcher::start(attack, &["snoop", "60"], WITHOUT_PTRACE)?;
    watcher.has_others_join(10)?;
    watcher.has_execs(25)?;
    let seen = watcher.stop()?;
    attack.attempt(&seen, seen == "ready\nend\n")
}

/// T-02: with CAP_SYS_PTRACE in the user namespace of the host all can be seen: so nothing may be there that leads out.
fn processes_that_join_show_ptrace_no_way_out(attack: &Attack<'_>) -> TestResult {
    looks_at_the_careless(attack, WITH_PTRACE)?;
    let watcher = Watcher::start(attack, &["snoop", "60"], WITH_PTRACE)?;
    watcher.has_execs(25)?;
    let seen = watcher.stop()?;
    let leads_out: Vec<_> = seen.lines().filter(|line| leads_out(line)).collect();
    attack.attempt(&format!("{leads_out:?} in {seen}"), leads_out.is_empty())
}

/// Whether a line of the attacker is about something of the host.
fn leads_out(line: &str) -> bool {
    if line.ends_with(" which is outside") {
        return true;
    }
    let mut words = line.split(' ');
    match words.next() {
        Some("exe") => !line.contains("memfd:corten-init"),
        Some("fd") => {
            let target = words.nth(1).unwrap_or_default();
            let harmless = ["pipe:", "socket:", "anon_inode:", "/dev/null", "/memfd:corten"];
            if line.ends_with(" inside") {
                return false;
            }
            let of_the_caller = target.ends_with(".out") || target.ends_with(".err");
            !of_the_caller && !harmless.iter().any(|start| target.starts_with(start))
        }
        _ => false,
    }
}

/// T-03, CVE-2019-5736: the file that the runtime executes in the container is written to when it has ended.
fn executable_of_who_joins_is_not_written(attack: &Attack<'_>) -> TestResult {
    let program = careless_program(attack)?;
    let directory = secret_directory(attack)?;
    let watcher = Watcher::start(attack, &["overwrite", "60"], WITH_PTRACE)?;
    watcher.has_careless_join(&program, &directory, "0.5")?;
    attack
        .runtime
        .wait_until("the overwritten file", || Ok(watcher.seen().contains("overwritten")))?;
    watcher.stop()?;
    let written = fs::read(&program)?.starts_with(b"#!/evil");
    attack.control("the file of a program that was executed by its path", written)?;

    let before = fs::read(attack.runtime.program())?;
    let watcher = Watcher::start(attack, &["overwrite", "60"], WITH_PTRACE)?;
    watcher.has_others_join(10)?;
    watcher.has_execs(25)?;
    let seen = watcher.stop()?;
    attack.attempt(&seen, !seen.contains("overwritten"))?;
    attack.attempt("the runtime's file is another", fs::read(attack.runtime.program())? == before)
}

/// T-03: the program is a script whose interpreter is whoever executes it.
fn interpreter_by_proc_self_exe_is_not_the_runtime(attack: &Attack<'_>) -> TestResult {
    let bundle = attack.runtime.bundle(&["/attack", "--version"])?;
    fs::write(bundle.in_rootfs("attack"), "#!/proc/self/exe\n")?;
    fs::set_permissions(bundle.in_rootfs("attack"), fs::Permissions::from_mode(0o755))?;
    let rootfs = bundle.in_rootfs("");
    let output = in_own_mounts(|| {
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("proc"), &rootfs.join("proc"), Some("proc"), flags, None::<&str>)?;
        Ok(Command::new(bundle::BUSYBOX).arg("chroot").arg(&rootfs).arg("/attack").output()?)
    })?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    attack.control(&format!("execve in a chroot: {text}"), text.contains("applet not found"))?;

    let before = fs::read(attack.runtime.program())?;
    let outcome = attack.runtime.run(&bundle)?;
    let ran = outcome.code() == 0 || outcome.stdout.contains("version");
    attack.attempt(&outcome.to_string(), !ran)?;
    attack.attempt("the runtime's file is another", fs::read(attack.runtime.program())? == before)
}

/// Keeps what a process executes, has it end, and writes.
fn write_after_the_end(exe: &str, end: impl FnOnce() -> TestResult) -> Result<bool, Failed> {
    let kept = fs::File::open(exe)?;
    let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&kept));
    let write = || fs::OpenOptions::new().write(true).open(&again);
    let during = write().is_ok();
    end()?;
    let written = write().and_then(|mut file| std::io::Write::write_all(&mut file, b"#!/evil"));
    Ok(during || written.is_ok())
}

/// T-03: where the kernel refuses executable memfds (`vm.memfd_noexec=2`, which belongs to the pid namespace).
fn executable_without_memfds_is_not_written(attack: &Attack<'_>) -> TestResult {
    let program = careless_program(attack)?;
    let mut child = Command::new(&program).arg0("sleep").arg("1000").spawn()?;
    let written = write_after_the_end(&format!("/proc/{}/exe", child.id()), || {
        child.kill()?;
        child.wait()?;
        Ok(())
    })?;
    attack.control("the file of a program that was executed by its path", written)?;

    let (id, bundle) = (attack.runtime.new_id(), attack.runtime.bundle(&["sleep", "1000"])?);
    let script = "echo 2 >/proc/sys/vm/memfd_noexec && echo set && \"$@\" && exec sleep 1000";
    let create = attack.runtime.command(["create", "--bundle"]).arg(bundle.path()).arg(&id);
    let running: Running = create
        .wrapped_by(["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", script, "sh"])
        .spawn()?;
    // The pid in the state is one of the namespace: the host finds init by its name.
    attack.runtime.wait_until("init", || Ok(init_of(&bundle).is_some()))?;
    let init = init_of(&bundle).ok_or_else(|| format!("no init: {}", running.stdout()))?;
    let exe = format!("/proc/{init}/exe");
    let target = fs::read_link(&exe)?;
    let is_memfd = target.to_string_lossy().contains("memfd:");
    let written = write_after_the_end(&exe, || {
        drop(running);
        Ok(())
    })?;
    attack.attempt(&format!("{} was written", target.display()), !written)?;
    if is_memfd { Err("vm.memfd_noexec=2 has not changed anything".into()) } else { Ok(()) }
}

/// A process named as init is, whose root file system is that of the bundle.
fn init_of(bundle: &Bundle) -> Option<String> {
    let mounted = bundle.path().to_string_lossy().into_owned();
    let pids = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.file_name());
    let mut pids = pids.filter_map(|name| name.into_string().ok());
    pids.find(|pid| {
        let read =
            |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        read("comm").starts_with("corten:init") && read("mountinfo").contains(&mounted)
    })
}
