//! The facts of this machine that plans depend on, read once.
//!
//! Runs in: runtime.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, StatFs};

use crate::error::Error;
use crate::spec::{Process, Spec};
use crate::sys;

/// `CGROUP2_SUPER_MAGIC` of `<linux/magic.h>`.
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;
/// `SELINUX_MAGIC` of `<linux/magic.h>`.
const SELINUX_MAGIC: u64 = 0xf97c_ff8c;
/// `CAP_CHECKPOINT_RESTORE` of Linux 5.9, which every kernel that corten runs on knows, and the last that has a name so far.
/// What a later kernel adds, init finds and drops.
pub(crate) const LAST_CAPABILITY: u32 = 40;
const UNIFIED: &str = "/sys/fs/cgroup";
const HYBRID: &str = "/sys/fs/cgroup/unified";

/// What is true of this host and this process. [`Facts::read`] fills it; tests write it by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Effective user id of the runtime.
    pub euid: u32,
    /// Effective group id of the runtime; 0 where it is root, who needs it for nothing.
    pub egid: u32,
    /// The last capability that corten has a name for; tests set others.
    pub last_capability: u32,
    /// Where cgroup v2 is.
    pub cgroup: CgroupFacts,
    /// Security modules, as far as the configuration asks for them.
    pub modules: Modules,
    /// Whether a mount namespace can be made of one tree: the kernel has `open_tree(OPEN_TREE_NAMESPACE)`, from Linux 7.0 on, and
    /// this process is root in the initial user namespace. In any other one the new namespace would lack the procfs and
    /// sysfs without which no new one may be mounted (`mount_too_revealing()` in fs/namespace.c).
    pub root_namespaces: bool,
}

impl Facts {
    /// Asks the kernel what has to be known for `spec`.
    ///
    /// # Errors
    /// [`Error::Os`] when `/proc` is not there or holds what no kernel writes.
    pub fn read(spec: &Spec) -> Result<Self, Error> {
        let euid = rustix::process::geteuid();
        Ok(Self {
            euid: euid.as_raw(),
            egid: if euid.is_root() { 0 } else { rustix::process::getegid().as_raw() },
            last_capability: LAST_CAPABILITY,
            cgroup: CgroupFacts::read()?,
            modules: Modules::read(spec),
            root_namespaces: euid.is_root() && has_root_namespaces(),
        })
    }
}

/// Older kernels are asked nothing.
fn has_root_namespaces() -> bool {
    /// `USER_NS_INIT_INO` of `<linux/nsfs.h>`.
    const INITIAL: u64 = 0xeffffffd;
    sys::kernel::version().is_some_and(|version| version >= (7, 0))
        && rustix::fs::stat("/proc/self/ns/user").is_ok_and(|status| status.st_ino == INITIAL)
}

/// Whether this process is not root of the host: an ordinary user, or in a user namespace that such a user may have made.
pub(crate) fn is_rootless() -> bool {
    !rustix::process::geteuid().is_root() || in_user_namespace()
}

/// Whether this process is in another user namespace than the initial one, which maps all ids to themselves
/// (user_namespaces(7)).
pub fn in_user_namespace() -> bool {
    let whole = [&b"0"[..], b"0", b"4294967295"];
    read_file("/proc/self/uid_map").is_ok_and(|map| {
        let words = map.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        !words.eq(whole)
    })
}

/// Which security modules are in force; false also where nobody asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Modules {
    /// AppArmor: the kernel says that it is enabled. Whether securityfs is mounted does not matter, as in runc: in most
    /// containers it is not, and a profile can be set there all the same.
    pub apparmor: bool,
    /// SELinux, by runc's rule: a selinuxfs that can be written to, and a policy.
    pub selinux: bool,
}

impl Modules {
    fn read(spec: &Spec) -> Self {
        let mount_label = spec.linux.as_ref().is_some_and(|linux| !linux.mount_label.is_empty());
        Self::of(spec.process.as_ref(), mount_label)
    }

    /// Those that the processes, and a mount label, ask for.
    pub(crate) fn of<'p>(
        processes: impl IntoIterator<Item = &'p Process>,
        mount_label: bool,
    ) -> Self {
        let (mut wants_apparmor, mut wants_selinux) = (false, mount_label);
        for process in processes {
            wants_apparmor |= !process.apparmor_profile.is_empty();
            wants_selinux |= !process.selinux_label.is_empty();
        }
        Self { apparmor: wants_apparmor && has_apparmor(), selinux: wants_selinux && has_selinux() }
    }
}

fn has_apparmor() -> bool {
    read_file("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|enabled| enabled.starts_with(b"Y"))
}

fn has_selinux() -> bool {
    let is_writable = rustix::fs::statvfs("/sys/fs/selinux")
        .is_ok_and(|mounted| !mounted.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    let is_selinuxfs = rustix::fs::statfs("/sys/fs/selinux")
        .is_ok_and(|filesystem| magic(&filesystem) == SELINUX_MAGIC);
    // Without a policy every process is `kernel`.
    let has_policy = read_file("/proc/thread-self/attr/current")
        .is_ok_and(|label| label.strip_suffix(b"\0").unwrap_or(&label) != b"kernel");
    is_selinuxfs && is_writable && has_policy
}

/// The unified hierarchy of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupFacts {
    /// How cgroups are mounted.
    pub layout: CgroupLayout,
    /// Where cgroup v2 is mounted.
    pub mount_point: PathBuf,
    /// This process's cgroup in it, from the `0::` line of `/proc/self/cgroup`, with a leading slash.
    pub own: PathBuf,
    /// The controllers that cgroup v1 has, which v2 so has not.
    pub bound_to_v1: Vec<String>,
}

/// How cgroups are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupLayout {
    /// cgroup2 at `/sys/fs/cgroup`.
    Unified,
    /// cgroup2 at `/sys/fs/cgroup/unified`, v1 controllers beside it.
    Hybrid,
    /// No cgroup2 anywhere we look.
    None,
}

