//! `cargo xtask bench`: the same work in turn for corten, its peers, and a floor of bare system calls.
//!
//! This process only waits: it starts itself again for the work, and removes what that leaves, also after Ctrl-C.
//! docs/performance.md has the method.
//!
//! Runs in: any process.

mod bundles;
mod chart;
mod contender;
mod counts;
mod figures;
mod host;
mod instructions;
mod lanes;
mod markdown;
mod memory;
mod meter;
mod report;
mod results;
mod rounds;
mod scene;
mod setting;
mod supervise;
mod workload;

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use nix::sys::signal::Signal;

use self::contender::{Contender, Kind};
use self::figures::Figures;
use self::host::Host;
use self::results::Results;
use self::scene::Scene;
use self::workload::Workload;

/// Arguments of `cargo xtask bench`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Fewer rounds.
    #[arg(long)]
    quick: bool,
    /// So many rounds of each workload.
    #[arg(long, value_name = "N", conflicts_with = "quick")]
    rounds: Option<u32>,
    /// Only this workload (repeatable); a name that ends with `*` means all that begin so.
    #[arg(long, value_name = "WORKLOAD")]
    only: Vec<String>,
    /// One more runtime (repeatable); crun, runc and youki are taken from PATH.
    #[arg(long, value_name = "[LABEL=]PATH")]
    peer: Vec<String>,
    /// This build of corten and not the release build of this tree (repeatable).
    #[arg(long, value_name = "[LABEL=]PATH")]
    corten: Vec<String>,
    /// Without the peers of PATH.
    #[arg(long)]
    alone: bool,
    /// In the VM as well: the smallest memory.max, and what a created container is charged with (minutes more).
    #[arg(long)]
    vm: bool,
    /// Write docs/performance.svg and the tables of docs/performance.md.
    #[arg(long, conflicts_with = "only")]
    write_docs: bool,
    /// Where the work is done: what this program starts itself with.
    #[arg(long, hide = true, value_name = "DIR")]
    scene: Option<PathBuf>,
}

impl Arguments {
    fn rounds_of(&self, workload: &Workload) -> u32 {
        match self.rounds {
            Some(rounds) => rounds,
            None if self.quick => (workload.rounds / 10).max(5),
            None => workload.rounds,
        }
    }
}

pub fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.scene {
        Some(directory) => work(arguments, directory.clone()),
        None => supervise::run(),
    }
}

fn work(arguments: &Arguments, directory: PathBuf) -> Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    let chosen: Vec<_> = workload::ALL.iter().filter(|it| is_chosen(arguments, it.name)).collect();
    let counts = is_chosen(arguments, "counts");
    ensure!(
        counts || !chosen.is_empty(),
        "no such workload: {}: {}",
        arguments.only.join(" "),
        names()
    );
    let mut scene = Scene::new(&directory)?;
    let contenders = contender::all(arguments, &directory.join("bin"), &scene.floor)?;
    scene.take_spec(&contenders)?;
    let mut results = Results {
        host: Host::read(&contenders)?,
        contenders: contenders.iter().map(|it| it.label.clone()).collect(),
        workloads: Vec::new(),
        counts: Vec::new(),
        vm_kernel: None,
    };
    println!("{}\n{}", results.host.line(), results.host.versions.join(", "));
    if !chosen.is_empty() {
        report::print_head();
    }
    for workload in chosen {
        let rounds = arguments.rounds_of(workload);
        let figures = measure(&mut scene, &contenders, workload, rounds)?;
        results.workloads.push((workload, figures));
    }
    if counts {
        count(arguments, &mut scene, &contenders, &mut results)?;
    }
    results.write()?;
    if arguments.write_docs {
        results.write_docs()?;
    }
    let failed = results
        .failed(|label| contenders.iter().any(|it| it.label == *label && it.kind != Kind::Peer));
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

fn names() -> String {
    let names = workload::ALL.iter().map(|it| it.name).chain(["counts"]);
    names.collect::<Vec<_>>().join(", ")
}

fn measure(
    scene: &mut Scene,
    contenders: &[Contender],
    workload: &Workload,
    rounds: u32,
) -> Result<Vec<Figures>> {
    workload.setting.make(scene).with_context(|| workload.name.to_owned())?;
    let figures = rounds::measure(scene, contenders, workload, rounds);
    workload.setting.unmake(scene)?;
    scene.sweep()?;
    report::print(workload, &figures);
    Ok(figures)
}

fn count(
    arguments: &Arguments,
    scene: &mut Scene,
    contenders: &[Contender],
    results: &mut Results,
) -> Result<()> {
    results.counts = contenders.iter().map(|it| counts::of(scene, it)).collect();
    scene.sweep()?;
    if arguments.vm {
        let (memory, kernel) = memory::measure(scene, contenders)?;
        results.counts.iter_mut().for_each(|it| it.add_memory(&memory));
        results.vm_kernel = Some(kernel);
    }
    report::print_counts(&results.counts);
    Ok(())
}

fn is_chosen(arguments: &Arguments, name: &str) -> bool {
    let fits = |wanted: &String| match wanted.strip_suffix('*') {
        Some(begin) => name.starts_with(begin),
        None => name == wanted,
    };
    arguments.only.is_empty() || arguments.only.iter().any(fits)
}
