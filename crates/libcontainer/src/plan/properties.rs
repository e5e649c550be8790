//! What is written to a scope's cgroup, as properties of the unit: what systemd knows of, it does not undo when it writes the
//! files itself (`daemon-reload`, `systemctl set-property`).
//!
//! The input is the same list of writes that the cgroupfs driver makes, which the systemd driver makes too, afterwards, for what is
//! no property (hugetlb, rdma, most of `unified`); a CPU quota as systemd rounds it ([`round_quota`]). The table is runc's
//! (opencontainers/cgroups, `systemd/v2.go`) and, for io, crun's.
//!
//! Runs in: any process.

use super::gvariant::{Type, Value};
use super::unit::Property;

/// `USEC_INFINITY`, `CGROUP_LIMIT_MAX`: no limit.
const INFINITY: u64 = u64::MAX;
/// The kernel's, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;
/// systemd keeps a quota in percent of a CPU: 10 ms in each second.
const PERCENT: u64 = 10_000;
/// More than any kernel's `NR_CPUS` or number of memory nodes.
const MOST_BITS: usize = 1 << 16;

/// The properties that say what the writes, (file, text) in order, say. A text that is not understood is no property: the
/// kernel's own answer to it is a better error.
pub(crate) fn of_writes<'a>(writes: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Property> {
    let mut last: Vec<(&str, &str)> = Vec::new();
    let mut io = Io::default();
    for (file, text) in writes {
        match file {
            "io.weight" | "io.bfq.weight" => io.weight(file, text),
            "io.max" => io.max(text),
            _ => {
                last.retain(|(before, _)| *before != file);
                last.push((file, text.trim()));
            }
        }
    }
    let is_idle = last.contains(&("cpu.idle", "1"));
    let mut properties = Vec::new();
    for (file, text) in last {
        match file {
            // The two are one property: 0 is idle.
            "cpu.weight" if is_idle => {}
            "cpu.max" => properties.extend(cpu_max(text).into_iter().flatten()),
            _ => properties.extend(single(file, text)),
        }
    }
    properties.extend(io.weight.map(|weight| limit_of_io("IOWeight", Value::Uint64(weight))));
    properties.extend(io.lists);
    properties
}

fn single(file: &str, text: &str) -> Option<Property> {
    let number = |name, text| Some(property(name, Value::Uint64(limit(text)?)));
    match file {
        "memory.max" => number("MemoryMax", text),
        "memory.high" => number("MemoryHigh", text),
        "memory.low" => number("MemoryLow", text),
        "memory.min" => number("MemoryMin", text),
        "memory.swap.max" => number("MemorySwapMax", text),
        // systemd 253.
        "memory.zswap.max" => number("MemoryZSwapMax", text).map(optional),
        // systemd 253; of a running scope it cannot be changed.
        "memory.oom.group" => match text {
            "0" => Some(optional(property("OOMPolicy", Value::String("continue".into())))),
            "1" => Some(optional(property("OOMPolicy", Value::String("kill".into())))),
            _ => None,
        },
        // systemd refuses 0; the first process is not counted by its own limit, so that 1 forbids as much.
        "pids.max" => Some(property("TasksMax", Value::Uint64(limit(text)?.max(1)))),
        "cpu.weight" => number("CPUWeight", text),
        // systemd 252; "0" is what a cgroup is anyway.
        "cpu.idle" if text == "1" => Some(optional(property("CPUWeight", Value::Uint64(0)))),
        "cpuset.cpus" => Some(property("AllowedCPUs", bits(text)?)),
        "cpuset.mems" => Some(property("AllowedMemoryNodes", bits(text)?)),
        _ => None,
    }
}

fn cpu_max(text: &str) -> Option<[Property; 2]> {
    let (_, period) = quota_and_period(text)?;
    Some([
        property("CPUQuotaPeriodUSec", Value::Uint64(period)),
        property("CPUQuotaPerSecUSec", Value::Uint64(per_second(text)?)),
    ])
}

/// `QUOTA [PERIOD]`.
fn quota_and_period(text: &str) -> Option<(u64, u64)> {
    let mut words = text.split_whitespace();
    let quota = limit(words.next()?)?;
    let period = words.next().map_or(Some(DEFAULT_PERIOD), |word| word.parse().ok())?;
    Some((quota, period))
}

/// Microseconds in each second, rounded up, so that a cgroup below can have what was asked for.
fn per_second(text: &str) -> Option<u64> {
    let (quota, period) = quota_and_period(text)?;
    if quota == INFINITY {
        return Some(INFINITY);
    }
    let exact = u128::from(quota) * 1_000_000 / u128::from(period).max(1);
    u64::try_from(exact).ok()?.checked_next_multiple_of(PERCENT)
}

