//! What init does to its own process, and where it waits.
//!
//! Runs in: init.

use core::ffi::CStr;

use corten_plan::frame::{FRAME_LENGTH, STARTED};
use corten_plan::wire::Ids;
use corten_plan::{Frame, Handle, Point, Stage};

use crate::handles::number;
use crate::lines::Lines;
use crate::passwd;
use crate::report::{self, At, Done, Failed};
use crate::run::Init;
use crate::sys::abi::{
    KEY_POS_ALL, KEY_USR_NEW, KEY_USR_SEARCH, O_NONBLOCK, PATH_MAX, PR_SET_PDEATHSIG,
    RLIMIT_NOFILE, S_IFREG, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM,
};
use crate::sys::{self, Errno, Fd, FdRef, fs, memory, process, socket};
use crate::target;

/// How many lines of `/etc/passwd` are looked at: the image must not make us read for ever.
const MAX_LINES: u32 = 1_000_000;

/// `CONFIG_NR_CPUS` is at most this.
const MAX_CPUS: usize = 8192;

/// More files than init ever has open.
const MANY_FILES: u64 = 256;

/// [`corten_plan::Op::DieWithRuntime`].
///
/// # Errors
/// Those of prctl(2).
pub fn die_with_runtime(init: &mut Init) -> Done {
    init.dies_with_runtime = true;
    // A runtime that is gone already shows as the end of the stream at the next Sync.
    process::prctl(PR_SET_PDEATHSIG, SIGKILL, 0).map(drop).at(Stage::Op)
}

/// [`corten_plan::Op::Keyring`].
///
/// # Errors
/// Those of keyctl(2) but ENOSYS.
pub fn keyring(name: &CStr) -> Done {
    let keyring = match process::join_session_keyring(name) {
        Err(Errno::ENOSYS) => return Ok(()),
        joined => joined.at(Stage::Op)?,
    };
    // As runc: a program that changes its uid still finds the session's keys. The other bits are those of a new keyring.
    if process::set_key_permissions(keyring, KEY_POS_ALL | KEY_USR_NEW | KEY_USR_SEARCH).is_ok() {
        return Ok(());
    }
    // It was there before, and is not ours to change: what it has may do.
    let mut buffer = [0; 256];
    let description = process::describe_key(keyring, &mut buffer).at(Stage::Op)?;
    let permissions = key_permissions(description).ok_or(Errno::EPROTO).at(Stage::Op)?;
    if permissions & KEY_USR_SEARCH != 0 {
        return Ok(());
    }
    process::set_key_permissions(keyring, permissions | KEY_USR_SEARCH).at(Stage::Op)
}

/// The permissions in `type;uid;gid;perm;description`.
fn key_permissions(description: &[u8]) -> Option<u32> {
    let field = description.split(|byte| *byte == b';').nth(3)?;
    number(field, 16)?.try_into().ok()
}

/// [`corten_plan::Op::Sync`].
///
/// # Errors
/// [`Stage::Wait`]. When the runtime is gone there is no error: init exits.
pub fn sync(init: &mut Init, point: u8) -> Done {
    let point = match point {
        1 => Point::Mounted,
        2 => Point::Ready,
        3 => Point::Placed,
        4 => Point::Unmapped,
        _ => return Err(Failed::new(Stage::Plan, Errno::EINVAL)),
    };
    // Not at Mounted: with us wait only hooks of the host, and what is open is needed again.
    if point == Point::Ready {
        let_go_of_runtime(init)?;
    }
    report::send(&Frame::Reached(point)).at(Stage::Wait)?;
    receive_go(init)
}

/// Closes what is needed no more, and ends [`corten_plan::Op::DieWithRuntime`]: from here on only the end of the socket tells us.
/// Before the report, for the runtime may end as soon as it has let us go.
///
/// # Errors
/// [`Stage::Wait`].
pub fn let_go_of_runtime(init: &mut Init) -> Done {
    (init.procfs, init.root, init.kept) = (None, None, None);
    init.parent.forget();
    // While we wait for `start` or hooks, others may look at us: nothing unneeded is open, no procfs without masks, no mount
    // of the host. Where nothing more is waited for, execve closes all of it as soon. Not later: a filter may be in force.
    if init.will_wait {
        sys::close_dropped();
    }
    if init.dies_with_runtime {
        process::prctl(PR_SET_PDEATHSIG, 0, 0).at(Stage::Wait)?;
        init.dies_with_runtime = false;
    }
    Ok(())
}

