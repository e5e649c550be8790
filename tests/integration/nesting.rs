//! The runtime in a container that it has made itself: with all capabilities and a cgroup that it may write, as engines' "privileged"
//! ones; and in a user namespace.
//!
//! Runs in: any process.

use std::fs;
use std::path::Path;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::bundle::{Bundle, map};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host;
use crate::host::Need::{Controller, NotMapped, NotOn, NotOrdinaryUser, PureCgroup2, Root};
use crate::inside::{bind, nothing_left};
use crate::resources::{directory, put};
use crate::runtime::{Invocation, Runtime};

const OWN: &str = "has a user namespace of its own where it wants one";
const NO_CGROUP: &str = "no cgroup is delegated";

table! {
    container_in_a_container_lives_and_ends: [Root, PureCgroup2, NotMapped(OWN), NotOrdinaryUser(NO_CGROUP)],
    process_in_a_container_in_a_container_is_confined: [Root, PureCgroup2, NotMapped(OWN), NotOrdinaryUser(NO_CGROUP)],
    limits_in_a_container_are_the_inner_ones: [Root, PureCgroup2, NotMapped(OWN), NotOrdinaryUser(NO_CGROUP), Controller("pids"), Controller("memory")],
    deleting_the_outer_container_ends_the_inner_ones: [Root, PureCgroup2, NotMapped(OWN), NotOrdinaryUser(NO_CGROUP)],
    container_in_a_user_namespace_lives_and_ends: [Root, PureCgroup2, NotMapped(OWN), NotOrdinaryUser(NO_CGROUP), NotOn("runc", "delegates the cgroup with systemd only")],
    user_namespace_in_a_user_namespace: [Root, PureCgroup2, NotMapped(OWN), NotOrdinaryUser(NO_CGROUP), NotOn("runc", "delegates the cgroup with systemd only")],
}

/// Where the outer container has the runtime, and the inner bundle.
const PROGRAM: &str = "/run/runtime";
const BUNDLE: &str = "/run/bundle";
/// The inner ones' state.
const ROOT: &str = "/tmp/root";
const SLEEP: &[&str] = &["sleep", "1000"];

/// A container in which the runtime runs.
#[derive(Debug)]
struct Outer<'a> {
    runtime: &'a Runtime,
    id: String,
}

impl<'a> Outer<'a> {
    fn new(
        runtime: &'a Runtime,
        inner: &Bundle,
        change: impl FnOnce(&mut Value),
    ) -> Result<Self, Failed> {
        let mut bundle =
            runtime.bundle_with(SLEEP, |config| privileged(config, runtime, inner.path()))?;
        bundle.edit(change)?;
        fs::write(bundle.in_rootfs(PROGRAM), "")?;
        fs::create_dir_all(bundle.in_rootfs(BUNDLE))?;
        let id = runtime.new_id();
        runtime.create(&bundle, &id)?.ok()?;
        runtime.start(&id)?.ok()?;
        Ok(Self { runtime, id })
    }

    fn exec(&self, words: &[&str]) -> Invocation<'a> {
        self.runtime.command(["exec", &self.id].iter().chain(words))
    }

    /// The runtime in it.
    fn call(&self, words: &[&str]) -> Invocation<'a> {
        let mut all = vec![PROGRAM, "--root", ROOT];
        all.extend(words);
        self.exec(&all)
    }

    fn ok(&self, words: &[&str]) -> Result<String, Failed> {
        Ok(self.call(words).output()?.ok()?.stdout)
    }

    /// What the inner container holds open is no pipe of a peer's `exec`, which would wait for its end.
    fn create(&self, id: &str) -> TestResult {
        let script =
            "\"$@\" < /dev/null > /tmp/log 2>&1 || { code=$?; cat /tmp/log >&2; exit $code; }";
        let create = [PROGRAM, "--root", ROOT, "create", "--bundle", BUNDLE, id];
        self.exec(&[&["sh", "-c", script, "sh"], &create[..]].concat()).output()?.ok()?;
        Ok(())
    }

    fn status(&self, id: &str) -> Result<String, Failed> {
        let state: Value = serde_json::from_str(&self.ok(&["state", id])?)?;
        Ok(state["status"].as_str().unwrap_or_default().to_owned())
    }

    /// An inner container's whole life, of a bundle that runs [`SLEEP`].
    fn lives_and_ends(&self) -> TestResult {
        let below = directory(self.runtime, &self.id)?;
        self.create("inner")?;
        ensure_eq!(self.status("inner")?, "created");
        self.ok(&["start", "inner"])?;
        ensure_eq!(self.status("inner")?, "running");
        ensure!(below.join("inner").is_dir(), "its cgroup is not below that of the outer one");
        ensure_eq!(self.ok(&["exec", "inner", "cat", "/proc/1/comm"])?, "sleep\n");
        self.call(&["exec", "inner", "sh", "-c", "exit 9"]).output()?.exits(9)?;
        self.ok(&["pause", "inner"])?;
        ensure_eq!(self.status("inner")?, "paused");
        self.ok(&["resume", "inner"])?;
        self.ok(&["kill", "inner", "KILL"])?;
        self.runtime.wait_until("its end", || Ok(self.status("inner")? == "stopped"))?;
        self.ok(&["delete", "inner"])?;
        ensure!(!below.join("inner").exists(), "its cgroup is left");
        Ok(())
    }

    fn ends(&self) -> TestResult {
        self.runtime.delete_force(&self.id)?.ok()?;
        nothing_left(self.runtime)
    }
}

