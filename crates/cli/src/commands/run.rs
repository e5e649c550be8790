//! `run`: create and start in one, in the foreground or detached.
//!
//! Runs in: runtime.

use crate::exit::ExitCode;

use std::fmt;

use anyhow::{Context, bail};
use libcontainer::Container;

use super::create_flags::CreateFlags;
use crate::args::Globals;
use crate::foreground;
use crate::notify::Notify;

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
    outcome.context(RunFailed)
}

/// What every error of run begins with.
#[derive(Debug)]
pub struct RunFailed;

impl fmt::Display for RunFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("corten run failed")
    }
}

fn detached(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    crate::block_sigpipe()?;
    let options = args.flags.options(globals)?;
    let mut notify = None;
    let (_, init) = Container::run_prepared(&options, |_| {
        notify = Notify::listen(&options.root, &options.id);
    })?;
    if let Some(notify) = notify {
        notify.wait_for_ready(init.pid()).context("wait for the container to be ready")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn in_foreground(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    if args.flags.console_socket.is_some() {
        bail!("cannot use console socket if corten will not detach or allocate tty");
    }
    foreground::run(args.flags.options(globals)?, !args.no_subreaper, args.keep)
}
