//! The numbers of a cgroup. A file that is not there has no numbers: its controller is not enabled, or the kernel is older.
//!
//! Runs in: runtime.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::{Cgroup, file};
use crate::stats::{
    Blkio, BlkioEntry, Cpu, CpuUsage, Hugetlb, Memory, MemoryUsage, Pids, Psi, Stalled, Stats,
    Throttling,
};

/// Where the kernel says which sizes of huge pages it has.
const HUGE_PAGES: &str = "/sys/kernel/mm/hugepages";

impl Cgroup {
    /// All of them.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            cpu: self.cpu(),
            memory: self.memory(),
            pids: self.pids(),
            blkio: self.blkio(),
            hugetlb: self.hugetlb(),
            ..Stats::default()
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        let content = file::read(&self.directory, name).ok()?;
        String::from_utf8(content).ok()
    }

    /// A file that has one number, or `max`.
    fn count(&self, name: &str) -> Option<u64> {
        let text = self.text(name)?;
        if text.trim_end() == "max" { Some(u64::MAX) } else { number(text.trim_end()) }
    }

    fn cpu(&self) -> Cpu {
        let stat = keyed(&self.text("cpu.stat").unwrap_or_default());
        let of = |key: &str| stat.get(key).copied().unwrap_or_default();
        let nanoseconds = |key: &str| of(key).saturating_mul(1000);
        Cpu {
            usage: CpuUsage {
                total: nanoseconds("usage_usec"),
                kernel: nanoseconds("system_usec"),
                user: nanoseconds("user_usec"),
            },
            throttling: Throttling {
                periods: of("nr_periods"),
                throttled_periods: of("nr_throttled"),
                throttled_time: nanoseconds("throttled_usec"),
            },
            psi: self.psi("cpu.pressure"),
        }
    }

    fn memory(&self) -> Memory {
        let raw = keyed(&self.text("memory.stat").unwrap_or_default());
        let usage =
            self.count("memory.current").map_or_else(MemoryUsage::default, |current| MemoryUsage {
                limit: self.count("memory.max").unwrap_or_default(),
                usage: current,
                max: self.count("memory.peak").unwrap_or_default(),
                failcnt: 0,
            });
        let limit = self.count("memory.swap.max").unwrap_or_default();
        let swap = MemoryUsage {
            limit: limit.saturating_add(usage.limit),
            usage: self
                .count("memory.swap.current")
                .unwrap_or_default()
                .saturating_add(usage.usage),
            ..MemoryUsage::default()
        };
        let cache = raw.get("file").copied().unwrap_or_default();
        Memory { cache, usage, swap, raw, psi: self.psi("memory.pressure") }
    }

    fn pids(&self) -> Pids {
        match self.count("pids.current") {
            Some(current) => {
                let limit = self.count("pids.max").filter(|limit| *limit != u64::MAX);
                Pids { current, limit: limit.unwrap_or_default() }
            }
            None => {
                let processes = self.processes().unwrap_or_default();
                Pids { current: processes.len().try_into().unwrap_or(u64::MAX), limit: 0 }
            }
        }
    }

    fn blkio(&self) -> Blkio {
        let mut blkio = Blkio { psi: self.psi("io.pressure"), ..Blkio::default() };
        for line in self.text("io.stat").unwrap_or_default().lines() {
            add_device(&mut blkio, line);
        }
        blkio
    }

    fn hugetlb(&self) -> BTreeMap<String, Hugetlb> {
        let sizes = std::fs::read_dir(HUGE_PAGES).into_iter().flatten().flatten();
        let sizes = sizes.filter_map(|entry| page_size(entry.file_name().to_str()?));
        let one = |size: String| {
            let current = |infix| self.count(&format!("hugetlb.{size}{infix}.current"));
            let usage = current(".rsvd").or_else(|| current(""))?;
            let events = keyed(&self.text(&format!("hugetlb.{size}.events"))?);
            let failcnt = events.get("max").copied().unwrap_or_default();
            Some((size, Hugetlb { usage, failcnt }))
        };
        sizes.filter_map(one).collect()
    }

    /// `None`: a kernel without PSI, or told not to count.
    fn psi(&self, name: &str) -> Option<Psi> {
        self.text(name).map(|text| psi(&text))
    }
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// `12.34`: the kernel writes two digits. The library's parser of such numbers has 15 KB, most of it a table.
fn percentage(text: &str) -> Option<f64> {
    let (whole, hundredths) = text.split_once('.')?;
    let whole: u32 = number(whole)?;
    let hundredths = number::<u32>(hundredths).filter(|_| hundredths.len() == 2)?;
    Some(f64::from(whole.checked_mul(100)?.checked_add(hundredths)?) / 100.0)
}

