//! One file per command: `struct Args` is its flags and operands, `run` does it.
//!
//! Runs in: runtime.

mod checkpoint;
mod create;
mod create_flags;
mod criu;
pub mod delete;
mod events;
pub mod exec;
mod features;
mod kill;
mod list;
mod pause;
mod plan;
mod ps;
mod restore;
mod resume;
pub mod run;
mod spec;
mod start;
mod state;
mod update;
pub mod version;

use crate::exit::ExitCode;

use anyhow::bail;
use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};

use crate::args::Globals;
use crate::argv::CommandLine;
use crate::usage::UsageError;

/// A command, by its name.
///
/// Its arguments are declared only when it is the one that was called: declaring all of them takes as long as `state`.
pub struct Entry {
    name: &'static str,
    declare: fn(Command) -> Command,
    run: fn(&mut ArgMatches, &Globals) -> anyhow::Result<ExitCode>,
}

macro_rules! commands {
    ($($name:ident),* $(,)?) => {
        /// All commands, in the order of `--help`.
        pub const ALL: &[Entry] = &[$(Entry {
            name: stringify!($name),
            declare: $name::Args::augment_args,
            run: |matches, globals| {
                let args = $name::Args::from_arg_matches_mut(matches);
                $name::run(args.map_err(|error| UsageError::from_clap(&error))?, globals)
            },
        }),*];
    };
}

// One a line, and in braces, which rustfmt leaves alone: several people add to it.
commands! {
    checkpoint,
    create,
    delete,
    events,
    exec,
    features,
    kill,
    list,
    pause,
    plan,
    ps,
    restore,
    resume,
    run,
    spec,
    start,
    state,
    update,
    version,
}

/// The command of this name.
pub fn find(name: &str) -> Option<&'static Entry> {
    ALL.iter().find(|entry| entry.name == name)
}

impl Entry {
    /// The declaration of its flags and operands.
    pub fn command(&self) -> Command {
        let command = Command::new(self.name).bin_name(format!("{} {}", crate::PROGRAM, self.name));
        (self.declare)(command.no_binary_name(true).args_override_self(true))
    }

    /// What `--help` prints, in the form of runc.
    pub fn help(&self) -> String {
        let command = self.command();
        let operands = match command.get_positionals().next() {
            Some(_) => "ARGUMENTS:\n{positionals}\n\n",
            None => "",
        };
        let form = format!(
            "NAME:\n   {} {} - {{about}}\n\nUSAGE:\n   {{usage}}\n\n{operands}OPTIONS:\n{{options}}\n",
            crate::PROGRAM,
            self.name
        );
        command.help_template(form).render_help().to_string()
    }

    /// Types its part of the command line.
    pub fn parse(&self, line: &CommandLine) -> anyhow::Result<ArgMatches> {
        let mut command = self.command();
        let wrong = UsageError::operands(&command, line.operands.len());
        let parsed = match wrong {
            Some(error) => Err(error),
            None => command
                .try_get_matches_from_mut(line.arguments())
                .map_err(|error| UsageError::from_clap(&error)),
        };
        Ok(parsed.map_err(|error| error.for_command(&mut command))?)
    }

    /// Whether it blocks signals itself, where it stays until a container's process has ended.
    pub fn blocks_signals(&self) -> bool {
        matches!(self.name, "run" | "exec")
    }

    /// Does it.
    pub fn run(&self, matches: &mut ArgMatches, globals: &Globals) -> anyhow::Result<ExitCode> {
        (self.run)(matches, globals)
    }
}

/// The operand of the commands that act on one container.
#[derive(Debug, clap::Args)]
struct ContainerId {
    /// The name of the container, unique below --root
    #[arg(value_name = "container-id", required = true)]
    id: String,
}

impl ContainerId {
    fn get(&self) -> anyhow::Result<&str> {
        if self.id.is_empty() {
            bail!("container id cannot be empty");
        }
        Ok(&self.id)
    }
}