/// Has the runtime give a detached mount its id mapping. It takes the privilege over both the file system and the mapping, and
/// an init in a user namespace has at most one of them.
///
/// # Errors
/// [`Stage::Wait`]. When the runtime could not, init is killed.
pub fn map_ids(init: &mut Init, mount: FdRef<'_>) -> Done {
    let frame = Frame::IdMap { op: init.op }.encode();
    socket::send_fd(init.handles.get(Handle::SOCKET)?, &frame, mount).at(Stage::Wait)?;
    receive_go(init)
}

/// Has the runtime open the path of this op, which we may not reach, in our mount namespace.
///
/// # Errors
/// [`Stage::Wait`]. When the runtime could not, init is killed.
pub fn source(init: &mut Init) -> Result<Fd, Failed> {
    init.leads_out = true;
    report::send(&Frame::Source { op: init.op }).at(Stage::Wait)?;
    sent_file(init)
}

/// Waits for what comes with the next Go. No state has come yet: the hooks that read it run when all is mounted.
///
/// # Errors
/// [`Stage::Wait`].
pub fn sent_file(init: &mut Init) -> Result<Fd, Failed> {
    receive_go(init)?;
    init.state.take().ok_or(Errno::EPROTO).at(Stage::Wait)
}

fn receive_go(init: &mut Init) -> Done {
    let socket = init.handles.get(Handle::SOCKET)?;
    let mut bytes = [0; FRAME_LENGTH];
    // Behind a filter read(2), as runc; but where startContainer hooks want their state.
    let (count, fd) = if init.is_filtered && !init.has_late_hooks {
        (fs::read(socket, &mut bytes).at(Stage::Wait)?.len(), None)
    } else {
        socket::receive(socket, &mut bytes).at(Stage::Wait)?
    };
    if count == 0 {
        sys::exit(1);
    }
    match Frame::decode(bytes.get(..count).unwrap_or_default()) {
        Ok(Frame::Go { ignored }) => init.ignored = ignored,
        _ => return Err(Failed::new(Stage::Wait, Errno::EPROTO)),
    }
    if fd.is_some() {
        init.state = fd;
    }
    Ok(())
}

/// [`corten_plan::Op::EndBySignals`].
///
/// # Errors
/// Those of sigaction(2) and sigprocmask(2).
pub fn end_by_signals() -> Done {
    const SIGNALS: [u32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];
    for signal in SIGNALS {
        process::exit_by_signal(signal).at(Stage::Op)?;
    }
    process::unblock(SIGNALS.iter().fold(0, |set, signal| set | 1 << (signal - 1))).at(Stage::Op)
}

/// [`corten_plan::Op::WaitStart`].
///
/// One write(2), and nothing else: a filter that runc starts under lets it pass.
///
/// # Errors
/// Those of write(2).
pub fn wait_start(init: &Init) -> Done {
    let fifo = init.handles.get(Handle::START_FIFO)?;
    let count = fs::write(fifo, &STARTED).at(Stage::Wait)?;
    report::to(fifo);
    if count == STARTED.len() { Ok(()) } else { Err(Failed::new(Stage::Wait, Errno::EIO)) }
}

/// [`corten_plan::Op::Home`].
///
/// # Errors
/// None but of memory: what cannot be read says nothing about a home.
#[inline(never)]
pub fn home(init: &mut Init, uid: u32) -> Done {
    let mut lines = Lines::new();
    init.home = match find_home(init, &mut lines, uid) {
        Ok(Some(home)) => Some(memory::keep(&[b"HOME=", home]).at(Stage::Op)?),
        Ok(None) | Err(_) => Some(c"HOME=/"),
    };
    Ok(())
}

