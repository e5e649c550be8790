//! `cargo xtask vm`: the project's own VM, for what a host cannot show.
//!
//! A Debian kernel, an initramfs of busybox and our static programs, QEMU without KVM: two seconds to the command, five
//! in all. With `--systemd` the initramfs goes on into a Debian with systemd on a disk. docs/vm.md has the measurements
//! and the reasons.
//!
//! Runs in: any process.

mod cpio;
mod disk;
mod image;
mod kernel;
mod qemu;

pub use image::tree;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::machine::{self, Profile};

/// The exit code when the time is up, as timeout(1) has it.
const TIMED_OUT: u8 = 124;
/// The exit code when there is no result: the VM could not be built or ended by itself.
const FAILED: u8 = 125;

/// Arguments of `cargo xtask vm`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// No init system: straight into the command.
    #[arg(long, required_unless_present = "systemd")]
    pub minimal: bool,
    /// A full boot of a Debian (trixie) with systemd and D-Bus; the command is a service of it.
    #[arg(long, conflicts_with = "minimal")]
    pub systemd: bool,
    /// With --systemd: more of Debian's packages in the image; each list is an image of its own.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "systemd")]
    pub packages: Vec<String>,
    /// Debian's kernel package, of another suite as PACKAGE/SUITE (`linux-image-cloud-amd64/sid`).
    #[arg(long, value_name = "PACKAGE[/SUITE]")]
    pub kernel: Option<String>,
    /// Seconds until the VM is ended with exit code 124.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub timeout: u64,
    /// A directory of this machine, read-write at /host, where the command then starts.
    #[arg(long, value_name = "DIR")]
    pub share: Option<PathBuf>,
    /// A program of this machine to take along, with the libraries that it needs.
    #[arg(long, value_name = "PROGRAM")]
    pub add: Vec<PathBuf>,
    /// Take the release build of corten along, not the debug one.
    #[arg(long)]
    pub release: bool,
    /// Memory in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    pub memory: u32,
    /// Processors.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub processors: u32,
    /// More arguments for the kernel.
    #[arg(long, value_name = "ARGUMENTS", default_value = "")]
    pub append: String,
    /// Say what takes how long; print the console at the end.
    #[arg(long, short)]
    pub verbose: bool,
    /// One word: a shell script. Several: a program and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

impl Arguments {
    /// The defaults of the command line, for a script.
    pub fn new(kernel: &str, script: String) -> Self {
        Self {
            minimal: true,
            systemd: false,
            packages: Vec::new(),
            kernel: Some(kernel.to_owned()),
            timeout: 600,
            share: None,
            add: Vec::new(),
            release: false,
            memory: 2048,
            processors: 2,
            append: String::new(),
            verbose: false,
            command: vec![script],
        }
    }
}

/// Files to put into the VM beside the base image: where from, and the absolute path there.
pub type Extra = Vec<(PathBuf, PathBuf)>;

pub fn main(arguments: &Arguments) -> ExitCode {
    match machine::build(profile(arguments), &[])
        .and_then(|corten| run(arguments, corten_at(corten)))
    {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: vm: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn profile(arguments: &Arguments) -> Profile {
    if arguments.release { Profile::Release } else { Profile::Debug }
}

/// corten where callers look for it, and where cargo has it, for tests that name it so.
pub fn corten_at(built: PathBuf) -> Extra {
    vec![(built.clone(), PathBuf::from("/usr/bin/corten")), (built.clone(), built)]
}

/// Boots a fresh VM, runs the command and gives its exit code.
pub fn run(arguments: &Arguments, extra: Extra) -> Result<u8> {
    run_and_keep(arguments, extra).map(|(code, _)| code)
}

/// As [`run`], and gives what the command wrote to stdout, too.
pub fn run_and_keep(arguments: &Arguments, extra: Extra) -> Result<(u8, String)> {
    let begin = Instant::now();
    let qemu = machine::ensure("qemu-system-x86_64", "qemu-system-x86")?;
    let default = if arguments.systemd { disk::KERNEL } else { kernel::DEFAULT };
    let kernel = kernel::get(arguments.kernel.as_deref().unwrap_or(default))?;
    let base = image::base(&kernel)?;
    let disk = arguments.systemd.then(|| disk::image(&kernel, &arguments.packages)).transpose()?;
    let work = tempfile::Builder::new().prefix("corten-vm-").tempdir()?;
    let initramfs = work.path().join("initramfs");
    let extra = added(arguments, extra)?;
    let place = if arguments.systemd { disk::PLACE } else { "/" };
    image::with_extra(&base, &initramfs, place, &extra, &script(&arguments.command)?)?;
    if arguments.verbose {
        eprintln!("vm: image ready after {:.2} s", begin.elapsed().as_secs_f64());
    }
    let machine = qemu::Machine {
        qemu,
        kernel: kernel.image,
        initramfs,
        disk,
        share: arguments.share.clone(),
        memory: arguments.memory,
        processors: arguments.processors,
        append: arguments.append.clone(),
        directory: work.path().to_owned(),
    };
    let ended = machine.run(Duration::from_secs(arguments.timeout))?;
    Ok((report(arguments, &ended, begin)?, ended.stdout))
}

fn report(arguments: &Arguments, ended: &qemu::Ended, begin: Instant) -> Result<u8> {
    if arguments.verbose {
        eprintln!("{}", ended.console);
        eprintln!(
            "vm: command started {} s after the kernel",
            ended.uptime.as_deref().unwrap_or("?")
        );
        eprintln!("vm: whole run {:.2} s", begin.elapsed().as_secs_f64());
    }
    match ended.result {
        qemu::Outcome::Exited(code) => Ok(code),
        qemu::Outcome::TimedOut => {
            eprintln!("error: vm: timeout after {} s", arguments.timeout);
            Ok(TIMED_OUT)
        }
        qemu::Outcome::Died => {
            bail!("the VM ended without a result; its console:\n{}", ended.console)
        }
    }
}

fn added(arguments: &Arguments, mut extra: Extra) -> Result<Extra> {
    for program in &arguments.add {
        let files = image::with_libraries(program)?;
        // Debian on the disk has libraries of its own, newer than this machine's.
        let count = if arguments.systemd { 1 } else { files.len() };
        extra.extend(files.into_iter().take(count));
    }
    Ok(extra)
}

/// What the VM's shell runs for the command.
fn script(command: &[String]) -> Result<String> {
    Ok(match command {
        [] => bail!("no command"),
        [script] => format!("{script}\n"),
        words => format!(
            "exec {}\n",
            words.iter().map(|w| machine::quoted(w)).collect::<Vec<_>>().join(" ")
        ),
    })
}

/// Where kernels and base images are kept: `$CORTEN_VM_DIR`, or `target/vm`.
fn cache() -> Result<PathBuf> {
    let directory = match std::env::var_os("CORTEN_VM_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => machine::target()?.join("vm"),
    };
    std::fs::create_dir_all(&directory).with_context(|| format!("{}", directory.display()))?;
    Ok(directory)
}
