//! `/linux/resources` as writes to the files of the container's cgroup, in order.
//!
//! config.json speaks of cgroup v1; what it means in v2 is as runc has it (opencontainers/cgroups, `fs2`), to the letter of
//! what is written. The order is runc's too: pids, memory (swap before the limit), io, cpu (idle, weight, burst, quota), cpuset,
//! hugetlb, rdma, and `unified` last, which so has the last word on every file.
//!
//! Runs in: any process.

mod block_io;
mod cpu;
mod memory;
#[cfg(test)]
mod tests;
mod unified;
mod update;

use std::borrow::Cow;

pub(crate) use self::update::Update;

use super::types::{Origin, Remark};
use crate::spec::{LinuxHugepageLimit, LinuxPids, LinuxRdma, LinuxResources, SpecError};

/// One write to a file of the container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The file: `memory.max`.
    pub file: Cow<'static, str>,
    /// What is written, by one write.
    pub text: String,
    /// The property that asks for it.
    pub origin: Origin,
    /// What is done when the kernel does not take it.
    pub otherwise: Otherwise,
}

/// What is done when the kernel does not take a [`Setting`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Otherwise {
    /// It is an error.
    Fail,
    /// Nothing, when the file is not there: what it says holds without it.
    Holds,
    /// On EINVAL it is written once more after the setting behind it.
    Later,
    /// When the file is not there, this text is written to this other file.
    Write(&'static str, String),
}

impl Setting {
    fn new(origin: impl Into<Origin>, file: impl Into<Cow<'static, str>>, text: String) -> Self {
        let (file, origin) = (file.into(), origin.into());
        Self { file, text, origin, otherwise: Otherwise::Fail }
    }

    /// It need not be written where it cannot be: `holds` says that a new cgroup is so anyway.
    fn unless(self, holds: bool) -> Self {
        if holds { Self { otherwise: Otherwise::Holds, ..self } } else { self }
    }

    /// The controller without which it fails.
    pub fn controller(&self) -> Option<&str> {
        let (controller, _) = self.file.split_once('.')?;
        let is_needed = self.otherwise != Otherwise::Holds && controller != "cgroup";
        is_needed.then_some(controller)
    }
}

/// The writes for `resources`, in order, without the device rules; what is odd in them goes to `warnings`.
///
/// # Errors
/// A property that means nothing that a cgroup could do.
pub fn settings(
    resources: &LinuxResources,
    warnings: &mut Vec<Remark>,
) -> Result<Vec<Setting>, SpecError> {
    let mut settings = Vec::new();
    pids(resources.pids.as_ref(), &mut settings);
    if let Some(memory) = &resources.memory {
        memory::set(memory, &mut settings)?;
    }
    if let Some(block_io) = &resources.block_io {
        block_io::set(block_io, &mut settings);
    }
    if let Some(cpu) = &resources.cpu {
        cpu::set(cpu, &mut settings, warnings);
    }
    hugepages(&resources.hugepage_limits, &mut settings);
    resources.rdma.iter().for_each(|(device, limit)| settings.push(rdma(device, limit)));
    without_effect(resources, warnings);
    unified::set(&resources.unified, &mut settings, warnings)?;
    Ok(settings)
}

/// runtime-spec 1.3: absent leaves it as it is, negative is no limit. 0 becomes 1, as with runc: systemd cannot express 0, and
/// the first process is not counted by its own limit, so that both forbid every fork.
fn pids(pids: Option<&LinuxPids>, settings: &mut Vec<Setting>) {
    if let Some(limit) = pids.and_then(|pids| pids.limit) {
        let text = if limit < 0 { "max".to_owned() } else { limit.max(1).to_string() };
        settings
            .push(Setting::new("/linux/resources/pids/limit", "pids.max", text).unless(limit < 0));
    }
}

/// What is reserved (`rsvd`, Linux 5.7) has the same limit as what is used.
fn hugepages(limits: &[LinuxHugepageLimit], settings: &mut Vec<Setting>) {
    for (index, LinuxHugepageLimit { page_size, limit }) in limits.iter().enumerate() {
        let origin = Origin::Element("/linux/resources/hugepageLimits", index);
        let setting = |infix| {
            let file = format!("hugetlb.{page_size}{infix}.max");
            Setting::new(origin.clone(), file, limit.to_string())
        };
        settings.extend([setting(""), setting(".rsvd").unless(true)]);
    }
}

fn rdma(device: &str, limit: &LinuxRdma) -> Setting {
    let mut text = device.to_owned();
    for (name, limit) in [("hca_handle", limit.hca_handles), ("hca_object", limit.hca_objects)] {
        if let Some(limit) = limit {
            text.push_str(&format!(" {name}={limit}"));
        }
    }
    Setting::new(Origin::member("/linux/resources/rdma", device), "rdma.max", text)
}

/// What only cgroup v1 had: runc ignores it without a word.
fn without_effect(resources: &LinuxResources, warnings: &mut Vec<Remark>) {
    let mut warn_if = |is_asked: bool, property: &str| {
        if is_asked {
            let text = "is ignored: only cgroup v1 had it";
            warnings.push(Remark::new(format_args!("/linux/resources/{property}"), text));
        }
    };
    if let Some(memory) = &resources.memory {
        warn_if(memory.kernel.is_some_and(|limit| limit > 0), "memory/kernel");
        warn_if(memory.kernel_tcp.is_some_and(|limit| limit > 0), "memory/kernelTCP");
        warn_if(memory.swappiness.is_some(), "memory/swappiness");
        warn_if(memory.disable_oom_killer == Some(true), "memory/disableOOMKiller");
    }
    if let Some(io) = &resources.block_io {
        let of_devices = io.weight_device.iter().map(|device| device.leaf_weight);
        let mut weights = of_devices.chain([io.leaf_weight]).flatten();
        warn_if(weights.any(|weight| weight != 0), "blockIO/leafWeight");
    }
    if let Some(cpu) = &resources.cpu {
        warn_if(cpu.realtime_runtime.is_some_and(|time| time != 0), "cpu/realtimeRuntime");
        warn_if(cpu.realtime_period.is_some_and(|time| time != 0), "cpu/realtimePeriod");
    }
    if let Some(network) = &resources.network {
        warn_if(network.class_id.is_some_and(|class| class != 0), "network/classID");
        warn_if(!network.priorities.is_empty(), "network/priorities");
    }
}
