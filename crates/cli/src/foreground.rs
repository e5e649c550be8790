//! A command that stays with the container's process until it ends: signals, terminal, reaping, exit code.
//!
//! One loop over poll(2) and no handler: all signals are blocked and read from a signalfd. They are blocked before the
//! process exists, so that none is lost; init gives the process an empty mask.
//!
//! Runs in: runtime.

use crate::exit::ExitCode;
use std::io;
use std::os::fd::AsFd;

use anyhow::Context;
use libcontainer::{
    Console, Container, ContainerProcess, CreateOptions, Error, ExecOptions, ExitStatus, Signal,
};
use nix::sys::signal::{SigSet, SigmaskHow, Signal as Known, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use rustix::event::{PollFd, PollFlags, poll};

use crate::commands;
use crate::notify::Notify;
use crate::terminal::Terminal;

/// Runs a container and returns the exit code of its process: its own, or 128 and the number of the signal that ended it.
pub fn run(mut options: CreateOptions, subreaper: bool, keep: bool) -> anyhow::Result<ExitCode> {
    let signals = block_signals().context("block signals")?;
    if subreaper
        // Any pid says yes (`PR_SET_CHILD_SUBREAPER` takes a number that is not 0).
        && let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::Pid::INIT))
    {
        log::warn!("become a subreaper: {error}");
    }
    options.console = Some(Console::Receive);
    let (mut terminal, mut notify) = (Ok(None), None);
    let ran = Container::run_prepared(&options, |socket| {
        terminal = socket.map_or(Ok(None), Terminal::receive);
        notify = Notify::listen(&options.root, &options.id);
    });
    let (container, init) = ran?;
    let outcome = terminal
        .context("receive the terminal of the container")
        .and_then(|terminal| stay(&signals, &init, terminal, notify.as_ref()));
    if outcome.is_err() || !keep {
        delete(&container, outcome.is_ok());
    }
    // The end of this process closes them all at once.
    std::mem::forget((container, init, signals));
    Ok(exit_code(outcome?))
}

/// Executes a process in a container and returns its exit code, as [`run`] does.
pub fn exec(container: &Container, mut options: ExecOptions) -> anyhow::Result<ExitCode> {
    let signals = block_signals().context("block signals")?;
    options.console = Some(Console::Receive);
    let mut terminal = Ok(None);
    let process = container.exec_prepared(&options, |socket| {
        terminal = socket.map_or(Ok(None), Terminal::receive);
    })?;
    let outcome = terminal
        .context("receive the terminal of the process")
        .and_then(|terminal| stay(&signals, &process, terminal, None));
    if outcome.is_err()
        && let Err(error) = process.signal(Signal::KILL)
    {
        log::debug!("{:#}", anyhow::Error::new(error));
    }
    // The end of this process closes them all at once.
    std::mem::forget((process, signals));
    Ok(exit_code(outcome?))
}

/// By force only where the process may live: without it, no process of somebody else is killed that is in the cgroup or below.
fn delete(container: &Container, has_ended: bool) {
    match container.remove(!has_ended) {
        Ok(problems) => commands::delete::warn(problems),
        // Somebody else was faster.
        Err(Error::NotFound { .. }) => {}
        // What the process has returned is still what the caller wants to know.
        Err(error) => log::error!("delete container: {:#}", anyhow::Error::new(error)),
    }
}

