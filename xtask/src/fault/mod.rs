//! `cargo xtask fault`: kills the runtime, and apart init, at every system call, and looks for what is left.
//!
//! For N = 1, 2, … a verb is run afresh and its victim gets SIGKILL at the entry of its Nth system call; then
//! `delete --force` has to leave the machine as it was: no process, cgroup, mount, state or file.
//!
//! Runs in: any process.

mod scene;
mod stepper;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::machine::{self, Profile};
use scene::Scene;
use stepper::{End, Victim};

/// Arguments of `cargo xtask fault`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Only this verb; may be given more than once.
    #[arg(long, value_enum)]
    verb: Vec<Verb>,
    /// Kill only this one.
    #[arg(long, value_enum)]
    victim: Option<Victim>,
    /// Only these system calls: `17` or `10..20`.
    #[arg(long, value_name = "N..M", value_parser = range)]
    filter: Option<RangeInclusive<u32>>,
    /// The debug build of corten, not the release one.
    #[arg(long)]
    debug: bool,
    /// Prove that the stepper finds leaks: a build without the intent record must have one.
    #[arg(long)]
    self_test: bool,
    /// Say what is done at each point.
    #[arg(long, short)]
    verbose: bool,
}

/// What is run under the stepper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Verb {
    Create,
    Start,
    Delete,
    Run,
}

impl Verb {
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Delete => "delete",
            Self::Run => "run",
        }
    }

    /// `delete` has no init of its own to kill.
    fn victims(self) -> &'static [Victim] {
        if self == Self::Delete { &[Victim::Runtime] } else { &[Victim::Runtime, Victim::Init] }
    }
}

/// What was found in one verb with one victim.
#[derive(Debug, Default)]
struct Found {
    points: u32,
    leaks: u32,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    if !machine::is_root() {
        bail!("needs root");
    }
    let begin = Instant::now();
    let scene = Scene::new(runtime(arguments)?)?;
    let verbs = match (&*arguments.verb, arguments.self_test) {
        ([], true) => &[Verb::Create],
        ([], false) => Verb::value_variants(),
        (verbs, _) => verbs,
    };
    let mut total = Found::default();
    for verb in verbs {
        for victim in
            verb.victims().iter().filter(|v| arguments.victim.is_none_or(|only| only == **v))
        {
            let found = series(arguments, &scene, *verb, *victim)?;
            let (verb, victim) = (verb.name(), victim.name());
            println!("{verb}, {victim} killed: {} points, {} leaks", found.points, found.leaks);
            total.points += found.points;
            total.leaks += found.leaks;
        }
    }
    println!(
        "{} points, {} leaks ({:.1} s)",
        total.points,
        total.leaks,
        begin.elapsed().as_secs_f64()
    );
    verdict(arguments, &total)
}

fn verdict(arguments: &Arguments, total: &Found) -> Result<()> {
    match (arguments.self_test, total.leaks) {
        (false, 0) => Ok(()),
        (false, leaks) => bail!("{leaks} leaks"),
        (true, 0) => bail!("a build without the intent record has leaks, and none was found"),
        (true, _) => {
            println!("self-test passed: a build without the intent record leaks, and it shows");
            Ok(())
        }
    }
}

/// The runtime to step through: `$RUNTIME`, or a build of corten.
fn runtime(arguments: &Arguments) -> Result<PathBuf> {
    if arguments.self_test {
        let target = machine::target()?.join("fault");
        let flags = [
            "--features",
            "libcontainer/fault-no-intent",
            "--package",
            "libcontainer",
            "--target-dir",
        ];
        let path =
            machine::build(Profile::Debug, &[&flags[..], &[&*target.to_string_lossy()]].concat())?;
        return Ok(target.join(path.strip_prefix(machine::target()?)?));
    }
    if let Ok(runtime) = std::env::var("RUNTIME") {
        return machine::find(&runtime)
            .or_else(|| Some(PathBuf::from(&runtime)).filter(|p| p.is_file()))
            .context(runtime);
    }
    machine::build(if arguments.debug { Profile::Debug } else { Profile::Release }, &[])
}

/// One verb, one victim, every point.
fn series(arguments: &Arguments, scene: &Scene, verb: Verb, victim: Victim) -> Result<Found> {
    let mut found = Found::default();
    let points = arguments.filter.clone().unwrap_or(1..=u32::MAX);
    for point in points {
        let end =
            scene.prepare(verb).and_then(|container| scene.step(verb, victim, point, container))?;
        let complaints = scene.clean_up(&end)?;
        let place = match &end {
            End::Killed(call) => format!("system call {point} ({call})"),
            End::Hung => format!("system call {point}, after which the runtime hung"),
            End::Finished => "no point: the verb went through".to_owned(),
        };
        if arguments.verbose {
            println!("{}, {} killed at {place}", verb.name(), victim.name());
        }
        found.leaks += u32::from(!complaints.is_empty());
        for complaint in complaints {
            println!("LEAK {}, {} killed at {place}: {complaint}", verb.name(), victim.name());
        }
        if end == End::Finished {
            break;
        }
        found.points += 1;
        if arguments.self_test && found.leaks > 0 {
            break;
        }
    }
    Ok(found)
}

/// The hidden task that becomes the traced program: `cargo xtask traced PROGRAM ARGUMENTS…`.
pub fn traced(words: &[OsString]) -> Result<()> {
    let (program, arguments) = words.split_first().context("no program")?;
    nix::sys::ptrace::traceme()?;
    Err(Command::new(program).args(arguments).exec().into())
}

fn range(text: &str) -> Result<RangeInclusive<u32>> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let last = last.trim_start_matches('=');
    Ok(if first.is_empty() { 1 } else { first.parse()? }..=if last.is_empty() {
        u32::MAX
    } else {
        last.parse()?
    })
}

/// Names of lines that are in one listing and not in the other.
fn difference(before: &BTreeSet<String>, after: &BTreeSet<String>) -> Vec<String> {
    let more = after.difference(before).map(|line| format!("new: {line}"));
    more.chain(before.difference(after).map(|line| format!("gone: {line}"))).collect()
}
