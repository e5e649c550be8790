//! Where the stepper plays: a bundle, a state root, a cgroup, and how all of it looked before.
//!
//! Runs in: any process.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::json;

use super::stepper::{self, End, Victim, Watchdog};
use super::{Verb, difference};
use crate::bundle::{Bundle, share_busybox};
use crate::machine;

const CGROUPS: &str = "/sys/fs/cgroup";
/// The kernel ends processes and cgroups a little later than kill and rmdir return.
const PATIENCE: Duration = Duration::from_secs(1);

/// Everything that a verb may touch, and what there was before.
#[derive(Debug)]
pub struct Scene {
    runtime: PathBuf,
    /// Container id, and name of the cgroup that is the parent of the container's.
    id: String,
    directory: tempfile::TempDir,
    bundle: Bundle,
    before: BTreeSet<String>,
}

impl Scene {
    /// Moves this process to a mount namespace with cgroup v2 alone, makes it the reaper of orphans, and runs the
    /// whole lifecycle once: what that leaves (mount points in the root file system) is what there was before.
    pub fn new(runtime: PathBuf) -> Result<Self> {
        machine::busybox()?;
        machine::private_view().context("a mount namespace with cgroup v2")?;
        set_child_subreaper(true)?;
        let id = format!("fault{}x", std::process::id());
        let directory = tempfile::Builder::new().prefix("corten-fault-").tempdir()?;
        share_busybox(directory.path())?;
        fs::create_dir_all(directory.path().join("test/tmp"))?;
        let mut bundle =
            Bundle::new(directory.path().join("test/bundle"), &id, &["sleep", "1000"])?;
        bundle.edit(|config| {
            config["linux"]["cgroupsPath"] = json!(format!("/{id}/container"));
            if runtime.ends_with("crun") {
                // It raises RLIMIT_MEMLOCK for any device program, which not every root may.
                config["linux"]["resources"] = json!({});
            }
        })?;
        fs::create_dir(Path::new(CGROUPS).join(&id))?;
        let mut scene = Self { runtime, id, directory, bundle, before: BTreeSet::new() };
        for verb in [Verb::Create, Verb::Start, Verb::Delete] {
            scene.must(verb)?;
        }
        scene.before = scene.listing()?;
        Ok(scene)
    }

    /// Brings the container to where the verb begins; gives init's pid when there is one.
    pub fn prepare(&self, verb: Verb) -> Result<Option<Pid>> {
        // `run` is in the foreground: its process has to end.
        let arguments = if verb == Verb::Run { json!(["true"]) } else { json!(["sleep", "1000"]) };
        let mut config = self.bundle.config().clone();
        config["process"]["args"] = arguments;
        self.bundle.write_text(config.to_string().as_bytes())?;
        match verb {
            Verb::Create | Verb::Run => return Ok(None),
            Verb::Start => self.must(Verb::Create)?,
            Verb::Delete => {
                self.must(Verb::Create)?;
                self.must(Verb::Start)?;
            }
        }
        let members =
            fs::read_to_string(Path::new(CGROUPS).join(&self.id).join("container/cgroup.procs"))?;
        Ok(members.lines().next().and_then(|pid| pid.parse().ok()).map(Pid::from_raw))
    }

    /// Runs the verb and kills the victim at this system call.
    pub fn step(&self, verb: Verb, victim: Victim, point: u32, init: Option<Pid>) -> Result<End> {
        stepper::step(&mut self.command(verb), victim, point, init)
    }

