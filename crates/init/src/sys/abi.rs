//! Constants and structures of the kernel's interface, by hand from its uapi headers, named as there.
//!
//! Those of system call numbers and of what differs between architectures are in the architecture's file.
//!
//! Runs in: init.

pub use super::arch::{O_DIRECTORY, O_NOFOLLOW};

// fcntl.h, openat2.h
pub const AT_FDCWD: i32 = -100;
pub const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
pub const AT_EACCESS: u32 = 0x200;
pub const AT_EMPTY_PATH: u32 = 0x1000;
pub const AT_RECURSIVE: u32 = 0x8000;
pub const O_RDONLY: u32 = 0;
pub const O_WRONLY: u32 = 0o1;
pub const O_RDWR: u32 = 0o2;
pub const O_CREAT: u32 = 0o100;
pub const O_EXCL: u32 = 0o200;
pub const O_NOCTTY: u32 = 0o400;
pub const O_NONBLOCK: u32 = 0o4_000;
pub const O_CLOEXEC: u32 = 0o2_000_000;
pub const O_PATH: u32 = 0o10_000_000;
pub const RESOLVE_NO_XDEV: u64 = 0x01;
pub const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
pub const RESOLVE_NO_SYMLINKS: u64 = 0x04;
pub const RESOLVE_IN_ROOT: u64 = 0x10;
pub const PATH_MAX: usize = 4096;

// stat.h
pub const S_IFMT: u32 = 0o170_000;
pub const S_IFLNK: u32 = 0o120_000;
pub const S_IFREG: u32 = 0o100_000;
pub const S_IFDIR: u32 = 0o040_000;
pub const S_IFCHR: u32 = 0o020_000;
pub const S_IFIFO: u32 = 0o010_000;
pub const STATX_BASIC_STATS: u32 = 0x7ff;
pub const STATX_MNT_ID: u32 = 0x1000;
pub const STATX_ATTR_MOUNT_ROOT: u64 = 0x2000;
pub const X_OK: u32 = 1;

// magic.h, statfs.h
pub const PROC_SUPER_MAGIC: u64 = 0x9fa0;
pub const TMPFS_MAGIC: u64 = 0x0102_1994;
pub const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;
pub const NSFS_MAGIC: u64 = 0x6e73_6673;
pub const ST_NOEXEC: u64 = 8;

// mount.h
pub const MS_RDONLY: u64 = 1;
pub const MS_NOSUID: u64 = 2;
pub const MS_NODEV: u64 = 4;
pub const MS_NOEXEC: u64 = 8;
pub const MS_SYNCHRONOUS: u64 = 16;
pub const MS_REMOUNT: u64 = 32;
pub const MS_MANDLOCK: u64 = 64;
pub const MS_DIRSYNC: u64 = 128;
pub const MS_NOSYMFOLLOW: u64 = 256;
pub const MS_NOATIME: u64 = 1024;
pub const MS_NODIRATIME: u64 = 2048;
pub const MS_MOVE: u64 = 8192;
pub const MS_REC: u64 = 16384;
pub const MS_PRIVATE: u64 = 1 << 18;
pub const MS_SLAVE: u64 = 1 << 19;
pub const MS_STRICTATIME: u64 = 1 << 24;
pub const MS_LAZYTIME: u64 = 1 << 25;
pub const MNT_DETACH: u32 = 2;
pub const OPEN_TREE_CLONE: u32 = 1;
pub const OPEN_TREE_NAMESPACE: u32 = 2;
pub const LSMT_ROOT: u64 = u64::MAX;
pub const OPEN_TREE_CLOEXEC: u32 = O_CLOEXEC;
pub const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x04;
pub const MOVE_MOUNT_T_SYMLINKS: u32 = 0x10;
pub const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
pub const FSOPEN_CLOEXEC: u32 = 1;
pub const FSMOUNT_CLOEXEC: u32 = 1;
pub const FSCONFIG_SET_FLAG: u32 = 0;
pub const FSCONFIG_SET_STRING: u32 = 1;
pub const FSCONFIG_CMD_CREATE: u32 = 6;
pub const MOUNT_ATTR_RDONLY: u64 = 0x01;
pub const MOUNT_ATTR_NOSUID: u64 = 0x02;
pub const MOUNT_ATTR_NODEV: u64 = 0x04;
pub const MOUNT_ATTR_NOEXEC: u64 = 0x08;
pub const MOUNT_ATTR__ATIME: u64 = 0x70;
pub const MOUNT_ATTR_NOATIME: u64 = 0x10;
pub const MOUNT_ATTR_STRICTATIME: u64 = 0x20;
pub const MOUNT_ATTR_NODIRATIME: u64 = 0x80;
pub const MOUNT_ATTR_NOSYMFOLLOW: u64 = 0x20_0000;

