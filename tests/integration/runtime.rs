//! Drives the runtime under test: one directory, one `--root`, one marker per test; no invocation can hang.
//!
//! Runs in: any process.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde_json::Value;

use crate::bundle::{self, Bundle};
use crate::{host, leaks, mapped, ordinary_user};

/// How long one invocation may take; the VM's emulated processor is some 35 times slower.
fn patience() -> Duration {
    Duration::from_secs(if host::is_vm() { 300 } else { 20 })
}

/// The runtime under test: `$RUNTIME`, or the corten that cargo built.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    version: String,
    /// Holds every test's directory; removed at the end of the run.
    directory: tempfile::TempDir,
}

impl Program {
    pub fn find() -> Result<Self, Failed> {
        let named = std::env::var_os("RUNTIME").map(|name| which(&name)).transpose()?;
        let path = named.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_corten")));
        let output = Command::new(&path).arg("--version").output()?;
        let version =
            String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("").to_owned();
        let directory = tempfile::Builder::new().prefix("corten-it-").tempdir()?;
        // Whose root is somebody else on the host must find its files.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        bundle::share_busybox(directory.path())?;
        Ok(Self { path, version, directory })
    }

    /// The first word of `--version`; ours is `corten`, whatever the file is called.
    pub fn name(&self) -> &str {
        let word = self.version.split_whitespace().next();
        word.or_else(|| self.path.file_name().and_then(OsStr::to_str)).unwrap_or("?")
    }

    pub fn is(&self, name: &str) -> bool {
        self.name() == name
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.version)
    }
}

/// What `CORTEN_WRAPPER` says that every call of the runtime is run by, words by spaces.
fn wrapper_of_the_run() -> Vec<OsString> {
    let words = std::env::var("CORTEN_WRAPPER").unwrap_or_default();
    words.split_whitespace().map(OsString::from).collect()
}

fn which(name: &OsStr) -> Result<PathBuf, Failed> {
    if Path::new(name).components().count() > 1 {
        return Ok(fs::canonicalize(name)?);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.exists())
        .ok_or_else(|| format!("{} is not in PATH", name.display()).into())
}

/// The runtime as one test has it.
#[derive(Debug)]
pub struct Runtime {
    program: Arc<Program>,
    marker: String,
    directory: PathBuf,
    made: AtomicU32,
}

