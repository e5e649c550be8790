//! `/linux/resources`.
//!
//! Runs in: any process.

use super::devices::{MAX_MAJOR, MAX_MINOR, is_net_device_name};
use super::{Check, check_count, check_range, fail, member, number_list};
use crate::spec::limits::MAX_STEPS;
use crate::spec::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxHugepageLimit, LinuxMemory, LinuxRdma,
    LinuxResources,
};

pub(super) fn check(resources: &LinuxResources) -> Check {
    check_count("/linux/resources/devices", resources.devices.len(), MAX_STEPS)?;
    for (index, rule) in resources.devices.iter().enumerate() {
        check_device_rule(&format!("/linux/resources/devices/{index}"), rule)?;
    }
    if let Some(memory) = &resources.memory {
        check_memory(memory)?;
    }
    if let Some(cpu) = &resources.cpu {
        check_cpu(cpu)?;
    }
    if let Some(io) = &resources.block_io {
        check_block_io(io)?;
    }
    for (index, limit) in resources.hugepage_limits.iter().enumerate() {
        check_hugepage(index, limit)?;
    }
    for (index, priority) in
        resources.network.iter().flat_map(|network| &network.priorities).enumerate()
    {
        if !is_net_device_name(&priority.name) {
            let pointer = format!("/linux/resources/network/priorities/{index}/name");
            return fail(pointer, format!("invalid network device name {:?}", priority.name));
        }
    }
    resources.rdma.iter().try_for_each(|(name, limit)| check_rdma(name, limit))?;
    resources.unified.keys().try_for_each(|file| check_unified(file))
}

fn check_device_rule(pointer: &str, rule: &LinuxDeviceCgroup) -> Check {
    check_range(rule.major.unwrap_or(-1), -1, MAX_MAJOR, || format!("{pointer}/major"))?;
    check_range(rule.minor.unwrap_or(-1), -1, MAX_MINOR, || format!("{pointer}/minor"))?;
    // runc's own tests write `rwa`: `a` means nothing there.
    if rule.access.bytes().any(|letter| !matches!(letter, b'r' | b'w' | b'm' | b'a')) {
        let problem = format!("is {:?}, which has letters besides r, w and m", rule.access);
        return fail(format!("{pointer}/access"), problem);
    }
    Ok(())
}

/// -1 is no limit; `swap` counts memory and swap together.
fn check_memory(memory: &LinuxMemory) -> Check {
    let pointer = |property: &str| format!("/linux/resources/memory/{property}");
    for (property, value) in [
        ("limit", memory.limit),
        ("reservation", memory.reservation),
        ("swap", memory.swap),
        ("kernel", memory.kernel),
        ("kernelTCP", memory.kernel_tcp),
    ] {
        check_range(value.unwrap_or(0), -1, i64::MAX, || pointer(property))?;
    }
    check_range(memory.swappiness.unwrap_or(0), 0, 100, || pointer("swappiness"))?;
    match (memory.limit.unwrap_or(0), memory.swap.unwrap_or(0)) {
        (0, 1..) => fail(pointer("swap"), "unable to set swap limit without memory limit"),
        (limit @ 1.., swap @ 1..) if swap < limit => {
            fail(pointer("swap"), "memory+swap limit should be >= memory limit")
        }
        _ => Ok(()),
    }
}

fn check_cpu(cpu: &LinuxCpu) -> Check {
    number_list::check(&cpu.cpus, || "/linux/resources/cpu/cpus".to_owned())?;
    number_list::check(&cpu.mems, || "/linux/resources/cpu/mems".to_owned())?;
    check_range(cpu.idle.unwrap_or(0), 0, 1, || "/linux/resources/cpu/idle".to_owned())?;
    match (cpu.quota.and_then(|quota| u64::try_from(quota).ok()), cpu.burst) {
        (Some(quota @ 1..), Some(burst)) if burst > quota => {
            fail("/linux/resources/cpu/burst", format!("is {burst}, above the quota {quota}"))
        }
        _ => Ok(()),
    }
}

/// Weights are 10 to 1000, or 0 for none.
fn check_block_io(io: &LinuxBlockIo) -> Check {
    const POINTER: &str = "/linux/resources/blockIO";
    let weight = |value: Option<u16>, pointer: String| match value {
        None | Some(0) => Ok(()),
        Some(weight) => check_range(weight, 10, 1000, || pointer),
    };
    weight(io.weight, format!("{POINTER}/weight"))?;
    weight(io.leaf_weight, format!("{POINTER}/leafWeight"))?;
    for (index, device) in io.weight_device.iter().enumerate() {
        let pointer = format!("{POINTER}/weightDevice/{index}");
        check_device_number(&pointer, device.major, device.minor)?;
        weight(device.weight, format!("{pointer}/weight"))?;
        weight(device.leaf_weight, format!("{pointer}/leafWeight"))?;
        if device.weight.is_none() && device.leaf_weight.is_none() {
            return fail(pointer, "has neither weight nor leafWeight");
        }
    }
    for (property, devices) in [
        ("throttleReadBpsDevice", &io.throttle_read_bps_device),
        ("throttleWriteBpsDevice", &io.throttle_write_bps_device),
        ("throttleReadIOPSDevice", &io.throttle_read_iops_device),
        ("throttleWriteIOPSDevice", &io.throttle_write_iops_device),
    ] {
        for (index, device) in devices.iter().enumerate() {
            check_device_number(
                &format!("{POINTER}/{property}/{index}"),
                device.major,
                device.minor,
            )?;
        }
    }
    Ok(())
}

fn check_device_number(pointer: &str, major: i64, minor: i64) -> Check {
    check_range(major, 0, MAX_MAJOR, || format!("{pointer}/major"))?;
    check_range(minor, 0, MAX_MINOR, || format!("{pointer}/minor"))
}

/// `[1-9][0-9]*[KMG]B`: it becomes part of a file's name.
fn check_hugepage(index: usize, limit: &LinuxHugepageLimit) -> Check {
    let size = limit.page_size.as_str();
    let number = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if number.is_some_and(|number| digits(number) && !number.starts_with('0')) {
        return Ok(());
    }
    let pointer = format!("/linux/resources/hugepageLimits/{index}/pageSize");
    fail(pointer, format!("is {size:?}, not a size as in 2MB"))
}

/// The name is the first word of a line.
fn check_rdma(name: &str, limit: &LinuxRdma) -> Check {
    let pointer = member("/linux/resources/rdma", name);
    let odd =
        |character: char| character.is_whitespace() || character.is_control() || character == '/';
    if name.is_empty() || name.contains(odd) {
        return fail(pointer, format!("{name:?} is not the name of an RDMA device"));
    }
    if limit.hca_handles.is_none() && limit.hca_objects.is_none() {
        return fail(pointer, "has neither hcaHandles nor hcaObjects");
    }
    Ok(())
}

/// A file in the cgroup's directory, of a controller.
fn check_unified(file: &str) -> Check {
    let pointer = || member("/linux/resources/unified", file);
    if file.contains('/') || file.contains(char::is_control) {
        return fail(
            pointer(),
            format!("unified resource {file:?} must be a file name (no slashes)"),
        );
    }
    match file.split_once('.') {
        Some((controller, parameter)) if !controller.is_empty() && !parameter.is_empty() => Ok(()),
        _ => fail(
            pointer(),
            format!("unified resource {file:?} must be in the form CONTROLLER.PARAMETER"),
        ),
    }
}