/// All that an engine's --privileged gives, and the runtime and a bundle for it.
fn privileged(config: &mut Value, runtime: &Runtime, inner: &Path) {
    // As many as the caller has: engines do no more.
    let numbered = (0..).zip(CAPABILITIES).filter(|(number, _)| host::has_capability(*number));
    let all: Vec<&str> = numbered.map(|(_, name)| name).collect();
    config["process"]["capabilities"] =
        json!({ "bounding": all, "effective": all, "permitted": all });
    config["process"]["noNewPrivileges"] = json!(false);
    config["linux"]["maskedPaths"] = json!([]);
    config["linux"]["readonlyPaths"] = json!([]);
    config["linux"]["resources"]["devices"] = json!([{ "allow": true, "access": "rwm" }]);
    for mount in config["mounts"].as_array_mut().into_iter().flatten() {
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|word| word != "ro");
        }
    }
    bind(config, PROGRAM, runtime.program(), &["bind", "ro"]);
    bind(config, BUNDLE, inner, &["bind"]);
    // A peer's libraries; corten needs none.
    if !runtime.is("corten") {
        for place in ["/lib", "/lib64", "/usr/lib"] {
            bind(config, place, place, &["rbind", "ro"]);
        }
    }
}

/// By their numbers (capability.h).
const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Of ids of its own, whose root on the host owns the inner bundle's files too.
fn mapped(config: &mut Value) {
    let ids = &[[0, 100_000, 65_536]];
    map(config, ids, ids);
}

fn container_in_a_container_lives_and_ends(runtime: &Runtime) -> TestResult {
    let outer = Outer::new(runtime, &runtime.bundle(SLEEP)?, |_| {})?;
    outer.lives_and_ends()?;
    outer.ends()
}

fn process_in_a_container_in_a_container_is_confined(runtime: &Runtime) -> TestResult {
    let script = "echo $$; hostname; grep ^0:: /proc/self/cgroup; grep CapEff /proc/self/status; ls /run; mount -t tmpfs x /tmp; echo $?; exit 5";
    let inner =
        runtime.bundle_with(&["sh", "-c", script], |config| config["hostname"] = json!("inner"))?;
    let outer = Outer::new(runtime, &inner, |_| {})?;
    let seen = outer.call(&["run", "--bundle", BUNDLE, "inner"]).output()?.exits(5)?;
    // Of the bundle's three capabilities, none of which mounts.
    ensure_eq!(seen.stdout, "1\ninner\n0::/\nCapEff:\t0000000020000420\n1\n");
    outer.ends()
}

fn limits_in_a_container_are_the_inner_ones(runtime: &Runtime) -> TestResult {
    let limits = json!({ "pids": { "limit": 30 }, "memory": { "limit": 33_554_432 } });
    let inner = runtime.bundle_with(
        &["cat", "/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/memory.max"],
        |config| put(config, &limits),
    )?;
    let outer =
        Outer::new(runtime, &inner, |config| put(config, &json!({ "pids": { "limit": 500 } })))?;
    // cgroups(7), "no internal processes": first none may be left where the inner cgroups are made.
    let prepare = "cd /sys/fs/cgroup && mkdir own && for pid in 1 $$; do echo $pid > own/cgroup.procs; done \
        && echo +pids +memory > cgroup.subtree_control && exec \"$@\"";
    let run = [PROGRAM, "--root", ROOT, "run", "--bundle", BUNDLE, "inner"];
    let mut words = vec!["sh", "-ec", prepare, "sh"];
    words.extend(run);
    ensure_eq!(outer.exec(&words).output()?.ok()?.stdout, "30\n33554432\n");
    outer.ends()
}

fn deleting_the_outer_container_ends_the_inner_ones(runtime: &Runtime) -> TestResult {
    let outer = Outer::new(runtime, &runtime.bundle(SLEEP)?, |_| {})?;
    for id in ["one", "two"] {
        outer.create(id)?;
    }
    outer.ok(&["start", "one"])?;
    let cgroup = directory(runtime, &outer.id)?;
    ensure!(
        cgroup.join("one").is_dir() && cgroup.join("two").is_dir(),
        "no cgroups of the inner ones"
    );
    outer.ends()?;
    ensure!(!cgroup.exists(), "{} is left", cgroup.display());
    Ok(())
}

fn container_in_a_user_namespace_lives_and_ends(runtime: &Runtime) -> TestResult {
    let mut inner = runtime.bundle(SLEEP)?;
    let config = inner.config().clone();
    // Its files become those of the outer container's root; the inner one has no user namespace of its own.
    inner.edit(mapped)?;
    inner.write_text(config.to_string().as_bytes())?;
    let outer = Outer::new(runtime, &inner, mapped)?;
    outer.lives_and_ends()?;
    outer.ends()
}

fn user_namespace_in_a_user_namespace(runtime: &Runtime) -> TestResult {
    let mut inner = runtime.bundle(&[
        "sh",
        "-c",
        "cat /proc/self/uid_map; id -u; echo x > /tmp/mine && stat -c %u /tmp/mine",
    ])?;
    let (inside, on_the_host) = (&[[0, 1000, 2000]], &[[0, 101_000, 2000]]);
    inner.edit(|config| map(config, on_the_host, on_the_host))?;
    let mut config = inner.config().clone();
    map(&mut config, inside, inside);
    inner.write_text(config.to_string().as_bytes())?;
    let outer = Outer::new(runtime, &inner, mapped)?;
    let seen = outer.ok(&["run", "--bundle", BUNDLE, "inner"])?;
    ensure_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["0", "1000", "2000", "0", "0"]);
    outer.ends()
}
