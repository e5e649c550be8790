//! `pause`: stops the processes of a container.
//!
//! Runs in: runtime.

use libcontainer::Container;

use super::ContainerId;
use crate::args::Globals;
use crate::exit::ExitCode;

/// Stop all processes of a container where they are, until `resume`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    id: ContainerId,
}

pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    Container::load(&globals.root, args.id.get()?)?.pause()?;
    Ok(ExitCode::SUCCESS)
}
