//! The runtime's side of the conversation with an init, or with a process of exec: what it says, and what that means.
//!
//! Runs in: runtime.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use corten_plan::{Frame, Point};

use super::ContainerProcess;
use crate::error::{Error, InitError};
use crate::plan::{InitPlan, describe};
use crate::runtime::link::{Asked, Link, Message};
use crate::sys::wait::ExitStatus;

/// With one process that executes a plan.
#[derive(Clone, Copy)]
pub(super) struct Conversation<'a> {
    pub plan: &'a InitPlan,
    pub process: &'a ContainerProcess,
    pub link: &'a Link,
}

impl Conversation<'_> {
    /// Waits until it has reached the next point; `answer` is called for what it needs until then.
    pub fn next(
        &self,
        what: &str,
        mut answer: impl FnMut(Asked) -> Result<(), Error>,
    ) -> Result<Point, Error> {
        loop {
            match self.link.receive(what)? {
                Message::Reached(point) => return Ok(point),
                Message::Failed(frame) => return Err(failure(self.plan, &*frame)),
                Message::Warned(frame) => self.warn(&*frame),
                Message::Asked(asked) => answer(asked)?,
                Message::Closed => return Err(self.died()),
                Message::Forked(_) => return Err(out_of_order()),
            }
        }
    }

    /// Lets it go on; `state`: what its hooks read.
    pub fn go(&self, ignored_signals: u64, state: Option<&OwnedFd>) -> Result<(), Error> {
        self.link.go(ignored_signals, state.map(AsFd::as_fd))
    }

    /// Waits until it has executed the user's program, or failed to.
    pub fn wait_for_execve(&self) -> Result<(), Error> {
        loop {
            match self.link.receive("container init to execute the program")? {
                Message::Closed => return Ok(()),
                Message::Failed(frame) => return Err(failure(self.plan, &*frame)),
                Message::Warned(frame) => self.warn(&*frame),
                Message::Reached(_) | Message::Forked(_) | Message::Asked(_) => {
                    return Err(out_of_order());
                }
            }
        }
    }

    fn warn(&self, frame: &[u8]) {
        if let Ok(Frame::Warned(failure)) = Frame::decode(frame) {
            log::warn!("{}", describe::init_error(self.plan, &failure));
        }
    }

    /// Why it has ended without a word: it never panics, so that somebody has killed it.
    fn died(&self) -> Error {
        let how = match crate::sys::wait::wait(self.process.pidfd()) {
            Ok(ExitStatus::Exited(code)) => format!("exited with code {code}"),
            Ok(ExitStatus::Signaled(signal)) => format!("was killed by signal {signal}"),
            Err(error) => format!("is gone ({error})"),
        };
        init_died(&how)
    }
}

/// The error in a frame of a process that executes `plan`.
pub(super) fn failure(plan: &InitPlan, frame: &[u8]) -> Error {
    match Frame::decode(frame) {
        Ok(Frame::Failed(failure)) => Error::Init(Box::new(describe::init_error(plan, &failure))),
        _ => out_of_order(),
    }
}

pub(super) fn init_died(how: &str) -> Error {
    Error::Init(Box::new(InitError {
        message: format!("container init {how} before it was ready"),
        pointer: String::new(),
        stage: corten_plan::Stage::Op,
        errno: 0,
    }))
}

pub(super) fn out_of_order() -> Error {
    let source = io::ErrorKind::InvalidData.into();
    Error::Os { call: "receive from init: a frame out of order".into(), source }
}
