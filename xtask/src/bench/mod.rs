//! `cargo xtask bench`: the same work in turn for corten, its peers, and a floor of bare system calls.
//!
//! This process only waits: it starts itself again for the work, and removes what that leaves, also after Ctrl-C.
//! docs/performance.md has the method.
//!
//! Runs in: any process.

mod contender;
mod figures;
mod meter;
mod scene;
mod workload;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use self::contender::{Contender, Kind};
use self::figures::{Figures, milliseconds, ratio};
use self::meter::Sample;
use self::scene::Scene;
use self::workload::{Lane, Workload};
use crate::machine;

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
    /// Where the work is done: what this program starts itself with.
    #[arg(long, hide = true, value_name = "DIR")]
    scene: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.scene {
        Some(directory) => work(arguments, directory.clone()),
        None => supervise(),
    }
}

/// Starts this program again for the work, waits, and removes what is left.
fn supervise() -> Result<()> {
    ensure!(machine::is_root(), "the bench makes containers, mounts and cgroups: run it as root");
    machine::busybox()?;
    let directory = tempfile::Builder::new().prefix("corten-bench-").tempdir()?;
    let signals = [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
    let set: SigSet = signals.into_iter().collect();
    set.thread_block()?;
    let mut command = Command::new(std::env::current_exe()?);
    // std starts it with no signal blocked.
    let mut child =
        command.args(std::env::args_os().skip(1)).arg("--scene").arg(directory.path()).spawn()?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if set.wait()? != Signal::SIGCHLD {
            kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGKILL)?;
        }
    };
    scene::remove_cgroup(directory.path())?;
    directory.close().context("the bench's directory")?;
    ensure!(status.success(), "the bench ended before it was through ({status})");
    Ok(())
}

fn work(arguments: &Arguments, directory: PathBuf) -> Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    let mut scene = Scene::new(&directory)?;
    let contenders = contender::all(arguments, &directory.join("bin"), &scene.floor)?;
    scene.take_spec(&contenders)?;
    for one in &contenders {
        println!("{:<12} {} ({} bytes)", one.label, one.version, one.size);
    }
    println!(
        "\n{:<20} {:<12} {:>8} {:>8} {:>8} {:>7} {:>7} {:>8} {:>7} {:>8}",
        "workload",
        "",
        "min ms",
        "p50 ms",
        "p99 ms",
        "/min",
        "/p50",
        "cpu ms",
        "faults",
        "peak KiB"
    );
    let chosen: Vec<_> = workload::ALL.iter().filter(|it| is_chosen(arguments, it.name)).collect();
    ensure!(!chosen.is_empty(), "there is no such workload: {}", arguments.only.join(" "));
    for workload in chosen {
        let figures = measure(arguments, &mut scene, &contenders, workload)?;
        scene.sweep()?;
        print(workload, &figures);
    }
    Ok(())
}

fn is_chosen(arguments: &Arguments, name: &str) -> bool {
    let fits = |wanted: &String| match wanted.strip_suffix('*') {
        Some(begin) => name.starts_with(begin),
        None => name == wanted,
    };
    arguments.only.is_empty() || arguments.only.iter().any(fits)
}

/// All rounds of one workload: every contender once a round, in an order that changes.
fn measure(
    arguments: &Arguments,
    scene: &mut Scene,
    contenders: &[Contender],
    workload: &Workload,
) -> Result<Vec<Figures>> {
    let mut lanes: Vec<(&Contender, Lane, Vec<Sample>, usize)> = Vec::new();
    for contender in contenders {
        if let Some(lane) = (workload.lane)(scene, contender)? {
            lanes.push((contender, lane, Vec::new(), 0));
        }
    }
    let rounds = match (arguments.rounds, arguments.quick) {
        (Some(rounds), _) => rounds,
        (None, true) => (workload.rounds / 10).max(5),
        (None, false) => workload.rounds,
    };
    // The first round warms the caches.
    for round in 0..=rounds as usize {
        for turn in 0..lanes.len() {
            let index = (turn + round) % lanes.len();
            let (contender, lane, samples, errors) = &mut lanes[index];
            match scene.measure(lane.user, &lane.request) {
                Ok(sample) if round > 0 => samples.push(sample),
                Ok(_) => {}
                Err(error) if round == 0 => {
                    bail!("{} {}: {error:#}", contender.label, workload.name)
                }
                Err(_) => *errors += 1,
            }
        }
    }
    let figures = lanes.iter().map(|(contender, _, samples, errors)| {
        Figures::new(&contender.label, samples, *errors, false)
    });
    Ok(figures.collect())
}

/// The ratios are to crun, or else to the first.
fn print(workload: &Workload, figures: &[Figures]) {
    let base = figures.iter().find(|it| it.contender == "crun").or(figures.first());
    for (index, one) in figures.iter().enumerate() {
        let Some(base) = base else { return };
        println!(
            "{:<20} {:<12} {:>8} {:>8} {:>8} {:>7.3} {:>7.3} {:>8} {:>7} {:>8}",
            if index == 0 { workload.name } else { "" },
            one.contender,
            milliseconds(one.wall.min),
            milliseconds(one.wall.p50),
            milliseconds(one.wall.p99),
            ratio(one.wall.min, base.wall.min),
            ratio(one.wall.p50, base.wall.p50),
            milliseconds(one.cpu.p50 * 1000),
            one.faults.p50,
            one.peak.p50
        );
        if one.errors > 0 {
            println!("{:<20} {} ERRORS in {} rounds", "", one.errors, one.errors + one.samples);
        }
    }
}
