//! The frames on the socket between the runtime and init, and in the start fifo.
//!
//! The socket is an `AF_UNIX` `SOCK_SEQPACKET` pair, one frame a packet, fds by `SCM_RIGHTS`:
//!
//! ```text
//! init → runtime   Reached(point)      an `Op::Sync` was reached; init waits for Go
//!                  Forked              the first stage has made the child; its pidfd is attached, then the stage exits
//!                  Failed(failure)     an op failed; init exits
//!                  Warned(failure)     something failed that must not stop the container
//!                  Listener(number)    the next call but close_range loads a filter, and gives a listener that number; from
//!                                      then on until the runtime has it, init waits for nobody
//!                  IdMap(op)           a detached mount is attached: the runtime gives it the id mapping that this op wants; init
//!                                      waits for Go
//!                  Source(op)          this op's path on the host is behind a directory that init may not search: the runtime
//!                                      opens it in init's mount namespace; init waits for Go, to which it is attached
//!                  Network             a NETLINK_ROUTE socket of the container's network namespace is attached
//!                  end of file         execve worked (the socket is close-on-exec), or init died
//! runtime → init   Go(ignored)         go on; `ignored`: signals whose disposition init resets before execve;
//!                                      attached at Mounted/Ready: the state JSON for hooks, where the plan has any;
//!                                      unasked, with a namespace: for an `Op::EnterSent`
//! ```
//! In the start fifo init writes [`STARTED`] (which blocks until `start` has emptied the fifo), then nothing, or one
//! Failed frame; the end of file says that execve worked.
//!
//! Runs in: both.

use crate::wire::Malformed;

/// Bytes of each frame, of either direction.
pub const FRAME_LENGTH: usize = 256;
/// Bytes of text that a failure can carry.
pub const DETAIL_LENGTH: usize = FRAME_LENGTH - 16;
/// What fills the start fifo (created with room for exactly this much) until `start` takes it out.
pub const FIFO_FILL: [u8; 4096] = [0; 4096];
/// What init writes into the start fifo: it blocks until `start` has emptied the fifo.
pub const STARTED: [u8; 1] = *b"0";

/// Where init stops and waits for the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Point {
    /// Namespaces are there, mounts are done, the root was not changed: prestart and createRuntime hooks run now.
    Mounted = 1,
    /// All is done but what needs no runtime: the state is saved now. After this init lives on its own.
    Ready = 2,
    /// Nothing was made yet: the runtime has systemd move init to its cgroup.
    Placed = 3,
    /// In a new user namespace without id maps: the runtime writes them.
    Unmapped = 4,
}