    /// `delete --force`, then everything that is not as it was before; and makes it so.
    pub fn clean_up(&self, end: &End) -> Result<Vec<String>> {
        let mut complaints = Vec::new();
        if *end == End::Hung {
            complaints.push("the runtime hung until it was killed".to_owned());
        }
        let (output, hung) = self.call(Verb::Delete)?;
        if hung || !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            complaints.push(format!(
                "delete --force: {}: {said}",
                if hung { "hung".to_owned() } else { output.status.to_string() }
            ));
        }
        complaints.extend(self.settle()?);
        if !complaints.is_empty() {
            self.sweep()?;
        }
        Ok(complaints)
    }

    /// What is left once it had time to go.
    fn settle(&self) -> Result<Vec<String>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let processes = orphans()?;
            let mut left = difference(&self.before, &self.listing()?);
            left.extend(processes.iter().map(|pid| describe(*pid)));
            if left.is_empty() || Instant::now() >= deadline {
                return Ok(left);
            }
            sleep(Duration::from_millis(1));
        }
    }

    fn sweep(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let processes = orphans()?;
            if processes.is_empty() {
                break;
            }
            for pid in processes {
                kill(pid, Signal::SIGKILL).ok();
            }
            sleep(Duration::from_millis(5));
        }
        for cgroup in tree(&Path::new(CGROUPS).join(&self.id))?.iter().skip(1).rev() {
            fs::remove_dir(cgroup).ok();
        }
        let state = self.directory.path().join("test/root");
        if state.exists() {
            fs::remove_dir_all(state)?;
        }
        let left = difference(&self.before, &self.listing()?);
        let (mounts, other): (Vec<_>, Vec<_>) =
            left.iter().partition(|line| line.starts_with("new: mount "));
        for line in mounts {
            umount2(line.split(' ').nth(6).unwrap_or_default(), MntFlags::MNT_DETACH).ok();
        }
        for path in other.iter().filter_map(|line| line.strip_prefix("new: file ")) {
            fs::remove_file(path).ok();
        }
        Ok(())
    }

    /// Cgroups, mounts, files of the state root, the bundle and the temporary directory, one line each.
    fn listing(&self) -> Result<BTreeSet<String>> {
        let mut lines = BTreeSet::new();
        let cgroups = tree(&Path::new(CGROUPS).join(&self.id))?;
        lines.extend(cgroups.iter().map(|path| format!("cgroup {}", path.display())));
        lines.extend(
            fs::read_to_string("/proc/self/mountinfo")?.lines().map(|line| format!("mount {line}")),
        );
        files(&self.directory.path().join("test"), &mut lines)?;
        // `--root` itself, and what a runtime keeps beside the containers, belongs to all of them.
        let root = format!("file {}", self.directory.path().join("test/root").display());
        lines.remove(&root);
        for shared in ["/run", "/tmp", "/var/tmp", "/dev/shm"] {
            let names = fs::read_dir(shared)?.filter_map(|entry| Some(entry.ok()?.path()));
            let own = names.filter(|path| path.to_string_lossy().contains(&self.id));
            lines.extend(own.map(|path| format!("file {}", path.display())));
        }
        Ok(lines)
    }

    fn command(&self, verb: Verb) -> Command {
        let test = self.directory.path().join("test");
        let mut command = Command::new(&self.runtime);
        command.arg("--root").arg(test.join("root")).arg(verb.name());
        match verb {
            Verb::Create | Verb::Run => command.arg("--bundle").arg(self.bundle.path()),
            Verb::Delete => command.arg("--force"),
            Verb::Start => &mut command,
        };
        command
            .arg(&self.id)
            .env("TMPDIR", test.join("tmp"))
            .env("XDG_RUNTIME_DIR", test.join("tmp"));
        command
    }

    /// Runs the verb to its end, which it must reach.
    fn must(&self, verb: Verb) -> Result<()> {
        let (output, hung) = self.call(verb)?;
        if hung || !output.status.success() {
            bail!(
                "{}: {}: {}",
                verb.name(),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    /// Runs the verb; its error text by a file, because init inherits what it is given and holds it open.
    fn call(&self, verb: Verb) -> Result<(Output, bool)> {
        let path = self.directory.path().join("stderr");
        let file = fs::OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
        let mut command = self.command(verb);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn()?;
        let watchdog = Watchdog::on(Pid::from_raw(i32::try_from(child.id())?));
        let status = child.wait()?;
        Ok((Output { status, stdout: Vec::new(), stderr: fs::read(&path)? }, watchdog.bit()))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // After an error half-way there may be a container; what cannot be removed has been told by then.
        self.call(Verb::Delete).map(drop).ok();
        self.sweep().ok();
        fs::remove_dir(Path::new(CGROUPS).join(&self.id)).ok();
    }
}

/// Reaps what has ended; what has not, and whose parent was killed, is our child because we are the subreaper.
fn orphans() -> Result<Vec<Pid>> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
            Ok(nix::sys::wait::WaitStatus::StillAlive) => break,
            Err(Errno::ECHILD) => return Ok(Vec::new()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let me = std::process::id();
    let children = fs::read_to_string(format!("/proc/self/task/{me}/children"))?;
    Ok(children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect())
}

fn describe(pid: Pid) -> String {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    format!("process {pid} {:?} {}", read("comm").trim(), read("cmdline").replace('\0', " "))
}

/// The directory and all directories below, parents first.
fn tree(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![directory.to_owned()];
    let mut next = 0;
    while let Some(directory) = found.get(next).cloned() {
        next += 1;
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            // It has gone meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("{}", directory.display())),
        };
        found.extend(
            entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()),
        );
    }
    Ok(found)
}

fn files(directory: &Path, lines: &mut BTreeSet<String>) -> Result<()> {
    for directory in tree(directory)? {
        lines.insert(format!("file {}", directory.display()));
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        lines.extend(entries.map(|entry| format!("file {}", entry.path().display())));
    }
    Ok(())
}
