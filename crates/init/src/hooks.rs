//! Hooks of the container's namespaces.
//!
//! Runs in: init.

use core::ffi::CStr;
use core::sync::atomic::{AtomicI32, Ordering};

use corten_plan::Stage;
use corten_plan::wire::List;

use crate::program::reset_signals;
use crate::report::{At, Detail, Done, Failed};
use crate::run::Init;
use crate::sys::abi::{CLONE_CLEAR_SIGHAND, POLLIN, PollFd, SIGCHLD};
use crate::sys::memory::{self, Pointers};
use crate::sys::process::Forked;
use crate::sys::{self, Errno, Fd, FdRef, fs, process};

/// A hook.
#[derive(Debug)]
pub struct Hook {
    /// The program.
    pub path: &'static CStr,
    /// argv.
    pub args: List<'static>,
    /// envp.
    pub env: List<'static>,
    /// Its working directory.
    pub cwd: &'static CStr,
    /// 0: no deadline.
    pub timeout_ms: u64,
    /// With the HOME that was looked up.
    pub home: bool,
}

/// [`corten_plan::Op::Hook`].
///
/// # Errors
/// [`Stage::HookStart`], [`Stage::HookStatus`], [`Stage::HookTimeout`].
pub fn run(init: &mut Init, hook: &Hook) -> Done {
    let state = init.state.as_ref().ok_or(Failed::new(Stage::Plan, Errno::EBADF))?;
    fs::rewind(state.get()).at(Stage::HookStart)?;
    let [mut args, mut env] =
        Pointers::lists([hook.args.len(), hook.env.len() + 1]).at(Stage::HookStart)?;
    hook.args.iter().try_for_each(|arg| args.push(arg)).at(Stage::HookStart)?;
    let home = init.home.filter(|_| hook.home);
    hook.env.iter().chain(home).try_for_each(|variable| env.push(variable)).at(Stage::HookStart)?;
    let (output, input) = fs::pipe().at(Stage::HookStart)?;
    let exec_errno = memory::shared_number().at(Stage::HookStart)?;
    // CLEAR_SIGHAND: no handler of ours runs in it, were there one. A filter cannot look into clone3's flags, so that profiles
    // answer ENOSYS to it.
    let forked = if init.is_filtered {
        process::fork_by_clone()
    } else {
        process::fork(CLONE_CLEAR_SIGHAND, SIGCHLD)
    };
    match forked.at(Stage::HookStart)? {
        Forked::Child => {
            child(hook, init.ignored, state.get(), input.get(), [&args, &env], exec_errno)
        }
        Forked::Parent { pid, pidfd } => {
            drop(input);
            // Our end of what the hook writes to is closed now, or its end would never come.
            sys::close_dropped();
            let in_time = watch(&mut init.detail, pidfd.get(), &output, hook.timeout_ms)?;
            if !in_time {
                process::kill_group(pid);
            }
            let status = process::wait(pidfd.get()).at(Stage::HookStatus)?;
            judge(in_time, status, Errno(exec_errno.load(Ordering::Relaxed)))
        }
    }
}

fn judge(in_time: bool, status: i32, exec: Errno) -> Done {
    let item = u16::try_from(status).unwrap_or(u16::MAX);
    let failed = |stage| Err(Failed { stage, item, errno: Errno::NONE });
    match (exec, in_time, status) {
        (Errno::NONE, true, 0) => Ok(()),
        (Errno::NONE, true, _) => failed(Stage::HookStatus),
        (Errno::NONE, false, _) => failed(Stage::HookTimeout),
        (errno, _, _) => Err(Failed::new(Stage::HookStart, errno)),
    }
}

/// In the hook's process: its own session, so its own process group; fds 0, 1, 2 and no other.
fn child(
    hook: &Hook,
    ignored: u64,
    state: FdRef<'_>,
    output: FdRef<'_>,
    [args, env]: [&Pointers; 2],
    exec_errno: &AtomicI32,
) -> ! {
    let prepared = process::setsid()
        .and_then(|()| fs::duplicate_to(state, 0))
        .and_then(|()| fs::duplicate_to(output, 1))
        .and_then(|()| fs::duplicate_to(output, 2))
        .and_then(|()| sys::close_on_exec(3))
        .and_then(|()| fs::chdir(hook.cwd))
        .and_then(|()| reset_signals(ignored));
    let errno = match prepared {
        Ok(()) => process::execve(hook.path, args, env),
        Err(errno) => errno,
    };
    exec_errno.store(errno.0, Ordering::Relaxed);
    sys::exit(127)
}

/// Waits for the hook to end, and keeps the end of what it says; `false`: the deadline came first. That somebody else still
/// holds its output is no reason to wait.
fn watch(
    detail: &mut Detail,
    hook: FdRef<'_>,
    output: &Fd,
    timeout_ms: u64,
) -> Result<bool, Failed> {
    let deadline = (timeout_ms > 0)
        .then(|| process::now().saturating_add(timeout_ms.saturating_mul(1_000_000)));
    let wait_for = |fd: i32| PollFd { fd, events: POLLIN, revents: 0 };
    let mut files = [wait_for(hook.number()), wait_for(output.get().number())];
    loop {
        let left = deadline.map(|deadline| deadline.saturating_sub(process::now()));
        process::poll(&mut files, left).at(Stage::HookStatus)?;
        let [ended, said] = &mut files;
        if said.revents != 0 && !read_output(detail, output.get())? {
            // Nobody writes any more; poll leaves out negative numbers.
            said.fd = -1;
        } else if ended.revents != 0 && said.revents == 0 {
            return Ok(true);
        } else if left == Some(0) {
            return Ok(false);
        }
        said.revents = 0;
    }
}

/// `false`: the end.
fn read_output(detail: &mut Detail, output: FdRef<'_>) -> Result<bool, Failed> {
    let mut buffer = [0; 1024];
    let text = fs::read(output, &mut buffer).at(Stage::HookStatus)?;
    detail.push_tail(text);
    Ok(!text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hook_that_was_never_executed_is_a_start_failure() {
        let failed = judge(true, 127, Errno::ENOENT).unwrap_err();
        assert_eq!((failed.stage, failed.errno), (Stage::HookStart, Errno::ENOENT));
    }

    #[test]
    fn hook_status_and_timeout_carry_the_status() {
        assert_eq!(judge(true, 0, Errno::NONE), Ok(()));
        let failed = judge(true, 3, Errno::NONE).unwrap_err();
        assert_eq!((failed.stage, failed.item), (Stage::HookStatus, 3));
        let failed = judge(false, 137, Errno::NONE).unwrap_err();
        assert_eq!((failed.stage, failed.item), (Stage::HookTimeout, 137));
    }
}
