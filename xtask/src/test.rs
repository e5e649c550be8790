//! `cargo xtask test`: sets up what is missing, runs every test, and says loudly what was not run.
//!
//! Runs in: any process.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::machine::{self, Profile, cargo, stdout_of};
use crate::vm;

/// Arguments of `cargo xtask test`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only tests whose name contains this.
    filter: Option<String>,
    /// Without the VM.
    #[arg(long)]
    no_vm: bool,
    /// Only the tests of the systemd driver and of ordinary users with a session, in a VM that systemd has booted (minutes); the result is written to
    /// docs/systemd-tests.md.
    #[arg(long, conflicts_with = "no_vm")]
    systemd: bool,
    /// All integration tests in the VM, not only those that this host cannot run (some minutes).
    #[arg(long, conflicts_with = "no_vm")]
    all_in_vm: bool,
    /// The VM's kernel, as for `cargo xtask vm --kernel`.
    #[arg(long, value_name = "PACKAGE[/SUITE]", default_value = "linux-image-cloud-amd64")]
    kernel: String,
}

/// One line of the summary.
#[derive(Debug)]
struct Stage {
    name: &'static str,
    verdict: Verdict,
    seconds: f64,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed(String),
    Skipped(String),
}

pub fn run(arguments: &Arguments) -> Result<()> {
    machine::busybox()?;
    if arguments.systemd {
        return crate::systemd::run(arguments.filter.as_deref());
    }
    let skips = tempfile::NamedTempFile::new()?;
    let on_host = stage("unit, plan, library, integration tests and attacks", || {
        on_host(arguments, skips.path())
    });
    let skipped = fs::read_to_string(skips.path())?;
    let hybrid = stage("limits on a hybrid host", hybrid);
    let helpers = stage("integration tests as an ordinary user with newuidmap", || {
        as_user(arguments, "helpers")
    });
    let alone = stage("the same without newuidmap", || as_user(arguments, "alone"));
    let budgets = stage("budgets, on the release build", budgets);
    let mapped =
        stage("integration tests with user namespaces", || with_user_namespaces(arguments));
    let without = stage("integration tests where openat2 is hidden", || without_openat2(arguments));
    let in_vm =
        stage("integration tests and attacks that need the VM", || in_vm(arguments, &skipped));
    let selinux = stage("labels, in a VM with SELinux", || with_selinux(arguments));
    summary(&[on_host, hybrid, helpers, alone, budgets, mapped, without, selinux, in_vm], &skipped)
}

fn stage(name: &'static str, body: impl FnOnce() -> Result<Verdict>) -> Stage {
    println!("\n== {name} ==");
    let begin = Instant::now();
    let verdict = body().unwrap_or_else(|error| Verdict::Failed(format!("{error:#}")));
    Stage { name, verdict, seconds: begin.elapsed().as_secs_f64() }
}

/// All tests of the workspace; only the integration tests when they are to run on a peer.
fn on_host(arguments: &Arguments, skips: &Path) -> Result<Verdict> {
    let mut command = match env::var_os("RUNTIME") {
        Some(runtime) => {
            println!("on RUNTIME={}", runtime.display());
            cargo(["test", "--quiet", "--package", "corten", "--test", "integration"])
        }
        None => all_tests(),
    };
    if !machine::is_root() {
        println!(
            "NOT ROOT: tests that make containers are skipped; `sudo -E cargo xtask test` runs them"
        );
    }
    command.args(arguments.filter.as_ref()).env("CORTEN_SKIPPED", skips);
    status(&mut command)
}

/// The tests see cgroup v2 alone, but for those that say that they need the host's own view.
fn hybrid() -> Result<Verdict> {
    if !Path::new("/sys/fs/cgroup/unified").is_dir() || !machine::is_root() {
        return Ok(Verdict::Skipped("this host is not hybrid, or this is not root".to_owned()));
    }
    let mut command = cargo(["test", "--quiet", "--package", "corten", "--test", "integration"]);
    status(command.arg("hybrid").env("CORTEN_HYBRID", "1"))
}

