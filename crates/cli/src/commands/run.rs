//! `run`: create and start in one, in the foreground or detached.
//!
//! Runs in: runtime.

use crate::exit::ExitCode;

use anyhow::{Context, bail};
use libcontainer::Container;

use super::create_flags::CreateFlags;
use crate::args::Globals;
use crate::foreground;

/// Create a container, start it, and wait for it to end
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: CreateFlags,

    /// Return as soon as the container is started
    #[arg(long, short)]
    detach: bool,

    /// Do not delete the container after it has ended
    #[arg(long)]
    keep: bool,

    /// Do not reap what the container leaves behind
    #[arg(long)]
    no_subreaper: bool,
}

pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let outcome =
        if args.detach { detached(&args, globals) } else { in_foreground(&args, globals) };
    outcome.context("corten run failed")
}

fn detached(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    crate::block_sigpipe()?;
    Container::run(&args.flags.options(globals)?)?;
    Ok(ExitCode::SUCCESS)
}

fn in_foreground(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    if args.flags.console_socket.is_some() {
        bail!("cannot use console socket if corten will not detach or allocate tty");
    }
    foreground::run(args.flags.options(globals)?, !args.no_subreaper, args.keep)
}