impl CgroupFacts {
    pub(crate) fn read() -> Result<Self, Error> {
        let (layout, mount_point) = if is_cgroup2(UNIFIED) {
            (CgroupLayout::Unified, UNIFIED)
        } else if is_cgroup2(HYBRID) {
            (CgroupLayout::Hybrid, HYBRID)
        } else {
            (CgroupLayout::None, UNIFIED)
        };
        const OWN: &str = "/proc/self/cgroup";
        let content = read_file(OWN)?;
        Ok(Self {
            layout,
            mount_point: mount_point.into(),
            // A v1-only kernel has no such line; then the layout says so, and this is not used.
            own: parse_own_cgroup(&content).unwrap_or_else(|| "/".into()),
            bound_to_v1: parse_v1_controllers(&content),
        })
    }
}

fn is_cgroup2(path: &str) -> bool {
    rustix::fs::statfs(path).is_ok_and(|filesystem| magic(&filesystem) == CGROUP2_SUPER_MAGIC)
}

#[expect(clippy::cast_sign_loss, reason = "a magic number; its type differs by architecture")]
pub(crate) fn magic(filesystem: &StatFs) -> u64 {
    filesystem.f_type as u64
}

/// The cgroup of the process whose `/proc/PID/cgroup` is `path`, with a leading slash.
pub(crate) fn cgroup_of(path: &str) -> Result<PathBuf, Error> {
    let content = read_file(path)?;
    Ok(parse_own_cgroup(&content).unwrap_or_else(|| "/".into()))
}

/// The path of the line `0::PATH` (`cgroups(7)`). A cgroup above the root of our cgroup namespace shows as `/../..`: it
/// cannot be reached through our mount, so the root stands for it.
fn parse_own_cgroup(content: &[u8]) -> Option<PathBuf> {
    let line = content.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    let path = Path::new(OsStr::from_bytes(line));
    let is_above = path.components().any(|component| component == Component::ParentDir);
    Some(if is_above || !path.is_absolute() { "/".into() } else { path.into() })
}

/// The second fields of all lines but that of v2: `4:cpu,cpuacct:/`. Named hierarchies (`name=systemd`) have no controller. `io` is
/// `blkio` there.
fn parse_v1_controllers(content: &[u8]) -> Vec<String> {
    let content = String::from_utf8_lossy(content);
    let lists = content.lines().filter_map(|line| line.split(':').nth(1));
    let names = lists.flat_map(|list| list.split(','));
    let names = names.filter(|name| !name.is_empty() && !name.contains('='));
    names.map(|name| if name == "blkio" { "io" } else { name }.to_owned()).collect()
}

/// A file of procfs, which its first reads return whole: a short read is the end, and there is no size to ask for.
pub(crate) fn read_file(path: &str) -> Result<Vec<u8>, Error> {
    let read = || {
        let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut content = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let (read, _) = rustix::io::read(&file, &mut buffer).map(|n| buffer.split_at(n))?;
            content.extend_from_slice(read);
            if read.len() < buffer.len() {
                return Ok(content);
            }
        }
    };
    read().map_err(|errno: rustix::io::Errno| Error::os(format!("read {path}"), errno))
}

/// By the text alone; the current directory is looked up for a relative one.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::os("the current directory", source))
}

/// The processes that `/proc` shows, in no order.
pub(crate) fn all_pids() -> Result<Vec<i32>, Error> {
    let entries = std::fs::read_dir("/proc").map_err(|source| Error::os("read /proc", source))?;
    let names = entries.flatten().map(|entry| entry.file_name());
    Ok(names.filter_map(|name| name.to_str()?.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_cgroup_is_that_of_the_unified_line() {
        let hybrid = b"9:name=systemd:/x\n1:cpu:/\n0::/user.slice/a b\n";
        assert_eq!(parse_own_cgroup(hybrid), Some("/user.slice/a b".into()));
        assert_eq!(parse_own_cgroup(b"0::/\n"), Some("/".into()));
    }

    #[test]
    fn own_cgroup_above_the_namespace_is_the_root() {
        assert_eq!(parse_own_cgroup(b"0::/../../a\n"), Some("/".into()));
        assert_eq!(parse_own_cgroup(b"0::\n"), Some("/".into()));
    }

    #[test]
    fn controllers_of_v1_are_those_of_its_lines() {
        let hybrid =
            b"9:name=systemd:/x\n4:cpu,cpuacct:/\n2:blkio:/\n1:memory:/a:b\n0::/user.slice\n";
        assert_eq!(parse_v1_controllers(hybrid), ["cpu", "cpuacct", "io", "memory"]);
        assert!(parse_v1_controllers(b"0::/\n").is_empty());
    }

    #[test]
    fn own_cgroup_without_unified_hierarchy_is_none() {
        assert_eq!(parse_own_cgroup(b"1:cpu:/\n10::/x\n"), None);
        assert_eq!(parse_own_cgroup(b""), None);
    }

    #[test]
    fn facts_of_this_host_agree_with_the_kernel() {
        let facts = Facts::read(&Spec::default()).unwrap();
        assert!((38..64).contains(&facts.last_capability), "{facts:?}");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let is_mounted = mounts.lines().any(|line| {
            line.contains(" - cgroup2 ")
                && line.split(' ').nth(4) == facts.cgroup.mount_point.to_str()
        });
        assert_eq!(is_mounted, facts.cgroup.layout != CgroupLayout::None, "{facts:?}");
    }
}
