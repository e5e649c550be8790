//! How large a config.json and what it asks for may be.
//!
//! Runs in: any process.

/// Bytes of config.json. Docker writes some 20 KiB, the largest seen of Kubernetes some 200 KiB.
pub const MAX_CONFIG_SIZE: usize = 16 << 20;

/// Arrays and objects within each other. The specification's own need 8.
pub const MAX_DEPTH: usize = 64;

/// Elements of an array, properties of an object.
pub const MAX_ELEMENTS: usize = 1 << 17;

/// Entries of each array or map that becomes one step each: mounts, paths to mask, devices, sysctl, hooks of a kind.
/// All of them together fit into a plan, whose steps have 16 bits.
pub const MAX_STEPS: usize = 10_000;

/// Supplementary groups (`NGROUPS_MAX`).
pub const MAX_GROUPS: usize = 65_536;

/// Ranges of an id mapping (`UID_GID_MAP_MAX_EXTENTS`).
pub const MAX_ID_RANGES: usize = 340;

/// Bytes of one string of argv or the environment with its NUL (`MAX_ARG_STRLEN`, 32 pages of 4 KiB).
pub const MAX_ARG_STRLEN: usize = 128 << 10;

/// Bytes that argv and the environment may take, with a NUL and a pointer for each string: three quarters of
/// `_STK_LIM`, which execve takes whatever the stack limit is (`fs/exec.c`, `bprm_stack_limits`).
pub const MAX_ARG_SPACE: u64 = 6 << 20;

/// Bytes that execve gives however small the stack limit is (`ARG_MAX`).
pub const MIN_ARG_SPACE: u64 = 128 << 10;

/// Bytes of a host name or domain name (`__NEW_UTS_LEN`).
pub const MAX_HOST_NAME: usize = 64;