fn find_home<'l>(init: &Init, lines: &'l mut Lines, uid: u32) -> Result<Option<&'l [u8]>, Errno> {
    const PASSWD: &CStr = c"/etc/passwd";
    // The image decides what lies there. A look first, by the path, for the root is ours by now: to open a device, as root and
    // maybe before the cgroup forbids it, may have effects of its own.
    let is_file = |status: sys::abi::Statx| status.kind() == S_IFREG;
    if !is_file(fs::statx(FdRef::CWD, PASSWD, 0)?) {
        return Ok(None);
    }
    // Whatever has taken its place since then: neither a FIFO nor a terminal may hold us up, and neither is read.
    let root = init.root().map_err(|failed| failed.errno)?;
    let file = target::open(root, PASSWD, O_NONBLOCK | sys::abi::O_NOCTTY, 0)?;
    if !is_file(fs::status(file.get())?) {
        return Ok(None);
    }
    for _ in 0..MAX_LINES {
        let Some(line) =
            lines.next(|buffer| fs::read(file.get(), buffer).map(|read| read.len()))?
        else {
            break;
        };
        if passwd::home_of(line, uid).is_some() {
            return Ok(lines.last().and_then(|line| passwd::home_of(line, uid)));
        }
    }
    Ok(None)
}

/// [`corten_plan::Op::Affinity`].
///
/// # Errors
/// Those of sched_setaffinity(2): EINVAL when the cgroup has none of the CPUs.
pub fn affinity(cpus: Ids<'_>) -> Done {
    with_mask(cpus, &|mask| process::set_affinity(mask))
}

/// [`corten_plan::Op::MemoryPolicy`].
///
/// # Errors
/// Those of set_mempolicy(2).
pub fn memory_policy(mode: u32, nodes: Ids<'_>) -> Done {
    with_mask(nodes, &|mask| process::set_memory_policy(mode, mask))
}

/// Calls `set` with the bits, aligned as the kernel wants them.
fn with_mask(bits: Ids<'_>, set: &dyn Fn(&[u32]) -> sys::Result<()>) -> Done {
    let mut mask = [0; MAX_CPUS / 32];
    let Some(words) = mask.get_mut(..bits.len()) else {
        return Err(Failed::new(Stage::Plan, Errno::EINVAL));
    };
    words.iter_mut().zip(bits.iter()).for_each(|(to, from)| *to = from);
    set(words).at(Stage::Op)
}

/// [`corten_plan::Op::Rlimit`].
///
/// # Errors
/// Those of prlimit(2).
pub fn limit(resource: u32, soft: u64, hard: u64) -> Done {
    // What was dropped is still open, and would count.
    if resource == RLIMIT_NOFILE && soft < MANY_FILES {
        sys::close_dropped();
    }
    process::set_limit(resource, soft, hard).at(Stage::Op)
}

/// [`corten_plan::Op::Cwd`].
///
/// # Errors
/// [`Stage::Chdir`]; [`Stage::Outside`] when the kernel says that the directory is not below our root.
#[inline(never)]
pub fn cwd(init: &mut Init, path: &'static CStr, retry: bool) -> Done {
    // Where the first one has brought us, and what was said about it, no change of credentials undoes.
    if !retry && init.cwd == Some(path) {
        return Ok(());
    }
    // This is our root, whatever it is.
    if path == c"/" && init.is_at_root {
        return Ok(());
    }
    match fs::chdir(path) {
        Err(Errno::EACCES | Errno::EPERM) if retry => return Ok(()),
        done => done.at(Stage::Chdir)?,
    }
    (init.cwd, init.is_at_root) = (Some(path), false);
    // The system call and not the library function, which would hide `(unreachable)` (CVE-2024-21626).
    let mut buffer = [0; PATH_MAX];
    let inside = fs::getcwd(&mut buffer).at(Stage::Outside)?.starts_with(b"/");
    if inside { Ok(()) } else { Err(Failed::new(Stage::Outside, Errno::EPERM)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_permissions_are_read_as_hexadecimal() {
        assert_eq!(key_permissions(b"keyring;0;0;3f130000;_ses\0"), Some(0x3f13_0000));
        assert_eq!(key_permissions(b"keyring;0;0"), None);
        assert_eq!(key_permissions(b"keyring;0;0;x;_ses"), None);
    }
}
