//! `start`: lets a created container's init execute the user's program.
//!
//! Runs in: runtime.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::time::Duration;

use corten_plan::Frame;

use super::{Container, hook_state};
use crate::error::{Error, with_causes};
use crate::runtime::start_fifo::{self, Started};
use crate::state::Status;

const LOCK_DEADLINE: Duration = Duration::from_secs(10);

impl Container {
    /// Starts the user's program; returns when it has been executed and the poststart hooks have run. They run without the
    /// lock, so that the container can be deleted meanwhile.
    ///
    /// # Errors
    /// [`Error::WrongStatus`] unless the container is created; [`Error::Init`] when the program cannot be executed or a
    /// startContainer hook failed; [`Error::Hook`] when a poststart hook failed: then the container is destroyed, as
    /// runtime.md (lifecycle, step 9) says.
    pub fn start(&self) -> Result<(), Error> {
        let lock = self.dir.lock(LOCK_DEADLINE)?;
        let (status, init) = self.observe_locked(&lock)?;
        let init = match (status, init) {
            (Status::Created, Some(init)) => init,
            (status, _) => return Err(self.cannot_start(status)),
        };
        log::debug!("let init (process {}) execute the program", init.pid);
        let outcome = start_fifo::start(&self.dir, init.pidfd.as_fd())?;
        match outcome {
            None => return Err(self.cannot_start(Status::Running)),
            Some(Started::Executed) => {}
            Some(Started::Failed(frame)) => return Err(self.start_failure(&*frame)),
        }
        drop(lock);
        self.run_poststart(init.pid, hook_state::own_environment)
    }

    /// Runs the hooks; one that fails is the end of the container.
    pub(super) fn run_poststart(
        &self,
        pid: i32,
        environment: impl FnOnce() -> Vec<OsString>,
    ) -> Result<(), Error> {
        if self.record.poststart.is_empty() {
            return Ok(());
        }
        let (hooks, running) = (&self.record.poststart, (Status::Running, Some(pid)));
        let ran = hook_state::run_all(
            "poststart",
            hooks,
            (&self.dir, &self.record),
            running,
            &environment(),
            None,
        );
        if let Err(failure) = ran {
            for problem in self.destroy()? {
                log::warn!("{}", with_causes(&problem));
            }
            return Err(failure);
        }
        Ok(())
    }

    /// runc's texts, which callers show.
    fn cannot_start(&self, status: Status) -> Error {
        let text = match status {
            Status::Stopped => "cannot start a container that has stopped".to_owned(),
            Status::Running => "cannot start an already running container".to_owned(),
            other => format!("cannot start a container in the {other} state"),
        };
        self.wrong_status(status, text)
    }

    fn start_failure(&self, frame: &[u8]) -> Error {
        let (Ok(Frame::Failed(failure)), Some(late)) = (Frame::decode(frame), &self.record.late)
        else {
            return self.wrong_status(None, "init has failed without a reason");
        };
        Error::Init(Box::new(late.error(&failure)))
    }
}
