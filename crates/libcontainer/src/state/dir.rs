//! A container's directory below the root: `intent.json`, `state.json`, `exec.fifo`.
//!
//! Making the directory takes the id. The lock is an flock(2) on the directory itself; create, start, update and delete hold it, and
//! what must never wait (state, list, kill) does not take it. The intent is written before the first side effect and never changed, so that a damaged or
//! missing state.json loses nothing: delete finds cgroup and hooks in the intent.
//!
//! Runs in: runtime.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{ContainerId, Record};
use crate::error::Error;
use crate::host;

const INTENT: &str = "intent.json";
const STATE: &str = "state.json";
const STATE_TEMPORARY: &str = "state.json.tmp";
pub(crate) const START_FIFO: &str = "exec.fifo";
/// A record is some kilobytes; annotations, of which config.json allows megabytes, are what can make it large.
const RECORD_LIMIT: u64 = 64 << 20;

/// An open container directory.
#[derive(Debug)]
pub(crate) struct StateDir {
    /// Absolute: the program's working directory may change while the container is there.
    path: PathBuf,
    root: OwnedFd,
    name: String,
    dir: OwnedFd,
    /// Whether a [`Lock`] of this value is held: the kernel grants one open file description its own lock again, and threads
    /// may share this.
    is_held: AtomicBool,
}

/// The container's lock; released when dropped.
#[derive(Debug)]
pub(crate) struct Lock<'a>(&'a StateDir);

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        if let Err(errno) = rustix::fs::flock(&self.0.dir, FlockOperation::Unlock) {
            log::warn!("unlock a state directory: {errno}");
        }
        self.0.is_held.store(false, Ordering::Release);
    }
}

/// What [`StateDir::read`] found.
#[derive(Debug)]
pub(crate) enum Found {
    /// state.json, or where there is none the intent.
    Record(Box<Record>),
    /// Not even an intent: nothing but the directory was made.
    Nothing,
    /// state.json cannot be used; the intent, if that can.
    Damaged {
        /// What is wrong with state.json.
        error: Error,
        /// The intent.
        intent: Option<Box<Record>>,
    },
}

impl StateDir {
    /// Makes the directory of `id`, which takes the id.
    ///
    /// # Errors
    /// [`Error::Exists`] when the id is taken.
    pub fn create(root: &Path, id: &ContainerId) -> Result<Self, Error> {
        let root = &host::absolute(root)?;
        let root_fd = match open_dir(root) {
            Err(Errno::NOENT) => make_root(root)?,
            opened => opened.map_err(|errno| failed("open", root, errno))?,
        };
        match rustix::fs::mkdirat(&root_fd, id.as_str(), Mode::RWXU) {
            Err(Errno::EXIST) => return Err(Error::Exists { id: id.to_string() }),
            made => made.map_err(|errno| failed("make", &root.join(id.as_str()), errno))?,
        }
        // Not moved into what fails: without an fd for the directory it can still be removed.
        let opened = open_container(root, &root_fd, id).inspect_err(|_| {
            if let Err(errno) = rustix::fs::unlinkat(&root_fd, id.as_str(), AtFlags::REMOVEDIR) {
                log::warn!("remove {}: {errno}", root.join(id.as_str()).display());
            }
        });
        Ok(Self::new(root, root_fd, id, opened?.ok_or_else(|| deleted(id))?))
    }

