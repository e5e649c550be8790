//! The state that hooks read on stdin.
//!
//! Runs in: runtime.

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::error::Error;
use crate::hooks::{self, Scene};
use crate::plan::{HOOKS_STDERR, HOOKS_STDOUT};
use crate::spec::Hook;
use crate::state::{HookState, Record, StateDir, Status};

/// The state as compact JSON.
pub(crate) fn json(record: &Record, status: Status, pid: Option<i32>) -> Result<Vec<u8>, Error> {
    let state = HookState {
        oci_version: &record.oci_version,
        id: &record.id,
        status,
        pid,
        bundle: &record.bundle,
        annotations: &record.annotations,
    };
    serde_json::to_vec(&state).map_err(|error| Error::Os {
        call: "encode the state for hooks".into(),
        source: error.into(),
    })
}

/// Runs hooks of one kind in order, up to the first that fails; none outlives `init`, a pidfd, when that is given.
pub(crate) fn run_all(
    kind: &'static str,
    hooks: &[Hook],
    (dir, record): (&StateDir, &Record),
    (status, pid): (Status, Option<i32>),
    environment: &[OsString],
    init: Option<BorrowedFd<'_>>,
) -> Result<(), Error> {
    if hooks.is_empty() {
        return Ok(());
    }
    let state = &json(record, status, pid)?;
    let (cwd, outputs) = (record.bundle.as_path(), outputs(record));
    let scene = Scene { state, environment, cwd, init, outputs, dir: Some(dir) };
    for (index, hook) in hooks.iter().enumerate() {
        hooks::run(kind, index, hook, &scene)?;
    }
    Ok(())
}

/// Where the annotations of crun want hooks to write.
fn outputs(record: &Record) -> [Option<&Path>; 2] {
    [HOOKS_STDOUT, HOOKS_STDERR].map(|name| record.annotations.get(name).map(Path::new))
}

/// runtime.md, "Lifecycle", step 13: the failure of a poststop hook is logged, and the remaining ones run.
pub(crate) fn run_poststop(
    dir: &StateDir,
    record: &Record,
    environment: impl FnOnce() -> Vec<OsString>,
) -> Vec<Error> {
    if record.poststop.is_empty() {
        return Vec::new();
    }
    let environment = &environment();
    let Ok(state) = json(record, Status::Stopped, None) else { return Vec::new() };
    let (cwd, dir) = (record.bundle.as_path(), Some(dir));
    let outputs = outputs(record);
    let scene = Scene { state: &state, environment, cwd, init: None, outputs, dir };
    let run = |(index, hook)| hooks::run("poststop", index, hook, &scene).err();
    record.poststop.iter().enumerate().filter_map(run).collect()
}

/// This process's environment, for hooks that have none of their own (runc and crun let them inherit it).
pub(crate) fn own_environment() -> Vec<OsString> {
    let joined = |(key, value): (OsString, OsString)| {
        let mut entry = key.into_vec();
        entry.push(b'=');
        entry.extend(value.into_vec());
        OsString::from_vec(entry)
    };
    std::env::vars_os().map(joined).collect()
}
