//! `cargo xtask test --systemd`: the tests of the systemd driver, in the VM that systemd boots.
//!
//! Runs in: any process.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::machine::{self, Profile, stdout_of};
use crate::test::test_program;
use crate::vm;

/// Tests of limits and device rules that say nothing of the cgroup's path: run with the flag `--systemd-cgroup`, too.
const WITH_BOTH: &[&str] = &[
    "resources::memory_is_read_back",
    "resources::cpu_is_read_back",
    "resources::cpuset_is_read_back",
    "resources::pids_is_read_back",
    "resources::block_io_is_read_back",
    "resources::hugepages_are_read_back",
    "resources::unified_is_read_back",
    "resources::all_at_once_are_read_back",
    "resources::v1_properties_are_ignored",
    "resources::memory_limit_kills_who_exceeds_it",
    "resources::pids_limit_makes_fork_fail",
    "resources::cpu_quota_throttles",
    "resources::file_that_is_not_there_is_refused_by_name",
    "resources::device_that_is_not_there_is_refused_by_name",
    "resources::writable_cgroup_is_delegated",
    "devices::rules_deny_what_they_do_not_allow",
    "devices::rules_allow_by_number_and_access",
    "devices::rules_of_which_the_last_counts",
    "devices::rules_with_wildcards_hold",
    "devices::rules_let_default_devices_be",
];

/// Of all containers no unit and no device program is left.
const LEFT: &str = "units=$(systemctl list-units --all --plain --no-legend 'corten-ct*' 'test-ct*' 'pre-ct*'); \
    programs=$(bpftool prog list | grep corten); \
    if [ -n \"$units$programs\" ]; then echo \"LEFT: $units $programs\"; failed=1; \
    else echo 'no unit and no device program is left'; fi";

/// Runs those whose name contains `filter`. A whole run, of all of them on our own runtime, is written
/// down.
pub fn run(filter: Option<&str>) -> Result<()> {
    machine::ensure("qemu-system-x86_64", "qemu-system-x86")?;
    machine::busybox()?;
    let program = test_program("integration")?;
    let mut extra = vm::corten_at(machine::build(Profile::Debug, &[])?);
    extra.push((program.clone(), program.clone()));
    extra.extend(vm::tree(&machine::workspace()?.join("tests"))?);
    let runtime = env::var("RUNTIME").ok();
    let on = runtime.iter().map(|runtime| format!("RUNTIME={} ", machine::quoted(runtime)));
    let program = format!("{}{}", on.collect::<String>(), program.display());
    let tests = match filter {
        Some(filter) => {
            format!("{program} --test-threads 2 {} || failed=1", machine::quoted(filter))
        }
        None => format!(
            "{program} --test-threads 2 systemd:: || failed=1; {program} --test-threads 2 rootless:: || failed=1; \
             CORTEN_CGROUP_DRIVER=systemd CORTEN_ONLY={} {program} \
             --test-threads 2 || failed=1",
            WITH_BOTH.join(",")
        ),
    };
    let command = format!(
        "uname -r; systemctl --version | head -n 1; failed=0; {tests}; {LEFT}; exit $failed"
    );
    let vm = vm::Arguments {
        minimal: false,
        systemd: true,
        kernel: None,
        packages: runtime.iter().map(|runtime| package_of(runtime)).collect(),
        timeout: 3000,
        ..vm::Arguments::new("", command)
    };
    let (code, stdout) = vm::run_and_keep(&vm, extra)?;
    if filter.is_none() && runtime.is_none() {
        write_down(code, &stdout)?;
    }
    if code != 0 {
        bail!("not all tests passed (exit code {code})");
    }
    Ok(())
}

/// Debian's packages of runtimes have their names.
fn package_of(runtime: &str) -> String {
    Path::new(runtime).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn write_down(code: u8, stdout: &str) -> Result<()> {
    let git = |arguments: &[&str]| stdout_of(Command::new("git").args(arguments));
    let commit = git(&["describe", "--always", "--dirty", "--abbrev=12"])?;
    let date = stdout_of(Command::new("date").args(["--utc", "+%Y-%m-%d %H:%M UTC"]))?;
    let verdict = if code == 0 { "passed" } else { "FAILED" };
    let text = format!(
        "# The systemd driver's tests\n\nWritten by `cargo xtask test --systemd`: the integration tests `systemd::` and `rootless::` in the VM \
         that systemd boots\n([vm.md](vm.md)). The last run:\n\n| | |\n|---|---|\n| commit | {} |\n| date | {} |\n| \
         result | **{verdict}** |\n\n```\n{}\n```\n",
        commit.trim(),
        date.trim(),
        stdout.trim()
    );
    let path = machine::workspace()?.join("docs/systemd-tests.md");
    fs::write(&path, text).with_context(|| format!("{}", path.display()))
}
