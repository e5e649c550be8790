//! The command line of corten: runc's, to the letter where callers depend on it.
//!
//! A call goes through three stages. [`argv`] sorts the words, in every spelling that runc's callers use, into global
//! flags and the command's own. [`args`] and one `struct Args` per file of [`commands`] give them types. The command
//! calls libcontainer and prints its result; what fails is printed once, by [`report`].
//!
//! Runs in: runtime.

mod args;
mod argv;
mod commands;
mod exit;
mod fds;
mod foreground;
mod log;
mod notify;
mod report;
mod terminal;
mod usage;

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};

use anyhow::Context;
use args::{GlobalArgs, Globals};
use argv::CommandLine;
use clap::ArgMatches;
use commands::Entry;
use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use usage::UsageError;

pub use args::command_tree;
pub use exit::ExitCode;

/// What the program is called in every text.
const PROGRAM: &str = "corten";

/// Does what the process was called for; returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    if let Err(error) = prepare_process() {
        return report::failure(&error);
    }
    let globals = GlobalArgs::command();
    let line = CommandLine::split(env::args_os().skip(1), &globals, |name| {
        commands::find(name).map(Entry::command)
    });
    GlobalArgs::parse(globals, &line.globals)
        .and_then(|globals| dispatch(&globals, &line))
        .unwrap_or_else(|error| report::failure(&error))
}

/// What std's own start does for a program and ours (`src/main.rs`) leaves to us: fds 0 to 2 are open, so that no file of ours
/// becomes the stdio of a container.
fn prepare_process() -> anyhow::Result<()> {
    let stdio = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let mut fds = stdio.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::empty()));
    rustix::event::poll(&mut fds, Some(&Timespec::default())).context("look at stdio")?;
    for fd in &fds {
        if fd.revents().contains(PollFlags::NVAL) {
            // The lowest number that is free: the one that is missing. It stays open, also in a container.
            let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty());
            std::mem::forget(null.context("open /dev/null in place of a closed fd of stdio")?);
        }
    }
    Ok(())
}

/// A reader that is gone is an error of write(2), and no signal. It is blocked and not ignored: ignored signals survive execve,
/// and init empties the mask. (A `run` that stays blocks all signals.)
fn block_sigpipe() -> anyhow::Result<()> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGPIPE);
    set.thread_block().context("block SIGPIPE")
}

fn dispatch(globals: &GlobalArgs, line: &CommandLine) -> anyhow::Result<ExitCode> {
    // Before anything is opened here: no file of ours may become a fd that the container was promised.
    let invocation = invocation(line);
    log::open(globals)?;
    ::log::debug!("{}", commands::version::called());
    if globals.version {
        return commands::version::print();
    }
    if globals.help {
        return help(None);
    }
    match invocation? {
        Invocation::Help(topic) => help(topic.as_deref()),
        Invocation::Command(entry, mut matches) => {
            let globals = Globals::resolve(globals)?;
            if !entry.blocks_signals() {
                block_sigpipe()?;
            }
            let outcome = entry.run(&mut matches, &globals);
            globals.write_trace();
            outcome
        }
    }
}

enum Invocation {
    Help(Option<OsString>),
    Command(&'static Entry, ArgMatches),
}

fn invocation(line: &CommandLine) -> anyhow::Result<Invocation> {
    if let Some(problem) = &line.problem {
        return Err(problem.clone().into());
    }
    let Some(name) = &line.command else { return Ok(Invocation::Help(None)) };
    if name == "help" {
        return Ok(Invocation::Help(line.operands.first().cloned()));
    }
    let Some(entry) = find(name) else { return Err(UsageError::unknown_command(name).into()) };
    if line.help {
        return Ok(Invocation::Help(Some(name.clone())));
    }
    let matches = entry.parse(line)?;
    let preserved = fds::check_preserved(&matches, name != "exec");
    if name == "exec" {
        preserved.context(commands::exec::ExecFailed)?;
    } else {
        preserved.with_context(|| format!("{PROGRAM} {} failed", name.display()))?;
    }
    Ok(Invocation::Command(entry, matches))
}

fn find(name: &OsStr) -> Option<&'static Entry> {
    name.to_str().and_then(commands::find)
}

fn help(topic: Option<&OsStr>) -> anyhow::Result<ExitCode> {
    let text = match topic {
        None => command_tree().render_help().to_string(),
        Some(name) => find(name).ok_or_else(|| UsageError::unknown_command(name))?.help(),
    };
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes to stdout.
fn print(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(anyhow::Error::new)?;
    Ok(())
}
