//! `version`: what `--version` prints.
//!
//! Runs in: runtime.

use crate::exit::ExitCode;
use std::fmt::Write;

use crate::args::Globals;

/// The runtime-spec that corten implements.
const SPEC: &str = "1.3.0";

/// Print the version
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(Args {}: Args, _globals: &Globals) -> anyhow::Result<ExitCode> {
    print()
}

/// Prints it in the form of runc, with our own name: go-runc reads no other.
pub fn print() -> anyhow::Result<ExitCode> {
    crate::print(text(env!("CARGO_PKG_VERSION"), option_env!("CORTEN_COMMIT"))?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn text(version: &str, commit: Option<&str>) -> Result<String, std::fmt::Error> {
    let mut text = format!("{} version {version}\n", crate::PROGRAM);
    if let Some(commit) = commit.filter(|commit| !commit.is_empty()) {
        writeln!(text, "commit: {commit}")?;
    }
    writeln!(text, "spec: {SPEC}")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_has_the_lines_of_runc() {
        assert_eq!(
            text("0.1.0", Some("abc")).unwrap(),
            "corten version 0.1.0\ncommit: abc\nspec: 1.3.0\n"
        );
        assert_eq!(text("0.1.0", None).unwrap(), "corten version 0.1.0\nspec: 1.3.0\n");
    }
}