// sched.h, ioprio.h, resource.h
pub const CLONE_VM: u32 = 0x100;
pub const CLONE_PIDFD: u64 = 0x1000;
pub const CLONE_PARENT: u64 = 0x8000;
pub const CLONE_NEWTIME: u32 = 0x80;
pub const CLONE_NEWNS: u32 = 0x2_0000;
pub const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
pub const IOPRIO_WHO_PROCESS: u32 = 1;
pub const RLIMIT_NOFILE: u32 = 7;

// prctl.h, capability.h, keyctl.h
pub const PR_SET_PDEATHSIG: u32 = 1;
pub const PR_SET_DUMPABLE: u32 = 4;
pub const PR_SET_KEEPCAPS: u32 = 8;
pub const PR_SET_NAME: u32 = 15;
pub const PR_CAPBSET_READ: u32 = 23;
pub const PR_CAPBSET_DROP: u32 = 24;
pub const PR_SET_NO_NEW_PRIVS: u32 = 38;
pub const PR_GET_NO_NEW_PRIVS: u32 = 39;
pub const PR_CAP_AMBIENT: u32 = 47;
pub const PR_CAP_AMBIENT_RAISE: u32 = 2;
pub const PR_CAP_AMBIENT_CLEAR_ALL: u32 = 4;
pub const LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;
pub const CAP_MKNOD: u32 = 27;
pub const KEYCTL_JOIN_SESSION_KEYRING: u32 = 1;
pub const KEYCTL_SETPERM: u32 = 5;
pub const KEYCTL_DESCRIBE: u32 = 6;
/// What the kernel gives to possessor and owner of a new session keyring (`KEY_USR_VIEW | KEY_USR_READ | KEY_USR_LINK`).
pub const KEY_POS_ALL: u32 = 0x3f00_0000;
pub const KEY_USR_NEW: u32 = 0x0013_0000;
pub const KEY_USR_SEARCH: u32 = 0x0008_0000;

// seccomp.h
pub const SECCOMP_SET_MODE_FILTER: u32 = 1;
pub const SECCOMP_FILTER_FLAG_NEW_LISTENER: u32 = 8;

// signal.h, wait.h, poll.h, time.h
pub const SIGHUP: u32 = 1;
pub const SIGINT: u32 = 2;
pub const SIGQUIT: u32 = 3;
pub const SIGKILL: u32 = 9;
pub const SIGSTOP: u32 = 19;
pub const SIGTERM: u32 = 15;
pub const SIGCHLD: u64 = 17;
pub const SIG_UNBLOCK: u32 = 1;
pub const SIG_SETMASK: u32 = 2;
pub const P_PIDFD: u32 = 3;
pub const WEXITED: u32 = 4;
pub const CLD_EXITED: i32 = 1;
pub const POLLIN: i16 = 1;
pub const CLOCK_MONOTONIC: u32 = 1;

// socket.h, if.h, sockios.h
pub const AF_UNIX: u32 = 1;
pub const AF_NETLINK: u32 = 16;
pub const SOCK_DGRAM: u32 = 2;
pub const SOCK_CLOEXEC: u32 = O_CLOEXEC;
pub const SOL_SOCKET: i32 = 1;
pub const SCM_RIGHTS: i32 = 1;
pub const MSG_NOSIGNAL: u32 = 0x4000;
pub const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;
pub const SIOCSIFFLAGS: u32 = 0x8914;
pub const IFF_UP: i16 = 1;

// ioctls.h: the same on x86, arm64 and riscv
pub const TIOCSCTTY: u32 = 0x540e;
pub const TIOCSWINSZ: u32 = 0x5414;
pub const TIOCGPTN: u32 = 0x8004_5430;
pub const TIOCSPTLCK: u32 = 0x4004_5431;
pub const TIOCGPTPEER: u32 = 0x5441;

