//! What `update` changes: new resources over those that are recorded.
//!
//! As runc does, one number is changed in the light of the others: the swap limit needs the memory limit, a quota needs its
//! period. Unlike runc, what is not asked for and does not change by it is not written again: somebody else may have
//! changed it meanwhile.
//!
//! Runs in: any process.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Setting, settings, without_effect};
use crate::plan::types::Remark;
use crate::spec::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice, LinuxWeightDevice,
    SpecError, validate_resources,
};

/// What an `update` writes, and what is recorded after it.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    /// Old and new in one.
    pub merged: LinuxResources,
    /// The writes, in order.
    pub settings: Vec<Setting>,
    /// For the log.
    pub warnings: Vec<Remark>,
}

impl Update {
    /// `asked` over `recorded`. The device rules of `asked` replace the recorded ones, unless there are none.
    ///
    /// # Errors
    /// What comes out of it means nothing.
    pub fn new(recorded: &LinuxResources, asked: &LinuxResources) -> Result<Self, SpecError> {
        let merged = merge(recorded.clone(), asked);
        validate_resources(&merged)?;
        let before = settings(recorded, &mut Vec::new())?;
        let (mut warnings, mut of_asked) = (Vec::new(), Vec::new());
        let mut settings = settings(&merged, &mut warnings)?;
        // It is not merged.
        without_effect(asked, &mut of_asked);
        of_asked.retain(|remark| !warnings.contains(remark));
        warnings.append(&mut of_asked);
        let asked = Asked(json!({ "linux": { "resources": asked } }));
        let idle = last_word(&settings, "cpu.idle").cloned();
        let idle = idle.filter(|now| {
            last_word(&before, "cpu.idle").is_some_and(|before| before.text != now.text)
        });
        settings.retain(|setting| {
            !before.contains(setting) || asked.makes(setting) || Some(setting) == idle.as_ref()
        });
        Ok(Self { merged, settings, warnings })
    }
}

/// What is written to the file at last: `unified` may say other than another property.
fn last_word<'a>(settings: &'a [Setting], file: &str) -> Option<&'a Setting> {
    settings.iter().rfind(|setting| setting.file == file)
}

/// `asked` as JSON, to look up pointers.
struct Asked(Value);

impl Asked {
    /// Whether the setting comes from what is asked, though it may say what was said before.
    fn makes(&self, setting: &Setting) -> bool {
        let own = setting.origin.to_string();
        // Of lists the place may be another one: all of it is written again.
        let list = own.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('/');
        let also: &[&str] = match &*setting.file {
            // The kernel sets the weight to its default when a cgroup is idle no more.
            "cpu.weight" => &["/linux/resources/cpu/idle"],
            "cpu.max" => &["/linux/resources/cpu/quota", "/linux/resources/cpu/period"],
            "memory.swap.max" => &["/linux/resources/memory/limit"],
            _ => &[],
        };
        let mut pointers = [own.as_str(), list].into_iter().chain(also.iter().copied());
        pointers.any(|pointer| self.0.pointer(pointer).is_some())
    }
}

fn merge(mut all: LinuxResources, asked: &LinuxResources) -> LinuxResources {
    if !asked.devices.is_empty() {
        all.devices.clone_from(&asked.devices);
    }
    if let Some(memory) = &asked.memory {
        merge_memory(all.memory.get_or_insert_default(), memory);
    }
    if let Some(cpu) = &asked.cpu {
        merge_cpu(all.cpu.get_or_insert_default(), cpu);
    }
    if let Some(limit) = asked.pids.as_ref().and_then(|pids| pids.limit) {
        all.pids.get_or_insert_default().limit = Some(limit);
    }
    if let Some(block_io) = &asked.block_io {
        merge_block_io(all.block_io.get_or_insert_default(), block_io);
    }
    for limit in &asked.hugepage_limits {
        all.hugepage_limits.retain(|old| old.page_size != limit.page_size);
        all.hugepage_limits.push(limit.clone());
    }
    extend(&mut all.rdma, &asked.rdma);
    extend(&mut all.unified, &asked.unified);
    if asks_for_a_weight_alone(asked) && is_idle(&all) {
        all.unified.remove("cpu.idle");
        all.cpu.get_or_insert_default().idle = Some(0);
    }
    all
}

