//! `cargo xtask dist`: what a release consists of, and whether two builds of it are the same.
//!
//! A static program, its man pages, completions, snippets for engines, notices and a bill of materials; as a tarball and as
//! Debian's package. What is well kept elsewhere is called: git, tar, gzip, dpkg-deb, lintian, sha256sum.
//!
//! Runs in: any process.

mod build;
mod check;
mod crates;
mod deb;
mod foreign;
mod licences;
mod release;
mod sbom;
mod tarball;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::machine::{self, succeed};
use release::Release;
use tree::{Layout, Tree};

/// The words of `cargo xtask dist`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Make everything twice from the last commit, in different places and environments: one hash, or an error.
    #[arg(long)]
    check: bool,
    /// Where to; cargo's own files are put below it, too.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The sources: for `--check`.
    #[arg(long, value_name = "DIR", hide = true)]
    source: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let out = match &arguments.out {
        Some(out) => std::path::absolute(out)?,
        None => default_out()?,
    };
    if arguments.check {
        return check::run(&out);
    }
    let source = match &arguments.source {
        Some(source) => source.clone(),
        None => machine::workspace()?,
    };
    let release = Release::of(&source)?;
    let made = make(&release, &out)?;
    made.iter().try_for_each(|file| show(file))?;
    made.iter().filter(|file| is_package(file)).try_for_each(|file| deb::lint(file))
}

/// The package of this tree, for the VM.
pub fn package() -> Result<PathBuf> {
    deb_of(&make(&Release::of(&machine::workspace()?)?, &default_out()?)?)
}

fn deb_of(made: &[PathBuf]) -> Result<PathBuf> {
    Ok(made.iter().find(|file| is_package(file)).context("no package was made")?.clone())
}

fn is_package(file: &Path) -> bool {
    file.extension().is_some_and(|end| end == "deb")
}

fn default_out() -> Result<PathBuf> {
    Ok(machine::target()?.join("dist"))
}

/// Makes all of it below `out`, and tells the files.
fn make(release: &Release, out: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let program = build::program(release, &out.join("build"))?;
    let parts = crates::Parts::of(release)?;
    let bill = out.join(format!("corten-{}.cdx.json", release.version));
    fs::write(&bill, sbom::text(release, &parts, &program)?)?;
    let notices = licences::text(&parts)?;
    let tree = |layout: Layout| Tree::of(release, layout, &program, &bill, &notices);
    let mut made = vec![tarball::write(release, &tree(Layout::Tarball)?, out)?, bill.clone()];
    if machine::find("dpkg-deb").is_some() {
        made.push(deb::write(release, tree(Layout::Debian)?, out)?);
    } else {
        eprintln!("there is no dpkg-deb here, and so no package for Debian is made");
    }
    let sums = sums(out, &made)?;
    Ok(made.into_iter().chain([sums]).collect())
}

/// SHA256SUMS, as `sha256sum --check` reads it.
fn sums(out: &Path, made: &[PathBuf]) -> Result<PathBuf> {
    let mut command = Command::new("sha256sum");
    command.current_dir(out).args(made.iter().filter_map(|file| file.file_name()));
    let path = out.join("SHA256SUMS");
    fs::write(&path, machine::stdout_of(&mut command)?)?;
    Ok(path)
}

fn show(file: &Path) -> Result<()> {
    println!("{:>9} bytes  {}", fs::metadata(file)?.len(), file.display());
    Ok(())
}

/// A directory that is empty and there.
fn fresh(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())
}

/// The time of the release on all files below: what is copied or packed keeps it.
fn set_times(directory: &Path, release: &Release) -> Result<()> {
    let date = format!("@{}", release.epoch);
    let touch = ["-exec", "touch", "--no-dereference", "--date", &date, "{}", "+"];
    succeed(Command::new("find").arg(directory).args(touch))
}
