//! The user's program: found, executed, and, where that fails, looked at to say why.
//!
//! Runs in: init.

use core::ffi::CStr;

use corten_plan::Stage;
use corten_plan::wire::List;

use crate::diagnosis::{self, Program};
use crate::path::Path;
use crate::process as process_ops;
use crate::report::{At, Done, Failed};
use crate::run::Init;
use crate::seccomp::Filter;
use crate::sys::abi::{O_NOCTTY, O_NONBLOCK, O_RDONLY, S_IFDIR, S_IFMT, ST_NOEXEC};
use crate::sys::memory::{self, Pointers};
use crate::sys::{Errno, FdRef, fs, process};

/// How much of a program is looked at.
const HEAD_LENGTH: usize = 2048;

/// [`corten_plan::Op::Find`].
///
/// # Errors
/// [`Stage::Exec`] for a file with a slash, [`Stage::NotInPath`] otherwise: EACCES, with the path as detail, where only such
/// were found that cannot be executed.
#[inline(never)]
pub fn find(init: &mut Init, file: &'static CStr, path: &CStr) -> Done {
    let name = file.to_bytes();
    if name.contains(&b'/') {
        check(file).at(Stage::Exec)?;
        init.program = Some(file);
        return Ok(());
    }
    let mut candidate = Path::new();
    let mut reason = Errno::ENOENT;
    for directory in path.to_bytes().split(|byte| *byte == b':').filter(|_| !name.is_empty()) {
        // An empty entry is the working directory, as in execvp(3). One that is too long leads nowhere.
        let directory = if directory.is_empty() { b"." } else { directory };
        candidate.truncate(0);
        if candidate.push(&[directory, b"/", name]).is_err() {
            continue;
        }
        match check(candidate.as_c_str()) {
            Ok(()) => {
                init.program = Some(memory::keep(&[candidate.bytes()]).at(Stage::Exec)?);
                return Ok(());
            }
            Err(Errno::EACCES) if reason == Errno::ENOENT => {
                reason = Errno::EACCES;
                init.detail.set(&[candidate.bytes()]);
            }
            Err(_) => {}
        }
    }
    Err(Failed::new(Stage::NotInPath, reason))
}

/// Whether there is a file that may be executed. The calls are those of Go's exec.LookPath, which runc makes here: both may be
/// behind a filter, to which faccessat2 may be unknown.
fn check(path: &CStr) -> Result<(), Errno> {
    let mode = fs::mode(path)?;
    if mode & S_IFMT == S_IFDIR {
        return Err(Errno::EISDIR);
    }
    match fs::executable(path) {
        Err(Errno::ENOSYS | Errno::EPERM) if mode & 0o111 != 0 => Ok(()),
        Err(Errno::ENOSYS | Errno::EPERM) => Err(Errno::EACCES),
        checked => checked,
    }
}

/// [`corten_plan::Op::Exec`]: comes back only with an error.
///
/// # Errors
/// [`Stage::Exec`], [`Stage::Interpreter`].
pub fn exec(init: &mut Init, args: List<'static>, env: List<'static>, home: bool) -> Done {
    let program = init.program.ok_or(Failed::new(Stage::Plan, Errno::ENOENT))?;
    let lists = Pointers::lists([args.len(), env.len() + 1]).at(Stage::Exec)?;
    let [mut argv, mut envp] = lists;
    args.iter().try_for_each(|arg| argv.push(arg)).at(Stage::Exec)?;
    env.iter().try_for_each(|variable| envp.push(variable)).at(Stage::Exec)?;
    if let Some(home) = init.home.filter(|_| home) {
        envp.push(home).at(Stage::Exec)?;
    }
    // Where nobody was waited for at Ready.
    process_ops::let_go_of_runtime(init)?;
    // What is ignored stays so across execve: Rust's std ignores SIGPIPE in the runtime. Blocked until here, so that no signal
    // ends init half-way.
    reset_signals(init.ignored).at(Stage::Exec)?;
    if let Some(Filter { program, flags }) = init.filter {
        process::set_filter(program, flags).at(Stage::Filter)?;
    }
    let errno = process::execve(program, &argv, &envp);
    Err(diagnose(init, program, errno))
}

/// The default disposition for each signal of `ignored`, then none is blocked.
///
/// # Errors
/// Those of sigaction(2).
pub fn reset_signals(ignored: u64) -> Result<(), Errno> {
    for signal in (1..=64).filter(|signal| ignored >> (signal - 1) & 1 == 1) {
        process::reset_signal(signal)?;
    }
    process::unblock_signals()
}

/// Says what the error number alone does not.
#[inline(never)]
fn diagnose(init: &mut Init, program: &CStr, errno: Errno) -> Failed {
    let plain = Failed::new(Stage::Exec, errno);
    let mut buffer = [0; HEAD_LENGTH];
    let Ok(file) = fs::openat(FdRef::CWD, program, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0) else {
        return plain;
    };
    let Ok(head) = fs::read(file.get(), &mut buffer) else { return plain };
    let kind = diagnosis::program(head);
    match (errno, kind) {
        (Errno::ENOENT | Errno::EACCES, Program::Script { line, carriage_return })
            if !is_noexec(file.get()) =>
        {
            let hint: &[u8] = if carriage_return { b" (the line ends in CR LF)" } else { b"" };
            init.detail.set(&[line, hint]);
            Failed::new(Stage::Interpreter, errno)
        }
        (Errno::ENOENT, Program::Elf { interpreter: Some(interpreter), .. }) => {
            init.detail.set(&[interpreter]);
            Failed::new(Stage::Interpreter, errno)
        }
        (Errno::EACCES, _) if is_noexec(file.get()) => {
            init.detail.set(&[b"it is on a file system that is mounted noexec"]);
            plain
        }
        (Errno::ENOEXEC, kind) => {
            init.detail.set(&diagnosis::no_program(kind));
            plain
        }
        _ => plain,
    }
}

fn is_noexec(file: FdRef<'_>) -> bool {
    fs::file_system(file).is_ok_and(|status| status.flags & ST_NOEXEC != 0)
}
