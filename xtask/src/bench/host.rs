//! Which machine it was, for whoever reads the figures elsewhere.
//!
//! Runs in: any process.

use std::fs;
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use super::contender::{Contender, Kind};
use crate::machine;

#[derive(Debug, Clone)]
pub struct Host {
    pub date: String,
    pub processor: String,
    pub processors: usize,
    pub memory_mib: u64,
    pub kernel: String,
    /// `label version`, of all but the floor.
    pub versions: Vec<String>,
    /// Runnable processes when the bench began: others that want the processors.
    pub load: String,
}

impl Host {
    pub fn read(contenders: &[Contender]) -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let of = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned())
        };
        let is_virtual = cpuinfo.contains(" hypervisor");
        let name = of("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        let kib = meminfo.split_whitespace().nth(1).and_then(|it| it.parse::<u64>().ok());
        let runtimes = contenders.iter().filter(|it| it.kind != Kind::Floor);
        Ok(Self {
            date: machine::stdout_of(Command::new("date").args(["-u", "+%F"]))?.trim().to_owned(),
            processor: if is_virtual { format!("{name} (virtual machine)") } else { name },
            processors: std::thread::available_parallelism()?.get(),
            memory_mib: kib.unwrap_or(0) / 1024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            versions: runtimes.map(named).collect(),
            load: fs::read_to_string("/proc/loadavg")?
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
        })
    }

    pub fn line(&self) -> String {
        format!(
            "{}, {} processors, {} MiB, Linux {}, {}",
            self.processor, self.processors, self.memory_mib, self.kernel, self.date
        )
    }

    pub fn json(&self) -> Value {
        json!({
            "date": self.date,
            "processor": self.processor,
            "processors": self.processors,
            "memory_mib": self.memory_mib,
            "kernel": self.kernel,
            "versions": self.versions,
            "load_before": self.load,
        })
    }
}

/// Versions begin with the program's name, but for those of builds that have a label of their own.
fn named(one: &Contender) -> String {
    if one.version.starts_with(&one.label) {
        one.version.clone()
    } else {
        format!("{} ({})", one.label, one.version)
    }
}
