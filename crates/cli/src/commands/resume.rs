//! `resume`: lets the processes of a paused container run again.
//!
//! Runs in: runtime.

use libcontainer::Container;

use super::ContainerId;
use crate::args::Globals;
use crate::exit::ExitCode;

/// Let the processes of a paused container run again
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    id: ContainerId,
}

pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    Container::load(&globals.root, args.id.get()?)?.resume()?;
    Ok(ExitCode::SUCCESS)
}
