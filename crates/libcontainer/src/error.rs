//! What can go wrong, by what a caller can do about it.
//!
//! `Display` says only its own level; the cause is in `source()`. The texts that callers of runc match are kept to
//! the letter (`docs/compatibility.md`).
//!
//! Runs in: runtime.

use std::io;
use std::path::PathBuf;

use corten_plan::Stage;

pub use crate::cgroup::BusError;
use crate::spec::SpecError;
use crate::state::Status;

/// An error of this library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no container of this id under the root.
    #[error("container \"{id}\" does not exist: container does not exist")]
    NotFound {
        /// The id that was asked for.
        id: String,
    },
    /// The id is taken.
    #[error("container with given ID already exists: {id}")]
    Exists {
        /// The id that was asked for.
        id: String,
    },
    /// The id cannot be one: `[A-Za-z0-9_+.-]+`, neither `.` nor `..`.
    #[error("invalid container ID format: {id:?}")]
    InvalidId {
        /// The id that was asked for.
        id: String,
    },
    /// The operation needs another status. The text is runc's.
    #[error("{message}")]
    WrongStatus {
        /// The container.
        id: String,
        /// The status that it was found in. `None`: no change of status makes the operation possible.
        status: Option<Status>,
        /// runc's text for this operation in this status.
        message: String,
    },
    /// `config.json` cannot be used.
    #[error("{}", path.display())]
    Spec {
        /// The file.
        path: PathBuf,
        /// Where in it, and what.
        source: SpecError,
    },
    /// The configuration asks for something that this version of corten, or this host, cannot give.
    #[error("{pointer}: {feature}")]
    Unsupported {
        /// The property, as a JSON pointer into config.json, or a flag.
        pointer: String,
        /// What is asked for and why it cannot be had.
        feature: String,
    },
    /// A property of config.json names something that this host does not have, or that is not what it must be.
    #[error("{pointer}: {problem}")]
    Property {
        /// The property, as a JSON pointer into config.json.
        pointer: String,
        /// What is wrong with what it names.
        problem: String,
    },
    /// init could not do a step of the plan.
    #[error("{0}")]
    Init(Box<InitError>),
    /// A hook failed.
    #[error("error running {kind} hook #{index}: {}", path.display())]
    Hook {
        /// `prestart`, `createRuntime` …
        kind: &'static str,
        /// Its place in the array.
        index: usize,
        /// Its program.
        path: PathBuf,
        /// What happened.
        source: HookError,
    },
    /// The cgroup could not be made, read, changed or removed.
    #[error("cgroup {}: {action}", path.display())]
    Cgroup {
        /// The directory.
        path: PathBuf,
        /// What was tried.
        action: String,
        /// The cause.
        source: io::Error,
    },
    /// systemd could not be asked, or did not do what it was asked for.
    #[error("systemd: {action}")]
    Systemd {
        /// What was tried.
        action: String,
        /// The cause.
        source: BusError,
    },
    /// The state directory of a container, or a file in it.
    #[error("{action} {}", path.display())]
    State {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Something did not happen within its deadline.
    #[error("timed out after {seconds} s waiting for {what}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// The deadline.
        seconds: u64,
    },
    /// An argument of the caller is wrong.
    #[error("{flag}: {problem}")]
    Argument {
        /// The option or flag.
        flag: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A system call failed; `call` names it and its object.
    #[error("{call}")]
    Os {
        /// The call with its object, as in `open_tree("/x")`.
        call: String,
        /// The cause.
        source: io::Error,
    },
}

impl Error {
    /// A system call that failed.
    pub(crate) fn os(call: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Os { call: call.into(), source: source.into() }
    }
}

/// A step of the plan that init could not do.
///
/// The text is `[pointer: ]step: ERRNO: hint`, all that is known: which property made the step, what the step was, what the
/// kernel said, and what to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InitError {
    /// The whole text.
    pub message: String,
    /// The property of config.json that made the step; empty where none did.
    pub pointer: String,
    /// Which part of the step failed.
    pub stage: Stage,
    /// The kernel's error number, 0 where none applies.
    pub errno: i32,
}

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HookError {
    /// It could not be started.
    #[error("cannot be started")]
    Start(#[source] io::Error),
    /// It runs, and could not be waited for, written to or read from; it was killed with its process group.
    #[error("cannot be waited for")]
    Wait(#[source] io::Error),
    /// It ended with a status other than 0.
    #[error("{status}{}", output_suffix(output))]
    Status {
        /// `exit status 1`, `signal: killed`, as Go prints it.
        status: String,
        /// The last of what it wrote to stdout and stderr.
        output: String,
    },
    /// The container's init has ended before it (somebody has killed it), and it was killed with its process group.
    #[error("was killed, because the container's init has ended{}", output_suffix(output))]
    InitEnded {
        /// The last of what it wrote to stdout and stderr.
        output: String,
    },
    /// It ran past its timeout, and was killed with its process group.
    #[error("hook ran past specified timeout of {seconds:.1}s{}", output_suffix(output))]
    Timeout {
        /// The timeout.
        seconds: f64,
        /// The last of what it wrote to stdout and stderr.
        output: String,
    },
}

/// The error and its causes in one line, for the log.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn output_suffix(output: &str) -> String {
    if output.is_empty() {
        String::new()
    } else {
        format!(", stdout/stderr: {}", output.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_with_causes_is_one_line_with_each() {
        let source = HookError::Start(io::Error::other("no such program"));
        let error = Error::Hook { kind: "poststop", index: 1, path: "/x".into(), source };
        assert_eq!(
            with_causes(&error),
            "error running poststop hook #1: /x: cannot be started: no such program"
        );
    }
}