/// All that an ordinary user can have: `tests/integration/ordinary_user.rs` has the exceptions. Without limits, which the tests
/// with a systemd user session have (`--systemd`).
fn as_user(arguments: &Arguments, mode: &str) -> Result<Verdict> {
    if !machine::is_root() {
        return Ok(Verdict::Skipped("the tests become the user by themselves, as root".to_owned()));
    }
    if mode == "helpers"
        && let Err(error) = machine::ensure("newuidmap", "uidmap")
    {
        return Ok(Verdict::Skipped(format!("{error:#}")));
    }
    let program = test_program("integration")?;
    for path in [machine::workspace()?, program] {
        let is_open = |above: &Path| {
            fs::metadata(above).is_ok_and(|status| status.permissions().mode() & 0o001 != 0)
        };
        if let Some(closed) = path.ancestors().find(|above| !is_open(above)) {
            let why = format!("no other user may enter {}", closed.display());
            return Ok(Verdict::Skipped(why));
        }
    }
    let mut command = cargo(["test", "--quiet", "--package", "corten", "--test", "integration"]);
    command.args(arguments.filter.as_ref());
    status(command.env("CORTEN_TEST_ROOTLESS", mode))
}

/// Every call of the runtime under a seccomp filter around it that answers ENOSYS to openat2: the ways around it are tested
/// by what the ordinary way is. Without the files whose tests count calls, load filters with openat2 in them, or never touch a root file system.
fn without_openat2(arguments: &Arguments) -> Result<Verdict> {
    if env::var_os("RUNTIME").is_some() || !machine::is_root() {
        return Ok(Verdict::Skipped("for corten, as root".to_owned()));
    }
    let wrapper = format!("{} --attacker without openat2", test_program("attacks")?.display());
    let mut command = cargo(["test", "--quiet", "--package", "corten", "--test", "integration"]);
    command.arg("--");
    // Sources and root file systems that the container's root cannot reach are opened by the runtime below the root of init, which
    // nothing but openat2 does without looking anything up elsewhere: there is no way around it.
    let beyond_reach = ["cannot_reach", "out_of_its_reach"];
    // The tests of upgrades name the program themselves.
    let files = ["budget::", "configs::", "features::", "seccomp", "upgrade::"];
    for name in files.iter().chain(&beyond_reach) {
        command.args(["--skip", name]);
    }
    status(command.args(arguments.filter.as_ref()).env("CORTEN_WRAPPER", wrapper))
}

/// Every bundle has a user namespace of its own; what cannot hold there is skipped by name (`tests/integration/mapped.rs`).
fn with_user_namespaces(arguments: &Arguments) -> Result<Verdict> {
    if !machine::is_root() {
        return Ok(Verdict::Skipped("not root".to_owned()));
    }
    let mut command = cargo(["test", "--quiet", "--package", "corten", "--test", "integration"]);
    status(command.args(arguments.filter.as_ref()).env("CORTEN_TEST_USERNS", "1"))
}

/// What a start may cost is promised of the release build.
fn budgets() -> Result<Verdict> {
    if env::var_os("RUNTIME").is_some() {
        return Ok(Verdict::Skipped("RUNTIME is set".to_owned()));
    }
    let corten = machine::build(Profile::Release, &[])?;
    let mut command = cargo(["test", "--quiet", "--package", "corten", "--test", "integration"]);
    status(command.arg("budget::").env("RUNTIME", corten))
}

/// The workspace with what is optional in it. Without libseccomp, all but the oracle that compares with it.
fn all_tests() -> Command {
    let mut command = cargo(["test", "--quiet", "--workspace", "--no-fail-fast"]);
    command.args(["--features", "libcontainer/oci-spec"]);
    if let Err(error) = machine::ensure_libseccomp() {
        println!("SKIPPED the seccomp compiler against libseccomp: {error:#}");
        command.args(["--exclude", "seccomp-oracle"]);
    }
    command
}

