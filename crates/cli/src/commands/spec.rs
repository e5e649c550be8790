//! `spec`: a config.json to begin with, that of runc in meaning.
//!
//! Runs in: runtime.

use crate::exit::ExitCode;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use libcontainer::spec::template;

use crate::args::Globals;

const CONFIG: &str = "config.json";

/// Write a config.json to begin with
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to write it
    #[arg(long, short, value_name = "DIR", default_value = ".", hide_default_value = true)]
    bundle: PathBuf,

    /// For a container of an unprivileged user: with a user namespace
    #[arg(long)]
    rootless: bool,
}

pub fn run(args: Args, _globals: &Globals) -> anyhow::Result<ExitCode> {
    write_new(&args.bundle.join(CONFIG), template(args.rootless).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn write_new(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => file.write_all(text),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("File {CONFIG} exists. Remove it first");
        }
        Err(error) => Err(error),
    }
    .with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existing_config_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CONFIG);
        std::fs::write(&path, "mine").unwrap();
        let error = write_new(&path, b"ours").unwrap_err();
        assert_eq!(error.to_string(), "File config.json exists. Remove it first");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "mine");
    }
}