/// A text of `cpu.max` with the quota that systemd makes of it, as runc writes it since 1.4: at each `daemon-reload` systemd would
/// write that anyway. `None`: it is the same, or not understood.
pub(super) fn round_quota(text: &str) -> Option<String> {
    let (quota, period) = quota_and_period(text)?;
    let per_second = per_second(text)?;
    if per_second == INFINITY {
        return None;
    }
    let rounded = u64::try_from(u128::from(per_second) * u128::from(period) / 1_000_000).ok()?;
    (rounded > quota).then(|| format!("{rounded} {period}"))
}

/// A number as the kernel's `memparse` reads it, or `max`.
fn limit(text: &str) -> Option<u64> {
    if text == "max" {
        return Some(INFINITY);
    }
    let shift = match text.bytes().next_back()? {
        b'k' | b'K' => 10,
        b'm' | b'M' => 20,
        b'g' | b'G' => 30,
        b't' | b'T' => 40,
        _ => return text.parse().ok(),
    };
    let number: u64 = text.get(..text.len() - 1)?.parse().ok()?;
    number.checked_mul(1 << shift)
}

/// A list (`0-3,7`) as a mask, the lowest number in the lowest bit of the first byte.
fn bits(list: &str) -> Option<Value> {
    let mut mask: Vec<u8> = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= MOST_BITS {
            return None;
        }
        mask.resize(mask.len().max(last / 8 + 1), 0);
        for number in first..=last {
            *mask.get_mut(number / 8)? |= 1 << (number % 8);
        }
    }
    let bytes = mask.into_iter().map(Value::Byte).collect();
    Some(Value::Array(Type::Basic(b'y'), bytes))
}

/// What is by device: each write adds to what was written before.
#[derive(Default)]
struct Io {
    weight: Option<u64>,
    /// Arrays of pairs, device and number; of two about one device systemd takes the last.
    lists: Vec<Property>,
}

impl Io {
    /// `default N`, `N`, or `MAJOR:MINOR N`. systemd's scale is that of io.weight (1 to 10000); what it makes of it for
    /// io.bfq.weight (1 to 1000) is undone here.
    fn weight(&mut self, file: &str, text: &str) {
        let (device, number) = text.trim().split_once(' ').unwrap_or(("default", text.trim()));
        let Ok(number) = number.trim().parse::<u64>() else { return };
        let weight = match file {
            "io.bfq.weight" if number > 100 => 100 + (number.min(1000) - 100) * 11,
            _ => number,
        };
        if device == "default" {
            self.weight = Some(weight);
        } else {
            self.add("IODeviceWeight", device, weight);
        }
    }

    /// `MAJOR:MINOR rbps=N wiops=max …`
    fn max(&mut self, text: &str) {
        let Some((device, limits)) = text.trim().split_once(' ') else { return };
        for (key, value) in limits.split_whitespace().filter_map(|limit| limit.split_once('=')) {
            let name = match key {
                "rbps" => "IOReadBandwidthMax",
                "wbps" => "IOWriteBandwidthMax",
                "riops" => "IOReadIOPSMax",
                "wiops" => "IOWriteIOPSMax",
                _ => continue,
            };
            if let Some(value) = limit(value) {
                self.add(name, device, value);
            }
        }
    }

    fn add(&mut self, name: &'static str, device: &str, number: u64) {
        let path = Value::String(format!("/dev/block/{device}"));
        let pair = Value::Struct(vec![path, Value::Uint64(number)]);
        for property in &mut self.lists {
            if let (true, Value::Array(_, pairs)) = (property.name == name, &mut property.value) {
                pairs.push(pair);
                return;
            }
        }
        self.lists.push(limit_of_io(name, Value::Array(pair.of_type(), vec![pair])));
    }
}

/// Optional: a device that systemd finds no node of in /dev/block is one that it cannot speak of.
fn limit_of_io(name: &'static str, value: Value) -> Property {
    optional(property(name, value))
}

fn property(name: &'static str, value: Value) -> Property {
    Property { name: name.into(), value, optional: false }
}

