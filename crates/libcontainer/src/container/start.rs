//! `start`: lets a created container's init execute the user's program.
//!
//! Runs in: runtime.

use std::os::fd::AsFd;
use std::time::Duration;

use corten_plan::Frame;

use super::{Container, hook_state};
use crate::error::Error;
use crate::runtime::start_fifo::{self, Started};
use crate::state::{Found, Status};

const LOCK_DEADLINE: Duration = Duration::from_secs(10);

impl Container {
    /// Starts the user's program; returns when it has been executed and the poststart hooks have run.
    ///
    /// # Errors
    /// [`Error::WrongStatus`] unless the container is created; [`Error::Init`] when the program cannot be executed or a
    /// startContainer hook failed; [`Error::Hook`] when a poststart hook failed: then the container is destroyed, as
    /// runtime.md (lifecycle, step 9) says.
    pub fn start(&self) -> Result<(), Error> {
        let lock = self.dir.lock(LOCK_DEADLINE)?;
        // While we waited for the lock a `create` may have gone on, or another `start`.
        let fresh = match self.dir.read()? {
            Found::Record(record) => record,
            Found::Nothing => return Err(Error::NotFound { id: self.id().into() }),
            Found::Damaged { error, .. } => return Err(error),
        };
        let (status, pidfd) = self.observe_locked(&lock)?;
        let pidfd = match (status, pidfd) {
            (Status::Created, Some(pidfd)) => pidfd,
            (status, _) => return Err(self.cannot_start(status)),
        };
        let outcome = start_fifo::start(&self.dir, pidfd.as_fd())?;
        match outcome {
            None => return Err(self.cannot_start(Status::Running)),
            Some(Started::Executed) => {}
            Some(Started::Failed(frame)) => return Err(self.start_failure(&*frame)),
        }
        let pid = fresh.init.as_ref().map(|init| init.process.pid);
        let environment = hook_state::own_environment();
        let running = (Status::Running, pid);
        let ran = hook_state::run_all("poststart", &fresh.poststart, &fresh, running, &environment);
        if let Err(failure) = ran {
            drop(lock);
            self.destroy()?;
            return Err(failure);
        }
        Ok(())
    }

    /// runc's texts, which callers show.
    fn cannot_start(&self, status: Status) -> Error {
        self.wrong_status(match status {
            Status::Stopped => "cannot start a container that has stopped".to_owned(),
            Status::Running => "cannot start an already running container".to_owned(),
            other => format!("cannot start a container in the {other} state"),
        })
    }

    fn start_failure(&self, frame: &[u8]) -> Error {
        let (Ok(Frame::Failed(failure)), Some(late)) = (Frame::decode(frame), &self.record.late)
        else {
            return self.wrong_status("init has failed without a reason");
        };
        Error::Init(Box::new(late.error(&failure)))
    }
}
