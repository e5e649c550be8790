//! Black-box tests of the built binary, as root, or as an ordinary user: what a caller sees, and what is left behind.
//!
//! `cargo test --test integration [FILTER]` runs them on `corten`; `RUNTIME=/usr/bin/crun` (or runc, or any build)
//! runs them on another runtime. `CORTEN_HYBRID=1` leaves /sys/fs/cgroup as the host has it; `CORTEN_VM=1` says that
//! this is the project's VM, where a skipped test is a failure and time is slow. `CORTEN_CGROUP_DRIVER=systemd` gives every `create` and `run` the
//! flag `--systemd-cgroup`. `CORTEN_TEST_USERNS=1` gives every bundle a user namespace ([`mapped`]). `CORTEN_TEST_ROOTLESS=helpers` and `alone` run all as an ordinary user ([`ordinary_user`]). `CORTEN_WRAPPER="PROGRAM ARGUMENT..."` runs
//! every call of the runtime by that program.
//!
//! A new file: one `mod` line and one line in `tests()` below; see `lifecycle.rs` for how it looks.
//!
//! Runs in: any process.

#[allow(dead_code, reason = "a vocabulary for the tests: not every word is in use")]
mod bundle;
mod harness;
mod holder;
#[allow(dead_code, reason = "a vocabulary for the tests: not every word is in use")]
mod host;
#[allow(dead_code, reason = "a vocabulary for the tests: not every word is in use")]
mod inside;
mod leaks;
mod mapped;
mod ordinary_user;
mod outside;
#[allow(dead_code, reason = "a vocabulary for the tests: not every word is in use")]
mod runtime;

mod annotations;
mod budget;
mod callers;
mod concurrent;
mod configs;
mod console;
mod contracts;
mod crash;
mod credentials;
mod devices;
mod errors;
mod exec;
mod exec_cgroup;
mod exec_terminal;
mod features;
mod hook_failures;
mod hooks;
mod idmap;
mod intel_rdt;
mod invocations;
mod lifecycle;
mod lsm;
mod memory_policy;
mod mount_options;
mod mounts;
mod namespaces;
mod nesting;
mod net_devices;
mod no_cgroup;
mod notify;
mod other_systems;
mod paths;
mod prober;
mod probes;
mod process;
mod ps;
mod resources;
mod root_namespace;
mod rootfs;
mod rootless;
mod same_cgroup;
mod scheduling;
mod schema;
mod seccomp;
mod seccomp_agent;
mod seccomp_notify;
mod selinux;
mod sysctl;
mod systemd;
mod update;
mod upgrade;
mod user_namespaces;
mod users;

use std::process::ExitCode;

use harness::Test;

fn tests() -> Vec<Test> {
    [
        annotations::tests(),
        contracts::tests(),
        budget::tests(),
        lifecycle::tests(),
        concurrent::tests(),
        sysctl::tests(),
        systemd::tests(),
        idmap::tests(),
        intel_rdt::tests(),
        invocations::tests(),
        hook_failures::tests(),
        update::tests(),
        upgrade::tests(),
        user_namespaces::tests(),
        users::tests(),
        same_cgroup::tests(),
        scheduling::tests(),
        seccomp::tests(),
        selinux::tests(),
        seccomp_notify::tests(),
        lsm::tests(),
        callers::tests(),
        configs::tests(),
        errors::tests(),
        exec::tests(),
        exec_cgroup::tests(),
        exec_terminal::tests(),
        features::tests(),
        nesting::tests(),
        net_devices::tests(),
        notify::tests(),
        other_systems::tests(),
        ps::tests(),
        probes::tests(),
        crash::tests(),
        console::tests(),
        hooks::tests(),
        devices::tests(),
        namespaces::tests(),
        no_cgroup::tests(),
        credentials::tests(),
        paths::tests(),
        process::tests(),
        resources::tests(),
        root_namespace::tests(),
        rootfs::tests(),
        rootless::tests(),
        memory_policy::tests(),
        mount_options::tests(),
        mounts::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn main() -> ExitCode {
    match prober::words() {
        Some(words) => prober::run(&words),
        None => harness::run(tests()),
    }
}
