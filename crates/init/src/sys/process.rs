//! Processes, credentials, signals and time.
//!
//! Runs in: init.

use core::ffi::CStr;

use super::abi::{self, CapData, CloneArgs, PollFd, SchedAttr, Timespec};
use super::memory::Pointers;
use super::{Errno, Fd, FdRef, Result, arch, call, ignored};

/// `getpid`.
pub fn getpid() -> usize {
    // SAFETY: no pointers; it cannot fail.
    unsafe { call!(GETPID) }.unwrap_or(0)
}

/// `prctl` with numbers.
pub fn prctl(option: u32, second: u32, third: u32) -> Result<usize> {
    // SAFETY: only used for options whose arguments are numbers; unused ones are zero, as some options demand.
    unsafe { call!(PRCTL, option, second, third, 0u32, 0u32) }
}

/// `PR_SET_NAME`: at most 15 bytes count.
pub fn set_name(name: &CStr) {
    // SAFETY: `name` ends with a NUL; the kernel reads up to it.
    ignored(unsafe { call!(PRCTL, abi::PR_SET_NAME, name) });
}

/// `setns`.
pub fn setns(namespace: FdRef<'_>, kind: u32) -> Result<()> {
    // SAFETY: no pointers.
    unsafe { call!(SETNS, namespace, kind) }.map(drop)
}

/// `unshare`; not with `CLONE_FILES`, `CLONE_VM` and their like.
pub fn unshare(flags: u32) -> Result<()> {
    // SAFETY: no pointers; the process has one thread.
    unsafe { call!(UNSHARE, flags) }.map(drop)
}

/// `setsid`.
pub fn setsid() -> Result<()> {
    // SAFETY: no pointers.
    unsafe { call!(SETSID) }.map(drop)
}

/// What [`fork`] gave.
#[derive(Debug)]
pub enum Forked {
    /// This is the child.
    Child,
    /// This is the parent.
    Parent {
        /// The child's pid in the parent's namespace.
        pid: i32,
        /// The child.
        pidfd: Fd,
    },
}

/// `clone3` with its own copy of memory, as fork(2); `CLONE_PIDFD` is added.
pub fn fork(flags: u64, exit_signal: u64) -> Result<Forked> {
    let mut number = -1i32;
    let pidfd = u64::try_from((&raw mut number).expose_provenance()).unwrap_or(0);
    let args =
        CloneArgs { flags: flags | abi::CLONE_PIDFD, pidfd, exit_signal, ..CloneArgs::default() };
    // SAFETY: `args` is a `struct clone_args` of the size given. No caller passes CLONE_VM: the child has a copy of memory and
    // stack, and this process has one thread, so both go on from here.
    let pid = unsafe { call!(CLONE3, &raw const args, size_of::<CloneArgs>()) }?;
    if pid == 0 {
        return Ok(Forked::Child);
    }
    let pid = i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?;
    Ok(Forked::Parent { pid, pidfd: Fd { number } })
}

/// `clone` with its own copy of memory, as fork(2), with `CLONE_PIDFD` and SIGCHLD at its end: for where a filter may forbid
/// clone3, whose flags it cannot see.
pub fn fork_by_clone() -> Result<Forked> {
    let mut number = -1i32;
    let flags = abi::CLONE_PIDFD | abi::SIGCHLD;
    // SAFETY: without CLONE_VM the child has a copy of memory and stack (a stack of NULL: the same address), and this process
    // has one thread, so both go on from here; with CLONE_PIDFD the kernel writes an int to the third argument. The last two,
    // whose order differs between architectures, are not looked at without CLONE_SETTLS and CLONE_CHILD_*.
    let pid = unsafe { call!(CLONE, flags, 0u64, &raw mut number, 0u64, 0u64) }?;
    if pid == 0 {
        return Ok(Forked::Child);
    }
    let pid = i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?;
    Ok(Forked::Parent { pid, pidfd: Fd { number } })
}

