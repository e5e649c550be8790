//! `start`: a created container's init executes the user's program.
//!
//! Runs in: runtime.

use crate::exit::ExitCode;

use libcontainer::Container;

use super::ContainerId;
use crate::args::Globals;

/// Start the program of a created container
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    id: ContainerId,
}

pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    Container::load(&globals.root, args.id.get()?)?.start()?;
    Ok(ExitCode::SUCCESS)
}
