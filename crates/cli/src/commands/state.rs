//! `state`: what is known of a container, as JSON.
//!
//! Runs in: runtime.

use crate::exit::ExitCode;

use libcontainer::Container;

use super::ContainerId;
use crate::args::Globals;

/// Print the state of a container as JSON
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    id: ContainerId,
}

pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let state = Container::load(&globals.root, args.id.get()?)?.state()?;
    // Two spaces and no newline at the end: runc's output to the byte.
    crate::print(&serde_json::to_vec_pretty(&state)?)?;
    Ok(ExitCode::SUCCESS)
}