// close_range.h, mman.h
pub const CLOSE_RANGE_CLOEXEC: u32 = 4;
pub const PROT_READ: u32 = 1;
pub const PROT_WRITE: u32 = 2;
pub const MAP_SHARED: u32 = 1;
pub const MAP_PRIVATE: u32 = 2;
pub const MAP_ANONYMOUS: u32 = 0x20;
pub const MAP_POPULATE: u32 = 0x8000;

/// System calls that have the same number everywhere.
pub mod number {
    pub const OPEN_TREE: usize = 428;
    pub const MOVE_MOUNT: usize = 429;
    pub const FSOPEN: usize = 430;
    pub const FSCONFIG: usize = 431;
    pub const FSMOUNT: usize = 432;
    pub const CLONE3: usize = 435;
    pub const CLOSE_RANGE: usize = 436;
    pub const OPENAT2: usize = 437;
    pub const FACCESSAT2: usize = 439;
    pub const MOUNT_SETATTR: usize = 442;
    pub const FCHMODAT2: usize = 452;
    pub const LISTMOUNT: usize = 458;
    pub const OPEN_TREE_ATTR: usize = 467;

    pub use super::super::arch::number::*;
}

/// `struct open_how`.
#[derive(Debug)]
#[repr(C)]
pub struct OpenHow {
    pub flags: u64,
    pub mode: u64,
    pub resolve: u64,
}

/// `struct mount_attr`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct MountAttr {
    pub set: u64,
    pub clear: u64,
    pub propagation: u64,
    pub userns_fd: u64,
}

/// `struct mnt_id_req`, its 24 bytes of Linux 6.8.
#[derive(Debug, Default)]
#[repr(C)]
pub struct MntIdReq {
    pub size: u32,
    pub spare: u32,
    pub mnt_id: u64,
    pub param: u64,
}

/// `struct statx_timestamp`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct StatxTimestamp {
    pub sec: i64,
    pub nsec: u32,
    pub reserved: i32,
}

/// `struct statx`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct Statx {
    pub mask: u32,
    pub blksize: u32,
    pub attributes: u64,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub mode: u16,
    pub spare0: u16,
    pub ino: u64,
    pub size: u64,
    pub blocks: u64,
    pub attributes_mask: u64,
    pub atime: StatxTimestamp,
    pub btime: StatxTimestamp,
    pub ctime: StatxTimestamp,
    pub mtime: StatxTimestamp,
    pub rdev_major: u32,
    pub rdev_minor: u32,
    pub dev_major: u32,
    pub dev_minor: u32,
    pub mnt_id: u64,
    /// The rest of the 256 bytes that the kernel writes.
    pub spare: [u64; 13],
}

impl Statx {
    /// `S_IF*`.
    pub fn kind(&self) -> u32 {
        u32::from(self.mode) & S_IFMT
    }
}

/// `struct statfs` of 64-bit architectures: 120 bytes.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct Statfs {
    pub kind: u64,
    pub sizes: [u64; 6],
    pub fsid: u64,
    pub namelen: u64,
    pub frsize: u64,
    pub flags: u64,
    pub spare: [u64; 4],
}

/// `struct clone_args`, its 88 bytes of Linux 5.7.
#[derive(Debug, Default)]
#[repr(C)]
pub struct CloneArgs {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    pub cgroup: u64,
}

/// `struct sched_attr`, its first 48 bytes.
#[derive(Debug, Default)]
#[repr(C)]
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// `struct __user_cap_data_struct`, twice: the low and the high 32 capabilities.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct CapData {
    pub effective: u32,
    pub permitted: u32,
    pub inheritable: u32,
}

/// `struct pollfd`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct PollFd {
    pub fd: i32,
    pub events: i16,
    pub revents: i16,
}

/// `struct sock_fprog`; the filter is a pointer.
#[derive(Debug)]
#[repr(C)]
pub struct SockFprog {
    pub length: u16,
    pub filter: *const u8,
}

/// `struct timespec`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct Timespec {
    pub sec: i64,
    pub nsec: i64,
}