/// `seccomp(SECCOMP_SET_MODE_FILTER)`; what it returns is the listener's number, where the flags ask for one.
pub fn set_filter(program: &[u8], flags: u32) -> Result<usize> {
    // `struct sock_filter` has 8 bytes. A program that is too long for the kernel is too long for it as the largest number too.
    let length = u16::try_from(program.len() / 8).unwrap_or(u16::MAX);
    let filter = abi::SockFprog { length, filter: program.as_ptr() };
    // SAFETY: the kernel reads `length` instructions of 8 bytes each from `program`, which has them (u16::MAX is more than
    // BPF_MAXINSNS, which the kernel refuses before it reads), and copies them.
    unsafe { call!(SECCOMP, abi::SECCOMP_SET_MODE_FILTER, flags, &raw const filter) }
}

/// `execve`: returns only when it fails.
pub fn execve(path: &CStr, args: &Pointers, env: &Pointers) -> Errno {
    // SAFETY: `path` ends with a NUL; both lists hold C strings that live for ever and end with NULL.
    let failed = unsafe { call!(EXECVE, path, args.as_ptr(), env.as_ptr()) };
    failed.err().unwrap_or(Errno::NONE)
}

/// `kill` of the process group that `leader` leads, with SIGKILL.
pub fn kill_group(leader: i32) {
    // SAFETY: no pointers.
    ignored(unsafe { call!(KILL, -leader, abi::SIGKILL) });
}

/// `waitid` for the child to end: its exit code, or 128 and the signal.
pub fn wait(child: FdRef<'_>) -> Result<i32> {
    // siginfo_t: 128 bytes; si_code is the third int, si_status the seventh.
    let mut info = [0i32; 32];
    let nothing = core::ptr::null::<u8>();
    // SAFETY: the kernel writes a siginfo_t of 128 bytes to `info`; the rusage pointer is NULL.
    unsafe { call!(WAITID, abi::P_PIDFD, child, info.as_mut_ptr(), abi::WEXITED, nothing) }?;
    let [_, _, code, _, _, _, status, ..] = info;
    Ok(if code == abi::CLD_EXITED { status } else { 128 + status })
}

/// `ppoll` for input or hang-up; `None`: no deadline. Which are ready is in `revents`.
pub fn poll(files: &mut [PollFd], timeout_ns: Option<u64>) -> Result<()> {
    const SECOND: u64 = 1_000_000_000;
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let timeout =
        timeout_ns.map(|ns| Timespec { sec: signed(ns / SECOND), nsec: signed(ns % SECOND) });
    let timeout = timeout.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
    let no_mask = core::ptr::null::<u64>();
    // SAFETY: `files` are that many `struct pollfd`; the timeout is NULL or a timespec that outlives the call.
    unsafe { call!(PPOLL, files.as_mut_ptr(), files.len(), timeout, no_mask, 8u32) }.map(drop)
}

/// `clock_gettime` of `CLOCK_MONOTONIC`, in nanoseconds.
pub fn now() -> u64 {
    let mut time = Timespec::default();
    // SAFETY: the kernel writes a `struct timespec`. It cannot fail for this clock.
    ignored(unsafe { call!(CLOCK_GETTIME, abi::CLOCK_MONOTONIC, &raw mut time) });
    let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
    unsigned(time.sec).saturating_mul(1_000_000_000).saturating_add(unsigned(time.nsec))
}

/// `rt_sigaction`: the default disposition of `signal`.
pub fn reset_signal(signal: u32) -> Result<()> {
    // SIG_DFL, no flags, no restorer, empty mask: zeros on every architecture; the largest layout has 32 bytes.
    let action = [0u64; 4];
    let old = core::ptr::null::<u64>();
    // SAFETY: `action` is at least as large as the kernel's `struct sigaction`; no handler is installed.
    unsafe { call!(RT_SIGACTION, signal, action.as_ptr(), old, 8u32) }.map(drop)
}

/// `rt_sigaction`: `signal` ends the process, even where that is the first of a pid namespace; until the next execve.
pub fn exit_by_signal(signal: u32) -> Result<()> {
    extern "C" fn exit(signal: i32) -> ! {
        crate::sys::exit(128 + signal)
    }
    let handler = exit as extern "C" fn(i32) -> ! as usize;
    // Handler, flags, restorer, mask on x86_64, which needs some restorer (this one is never reached); elsewhere, without
    // the flag, what comes after the flags is the mask.
    let action = [handler, arch::SA_RESTORER, if arch::SA_RESTORER == 0 { 0 } else { handler }, 0];
    let old = core::ptr::null::<u64>();
    // SAFETY: `action` is at least as large as the kernel's `struct sigaction`; the handler makes one system call, touches no
    // memory of the program and does not return.
    unsafe { call!(RT_SIGACTION, signal, action.as_ptr(), old, 8u32) }.map(drop)
}

