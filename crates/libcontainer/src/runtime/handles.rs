//! What is opened before clone: a bad path fails here, before the first side effect.
//!
//! Runs in: runtime.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use corten_plan::Handle;
use rustix::fs::{Mode, OFlags};

use super::console;
use crate::container::Console;
use crate::error::Error;
use crate::plan::NamespacePath;
use crate::spec::SpecError;
use crate::sys;

/// The fds that init gets by number.
#[derive(Debug)]
pub(crate) struct Handles<'a> {
    console: Option<ConsoleFd<'a>>,
    console_receiver: Option<OwnedFd>,
    namespaces: Vec<(Handle, OwnedFd)>,
    /// Where the pidfd of init is sent to.
    pub pidfd_socket: Option<OwnedFd>,
}

#[derive(Debug)]
enum ConsoleFd<'a> {
    Opened(OwnedFd),
    Given(BorrowedFd<'a>),
}

/// What the caller of an operation names that is outside of the container.
#[derive(Debug)]
pub(crate) struct Outside<'a> {
    pub console: Option<&'a Console>,
    pub pidfd_socket: Option<&'a Path>,
    pub listen_fds: u32,
    pub preserve_fds: u32,
}

impl<'a> Handles<'a> {
    /// Opens namespaces, connects sockets, and checks the fds that the container is to keep.
    pub fn open(
        joins: &[NamespacePath],
        has_terminal: bool,
        outside: &Outside<'a>,
    ) -> Result<Self, Error> {
        let kept = outside.listen_fds.saturating_add(outside.preserve_fds);
        check_preserved(outside.listen_fds, kept)?;
        let mut console_receiver = None;
        let console = match outside.console {
            None => None,
            Some(Console::Socket(path)) => {
                Some(ConsoleFd::Opened(console::connect("--console-socket", path)?))
            }
            Some(Console::Connected(fd)) => Some(ConsoleFd::Given(fd.as_fd())),
            Some(Console::Receive) if has_terminal => {
                let (ours, inits) = console::pair()?;
                console_receiver = Some(ours);
                Some(ConsoleFd::Opened(inits))
            }
            Some(Console::Receive) => None,
        };
        let pidfd_socket = outside
            .pidfd_socket
            .map(|path| console::connect("--pidfd-socket", path))
            .transpose()?;
        let opened = joins.iter().map(|join| Ok((join.handle, open_namespace(join)?)));
        let namespaces = opened.collect::<Result<_, Error>>()?;
        Ok(Self { console, console_receiver, namespaces, pidfd_socket })
    }

    /// The namespace that the plan joins by this name.
    pub fn namespace(&self, handle: Handle) -> Option<BorrowedFd<'_>> {
        let found = self.namespaces.iter().find(|(other, _)| *other == handle);
        found.map(|(_, namespace)| namespace.as_fd())
    }

    /// Where the terminal arrives that [`Console::Receive`] has asked for.
    pub fn console_receiver(&self) -> Option<BorrowedFd<'_>> {
        self.console_receiver.as_ref().map(AsFd::as_fd)
    }

    /// The fds that survive exec, after those that the caller adds.
    pub fn with<'h>(
        &'h self,
        mut all: Vec<(Handle, BorrowedFd<'h>)>,
    ) -> Vec<(Handle, BorrowedFd<'h>)> {
        let console = self.console.as_ref().map(|console| match console {
            ConsoleFd::Opened(fd) => fd.as_fd(),
            ConsoleFd::Given(fd) => *fd,
        });
        all.extend(console.map(|fd| (Handle::CONSOLE, fd)));
        all.extend(self.namespaces.iter().map(|(handle, fd)| (*handle, fd.as_fd())));
        all
    }
}

/// init's argument, which names them all.
pub(crate) fn argument(all: &[(Handle, BorrowedFd<'_>)]) -> Result<CString, Error> {
    let highest = all.iter().map(|(handle, _)| handle.0).max().unwrap_or_default();
    let numbers = (0..=highest).map(|index| {
        let found = all.iter().find(|(handle, _)| handle.0 == index);
        found.map_or_else(|| "-".to_owned(), |(_, fd)| fd.as_raw_fd().to_string())
    });
    let argument = numbers.collect::<Vec<_>>().join(",");
    CString::new(argument).map_err(|error| Error::os("name the fds of init", error))
}

/// runc looks at each, so that a wrong count is an error here and not a missing fd in the container.
fn check_preserved(listen_fds: u32, kept: u32) -> Result<(), Error> {
    for fd in listen_fds.saturating_add(3)..kept.saturating_add(3) {
        if rustix::fs::stat(format!("/proc/thread-self/fd/{fd}")).is_err() {
            return Err(Error::Argument {
                flag: "--preserve-fds",
                problem: format!(
                    "unable to stat preserved-fd {} (of {}): fd {fd} is not open",
                    fd - 3 - listen_fds,
                    kept - listen_fds
                ),
            });
        }
    }
    Ok(())
}

/// Whether it is the runtime's own of this kind; where that cannot be told, it is.
fn is_own(namespace: &OwnedFd, kind: u32) -> bool {
    let file = match kind.cast_signed() {
        libc::CLONE_NEWNS => "mnt",
        libc::CLONE_NEWNET => "net",
        libc::CLONE_NEWIPC => "ipc",
        libc::CLONE_NEWUTS => "uts",
        libc::CLONE_NEWUSER => "user",
        _ => return false,
    };
    let same = |own: rustix::fs::Stat| {
        rustix::fs::fstat(namespace)
            .is_ok_and(|it| (it.st_dev, it.st_ino) == (own.st_dev, own.st_ino))
    };
    let of = |process| rustix::fs::stat(format!("/proc/{process}/ns/{file}"));
    // The thread that calls may have left that of its process, and the process's first thread may have ended.
    let own = of("thread-self");
    own.is_err() || own.is_ok_and(same) || of("self").is_ok_and(same)
}

fn open_namespace(join: &NamespacePath) -> Result<OwnedFd, Error> {
    let problem = |text: String| Error::Property { pointer: join.pointer.clone(), problem: text };
    let shown = join.path.display();
    let namespace = rustix::fs::open(&join.path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| {
        problem(format!("open namespace {shown}: {}", io::Error::from(errno)))
    })?;
    match sys::namespace::kind(namespace.as_fd()) {
        Ok(kind) if kind == join.kind => match &join.own_is_refused {
            Some(SpecError { pointer, problem }) if is_own(&namespace, kind) => {
                Err(Error::Property { pointer: pointer.clone(), problem: problem.clone() })
            }
            _ => Ok(namespace),
        },
        Ok(_) => Err(problem(format!("{shown} is a namespace of another type"))),
        Err(_) => Err(problem(format!("{shown} is not a namespace"))),
    }
}
