//! `delete`: removes what `create` has made, from whatever prefix of `create` it finds.
//!
//! Kill, wait, cgroup, poststop hooks, and the state last: an interrupted delete is done again from the start.
//!
//! Runs in: runtime.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::kill::KILL_DEADLINE;
use super::place::There;
use super::{Container, LiveInit, hook_state, members};
use crate::cgroup::{Cgroup, systemd};
use crate::error::Error;
use crate::intel_rdt;
use crate::signal::Signal;
use crate::state::{CgroupRecord, ContainerId, Found, Lock, Record, StateDir, Status, UnitRecord};

/// How long a forced delete waits, after it has killed all processes, for a `create` or `start` to notice and let go.
const LOCK_DEADLINE: Duration = Duration::from_secs(10);
/// How long a `create` that has only begun may take to write its intent, before we look again.
const MOMENT: Duration = Duration::from_millis(10);
/// How long the kernel may take to have what has ended out of its cgroup. runc tries for some 0.3 s.
const LEFT_DEADLINE: Duration = Duration::from_secs(1);

/// What was asked for, and of which container.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delete {
    /// Of any, and with all that is in its cgroup.
    ByForce,
    Created,
    /// Its init has ended.
    Stopped,
}

impl Container {
    /// Deletes the container `id` below `root`: one that is stopped or created; with `force` also one that runs, one of
    /// which `create` was killed, and one whose state is damaged.
    ///
    /// Returns what went wrong without keeping the container from being deleted: poststop hooks that failed, a systemd that
    /// could not be asked to forget the unit.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongStatus`] for one that runs, without `force`; the cgroup or state cannot be
    /// removed, or without `force` has processes in it or below that are not the container's: then the state is kept, so that
    /// delete can be tried again.
    pub fn delete(root: &Path, id: &str, force: bool) -> Result<Vec<Error>, Error> {
        let id = ContainerId::new(id)?;
        let dir = StateDir::open(root, &id)?;
        let until = Instant::now() + LOCK_DEADLINE;
        let record = loop {
            match dir.read()? {
                Found::Record(record) => break record,
                Found::Nothing if !force => return Err(Error::NotFound { id: id.to_string() }),
                Found::Nothing if remove_nothing(&dir, until)? => return Ok(Vec::new()),
                Found::Nothing => {}
                Found::Damaged { intent: Some(record), .. } if force => break record,
                Found::Damaged { error, .. } => return Err(error),
            }
        };
        Self { dir, record, made: None }.remove(force)
    }

    /// Deletes this container, as [`Container::delete`].
    ///
    /// # Errors
    /// As [`Container::delete`].
    pub fn remove(&self, force: bool) -> Result<Vec<Error>, Error> {
        if force {
            return self.destroy();
        }
        let lock = self.dir.lock(LOCK_DEADLINE)?;
        let how = match self.observe_locked(&lock)?.0 {
            Status::Stopped => Delete::Stopped,
            Status::Created => Delete::Created,
            status => {
                let text =
                    format!("cannot delete container {} that is not stopped: {status}", self.id());
                return Err(self.wrong_status(status, text));
            }
        };
        self.tear_down(lock, how)
    }

