//! `cargo xtask clients`: the flows of `tests/clients`, each with a real client, in the VM that systemd boots.
//!
//! Runs in: any process.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::machine::{self, Profile};
use crate::vm;

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
    /// Seconds until the VM is ended.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    timeout: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Client {
    Podman,
    Containerd,
    Docker,
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
        }
    }

    /// Debian's packages that it takes beside those of every VM with systemd.
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
            Self::Containerd => &["containerd", "crun", "runc", "containernetworking-plugins"],
            Self::Docker => &["docker.io", "docker-cli", "crun", "runc", "iptables"],
        }
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
    let vm = vm::Arguments {
        minimal: false,
        systemd: true,
        packages: arguments.client.packages().iter().map(|&name| name.to_owned()).collect(),
        kernel: None,
        timeout: arguments.timeout,
        memory: 3072,
        release: true,
        ..vm::Arguments::new("", command)
    };
    let mut extra = vm::corten_at(machine::build(Profile::Release, &[])?);
    extra.extend(vm::tree(&scripts)?);
    extra.extend(vm::tree(&workspace.join("packaging"))?);
    match vm::run(&vm, extra)? {
        0 => Ok(()),
        code => bail!("{}: exit code {code}", script.display()),
    }
}

fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(machine::quoted(text))
}