impl Runtime {
    pub fn new(program: Arc<Program>) -> Result<Self, Failed> {
        static TESTS: AtomicU32 = AtomicU32::new(0);
        // Ends in a letter, so that no marker is the beginning of another.
        let marker = format!("ct{}n{}t", std::process::id(), TESTS.fetch_add(1, Ordering::Relaxed));
        let directory = program.directory.path().join(&marker);
        fs::create_dir(&directory)?;
        // Hooks of the container's namespaces write here, as somebody else on the host.
        if mapped::is_mode() {
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o777))?;
        }
        Ok(Self { program, marker, directory, made: AtomicU32::new(0) })
    }

    pub fn program(&self) -> &Path {
        &self.program.path
    }

    /// Whether this is that runtime (`corten`, `crun`, `runc`): for the few expectations that differ with a reason.
    pub fn is(&self, name: &str) -> bool {
        self.program.is(name)
    }

    /// This test's own directory, for files of any kind.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The `--root` that every invocation gets; the runtime makes it.
    pub fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    pub fn marker(&self) -> &str {
        &self.marker
    }

    /// A container id with the test's marker; every call gives another.
    pub fn new_id(&self) -> String {
        format!("{}{}", self.marker, self.next())
    }

    fn next(&self) -> u32 {
        self.made.fetch_add(1, Ordering::Relaxed)
    }

    /// A new bundle that runs `arguments`; change it with [`Bundle::edit`].
    pub fn bundle(&self, arguments: &[&str]) -> Result<Bundle, Failed> {
        let directory = self.directory.join(format!("bundle{}", self.next()));
        let mut bundle = Bundle::new(directory, &self.marker, arguments)?;
        if mapped::is_mode() {
            bundle.edit(mapped::adapt)?;
        }
        if let Some(mode) = ordinary_user::mode() {
            bundle.edit(|config| ordinary_user::adapt(config, mode))?;
        }
        if self.is("crun") && !host::has_capability(host::CAP_SYS_RESOURCE) {
            // crun raises RLIMIT_MEMLOCK for any device program, which kernels have not needed since 5.11.
            bundle.edit(|config| config["linux"]["resources"] = Value::Null)?;
        }
        Ok(bundle)
    }

    /// `bundle` and [`Bundle::edit`] in one.
    pub fn bundle_with(
        &self,
        arguments: &[&str],
        change: impl FnOnce(&mut Value),
    ) -> Result<Bundle, Failed> {
        let mut bundle = self.bundle(arguments)?;
        bundle.edit(change)?;
        Ok(bundle)
    }

    /// An invocation with `--root` and these arguments; more with the methods of [`Invocation`].
    pub fn command<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Invocation<'_> {
        let arguments: Vec<OsString> =
            arguments.into_iter().map(|a| a.as_ref().to_owned()).collect();
        let mut global = vec!["--root".into(), self.root().into()];
        let makes_one = arguments.first().is_some_and(|verb| verb == "create" || verb == "run");
        if makes_one && std::env::var_os("CORTEN_CGROUP_DRIVER").is_some_and(|is| is == "systemd") {
            global.push("--systemd-cgroup".into());
        }
        // An ordinary user has 200 keys, and the kernel takes minutes to give back those of containers that have ended.
        let mut arguments = arguments;
        if makes_one && ordinary_user::mode().is_some() {
            arguments.insert(1, "--no-new-keyring".into());
        }
        Invocation {
            runtime: self,
            wrapper: wrapper_of_the_run(),
            global,
            arguments,
            environment: Vec::new(),
            current_directory: None,
            stdin: Stdio::null(),
            stdout: None,
            stderr: None,
            patience: patience(),
            replaced: false,
        }
    }

    pub fn create(&self, bundle: &Bundle, id: &str) -> Result<Outcome, Failed> {
        self.command(["create", "--bundle"]).arg(bundle.path()).arg(id).output()
    }

    pub fn start(&self, id: &str) -> Result<Outcome, Failed> {
        self.command(["start", id]).output()
    }

    /// `run` in the foreground, with an id of its own.
    pub fn run(&self, bundle: &Bundle) -> Result<Outcome, Failed> {
        self.command(["run", "--bundle"]).arg(bundle.path()).arg(self.new_id()).output()
    }

    pub fn kill(&self, id: &str, signal: &str) -> Result<Outcome, Failed> {
        self.command(["kill", id, signal]).output()
    }

    pub fn delete(&self, id: &str) -> Result<Outcome, Failed> {
        self.command(["delete", id]).output()
    }

    pub fn delete_force(&self, id: &str) -> Result<Outcome, Failed> {
        self.command(["delete", "--force", id]).output()
    }

    /// The JSON that `state` prints.
    pub fn state(&self, id: &str) -> Result<Value, Failed> {
        let outcome = self.command(["state", id]).output()?.ok()?;
        Ok(serde_json::from_str(&outcome.stdout)?)
    }

    pub fn status(&self, id: &str) -> Result<String, Failed> {
        Ok(self.state(id)?["status"].as_str().unwrap_or_default().to_owned())
    }

    /// The pid that `state` reports.
    pub fn pid(&self, id: &str) -> Result<i32, Failed> {
        let pid = self.state(id)?["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        pid.ok_or_else(|| "state has no pid".into())
    }

    /// Waits until `state` reports this status.
    pub fn wait_for_status(&self, id: &str, status: &str) -> Result<(), Failed> {
        self.wait_until(&format!("status {status}"), || Ok(self.status(id)? == status))
    }

    /// Waits until `met` is true; an error says what was waited for.
    pub fn wait_until(
        &self,
        what: &str,
        met: impl Fn() -> Result<bool, Failed>,
    ) -> Result<(), Failed> {
        let deadline = Instant::now() + patience();
        while !met()? {
            if Instant::now() >= deadline {
                return Err(format!("waited {:?} for {what}", patience()).into());
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Deletes what the test did not, then tells what is left: state, processes, cgroups, mounts.
    pub fn finish(&self) -> Vec<String> {
        for id in self.containers() {
            // What it cannot do is found below.
            drop(self.delete_force(&id));
        }
        let mut left = leaks::settle(&self.marker);
        left.extend(self.containers().into_iter().map(|id| format!("state of {id}")));
        drop(fs::remove_dir_all(&self.directory));
        left
    }

    /// What is in `--root`.
    pub fn containers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root()).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}

/// One call of the runtime, before it is made.
#[derive(Debug)]
pub struct Invocation<'a> {
    runtime: &'a Runtime,
    wrapper: Vec<OsString>,
    global: Vec<OsString>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    current_directory: Option<PathBuf>,
    stdin: Stdio,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    patience: Duration,
    /// Whether the wrapper is all of it.
    replaced: bool,
}

impl Invocation<'_> {
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// A flag before the command: `.global("--log").global(path)`.
    pub fn global(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.global.push(argument.as_ref().to_owned());
        self
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    pub fn current_directory(mut self, directory: &Path) -> Self {
        self.current_directory = Some(directory.to_owned());
        self
    }

    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// Instead of a file; then [`Outcome::stdout`] is empty. A pipe must be read until its end by the test.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdout = Some(stdout.into());
        self
    }

    /// As [`Invocation::stdout`].
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.stderr = Some(stderr.into());
        self
    }

    /// Runs it by another program: `.wrapped_by(["setsid", "--ctty", "--wait"])`, `.wrapped_by(["strace", "-f"])`.
    pub fn wrapped_by<A: AsRef<OsStr>>(mut self, wrapper: impl IntoIterator<Item = A>) -> Self {
        let wrapper = wrapper.into_iter().map(|a| a.as_ref().to_owned());
        // Around that of the whole run.
        self.wrapper.splice(0..0, wrapper);
        self
    }

    /// Another command in place of the runtime's, with its environment, its files and its patience.
    pub fn replaced_by<A: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = A>) -> Self {
        self.replaced = true;
        self.wrapped_by(words)
    }

    /// Runs it by a shell with these redirections, to hand over descriptors: `.redirected("3</etc/passwd 4>&1")`.
    pub fn redirected(self, redirections: &str) -> Self {
        let script = format!("exec \"$@\" {redirections}");
        self.wrapped_by(["sh", "-c", script.as_str(), "sh"])
    }

    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Makes the call and waits for its end.
    pub fn output(self) -> Result<Outcome, Failed> {
        self.spawn()?.wait()
    }

    /// Makes the call. Output goes to files, not to pipes: a container that lives on holds them open.
    pub fn spawn(self) -> Result<Running, Failed> {
        let file = self.runtime.directory.join(format!("call{}", self.runtime.next()));
        let (stdout_path, stderr_path) = (file.with_extension("out"), file.with_extension("err"));
        let stdout_file =
            fs::OpenOptions::new().append(true).create_new(true).open(&stdout_path)?;
        let stderr_file =
            fs::OpenOptions::new().append(true).create_new(true).open(&stderr_path)?;

        let mut words = self.wrapper;
        if !self.replaced {
            words.push(self.runtime.program.path.clone().into());
            words.extend(self.global.into_iter().chain(self.arguments));
        }
        let (program, arguments) = words.split_first().ok_or("no program")?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("CORTEN_TEST", &self.runtime.marker)
            .envs(self.environment)
            .stdin(self.stdin)
            .stdout(self.stdout.unwrap_or_else(|| stdout_file.into()))
            .stderr(self.stderr.unwrap_or_else(|| stderr_file.into()))
            // A group of its own, so that a hang is ended with all that it started.
            .process_group(0);
        if let Some(directory) = self.current_directory {
            command.current_dir(directory);
        }
        let child = command.spawn().map_err(|e| format!("{}: {e}", program.display()))?;
        let line = words.iter().map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ");
        Ok(Running { child, line, stdout_path, stderr_path, patience: self.patience })
    }
}

