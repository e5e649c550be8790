//! `start`: a created container's init executes the user's program.
//!
//! Runs in: runtime.

use crate::exit::ExitCode;

use anyhow::Context;
use libcontainer::Container;

use super::ContainerId;
use crate::args::Globals;
use crate::notify::Notify;

/// Start the program of a created container
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    id: ContainerId,
}

pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let container = Container::load(&globals.root, args.id.get()?)?;
    let notify = Notify::listen(&globals.root, container.id());
    // What listens must do so before the program speaks.
    let pid = notify.as_ref().map(|_| container.state()).transpose()?.map_or(0, |state| state.pid);
    container.start()?;
    if let Some(notify) = notify {
        notify.wait_for_ready(pid).context("wait for the container to be ready")?;
    }
    Ok(ExitCode::SUCCESS)
}
