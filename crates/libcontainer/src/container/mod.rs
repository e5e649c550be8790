//! The OCI operations, one file each.
//!
//! A [`Container`] is a handle on a state directory and on what was recorded there when it was opened. Every operation
//! works from every prefix of `create`: whatever a killed runtime has left, `delete` with force removes.
//!
//! Runs in: runtime.

mod conversation;
mod create;
mod delete;
mod events;
mod exec;
mod filter;
mod hook_state;
mod kill;
mod launch;
mod members;
mod pause;
mod place;
mod read_back;
mod stages;
mod start;
mod undo;
mod update;

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::cgroup::Cgroup;
use crate::error::Error;
use crate::signal::Signal;
use crate::state::{
    self, ContainerId, Found, Lock, Observed, Record, StateDir, StateReport, Status,
};
use crate::trace::Trace;

pub use self::exec::ExecOptions;
use self::place::There;
pub use crate::sys::wait::ExitStatus;

/// What `create` and `run` are told besides config.json.
#[derive(Debug, Default)]
pub struct CreateOptions {
    /// The directory of all containers' states (`--root`).
    pub root: PathBuf,
    /// The container's id.
    pub id: String,
    /// The bundle directory.
    pub bundle: PathBuf,
    /// Who gets the terminal; needed when config.json asks for one.
    pub console: Option<Console>,
    /// Gets the pid of init, in decimal, without a newline.
    pub pid_file: Option<PathBuf>,
    /// A listening stream socket that gets a pidfd of init.
    pub pidfd_socket: Option<PathBuf>,
    /// `MS_MOVE` and `chroot` instead of `pivot_root`, for root file systems in an initramfs.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// How many fds the process keeps after those of `listen_fds`.
    pub preserve_fds: u32,
    /// How many fds from 3 on are passed as LISTEN_FDS (systemd's socket activation).
    pub listen_fds: u32,
    /// Give the container a socket for sd_notify(3), and the variable NOTIFY_SOCKET. The caller binds a datagram socket to
    /// `<root>/<id>/notify/notify.sock` before the container is started, and reads from it.
    pub notify: bool,
    /// Cgroups by systemd.
    pub systemd_cgroup: bool,
    /// No cgroup at all (crun's `--cgroup-manager disabled`): the container stays in the caller's. Limits are then refused, and
    /// so are pause, update and events.
    pub no_cgroup: bool,
    /// Whether a container for which nothing asks for a cgroup goes without one where none can be made; `None`: where the
    /// caller is not root of the host.
    pub rootless: Option<bool>,
    /// Collects where the time goes.
    pub trace: Option<Arc<Trace>>,
    /// What becomes fds 0, 1 and 2 of the process; `None`: the caller's own.
    pub stdio: Option<[OwnedFd; 3]>,
    /// The environment of hooks that config.json gives none; `None`: the caller's own, as with runc.
    pub hook_environment: Option<Vec<OsString>>,
}

/// Who gets the master of the container's terminal: one message with one `SCM_RIGHTS` fd, the payload is its name.
#[derive(Debug)]
pub enum Console {
    /// The path of a listening `AF_UNIX` stream socket.
    Socket(PathBuf),
    /// A connected socket.
    Connected(OwnedFd),
    /// The caller of [`Container::run_prepared`] and [`Container::exec_prepared`], over a socket that is made when config.json asks for a terminal.
    Receive,
}

/// A container: its state directory, and what was recorded there when it was opened.
#[derive(Debug)]
pub struct Container {
    dir: StateDir,
    record: Box<Record>,
    /// Still open from `create`, for who deletes by the same handle (`run` does).
    made: Option<Cgroup>,
}

/// init, as it was found alive.
#[derive(Debug)]
struct LiveInit {
    pid: i32,
    pidfd: OwnedFd,
}

impl LiveInit {
    /// The one that is recorded, if it lives.
    fn of(record: &Record) -> Result<Option<Self>, Error> {
        let Some(init) = &record.init else { return Ok(None) };
        let pidfd = init.process.open(&record.boot_id)?;
        Ok(pidfd.map(|pidfd| Self { pid: init.process.pid, pidfd }))
    }

