//! The ops: what init can be told to do.
//!
//! Each op is one step with one object, in kernel words: flags, masks, C strings, file descriptors by [`Handle`].
//! The order of the ops in a plan is the order of execution; `docs/init-sequence.md` gives the reason for each
//! place. "Root" below means the root file system's fd that [`Op::Rootfs`] made (until [`Op::Pivot`] and its
//! siblings: the same fd, which then is `/`); every path "in the root" is resolved with
//! `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)`, so that no symbolic link or `..` of an image leads out.
//!
//! Runs in: both.

use core::ffi::CStr;

use crate::wire::{Field, Ids, List, Malformed, Reader, Sink};

/// A file descriptor that the runtime opened and init inherited, by its place in the table that init finds in its
/// first argument (decimal fd numbers separated by commas; `-` where there is none).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle(pub u16);

impl Handle {
    /// The sealed memfd with the plan.
    pub const PLAN: Self = Self(0);
    /// init's end of the socket pair.
    pub const SOCKET: Self = Self(1);
    /// The start fifo, open for reading and writing, filled with [`crate::frame::FIFO_FILL`].
    pub const START_FIFO: Self = Self(2);
    /// A connected stream socket that takes the terminal.
    pub const CONSOLE: Self = Self(3);
    /// A memfd of 16 bytes an op for the times of [`crate::wire::FLAG_TRACE`]: start and end, `CLOCK_MONOTONIC` ns.
    pub const TRACE: Self = Self(4);
    /// The first handle whose meaning the plan gives: namespaces to join.
    pub const FIRST_FREE: Self = Self(5);
}

impl<'a> Field<'a> for Handle {
    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        u16::read(from).map(Self)
    }
    fn write(&self, to: &mut impl Sink) {
        self.0.write(to);
    }
}

pub mod mount_flags;

/// How many sources of bind mounts init can hold for [`Op::RootNamespace`].
pub const MAX_SOURCES: usize = 64;

#[cfg(feature = "alloc")]
mod value;
#[cfg(feature = "alloc")]
pub use value::Value;

