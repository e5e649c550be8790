//! What config.json may ask for and this version cannot give: refused by name, never ignored.
//!
//! Runs in: any process.

use super::mounts::PlannedMount;
use super::types::Remark;
use super::{Inputs, Origin};
use crate::spec::{
    Linux, LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, NamespaceType, Process,
};

/// All of it, in the order of config.json.
pub(super) fn find(inputs: &Inputs<'_>, mounts: &[PlannedMount<'_>]) -> Vec<Remark> {
    let mut found = Found(Vec::new());
    if inputs.request.systemd_cgroup {
        found.add("--systemd-cgroup", "cgroups made by systemd are not supported yet");
    }
    found.process(inputs.process);
    for origin in mounts.iter().filter_map(PlannedMount::idmap) {
        found.add(&origin.to_string(), "id-mapped mounts are not supported yet");
    }
    found.namespaces(inputs);
    found.linux(inputs.linux);
    if let Some(resources) = &inputs.linux.resources {
        found.resources(resources);
    }
    found.0
}

struct Found(Vec<Remark>);

impl Found {
    fn add(&mut self, pointer: &str, text: &str) {
        self.0.push(Remark::new(pointer, text));
    }

    fn add_if(&mut self, is_asked: bool, pointer: &str, what: &str) {
        if is_asked {
            self.add(pointer, &format!("{what} not supported yet"));
        }
    }

    fn process(&mut self, process: &Process) {
        let apparmor = !process.apparmor_profile.is_empty();
        self.add_if(apparmor, "/process/apparmorProfile", "AppArmor profiles are");
        let selinux = !process.selinux_label.is_empty();
        self.add_if(selinux, "/process/selinuxLabel", "SELinux labels are");
    }

    fn namespaces(&mut self, inputs: &Inputs<'_>) {
        for (index, namespace) in inputs.linux.namespaces.iter().enumerate() {
            let pointer = Origin::Element("/linux/namespaces", index).to_string();
            let is_joined = !namespace.path.is_empty();
            match namespace.namespace_type {
                NamespaceType::User => self.add(&pointer, "user namespaces are not supported yet"),
                // pivot_root would change the root of every process in it.
                NamespaceType::Mount if is_joined => {
                    self.add(&pointer, "joining a mount namespace is not supported yet");
                }
                _ => {}
            }
        }
    }

    fn linux(&mut self, linux: &Linux) {
        let asked = [
            (!linux.net_devices.is_empty(), "/linux/netDevices", "network devices are"),
            (linux.seccomp.is_some(), "/linux/seccomp", "system call filters are"),
            (!linux.mount_label.is_empty(), "/linux/mountLabel", "SELinux labels are"),
            (linux.intel_rdt.is_some(), "/linux/intelRdt", "Intel RDT is"),
            (linux.memory_policy.is_some(), "/linux/memoryPolicy", "memory policies are"),
        ];
        for (is_asked, pointer, what) in asked {
            self.add_if(is_asked, pointer, what);
        }
    }

    fn resources(&mut self, resources: &LinuxResources) {
        // Below 0 is no limit, which a new cgroup has none of.
        let pids =
            resources.pids.as_ref().and_then(|pids| pids.limit).is_some_and(|limit| limit >= 0);
        let network = resources
            .network
            .as_ref()
            .is_some_and(|network| network.class_id.is_some() || !network.priorities.is_empty());
        let asked = [
            (resources.memory.as_ref().is_some_and(limits_memory), "memory"),
            (resources.cpu.as_ref().is_some_and(limits_cpu), "cpu"),
            (pids, "pids"),
            (resources.block_io.as_ref().is_some_and(limits_block_io), "blockIO"),
            (!resources.hugepage_limits.is_empty(), "hugepageLimits"),
            (network, "network"),
            (!resources.rdma.is_empty(), "rdma"),
            (!resources.unified.is_empty(), "unified"),
        ];
        for (is_asked, name) in asked {
            self.add_if(is_asked, &format!("/linux/resources/{name}"), "resource limits are");
        }
    }
}

/// Engines write zeros for what they do not set, which runc takes for that.
fn limits_memory(memory: &LinuxMemory) -> bool {
    let limits = [memory.limit, memory.reservation, memory.swap];
    // -1 is no limit.
    limits.iter().flatten().any(|limit| *limit > 0)
        || memory.swappiness.is_some()
        || memory.disable_oom_killer == Some(true)
}

fn limits_cpu(cpu: &LinuxCpu) -> bool {
    [cpu.shares, cpu.burst, cpu.period, cpu.realtime_period]
        .iter()
        .flatten()
        .any(|value| *value != 0)
        || [cpu.quota, cpu.realtime_runtime].iter().flatten().any(|value| *value > 0)
        || !cpu.cpus.is_empty()
        || !cpu.mems.is_empty()
        || cpu.idle.is_some()
}

fn limits_block_io(block_io: &LinuxBlockIo) -> bool {
    [block_io.weight, block_io.leaf_weight].iter().flatten().any(|weight| *weight != 0)
        || !block_io.weight_device.is_empty()
        || !block_io.throttle_read_bps_device.is_empty()
        || !block_io.throttle_write_bps_device.is_empty()
        || !block_io.throttle_read_iops_device.is_empty()
        || !block_io.throttle_write_iops_device.is_empty()
}
