//! `features`: the Features structure of the runtime specification.
//!
//! Runs in: runtime.

use libcontainer::features::Features;
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::PrettyFormatter;

use crate::args::Globals;
use crate::exit::ExitCode;

/// Print what this program can do, as JSON
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave out what this host does not give, and tell more of it
    #[arg(long)]
    probe: bool,
}

pub fn run(args: Args, _globals: &Globals) -> anyhow::Result<ExitCode> {
    let mut features =
        if args.probe { Features::of_this_host()? } else { Features::of_this_program() };
    let commit = super::version::COMMIT.map(|commit| ("corten.commit".into(), commit.into()));
    features.annotations.extend(commit);
    let mut text = Vec::new();
    // As runc indents it.
    let format = PrettyFormatter::with_indent(b"    ");
    features.serialize(&mut Serializer::with_formatter(&mut text, format))?;
    text.push(b'\n');
    crate::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