/// A call under way; killed when dropped.
#[derive(Debug)]
pub struct Running {
    /// For pipes that the test asked for.
    pub child: Child,
    line: String,
    stdout_path: PathBuf,
    stderr_path: PathBuf,
    patience: Duration,
}

impl Running {
    pub fn pid(&self) -> Result<Pid, Failed> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        pid.ok_or_else(|| "no pid".into())
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout_path)
    }

    pub fn signal(&self, signal: Signal) -> Result<(), Failed> {
        Ok(rustix::process::kill_process(self.pid()?, signal)?)
    }

    /// Waits for its end; a hang is killed and fails the test.
    pub fn wait(mut self) -> Result<Outcome, Failed> {
        let pidfd = pidfd_open(self.pid()?, PidfdFlags::empty())?;
        let timeout = Timespec::try_from(self.patience)?;
        let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout))? > 0;
        if !ended {
            kill_process_group(self.pid()?, Signal::KILL)?;
        }
        let status = self.child.wait()?;
        let outcome = Outcome {
            line: self.line.clone(),
            status,
            stdout: read(&self.stdout_path),
            stderr: read(&self.stderr_path),
            stdout_path: self.stdout_path.clone(),
        };
        if ended {
            Ok(outcome)
        } else {
            Err(format!("hung for {:?}: {outcome}", self.patience).into())
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let (Ok(None), Ok(pid)) = (self.child.try_wait(), self.pid()) {
            kill_process_group(pid, Signal::KILL).ok();
            drop(self.child.wait());
        }
    }
}

