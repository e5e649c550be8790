//! `delete`: removes what `create` has made.
//!
//! Runs in: runtime.

use crate::exit::ExitCode;

use libcontainer::{Container, Error};

use super::ContainerId;
use crate::args::Globals;

/// Delete a container that has stopped, or that was never started
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    id: ContainerId,

    /// Kill it first if it runs; that there is no such container is no error
    #[arg(long, short)]
    force: bool,
}

pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    match Container::delete(&globals.root, args.id.get()?, args.force) {
        Err(Error::NotFound { .. }) if args.force => {}
        outcome => warn(outcome?),
    }
    Ok(ExitCode::SUCCESS)
}

/// Logs what went wrong without keeping the container from being deleted.
pub fn warn(problems: Vec<Error>) {
    for problem in problems {
        log::warn!("{:#}", anyhow::Error::new(problem));
    }
}