    /// Deletes it whatever its status.
    pub(super) fn destroy(&self) -> Result<Vec<Error>, Error> {
        if let Some(lock) = self.dir.try_lock()? {
            return self.tear_down(lock, Delete::ByForce);
        }
        // Before we have the lock: who holds it may wait for exactly these processes.
        self.kill_everything(&self.record, Delete::ByForce)?;
        match self.dir.lock(LOCK_DEADLINE) {
            Ok(lock) => self.tear_down(lock, Delete::ByForce),
            // The `create` that we have killed the init of has cleaned up after itself.
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Not inlined: it is large, and called from three places.
    #[inline(never)]
    fn tear_down(&self, lock: Lock<'_>, how: Delete) -> Result<Vec<Error>, Error> {
        let record = &*self.latest()?;
        if record.may_have_hooks() {
            self.dir.kill_hooks()?;
        }
        let mut warnings = match &record.cgroup {
            Some(place) => match &place.unit {
                Some(unit) => self.remove_unit(record, place, unit, how)?,
                None => self.remove_directory(record, place, how)?,
            },
            None => {
                self.kill_everything(record, how)?;
                Vec::new()
            }
        };
        if let Some(rdt) = &record.intel_rdt {
            intel_rdt::remove(rdt)?;
        }
        // Of a `create` that was killed, too: its hooks may have made what these take away.
        let environment = hook_state::own_environment;
        warnings.extend(hook_state::run_poststop(&self.dir, record, environment));
        self.dir.remove()?;
        // Of a directory that is gone nobody asks for the lock.
        std::mem::forget(lock);
        Ok(warnings)
    }

    fn remove_directory(
        &self,
        record: &Record,
        place: &CgroupRecord,
        how: Delete,
    ) -> Result<Vec<Error>, Error> {
        // A cgroup that can be removed has no process, and init nowhere else to be if it has ended.
        let may_live = how != Delete::Stopped && is_alive(record)?;
        if may_live || !self.remove_empty_cgroup(place)? {
            self.kill_everything(record, how)?;
            if let Some(cgroup) = There::of(record)?.cgroup() {
                cgroup.remove(KILL_DEADLINE)?;
            }
        }
        Ok(Vec::new())
    }

    /// Processes are killed by us, whatever their number and the bus: systemd would send SIGTERM first, and has a unit to forget.
    fn remove_unit(
        &self,
        record: &Record,
        CgroupRecord { mount_point, path, .. }: &CgroupRecord,
        unit: &UnitRecord,
        how: Delete,
    ) -> Result<Vec<Error>, Error> {
        self.kill_everything(record, how)?;
        if matches!(There::of(record)?, There::Anothers) {
            log::debug!("unit {} is not that of {} any more", unit.name, record.id);
            return Ok(Vec::new());
        }
        Ok(systemd::stop(unit, mount_point, path, KILL_DEADLINE)?.into_iter().collect())
    }

    fn remove_empty_cgroup(&self, place: &CgroupRecord) -> Result<bool, Error> {
        match &self.made {
            Some(cgroup) => cgroup.remove_if_empty(),
            None => Cgroup::remove_empty(&place.mount_point, &place.path, place.id),
        }
    }

    /// Kills init by its identity and whatever else is in the cgroup, and waits until it is empty; without a cgroup, until
    /// init is no more.
    ///
    /// Without force nobody else is killed: the end of the init of a pid namespace is the end of all in it (`pid_namespaces(7)`), so
    /// that what lives in the cgroup or below after it was put there by somebody else, as with a second container of this `cgroupsPath`.
    fn kill_everything(&self, record: &Record, how: Delete) -> Result<(), Error> {
        let init = LiveInit::of(record)?;
        if let Some(init) = &init {
            match crate::send::send_signal(init.pidfd.as_fd(), Signal::KILL.number()) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(errno) => {
                    let call = format!("kill init of container {:?}", record.id);
                    return Err(Error::Os { call, source: errno.into() });
                }
            }
        }
        match (self.cgroup()?, &init) {
            (Some(cgroup), init)
                if how != Delete::ByForce
                    && record.private_pid_namespace
                    && record.init.is_some() =>
            {
                init.as_ref().map_or(Ok(()), members::wait_for_end)?;
                cgroup.require_left(LEFT_DEADLINE)
            }
            (Some(cgroup), _) => cgroup.kill(KILL_DEADLINE),
            (None, Some(init)) if record.cgroup.is_none() => members::wait_for_end(init),
            (None, _) => Ok(()),
        }
    }
}

fn is_alive(record: &Record) -> Result<bool, Error> {
    Ok(LiveInit::of(record)?.is_some())
}

/// Removes a directory with nothing in it, which a `create` has left that was killed then. `false`: one is at work on it,
/// and its intent will be there in a moment.
fn remove_nothing(dir: &StateDir, until: Instant) -> Result<bool, Error> {
    match dir.lock(MOMENT) {
        Ok(_lock) => match dir.read()? {
            Found::Nothing => dir.remove().map(|()| true),
            Found::Record(_) | Found::Damaged { .. } => Ok(false),
        },
        Err(Error::NotFound { .. }) => Ok(true),
        Err(Error::Timeout { .. }) if Instant::now() < until => Ok(false),
        Err(error) => Err(error),
    }
}