/// Blocks all signals but those that the kernel raises for faults of this program, and returns where to read them.
fn block_signals() -> io::Result<SignalFd> {
    let mut set = SigSet::all();
    for fault in [Known::SIGSEGV, Known::SIGBUS, Known::SIGFPE, Known::SIGILL] {
        set.remove(fault);
    }
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Stays until init has ended and all of its output is written.
fn stay(
    signals: &SignalFd,
    init: &ContainerProcess,
    mut terminal: Option<Terminal>,
    notify: Option<&Notify>,
) -> anyhow::Result<ExitStatus> {
    let mut ended = None;
    loop {
        let ready =
            wait(signals, init, ended.is_some(), terminal.as_ref(), notify).context("poll")?;
        if let Some(notify) = notify {
            // We are the process to watch: we stay as long as the container's, and end as it does.
            notify.relay(std::process::id());
        }
        if ready.init {
            ended = Some(init.wait()?);
            terminal.iter_mut().for_each(Terminal::finish);
        }
        terminal.iter_mut().for_each(Terminal::relay);
        if ready.nothing {
            terminal.iter_mut().for_each(Terminal::settle);
        }
        match ended {
            Some(status) if terminal.as_ref().is_none_or(Terminal::is_finished) => {
                return Ok(status);
            }
            _ => {}
        }
        while ready.signal
            && let Some(info) = signals.read_signal().context("read a signal")?
        {
            let interrupts = receive(info.ssi_signo, init, ended.is_some(), terminal.as_mut());
            if let (true, Some(status)) = (interrupts, ended) {
                return Ok(status);
            }
        }
    }
}

/// What there is to do.
struct Ready {
    signal: bool,
    init: bool,
    /// The terminal's patience is at its end.
    nothing: bool,
}

/// Sleeps until there is something to do.
fn wait(
    signals: &SignalFd,
    init: &ContainerProcess,
    ended: bool,
    terminal: Option<&Terminal>,
    notify: Option<&Notify>,
) -> io::Result<Ready> {
    let pidfd = init.pidfd();
    let mut fds = vec![PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
    if let Some(terminal) = terminal {
        terminal.watch(&mut fds);
    }
    fds.extend(notify.map(|notify| PollFd::from_borrowed_fd(notify.fd(), PollFlags::IN)));
    if !ended {
        fds.push(PollFd::from_borrowed_fd(pidfd, PollFlags::IN));
    }
    let nothing = match poll(&mut fds, terminal.and_then(Terminal::patience)) {
        Ok(count) => count == 0,
        Err(rustix::io::Errno::INTR) => false,
        Err(errno) => return Err(errno.into()),
    };
    let is_ready = |fd: Option<&PollFd<'_>>| fd.is_some_and(|fd| !fd.revents().is_empty());
    Ok(Ready { signal: is_ready(fds.first()), init: !ended && is_ready(fds.last()), nothing })
}

/// Does what one signal asks for. `true`: it would have ended a process that no longer is.
fn receive(
    number: u32,
    init: &ContainerProcess,
    ended: bool,
    terminal: Option<&mut Terminal>,
) -> bool {
    match (Fate::of(number), terminal) {
        (Fate::Reap, _) => reap_others(init.pid()),
        (Fate::Resize, Some(terminal)) => terminal.resize(),
        (Fate::Resize, None) => {}
        (Fate::Forward(_), _) if ended => return true,
        (Fate::Forward(signal), terminal) => {
            if let Err(error) = init.signal(signal) {
                log::debug!("{:#}", anyhow::Error::new(error));
            }
            if is(number, Known::SIGCONT) {
                terminal.into_iter().for_each(Terminal::resume);
            }
        }
    }
    false
}

/// What becomes of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// SIGCHLD is about our own children.
    Reap,
    /// SIGWINCH is about our own terminal: the container's gets the new size, and its process a SIGWINCH from the kernel.
    Resize,
    Forward(Signal),
}

impl Fate {
    fn of(number: u32) -> Self {
        match i32::try_from(number).ok().and_then(Signal::from_number) {
            _ if is(number, Known::SIGCHLD) => Self::Reap,
            _ if is(number, Known::SIGWINCH) => Self::Resize,
            Some(signal) => Self::Forward(signal),
            None => Self::Reap,
        }
    }
}

fn is(number: u32, known: Known) -> bool {
    i32::try_from(number) == Ok(known as i32)
}

/// Reaps what the container or a hook has left to us; init is left for [`ContainerProcess::wait`].
fn reap_others(init: i32) {
    let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    // An error says that there is no child.
    while let Ok(status) = waitid(Id::All, peek) {
        match status.pid() {
            Some(pid) if pid.as_raw() != init => drop(waitpid(pid, Some(WaitPidFlag::WNOHANG))),
            _ => return,
        }
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = match status {
        ExitStatus::Exited(code) => code,
        ExitStatus::Signaled(number) => 128 + number,
    };
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(number: u32) -> Option<i32> {
        match Fate::of(number) {
            Fate::Forward(signal) => Some(signal.number()),
            _ => None,
        }
    }

    #[test]
    fn signals_are_forwarded_all_but_two() {
        let kept: Vec<u32> = (1..=64).filter(|number| forwarded(*number).is_none()).collect();
        assert_eq!(kept, [17, 28]);
    }

    #[test]
    fn forwarded_signal_keeps_its_number() {
        assert_eq!(forwarded(15), Some(15));
        assert_eq!(forwarded(64), Some(64));
    }

    #[test]
    fn exit_code_is_the_process_s_own_or_128_and_the_signal() {
        assert_eq!(exit_code(ExitStatus::Exited(0)), ExitCode::SUCCESS);
        assert_eq!(exit_code(ExitStatus::Exited(255)), ExitCode::from(255));
        assert_eq!(exit_code(ExitStatus::Signaled(9)), ExitCode::from(137));
    }
}
