//! What people and CI call: `cargo xtask demo | test | vm | clients | man | dist | bench | fault | check-arch`.
//!
//! Runs in: any process.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod arch;
mod bench;
#[path = "../../tests/integration/bundle.rs"]
#[expect(dead_code, reason = "the integration tests' bundles, of which the stepper uses some")]
mod bundle;
mod clients;
mod demo;
mod dist;
mod fault;
mod machine;
mod manual;
mod systemd;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of the corten repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Set up what is missing and show a real container.
    Demo,
    /// Set up what is missing and pass all tests.
    Test(test::Arguments),
    /// Run a command in the project's own VM: cgroup v2 only, root, no network.
    Vm(vm::Arguments),
    /// Run the flows of a real client (Podman, containerd, Docker, a hand) on corten, or on a peer, in a VM with systemd.
    Clients(clients::Arguments),
    /// Write man pages and shell completions.
    Man(manual::Arguments),
    /// Measure corten, its peers and a floor of bare system calls in turn (root; minutes).
    Bench(bench::Arguments),
    /// Make what a release consists of: tarball, Debian's package, checksums, bill of materials; `--check`: the same ones twice.
    Dist(dist::Arguments),
    /// Kill the runtime, and apart init, at every system call, and look for what is left.
    Fault(fault::Arguments),
    /// Run a program under the stepper of `fault`.
    #[command(hide = true)]
    Traced {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<std::ffi::OsString>,
    },
    /// Check that the workspace is right for another architecture, as far as this machine's toolchain allows.
    CheckArch(arch::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Demo => demo::run(),
        Task::Test(arguments) => test::run(&arguments),
        Task::Vm(arguments) => return vm::main(&arguments),
        Task::Clients(arguments) => clients::run(&arguments),
        Task::Fault(arguments) => fault::run(&arguments),
        Task::Man(arguments) => manual::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Dist(arguments) => dist::run(&arguments),
        Task::Traced { words } => fault::traced(&words),
        Task::CheckArch(arguments) => arch::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
