//! `/linux/devices` and `/linux/netDevices`.
//!
//! Runs in: any process.

use super::{Check, check_absolute, check_count, check_id, check_range, fail, member};
use crate::spec::limits::MAX_STEPS;
use crate::spec::{DeviceType, Linux, LinuxDevice, NamespaceType};

/// 12 and 20 bits: what the kernel's `dev_t` has.
pub(super) const MAX_MAJOR: i64 = 0xfff;
pub(super) const MAX_MINOR: i64 = 0xf_ffff;

pub(super) fn check(linux: &Linux) -> Check {
    check_count("/linux/devices", linux.devices.len(), MAX_STEPS)?;
    for (index, device) in linux.devices.iter().enumerate() {
        check_device(&format!("/linux/devices/{index}"), device)?;
    }
    check_net_devices(linux)
}

fn check_device(pointer: &str, device: &LinuxDevice) -> Check {
    /// The permissions and the bits of the type.
    const MODE_BITS: u32 = 0o177_777;
    check_absolute(&device.path, || format!("{pointer}/path"))?;
    if device.device_type != DeviceType::Fifo {
        check_number(device.major, MAX_MAJOR, || format!("{pointer}/major"))?;
        check_number(device.minor, MAX_MINOR, || format!("{pointer}/minor"))?;
    }
    if let Some(mode) = device.file_mode {
        check_range(mode, 0, MODE_BITS, || format!("{pointer}/fileMode"))?;
    }
    check_id(device.uid.unwrap_or(0), || format!("{pointer}/uid"))?;
    check_id(device.gid.unwrap_or(0), || format!("{pointer}/gid"))
}

fn check_number(number: Option<i64>, last: i64, pointer: impl FnOnce() -> String) -> Check {
    match number {
        None => fail(pointer(), "is missing and required"),
        Some(number) => check_range(number, 0, last, pointer),
    }
}

fn check_net_devices(linux: &Linux) -> Check {
    const POINTER: &str = "/linux/netDevices";
    if linux.net_devices.is_empty() {
        return Ok(());
    }
    if !linux.has_namespace(NamespaceType::Network) {
        return fail(POINTER, "unable to move network devices without a NET namespace");
    }
    check_count(POINTER, linux.net_devices.len(), MAX_STEPS)?;
    let mut names = std::collections::BTreeSet::new();
    for (host_name, device) in &linux.net_devices {
        let pointer = member(POINTER, host_name);
        if !is_net_device_name(host_name) {
            return fail(pointer, format!("invalid network device name {host_name:?}"));
        }
        let name = if device.name.is_empty() { host_name } else { &device.name };
        // One %d may stand for the first number that is free (config-linux.md).
        if !is_net_device_name(&name.replacen("%d", "0", 1)) {
            return fail(
                format!("{pointer}/name"),
                format!("invalid network device name {name:?}"),
            );
        }
        if !name.contains("%d") && !names.insert(name) {
            return fail(format!("{pointer}/name"), format!("{name:?} is the name of two devices"));
        }
    }
    Ok(())
}

/// `dev_valid_name` of the kernel.
pub(super) fn is_net_device_name(name: &str) -> bool {
    /// `IFNAMSIZ` without the NUL.
    const LONGEST: usize = 15;
    !matches!(name, "" | "." | "..")
        && name.len() <= LONGEST
        && !name.contains(['/', ':', '%'])
        && !name.contains(|character: char| character.is_whitespace() || character.is_control())
}
