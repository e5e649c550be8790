//! Who is measured: builds of corten, its peers, and the floor.
//!
//! Runs in: any process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::Arguments;
use crate::machine::{self, Profile};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Corten,
    Peer,
    /// `floor.c`: no runtime.
    Floor,
}

#[derive(Debug, Clone)]
pub struct Contender {
    pub label: String,
    pub kind: Kind,
    /// A copy of the program, so that all lie on the same file system.
    pub program: PathBuf,
    pub version: String,
    /// Bytes of the program's file.
    pub size: u64,
}

/// Builds and finds them; copies of all are put below `directory`.
pub fn all(arguments: &Arguments, directory: &Path, floor: &Path) -> Result<Vec<Contender>> {
    let mut found = Vec::new();
    if arguments.corten.is_empty() {
        let built = machine::build(Profile::Release, &[])?;
        found.push(contender("corten", Kind::Corten, &built, directory)?);
    }
    for given in &arguments.corten {
        let (label, path) = labelled(given)?;
        found.push(contender(&label, Kind::Corten, &path, directory)?);
    }
    let peers: &[&str] = if arguments.alone { &[] } else { &["crun", "runc", "youki"] };
    for name in peers {
        if let Some(path) = machine::find(name) {
            found.push(contender(name, Kind::Peer, &path, directory)?);
        }
    }
    for given in &arguments.peer {
        let (label, path) = labelled(given)?;
        found.push(contender(&label, Kind::Peer, &path, directory)?);
    }
    let size = fs::metadata(floor)?.len();
    found.push(Contender {
        label: "floor".to_owned(),
        kind: Kind::Floor,
        program: floor.to_owned(),
        version: "bare system calls".to_owned(),
        size,
    });
    for (index, one) in found.iter().enumerate() {
        let is_double = found.iter().take(index).any(|other| other.label == one.label);
        ensure!(!is_double, "two contenders are called {}: give one as LABEL=PATH", one.label);
    }
    Ok(found)
}

/// `LABEL=PATH`, or a path whose last part is the label.
fn labelled(given: &str) -> Result<(String, PathBuf)> {
    if let Some((label, path)) = given.split_once('=') {
        return Ok((label.to_owned(), path.into()));
    }
    let name = Path::new(given).file_name().and_then(|name| name.to_str());
    Ok((name.with_context(|| format!("{given} has no name"))?.to_owned(), given.into()))
}

fn contender(label: &str, kind: Kind, path: &Path, directory: &Path) -> Result<Contender> {
    let program = directory.join(label);
    let size = fs::copy(path, &program).with_context(|| path.display().to_string())?;
    let said = machine::stdout_of(Command::new(&program).arg("--version"))?;
    let version = said.lines().next().unwrap_or_default().replace("version ", "");
    Ok(Contender { label: label.to_owned(), kind, program, version, size })
}
