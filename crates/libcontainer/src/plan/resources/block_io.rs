//! `/linux/resources/blockIO`.
//!
//! Runs in: any process.

use super::{Otherwise, Setting};
use crate::plan::types::Origin;
use crate::spec::{LinuxBlockIo, LinuxThrottleDevice};

pub(super) fn set(io: &LinuxBlockIo, settings: &mut Vec<Setting>) {
    if let Some(weight) = io.weight.filter(|weight| *weight != 0) {
        settings.push(weight_setting("/linux/resources/blockIO/weight".into(), "", weight));
    }
    for (index, device) in io.weight_device.iter().enumerate() {
        if let Some(weight) = device.weight.filter(|weight| *weight != 0) {
            let key = format!("{}:{} ", device.major, device.minor);
            let origin = Origin::Element("/linux/resources/blockIO/weightDevice", index);
            settings.push(weight_setting(origin, &key, weight));
        }
    }
    throttle(
        "rbps",
        "/linux/resources/blockIO/throttleReadBpsDevice",
        &io.throttle_read_bps_device,
        settings,
    );
    throttle(
        "wbps",
        "/linux/resources/blockIO/throttleWriteBpsDevice",
        &io.throttle_write_bps_device,
        settings,
    );
    throttle(
        "riops",
        "/linux/resources/blockIO/throttleReadIOPSDevice",
        &io.throttle_read_iops_device,
        settings,
    );
    throttle(
        "wiops",
        "/linux/resources/blockIO/throttleWriteIOPSDevice",
        &io.throttle_write_iops_device,
        settings,
    );
}

/// BFQ takes the numbers of config.json as they are, 10 to 1000; `io.weight` has 1 to 10000. Where both are, BFQ's counts, as with
/// runc. (For a single device runc asks BFQ alone, and without it ignores the weight in silence.)
fn weight_setting(origin: Origin, key: &str, weight: u16) -> Setting {
    let otherwise = Otherwise::Write("io.weight", format!("{key}{}", io_weight(weight)));
    Setting { otherwise, ..Setting::new(origin, "io.bfq.weight", format!("{key}{weight}")) }
}

/// 10 to 1000 linearly onto 1 to 10000.
fn io_weight(weight: u16) -> u32 {
    1 + u32::from(weight).saturating_sub(10) * 9999 / 990
}

/// One key a write: a line with several is taken as a whole, and a device may be in several lists.
fn throttle(
    key: &str,
    pointer: &'static str,
    devices: &[LinuxThrottleDevice],
    settings: &mut Vec<Setting>,
) {
    for (index, LinuxThrottleDevice { major, minor, rate }) in devices.iter().enumerate() {
        // v1 took 0 for no limit; `io.max` answers ERANGE.
        let rate = if *rate == 0 { "max".to_owned() } else { rate.to_string() };
        let text = format!("{major}:{minor} {key}={rate}");
        settings.push(Setting::new(Origin::Element(pointer, index), "io.max", text));
    }
}
