//! `/linux/resources/cpu`: time and places.
//!
//! Runs in: any process.

use super::{Otherwise, Setting};
use crate::plan::types::Remark;
use crate::spec::LinuxCpu;

const SHARES: &str = "/linux/resources/cpu/shares";

/// Why a weight is not written: the kernel would answer EINVAL. It begins as runc's warning does.
pub(super) const IDLE: &str = "unable to apply both: is ignored as long as cpu.idle is 1";

/// The kernel's (`cgroup-v2.rst`, "cpu.max"), in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;
const DEFAULT_WEIGHT: u64 = 100;

pub(super) fn set(cpu: &LinuxCpu, settings: &mut Vec<Setting>, warnings: &mut Vec<Remark>) {
    if let Some(idle) = cpu.idle {
        let setting = Setting::new("/linux/resources/cpu/idle", "cpu.idle", idle.to_string());
        settings.push(setting.unless(idle == 0));
    }
    match cpu.shares.and_then(weight) {
        Some(_) if cpu.idle == Some(1) => warnings.push(Remark::new(SHARES, IDLE)),
        Some(weight) => {
            let setting = Setting::new(SHARES, "cpu.weight", weight.to_string());
            settings.push(setting.unless(weight == DEFAULT_WEIGHT));
        }
        None => {}
    }
    bandwidth(cpu, settings);
    for (file, origin, list) in [
        ("cpuset.cpus", "/linux/resources/cpu/cpus", &cpu.cpus),
        ("cpuset.mems", "/linux/resources/cpu/mems", &cpu.mems),
    ] {
        if !list.is_empty() {
            settings.push(Setting::new(origin, file, list.clone()));
        }
    }
}

/// The burst may not exceed the quota. So it goes first, for a quota that shrinks; when the old quota is in its way, once more
/// behind the new one.
fn bandwidth(cpu: &LinuxCpu, settings: &mut Vec<Setting>) {
    let quota = cpu.quota.filter(|quota| *quota != 0);
    let period = cpu.period.filter(|period| *period != 0);
    let has_max = quota.is_some() || period.is_some();
    if let Some(burst) = cpu.burst {
        let setting =
            Setting::new("/linux/resources/cpu/burst", "cpu.max.burst", burst.to_string());
        settings.push(match (burst, has_max) {
            (0, _) => setting.unless(true),
            (_, true) => Setting { otherwise: Otherwise::Later, ..setting },
            (_, false) => setting,
        });
    }
    if has_max {
        let period = period.unwrap_or(DEFAULT_PERIOD);
        let limit = quota.filter(|quota| *quota > 0);
        let text = match limit {
            Some(quota) => format!("{quota} {period}"),
            None => format!("max {period}"),
        };
        let property = if quota.is_some() {
            "/linux/resources/cpu/quota"
        } else {
            "/linux/resources/cpu/period"
        };
        settings.push(Setting::new(property, "cpu.max", text).unless(limit.is_none()));
    }
}

/// Shares of v1 (2 to 262144, by default 1024) as the weight of v2 (1 to 10000, by default 100), by the curve through these three
/// that runc 1.3.2, crun and Kubernetes use. `None` for 0, which is as absent.
pub(super) fn weight(shares: u64) -> Option<u64> {
    match shares {
        0 => None,
        1..=2 => Some(1),
        3..262_144 => Some(curve(shares)),
        _ => Some(10_000),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "from 3..262144 into 1..=10000"
)]
fn curve(shares: u64) -> u64 {
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    10_f64.powf(exponent).ceil() as u64
}
