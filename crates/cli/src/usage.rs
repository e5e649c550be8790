//! What is wrong with a command line, in the words of runc: Podman and scripts match some of them.
//!
//! Runs in: any process.

use std::ffi::OsStr;
use std::fmt;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

use crate::PROGRAM;

/// A command line that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError {
    text: String,
    /// How the command is called, where it is known which one is meant.
    pub usage: Option<String>,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for UsageError {}

impl UsageError {
    fn new(text: String) -> Self {
        Self { text, usage: None }
    }

    pub fn unknown_command(name: &OsStr) -> Self {
        let name = name.display();
        Self::new(format!("No help topic for '{name}': {PROGRAM} has no such command"))
    }

    pub fn unknown_flag(word: &OsStr) -> Self {
        let word = word.display().to_string();
        let name = word.trim_start_matches('-');
        Self::new(format!("flag provided but not defined: -{name}"))
    }

    /// The text that Podman's probe of `restore --lsm-mount-context` looks for.
    pub fn missing_value(name: &str) -> Self {
        Self::new(format!("flag needs an argument: --{name}"))
    }

    pub fn bad_bool(name: &str, value: &OsStr) -> Self {
        let value = value.display().to_string();
        Self::new(format!("invalid boolean value {value:?} for -{name}: not true or false"))
    }

    /// `count` operands were given to a command that takes another number of them.
    pub fn operands(command: &Command, count: usize) -> Option<Self> {
        let (least, most) = operand_range(command);
        let rule = match () {
            () if (least..=most).contains(&count) => return None,
            () if least == most => format!("exactly {most}"),
            () if count < least => format!("a minimum of {least}"),
            () => format!("a maximum of {most}"),
        };
        let name = command.get_name();
        Some(Self::new(format!("{PROGRAM}: {name:?} requires {rule} argument(s)")))
    }

    /// What clap says of a value, one line of it.
    pub fn from_clap(error: &clap::Error) -> Self {
        let context = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => text.as_str(),
            _ => "",
        };
        let flag = context(ContextKind::InvalidArg).split(' ').next().unwrap_or_default();
        let flag = flag.trim_start_matches('-');
        match error.kind() {
            ErrorKind::InvalidValue if context(ContextKind::InvalidValue).is_empty() => {
                Self::missing_value(flag)
            }
            ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
                let value = context(ContextKind::InvalidValue);
                let reason = std::error::Error::source(error).map_or_else(
                    || "not one of the values that it takes".into(),
                    ToString::to_string,
                );
                Self::new(format!("invalid value {value:?} for flag -{flag}: {reason}"))
            }
            _ => Self::new(one_line(&error.to_string())),
        }
    }

    /// Says how `command` is called.
    pub fn for_command(mut self, command: &mut Command) -> Self {
        self.usage = Some(one_line(&command.render_usage().to_string()));
        self
    }
}

fn operand_range(command: &Command) -> (usize, usize) {
    let least = command.get_positionals().filter(|operand| operand.is_required_set()).count();
    let takes_the_rest = command.get_positionals().any(Arg::is_trailing_var_arg_set);
    (least, if takes_the_rest { usize::MAX } else { command.get_positionals().count() })
}

fn one_line(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}
