//! `checkpoint`: not there yet.
//!
//! Runs in: runtime.

use libcontainer::Container;

use super::criu::{self, Flag};
use crate::args::Globals;
use crate::exit::ExitCode;

const FLAGS: &[Flag] = &[
    ("parent-path", Some("DIR"), "Where an earlier pre-dump is, relative to --image-path"),
    ("leave-running", None, "Let the container run on"),
    ("tcp-skip-in-flight", None, "Leave out TCP connections that are being made"),
    ("link-remap", None, "Allow files that have no name any more"),
    ("status-fd", Some("FD"), "Where CRIU writes a zero byte when --lazy-pages is ready"),
    ("page-server", Some("ADDRESS:PORT"), "Send the pages there"),
    ("pre-dump", None, "Dump the memory alone, and let the container run on"),
];

criu::unused_arguments!("Save a running container to files (not supported yet)", FLAGS);

pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    // That there is no such container is what a caller is to hear first.
    Container::load(&globals.root, &args.id)?;
    criu::refuse("checkpoint")
}
