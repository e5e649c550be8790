//! The system call filter.
//!
//! Behind it init makes only calls that runc makes there too (`libcontainer/standard_init_linux.go`): a profile that kills for
//! anything else was written for those. `Init::is_filtered` says so to whoever has another way otherwise.
//!
//! Runs in: init.

use corten_plan::{Frame, Stage};

use crate::process::let_go_of_runtime;
use crate::report::{self, At, Done, Failed};
use crate::run::Init;
use crate::sys::abi::{O_PATH, SECCOMP_FILTER_FLAG_NEW_LISTENER};
use crate::sys::{self, Errno, FdRef, fs, process};

/// A filter.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    /// `struct sock_filter[]`.
    pub program: &'static [u8],
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
}

/// [`corten_plan::Op::Seccomp`].
///
/// # Errors
/// [`Stage::Filter`]; [`Stage::ReadBack`] when the listener has another number than was said.
pub fn set(init: &mut Init, filter: Filter, at_exec: bool) -> Done {
    if at_exec {
        init.filter = Some(filter);
        return Ok(());
    }
    // What is left to do before Ready is a write and a read: all else that init does there it does now.
    let_go_of_runtime(init)?;
    sys::close_dropped();
    let listener = if filter.flags & SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
        None
    } else {
        Some(announce_listener()?)
    };
    let loaded = process::set_filter(filter.program, filter.flags).at(Stage::Filter)?;
    init.is_filtered = true;
    // The listener stays open until execve, which closes it: what the agent answers comes through the runtime's copy.
    match listener {
        Some(number) if number != loaded => Err(Failed::new(Stage::ReadBack, Errno::EBADF)),
        _ => Ok(()),
    }
}

/// Tells the runtime which number the listener will have: the lowest that is free, for open(2) and seccomp(2) alike. After the
/// filter is loaded there may be no call left that could tell it: the profile decides, and the agent cannot answer yet.
fn announce_listener() -> Result<usize, Failed> {
    let lowest = fs::openat(FdRef::CWD, c"/", O_PATH, 0).at(Stage::Filter)?;
    let number = lowest.get().number();
    drop(lowest);
    sys::close_dropped();
    report::send(&Frame::Listener { number }).at(Stage::Filter)?;
    usize::try_from(number).map_err(|_| Failed::new(Stage::Filter, Errno::EBADF))
}
