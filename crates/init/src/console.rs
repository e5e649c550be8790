//! Standard input and output: a terminal, made in the container's own devpts and sent to whoever asked for it; or what the
//! caller gave.
//!
//! Runs in: init.

use corten_plan::{Handle, Stage};

use crate::device;
use crate::path::{Path, decimal};
use crate::report::{At, Done, Failed};
use crate::run::Init;
use crate::sys::abi::{
    DEVPTS_SUPER_MAGIC, O_NOCTTY, O_PATH, O_RDWR, S_IFCHR, Statx, TIOCGPTN, TIOCSCTTY, TIOCSPTLCK,
    TIOCSWINSZ,
};
use crate::sys::{Errno, Fd, FdRef, fs, mount, socket};
use crate::target;

/// The terminal that is wanted.
#[derive(Debug)]
pub struct Terminal {
    /// Rows; 0 with 0 columns: not set.
    pub height: u16,
    /// Columns.
    pub width: u16,
    /// Owner.
    pub uid: u32,
    /// Whether to bind it to `/dev/console`.
    pub console: bool,
}

/// [`corten_plan::Op::Terminal`].
///
/// # Errors
/// See [`Stage`].
pub fn make(init: &mut Init, terminal: &Terminal) -> Done {
    let master = open_master(init)?;
    let mut number = [0; 4];
    // 0: unlock.
    fs::ioctl_with(master.get(), TIOCSPTLCK, &mut [0; 4]).at(Stage::Op)?;
    fs::ioctl_with(master.get(), TIOCGPTN, &mut number).at(Stage::Op)?;
    let peer = fs::terminal_peer(master.get()).at(Stage::Op)?;
    if (terminal.height, terminal.width) != (0, 0) {
        set_size(master.get(), terminal).at(Stage::Op)?;
    }
    fs::chown(peer.get(), terminal.uid, u32::MAX).at(Stage::Owner)?;
    if terminal.console {
        let tree = mount::clone_mount(peer.get(), 0).at(Stage::Clone)?;
        device::attach(init, c"/dev/console", tree.get(), 0o600)?;
    }
    send(init, &master, i32::from_le_bytes(number))?;
    take(peer.get()).at(Stage::Op)
}

/// Opens the multiplexer of the devpts in the root: that it is one, its file system and its number say (CVE-2025-52565).
fn open_master(init: &Init) -> Result<Fd, Failed> {
    // O_PATH first: opening something else could have effects.
    let found = target::open(init.root()?, c"/dev/pts/ptmx", O_PATH, 0).at(Stage::Open)?;
    let status = fs::status(found.get()).at(Stage::Verify)?;
    let is_multiplexer = (status.kind(), status.rdev_major, status.rdev_minor) == (S_IFCHR, 5, 2);
    if !is_multiplexer || !is_devpts(found.get())? {
        return Err(Failed::new(Stage::Verify, Errno::ENOTTY));
    }
    let master =
        target::open(init.root()?, c"/dev/pts/ptmx", O_RDWR | O_NOCTTY, 0).at(Stage::Open)?;
    if is_devpts(master.get())? {
        Ok(master)
    } else {
        Err(Failed::new(Stage::Verify, Errno::ENOTTY))
    }
}

fn is_devpts(file: FdRef<'_>) -> Result<bool, Failed> {
    Ok(fs::file_system(file).at(Stage::Verify)?.kind == DEVPTS_SUPER_MAGIC)
}

fn set_size(master: FdRef<'_>, terminal: &Terminal) -> Result<(), Errno> {
    // struct winsize: rows, columns, and two that nobody uses.
    let [a, b] = terminal.height.to_ne_bytes();
    let [c, d] = terminal.width.to_ne_bytes();
    fs::ioctl_with(master, TIOCSWINSZ, &mut [a, b, c, d, 0, 0, 0, 0])
}

/// One message, one descriptor, the terminal's name as payload: as runc sends it.
///
/// Our end of the socket goes with it: who reads it to its end is not kept waiting until `start`.
fn send(init: &mut Init, master: &Fd, number: i32) -> Done {
    let socket = init.handles.take(Handle::CONSOLE)?;
    let mut digits = [0; 10];
    let path = Path::<24>::from_parts(&[b"/dev/pts/", decimal(number, &mut digits)]);
    let path = path.at(Stage::Send)?;
    socket::send_fd(socket.get(), path.bytes(), master.get()).map(drop).at(Stage::Send)
}

/// Makes it fds 0, 1, 2 and the controlling terminal of our session.
fn take(peer: FdRef<'_>) -> Result<(), Errno> {
    fs::ioctl(peer, TIOCSCTTY, 0)?;
    (0..=2).try_for_each(|number| fs::duplicate_to(peer, number))
}

/// [`corten_plan::Op::Stdio`].
///
/// # Errors
/// See [`Stage`].
pub fn stdio(init: &Init, uid: u32, null: bool) -> Done {
    let mut own_null = None;
    for number in 0..=2u16 {
        let file = FdRef::inherited(i32::from(number));
        // EBADF: the caller gave none.
        let Ok(status) = fs::status(file) else { continue };
        if !is_null(&status) {
            give(file, status.uid, uid).item(Stage::Owner, number)?;
        } else if null {
            let opened = match own_null.take() {
                Some(opened) => opened,
                None => open_null(init)?,
            };
            fs::duplicate_to(opened.get(), number.into()).item(Stage::Op, number)?;
            own_null = Some(opened);
        }
    }
    Ok(())
}

fn is_null(status: &Statx) -> bool {
    (status.kind(), status.rdev_major, status.rdev_minor) == (S_IFCHR, 1, 3)
}

/// A descriptor that is open on the host's null device would lead to the host's `/dev`.
fn open_null(init: &Init) -> Result<Fd, Failed> {
    if let Some(kept) = init.kept.as_ref().filter(|kept| kept.name(c"/dev/null").is_some())
        && let Some(null) = kept.open_null().at(Stage::Open)?
    {
        return Ok(null);
    }
    let found = target::open(init.root()?, c"/dev/null", O_PATH, 0).at(Stage::Open)?;
    if !is_null(&fs::status(found.get()).at(Stage::Verify)?) {
        return Err(Failed::new(Stage::Verify, Errno::ENODEV));
    }
    let opened = target::open(init.root()?, c"/dev/null", O_RDWR, 0).at(Stage::Open)?;
    let is_null = is_null(&fs::status(opened.get()).at(Stage::Verify)?);
    if is_null { Ok(opened) } else { Err(Failed::new(Stage::Verify, Errno::ENODEV)) }
}

/// Gives `file` to the user, where that can be done: so that `/dev/stdout` can be opened.
fn give(file: FdRef<'_>, owner: u32, uid: u32) -> Result<(), Errno> {
    if owner == uid {
        return Ok(());
    }
    match fs::chown(file, uid, u32::MAX) {
        Err(Errno::EPERM | Errno::EROFS | Errno::EINVAL) => Ok(()),
        done => done,
    }
}