macro_rules! stages {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Which part of an op failed. The op says the object; this says the call.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Stage { $($(#[$doc])* $name = $code,)* }

        impl Stage {
            /// The stage with this number; unknown numbers are [`Stage::Op`].
            pub fn from_code(code: u8) -> Self {
                match code { $($code => Self::$name,)* _ => Self::Op }
            }

            /// What was tried, for an error message.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

stages! {
    /// The op's one call.
    Op = 0, "";
    /// The plan or the handles are unusable (a bug, or init was started by hand).
    Plan = 1, "read the plan";
    /// Waiting for the runtime.
    Wait = 2, "wait for the runtime";
    /// Resolving the target inside the root file system.
    Target = 3, "open the target inside the root file system";
    /// Creating the target inside the root file system.
    Create = 4, "create the target inside the root file system";
    /// Opening the source.
    Source = 5, "open the source";
    /// Cloning the source mount.
    Clone = 6, "clone the source mount";
    /// `fsopen`: the kernel does not know the file system.
    FsOpen = 7, "open the file system type";
    /// `fsconfig`; `item` is the index of the option (65535: the source; with a data string: counted by its commas),
    /// `detail` the option and the kernel's message.
    Option = 8, "set the file system option";
    /// `FSCONFIG_CMD_CREATE`; `detail` is the kernel's message.
    FsCreate = 9, "create the file system";
    /// `fsmount`.
    FsMount = 10, "make the mount";
    /// `mount_setattr` on the new mount.
    Attr = 11, "set the mount attributes";
    /// Changing the propagation of the new mount; `item` is the index.
    Propagation = 12, "set the mount propagation";
    /// `move_mount` to the target.
    Attach = 13, "attach the mount";
    /// The object is not what it must be (a symbolic link, another device, not a terminal …).
    Verify = 14, "verify what was opened";
    /// Copying the contents below a tmpcopyup mount; `detail` is the path.
    CopyUp = 15, "copy the contents into the tmpfs";
    /// Owner or mode of a new object.
    Owner = 16, "set owner and mode";
    /// Opening a file to write to it.
    Open = 17, "open";
    /// Writing the value.
    Write = 18, "write the value";
    /// Reading back what was set gave another value.
    ReadBack = 19, "read back what was set";
    /// Dropping from the bounding set.
    Bounding = 20, "drop from the bounding capability set";
    /// `setgroups`.
    Groups = 21, "set the supplementary groups";
    /// `setresgid`.
    Gid = 22, "set the group id";
    /// `setresuid`.
    Uid = 23, "set the user id";
    /// `capset`; `item` is the first capability that init does not have itself, or 65535.
    Capset = 24, "set the capabilities";
    /// Raising an ambient capability; `item` is its number.
    Ambient = 25, "raise the ambient capability";
    /// The program was not found in any directory of PATH.
    NotInPath = 26, "find the executable in $PATH";
    /// The program cannot be executed; `detail` says why when the errno alone does not.
    Exec = 27, "execute";
    /// The interpreter of the program is missing or cannot be executed; `detail` is the script's first line, or the
    /// dynamic linker that an ELF program names.
    Interpreter = 28, "find the interpreter";
    /// A hook could not be started.
    HookStart = 29, "start the hook";
    /// A hook ended with a status; `item` is the wait status (code, or 128 + signal), `detail` its last output.
    HookStatus = 30, "run the hook";
    /// A hook ran longer than its timeout and was killed, with its process group.
    HookTimeout = 31, "finish the hook in time";
    /// `clone3`.
    Fork = 32, "clone";
    /// Sending the console to the console socket.
    Send = 33, "send the terminal to the console socket";
    /// The working directory is outside the root file system.
    Outside = 34, "stay inside the root file system";
    /// `pivot_root` itself.
    Pivot = 35, "pivot_root";
    /// Unmounting the old root.
    Unmount = 36, "unmount the old root";
    /// Changing the directory.
    Chdir = 37, "change the directory";
    /// `seccomp`: loading the filter.
    Filter = 38, "load the system call filter";
    /// `mount_setattr(MOUNT_ATTR_IDMAP)`, which the runtime does; `detail` is the type of the file system, `item` 1 where
    /// only a mount below it is refused.
    IdMap = 39, "set the id mapping of the mount";
}

/// An op that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure<'a> {
    /// Index of the op in the plan.
    pub op: u16,
    /// Which part of it.
    pub stage: Stage,
    /// Which of several objects of the op, or a number the stage gives a meaning.
    pub item: u16,
    /// The kernel's error number, positive; 0 where none applies.
    pub errno: i32,
    /// More, as text; cut at [`DETAIL_LENGTH`].
    pub detail: &'a [u8],
}

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// See the module.
    Reached(Point),
    /// See the module.
    Forked,
    /// See the module.
    Failed(Failure<'a>),
    /// See the module.
    Warned(Failure<'a>),
    /// See the module.
    Listener {
        /// Among init's descriptors.
        number: i32,
    },
    /// See the module.
    IdMap {
        /// Index of the op in the plan.
        op: u16,
    },
    /// See the module.
    Source {
        /// Index of the op in the plan.
        op: u16,
    },
    /// See the module.
    Network,
    /// See the module.
    Go {
        /// Bit n-1 is set: signal n is ignored in the runtime's caller, and init sets it back to its default.
        ignored: u64,
    },
}

const REACHED: u8 = 1;
const FORKED: u8 = 2;
const FAILED: u8 = 3;
const WARNED: u8 = 4;
const GO: u8 = 5;
const LISTENER: u8 = 6;
const ID_MAP: u8 = 7;
const NETWORK: u8 = 9;
const SOURCE: u8 = 10;

impl<'a> Frame<'a> {
    /// The frame as bytes: kind, stage or point, op, item, detail's length, errno, then 8 bytes of `ignored` or the
    /// detail from byte 16.
    pub fn encode(&self) -> [u8; FRAME_LENGTH] {
        let mut bytes = [0; FRAME_LENGTH];
        match self {
            Self::Reached(point) => (bytes[0], bytes[1]) = (REACHED, *point as u8),
            Self::Forked => bytes[0] = FORKED,
            Self::Failed(failure) => {
                bytes[0] = FAILED;
                failure.encode(&mut bytes);
            }
            Self::Warned(failure) => {
                bytes[0] = WARNED;
                failure.encode(&mut bytes);
            }
            Self::Listener { number } => {
                bytes[0] = LISTENER;
                bytes[8..12].copy_from_slice(&number.to_le_bytes());
            }
            Self::IdMap { op } | Self::Source { op } => {
                bytes[0] = if matches!(self, Self::IdMap { .. }) { ID_MAP } else { SOURCE };
                bytes[2..4].copy_from_slice(&op.to_le_bytes());
            }
            Self::Network => bytes[0] = NETWORK,
            Self::Go { ignored } => {
                bytes[0] = GO;
                bytes[16..24].copy_from_slice(&ignored.to_le_bytes());
            }
        }
        bytes
    }

    /// The frame that `bytes` hold.
    ///
    /// # Errors
    /// [`Malformed`] when they hold none.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let bytes: &[u8; FRAME_LENGTH] = bytes.try_into().map_err(|_| Malformed)?;
        match (bytes[0], bytes[1]) {
            (REACHED, 1) => Ok(Self::Reached(Point::Mounted)),
            (REACHED, 2) => Ok(Self::Reached(Point::Ready)),
            (REACHED, 3) => Ok(Self::Reached(Point::Placed)),
            (REACHED, 4) => Ok(Self::Reached(Point::Unmapped)),
            (FORKED, _) => Ok(Self::Forked),
            (FAILED, _) => Ok(Self::Failed(Failure::decode(bytes)?)),
            (WARNED, _) => Ok(Self::Warned(Failure::decode(bytes)?)),
            (LISTENER, _) => {
                let number = bytes[8..12].try_into().map_err(|_| Malformed)?;
                Ok(Self::Listener { number: i32::from_le_bytes(number) })
            }
            (ID_MAP, _) => Ok(Self::IdMap { op: u16::from_le_bytes([bytes[2], bytes[3]]) }),
            (SOURCE, _) => Ok(Self::Source { op: u16::from_le_bytes([bytes[2], bytes[3]]) }),
            (NETWORK, _) => Ok(Self::Network),
            (GO, _) => {
                let ignored = bytes[16..24].try_into().map_err(|_| Malformed)?;
                Ok(Self::Go { ignored: u64::from_le_bytes(ignored) })
            }
            _ => Err(Malformed),
        }
    }
}

impl<'a> Failure<'a> {
    fn encode(&self, bytes: &mut [u8; FRAME_LENGTH]) {
        let length = self.detail.len().min(DETAIL_LENGTH);
        bytes[1] = self.stage as u8;
        bytes[2..4].copy_from_slice(&self.op.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.item.to_le_bytes());
        // DETAIL_LENGTH is below 256, so that one byte holds the length.
        bytes[6] = u8::try_from(length).unwrap_or(u8::MAX);
        bytes[8..12].copy_from_slice(&self.errno.to_le_bytes());
        if let (Some(to), Some(from)) = (bytes.get_mut(16..16 + length), self.detail.get(..length))
        {
            to.copy_from_slice(from);
        }
    }

    fn decode(bytes: &'a [u8; FRAME_LENGTH]) -> Result<Self, Malformed> {
        let integer16 = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        Ok(Self {
            op: integer16(2),
            stage: Stage::from_code(bytes[1]),
            item: integer16(4),
            errno: i32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]),
            detail: bytes.get(16..16 + usize::from(bytes[6])).ok_or(Malformed)?,
        })
    }
}
