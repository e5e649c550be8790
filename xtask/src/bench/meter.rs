//! The measuring process (`meter.c`): what is asked of it, and what it answers.
//!
//! Runs in: any process.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

/// Programs to be started, one after the other or all at once.
#[derive(Debug, Clone)]
pub struct Request {
    kind: &'static str,
    steps: Vec<Vec<String>>,
}

impl Request {
    /// One after the other.
    pub fn of(steps: Vec<Vec<String>>) -> Self {
        Self { kind: "seq", steps }
    }

    pub fn all_at_once(steps: Vec<Vec<String>>) -> Self {
        Self { kind: "par", steps }
    }

    pub fn steps(&self) -> &[Vec<String>] {
        &self.steps
    }

    pub fn is_parallel(&self) -> bool {
        self.kind == "par"
    }

    fn line(&self) -> String {
        let steps = self.steps.iter().map(|step| format!("\t{}\t;", step.join("\t")));
        format!("{}{}\n", self.kind, steps.collect::<String>())
    }
}

/// The step that waits until the process of this pid file has ended.
pub fn reap(pid_file: &Path) -> Vec<String> {
    vec!["reap".to_owned(), pid_file.display().to_string()]
}

/// What one request took; of the programs and all that they, or the meter for them, waited for.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Nanoseconds, from before the first start until after the last end.
    pub wall: u64,
    /// Microseconds of processor.
    pub user: u64,
    pub system: u64,
    pub faults: u64,
    /// KiB, of the largest process.
    pub peak: u64,
    /// Nanoseconds of each step.
    pub steps: Vec<u64>,
}

/// Who it runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    Root,
    /// uid and gid 1000, no other groups.
    Ordinary,
}

#[derive(Debug)]
pub struct Meter {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// stderr of all that is started.
    errors: File,
    errors_path: PathBuf,
}

impl Meter {
    pub fn start(program: &Path, user: User, errors_path: PathBuf, home: &Path) -> Result<Self> {
        let errors = OpenOptions::new().append(true).create(true).open(&errors_path)?;
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", home).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(errors.try_clone()?);
        match user {
            User::Ordinary => {
                command.uid(1000).gid(1000).env("XDG_RUNTIME_DIR", home);
            }
            User::Root if !may_raise_memlock() => {
                command.arg("nolimit");
            }
            User::Root => {}
        }
        let mut process = command.spawn().with_context(|| program.display().to_string())?;
        let input = process.stdin.take().context("the meter has no stdin")?;
        let output = BufReader::new(process.stdout.take().context("the meter has no stdout")?);
        Ok(Self { process, input, output, errors, errors_path })
    }

    /// Runs the request; an error has what the programs said.
    pub fn measure(&mut self, request: &Request) -> Result<Sample> {
        self.errors.set_len(0)?;
        self.input.write_all(request.line().as_bytes())?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        let mut fields = answer.trim_end().split('\t');
        match fields.next() {
            Some("ok") => sample(fields),
            Some("failed") => {
                let index: usize = fields.next().context("no step")?.parse()?;
                let status: i32 = fields.next().context("no status")?.parse()?;
                let said = fs::read_to_string(&self.errors_path).unwrap_or_default();
                let step =
                    request.steps.get(index).map(|words| words.join(" ")).unwrap_or_default();
                bail!("{step}: wait status {status:#x}: {}", said.trim());
            }
            _ => bail!("the meter ended: {:?}", self.process.try_wait()?),
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn sample<'a>(fields: impl Iterator<Item = &'a str>) -> Result<Sample> {
    let numbers = fields.map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    ensure!(numbers.len() > 5, "a short answer: {numbers:?}");
    let (first, steps) = numbers.split_at(5);
    Ok(Sample {
        wall: first[0],
        user: first[1],
        system: first[2],
        faults: first[3],
        peak: first[4],
        steps: steps.to_vec(),
    })
}

/// Whether crun may do what it does for a device program (`meter.c`).
fn may_raise_memlock() -> bool {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max locked memory")).unwrap_or("");
    let is_unlimited = line.split_whitespace().nth(4) == Some("unlimited");
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or("");
    let bits = u64::from_str_radix(effective.trim(), 16).unwrap_or(0);
    is_unlimited || bits >> 24 & 1 == 1
}
