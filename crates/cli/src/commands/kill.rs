//! `kill`: a signal for a container.
//!
//! Runs in: runtime.

use crate::exit::ExitCode;

use libcontainer::{Container, Error, Signal};

use super::ContainerId;
use crate::args::Globals;

/// Send a signal to the init of a container
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    id: ContainerId,

    /// Its name, with or without SIG, or its number
    #[arg(value_name = "signal", default_value = "SIGTERM")]
    signal: String,

    /// Send it to all processes of the container; that there is none is no error
    #[arg(long, short)]
    all: bool,
}

pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let container = Container::load(&globals.root, args.id.get()?)?;
    let signal = if args.signal.is_empty() { Signal::TERM } else { Signal::parse(&args.signal)? };
    match container.kill(signal, args.all) {
        // containerd's shim sends `kill --all` to containers that have ended; runc succeeds then.
        Err(Error::WrongStatus { .. }) if args.all => {}
        outcome => outcome?,
    }
    Ok(ExitCode::SUCCESS)
}
