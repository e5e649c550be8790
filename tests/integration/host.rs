//! What this machine has, and what a test may need of it.
//!
//! Runs in: any process.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::statfs;
use rustix::process::{geteuid, getpid, set_child_subreaper};

use crate::inside;
use crate::mapped;
use crate::ordinary_user::{self, Mode};
use crate::runtime::Program;

const CGROUP_ROOT: &str = "/sys/fs/cgroup";
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;
pub const CAP_SYS_RESOURCE: u32 = 24;

/// One condition of a test; when it is not met the test is skipped, and the output says which it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Effective uid 0 in the initial user namespace's sense: may mount, make cgroups and namespaces.
    Root,
    /// cgroup v2 at /sys/fs/cgroup (true in the harness's own mount namespace unless CORTEN_HYBRID=1).
    PureCgroup2,
    /// A hybrid host as it is: run with CORTEN_HYBRID=1.
    HybridCgroup,
    /// A controller of the v2 hierarchy, which on a hybrid host v1 may hold.
    Controller(&'static str),
    /// CAP_SYS_RESOURCE: to raise limits, to set negative oom_score_adj.
    CapSysResource,
    /// AppArmor is on.
    AppArmor,
    /// SELinux is on: `cargo xtask test` boots a VM for that.
    Selinux,
    /// A pseudo-terminal can be made.
    Terminal,
    /// A namespace kind that /proc/self/ns has.
    Namespace(&'static str),
    /// A kernel at least this new.
    Kernel(u32, u32),
    /// A program in PATH.
    Program(&'static str),
    /// May change what belongs to the whole machine: only in the VM.
    Vm(&'static str),
    /// A systemd that has booted this machine: `cargo xtask test --systemd` has one.
    Systemd,
    /// The tests' directory is on a file system whose mounts can be id-mapped; the root of the minimal VM is none.
    IdMaps,
    /// Strace, where it is: the VM has none, and counts the same calls as the host would.
    Strace,
    /// Not as an ordinary user (`CORTEN_TEST_ROOTLESS`); the text says why.
    NotOrdinaryUser(&'static str),
    /// Not where every bundle has a user namespace (`CORTEN_TEST_USERNS`); the text says why.
    NotMapped(&'static str),
    /// Only for corten; the text says why (specification, or a thing that others do not have).
    Corten(&'static str),
    /// Not on this peer (`crun`, `runc`); the text says why ours is right.
    NotOn(&'static str, &'static str),
}

/// A need that is not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    need: Need,
    found: String,
}

impl Unmet {
    /// Whether another machine would not help.
    pub fn is_about_the_runtime(&self) -> bool {
        matches!(
            self.need,
            Need::IdMaps
                | Need::NotOrdinaryUser(_)
                | Need::NotMapped(_)
                | Need::Corten(_)
                | Need::NotOn(..)
                | Need::HybridCgroup
                | Need::Strace
                | Need::Selinux
                | Need::Systemd
        )
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.need {
            Need::NotMapped(why) => write!(f, "not in a user namespace: {why}"),
            Need::NotOrdinaryUser(why) => write!(f, "not as an ordinary user: {why}"),
            Need::Corten(why) => write!(f, "only for corten: {why}"),
            Need::NotOn(peer, why) => write!(f, "not on {peer}: {why}"),
            Need::Systemd => {
                write!(f, "needs systemd: {} (cargo xtask test --systemd)", self.found)
            }
            Need::Vm(why) => write!(f, "needs the VM: {why}"),
            Need::Controller(name) => write!(f, "needs cgroup controller {name}: {}", self.found),
            need => write!(f, "needs {need:?}: {}", self.found),
        }
    }
}

/// The harness's view of /sys/fs/cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Not root: the host's own, as it is.
    Host,
    /// A mount namespace of its own, with the host's cgroup mounts.
    Hybrid,
    /// A mount namespace of its own, with cgroup v2 and nothing else at /sys/fs/cgroup.
    Pure,
    /// The same, and from there on an ordinary user.
    User(Mode),
}

/// Gives this process a mount namespace that the host does not see, with cgroup v2 alone at /sys/fs/cgroup, and
/// makes it the reaper of what runtimes orphan.
///
/// Must be called before the first thread.
pub fn enter_private_view() -> io::Result<View> {
    set_child_subreaper(Some(getpid()))?;
    if !geteuid().is_root() {
        return Ok(View::Host);
    }
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    if std::env::var_os("CORTEN_HYBRID").is_some() {
        return Ok(View::Hybrid);
    }
    if !is_cgroup2(CGROUP_ROOT) {
        // MNT_DETACH takes the v1 mounts below with it.
        umount2(CGROUP_ROOT, MntFlags::MNT_DETACH)?;
        mount(Some("cgroup2"), CGROUP_ROOT, Some("cgroup2"), MsFlags::empty(), None::<&str>)?;
    }
    let Some(mode) = ordinary_user::mode() else { return Ok(View::Pure) };
    ordinary_user::become_user(mode)?;
    Ok(View::User(mode))
}

fn is_cgroup2(path: &str) -> bool {
    statfs(path).is_ok_and(|found| u64::try_from(found.f_type) == Ok(CGROUP2_SUPER_MAGIC))
}

/// Facts for [`Need`]s, read once.
#[derive(Debug, Clone)]
pub struct Host {
    view: View,
    vm: bool,
    controllers: Vec<String>,
    kernel: (u32, u32),
}

impl Host {
    pub fn read(view: View) -> Self {
        let release = read("/proc/sys/kernel/osrelease");
        let mut numbers =
            release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
        Self {
            view,
            vm: is_vm(),
            controllers: read(&format!("{CGROUP_ROOT}/cgroup.controllers"))
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            kernel: (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)),
        }
    }

    pub fn is_vm(&self) -> bool {
        self.vm
    }

    /// The first need of this test that this machine or this runtime does not meet.
    pub fn unmet(&self, name: &str, needs: &[Need], program: &Program) -> Option<Unmet> {
        if let View::User(mode) = self.view
            && let Some(why) = ordinary_user::exception(name, mode)
        {
            return Some(Unmet { need: Need::NotOrdinaryUser(why), found: String::new() });
        }
        if mapped::is_mode()
            && let Some(why) = mapped::exception(name)
        {
            return Some(Unmet { need: Need::NotMapped(why), found: String::new() });
        }
        needs.iter().find_map(|need| {
            self.check(*need, program).err().map(|found| Unmet { need: *need, found })
        })
    }

    fn check(&self, need: Need, program: &Program) -> Result<(), String> {
        let met = |yes: bool, found: &str| if yes { Ok(()) } else { Err(found.to_owned()) };
        match need {
            Need::Root => met(self.view != View::Host, "run as root"),
            Need::PureCgroup2 => met(is_cgroup2(CGROUP_ROOT), "/sys/fs/cgroup is not cgroup v2"),
            Need::HybridCgroup => met(
                self.view == View::Hybrid && !is_cgroup2(CGROUP_ROOT),
                "on a hybrid host, run with CORTEN_HYBRID=1",
            ),
            Need::Controller(name) => met(
                self.controllers.iter().any(|c| c == name),
                &format!("/sys/fs/cgroup/cgroup.controllers has {:?}", self.controllers),
            ),
            Need::CapSysResource => met(has_capability(CAP_SYS_RESOURCE), "CapEff is without it"),
            Need::AppArmor => {
                met(has_apparmor(), "/sys/module/apparmor/parameters/enabled is not Y")
            }
            Need::Terminal => met(Path::new("/dev/ptmx").exists(), "no /dev/ptmx"),
            Need::Namespace(name) => met(
                Path::new("/proc/self/ns").join(name).exists(),
                &format!("no /proc/self/ns/{name}"),
            ),
            Need::Kernel(major, minor) => met(
                self.kernel >= (major, minor),
                &format!("this kernel is {}.{}", self.kernel.0, self.kernel.1),
            ),
            Need::Program(name) => met(in_path(name), "not in PATH"),
            Need::Vm(_) => met(self.vm, "CORTEN_VM is not set"),
            Need::Systemd => {
                met(Path::new("/run/systemd/system").exists(), "not booted by systemd")
            }
            Need::Selinux => met(has_selinux(), "/sys/kernel/security/lsm does not name it"),
            Need::IdMaps => {
                let kind = fs_type(&std::env::temp_dir());
                let is_known = matches!(kind.as_str(), "ext4" | "xfs" | "btrfs" | "f2fs");
                let is_new_tmpfs = kind == "tmpfs" && self.kernel >= (6, 3);
                met(is_known || is_new_tmpfs, &format!("the tests' directory is on {kind}"))
            }
            Need::Strace => met(in_path("strace"), "not in PATH"),
            Need::NotMapped(_) => met(!mapped::is_mode(), "CORTEN_TEST_USERNS is set"),
            Need::NotOrdinaryUser(_) => {
                met(!matches!(self.view, View::User(_)), "CORTEN_TEST_ROOTLESS is set")
            }
            Need::Corten(_) => met(program.is("corten"), program.name()),
            Need::NotOn(peer, _) => met(!program.is(peer), program.name()),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cgroup = match self.view {
            View::Pure => "v2 in a mount namespace of the tests",
            View::Hybrid => "as the host has it, in a mount namespace of the tests",
            View::Host => "the host's own (not root)",
            View::User(Mode::Helpers) => {
                "v2, and nothing delegated; an ordinary user with newuidmap"
            }
            View::User(Mode::Alone) => {
                "v2, and nothing delegated; an ordinary user without newuidmap"
            }
        };
        write!(
            f,
            "Linux {}.{}, cgroup {cgroup}, controllers {:?}",
            self.kernel.0, self.kernel.1, self.controllers
        )
    }
}

/// Whether this is the project's VM: slow, and all needs are met.
pub fn is_vm() -> bool {
    std::env::var_os("CORTEN_VM").is_some_and(|value| value == "1")
}

fn has_selinux() -> bool {
    let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    modules.trim().split(',').any(|module| module == "selinux")
}

pub fn has_apparmor() -> bool {
    read("/sys/module/apparmor/parameters/enabled").trim() == "Y"
        && Path::new("/sys/kernel/security/apparmor").exists()
}

pub fn has_capability(number: u32) -> bool {
    let status = read("/proc/self/status");
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or("");
    u64::from_str_radix(set.trim(), 16).is_ok_and(|bits| bits >> number & 1 == 1)
}

fn in_path(name: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(name).exists())
    })
}

/// The type of the file system that a directory is on; empty where it is not to be found.
fn fs_type(directory: &Path) -> String {
    let mounts = inside::mounts(&read("/proc/self/mountinfo"));
    let on = mounts.into_iter().filter(|mount| directory.starts_with(&mount.target));
    on.max_by_key(|mount| mount.target.len()).map(|mount| mount.fstype).unwrap_or_default()
}

/// The file's text; a file that cannot be read is empty.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
