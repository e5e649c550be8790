//! System calls that no safe crate has, for controls and for the attackers inside: one call a function, no policy.
//!
//! Runs in: any process.

#![allow(unsafe_code, reason = "system calls are what this module is for")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// `TIOCSTI`: puts a byte into a terminal's input, as if it had been typed.
pub fn type_in(terminal: BorrowedFd<'_>, byte: u8) -> io::Result<()> {
    // SAFETY: TIOCSTI reads one byte at the address, which is that of `byte`.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSTI, &raw const byte) };
    checked(result.into()).map(drop)
}

/// Joins a session keyring of that name and puts a key into it.
pub fn add_session_key(keyring: &CStr, key: &CStr) -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    const KEY_SPEC_SESSION_KEYRING: libc::c_long = -3;
    // SAFETY: `keyring` ends with a NUL and outlives the call.
    let joined =
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, keyring.as_ptr()) };
    checked(joined)?;
    // SAFETY: the strings end with a NUL and outlive the call; the payload is one byte of `key`.
    let added = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            key.as_ptr(),
            key.as_ptr(),
            1,
            KEY_SPEC_SESSION_KEYRING,
        )
    };
    checked(added).map(drop)
}

/// Whether a key of that name is in one of this process's keyrings.
pub fn finds_key(key: &CStr) -> bool {
    // SAFETY: the strings end with a NUL and outlive the call; the last two say that nobody is asked to make one.
    let found =
        unsafe { libc::syscall(libc::SYS_request_key, c"user".as_ptr(), key.as_ptr(), 0, 0) };
    checked(found).is_ok()
}

/// `setresuid` of this thread alone, with -1 as it is.
pub fn set_uids(uid: u32) -> io::Result<()> {
    // SAFETY: no pointers.
    checked(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// Loads a seccomp filter under which these system calls do not exist; for this thread and what it executes.
pub fn hide_calls(numbers: &[libc::c_long]) -> io::Result<()> {
    const LOAD_NUMBER: u16 = 0x20;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let code = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = vec![code(LOAD_NUMBER, 0, 0, 0)];
    for number in numbers {
        let number = u32::try_from(*number).map_err(io::Error::other)?;
        program.push(code(JUMP_EQUAL, 0, 1, number));
        let errno = u32::try_from(libc::ENOSYS).map_err(io::Error::other)?;
        program.push(code(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno));
    }
    program.push(code(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let filter = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    // SAFETY: `filter` says where `len` instructions are; both outlive the call.
    let loaded = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter)
    };
    match checked(loaded) {
        // Without CAP_SYS_ADMIN only for who can gain no privileges.
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            // SAFETY: no pointers.
            let set = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            checked(set.into())?;
            hide_calls(numbers)
        }
        loaded => loaded.map(drop),
    }
}

/// `BPF_PROG_QUERY` of the device programs of a cgroup, with an attribute of 48 bytes: what the kernel has written to the
/// 80 bytes after it, which were 0xa5.
pub fn short_bpf_query(cgroup: BorrowedFd<'_>) -> io::Result<[u8; 80]> {
    const BPF_PROG_QUERY: libc::c_long = 16;
    const BPF_CGROUP_DEVICE: u32 = 6;
    const CANARY: [u8; 80] = [0xa5; 80];
    #[repr(C, align(8))]
    struct Short {
        head: [u32; 12],
        after: [u8; 80],
    }
    let mut short = Short { head: [0; 12], after: CANARY };
    short.head[0] = u32::try_from(cgroup.as_raw_fd()).map_err(io::Error::other)?;
    short.head[1] = BPF_CGROUP_DEVICE;
    // SAFETY: the kernel writes to the attribute, and where it is wrong to the 80 bytes after it, which are ours.
    let queried = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut short, 48) };
    checked(queried)?;
    Ok(short.after)
}