/// Lines of a name and a number.
pub(super) fn keyed(text: &str) -> BTreeMap<String, u64> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.filter_map(|(key, value)| Some((key.to_owned(), number(value)?))).collect()
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`.
fn add_device(blkio: &mut Blkio, line: &str) {
    let mut words = line.split_ascii_whitespace();
    let device = words.next().and_then(|device| device.split_once(':'));
    let Some((Some(major), Some(minor))) =
        device.map(|(major, minor)| (number(major), number(minor)))
    else {
        return;
    };
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        let (list, op) = match key {
            "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
            "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
            "rios" => (&mut blkio.io_serviced_recursive, "Read"),
            "wios" => (&mut blkio.io_serviced_recursive, "Write"),
            _ => continue,
        };
        list.extend(number(value).map(|value| BlkioEntry { major, minor, op, value }));
    }
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full`.
fn psi(text: &str) -> Psi {
    let mut psi = Psi::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let stalled = match words.next() {
            Some("some") => &mut psi.some,
            Some("full") => &mut psi.full,
            _ => continue,
        };
        *stalled = Stalled::default();
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "avg10" => stalled.avg10 = percentage(value).unwrap_or_default(),
                "avg60" => stalled.avg60 = percentage(value).unwrap_or_default(),
                "avg300" => stalled.avg300 = percentage(value).unwrap_or_default(),
                "total" => stalled.total = number(value).unwrap_or_default(),
                _ => {}
            }
        }
    }
    psi
}

/// `hugepages-2048kB` is `2MB` in the files of a cgroup.
fn page_size(name: &str) -> Option<String> {
    let mut size: u64 = number(name.strip_prefix("hugepages-")?.strip_suffix("kB")?)?;
    let mut units = ["KB", "MB", "GB"].iter();
    let mut unit = units.next()?;
    while size >= 1024 {
        (size, unit) = (size / 1024, units.next()?);
    }
    Some(format!("{size}{unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentage_is_the_number_that_is_nearest() {
        for (text, expected) in [("0.00", 0.0), ("12.34", 12.34), ("99.99", 99.99), ("0.07", 0.07)]
        {
            assert_eq!(percentage(text), Some(expected), "{text}");
        }
        for text in ["", "1", "1.", ".5", "1.5", "1.234", "-1.00", "99999999999.00", "a.bc"] {
            assert_eq!(percentage(text), None, "{text}");
        }
    }

    #[test]
    fn io_stat_is_two_tables() {
        let mut blkio = Blkio::default();
        add_device(&mut blkio, "8:16 rbytes=4096 wbytes=0 rios=1 wios=2 dbytes=9 dios=9");
        add_device(&mut blkio, "7:0");
        add_device(&mut blkio, "x");
        let entry = |op, value| BlkioEntry { major: 8, minor: 16, op, value };
        assert_eq!(blkio.io_service_bytes_recursive, [entry("Read", 4096), entry("Write", 0)]);
        assert_eq!(blkio.io_serviced_recursive, [entry("Read", 1), entry("Write", 2)]);
    }

    #[test]
    fn pressure_is_read_with_and_without_full() {
        let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=12345\nfull avg10=0.00 avg60=0.00 avg300=0.01 total=6\n";
        let both = psi(text);
        assert_eq!(both.some, Stalled { avg10: 1.5, avg60: 0.25, avg300: 0.0, total: 12345 });
        assert_eq!(both.full, Stalled { avg10: 0.0, avg60: 0.0, avg300: 0.01, total: 6 });
        assert_eq!(psi("some avg10=0.00 total=1\n").full, Stalled::default());
    }

    #[test]
    fn page_sizes_are_named_as_in_the_cgroup() {
        for (name, size) in [
            ("hugepages-64kB", "64KB"),
            ("hugepages-2048kB", "2MB"),
            ("hugepages-1048576kB", "1GB"),
            ("hugepages-16777216kB", "16GB"),
        ] {
            assert_eq!(page_size(name).as_deref(), Some(size));
        }
        assert_eq!(page_size("hugepages-xkB"), None);
    }

    #[test]
    fn keyed_lines_are_read_and_odd_ones_passed_over() {
        let read = keyed("anon 1\nfile 22\nodd\nword max\n");
        assert_eq!(read.into_iter().collect::<Vec<_>>(), [("anon".into(), 1), ("file".into(), 22)]);
    }
}
