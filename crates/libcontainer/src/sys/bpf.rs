//! `bpf(2)`: programs of type `BPF_PROG_TYPE_CGROUP_DEVICE`.
//!
//! Every call gets one zeroed `union bpf_attr` of [`ATTR_SIZE`] bytes and says so: since Linux 6.17 `BPF_PROG_QUERY`
//! writes `query.revision` at offset 56 even where the caller's attribute is shorter (fixed in 7.2; it hit runc 1.5.1).
//!
//! Runs in: runtime.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Larger than every `union bpf_attr` so far (168 bytes in Linux 7.0). A kernel with a smaller one takes it, as long as
/// what it does not know is zero (`bpf_check_uarg_tail_zero`).
const ATTR_SIZE: usize = 256;

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_DETACH: libc::c_long = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_PROG_QUERY: libc::c_long = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
const BPF_F_REPLACE: u32 = 1 << 2;

/// The kernel takes at most 64 programs on one cgroup (`BPF_CGROUP_MAX_PROGS`).
const MAX_PROGRAMS: usize = 64;

/// `union bpf_attr`, the part that is used; what follows is zero.
#[repr(C, align(8))]
struct Attr<T> {
    head: T,
    rest: [u64; ATTR_SIZE / 8],
}

impl<T> Attr<T> {
    fn new(head: T) -> Self {
        const { assert!(size_of::<T>().is_multiple_of(8), "no padding between head and rest") };
        Self { head, rest: [0; ATTR_SIZE / 8] }
    }
}

/// For `BPF_PROG_LOAD`.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// For `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
    padding: u32,
}

/// For `BPF_PROG_QUERY`.
#[repr(C)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

/// For `BPF_PROG_GET_FD_BY_ID`.
#[repr(C)]
struct ById {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
    padding: u32,
}

/// Loads a device program and returns its fd, close-on-exec as all of bpf's are. `instructions` are
/// `struct bpf_insn` of 8 bytes each; `log` gets what the verifier says, as text that ends with NUL; empty: it says nothing.
///
/// # Errors
/// EPERM without CAP_BPF or CAP_SYS_ADMIN; EINVAL or EACCES when the verifier refuses the program.
pub fn load_device_program(instructions: &[u64], log: &mut [u8]) -> io::Result<OwnedFd> {
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let head = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: instructions.len().try_into().map_err(too_long)?,
        insns: instructions.as_ptr().expose_provenance() as u64,
        // No helper is called, so the licence has no effect.
        license: c"Apache-2.0".as_ptr().expose_provenance() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: log.len().try_into().map_err(too_long)?,
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr().expose_provenance() as u64 },
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"corten_device\0\0\0",
    };
    // SAFETY: for PROG_LOAD the kernel reads `insn_cnt` instructions at `insns` and the C string at `license`, and writes at
    // most `log_size` bytes to `log_buf`: a live slice, a literal, and a slice that is borrowed mutably.
    let result = unsafe { bpf(BPF_PROG_LOAD, &mut Attr::new(head)) };
    result.map(owned)
}

/// Attaches `program` to `cgroup` beside what is there; with `replaced`, in the place of that one, in one step.
///
/// # Errors
/// E2BIG above 64 programs; ENOENT when `replaced` is not attached.
pub fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let flags =
        if replaced.is_some() { BPF_F_ALLOW_MULTI | BPF_F_REPLACE } else { BPF_F_ALLOW_MULTI };
    let head = attach(cgroup, program, flags, replaced.map_or(0, number));
    // SAFETY: PROG_ATTACH has no pointer; all fds are borrowed and so open.
    unsafe { bpf(BPF_PROG_ATTACH, &mut Attr::new(head)) }.map(drop)
}

/// Detaches `program` from `cgroup`.
///
/// # Errors
/// ENOENT when it is not attached.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let head = attach(cgroup, program, 0, 0);
    // SAFETY: PROG_DETACH has no pointer; both fds are borrowed and so open.
    unsafe { bpf(BPF_PROG_DETACH, &mut Attr::new(head)) }.map(drop)
}

/// The ids of the device programs that are attached to this very cgroup, in the order in which they run.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN and CAP_BPF.
pub fn device_programs(cgroup: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut ids = vec![0u32; MAX_PROGRAMS];
    let mut attr = Attr::new(Query {
        target_fd: number(cgroup),
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr().expose_provenance() as u64,
        prog_cnt: 64,
        padding: 0,
    });
    // SAFETY: PROG_QUERY writes at most `prog_cnt` (64) ids of 4 bytes to `prog_ids`, which has room for MAX_PROGRAMS (64), and
    // results into the attribute, which is larger than any kernel's.
    unsafe { bpf(BPF_PROG_QUERY, &mut attr) }?;
    ids.truncate(attr.head.prog_cnt.try_into().unwrap_or(MAX_PROGRAMS));
    Ok(ids)
}

/// An fd of the program with this id.
///
/// # Errors
/// ENOENT when it is gone; EPERM without CAP_SYS_ADMIN; EACCES by an LSM.
pub fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    let head = ById { prog_id: id, next_id: 0, open_flags: 0, padding: 0 };
    // SAFETY: PROG_GET_FD_BY_ID has no pointer.
    unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut Attr::new(head)) }.map(owned)
}

fn attach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>, flags: u32, replaced: u32) -> Attach {
    Attach {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: flags,
        replace_bpf_fd: replaced,
        padding: 0,
    }
}

#[expect(clippy::cast_sign_loss, reason = "an open fd is not negative")]
fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: called with the result of PROG_LOAD and PROG_GET_FD_BY_ID only: a new fd that nobody else has.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// # Safety
/// What `attr` points to must be valid for what `command` reads and writes there.
unsafe fn bpf<T>(command: libc::c_long, attr: &mut Attr<T>) -> io::Result<i32> {
    // The verifier gives up with EAGAIN when a signal is pending (`do_check`); libbpf tries 5 times too.
    for _ in 0..5 {
        // SAFETY: `attr` is ATTR_SIZE bytes or more, initialised, ours; its pointers are the caller's promise.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), ATTR_SIZE) };
        if result >= 0 {
            return i32::try_from(result).map_err(io::Error::other);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EAGAIN) {
            return Err(error);
        }
    }
    Err(io::Error::from_raw_os_error(libc::EAGAIN))
}
