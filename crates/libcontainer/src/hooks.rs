//! Running one hook on the host: state on stdin, a deadline, and an end to all that it started.
//!
//! Nothing here trusts the hook to behave: it may not read its state, may write without end, may leave children that
//! hold its output open, or never return. So we wait for the process, not for the end of its output; on a timeout the
//! whole process group is killed. A hook that succeeds may leave a daemon behind; that lives on.
//!
//! Safe to call from any thread of any program: no signal handler, no SIGCHLD, no change to the calling process.
//!
//! Runs in: runtime.

use std::collections::VecDeque;
use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Pid;

use crate::error::{Error, HookError};
use crate::runtime::stdio;
use crate::signal::Signal;
use crate::spec;
use crate::state::StateDir;
use crate::sys::program::{self, Program, ProgramError};
use crate::sys::spawn::Child;
use crate::sys::wait::ExitStatus;
use crate::sys::{pidfd, wait};

/// How much of what the hook writes an error shows: the last of it.
const OUTPUT_SHOWN: usize = 4096;
/// How much is read after its end: what the pipe held, and a bound should a child of it go on writing.
const OUTPUT_LEFT: usize = 1 << 20;
/// How long a killed hook may take to be gone; longer only in uninterruptible sleep.
const KILL_DEADLINE: Duration = Duration::from_secs(2);

/// What the hooks that run at one moment have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene<'a> {
    /// What each reads on stdin.
    pub state: &'a [u8],
    /// The environment of one that has none of its own.
    pub environment: &'a [OsString],
    /// The working directory.
    pub cwd: &'a Path,
    /// A pidfd of the process that none of them may outlive.
    pub init: Option<BorrowedFd<'a>>,
    /// The files that stdout and stderr are appended to, in place of what an error shows.
    pub outputs: [Option<&'a Path>; 2],
    /// Where it is recorded which one runs.
    pub dir: Option<&'a StateDir>,
}

/// Runs `hook` to its end.
///
/// # Errors
/// [`Error::Hook`]: it cannot be started or waited for, did not exit with 0, ran past its timeout, or init has ended; [`Error::State`].
pub(crate) fn run(
    kind: &'static str,
    index: usize,
    hook: &spec::Hook,
    scene: &Scene<'_>,
) -> Result<(), Error> {
    let record = scene.dir.map(|dir| dir.record_hook(kind)).transpose()?.flatten();
    let result = execute(hook, scene, record.as_ref().map(AsFd::as_fd));
    if let (Some(dir), Some(_)) = (scene.dir, record) {
        dir.forget_hook(kind);
    }
    result.map_err(|source| Error::Hook { kind, index, path: hook.path.clone().into(), source })
}

fn execute(
    hook: &spec::Hook,
    scene: &Scene<'_>,
    announce: Option<BorrowedFd<'_>>,
) -> Result<(), HookError> {
    let (running, state) = start(hook, scene, announce).map_err(HookError::Start)?;
    running.finish(state, hook.timeout, scene.init)
}

/// Runs a program of the host that is no hook, in the same way: with this environment, in `/`, without input.
///
/// # Errors
/// As [`HookError`] has it.
pub(crate) fn run_program(
    path: &Path,
    arguments: Vec<String>,
    timeout: Duration,
) -> Result<(), HookError> {
    let Some(text) = path.to_str() else {
        return Err(HookError::Start(io::ErrorKind::InvalidInput.into()));
    };
    let program = spec::Hook {
        path: text.to_owned(),
        args: std::iter::once(text.to_owned()).chain(arguments).collect(),
        env: Some(Vec::new()),
        timeout: timeout.as_secs().try_into().ok(),
    };
    let scene = Scene {
        state: &[],
        environment: &[],
        cwd: Path::new("/"),
        init: None,
        outputs: [None, None],
        dir: None,
    };
    execute(&program, &scene, None)
}

/// What has ended first.
#[derive(Debug)]
enum Ended {
    /// The hook.
    Itself,
    /// The time that it has.
    Time,
    /// The container's init: the container that it works for will not be.
    Init,
}

/// A started hook.
#[derive(Debug)]
struct Running {
    child: Child,
    output: Output,
}

