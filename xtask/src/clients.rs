//! `cargo xtask clients`: the flows of `tests/clients`, each with a real client, in the VM that systemd boots.
//!
//! Runs in: any process.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::machine::{self, Profile};
use crate::{dist, vm};

/// Debian's hundred profiles of AppArmor are of no use here and take minutes to compile; engines load their own.
const APPEND: &str = "systemd.mask=apparmor.service";

/// Arguments of `cargo xtask clients`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Whose flows.
    client: Client,
    /// The runtime's path in the VM: a peer of Debian's packages, in the place of $RUNTIME or corten.
    #[arg(long, value_name = "PATH")]
    runtime: Option<PathBuf>,
    /// Only flows whose name matches this regular expression.
    #[arg(long, value_name = "REGEX", default_value = "")]
    only: String,
    /// Who makes the cgroups.
    #[arg(long, default_value = "systemd")]
    driver: Driver,
    /// The client itself from another suite of Debian than the VM's trixie.
    #[arg(long, value_name = "SUITE")]
    suite: Option<String>,
    /// Seconds until the VM is ended.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    timeout: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Client {
    Podman,
    Containerd,
    Docker,
    /// Debian's package of this tree, and Podman with nothing else; upgrade under containers; Podman in a container.
    Package,
    /// README.md's own commands.
    ByHand,
    /// critest of cri-tools, which $CRITEST names, against containerd's CRI.
    Critest,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Driver {
    Systemd,
    Cgroupfs,
}

impl Client {
    fn script(self) -> &'static str {
        match self {
            Self::Podman => "podman.sh",
            Self::Containerd => "containerd.sh",
            Self::Docker => "docker.sh",
            Self::Package => "package.sh",
            Self::ByHand => "by_hand.sh",
            Self::Critest => "critest.sh",
        }
    }

    /// Debian's packages that it takes beside those of every VM with systemd; the client itself is the first.
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Podman => &[
                "podman",
                "crun",
                "runc",
                "netavark",
                "aardvark-dns",
                "nftables",
                "passt",
                "catatonit",
                "apparmor",
                "criu",
                "jq",
            ],
            Self::Containerd => &[
                "containerd",
                "crun",
                "runc",
                "containernetworking-plugins",
                "apparmor",
                "iproute2",
                "jq",
                "protobuf-compiler",
                "python3-grpcio",
            ],
            Self::Docker => &[
                "docker.io",
                "docker-cli",
                "docker-compose",
                "rootlesskit",
                "slirp4netns",
                "iproute2",
                "apparmor",
                "crun",
                "runc",
                "iptables",
            ],
            Self::Package => &["podman", "crun", "runc", "apparmor", "fuse-overlayfs"],
            Self::ByHand => &["crun", "runc"],
            Self::Critest => &[
                "containerd",
                "crun",
                "runc",
                "containernetworking-plugins",
                "apparmor",
                "iproute2",
                "iptables",
                "nginx",
                "python3",
                "busybox",
            ],
        }
    }

    /// What the VM has beside the scripts: corten where callers look for it, unless the flows install it themselves.
    fn files(self, scripts: &Path) -> Result<vm::Extra> {
        if matches!(self, Self::Critest) {
            let program = env::var_os("CRITEST").context("CRITEST names no critest")?;
            let mut files = vm::corten_at(machine::build(Profile::Release, &[])?);
            files.push((PathBuf::from(program), scripts.join("critest")));
            return Ok(files);
        }
        if !matches!(self, Self::Package) {
            return Ok(vm::corten_at(machine::build(Profile::Release, &[])?));
        }
        let other = match env::var_os("CORTEN_OTHER") {
            Some(other) => PathBuf::from(other),
            None => machine::build(Profile::Debug, &[])?,
        };
        Ok(vec![
            (dist::package()?, scripts.join("corten.deb")),
            (other, scripts.join("corten.other")),
        ])
    }
}

impl Driver {
    fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Cgroupfs => "cgroupfs",
        }
    }
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let workspace = machine::workspace()?;
    let scripts = workspace.join("tests/clients");
    let script = scripts.join(arguments.client.script());
    let named = arguments.runtime.clone().or_else(|| env::var_os("RUNTIME").map(PathBuf::from));
    let runtime = named.unwrap_or_else(|| PathBuf::from("/usr/bin/corten"));
    let command = format!(
        "RUNTIME={} ONLY={} DRIVER={} exec bash {}",
        quoted(&runtime)?,
        machine::quoted(&arguments.only),
        arguments.driver.name(),
        quoted(&script)?,
    );
    let mut packages: Vec<String> =
        arguments.client.packages().iter().map(|&name| name.to_owned()).collect();
    if let (Some(suite), Some(client)) = (&arguments.suite, packages.first_mut()) {
        *client = format!("{client}/{suite}");
    }
    let vm = vm::Arguments {
        minimal: false,
        systemd: true,
        packages,
        kernel: None,
        timeout: arguments.timeout,
        memory: 3072,
        release: true,
        append: APPEND.to_owned(),
        ..vm::Arguments::new("", command)
    };
    let mut extra = arguments.client.files(&scripts)?;
    let readme = workspace.join("README.md");
    extra.push((readme.clone(), readme));
    for files in [scripts, workspace.join("packaging")] {
        extra.extend(vm::tree(&files)?);
    }
    match vm::run(&vm, extra)? {
        0 => Ok(()),
        code => bail!("{}: exit code {code}", script.display()),
    }
}

fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(machine::quoted(text))
}