/// How a call ended.
#[derive(Debug)]
pub struct Outcome {
    line: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    stdout_path: PathBuf,
}

impl Outcome {
    /// The exit code; 128 + n for signal n.
    pub fn code(&self) -> i32 {
        let signal = self.status.signal().map_or(-1, |signal| 128 + signal);
        self.status.code().unwrap_or(signal)
    }

    /// It must have ended with 0.
    pub fn ok(self) -> Result<Self, Failed> {
        self.exits(0)
    }

    /// It must have ended with this code.
    pub fn exits(self, code: i32) -> Result<Self, Failed> {
        if self.code() == code {
            Ok(self)
        } else {
            Err(format!("expected exit code {code}: {self}").into())
        }
    }

    /// It must have failed, as an error and not by a signal, and said something on stderr.
    pub fn fails(self) -> Result<Self, Failed> {
        let failed =
            self.status.code().is_some_and(|code| code != 0) && !self.stderr.trim().is_empty();
        if failed { Ok(self) } else { Err(format!("expected an error: {self}").into()) }
    }

    /// It must have failed and its message contains this text.
    pub fn fails_with(self, text: &str) -> Result<Self, Failed> {
        let outcome = self.fails()?;
        if outcome.stderr.contains(text) {
            return Ok(outcome);
        }
        Err(format!("expected an error with {text:?}: {outcome}").into())
    }

    /// What is in stdout's file now: a container that the call left running may have written more.
    pub fn stdout_now(&self) -> String {
        read(&self.stdout_path)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, stdout, stderr, .. } = self;
        write!(f, "$ {line}\nexit code {}\nstdout: {stdout}\nstderr: {stderr}", self.code())
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
