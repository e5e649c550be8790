//! What of the features the kernel and the system here really give.
//!
//! Runs in: runtime.

use std::fs;
use std::path::Path;

use super::{Features, SeccompFeatures};
use crate::error::Error;
use crate::host::{CgroupFacts, CgroupLayout, Facts};
use crate::spec::{NamespaceType, SeccompAction, SeccompFlag, Spec};
use crate::sys;

impl Features {
    /// What this program can do on this host, as the kernel says it now; the annotations `corten.host.…` tell more of it.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn of_this_host() -> Result<Self, Error> {
        let mut features = Self::of_this_program();
        let facts = Facts::read(&Spec::default())?;
        let linux = &mut features.linux;
        linux.namespaces.retain(|namespace| has_namespace(*namespace));
        let last = read("/proc/sys/kernel/cap_last_cap").parse().unwrap_or(usize::MAX);
        linux.capabilities.truncate(last.saturating_add(1));
        let controllers = read_in(&facts.cgroup, "cgroup.controllers");
        linux.cgroup.v2 &= facts.cgroup.layout != CgroupLayout::None;
        linux.cgroup.rdma &= controllers.split(' ').any(|controller| controller == "rdma");
        let has_systemd = Path::new("/run/systemd/system").exists();
        linux.cgroup.systemd &= has_systemd;
        linux.cgroup.systemd_user &= has_systemd;
        restrict(&mut linux.seccomp);
        linux.apparmor.enabled &= read("/sys/module/apparmor/parameters/enabled") == "Y";
        linux.selinux.enabled &= Path::new("/sys/fs/selinux/enforce").exists();
        linux.intel_rdt.enabled &= Path::new("/sys/fs/resctrl/schemata").exists();
        linux.intel_rdt.schemata &= linux.intel_rdt.enabled;
        linux.intel_rdt.monitoring &= Path::new("/sys/fs/resctrl/info/L3_MON").exists();
        if !Path::new("/proc/self/numa_maps").exists() {
            linux.memory_policy.modes.clear();
            linux.memory_policy.flags.clear();
        }
        let layout = match facts.cgroup.layout {
            CgroupLayout::Unified => "unified",
            CgroupLayout::Hybrid => "hybrid",
            CgroupLayout::None => "none",
        };
        let told = [
            ("kernel", read("/proc/sys/kernel/osrelease")),
            ("cgroup.layout", layout.to_owned()),
            ("cgroup.controllers", controllers),
            ("lsm", read("/sys/kernel/security/lsm")),
            ("memfdNoexec", read("/proc/sys/vm/memfd_noexec")),
        ];
        let told = told.into_iter().filter(|(_, value)| !value.is_empty());
        features
            .annotations
            .extend(told.map(|(name, value)| (format!("corten.host.{name}"), value)));
        Ok(features)
    }
}

/// Its one line; empty where there is no such file.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

fn read_in(cgroup: &CgroupFacts, name: &str) -> String {
    cgroup.mount_point.join(name).to_str().map(read).unwrap_or_default()
}

fn has_namespace(namespace: NamespaceType) -> bool {
    let name = match namespace {
        NamespaceType::Network => "net",
        NamespaceType::Mount => "mnt",
        other => other.as_str(),
    };
    // A limit of 0 forbids new ones to everybody.
    Path::new("/proc/self/ns").join(name).exists()
        && read(&format!("/proc/sys/user/max_{name}_namespaces")) != "0"
}

fn restrict(seccomp: &mut SeccompFeatures) {
    let available = read("/proc/sys/kernel/seccomp/actions_avail");
    if available.is_empty() {
        *seccomp = SeccompFeatures::none();
        return;
    }
    let has = |word: &str| available.split(' ').any(|action| action == word);
    seccomp.actions.retain(|action| {
        has(match action {
            SeccompAction::Kill | SeccompAction::KillThread => "kill_thread",
            SeccompAction::KillProcess => "kill_process",
            SeccompAction::Trap => "trap",
            SeccompAction::Errno => "errno",
            SeccompAction::Trace => "trace",
            SeccompAction::Allow => "allow",
            SeccompAction::Log => "log",
            SeccompAction::Notify => "user_notif",
        })
    });
    seccomp.supported_flags.retain(|flag| {
        // <linux/seccomp.h>; the last is refused without a listener.
        sys::seccomp::takes_flags(match flag {
            SeccompFlag::Tsync => 1,
            SeccompFlag::Log => 1 << 1,
            SeccompFlag::SpecAllow => 1 << 2,
            SeccompFlag::WaitKillableRecv => 1 << 5 | 1 << 3,
        })
    });
}