    /// Takes the lock of a directory that was just made. A `delete --force` of the same id may have come in between: then
    /// nothing can be written into the directory any more, and [`Self::write_intent`] fails.
    ///
    /// # Errors
    /// [`Error::WrongStatus`].
    pub fn lock_new(&self) -> Result<Lock<'_>, Error> {
        self.lock_at_once()?.ok_or_else(|| deleted(&ContainerId(self.name.clone())))
    }

    /// Opens the directory of `id`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none.
    pub fn open(root: &Path, id: &ContainerId) -> Result<Self, Error> {
        let not_found = || Error::NotFound { id: id.to_string() };
        let root = &host::absolute(root)?;
        let root_fd = match open_dir(root) {
            Err(Errno::NOENT) => return Err(not_found()),
            opened => opened.map_err(|errno| failed("open", root, errno))?,
        };
        let dir = open_container(root, &root_fd, id)?.ok_or_else(not_found)?;
        Ok(Self::new(root, root_fd, id, dir))
    }

    fn new(root: &Path, root_fd: OwnedFd, id: &ContainerId, dir: OwnedFd) -> Self {
        let (path, is_held) = (root.join(id.as_str()), AtomicBool::new(false));
        Self { path, root: root_fd, name: id.to_string(), dir, is_held }
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory's fd.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Takes the lock if nobody holds it. `None`: somebody does, or the container was deleted meanwhile.
    pub fn try_lock(&self) -> Result<Option<Lock<'_>>, Error> {
        // Delete removes the directory while it holds the lock: what we have locked may be of no container any more.
        Ok(self.lock_at_once()?.filter(|_| !self.is_gone()))
    }

    fn lock_at_once(&self) -> Result<Option<Lock<'_>>, Error> {
        if self.is_held.swap(true, Ordering::Acquire) {
            return Ok(None);
        }
        let taken = rustix::fs::flock(&self.dir, FlockOperation::NonBlockingLockExclusive);
        self.is_held.store(taken.is_ok(), Ordering::Release);
        match taken {
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(failed("lock", &self.path, errno)),
            Ok(()) => Ok(Some(Lock(self))),
        }
    }

    /// Takes the lock, waiting for at most `deadline`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the container is deleted meanwhile; [`Error::Timeout`].
    pub fn lock(&self, deadline: Duration) -> Result<Lock<'_>, Error> {
        let end = Instant::now() + deadline;
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(lock) = self.try_lock()? {
                return Ok(lock);
            }
            if self.is_gone() {
                return Err(Error::NotFound { id: self.name.clone() });
            }
            if Instant::now() >= end {
                return Err(Error::Timeout {
                    what: format!(
                        "the lock of container {:?}: another operation on it is at work",
                        self.name
                    ),
                    seconds: deadline.as_secs(),
                });
            }
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Whether somebody holds the lock (we too), without disturbing it: takes it for a moment by another open file
    /// description, shared, so that two who ask do not see each other.
    pub fn is_locked(&self) -> Result<bool, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let again = match rustix::fs::openat(&self.dir, ".", flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(false),
            opened => opened.map_err(|errno| failed("open", &self.path, errno))?,
        };
        match rustix::fs::flock(&again, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(errno) => Err(failed("lock", &self.path, errno)),
        }
    }

    /// Whether the directory was removed since it was opened.
    pub fn is_gone(&self) -> bool {
        rustix::fs::fstat(&self.dir).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// Writes the intent: before it is there, nothing was done that would have to be undone.
    pub fn write_intent(&self, record: &Record) -> Result<(), Error> {
        self.write(INTENT, record)
    }

    /// Writes the state to a temporary file and renames it, so that a reader sees all of it or none.
    pub fn write_state(&self, record: &Record) -> Result<(), Error> {
        self.stage_state(record)?;
        self.commit_state()
    }

    /// The first half of [`Self::write_state`], before the state holds.
    pub fn stage_state(&self, record: &Record) -> Result<(), Error> {
        self.write(STATE_TEMPORARY, record)
    }

    /// The second half.
    pub fn commit_state(&self) -> Result<(), Error> {
        rustix::fs::renameat(&self.dir, STATE_TEMPORARY, &self.dir, STATE)
            .map_err(|errno| self.failed("rename", STATE_TEMPORARY, errno))
    }

    fn write(&self, name: &'static str, record: &Record) -> Result<(), Error> {
        let json =
            serde_json::to_vec(record).map_err(|error| self.io("encode", name, error.into()))?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| self.failed("create", name, errno))?;
        let mut rest = json.as_slice();
        while !rest.is_empty() {
            let written = rustix::io::write(&file, rest)
                .map_err(|errno| self.failed("write", name, errno))?;
            rest = rest.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads what is recorded.
    ///
    /// # Errors
    /// Only those of the system; a file that cannot be used is [`Found::Damaged`].
    pub fn read(&self) -> Result<Found, Error> {
        match self.read_file(STATE) {
            Ok(Some(record)) => Ok(Found::Record(record)),
            Ok(None) => match self.read_file(INTENT) {
                Ok(Some(record)) => Ok(Found::Record(record)),
                Ok(None) => Ok(Found::Nothing),
                // A runtime that was killed while it wrote the intent had done nothing before.
                Err(Error::State { source, .. }) if is_cut(&source) => Ok(Found::Nothing),
                Err(error) => Ok(Found::Damaged { error, intent: None }),
            },
            Err(error) => {
                Ok(Found::Damaged { error, intent: self.read_file(INTENT).ok().flatten() })
            }
        }
    }

    fn read_file(&self, name: &'static str) -> Result<Option<Box<Record>>, Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened.map_err(|errno| self.failed("open", name, errno))?,
        };
        let json = read_all(&file).map_err(|source| self.io("read", name, source))?;
        let text =
            std::str::from_utf8(&json).map_err(|error| self.io("decode", name, cut(error)))?;
        // Not `from_slice`: config.json is read from a text too, and each way has code of its own for every type.
        let record: Record =
            serde_json::from_str(text).map_err(|error| self.io("decode", name, error.into()))?;
        if record.format > Record::current_format() {
            let problem = format!("written by a newer corten (format {})", record.format);
            return Err(self.io("decode", name, io::Error::other(problem)));
        }
        Ok(Some(Box::new(record)))
    }

    /// Removes the directory and all that is in it; what is gone already is no error. The intent goes first, so that a removal
    /// which is interrupted can be done again.
    pub fn remove(&self) -> Result<(), Error> {
        self.remove_files(&[INTENT, STATE])?;
        if self.remove_directory()? {
            return Ok(());
        }
        // Nobody has started it, or a runtime was killed between two files.
        self.remove_files(&[START_FIFO, STATE_TEMPORARY])?;
        if self.remove_directory()? {
            return Ok(());
        }
        // Files of a later release, or somebody else's.
        std::fs::remove_dir_all(&self.path).map_err(|source| Error::State {
            action: "remove",
            path: self.path.clone(),
            source,
        })
    }

    fn remove_files(&self, names: &[&'static str]) -> Result<(), Error> {
        names.iter().try_for_each(|name| {
            match rustix::fs::unlinkat(&self.dir, *name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(errno) => Err(self.failed("remove", name, errno)),
            }
        })
    }

    /// `false`: there is something in it.
    fn remove_directory(&self) -> Result<bool, Error> {
        match rustix::fs::unlinkat(&self.root, self.name.as_str(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(errno) => Err(failed("remove", &self.path, errno)),
        }
    }

    pub(super) fn failed(&self, action: &'static str, name: &str, errno: Errno) -> Error {
        failed(action, &self.path.join(name), errno)
    }

    fn io(&self, action: &'static str, name: &str, source: io::Error) -> Error {
        Error::State { action, path: self.path.join(name), source }
    }
}

/// The ids below `root`, sorted; none when there is no such directory. Names that cannot be ids are passed over.
pub(crate) fn list(root: &Path) -> Result<Vec<ContainerId>, Error> {
    let failed = |source| Error::State { action: "list", path: root.into(), source };
    let entries = match std::fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if let (true, Some(name)) = (is_dir, entry.file_name().to_str()) {
            ids.extend(ContainerId::new(name));
        }
    }
    ids.sort();
    Ok(ids)
}

fn read_all(file: &OwnedFd) -> io::Result<Vec<u8>> {
    let size = rustix::fs::fstat(file)?.st_size;
    let size = u64::try_from(size).unwrap_or(u64::MAX);
    if size > RECORD_LIMIT {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut content = vec![0; usize::try_from(size).unwrap_or_default()];
    let mut filled = 0;
    while let Some(rest) = content.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::read(file, rest)? {
            0 => break,
            count => filled += count,
        }
    }
    content.truncate(filled);
    Ok(content)
}

/// serde_json's end of input within a value.
fn is_cut(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

/// As serde_json has it: what ends within a character is cut.
fn cut(error: std::str::Utf8Error) -> io::Error {
    let is_cut = error.error_len().is_none();
    let kind = if is_cut { io::ErrorKind::UnexpectedEof } else { io::ErrorKind::InvalidData };
    io::Error::new(kind, error)
}

fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// `None`: there is none.
fn open_container(
    root: &Path,
    root_fd: &OwnedFd,
    id: &ContainerId,
) -> Result<Option<OwnedFd>, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(root_fd, id.as_str(), flags, Mode::empty()) {
        Err(Errno::NOENT) => Ok(None),
        opened => opened.map(Some).map_err(|errno| failed("open", &root.join(id.as_str()), errno)),
    }
}

/// The root is 0700: what is in it says where the caller's containers are and what they run.
fn make_root(root: &Path) -> Result<OwnedFd, Error> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(root)
        .map_err(|source| Error::State { action: "make", path: root.into(), source })?;
    open_dir(root).map_err(|errno| failed("open", root, errno))
}

fn failed(action: &'static str, path: &Path, errno: Errno) -> Error {
    Error::State { action, path: path.into(), source: errno.into() }
}

fn deleted(id: &ContainerId) -> Error {
    Error::WrongStatus {
        id: id.to_string(),
        status: None,
        message: format!("container {id:?} was deleted while it was created"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_excludes_threads_that_share_the_directory() {
        let root = std::env::temp_dir().join(format!("corten-lock-{}", std::process::id()));
        let dir = StateDir::create(&root, &ContainerId::new("shared").unwrap()).unwrap();
        let held = dir.lock_new().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(dir.try_lock().unwrap().is_none()));
        });
        drop(held);
        assert!(dir.try_lock().unwrap().is_some());
        dir.remove().unwrap();
        std::fs::remove_dir(&root).unwrap();
    }
}
