//! Limits of another process (`prlimit(2)`).
//!
//! Runs in: runtime.

use std::io;

/// Raises the hard limit of a process to `hard`, where it is lower, and leaves the soft one as it is.
///
/// # Errors
/// Those of prlimit(2): EPERM without CAP_SYS_RESOURCE.
pub fn raise(pid: i32, resource: u32, hard: u64) -> io::Result<()> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: with no new limit the kernel only writes a rlimit64 to `limit`, which is one.
    let read = unsafe { libc::prlimit64(pid, resource as _, std::ptr::null(), &raw mut limit) };
    if read != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_max >= hard {
        return Ok(());
    }
    limit.rlim_max = hard;
    // SAFETY: the kernel reads a rlimit64 from `limit`, and writes nothing.
    let set =
        unsafe { libc::prlimit64(pid, resource as _, &raw const limit, std::ptr::null_mut()) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::raise;

    #[test]
    fn raise_below_the_limit_changes_nothing() {
        let own = || rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let before = own();
        // RLIMIT_NOFILE.
        raise(i32::try_from(std::process::id()).unwrap(), 7, 1).unwrap();
        assert_eq!(own(), before);
    }

    #[test]
    fn raise_of_what_is_no_limit_is_an_error() {
        let error = raise(i32::try_from(std::process::id()).unwrap(), 1000, 1).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
