//! The `corten` program. All of it is in `corten-cli`, where tests can reach it.
//!
//! Runs in: runtime.

use std::process::ExitCode;

fn main() -> ExitCode {
    corten_cli::main()
}
