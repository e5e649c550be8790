//! What is released: the version, the commit, its time.
//!
//! Runs in: any process.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::machine::stdout_of;

/// One release of one tree of sources.
#[derive(Debug)]
pub struct Release {
    pub source: PathBuf,
    /// Of Cargo.toml.
    pub version: &'static str,
    /// What `corten --version` calls the sources.
    pub commit: String,
    /// Seconds since 1970 of the commit: every time in what is made (<https://reproducible-builds.org/specs/source-date-epoch/>).
    pub epoch: u64,
    /// rustc's.
    pub target: String,
}

impl Release {
    /// Of a clone, as git knows it; of other trees, as `$CORTEN_COMMIT` and `$SOURCE_DATE_EPOCH` say. These go first.
    pub fn of(source: &Path) -> Result<Self> {
        let source = source.canonicalize().with_context(|| source.display().to_string())?;
        let commit = match env::var("CORTEN_COMMIT") {
            Ok(commit) => commit,
            Err(_) => commit(&source)?,
        };
        let epoch = match env::var("SOURCE_DATE_EPOCH") {
            Ok(epoch) => epoch,
            Err(_) => git(&source, &["show", "--no-patch", "--format=%ct", "HEAD"])?,
        };
        let epoch = epoch.parse().with_context(|| format!("SOURCE_DATE_EPOCH: {epoch:?}"))?;
        Ok(Self { source, version: env!("CARGO_PKG_VERSION"), commit, epoch, target: host()? })
    }

    /// The machine, as uname(2) calls it.
    pub fn machine(&self) -> &str {
        self.target.split('-').next().unwrap_or_default()
    }

    /// The machine, as Debian calls it.
    pub fn debian_machine(&self) -> Result<&'static str> {
        Ok(match self.machine() {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "riscv64gc" => "riscv64",
            other => bail!("Debian's name of {other} is not known here"),
        })
    }

    /// Debian's: this packaging is the first of each version.
    pub fn debian_version(&self) -> String {
        format!("{}-1", self.version)
    }

    /// The commit's time, in a format of date(1).
    pub fn date(&self, format: &str) -> Result<String> {
        let mut date = Command::new("date");
        date.args(["--utc", "--date", &format!("@{}", self.epoch), format]).env("LC_ALL", "C");
        Ok(stdout_of(&mut date)?.trim().to_owned())
    }
}

fn commit(source: &Path) -> Result<String> {
    let head = git(source, &["rev-parse", "HEAD"])
        .context("no clone of git: set CORTEN_COMMIT and SOURCE_DATE_EPOCH")?;
    if git(source, &["status", "--porcelain"])?.is_empty() {
        return Ok(head);
    }
    eprintln!("not all is committed: the release calls itself {head}-modified");
    Ok(format!("{head}-modified"))
}

/// What git says of the sources.
pub fn git(source: &Path, arguments: &[&str]) -> Result<String> {
    let said = stdout_of(Command::new("git").arg("-C").arg(source).args(arguments))?;
    Ok(said.trim().to_owned())
}

fn host() -> Result<String> {
    let said = stdout_of(Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}
