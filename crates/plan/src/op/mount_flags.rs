//! Bits of the `flags` of the mount ops.
//!
//! Runs in: both.

/// The target must be a directory reached without any symbolic link (procfs, sysfs: CVE-2019-19921).
pub const NO_SYMLINKS: u32 = 1;
/// `tmpcopyup`: what the target holds is copied into the new file system before it is attached.
pub const COPY_UP: u32 = 2;
/// The target may lie inside a procfs. Without it, that is an error (CVE-2019-16884).
pub const MAY_COVER_PROC: u32 = 4;
/// A tmpfs without `mode=`: it takes the mode of the directory that it covers, as runc does.
pub const MODE_OF_TARGET: u32 = 8;
/// Bind: the source's submounts come too (`rbind`).
pub const RECURSIVE: u32 = 16;
/// Bind: do not follow a symbolic link as the last component of the source.
pub const SOURCE_NOFOLLOW: u32 = 32;
/// Bind: the source must lie in a procfs (`statfs`); it is about to cover /proc (CVE-2019-16884).
pub const SOURCE_IS_PROC: u32 = 64;
/// A new file system that one `mount(2)` can make, on `.` after `fchdir` to the target: its options are words and
/// numbers without commas, and no source or option of this op or any other of the plan is a path that the kernel
/// would resolve from the working directory, which this changes.
pub const PLAIN: u32 = 128;
/// A tmpfs directly below the root that later ops fill, in a mount namespace of init alone: the fd of its root is
/// kept, and names directly below `target` are made and found through it.
pub const KEPT: u32 = 256;
/// The detached mount goes to the runtime, which gives it an id mapping ([`crate::Frame::IdMap`]).
pub const ID_MAP: u32 = 512;
