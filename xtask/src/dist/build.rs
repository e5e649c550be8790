//! The program of a release: cargo's release build, without a trace of where it was made.
//!
//! Runs in: any process.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::release::Release;
use crate::machine::{self, stdout_of, succeed};

/// What somebody's shell, or the cargo around this one, would change of the build.
const FOREIGN: [&str; 6] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
    "RUSTC_",
];

/// Builds it, with cargo's files in `target`.
pub fn program(release: &Release, target: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "build",
        "--quiet",
        "--locked",
        "--release",
        "--package",
        "corten",
        "--bin",
        "corten",
    ]);
    cargo.arg("--config").arg(flags(release, target)?);
    cargo.arg("--target-dir").arg(target).current_dir(&release.source);
    let foreign = |name: &str| FOREIGN.iter().any(|begin| name.starts_with(begin));
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(foreign)) {
        cargo.env_remove(name);
    }
    succeed(cargo.env("CORTEN_COMMIT", &release.commit))?;
    let program = target.join(&release.target).join("release/corten");
    machine::succeed(Command::new(&program).arg("--version").stdout(std::process::Stdio::null()))?;
    Ok(program)
}

/// `target.TRIPLE.rustflags`, which cargo appends to those of .cargo/config.toml: other names for the places that rustc
/// would write into the program. (`trim-paths` does that some day; in Rust 1.95 it is not stable.)
fn flags(release: &Release, target: &Path) -> Result<String> {
    let mut places = vec![(release.source.clone(), "corten".to_owned())];
    places.push((target.to_owned(), "target".to_owned()));
    for registry in registries()? {
        places.push((registry, "registry".to_owned()));
    }
    places.push(standard_library()?);
    let flags =
        places.iter().map(|(from, to)| Ok(format!("--remap-path-prefix={}={to}", text(from)?)));
    let flags = flags.collect::<Result<Vec<_>>>()?;
    Ok(format!("target.{}.rustflags={}", release.target, serde_json::to_string(&flags)?))
}

/// The directories below $CARGO_HOME that crates are unpacked to: their names tell the registry's address.
fn registries() -> Result<Vec<PathBuf>> {
    let places = home()?.join("registry/src");
    // cargo makes them when it first unpacks a crate.
    succeed(&mut machine::cargo(["fetch", "--quiet", "--locked"]))?;
    let entries = fs::read_dir(&places).with_context(|| places.display().to_string())?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Cargo's own directory.
pub fn home() -> Result<PathBuf> {
    Ok(match env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => env::home_dir().context("no home directory")?.join(".cargo"),
    })
}

/// Where rustup puts the standard library's sources, if somebody wants them; and what rustc calls them otherwise.
fn standard_library() -> Result<(PathBuf, String)> {
    let said = stdout_of(Command::new("rustc").args(["--print", "sysroot"]))?;
    let version = stdout_of(Command::new("rustc").arg("-vV"))?;
    let hash = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
    let place = Path::new(said.trim()).join("lib/rustlib/src/rust");
    Ok((place, format!("/rustc/{}", hash.unwrap_or("unknown"))))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