fn optional(property: Property) -> Property {
    Property { optional: true, ..property }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Name=value`, `?` behind the name of an optional one.
    fn shown(writes: &[(&str, &str)]) -> Vec<String> {
        fn text(value: &Value) -> String {
            match value {
                Value::Uint64(INFINITY) => "infinity".into(),
                Value::Uint64(number) => number.to_string(),
                Value::Byte(byte) => format!("{byte:02x}"),
                Value::String(text) => text.clone(),
                Value::Array(_, values) => values.iter().map(text).collect::<Vec<_>>().join(" "),
                Value::Struct(members) => members.iter().map(text).collect::<Vec<_>>().join("="),
                other => format!("{other:?}"),
            }
        }
        let properties = of_writes(writes.iter().copied());
        let show = |property: &Property| {
            let mark = if property.optional { "?" } else { "" };
            format!("{}{mark}={}", property.name, text(&property.value))
        };
        properties.iter().map(show).collect()
    }

    #[test]
    fn of_writes_of_each_file_is_the_property() {
        let table: &[(&str, &str, &[&str])] = &[
            ("memory.max", "1048576", &["MemoryMax=1048576"]),
            ("memory.max", "max", &["MemoryMax=infinity"]),
            ("memory.max", "64M", &["MemoryMax=67108864"]),
            ("memory.max", "x", &[]),
            ("memory.low", "4096", &["MemoryLow=4096"]),
            ("memory.min", "0", &["MemoryMin=0"]),
            ("memory.high", " 1G\n", &["MemoryHigh=1073741824"]),
            ("memory.swap.max", "0", &["MemorySwapMax=0"]),
            ("memory.zswap.max", "max", &["MemoryZSwapMax?=infinity"]),
            ("memory.oom.group", "1", &["OOMPolicy?=kill"]),
            ("memory.oom.group", "0", &["OOMPolicy?=continue"]),
            ("memory.oom.group", "2", &[]),
            ("pids.max", "20", &["TasksMax=20"]),
            ("pids.max", "0", &["TasksMax=1"]),
            ("pids.max", "max", &["TasksMax=infinity"]),
            ("cpu.weight", "79", &["CPUWeight=79"]),
            ("cpu.idle", "1", &["CPUWeight?=0"]),
            ("cpu.idle", "0", &[]),
            (
                "cpu.max",
                "50000 100000",
                &["CPUQuotaPeriodUSec=100000", "CPUQuotaPerSecUSec=500000"],
            ),
            ("cpu.max", "50000", &["CPUQuotaPeriodUSec=100000", "CPUQuotaPerSecUSec=500000"]),
            ("cpu.max", "max 50000", &["CPUQuotaPeriodUSec=50000", "CPUQuotaPerSecUSec=infinity"]),
            // 33.3 % is rounded up to 34 %: see `quota_is_rounded_as_systemd_does`.
            (
                "cpu.max",
                "33300 100000",
                &["CPUQuotaPeriodUSec=100000", "CPUQuotaPerSecUSec=340000"],
            ),
            (
                "cpu.max",
                "1000 1000000",
                &["CPUQuotaPeriodUSec=1000000", "CPUQuotaPerSecUSec=10000"],
            ),
            ("cpu.max", "", &[]),
            ("cpu.max", "1 x", &[]),
            ("cpu.max", "5 0", &["CPUQuotaPeriodUSec=0", "CPUQuotaPerSecUSec=5000000"]),
            ("cpuset.cpus", "0-3,9", &["AllowedCPUs=0f 02"]),
            ("cpuset.cpus", "", &["AllowedCPUs="]),
            ("cpuset.cpus", "3-1", &[]),
            ("cpuset.cpus", "70000", &[]),
            ("cpuset.mems", "0", &["AllowedMemoryNodes=01"]),
            ("io.weight", "default 500", &["IOWeight?=500"]),
            ("io.weight", "8:0 20", &["IODeviceWeight?=/dev/block/8:0=20"]),
            ("io.bfq.weight", "100", &["IOWeight?=100"]),
            ("io.bfq.weight", "1000", &["IOWeight?=10000"]),
            ("io.max", "8:0 rbps=1024", &["IOReadBandwidthMax?=/dev/block/8:0=1024"]),
            (
                "io.max",
                "8:0 wbps=1 wiops=max",
                &[
                    "IOWriteBandwidthMax?=/dev/block/8:0=1",
                    "IOWriteIOPSMax?=/dev/block/8:0=infinity",
                ],
            ),
            ("io.max", "8:0", &[]),
            ("hugetlb.2MB.max", "1", &[]),
            ("rdma.max", "mlx hca_handle=2", &[]),
            ("memory.swap.high", "1", &[]),
        ];
        for (file, text, expected) in table {
            assert_eq!(shown(&[(file, text)]), *expected, "{file} = {text:?}");
        }
    }

    #[test]
    fn quota_is_rounded_as_systemd_does() {
        for (text, rounded) in [
            ("33300 100000", Some("34000 100000")),
            ("500000 900000", Some("504000 900000")),
            ("1 1000000", Some("10000 1000000")),
            ("33300", Some("34000 100000")),
            ("50000 100000", None),
            ("max 100000", None),
            ("max", None),
            ("5 0", None),
            ("18446744073709551614 1", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(round_quota(text).as_deref(), rounded, "{text:?}");
        }
    }

    #[test]
    fn of_writes_to_one_file_twice_takes_the_last() {
        assert_eq!(shown(&[("pids.max", "1"), ("pids.max", "2")]), ["TasksMax=2"]);
        let devices =
            [("io.max", "8:0 rbps=1"), ("io.max", "8:16 rbps=2"), ("io.max", "8:0 rbps=3")];
        assert_eq!(
            shown(&devices),
            ["IOReadBandwidthMax?=/dev/block/8:0=1 /dev/block/8:16=2 /dev/block/8:0=3"]
        );
    }

    #[test]
    fn of_writes_of_idle_and_weight_is_idle() {
        assert_eq!(shown(&[("cpu.weight", "50"), ("cpu.idle", "1")]), ["CPUWeight?=0"]);
        assert_eq!(shown(&[("cpu.idle", "0"), ("cpu.weight", "50")]), ["CPUWeight=50"]);
    }
}
