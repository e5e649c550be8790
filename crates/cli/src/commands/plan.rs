//! `plan`: what `create` would do, in order. Needs no privilege and changes nothing.
//!
//! Runs in: runtime.

use crate::exit::ExitCode;

use clap::ValueEnum;
use libcontainer::Container;
use libcontainer::plan::print;

use super::create_flags::BundleFlags;
use crate::args::Globals;

/// Print what create would do, and do nothing
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name that the container would have
    #[arg(value_name = "container-id", default_value = "container")]
    id: String,

    #[command(flatten)]
    bundle: BundleFlags,

    /// For humans or for programs
    #[arg(long, short, value_name = "text|json", value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let plan = Container::plan(&args.bundle.options(&args.id, globals)?)?;
    let text = match args.format {
        Format::Text => print::text(&plan),
        Format::Json => print::json(&plan),
    };
    crate::print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
