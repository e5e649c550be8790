//! `cargo xtask check-arch`: the workspace on another architecture, without a machine of that architecture.
//!
//! rustup's toolchain here has the standard library of the host alone. Debian has rustc with the standard library of
//! other architectures as ordinary packages: they are unpacked to a tree of their own and used by chroot; nothing is
//! installed. What this cannot show is in docs/check-arch.md.
//!
//! Runs in: any process.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::machine::{self, cargo, stdout_of, succeed};

/// The suite whose rustc is new enough for `rust-version`.
const SUITE: &str = "sid";

/// Arguments of `cargo xtask check-arch`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The architecture.
    #[arg(value_enum)]
    architecture: Architecture,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Architecture {
    Aarch64,
}

/// The architecture's names: rustc's target, Debian's, the prefix of its compiler.
const TARGET: &str = "aarch64-unknown-linux-gnu";
const DEBIAN: &str = "arm64";
const COMPILER: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64";

pub fn run(arguments: &Arguments) -> Result<()> {
    let Architecture::Aarch64 = arguments.architecture;
    if !machine::is_root() {
        bail!("needs root, to unpack a Debian tree and to chroot into it");
    }
    let tree = Tree::get()?;
    succeed(&mut cargo(["fetch", "--locked", "--target", TARGET]))?;

    announce("every target of the workspace compiles");
    tree.cargo(&["check", "--workspace", "--all-targets", "--quiet"])?;

    announce("init's image starts, finds that it is not pid 1, and exits");
    tree.cargo(&["build", "--package", "corten", "--quiet"])?;
    tree.init_refuses(&tree.image()?)?;

    announce("the program runs: corten --version, spec, plan");
    let corten = format!("/build/{TARGET}/debug/corten");
    let script = format!(
        "mkdir -p /tmp/bundle/rootfs && cd /tmp/bundle && rm -f config.json && \
         {EMULATOR} {corten} --version && {EMULATOR} {corten} spec && {EMULATOR} {corten} plan > plan && wc -l plan"
    );
    succeed(&mut tree.command(&["sh", "-c", &script]))?;

    announce("the unit tests of the crates that both processes share");
    tree.cargo(&["test", "--quiet", "--package", "corten-plan"])?;
    println!("\n{TARGET}: all of this passed. What it cannot show is in docs/check-arch.md.");
    Ok(())
}

fn announce(what: &str) {
    println!("\n== {what} ==");
}

/// A Debian tree with a compiler for this machine and the other architecture's libraries.
#[derive(Debug)]
struct Tree(PathBuf);

impl Tree {
    /// `target/check-arch`, or `$CORTEN_ARCH_DIR`; made when it is not there (about two minutes, 2 GB).
    fn get() -> Result<Self> {
        let path = match env::var_os("CORTEN_ARCH_DIR") {
            Some(path) => PathBuf::from(path),
            None => machine::target()?.join("check-arch"),
        };
        if !path.is_dir() {
            println!("making {} of Debian's {SUITE} (once)", path.display());
            make(&path)?;
        }
        Ok(Self(path))
    }

    fn cargo(&self, arguments: &[&str]) -> Result<()> {
        let (verb, rest) = arguments.split_first().context("no verb")?;
        let words =
            ["cargo", verb, "--locked", "--manifest-path", "/work/Cargo.toml", "--target", TARGET];
        succeed(&mut self.command(&[&words, rest].concat()))
    }

    /// A command in the tree: the workspace at /work, cargo's home at /cargo, a build directory of its own, no network.
    fn command(&self, words: &[&str]) -> Command {
        const SCRIPT: &str = r#"tree=$1 work=$2 cargo=$3; shift 3
            mount --bind "$work" "$tree/work" && mount --bind "$cargo" "$tree/cargo" &&
            mount -t proc proc "$tree/proc" && mount --rbind /dev "$tree/dev" && exec chroot "$tree" "$@""#;
        let upper = TARGET.to_uppercase().replace('-', "_");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-ec", SCRIPT, "sh"]);
        command.arg(&self.0).arg(machine::workspace().unwrap_or_default()).arg(cargo_home());
        command.args([
            "/usr/bin/env",
            "-i",
            "PATH=/usr/bin:/bin",
            "HOME=/tmp",
            "CARGO_HOME=/cargo",
        ]);
        command.args(["CARGO_TARGET_DIR=/build", "CARGO_NET_OFFLINE=true"]);
        command.arg(format!("CARGO_TARGET_{upper}_LINKER={COMPILER}"));
        command.arg(format!("CARGO_TARGET_{upper}_RUNNER={EMULATOR}"));
        command.args(words);
        command
    }

    /// The newest init image that libcontainer's build script made, as a path inside the tree.
    fn image(&self) -> Result<String> {
        let build = self.0.join("build").join(TARGET).join("debug/build");
        let images = fs::read_dir(&build)?
            .filter_map(|entry| Some(entry.ok()?.path().join("out/init.image")));
        let newest = images
            .filter(|path| path.is_file())
            .max_by_key(|path| path.metadata().and_then(|m| m.modified()).ok());
        let newest = newest.context("libcontainer's build made no init.image")?;
        Ok(format!("/{}", newest.strip_prefix(&self.0)?.display()))
    }

    /// qemu-user has no namespaces of its own to offer, so that init must refuse: one exit_group(2) and nothing else.
    fn init_refuses(&self, image: &str) -> Result<()> {
        let script = format!(
            "cp {image} /tmp/init && chmod +x /tmp/init && exec {EMULATOR} -strace /tmp/init"
        );
        let output = self.command(&["sh", "-c", &script]).output()?;
        let calls = String::from_utf8_lossy(&output.stderr).into_owned();
        print!("{calls}");
        if output.status.code() != Some(1) || !calls.contains("exit_group(1)") {
            bail!("init ended with {}", output.status);
        }
        Ok(())
    }
}

fn cargo_home() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo");
    env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}

fn make(path: &Path) -> Result<()> {
    machine::ensure("mmdebstrap", "mmdebstrap")?;
    let part = path.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part)?;
    }
    let packages = format!(
        "rustc,cargo,gcc,libstd-rust-dev:{DEBIAN},gcc-aarch64-linux-gnu,libc6-dev-{DEBIAN}-cross,qemu-user,coreutils,dash"
    );
    let native = stdout_of(Command::new("dpkg").arg("--print-architecture"))?;
    let expiry = format!("Acquire::Check-Valid-Until \"{}\"", machine::apt_checks_expiry()?);
    // `extract`: no maintainer script runs, so that nothing has to be configured and nothing reaches this machine.
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=extract", "--mode=root", "--skip=check/qemu"]);
    command
        .arg(format!("--architectures={},{DEBIAN}", native.trim()))
        .arg(format!("--include={packages}"));
    command.args([
        "--aptopt=APT::Install-Recommends \"false\"",
        "--aptopt=Acquire::Languages \"none\"",
    ]);
    command
        .arg(format!("--aptopt={expiry}"))
        .args(["--dpkgopt=path-exclude=/usr/share/doc/*", SUITE]);
    succeed(command.arg(&part).arg(machine::debian_source(SUITE)?))?;
    // What maintainer scripts would have made: the merged /usr, and the name under which rustc calls the linker.
    for directory in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(part.join("usr").join(directory))?;
        symlink(Path::new("usr").join(directory), part.join(directory))?;
    }
    symlink("gcc", part.join("usr/bin/cc"))?;
    for directory in ["proc", "work", "cargo", "build", "tmp"] {
        fs::create_dir_all(part.join(directory))?;
    }
    Ok(fs::rename(&part, path)?)
}