    fn has_ended(&self) -> bool {
        self.ends_within(Duration::ZERO)
    }

    fn ends_within(&self, time: Duration) -> bool {
        crate::sys::wait::ends_within(self.pidfd.as_fd(), time).is_ok_and(|it| it)
    }
}

/// A process of a container that is a child of this process: init after `create` and `run`, and what `exec` has started.
#[derive(Debug)]
pub struct ContainerProcess {
    pid: i32,
    pidfd: OwnedFd,
}

impl ContainerProcess {
    /// In this process's pid namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Becomes readable when it ends.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends `signal` to it.
    ///
    /// # Errors
    /// ESRCH: it has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        crate::send::send_signal(self.pidfd(), signal.number()).map_err(|errno| Error::Os {
            call: format!("send {signal} to process {} of the container", self.pid),
            source: errno.into(),
        })
    }

    /// Whether it is a zombie, or reaped.
    fn has_ended(&self) -> bool {
        crate::sys::wait::ends_within(self.pidfd(), Duration::ZERO).is_ok_and(|it| it)
    }

    /// Waits until it has ended, and reaps it.
    ///
    /// # Errors
    /// ECHILD: it is not a child of this process; or, before Linux 6.15, the caller's own `wait` has reaped it.
    pub fn wait(&self) -> Result<ExitStatus, Error> {
        crate::sys::wait::wait(self.pidfd()).or_else(|source| {
            // Reaped by another wait of the caller's, or by the kernel because the caller ignores SIGCHLD.
            let status = crate::sys::pidfd::status_of_reaped(self.pidfd());
            let call = || format!("wait for process {} of the container", self.pid);
            status.ok_or_else(|| Error::Os { call: call(), source })
        })
    }
}

impl Container {
    /// Opens the container `id` below `root`.
    ///
    /// # Errors
    /// [`Error::InvalidId`], [`Error::NotFound`]; [`Error::State`] when what is recorded cannot be used.
    pub fn load(root: &Path, id: &str) -> Result<Self, Error> {
        Self::open(root, &ContainerId::new(id)?)
    }

    fn open(root: &Path, id: &ContainerId) -> Result<Self, Error> {
        let dir = StateDir::open(root, id)?;
        match dir.read()? {
            Found::Record(record) => Ok(Self { dir, record, made: None }),
            Found::Nothing => Err(Error::NotFound { id: id.to_string() }),
            Found::Damaged { error, .. } => Err(error),
        }
    }

    /// All containers below `root`, sorted by id; those that cannot be opened as the error that they gave.
    ///
    /// # Errors
    /// `root` is there and cannot be read.
    pub fn list(root: &Path) -> Result<impl Iterator<Item = Result<Self, Error>>, Error> {
        let opened = state::list(root)?.into_iter().map(|id| Self::open(root, &id));
        // What was deleted meanwhile, or has not got to its intent yet, is not there.
        Ok(opened.filter(|container| !matches!(container, Err(Error::NotFound { .. }))))
    }

    /// The id.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// The bundle, absolute.
    pub fn bundle(&self) -> &Path {
        &self.record.bundle
    }

    /// The effective user id of who created it.
    pub fn owner(&self) -> u32 {
        self.record.owner
    }

