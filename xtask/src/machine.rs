//! This machine: its programs and packages, the workspace, and what cargo built.
//!
//! Runs in: any process.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// A cargo profile and the directory that it builds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    Debug,
    Release,
}

impl Profile {
    fn directory(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }
}

/// The workspace's root directory.
pub fn workspace() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("xtask has no parent directory")?.to_owned())
}

/// `target/<host>/<profile>`: this program itself was built to the debug one.
pub fn built(profile: Profile) -> Result<PathBuf> {
    let program = env::current_exe()?;
    let host = program.ancestors().nth(2).context("xtask is not in a target directory")?;
    Ok(host.join(profile.directory()))
}

/// `target`, or what `CARGO_TARGET_DIR` says.
pub fn target() -> Result<PathBuf> {
    Ok(built(Profile::Debug)?
        .ancestors()
        .nth(2)
        .context("xtask is not in target/<host>/debug")?
        .to_owned())
}

/// Builds the `corten` program with these extra arguments for cargo and gives its path.
pub fn build(profile: Profile, extra: &[&str]) -> Result<PathBuf> {
    let mut cargo = cargo(["build", "--quiet", "--package", "corten", "--bin", "corten"]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    succeed(cargo.args(extra))?;
    Ok(built(profile)?.join("corten"))
}

/// `cargo` with these arguments, in the workspace.
pub fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    if let Ok(workspace) = workspace() {
        command.current_dir(workspace);
    }
    command
}

/// Runs the command to its end; anything but exit code 0 is an error that shows it.
pub fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| line(command))?;
    if !status.success() {
        bail!("{}: {status}", line(command));
    }
    Ok(())
}

/// Like [`succeed`], and gives its stdout.
pub fn stdout_of(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| line(command))?;
    if !output.status.success() {
        bail!("{}: {}", line(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as one would type it.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it back.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The program's path, from PATH or the places of system programs.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(
            ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/lib/qemu", "/usr/libexec"]
                .map(PathBuf::from),
        )
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// Makes sure that `program` is there: installs Debian's `package` when it is not. Needs no network when it is.
pub fn ensure(program: &str, package: &str) -> Result<PathBuf> {
    if let Some(found) = find(program) {
        return Ok(found);
    }
    if !is_root() {
        bail!("{program} is missing: run `apt-get install {package}` as root");
    }
    eprintln!("{program} is missing: installing Debian's package {package}");
    if apt(&["install", "--yes", "--no-install-recommends", package]).is_err() {
        // The package lists may be old or absent.
        apt(&["update"])?;
        apt(&["install", "--yes", "--no-install-recommends", package])?;
    }
    find(program).with_context(|| format!("package {package} has no {program}"))
}

/// Whether libseccomp can be linked, which one oracle of the tests is written against: installs it when it is not there.
pub fn ensure_libseccomp() -> Result<()> {
    let is_there = || {
        let mut folders =
            ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"]
                .iter();
        folders.any(|folder| Path::new(folder).join("libseccomp.a").is_file())
    };
    if is_there() {
        return Ok(());
    }
    if !is_root() {
        bail!("libseccomp is missing: run `apt-get install libseccomp-dev` as root");
    }
    eprintln!("libseccomp is missing: installing Debian's package libseccomp-dev");
    let install = ["install", "--yes", "--no-install-recommends", "libseccomp-dev"];
    apt(&install).or_else(|_| apt(&["update"]).and_then(|()| apt(&install)))?;
    if is_there() { Ok(()) } else { bail!("package libseccomp-dev has no libseccomp.a") }
}

/// A mount namespace of this process's own, with cgroup v2 alone at /sys/fs/cgroup, as the integration tests have it
/// (tests/integration/host.rs): nothing in it reaches the host's own mounts, and the peers know no hybrid host.
pub fn private_view() -> Result<()> {
    const CGROUPS: &str = "/sys/fs/cgroup";
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    if !Path::new(CGROUPS).join("cgroup.controllers").exists() {
        umount2(CGROUPS, MntFlags::MNT_DETACH)?;
        mount(Some("cgroup2"), CGROUPS, Some("cgroup2"), MsFlags::empty(), None::<&str>)?;
    }
    Ok(())
}

fn apt(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .arg("-qq")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null());
    succeed(&mut command)
}

/// busybox as one static program: the root file system of demo, tests and VM.
pub fn busybox() -> Result<PathBuf> {
    let busybox = ensure("busybox", "busybox-static")?;
    let listed = Command::new("ldd").arg(&busybox).stderr(Stdio::null()).output();
    // ldd fails on static programs; where there is no ldd, nothing dynamic is expected.
    if listed.is_ok_and(|listed| listed.status.success()) {
        bail!("{} is not static: install Debian's package busybox-static", busybox.display());
    }
    Ok(busybox)
}

/// A line of sources.list for another suite of Debian, at the place where this machine has its own from.
pub fn debian_source(suite: &str) -> Result<String> {
    let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
    Ok(format!("deb [signed-by={key}] {} {suite} main", debian_uri()?))
}

/// Where this machine's apt has Debian from: the first place that serves a suite of the main archive.
fn debian_uri() -> Result<String> {
    let format =
        ["indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL)", "Created-By: Packages"];
    let targets = stdout_of(Command::new("apt-get").args(format))?;
    let mut lines = targets.lines().filter_map(|line| line.strip_suffix(" Debian Debian"));
    Ok(lines.next().context("apt has no source of Debian (run `apt-get update`)")?.to_owned())
}

/// Whether this machine's apt minds lists that have expired, as those of a frozen copy of the archive do.
pub fn apt_checks_expiry() -> Result<bool> {
    let value = stdout_of(Command::new("apt-config").args(["dump", "Acquire::Check-Valid-Until"]))?;
    Ok(!value.contains("\"false\""))
}
