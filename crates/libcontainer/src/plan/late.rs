//! What init does after `start`: enough of it to name what failed. It is kept in the state, for `start` has no plan.
//!
//! Runs in: any process.

use std::ffi::CString;

use corten_plan::wire::List;
use corten_plan::{Failure, Op, Stage};
use serde::{Deserialize, Serialize};

use super::describe;
use super::hints;
use super::types::{InitPlan, Origin};
use crate::error::InitError;

/// The steps after [`Op::WaitStart`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LateSteps {
    /// Index of the first hook in the plan.
    first: u16,
    /// The startContainer hooks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hooks: Vec<LateHook>,
    /// `args[0]`.
    program: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LateHook {
    path: String,
    timeout_ms: u64,
}

impl LateSteps {
    /// Those of `plan`; `None` when init does not wait for `start`.
    pub fn of(plan: &InitPlan) -> Option<Self> {
        let mut late: Option<Self> = None;
        for (index, (_, op)) in (0u16..).zip(plan.ops()) {
            match (op, &mut late) {
                (Op::WaitStart, _) => late = Some(Self { first: index + 1, ..Self::default() }),
                // Loaded before the hooks.
                (Op::Seccomp { at_exec: false, .. }, Some(late)) => late.first = index + 1,
                (Op::Hook { path, timeout_ms, .. }, Some(late)) => {
                    late.hooks.push(LateHook { path: describe::text(path), timeout_ms });
                }
                (Op::Exec { args, .. }, Some(late)) => late.program = describe::first(args),
                _ => {}
            }
        }
        late
    }

    /// The error of a step that init could not do.
    pub fn error(&self, failure: &Failure<'_>) -> InitError {
        let hook = failure.op.checked_sub(self.first).map(usize::from);
        let hook = hook.and_then(|index| Some((index, self.hooks.get(index)?)));
        let (pointer, text) = match hook {
            _ if failure.stage == Stage::Filter => {
                ("/linux/seccomp".to_owned(), hints::filter(failure))
            }
            Some((index, hook)) => {
                let origin = Origin::Element("/hooks/startContainer", index);
                (origin.to_string(), hook.message(&origin, failure))
            }
            None => ("/process/args".to_owned(), self.program_message(failure)),
        };
        let message = format!("{pointer}: {text}");
        InitError { message, pointer, stage: failure.stage, errno: failure.errno }
    }

    fn program_message(&self, failure: &Failure<'_>) -> String {
        let name = format!("{}\0", self.program);
        let args = List::new(name.as_bytes()).unwrap_or(List::EMPTY);
        let op = Op::Exec { args, env: List::EMPTY, home: false };
        hints::message(&Origin::Always, &op, failure)
    }
}

impl LateHook {
    fn message(&self, origin: &Origin, failure: &Failure<'_>) -> String {
        let path = CString::new(self.path.as_str()).unwrap_or_default();
        let op = Op::Hook {
            path: &path,
            args: List::EMPTY,
            env: List::EMPTY,
            cwd: c"",
            timeout_ms: self.timeout_ms,
            home: false,
        };
        hints::message(origin, &op, failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn late() -> LateSteps {
        let hook = |path: &str| LateHook { path: path.into(), timeout_ms: 0 };
        LateSteps { first: 60, hooks: vec![hook("/h0"), hook("/h1")], program: "sh".into() }
    }

    fn failure(op: u16, stage: Stage, item: u16, errno: i32) -> Failure<'static> {
        Failure { op, stage, item, errno, detail: b"last words" }
    }

    #[test]
    fn hook_that_fails_is_named() {
        let error = late().error(&failure(61, Stage::HookStatus, 3, 0));
        assert_eq!(error.pointer, "/hooks/startContainer/1");
        for part in ["/hooks/startContainer/1: ", "/h1", "3", "last words"] {
            assert!(error.message.contains(part), "{}", error.message);
        }
    }

    #[test]
    fn filter_that_fails_is_no_hook() {
        let error = late().error(&failure(60, Stage::Filter, 0, libc::ENOMEM));
        assert_eq!(error.pointer, "/linux/seccomp");
        assert!(error.message.starts_with("/linux/seccomp: load the system call filter: ENOMEM: "));
    }

    #[test]
    fn program_that_fails_is_named() {
        let error = late().error(&failure(63, Stage::Exec, 0, libc::ENOEXEC));
        assert_eq!(error.pointer, "/process/args");
        assert!(error.message.starts_with("/process/args: exec sh: "), "{}", error.message);
    }
}
