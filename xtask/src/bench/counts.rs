//! What is counted and not timed: system calls, instructions, memory of a created container, sizes.
//!
//! Runs in: any process.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::contender::{Contender, Kind};
use super::instructions;
use super::lanes;
use super::memory::Memory;
use super::meter::Request;
use super::scene::Scene;
use super::workload::Lane;
use crate::machine;

/// Of one contender; what it cannot have, or what cannot be counted here, is `None`.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub contender: String,
    /// Of the runtime, of all its children, and of the program: /bin/true makes 15.
    pub run_calls: Option<u64>,
    pub exec_calls: Option<u64>,
    pub state_calls: Option<u64>,
    /// Instructions in user space of the runtime's first process.
    pub version_instructions: Option<u64>,
    pub state_instructions: Option<u64>,
    /// KiB of a created container's init.
    pub init_rss: Option<u64>,
    pub init_pss: Option<u64>,
    /// Bytes that a created container's cgroup is charged with.
    pub charged: Option<u64>,
    /// Bytes of the smallest memory.max with which /bin/true starts.
    pub smallest: Option<u64>,
    /// Bytes of the program's file.
    pub size: u64,
}

/// A name and where its number is.
pub type Row = (&'static str, fn(&Counts) -> Option<u64>);

/// The rows of the table.
pub const ROWS: [Row; 10] = [
    ("system calls of `run`", |it| it.run_calls),
    ("system calls of `exec`", |it| it.exec_calls),
    ("system calls of `state`", |it| it.state_calls),
    ("instructions of `--version`", |it| it.version_instructions),
    ("instructions of `state`", |it| it.state_instructions),
    ("RSS of a created init, KiB", |it| it.init_rss),
    ("PSS of a created init, KiB", |it| it.init_pss),
    ("charged to a created container, bytes", |it| it.charged),
    ("smallest memory.max, bytes", |it| it.smallest),
    ("program, bytes", |it| Some(it.size)),
];

impl Counts {
    /// What the VM has measured.
    pub fn add_memory(&mut self, memory: &BTreeMap<String, Memory>) {
        if let Some(own) = memory.get(&self.contender) {
            self.smallest = own.smallest;
            self.charged = self.charged.or(own.charged);
        }
    }

    pub fn json(&self) -> Value {
        json!({
            "contender": self.contender,
            "run_system_calls": self.run_calls,
            "exec_system_calls": self.exec_calls,
            "state_system_calls": self.state_calls,
            "version_instructions": self.version_instructions,
            "state_instructions": self.state_instructions,
            "init_rss_kib": self.init_rss,
            "init_pss_kib": self.init_pss,
            "created_charged_bytes": self.charged,
            "smallest_memory_max": self.smallest,
            "program_bytes": self.size,
        })
    }
}

/// Counts for one contender; says on stderr what could not be counted.
pub fn of(scene: &mut Scene, contender: &Contender) -> Counts {
    let mut counts =
        Counts { contender: contender.label.clone(), size: contender.size, ..Counts::default() };
    let said = |what: &str, result: Result<Option<u64>>| match result {
        Ok(number) => number,
        Err(error) => {
            eprintln!("{} {what}: not counted: {error:#}", contender.label);
            None
        }
    };
    let lane = lanes::run(scene, contender, 1);
    counts.run_calls = said("run", calls(scene, lane));
    let lane = lanes::exec(scene, contender, 1);
    counts.exec_calls = said("exec", calls(scene, lane));
    let lane = lanes::state(scene, contender, 1);
    counts.state_calls = said("state", calls(scene, lane));
    // Of others it would take minutes.
    if contender.kind == Kind::Corten {
        let version = vec![contender.program.display().to_string(), "--version".to_owned()];
        counts.version_instructions = said("--version", instructions::count(&version).map(Some));
        let state = scene.words(contender, &["state", "state"]);
        counts.state_instructions = said("state", instructions::count(&state).map(Some));
    }
    if contender.kind != Kind::Floor
        && let Err(error) = memory(scene, contender, &mut counts)
    {
        eprintln!("{} memory of init: {error:#}", contender.label);
    }
    counts
}

/// The sum of `strace -f -c`.
fn calls(scene: &mut Scene, lane: Result<Option<Lane>>) -> Result<Option<u64>> {
    let Some(lane) = lane? else { return Ok(None) };
    let strace = machine::ensure("strace", "strace")?;
    let log = scene.directory.join("strace");
    let mut words = vec![strace.display().to_string(), "-f".to_owned(), "-c".to_owned()];
    words.extend(["-o".to_owned(), log.display().to_string()]);
    words.extend(lane.request.steps().concat());
    scene.measure(lane.user, &Request::of(vec![words]))?;
    let text = fs::read_to_string(&log)?;
    let total =
        text.lines().rfind(|line| line.ends_with(" total")).context("strace has no total")?;
    // "100.00    0.004567    12    380    21 total"; the column of errors may be empty.
    let number = total.split_whitespace().nth(3).context("strace's total has no calls")?;
    Ok(Some(number.parse()?))
}

/// Of a container that is created and not started.
fn memory(scene: &mut Scene, contender: &Contender, counts: &mut Counts) -> Result<()> {
    let pid = lanes::created(scene, contender, "memory")?;
    counts.init_rss = Some(lanes::rollup(&pid, "Rss")?);
    counts.init_pss = Some(lanes::rollup(&pid, "Pss")?);
    let charged = scene.cgroup_of(contender, "memory").join("memory.current");
    counts.charged = read_number(&charged);
    Ok(())
}

/// None where there is no such file: on a hybrid host v1 has the controller.
fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