    /// The status, by what the kernel says now.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn status(&self) -> Result<Status, Error> {
        Ok(self.observe()?.0)
    }

    /// The pids of all its processes, as this process sees them, ascending; none when it has stopped.
    ///
    /// # Errors
    /// The kernel could not be asked; [`Error::WrongStatus`] of a container that has neither a cgroup nor a pid namespace of
    /// its own.
    pub fn processes(&self) -> Result<Vec<i32>, Error> {
        if self.has_cgroup()? {
            return self.cgroup()?.map_or(Ok(Vec::new()), |cgroup| cgroup.processes());
        }
        let (_, init) = self.observe()?;
        init.map_or(Ok(Vec::new()), |init| self.members(&init))
    }

    /// What `state` prints.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn state(&self) -> Result<StateReport, Error> {
        let (status, init) = self.observe()?;
        let pid = init.map_or(0, |init| init.pid);
        let record = &self.record;
        Ok(StateReport {
            oci_version: record.oci_version.clone(),
            id: record.id.clone(),
            pid,
            status,
            bundle: record.bundle.clone(),
            rootfs: record.rootfs.clone(),
            created: record.created.clone(),
            annotations: record.annotations.clone(),
            owner: String::new(),
        })
    }

    /// What is recorded by now: a `create` may have gone on since we read its intent. What it saves after is final.
    fn latest(&self) -> Result<Cow<'_, Record>, Error> {
        if self.record.init.is_none()
            && let Found::Record(record) = self.dir.read()?
        {
            return Ok(Cow::Owned(*record));
        }
        Ok(Cow::Borrowed(&self.record))
    }

    /// The status, and init if it lives.
    fn observe(&self) -> Result<(Status, Option<LiveInit>), Error> {
        // A record without init is an intent: whether its `create` is still at work, the lock says.
        let is_locked = self.record.init.is_none() && self.dir.is_locked()?;
        self.observe_with(is_locked)
    }

    /// As [`Self::observe`], by who holds the lock: then no `create` is at work.
    fn observe_locked(&self, _held: &Lock<'_>) -> Result<(Status, Option<LiveInit>), Error> {
        self.observe_with(false)
    }

    fn observe_with(&self, is_locked: bool) -> Result<(Status, Option<LiveInit>), Error> {
        // After the look at the lock: who has let go of it has saved the state before.
        let record = self.latest()?;
        let Some(init) = &record.init else {
            let seen =
                Observed { is_locked, init_is_alive: false, init_is_ours: false, is_frozen: false };
            return Ok((state::status(false, seen), None));
        };
        let live = LiveInit::of(&record)?;
        let is_alive = live.is_some();
        if is_alive && init.is_at_work() {
            return Ok((Status::Creating, None));
        }
        let cgroup = if is_alive { self.cgroup()? } else { None };
        let seen = Observed {
            is_locked: false,
            init_is_alive: is_alive,
            // The fifo is gone after `start`; the image tells the start that was killed before it could remove the fifo.
            init_is_ours: is_alive && self.has_start_fifo() && init.executes_image(),
            is_frozen: cgroup.map(|cgroup| cgroup.is_frozen()).transpose()?.unwrap_or(false),
        };
        Ok((state::status(true, seen), live))
    }

    fn has_start_fifo(&self) -> bool {
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::statat(self.dir.fd(), state::START_FIFO, flags).is_ok()
    }

    /// The container's cgroup, if it is there. Looked at in this order: as long as our directory was there after the cgroup
    /// was opened, the cgroup is not that of a later container of the same id, also where the record does not have the cgroup's.
    fn cgroup(&self) -> Result<Option<Cgroup>, Error> {
        let cgroup = There::of(&*self.latest()?)?.cgroup();
        Ok(cgroup.filter(|_| !self.dir.is_gone()))
    }

    /// Whether it was made with a cgroup of its own.
    fn has_cgroup(&self) -> Result<bool, Error> {
        Ok(self.latest()?.cgroup.is_some())
    }

    /// Refuses what only a cgroup makes possible.
    fn require_cgroup(&self, action: &str) -> Result<(), Error> {
        if self.has_cgroup()? {
            return Ok(());
        }
        Err(self.wrong_status(None, format!(
            "cannot {action} container {}: it has no cgroup of its own, since none could be made when it was created, or \
             --cgroup-manager was disabled",
            self.id()
        )))
    }

    fn wrong_status(&self, status: impl Into<Option<Status>>, message: impl Into<String>) -> Error {
        let (id, status) = (self.record.id.clone(), status.into());
        Error::WrongStatus { id, status, message: message.into() }
    }
}