fn start<'a>(
    hook: &spec::Hook,
    scene: &Scene<'a>,
    announce: Option<BorrowedFd<'_>>,
) -> io::Result<(Running, State<'a>)> {
    let path = CString::new(hook.path.as_bytes())?;
    let argv = c_strings(hook.args.iter().map(String::as_bytes))?;
    let environment = match &hook.env {
        Some(own) => c_strings(own.iter().map(String::as_bytes))?,
        None => c_strings(scene.environment.iter().map(|entry| entry.as_bytes()))?,
    };
    let cwd = CString::new(scene.cwd.as_os_str().as_bytes())?;
    let (stdin, state_end) = pipe()?;
    let (output_end, output) = pipe()?;
    let files = scene.outputs.map(|path| path.map(append_to).transpose());
    let [stdout, stderr] = files;
    let files = [stdout?, stderr?];
    set_nonblocking(&state_end)?;
    set_nonblocking(&output_end)?;
    let mut argv: Vec<&CStr> = argv.iter().map(CString::as_c_str).collect();
    if argv.is_empty() {
        argv.push(&path);
    }
    let child = program::start(&Program {
        path: &path,
        argv: &argv,
        environment: &environment.iter().map(CString::as_c_str).collect::<Vec<_>>(),
        cwd: &cwd,
        stdin: stdin.as_fd(),
        outputs: files.each_ref().map(|file| file.as_ref().unwrap_or(&output).as_fd()),
        announce,
    });
    let child = child.map_err(|error| match error {
        ProgramError::Exec(source) => source,
        ProgramError::Cwd(source) => {
            io::Error::new(source.kind(), format!("chdir to {}: {source}", cwd.to_string_lossy()))
        }
    })?;
    let output = Output { pipe: Some(output_end), last: VecDeque::new() };
    Ok((Running { child, output }, State { rest: scene.state, pipe: Some((state_end, stdin)) }))
}

impl Running {
    fn finish(
        mut self,
        mut state: State<'_>,
        timeout: Option<i64>,
        init: Option<BorrowedFd<'_>>,
    ) -> Result<(), HookError> {
        let limit = timeout.map(|seconds| Duration::from_secs(seconds.try_into().unwrap_or(0)));
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        match self.wait(&mut state, until, init) {
            Ok(Ended::Itself) => self.judge(),
            Ok(Ended::Init) => {
                self.kill();
                Err(HookError::InitEnded { output: self.output.text() })
            }
            Ok(Ended::Time) => {
                self.kill();
                let seconds = limit.unwrap_or_default().as_secs_f64();
                Err(HookError::Timeout { seconds, output: self.output.text() })
            }
            Err(errno) => {
                self.kill();
                Err(HookError::Wait(errno.into()))
            }
        }
    }

    /// Feeds the state and collects the output until the first of the three has ended.
    fn wait(
        &mut self,
        state: &mut State<'_>,
        until: Option<Instant>,
        init: Option<BorrowedFd<'_>>,
    ) -> rustix::io::Result<Ended> {
        loop {
            state.feed()?;
            let timeout = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(left) if left.is_zero() => return Ok(Ended::Time),
                left => left.map(timespec),
            };
            let mut fds = vec![PollFd::new(&self.child.pidfd, PollFlags::IN)];
            fds.extend(self.output.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            fds.extend(state.pipe.as_ref().map(|(pipe, _)| PollFd::new(pipe, PollFlags::OUT)));
            fds.extend(init.map(|init| PollFd::from_borrowed_fd(init, PollFlags::IN)));
            match rustix::event::poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
            let is_ready = |fd: Option<&PollFd<'_>>| fd.is_some_and(|fd| !fd.revents().is_empty());
            let init_has_ended = init.is_some() && is_ready(fds.last());
            if is_ready(fds.first()) {
                self.output.read(OUTPUT_LEFT)?;
                return Ok(Ended::Itself);
            }
            if init_has_ended {
                return Ok(Ended::Init);
            }
            self.output.read(1)?;
        }
    }

    /// What its exit status means.
    fn judge(mut self) -> Result<(), HookError> {
        let pidfd = self.child.pidfd.as_fd();
        let status = match wait::wait(pidfd) {
            Ok(ExitStatus::Exited(0)) => return Ok(()),
            Ok(status) => text(status),
            // The caller ignores SIGCHLD, or waits for any child in another thread.
            Err(error) => match pidfd::status_of_reaped(pidfd) {
                Some(ExitStatus::Exited(0)) => return Ok(()),
                Some(status) => text(status),
                None => format!("exit status not known: {error}"),
            },
        };
        Err(HookError::Status { status, output: self.output.text() })
    }

