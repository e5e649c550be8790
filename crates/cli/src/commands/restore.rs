//! `restore`: not there yet.
//!
//! Runs in: runtime.

use anyhow::Context;

use super::criu::{self, Flag};
use crate::args::Globals;
use crate::exit::ExitCode;

const FLAGS: &[Flag] = &[
    ("bundle", Some("DIR"), "The directory with config.json"),
    ("console-socket", Some("PATH"), "Send the master of the container's terminal to this socket"),
    ("pid-file", Some("FILE"), "Write the pid of the container's init to FILE"),
    ("detach", None, "Return as soon as the container runs"),
    ("no-pivot", None, "Move the root file system over / instead of pivoting"),
    ("no-subreaper", None, "Do not reap what the container leaves behind"),
    ("lsm-profile", Some("TYPE:NAME"), "The profile of AppArmor or SELinux of the processes"),
    ("lsm-mount-context", Some("CONTEXT"), "The SELinux context of the mounts"),
    // conmon passes it to create and restore alike; crun's.
    ("no-new-keyring", None, "Keep the caller's session keyring"),
    ("tcp-close", None, "Close TCP connections"),
];

criu::unused_arguments!("Make a container of what checkpoint has saved (not supported yet)", FLAGS);

pub fn run(args: Args, _globals: &Globals) -> anyhow::Result<ExitCode> {
    criu::refuse("restore").with_context(|| format!("container {:?}", args.id))
}
