//! `create`: a container whose init waits for `start`.
//!
//! Runs in: runtime.

use crate::exit::ExitCode;

use anyhow::Context;
use libcontainer::Container;

use super::create_flags::CreateFlags;
use crate::args::Globals;

/// Create a container, which then waits for start
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: CreateFlags,
}

pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let created = args.flags.options(globals).and_then(|options| Ok(Container::create(&options)?));
    created.context("corten create failed")?;
    Ok(ExitCode::SUCCESS)
}
