//! A ptrace stepper: runs a program and kills it, or its children, at the entry of the Nth system call.
//!
//! Runs in: any process.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use nix::errno::Errno;
use nix::libc::{PTRACE_EVENT_EXEC, PTRACE_SYSCALL_INFO_ENTRY};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// No verb takes this long; a runtime that does waits for something that will never come.
const PATIENCE: Duration = Duration::from_secs(10);
/// After the runtime's end init may have some calls left; this long without one, it waits.
const QUIET: Duration = Duration::from_millis(30);

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Victim {
    /// The program itself. Its children are not traced: what they do when it dies is theirs.
    Runtime,
    /// Its children, until they run the user's program. The runtime sees them die.
    Init,
}

impl Victim {
    pub fn name(self) -> &'static str {
        match self {
            Self::Runtime => "runtime",
            Self::Init => "init",
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The victim was killed at the entry of this system call.
    Killed(String),
    /// The victim was killed, and the runtime then had to be.
    Hung,
    /// The victim makes fewer system calls than that.
    Finished,
}

/// One run of a program under the stepper.
#[derive(Debug)]
struct Step {
    runtime: Pid,
    victim: Victim,
    /// The system call at whose entry the victim dies, from 1.
    point: u32,
    calls: u32,
    children: BTreeSet<Pid>,
    /// Executions by children: the first is init's own, the second the user's program.
    executions: u32,
    killed: Option<String>,
    runtime_ended: bool,
}

/// Runs `command` and kills the victim at its `point`th system call.
///
/// `running` is an init that an earlier command left waiting; it is stepped through as a child would be.
pub fn step(
    command: &mut Command,
    victim: Victim,
    point: u32,
    running: Option<Pid>,
) -> Result<End> {
    let mut step = Step {
        runtime: begin(command, victim)?,
        victim,
        point,
        calls: 0,
        children: BTreeSet::new(),
        executions: 0,
        killed: None,
        runtime_ended: false,
    };
    if let (Victim::Init, Some(init)) = (victim, running) {
        step.executions = 1;
        step.children.insert(init);
        ptrace::seize(init, options(victim)).context("seize init")?;
        ptrace::interrupt(init)?;
    }
    step.resume(step.runtime, None)?;
    let watchdog = Watchdog::on(step.runtime);
    step.follow()?;
    let hung = watchdog.bit();
    step.abandon();
    Ok(match step.killed {
        _ if hung => End::Hung,
        Some(call) => End::Killed(call),
        None => End::Finished,
    })
}

fn options(victim: Victim) -> Options {
    // Without TRACEEXEC an execve is told by a SIGTRAP that would have to be told from a real one.
    let plain =
        Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL | Options::PTRACE_O_TRACEEXEC;
    let children =
        Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK;
    match victim {
        Victim::Runtime => plain,
        Victim::Init => plain | children,
    }
}

/// Starts the program by this one's hidden task `traced`; it is stopped right after execve when this returns.
fn begin(command: &Command, victim: Victim) -> Result<Pid> {
    let mut traced = Command::new(std::env::current_exe()?);
    traced.arg("traced").arg(command.get_program()).args(command.get_args());
    traced.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    traced.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = traced.spawn()?;
    // From here on the child is waited for as a tracee; dropping a `Child` does nothing.
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    match waitpid(pid, Some(WaitPidFlag::__WALL))? {
        WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
        other => bail!("{}: {other:?}", command.get_program().display()),
    }
    ptrace::setoptions(pid, options(victim))?;
    Ok(pid)
}

impl Step {
    /// Handles events until the runtime has ended and nothing more is to be expected of the victim.
    fn follow(&mut self) -> Result<()> {
        let mut quiet_since = Instant::now();
        loop {
            let waiting_for_init =
                self.victim == Victim::Init && self.killed.is_none() && !self.children.is_empty();
            if self.runtime_ended && !waiting_for_init {
                return Ok(());
            }
            // Once the runtime has ended, init alone may block for ever.
            let flags = if self.runtime_ended {
                WaitPidFlag::__WALL | WaitPidFlag::WNOHANG
            } else {
                WaitPidFlag::__WALL
            };
            match waitpid(None, Some(flags)) {
                Ok(WaitStatus::StillAlive) if quiet_since.elapsed() > QUIET => return Ok(()),
                Ok(WaitStatus::StillAlive) => sleep(Duration::from_micros(200)),
                Ok(status) => {
                    self.handle(status)?;
                    quiet_since = Instant::now();
                }
                Err(Errno::ECHILD) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn handle(&mut self, status: WaitStatus) -> Result<()> {
        match status {
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => {
                self.runtime_ended |= pid == self.runtime;
                self.children.remove(&pid);
                Ok(())
            }
            WaitStatus::PtraceSyscall(pid) => self.system_call(pid),
            WaitStatus::PtraceEvent(pid, _, PTRACE_EVENT_EXEC) if pid != self.runtime => {
                self.execution(pid)
            }
            WaitStatus::PtraceEvent(pid, ..) => self.resume(pid, None),
            // A new child begins with a SIGSTOP, sometimes before its parent's event is seen.
            WaitStatus::Stopped(pid, Signal::SIGSTOP)
                if pid != self.runtime && self.children.insert(pid) =>
            {
                self.resume(pid, None)
            }
            WaitStatus::Stopped(pid, signal) => self.resume(pid, Some(signal)),
            WaitStatus::Continued(_) | WaitStatus::StillAlive => Ok(()),
        }
    }

    /// A child runs another program: init first, then the user's, which is let go.
    fn execution(&mut self, pid: Pid) -> Result<()> {
        self.executions += 1;
        if self.executions < 2 {
            return self.resume(pid, None);
        }
        self.children.remove(&pid);
        gone(ptrace::detach(pid, None))
    }

    fn system_call(&mut self, pid: Pid) -> Result<()> {
        let entry =
            ptrace::syscall_info(pid).is_ok_and(|info| info.op == PTRACE_SYSCALL_INFO_ENTRY);
        if entry && self.killed.is_none() {
            self.calls += 1;
            if self.calls == self.point {
                self.killed = Some(call_name(pid));
                return gone(kill(pid, Signal::SIGKILL));
            }
        }
        self.resume(pid, None)
    }

    /// The victim goes on to its next system call, everyone else until an event.
    fn resume(&self, pid: Pid, signal: Option<Signal>) -> Result<()> {
        let stepped = (pid == self.runtime) == (self.victim == Victim::Runtime);
        gone(if stepped { ptrace::syscall(pid, signal) } else { ptrace::cont(pid, signal) })
    }

    /// Ends children that are still traced: init waits for a `start` that will not come.
    fn abandon(&self) {
        for pid in &self.children {
            // It may have ended since.
            kill(*pid, Signal::SIGKILL).ok();
        }
    }
}

/// A process that another one has killed meanwhile is no error.
fn gone(result: nix::Result<()>) -> Result<()> {
    match result {
        Err(Errno::ESRCH) => Ok(()),
        other => Ok(other?),
    }
}

/// The name (from the C library's header, where there is one) or number of the call that the process is about to make.
fn call_name(pid: Pid) -> String {
    let line = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let number = line.split(' ').next().unwrap_or("?");
    let headers =
        ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm-generic/unistd.h"];
    let header =
        headers.iter().find_map(|header| fs::read_to_string(header).ok()).unwrap_or_default();
    let mut names =
        header.lines().filter_map(|line| line.strip_prefix("#define __NR_")?.split_once(' '));
    names
        .find(|(_, value)| *value == number)
        .map_or_else(|| number.to_owned(), |(name, _)| name.to_owned())
}

/// Kills a process that takes too long.
#[derive(Debug)]
pub struct Watchdog {
    done: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Watchdog {
    pub fn on(pid: Pid) -> Self {
        let (done, waiting) = mpsc::channel();
        let thread = thread::spawn(move || {
            let late = waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
            late && kill(pid, Signal::SIGKILL).is_ok()
        });
        Self { done, thread }
    }

    /// Ends the watch and tells whether it had to kill.
    pub fn bit(self) -> bool {
        drop(self.done);
        self.thread.join().unwrap_or(false)
    }
}
