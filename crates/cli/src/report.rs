//! The only place that prints errors: to the log, and to stderr if the log is elsewhere.
//!
//! Runs in: runtime.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::log;
use crate::usage::UsageError;

/// Reports what has made the command fail. All of runc's own errors exit with 1.
pub fn failure(error: &anyhow::Error) -> ExitCode {
    let text = format!("{error:#}");
    log::ensure_open();
    ::log::error!("{text}");
    if !log::is_stderr() {
        note(&text);
    }
    if let Some(usage) = error.downcast_ref::<UsageError>().and_then(|error| error.usage.as_deref())
    {
        note(usage);
    }
    ExitCode::FAILURE
}

/// Writes a line to stderr that is not for the log.
pub fn note(text: &str) {
    // Where stderr is gone there is nobody to tell.
    drop(writeln!(io::stderr().lock(), "{text}"));
}
