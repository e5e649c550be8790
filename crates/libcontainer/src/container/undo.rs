//! What is undone when a create, or an exec, fails half-way.
//!
//! Runs in: runtime.

use std::cell::Cell;

use super::create::environment;
use super::{ContainerProcess, CreateOptions, hook_state};
use crate::error::with_causes;
use crate::state::{Record, StateDir};

/// Kills and reaps init.
pub(super) fn kill_and_reap(init: &ContainerProcess) {
    if let Err(error) = crate::send::send_signal(init.pidfd(), libc::SIGKILL)
        && error != rustix::io::Errno::SRCH
    {
        log::warn!("kill container init: {error}");
        return;
    }
    // ECHILD: the caller's own wait has reaped it.
    if let Err(error) = crate::sys::wait::wait(init.pidfd())
        && error.raw_os_error() != Some(libc::ECHILD)
    {
        log::warn!("wait for container init: {error}");
    }
}

/// The hooks of a container that is no more: of one whose creation has failed too (runtime.md, "Lifecycle", steps 3 to 5
/// go on at 12; runc does it after every failure). Where the state is kept, the `delete` to come runs them.
pub(super) fn run_poststop(
    (dir, record, options, left): &(&StateDir, &Record, &CreateOptions, &Left),
) {
    if left.is_set() {
        return;
    }
    for problem in hook_state::run_poststop(dir, record, || environment(options)) {
        log::warn!("{}", with_causes(&problem));
    }
}

/// Whether something could not be undone, for want of fds, say: then the state is kept, or nobody would know of it.
#[derive(Debug, Default)]
pub(super) struct Left(Cell<bool>);

impl Left {
    pub fn set(&self) {
        self.0.set(true);
    }

    fn is_set(&self) -> bool {
        self.0.get()
    }
}

/// Removes the state; nothing if a `delete --force` has done so, for the id may be another container's by now.
pub(super) fn remove_state((dir, left): &(&StateDir, &Left)) {
    if dir.is_gone() {
        return;
    }
    if left.is_set() {
        let path = dir.path().display();
        log::warn!("the state in {path} is kept: `delete --force` removes what is left with it");
        return;
    }
    if let Err(error) = dir.remove() {
        log::warn!("{}", with_causes(&error));
    }
}

/// Undoes one thing of a create that fails; several undo in the reverse order, as values are dropped.
pub(super) struct Undo<'a, T> {
    what: &'a T,
    undo: Option<fn(&T)>,
}

impl<'a, T> Undo<'a, T> {
    /// `undo` is called with `what` unless [`Self::disarm`] is called before.
    pub fn new(what: &'a T, undo: fn(&T)) -> Self {
        Self { what, undo: Some(undo) }
    }

    /// It has succeeded: nothing is undone.
    pub fn disarm(mut self) {
        self.undo = None;
    }
}

impl<T> Drop for Undo<'_, T> {
    fn drop(&mut self) {
        if let Some(undo) = self.undo {
            undo(self.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::ContainerId;

    #[test]
    fn remove_state_after_a_delete_leaves_the_next_of_the_same_id() {
        let root = tempfile::tempdir().unwrap();
        let id = ContainerId::new("same").unwrap();
        let first = StateDir::create(root.path(), &id).unwrap();
        first.remove().unwrap();
        StateDir::create(root.path(), &id).unwrap();
        std::fs::write(root.path().join("same/intent.json"), "of the next").unwrap();
        remove_state(&(&first, &Left::default()));
        assert!(root.path().join("same/intent.json").exists());
    }
}
