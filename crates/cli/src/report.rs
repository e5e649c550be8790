//! The only place that prints errors: to the log, and to stderr if the log is elsewhere.
//!
//! Runs in: runtime.

use crate::exit::ExitCode;
use std::io::{self, Write};

use libcontainer::{Error, Stage};

use crate::commands::exec::ExecFailed;
use crate::commands::run::RunFailed;
use crate::log;
use crate::usage::UsageError;

/// Reports what has made the command fail. All of runc's own errors exit with 1, but for those of exec.
pub fn failure(error: &anyhow::Error) -> ExitCode {
    let text = in_gos_words(format!("{error:#}"));
    log::ensure_open();
    if let Some(line) = bare_line(error)
        && log::is_text_on_stderr()
    {
        note(&line);
        return ExitCode::FAILURE;
    }
    ::log::error!("{text}");
    if !log::is_stderr() {
        note(&text);
    }
    if let Some(usage) = error.downcast_ref::<UsageError>().and_then(|error| error.usage.as_deref())
    {
        note(usage);
    }
    if error.is::<ExecFailed>() { ExitCode::from(255) } else { ExitCode::FAILURE }
}

/// Of a `run` whose program the kernel does not execute: runc's init says it, after the log has ended, to the container's stderr.
fn bare_line(error: &anyhow::Error) -> Option<String> {
    let Error::Init(failed) = error.downcast_ref()? else { return None };
    if !error.is::<RunFailed>() || !matches!(failed.stage, Stage::Exec | Stage::Interpreter) {
        return None;
    }
    let text = failed.message.strip_prefix(&failed.pointer)?.strip_prefix(": exec ")?;
    let kernels = kernels_words(failed.errno).to_ascii_lowercase();
    let text = in_gos_words(text.to_owned());
    let end = text.find(&kernels)? + kernels.len();
    Some(format!("exec {}", text.get(..end)?))
}

/// Writes a line to stderr that is not for the log.
pub fn note(text: &str) {
    // Where stderr is gone there is nobody to tell.
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// What std appends to the kernel's words.
const MARK: &str = " (os error ";

/// The kernel's errors as Go spells them, without a number: `permission denied` is what callers look for.
pub fn in_gos_words(mut text: String) -> String {
    while let Some((before, after)) = text.split_once(MARK)
        && let Some((number, rest)) = after.split_once(')')
        && let Ok(number) = number.parse()
    {
        let kernels = kernels_words(number);
        let Some(before) = before.strip_suffix(&kernels) else { break };
        text = format!("{before}{}{rest}", kernels.to_ascii_lowercase());
    }
    text
}

/// `No such file or directory`.
fn kernels_words(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    text.split_once(MARK).map_or("", |(name, _)| name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_error_is_spelt_as_go_spells_it() {
        let text = "open /x: No such file or directory (os error 2); then Input/output error (os error 5).";
        assert_eq!(
            in_gos_words(text.into()),
            "open /x: no such file or directory; then input/output error."
        );
    }

    #[test]
    fn text_that_is_no_kernel_error_is_kept() {
        for text in ["plain", "odd (os error 2)", "odd (os error x)", "odd (os error 2"] {
            assert_eq!(in_gos_words(text.into()), text);
        }
    }
}