/// Of an idle cgroup that ends the idleness, as systemd does it for runc: its `CPUWeight=` is both.
fn asks_for_a_weight_alone(asked: &LinuxResources) -> bool {
    let cpu = asked.cpu.as_ref();
    let shares = cpu.and_then(|cpu| cpu.shares).is_some_and(|shares| shares != 0);
    let has = |file| asked.unified.contains_key(file);
    (shares || has("cpu.weight")) && cpu.is_none_or(|cpu| cpu.idle.is_none()) && !has("cpu.idle")
}

fn is_idle(all: &LinuxResources) -> bool {
    let of_cpu = all.cpu.as_ref().and_then(|cpu| cpu.idle) == Some(1);
    all.unified.get("cpu.idle").map_or(of_cpu, |text| text.trim() == "1")
}

fn extend<V: Clone>(all: &mut BTreeMap<String, V>, asked: &BTreeMap<String, V>) {
    all.extend(asked.iter().map(|(name, value)| (name.clone(), value.clone())));
}

fn put<T: Copy>(old: &mut Option<T>, new: Option<T>) {
    *old = new.or(*old);
}

fn merge_memory(all: &mut LinuxMemory, asked: &LinuxMemory) {
    // With the limit gone, a limit of both together has lost its meaning.
    if asked.limit.is_some_and(|limit| limit < 0) && asked.swap.is_none() {
        all.swap = None;
    }
    put(&mut all.limit, asked.limit);
    put(&mut all.reservation, asked.reservation);
    put(&mut all.swap, asked.swap);
    // It is about this one update.
    all.check_before_update = asked.check_before_update.or(all.check_before_update);
}

fn merge_cpu(all: &mut LinuxCpu, asked: &LinuxCpu) {
    let nonzero = |value: Option<u64>| value.filter(|value| *value != 0);
    put(&mut all.shares, nonzero(asked.shares));
    put(&mut all.quota, asked.quota.filter(|quota| *quota != 0));
    put(&mut all.period, nonzero(asked.period));
    put(&mut all.burst, asked.burst);
    put(&mut all.idle, asked.idle);
    for (old, new) in [(&mut all.cpus, &asked.cpus), (&mut all.mems, &asked.mems)] {
        if !new.is_empty() {
            old.clone_from(new);
        }
    }
}

fn merge_block_io(all: &mut LinuxBlockIo, asked: &LinuxBlockIo) {
    put(&mut all.weight, asked.weight.filter(|weight| *weight != 0));
    for device in &asked.weight_device {
        merge_weight(&mut all.weight_device, device);
    }
    for (old, new) in [
        (&mut all.throttle_read_bps_device, &asked.throttle_read_bps_device),
        (&mut all.throttle_write_bps_device, &asked.throttle_write_bps_device),
        (&mut all.throttle_read_iops_device, &asked.throttle_read_iops_device),
        (&mut all.throttle_write_iops_device, &asked.throttle_write_iops_device),
    ] {
        new.iter().for_each(|device| merge_rate(old, device));
    }
}

fn merge_weight(all: &mut Vec<LinuxWeightDevice>, asked: &LinuxWeightDevice) {
    let is_same =
        |old: &&mut LinuxWeightDevice| (old.major, old.minor) == (asked.major, asked.minor);
    match all.iter_mut().rev().find(is_same) {
        Some(old) => put(&mut old.weight, asked.weight),
        None => all.push(asked.clone()),
    }
}

fn merge_rate(all: &mut Vec<LinuxThrottleDevice>, asked: &LinuxThrottleDevice) {
    let is_same =
        |old: &&mut LinuxThrottleDevice| (old.major, old.minor) == (asked.major, asked.minor);
    match all.iter_mut().rev().find(is_same) {
        Some(old) => old.rate = asked.rate,
        None => all.push(asked.clone()),
    }
}