/// `rt_sigprocmask`: those of `set` are not blocked; bit n-1 is signal n.
pub fn unblock(set: u64) -> Result<()> {
    let old = core::ptr::null::<u64>();
    // SAFETY: the set has the 8 bytes that are given as its size.
    unsafe { call!(RT_SIGPROCMASK, abi::SIG_UNBLOCK, &raw const set, old, 8u32) }.map(drop)
}

/// `rt_sigprocmask`: no signal is blocked.
pub fn unblock_signals() -> Result<()> {
    let none = 0u64;
    let old = core::ptr::null::<u64>();
    // SAFETY: the set has the 8 bytes that are given as its size.
    unsafe { call!(RT_SIGPROCMASK, abi::SIG_SETMASK, &raw const none, old, 8u32) }.map(drop)
}

/// `setgroups`; `ids` as in the plan: four bytes each, in the machine's order.
pub fn setgroups(ids: &[u32]) -> Result<()> {
    // SAFETY: `ids` are that many gid_t.
    unsafe { call!(SETGROUPS, ids.len(), ids.as_ptr()) }.map(drop)
}

/// `getgroups`: the part of `ids` that was filled; with an empty slice, nothing is filled.
pub fn getgroups(ids: &mut [u32]) -> Result<usize> {
    // SAFETY: the kernel writes at most `ids.len()` gid_t.
    unsafe { call!(GETGROUPS, ids.len(), ids.as_mut_ptr()) }
}

/// `setresuid` of all three.
pub fn set_uid(uid: u32) -> Result<()> {
    // SAFETY: no pointers.
    unsafe { call!(SETRESUID, uid, uid, uid) }.map(drop)
}

/// `setresgid` of all three.
pub fn set_gid(gid: u32) -> Result<()> {
    // SAFETY: no pointers.
    unsafe { call!(SETRESGID, gid, gid, gid) }.map(drop)
}

/// `setuid`: of all three for who has CAP_SETUID.
pub fn set_uid_plainly(uid: u32) -> Result<()> {
    // SAFETY: no pointers.
    unsafe { call!(SETUID, uid) }.map(drop)
}

/// `setgid`: of all three for who has CAP_SETGID.
pub fn set_gid_plainly(gid: u32) -> Result<()> {
    // SAFETY: no pointers.
    unsafe { call!(SETGID, gid) }.map(drop)
}

/// `getresuid`: real, effective, saved.
pub fn uids() -> Result<[u32; 3]> {
    let [mut real, mut effective, mut saved] = [u32::MAX; 3];
    // SAFETY: the kernel writes one uid_t through each pointer.
    unsafe { call!(GETRESUID, &raw mut real, &raw mut effective, &raw mut saved) }?;
    Ok([real, effective, saved])
}

/// `getresgid`: real, effective, saved.
pub fn gids() -> Result<[u32; 3]> {
    let [mut real, mut effective, mut saved] = [u32::MAX; 3];
    // SAFETY: the kernel writes one gid_t through each pointer.
    unsafe { call!(GETRESGID, &raw mut real, &raw mut effective, &raw mut saved) }?;
    Ok([real, effective, saved])
}

/// `capset` of this thread: low and high half.
pub fn capset(sets: &[CapData; 2]) -> Result<()> {
    let header = [abi::LINUX_CAPABILITY_VERSION_3, 0];
    // SAFETY: version 3 of the header says that two structures follow, and `sets` are two.
    unsafe { call!(CAPSET, header.as_ptr(), sets.as_ptr()) }.map(drop)
}

/// `capget` of this thread: low and high half.
pub fn capget() -> Result<[CapData; 2]> {
    let mut header = [abi::LINUX_CAPABILITY_VERSION_3, 0];
    let mut sets = [CapData::default(); 2];
    // SAFETY: the kernel writes the version to the header and, for version 3, two structures to `sets`.
    unsafe { call!(CAPGET, header.as_mut_ptr(), sets.as_mut_ptr()) }?;
    Ok(sets)
}