/// Runs what this host skipped, or everything.
fn in_vm(arguments: &Arguments, skipped: &str) -> Result<Verdict> {
    let names: Vec<&str> =
        skipped.lines().filter_map(|line| line.split_once(": ")).map(|(name, _)| name).collect();
    if names.is_empty() && !arguments.all_in_vm {
        println!("this host ran every test: nothing is left for the VM");
        return Ok(Verdict::Passed);
    }
    if let Some(verdict) = without_vm(arguments) {
        return Ok(verdict);
    }
    let only = if arguments.all_in_vm {
        String::new()
    } else {
        format!("CORTEN_ONLY={} ", names.join(","))
    };
    let programs = PROGRAMS.iter().map(|name| test_program(name)).collect::<Result<Vec<_>>>()?;
    let filter = arguments.filter.as_deref().map(machine::quoted).unwrap_or_default();
    let call = |program: &PathBuf| {
        format!("{only}{} --test-threads 2 {filter} || failed=1", program.display())
    };
    let calls: Vec<_> = programs.iter().map(call).collect();
    let command = format!("failed=0; {}; exit $failed", calls.join("; "));
    in_minimal_vm(arguments, "", command, programs)
}

/// What needs SELinux, which a kernel has in the place of AppArmor.
fn with_selinux(arguments: &Arguments) -> Result<Verdict> {
    if let Some(verdict) = without_vm(arguments) {
        return Ok(verdict);
    }
    let program = test_program("integration")?;
    let command = format!("{} selinux::", program.display());
    in_minimal_vm(arguments, "security=selinux", command, vec![program])
}

/// Why there is none.
fn without_vm(arguments: &Arguments) -> Option<Verdict> {
    let why = if arguments.no_vm {
        "--no-vm".to_owned()
    } else if env::var_os("RUNTIME").is_some() {
        "RUNTIME is set: peers are run on the host only".to_owned()
    } else {
        format!("{:#}", machine::ensure("qemu-system-x86_64", "qemu-system-x86").err()?)
    };
    Some(Verdict::Skipped(why))
}

/// Runs `command` with the debug build, these test programs and the files of the tests.
fn in_minimal_vm(
    arguments: &Arguments,
    append: &str,
    command: String,
    programs: Vec<PathBuf>,
) -> Result<Verdict> {
    let vm = vm::Arguments {
        timeout: 1500,
        append: append.to_owned(),
        ..vm::Arguments::new(&arguments.kernel, command)
    };
    let mut extra = vm::corten_at(machine::build(Profile::Debug, &[])?);
    extra.extend(programs.into_iter().map(|program| (program.clone(), program)));
    extra.extend(vm::tree(&machine::workspace()?.join("tests"))?);
    match vm::run(&vm, extra)? {
        0 => Ok(Verdict::Passed),
        code => Ok(Verdict::Failed(format!("exit code {code}"))),
    }
}

/// The tests of `corten` that run on a harness of their own, in the VM too.
const PROGRAMS: [&str; 2] = ["integration", "attacks"];

/// The built test program: cargo names it in its messages.
pub fn test_program(name: &str) -> Result<PathBuf> {
    let arguments = ["test", "--quiet", "--package", "corten", "--test", name, "--no-run"];
    let messages = stdout_of(cargo(arguments).arg("--message-format=json"))?;
    let messages =
        messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let built = messages.filter(|message| message["target"]["name"] == name);
    let program =
        built.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();
    program.context("cargo named no test program")
}

fn status(command: &mut Command) -> Result<Verdict> {
    let status = command.stdin(Stdio::null()).status()?;
    Ok(if status.success() { Verdict::Passed } else { Verdict::Failed(machine::line(command)) })
}

fn summary(stages: &[Stage], skipped: &str) -> Result<()> {
    println!("\n== summary ==");
    for Stage { name, verdict, seconds } in stages {
        match verdict {
            Verdict::Passed => println!("passed   {name} ({seconds:.0} s)"),
            Verdict::Failed(why) => println!("FAILED   {name} ({seconds:.0} s): {why}"),
            Verdict::Skipped(why) => println!("SKIPPED  {name}: {why}"),
        }
    }
    let vm = stages.last().is_some_and(|stage| stage.verdict == Verdict::Passed);
    for line in skipped.lines() {
        println!("{} {line}", if vm { "in the VM only:" } else { "SKIPPED " });
    }
    if stages.iter().any(|stage| matches!(stage.verdict, Verdict::Failed(_))) {
        bail!("not all tests passed");
    }
    Ok(())
}