    /// Kills the process, which has not been reaped, and its group, whose number is therefore still its own.
    fn kill(&mut self) {
        let group = Pid::from_raw(self.child.pid);
        let killed = group.map_or(Ok(()), |group| {
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL)
        });
        if let Err(errno) = killed {
            log::debug!("hook {}: kill: {errno}", self.child.pid);
        }
        let mut fds = [PollFd::new(&self.child.pidfd, PollFlags::IN)];
        let ended = rustix::event::poll(&mut fds, Some(&timespec(KILL_DEADLINE)));
        if ended.is_ok_and(|count| count > 0) {
            wait::wait(self.child.pidfd.as_fd()).ok();
        }
        self.output.read(OUTPUT_LEFT).ok();
    }
}

/// As Go prints it, and so runc.
fn text(status: ExitStatus) -> String {
    match status {
        ExitStatus::Exited(code) => format!("exit status {code}"),
        ExitStatus::Signaled(number) => match Signal::from_number(number) {
            Some(signal) => format!("signal: {}", signal.description()),
            None => format!("signal: signal {number}"),
        },
    }
}

/// The state on its way to the hook's stdin.
#[derive(Debug)]
struct State<'a> {
    rest: &'a [u8],
    /// Our end and, as long as we write, the hook's: a pipe that has a reader gives neither EPIPE nor SIGPIPE, whatever the
    /// hook does with its stdin.
    pipe: Option<(OwnedFd, OwnedFd)>,
}

impl State<'_> {
    /// Writes what the pipe takes; closes it, which is the hook's end of file, after the last byte.
    fn feed(&mut self) -> rustix::io::Result<()> {
        while let Some((pipe, _)) = &self.pipe {
            if self.rest.is_empty() {
                self.pipe = None;
                break;
            }
            match rustix::io::write(pipe, self.rest) {
                Ok(count) => self.rest = self.rest.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

/// What the hook writes to stdout and stderr.
#[derive(Debug)]
struct Output {
    pipe: Option<OwnedFd>,
    last: VecDeque<u8>,
}

impl Output {
    /// Reads what is there: `most` bytes or a little more.
    fn read(&mut self, most: usize) -> rustix::io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        let mut total = 0;
        while let Some(pipe) = &self.pipe {
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    total += count;
                    self.keep(buffer.split_at(count).0);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(errno),
            }
            if total >= most {
                break;
            }
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) {
        let bytes = bytes.get(bytes.len().saturating_sub(OUTPUT_SHOWN)..).unwrap_or_default();
        let surplus = (self.last.len() + bytes.len()).saturating_sub(OUTPUT_SHOWN);
        self.last.drain(..surplus);
        self.last.extend(bytes);
    }

    fn text(&mut self) -> String {
        String::from_utf8_lossy(self.last.make_contiguous()).into_owned()
    }
}

fn c_strings<'a>(strings: impl Iterator<Item = &'a [u8]>) -> io::Result<Vec<CString>> {
    strings.map(|text| CString::new(text).map_err(io::Error::from)).collect()
}

/// Read end and write end, neither of them one of 0 to 2, which a caller may have closed.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    Ok((stdio::above(read)?, stdio::above(write)?))
}

/// As crun opens the files of its annotations; a name that ends in a link is not followed.
fn append_to(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY
        | OFlags::CREATE
        | OFlags::APPEND
        | OFlags::NOFOLLOW
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR);
    let opened = file.map_err(|errno| {
        let error = io::Error::from(errno);
        io::Error::new(error.kind(), format!("open {}: {error}", path.display()))
    });
    stdio::above(opened?)
}

/// Of our end alone: each end of a pipe has flags of its own.
fn set_nonblocking(end: &OwnedFd) -> io::Result<()> {
    Ok(rustix::fs::fcntl_setfl(end, OFlags::NONBLOCK)?)
}

fn timespec(duration: Duration) -> Timespec {
    let tv_sec = duration.as_secs().try_into().unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: duration.subsec_nanos().into() }
}

#[cfg(test)]
mod tests;
