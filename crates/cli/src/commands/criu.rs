//! `checkpoint` and `restore`: their flags are known, for callers that ask for them; what they do is not there yet.
//!
//! Runs in: any process.

use anyhow::bail;
use clap::{Arg, ArgAction, Command};

use crate::exit::ExitCode;

/// A flag: its name, the name of its value if it takes one, and what `--help` says.
pub type Flag = (&'static str, Option<&'static str>, &'static str);

/// The flags that both have.
const COMMON: &[Flag] = &[
    ("image-path", Some("DIR"), "Where the image files of CRIU are"),
    ("work-path", Some("DIR"), "Where CRIU writes its logs and other files"),
    ("tcp-established", None, "Allow open TCP connections"),
    ("ext-unix-sk", None, "Allow unix sockets whose other end is outside"),
    ("shell-job", None, "Allow a process that shares the caller's terminal"),
    ("lazy-pages", None, "Restore the memory on demand, by userfaultfd"),
    ("file-locks", None, "Allow file locks"),
    ("manage-cgroups-mode", Some("soft|full|strict|ignore"), "What CRIU does with cgroups"),
    ("empty-ns", Some("network"), "Make this namespace anew, without its contents"),
    ("auto-dedup", None, "Remove pages from the image that are in a later one"),
    // crun's: conmon passes on what Podman was told, whatever the runtime is.
    ("network-lock", Some("iptables|nftables"), "How CRIU stops the network"),
];

/// Declares flags and the one operand.
pub fn declare(command: Command, about: &'static str, flags: &'static [Flag]) -> Command {
    let flags = COMMON.iter().chain(flags).map(|(name, value, help)| {
        let flag = Arg::new(*name).long(*name).help(*help).short(match *name {
            "bundle" => Some('b'),
            "detach" => Some('d'),
            _ => None,
        });
        match (value, *name) {
            (None, _) => flag.action(ArgAction::SetTrue),
            (Some(value), "empty-ns") => flag.value_name(*value).action(ArgAction::Append),
            (Some(value), _) => flag.value_name(*value),
        }
    });
    let id = Arg::new("id").value_name("container-id").required(true);
    command.about(about).args(flags).arg(id.help("The name of the container, unique below --root"))
}

/// The answer of both.
pub fn refuse(what: &str) -> anyhow::Result<ExitCode> {
    bail!("{what} is not supported yet: this version of corten cannot drive CRIU")
}

/// The type of a command's arguments, of which nothing is used.
macro_rules! unused_arguments {
    ($about:literal, $flags:expr) => {
        /// Its flags are taken and not looked at.
        #[derive(Debug)]
        pub struct Args {
            id: String,
        }

        impl clap::Args for Args {
            fn augment_args(command: clap::Command) -> clap::Command {
                super::criu::declare(command, $about, $flags)
            }

            fn augment_args_for_update(command: clap::Command) -> clap::Command {
                Self::augment_args(command)
            }
        }

        impl clap::FromArgMatches for Args {
            fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
                let id = matches.get_one::<String>("id").cloned();
                Ok(Self { id: id.unwrap_or_default() })
            }

            fn update_from_arg_matches(
                &mut self,
                matches: &clap::ArgMatches,
            ) -> Result<(), clap::Error> {
                *self = <Self as clap::FromArgMatches>::from_arg_matches(matches)?;
                Ok(())
            }
        }
    };
}
pub(super) use unused_arguments;