macro_rules! ops {
    ($(
        $(#[$doc:meta])*
        $name:ident = $code:literal $({ $( $(#[$fdoc:meta])* $field:ident : $type:ty, )* })?
    )*) => {
        /// One step of init.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "fields whose name is the argument of the call need no more")]
        pub enum Op<'a> {
            $( $(#[$doc])* $name $({ $( $(#[$fdoc])* $field: $type, )* })?, )*
        }

        impl<'a> Op<'a> {
            /// The number of this kind of op in the encoding.
            pub fn code(&self) -> u16 {
                match self { $( Self::$name { .. } => $code, )* }
            }

            /// The name of this kind of op.
            pub fn name(&self) -> &'static str {
                match self { $( Self::$name { .. } => stringify!($name), )* }
            }

            /// Shows `visit` the name and the value of each field, in order: for those who print ops.
            #[cfg(feature = "alloc")]
            pub fn fields(&self, visit: &mut dyn FnMut(&'static str, Value<'a>)) {
                match *self {
                    $( Self::$name $({ $( $field, )* })? => {
                        $( $( visit(stringify!($field), $field.into()); )* )?
                    } )*
                }
            }

            /// Takes the fields of an op of kind `code` off the front of `from`.
            ///
            /// # Errors
            /// [`Malformed`] for an unknown code or fields that are not those of the op.
            pub fn read(code: u16, from: &mut Reader<'a>) -> Result<Self, Malformed> {
                // Ops without fields do not use it.
                let _: &mut Reader<'a> = from;
                match code {
                    $( $code => Ok(Self::$name $({ $( $field: <$type>::read(from)?, )* })?), )*
                    _ => Err(Malformed),
                }
            }

            /// Appends the fields of the op to `to`.
            pub fn write(&self, to: &mut impl Sink) {
                match self {
                    $( Self::$name $({ $( $field, )* })? => { $( $( $field.write(to); )* )? } )*
                }
            }
        }
    };
}

ops! {
    // -- processes and namespaces ------------------------------------------------------------------------------

    /// First stage: `setns` into the namespace that the handle is open on.
    Join = 1 {
        /// An fd of a namespace.
        handle: Handle,
        /// The one `CLONE_NEW*` bit it must be of; the kernel checks it.
        kind: u32,
        /// EPERM is no error: it is owned by a user namespace that is joined later, and then tried again. A second such op
        /// for a handle that was joined does nothing.
        may_wait: bool,
    }
    /// `unshare` of the namespaces in `flags` (`CLONE_NEW*`). The cgroup namespace is made here and not by clone,
    /// because its root is the cgroup that the caller of the call is in; and with a user namespace most others, because what
    /// comes with them belongs to the ids that their maker has.
    Unshare = 2 { flags: u32, }
    /// First stage: opens `/proc/self/timens_offsets` of the runtime's procfs for [`Op::TimeNamespace`], before any other mount
    /// namespace is joined: what has that path in there is anybody's file.
    TimeOffsets = 10
    /// First stage: a new time namespace for the children: `unshare(CLONE_NEWTIME)`, then these lines to what
    /// [`Op::TimeOffsets`] has opened (empty: nothing is written).
    TimeNamespace = 3 { offsets: &'a CStr, }
    /// First stage: makes the container's init, as a sibling: `clone3(flags | CLONE_PARENT | CLONE_PIDFD)`, exit signal
    /// 0; sends its pidfd over the socket with [`crate::Frame::Forked`] and exits. The child goes on with the next op; with
    /// CLONE_VM in the memory that it has shared.
    Fork = 4 { flags: u32, }
    /// `PR_SET_PDEATHSIG(SIGKILL)`: die with the runtime until the state is saved. [`Op::Sync`] at Ready ends it,
    /// or, in a plan without, [`Op::Exec`].
    DieWithRuntime = 5
    /// `setsid`: the container never has the caller's terminal.
    Session = 6
    /// A new session keyring of this name, searchable by the user (`keyctl`); ENOSYS is no error.
    Keyring = 7 { name: &'a CStr, }
    /// Sets the loopback device up.
    Loopback = 8
    /// `setns` into the namespace that comes with a Go, which is sent without being asked for: the runtime has made it while
    /// init came to be.
    EnterSent = 160 {
        /// The one `CLONE_NEW*` bit it must be of.
        kind: u32,
    }
    /// Reports [`crate::Frame::Reached`] and waits for Go; keeps an fd that comes with it as the state of hooks.
    Sync = 9 {
        /// 1: Mounted, 2: Ready ([`crate::Point`]).
        point: u8,
    }
    /// `setresgid`, `setresuid` to ids that the user namespace maps: init is its root, or somebody else with all capabilities,
    /// until [`Op::Credentials`]. What an unmapped id makes has no owner there, or cannot be made. Then as
    /// [`Op::NotDumpable`].
    MappedIds = 120 {
        uid: u32,
        gid: u32,
    }

    // -- root file system --------------------------------------------------------------------------------------

    /// A mount namespace with nothing in it but the root file system at `path` (a host path, absolute), made by
    /// `open_tree(OPEN_TREE_NAMESPACE)` and entered: it is `/` there, and the root. No mount of the host is copied, so that a start
    /// costs the same however many there are. The sources of every [`Op::MountBind`], and the null device for [`Op::MaskPath`], are
    /// cloned before, where they are looked up as without it.
    ///
    /// Where anything could come out otherwise than in a copy of the host's mounts, or fails, all is put back and init makes that
    /// copy: `unshare(CLONE_NEWNS)`. Then the plan goes on with [`Op::Propagation`], [`Op::Rootfs`] and [`Op::Pivot`], which do
    /// nothing else (the last makes the root the working directory).
    RootNamespace = 41 {
        path: &'a CStr,
        /// `MS_SLAVE` or `MS_PRIVATE`: what [`Op::Propagation`] makes of all mounts.
        propagation: u32,
    }
    /// `mount(NULL, "/", NULL, flags, NULL)`: how the new mount namespace hears of the host's mounts.
    Propagation = 20 { flags: u32, }
    /// Makes the mount private that `path` lies on (found by going up from it), so that neither pivot_root fails on a
    /// shared parent nor mounts leak to the host.
    PrivateParent = 21 { path: &'a CStr, }
    /// Clones the mount tree at `path` (a host path, absolute), attaches the clone on it, and keeps the fd: the root.
    Rootfs = 22 { path: &'a CStr, }
    /// No mount namespace of our own: opens `path` as the root without a mount.
    OpenRoot = 23 { path: &'a CStr, }
    /// Makes directories, as many as are missing, in the root.
    Directory = 24 {
        path: &'a CStr,
        /// Of those that are made.
        mode: u32,
    }
    /// A new file system on `target` in the root (made as a directory where missing): `fsopen`, `fsconfig` for each
    /// option, `fsmount`; attributes and propagation are set while it is detached; then it is attached.
    ///
    /// With [`mount_flags::PLAIN`] first by one `mount(2)` on `.` after `fchdir` to the target: three to eight calls
    /// fewer, and as safe, because `.` is the mount and directory that the fd is open on, without any lookup. When it
    /// fails, whatever the reason, all is done as above, which works or says which option is wrong.
    MountFs = 25 {
        target: &'a CStr,
        fstype: &'a CStr,
        /// The `source` option (a device, or a name that shows in mountinfo).
        source: Option<&'a CStr>,
        /// `key` (`FSCONFIG_SET_FLAG`) or `key=value` (`FSCONFIG_SET_STRING`), in order; superblock flags among them.
        options: List<'a>,
        /// `MOUNT_ATTR_*` for `fsmount`.
        attr: u64,
        /// `MOUNT_ATTR_*` to set with `AT_RECURSIVE`.
        recursive_set: u64,
        /// `MOUNT_ATTR_*` to clear with `AT_RECURSIVE`.
        recursive_clear: u64,
        /// `MS_SHARED` and its siblings, maybe with `MS_REC`, one after the other.
        propagation: Ids<'a>,
        /// [`mount_flags`].
        flags: u32,
        /// A host path that is bound instead when the kernel answers EPERM or EBUSY (cgroup2 without the right to it).
        fallback: Option<&'a CStr>,
    }
    /// As [`Op::MountFs`], but by `mount(2)` on `.` after `fchdir` to the target, for what fsconfig cannot carry: options of 256
    /// bytes and more, file systems without the new API. A target that the root of a user namespace may not enter is reached by
    /// its `/proc/self/fd` of the host's procfs.
    MountData = 26 {
        target: &'a CStr,
        fstype: &'a CStr,
        source: Option<&'a CStr>,
        /// `MS_*`.
        ms_flags: u64,
        /// The option string as it goes to the file system.
        data: &'a CStr,
        recursive_set: u64,
        recursive_clear: u64,
        propagation: Ids<'a>,
        flags: u32,
    }
    /// A bind mount: `open_tree(OPEN_TREE_CLONE)` of `source` in init's own mount namespace (before pivot: a host path),
    /// attributes, `move_mount` to `target` in the root, which is made as a directory or as an empty file, as the source
    /// is, where it is missing.
    MountBind = 27 {
        source: &'a CStr,
        target: &'a CStr,
        /// `MOUNT_ATTR_*` to set on the mount itself.
        set: u64,
        /// `MOUNT_ATTR_*` to clear on the mount itself. Where they are locked (EPERM: the mount comes from a more
        /// privileged user namespace) only those in `must_clear` are tried again.
        clear: u64,
        /// What config.json asks to clear by name (`rw`, `exec` …), and what cannot be locked.
        must_clear: u64,
        recursive_set: u64,
        recursive_clear: u64,
        propagation: Ids<'a>,
        flags: u32,
    }
    /// A device node, FIFO: `mknodat` in the root (directories above it are made, 0755), verified after, owner and
    /// mode set on the verified fd. One of the same kind and number that is there already is kept.
    Device = 28 {
        path: &'a CStr,
        /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`, and the permissions.
        mode: u32,
        major: u32,
        minor: u32,
        uid: u32,
        gid: u32,
    }
    /// A symbolic link in the root. One that exists is kept, or with `replace` removed first (a directory never is).
    Symlink = 29 {
        path: &'a CStr,
        target: &'a CStr,
        replace: bool,
    }
    /// Covers `path` in the root: a directory with an empty, read-only tmpfs (the first two have their own, all others
    /// share one), anything else with the host's `/dev/null` (a read-only clone, verified, made before pivot). A path
    /// that does not exist is no error; every other failure is.
    MaskPath = 30 {
        path: &'a CStr,
        /// It is likely to be no directory: that is tried first.
        file: bool,
    }
    /// Makes `path` in the root a read-only mount of itself; as to existence as [`Op::MaskPath`].
    ReadonlyPath = 31 {
        path: &'a CStr,
        /// Nothing is mounted below it, so that one call may clone it and make all of the clone read-only. Otherwise
        /// submounts come along as they are.
        alone: bool,
    }
    /// Runs a hook in the container's namespaces: own process group, fds 0 to 2 only (0: the state), killed with its
    /// group at the deadline.
    Hook = 32 {
        path: &'a CStr,
        args: List<'a>,
        env: List<'a>,
        cwd: &'a CStr,
        /// 0: no deadline.
        timeout_ms: u64,
        /// Whether to add HOME from [`Op::Home`] to the environment.
        home: bool,
    }
    /// `pivot_root(".", ".")` into the root, which is the working directory then, and unmount of the old one.
    Pivot = 33 {
        /// The mounts are shared: makes the old root's a slave first, or its unmount reaches the host.
        slave_old: bool,
    }
    /// `--no-pivot`: `MS_MOVE` of the root to `/`, `chroot`. Every procfs and sysfs of the host is unmounted or covered
    /// first, or the container could reach them through the old root.
    MoveRoot = 34
    /// No mount namespace of our own: `chroot`.
    Chroot = 35
    /// `mount_setattr` on the root mount.
    RootAttr = 36 { set: u64, }
    /// `mount(NULL, "/", NULL, flags, NULL)` after pivot.
    RootPropagation = 37 { flags: u32, }
    /// Opens the container's own `/dev/pts/ptmx` (verified), the peer by `TIOCGPTPEER`; size, owner; binds it to
    /// `/dev/console`; sends the master (one `SCM_RIGHTS` message, payload `/dev/pts/N`) to [`Handle::CONSOLE`]; makes
    /// it fds 0, 1, 2 and the controlling terminal.
    Terminal = 38 {
        /// Rows and columns; both 0: unset.
        height: u16,
        width: u16,
        /// Owner of the terminal.
        uid: u32,
        /// Whether to bind it to `/dev/console` (only with a mount namespace of our own).
        console: bool,
    }

    /// `mount_setattr` on the mount whose root `path` in the root is: `ro` on a tmpfs or on /dev, which waits until all
    /// that goes into it is there.
    MountAttr = 39 {
        path: &'a CStr,
        /// `MOUNT_ATTR_*`.
        set: u64,
    }
    /// For each of fds 0 to 2 that is not a terminal of our own: the host's null device (c 1:3) is opened anew from the
    /// container's own `/dev/null` (verified; only with `null`), anything else gets `uid` as its owner, so that the
    /// user may open /dev/stdout (EPERM, EROFS and EINVAL are no error; the null device is never changed).
    Stdio = 40 {
        uid: u32,
        null: bool,
    }

    // -- kernel parameters -------------------------------------------------------------------------------------

    /// `sethostname`.
    Hostname = 50 { name: &'a CStr, }
    /// `setdomainname`.
    Domainname = 51 { name: &'a CStr, }
    /// Writes `value` to `/proc/sys/<path>` through a private procfs.
    Sysctl = 52 {
        /// With slashes: `net/ipv4/ip_forward`.
        path: &'a CStr,
        value: &'a CStr,
    }

    // -- the process -------------------------------------------------------------------------------------------

    /// `prlimit` on init itself.
    Rlimit = 60 {
        /// `RLIMIT_*`.
        resource: u32,
        soft: u64,
        hard: u64,
    }
    /// `umask`.
    Umask = 61 { mask: u32, }
    /// `personality`.
    Personality = 62 { persona: u32, }
    /// `sched_setattr`.
    Scheduler = 63 {
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    /// `ioprio_set` for the process.
    IoPriority = 64 { value: u32, }
    /// `sched_setaffinity` to all CPUs; the kernel keeps those of the cgroup's cpuset. An engine that is pinned to some CPUs
    /// would otherwise pin all of its containers (runc issue 3922).
    AllCpus = 59
    /// `PR_SET_NO_NEW_PRIVS`.
    NoNewPrivileges = 65
    /// Looks up the home directory of `uid` in the container's `/etc/passwd` (default `/`) for [`Op::Exec`].
    Home = 66 { uid: u32, }
    /// `chdir`, then `getcwd` must give a path inside the root (CVE-2024-21626). With `retry`, a lack of permission is
    /// left to a second such op, after [`Op::Credentials`], which does nothing where the first one worked.
    Cwd = 67 {
        path: &'a CStr,
        retry: bool,
    }
    /// Bounding set, groups, ids, the capability sets, ambient set; each read back. Groups and ids that are right already
    /// are not set. Capabilities that the kernel does not know are dropped from the masks; all that it knows and
    /// `bounding` has not are dropped. Behind a filter ([`Op::Seccomp`]) nothing is read back here but by the runtime, and
    /// only calls are made that runc makes there too.
    Credentials = 68 {
        uid: u32,
        gid: u32,
        /// `None`: the groups stay as they are.
        groups: Option<Ids<'a>>,
        bounding: u64,
        effective: u64,
        permitted: u64,
        inheritable: u64,
        ambient: u64,
        /// Init reads back what it has set; otherwise it is behind a filter that may forbid that, and makes the calls that runc
        /// makes there.
        reads_back: bool,
    }
    /// Finds the program as the user: `file` itself where it has a slash, else in the directories of `path`. Keeps it for
    /// [`Op::Exec`].
    Find = 69 {
        file: &'a CStr,
        path: &'a CStr,
    }
    /// Blocks until `start` ([`crate::frame::STARTED`]); [`Handle::START_FIFO`] takes the frames from here on.
    WaitStart = 70
    /// HUP, INT, QUIT and TERM end init from here on, with 128 and their number. Without a handler the kernel keeps them
    /// from the first process of a pid namespace, and nothing but KILL would end a container that was not started.
    EndBySignals = 73
    /// `close_range(first, ~0, CLOSE_RANGE_CLOEXEC)`: nothing of ours survives execve.
    CloseFds = 71 { first: u32, }
    /// Signal mask and dispositions back to the default, then `execve` of what [`Op::Find`] found.
    Exec = 72 {
        args: List<'a>,
        env: List<'a>,
        /// Whether to add HOME from [`Op::Home`] to the environment.
        home: bool,
    }
    /// `PR_SET_DUMPABLE` 0, from here to execve, [`Op::Credentials`] included: who is in a namespace that is about to be
    /// joined cannot trace init, nor look at what it has open.
    NotDumpable = 100

    /// `set_mempolicy`, which execve keeps.
    MemoryPolicy = 130 {
        /// `MPOL_*` and `MPOL_F_*`.
        mode: u32,
        /// A bit for each node, the lowest first.
        nodes: Ids<'a>,
    }

    // -- network devices ---------------------------------------------------------------------------------------

    /// Opens a NETLINK_ROUTE socket in the network namespace that init is in, and gives it to the runtime
    /// ([`crate::Frame::Network`]).
    NetworkSocket = 140

    // -- exec --------------------------------------------------------------------------------------------------

    /// `setns` into the namespaces in `flags` (`CLONE_NEW*`) of the process that the handle is a pidfd of, all or none.
    JoinProcess = 91 {
        handle: Handle,
        flags: u32,
    }
    /// `chroot` to the directory that the handle is open on; it is the root from here on.
    EnterRoot = 92 { handle: Handle, }
    /// Moves this process into the cgroup whose `cgroup.procs` the handle is open on.
    EnterCgroup = 93 { handle: Handle, }
    /// This number, as text, to `/proc/self/oom_score_adj` of the runtime's procfs: a child has it too.
    OomScoreAdj = 150 { adjustment: &'a CStr, }
    /// `sched_setaffinity` of this process.
    Affinity = 94 {
        /// A bit for each CPU, the lowest first.
        cpus: Ids<'a>,
    }

    // -- confinement -------------------------------------------------------------------------------------------

    /// `seccomp(SECCOMP_SET_MODE_FILTER)`. From here on init makes only calls that runc makes there too, for the profile was
    /// made for those.
    ///
    /// With `SECCOMP_FILTER_FLAG_NEW_LISTENER` first [`crate::Frame::Listener`] says which number the listener will have,
    /// so that the runtime can take it without any call that the filter could stop.
    Seccomp = 80 {
        /// `struct sock_filter[]`.
        program: &'a [u8],
        /// `SECCOMP_FILTER_FLAG_*`.
        flags: u32,
        /// Not now, but by [`Op::Exec`] as its last call before execve.
        at_exec: bool,
    }
    /// Writes `exec PROFILE` to `/proc/self/attr/apparmor/exec` (`attr/exec` where that is missing) through a private
    /// procfs, and reads it back: execve changes to the profile.
    AppArmor = 81 { profile: &'a CStr, }
    /// Writes the label to `/proc/self/attr/exec` through a private procfs, and reads it back: execve changes to it.
    SelinuxExec = 82 { label: &'a CStr, }
    /// Writes the label to `/proc/self/attr/keycreate` through a private procfs: keys that are made have it until execve.
    SelinuxKeys = 83 { label: &'a CStr, }
    /// The SELinux context of a file in the root (`security.selinux`): of a file system that knows no `context` option.
    SelinuxFile = 84 {
        path: &'a CStr,
        label: &'a CStr,
    }
    /// The SELinux context of each tmpfs that [`Op::MaskPath`] makes after this.
    MaskLabel = 85 { label: &'a CStr, }
}
