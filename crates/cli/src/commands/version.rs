//! `version`: what `--version` prints.
//!
//! Runs in: runtime.

use crate::exit::ExitCode;
use std::fmt::Write;

use crate::args::Globals;

/// Of the sources that this was built from, where the build was told or could see it (`build.rs`).
pub const COMMIT: Option<&str> = option_env!("CORTEN_COMMIT");

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
    let rust = option_env!("CORTEN_RUST");
    crate::print(text(env!("CARGO_PKG_VERSION"), COMMIT, rust)?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// What is running, and how it was called: for reports of faults.
pub fn called() -> String {
    let words: Vec<_> = std::env::args_os().collect();
    format!(
        "{} {} ({}): {words:?}",
        crate::PROGRAM,
        env!("CARGO_PKG_VERSION"),
        COMMIT.unwrap_or("-")
    )
}

fn text(
    version: &str,
    commit: Option<&str>,
    rust: Option<&str>,
) -> Result<String, std::fmt::Error> {
    let mut text = format!("{} version {version}\n", crate::PROGRAM);
    if let Some(commit) = commit.filter(|commit| !commit.is_empty()) {
        writeln!(text, "commit: {commit}")?;
    }
    writeln!(text, "spec: {SPEC}")?;
    // Where runc has the version of Go. There is no line of libseccomp: none is used.
    if let Some(rust) = rust {
        writeln!(text, "rust: {rust}")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_has_the_lines_of_runc() {
        assert_eq!(
            text("0.1.0", Some("abc"), Some("1.95.0")).unwrap(),
            "corten version 0.1.0\ncommit: abc\nspec: 1.3.0\nrust: 1.95.0\n"
        );
        assert_eq!(text("0.1.0", None, None).unwrap(), "corten version 0.1.0\nspec: 1.3.0\n");
    }
}