/// `prlimit64` of this process.
pub fn set_limit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = [soft, hard];
    let old = core::ptr::null::<u64>();
    // SAFETY: `limit` is a `struct rlimit64`.
    unsafe { call!(PRLIMIT64, 0u32, resource, limit.as_ptr(), old) }.map(drop)
}

/// `personality`.
pub fn personality(persona: u32) -> Result<()> {
    // SAFETY: no pointers.
    unsafe { call!(PERSONALITY, persona) }.map(drop)
}

/// `sched_setattr` of this thread.
pub fn set_scheduler(attr: &SchedAttr) -> Result<()> {
    // SAFETY: `attr` begins with its size; the kernel reads that many bytes.
    unsafe { call!(SCHED_SETATTR, 0u32, core::ptr::from_ref(attr), 0u32) }.map(drop)
}

/// `sched_setaffinity` of this thread to every CPU that there can be (`CONFIG_NR_CPUS` is at most 8192).
pub fn allow_all_cpus() -> Result<()> {
    // A local one: a constant would be a kilobyte of the image.
    let all = [u32::MAX; 8192 / 32];
    set_affinity(&all)
}

/// `sched_setaffinity` of this thread: a bit for each CPU, the lowest first. Little-endian, as all that we run on are, so
/// that words of 32 bits lie as `long`s do.
pub fn set_affinity(words: &[u32]) -> Result<()> {
    // SAFETY: the kernel reads the bytes of `words`, as many as are given.
    unsafe { call!(SCHED_SETAFFINITY, 0u32, size_of_val(words), words.as_ptr()) }.map(drop)
}

/// `ioprio_set` of this process.
pub fn set_io_priority(value: u32) -> Result<()> {
    // SAFETY: no pointers.
    unsafe { call!(IOPRIO_SET, abi::IOPRIO_WHO_PROCESS, 0u32, value) }.map(drop)
}

/// `set_mempolicy`; `nodes`: a bit for each, in an even number of words.
pub fn set_memory_policy(mode: u32, nodes: &[u32]) -> Result<()> {
    // The kernel takes one off it (`get_nodes` in mm/mempolicy.c).
    let count = nodes.len() * 32 + 1;
    // SAFETY: the kernel reads `count` - 1 bits, as longs: all of `nodes` and no more.
    unsafe { call!(SET_MEMPOLICY, mode, nodes.as_ptr(), count) }.map(drop)
}

/// `sethostname`.
pub fn sethostname(name: &CStr) -> Result<()> {
    // SAFETY: `name` has that many bytes.
    unsafe { call!(SETHOSTNAME, name, name.to_bytes().len()) }.map(drop)
}

/// `setdomainname`.
pub fn setdomainname(name: &CStr) -> Result<()> {
    // SAFETY: `name` has that many bytes.
    unsafe { call!(SETDOMAINNAME, name, name.to_bytes().len()) }.map(drop)
}

/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING)`: the keyring's id.
pub fn join_session_keyring(name: &CStr) -> Result<usize> {
    // SAFETY: `name` ends with a NUL and outlives the call.
    unsafe { call!(KEYCTL, abi::KEYCTL_JOIN_SESSION_KEYRING, name) }
}

/// `keyctl(KEYCTL_DESCRIBE)`: the part of `buffer` that was filled: `type;uid;gid;perm;description` and a NUL.
pub fn describe_key(key: usize, buffer: &mut [u8]) -> Result<&[u8]> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes to `buffer`.
    let length =
        unsafe { call!(KEYCTL, abi::KEYCTL_DESCRIBE, key, buffer.as_mut_ptr(), buffer.len()) }?;
    buffer.get(..length).ok_or(Errno::EOVERFLOW)
}

/// `keyctl(KEYCTL_SETPERM)`.
pub fn set_key_permissions(key: usize, permissions: u32) -> Result<()> {
    // SAFETY: no pointers.
    unsafe { call!(KEYCTL, abi::KEYCTL_SETPERM, key, permissions) }.map(drop)
}
