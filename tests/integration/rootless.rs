//! Ordinary users, as they come: with and without the helpers that map ids; in a login session, and below the user's systemd.
//! (All other tests run as one with `CORTEN_TEST_ROOTLESS`.)
//!
//! Runs in: any process.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::bundle::{map, remove};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{self, Corten, NotOn, NotOrdinaryUser, Program, Root, Systemd};
use crate::inside::nothing_left;
use crate::ordinary_user::{self, ID, Mode, SUBORDINATE};
use crate::runtime::{Outcome, Runtime};

const BECOMES: Need = NotOrdinaryUser("it becomes one itself");
const NO_MAPS: Need = NotOn("crun", "spec writes no mappings");
const WORDS: Need = Corten("its words");

table! {
    spec_and_run_by_a_user: [Root, BECOMES, Program("setpriv"), NO_MAPS],
    ids_of_etc_subuid_are_mapped_by_the_helpers: [Root, BECOMES, Program("setpriv"), Program("newuidmap"), NotOn("runc", "gives no user additional groups, mapped or not")],
    helpers_are_found_without_path: [Root, BECOMES, Program("setpriv"), Program("newuidmap"), WORDS],
    ids_that_etc_subuid_does_not_give_are_an_error_with_the_line: [Root, BECOMES, Program("setpriv"), Program("newuidmap"), WORDS],
    helpers_that_are_missing_are_an_error_with_the_package: [Root, BECOMES, Program("setpriv"), WORDS],
    helpers_below_no_new_privileges_are_explained: [Root, BECOMES, Program("setpriv"), Program("newuidmap"), WORDS],
    groups_of_who_has_one_id_are_refused: [Root, BECOMES, Program("setpriv"), WORDS],
    bundle_without_a_user_namespace_is_refused: [Root, BECOMES, Program("setpriv"), NotOn("crun", "makes one of its own")],
    root_of_a_users_namespace_needs_none_in_the_bundle: [Root, BECOMES, Program("setpriv"), Program("unshare")],
    new_user_namespace_in_one_with_a_joined_network: [Root, BECOMES, Program("setpriv"), Program("unshare"), WORDS],
    state_is_below_xdg_runtime_dir_and_kept: [Root, BECOMES, Program("setpriv"), WORDS],
    state_root_of_another_user_is_refused: [Root, BECOMES, Program("setpriv"), WORDS],
    no_xdg_runtime_dir_is_explained: [Root, BECOMES, Program("setpriv"), WORDS],
    image_is_a_file_where_memfds_cannot_be_executed: [Root, BECOMES, Program("setpriv"), Program("unshare"), WORDS],
    user_namespaces_that_are_switched_off_are_explained: [Root, BECOMES, Program("setpriv"), Program("unshare"), WORDS],
    limits_without_delegation_are_an_error_that_says_so: [Root, BECOMES, Program("setpriv"), WORDS],
    cgroup_that_is_delegated_is_used: [Root, BECOMES, Program("setpriv"), WORDS],
    session_without_delegation_runs_without_a_cgroup: [Root, Systemd, WORDS],
    limits_hold_in_a_cgroup_of_the_users_systemd: [Root, Systemd, WORDS],
    limits_hold_in_a_scope_of_the_users_systemd: [Root, Systemd, WORDS],
    exec_from_a_session_is_moved_by_the_users_systemd: [Root, Systemd, WORDS],
}

/// A user's home with a bundle.
struct Home<'a> {
    runtime: &'a Runtime,
    path: PathBuf,
    /// What is done as root before, in a mount namespace that ends with the call.
    before: String,
    /// What becomes the user.
    user: String,
    id: String,
}

impl<'a> Home<'a> {
    fn new(
        runtime: &'a Runtime,
        mode: Mode,
        arguments: &[&str],
        change: impl FnOnce(&mut Value),
    ) -> Result<Self, Failed> {
        let bundle = runtime.bundle_with(arguments, |config| {
            ordinary_user::adapt(config, mode);
            change(config);
        })?;
        let path = bundle.path().to_owned();
        let own = format!(
            "chown -R {ID}:{ID} {0} && mkdir -m 700 {0}/run && chown {ID} {0}/run",
            path.display()
        );
        ensure!(Command::new("sh").args(["-c", &own]).status()?.success(), "{own}");
        let (first, count) = SUBORDINATE;
        let table = path.join("subid");
        fs::write(&table, format!("{ID}:{first}:{count}\n"))?;
        let passwd = fs::read_to_string("/etc/passwd")?;
        fs::write(path.join("passwd"), format!("{passwd}ordinary:x:{ID}:{ID}::/:/bin/sh\n"))?;
        let at = path.display();
        let before = format!(
            "touch /etc/subuid /etc/subgid; mount --bind {at}/subid /etc/subuid; mount --bind {at}/subid /etc/subgid; \
             grep -q :{ID}: /etc/passwd || mount --bind {at}/passwd /etc/passwd"
        );
        let user = format!("setpriv --reuid {ID} --regid {ID} --clear-groups");
        Ok(Self { runtime, path, before, user, id: runtime.new_id() })
    }

    /// Runs a script as the user, in the bundle; `$corten` is the runtime, `$id` an id.
    fn sh(&self, script: &str) -> Result<Outcome, Failed> {
        let run = self.path.join("run");
        let script = format!(
            "set -e; {}; cd {}; exec {} env USER=ordinary XDG_RUNTIME_DIR={} id={} corten={} sh -ec '{script}'",
            self.before,
            self.path.display(),
            self.user,
            run.display(),
            self.id,
            self.runtime.program().display(),
        );
        let call = self.runtime.command([] as [&str; 0]);
        call.replaced_by(["unshare", "--mount", "--propagation", "private", "sh", "-c", &script])
            .output()
    }
}

fn spec_and_run_by_a_user(runtime: &Runtime) -> TestResult {
    let home = Home::new(runtime, Mode::Alone, &["true"], |_| ())?;
    let script = "rm config.json; $corten spec --rootless; \
        sed -i -e \"s/\\\"terminal\\\": true/\\\"terminal\\\": false/\" -e \"s/\\\"sh\\\"/\\\"id\\\"/\" config.json; \
        $corten run $id; rmdir run/*";
    let seen = home.sh(script)?.ok()?;
    ensure!(seen.stdout.starts_with("uid=0"), "{seen}");
    nothing_left(runtime)
}

const MAPS: &str = "cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g; id -G";

fn maps() -> String {
    let map = format!("0 {ID} 1\n1 {} {}\n", SUBORDINATE.0, SUBORDINATE.1);
    format!("{map}{map}5\n6\n6 7\n")
}

fn as_other(config: &mut Value) {
    config["process"]["user"] = json!({ "uid": 5, "gid": 6, "additionalGids": [7] });
}

fn words(text: &str) -> String {
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n";
    text.lines().map(line).collect()
}

fn ids_of_etc_subuid_are_mapped_by_the_helpers(runtime: &Runtime) -> TestResult {
    let home = Home::new(runtime, Mode::Helpers, &["sh", "-c", MAPS], as_other)?;
    let seen = home.sh("$corten run $id")?.ok()?;
    ensure_eq!(words(&seen.stdout), maps());
    nothing_left(runtime)
}

/// As Podman and CRI-O call runtimes.
fn helpers_are_found_without_path(runtime: &Runtime) -> TestResult {
    let home = Home::new(runtime, Mode::Helpers, &["sh", "-c", MAPS], as_other)?;
    let seen = home.sh("/usr/bin/env -i XDG_RUNTIME_DIR=$XDG_RUNTIME_DIR $corten run $id")?.ok()?;
    ensure_eq!(words(&seen.stdout), maps());
    nothing_left(runtime)
}

fn ids_that_etc_subuid_does_not_give_are_an_error_with_the_line(runtime: &Runtime) -> TestResult {
    let home = Home::new(runtime, Mode::Helpers, &["true"], |config| {
        let ids = [[0, ID, 1], [1, 300_000, 10]];
        map(config, &ids, &ids);
    })?;
    let refused = home.sh("$corten run $id")?.fails()?;
    for text in
        ["newgidmap", "not allowed", "/etc/subgid", "\\\"1000:300000:10\\\"", "/linux/gidMappings"]
    {
        ensure!(refused.stderr.contains(text), "no {text}: {refused}");
    }
    nothing_left(runtime)
}

fn helpers_that_are_missing_are_an_error_with_the_package(runtime: &Runtime) -> TestResult {
    let mut home = Home::new(runtime, Mode::Helpers, &["true"], |_| ())?;
    home.before += "; for helper in newuidmap newgidmap; do ! [ -e /usr/bin/$helper ] || mount --bind /dev/null /usr/bin/$helper; done";
    let refused = home.sh("$corten run $id")?.fails()?;
    for text in ["newgidmap", "Debian: uidmap", "\\\"hostID\\\": 1000"] {
        ensure!(refused.stderr.contains(text), "no {text}: {refused}");
    }
    nothing_left(runtime)
}

fn helpers_below_no_new_privileges_are_explained(runtime: &Runtime) -> TestResult {
    let mut home = Home::new(runtime, Mode::Helpers, &["true"], |_| ())?;
    home.user += " --no-new-privs";
    home.sh("$corten run $id")?.fails_with("not below a process with no_new_privs")?;
    nothing_left(runtime)
}

fn groups_of_who_has_one_id_are_refused(runtime: &Runtime) -> TestResult {
    let home = Home::new(runtime, Mode::Alone, &["true"], |config| {
        config["process"]["user"]["additionalGids"] = json!([0]);
    })?;
    let words = "cannot set any additional groups in a rootless container";
    home.sh("$corten run $id")?.fails_with(words)?;
    nothing_left(runtime)
}

fn without_user_namespace(config: &mut Value) {
    remove(config, "/linux/namespaces", "type", "user");
    for maps in ["uidMappings", "gidMappings"] {
        config["linux"][maps] = Value::Null;
    }
}

fn bundle_without_a_user_namespace_is_refused(runtime: &Runtime) -> TestResult {
    let home = Home::new(runtime, Mode::Alone, &["true"], without_user_namespace)?;
    home.sh("$corten run $id")?.fails_with("rootless container requires user namespaces")?;
    nothing_left(runtime)
}

/// As Podman calls runtimes: it has made the user namespace. In this one nobody can leave a group.
fn root_of_a_users_namespace_needs_none_in_the_bundle(runtime: &Runtime) -> TestResult {
    let mut home = Home::new(runtime, Mode::Alone, &["id"], without_user_namespace)?;
    home.user = format!("setpriv --reuid {ID} --regid {ID} --groups {ID},27");
    let seen = home.sh("unshare --map-root-user --mount $corten run $id")?.ok()?;
    ensure!(seen.stdout.starts_with("uid=0"), "{seen}");
    nothing_left(runtime)
}

fn new_user_namespace_in_one_with_a_joined_network(runtime: &Runtime) -> TestResult {
    let script = "readlink /proc/self/ns/net; cat /proc/self/uid_map";
    let home = Home::new(runtime, Mode::Alone, &["sh", "-c", script], |config| {
        map(config, &[[0, 0, 1]], &[[0, 0, 1]]);
        remove(config, "/linux/namespaces", "type", "network");
        let namespaces = config["linux"]["namespaces"].as_array_mut();
        namespaces.into_iter().for_each(|all| {
            all.push(json!({ "type": "network", "path": "/proc/self/ns/net" }));
        });
        // sysfs is of the network's user namespace.
        for mount in config["mounts"].as_array_mut().into_iter().flatten() {
            if mount["type"] == "sysfs" {
                *mount =
                    json!({ "destination": "/sys", "source": "/sys", "options": ["rbind", "ro"] });
            }
        }
    })?;
    let seen = home
        .sh("unshare --map-root-user --mount --net sh -ec \"readlink /proc/self/ns/net; $corten run $id\"")?
        .ok()?;
    let lines: Vec<_> = seen.stdout.lines().collect();
    ensure!(lines.len() == 3 && lines[0] == lines[1], "{seen}");
    nothing_left(runtime)
}

fn state_is_below_xdg_runtime_dir_and_kept(runtime: &Runtime) -> TestResult {
    let home = Home::new(runtime, Mode::Alone, &["true"], |_| ())?;
    let script =
        "$corten create $id; stat -c \"%a %U\" run/corten run/corten/$id; $corten delete $id";
    let seen = home.sh(script)?.ok()?;
    let modes: Vec<_> = seen.stdout.lines().filter_map(|line| line.split(' ').next()).collect();
    // The sticky bit: whoever cleans up lets it be (XDG Base Directory Specification).
    ensure_eq!(modes, ["1700", "700"]);
    nothing_left(runtime)
}

fn state_root_of_another_user_is_refused(runtime: &Runtime) -> TestResult {
    let home = Home::new(runtime, Mode::Alone, &["true"], |_| ())?;
    fs::create_dir(home.path.join("run/corten"))?;
    for command in ["run $id", "list", "state $id", "delete --force $id"] {
        home.sh(&format!("$corten {command}"))?.fails_with("not to this user")?;
    }
    nothing_left(runtime)
}

fn no_xdg_runtime_dir_is_explained(runtime: &Runtime) -> TestResult {
    let home = Home::new(runtime, Mode::Alone, &["true"], |_| ())?;
    home.sh("unset XDG_RUNTIME_DIR; $corten run $id")?.fails_with("XDG_RUNTIME_DIR is not set")?;
    nothing_left(runtime)
}

/// `vm.memfd_noexec` belongs to a pid namespace.
fn image_is_a_file_where_memfds_cannot_be_executed(runtime: &Runtime) -> TestResult {
    let mut home = Home::new(runtime, Mode::Alone, &["echo", "here"], |_| ())?;
    let start = format!(
        "; mount -t tmpfs -o mode=1777,noexec noexec /var/tmp; exec unshare --pid --fork --mount-proc sh -c \
         \"echo 2 > /proc/sys/vm/memfd_noexec; \\\"\\$@\\\"\" sh {}",
        home.user
    );
    home.user = start.trim_start_matches("; ").to_owned();
    // The command of the harness begins with `exec`: what comes before it is done before.
    if let Some((before, exec)) = start.rsplit_once("; exec ") {
        home.before += before;
        home.user = exec.to_owned();
    }
    let seen = home.sh("$corten run $id")?.ok()?;
    ensure_eq!(seen.stdout, "here\n");
    let at = home.path.join("run");
    home.before += &format!(
        "; mount -t tmpfs -o noexec,uid={ID},mode=700 noexec {}; \
         ! [ -d /run/user/{ID} ] || mount -t tmpfs -o noexec noexec /run/user/{ID}",
        at.display()
    );
    home.sh("$corten run $id")?.fails_with("vm.memfd_noexec=2")?;
    nothing_left(runtime)
}

fn user_namespaces_that_are_switched_off_are_explained(runtime: &Runtime) -> TestResult {
    let mut home = Home::new(runtime, Mode::Alone, &["true"], |config| {
        map(config, &[[0, 0, 1]], &[[0, 0, 1]]);
    })?;
    // The limit belongs to a user namespace; this one's is nobody else's.
    home.user += " unshare --map-root-user --mount sh -c \"echo 0 > /proc/sys/user/max_user_namespaces; \\\"\\$@\\\"\" sh";
    home.sh("$corten run $id")?.fails_with("user.max_user_namespaces is 0")?;
    nothing_left(runtime)
}

fn limited(config: &mut Value) {
    config["linux"]["resources"] = json!({
        "memory": { "limit": 48 << 20, "swap": 48 << 20 },
        "pids": { "limit": 20 },
    });
}

fn limits_without_delegation_are_an_error_that_says_so(runtime: &Runtime) -> TestResult {
    let home = Home::new(runtime, Mode::Alone, &["true"], |config| {
        // No controller is needed for it.
        config["linux"]["resources"] = json!({ "unified": { "cgroup.max.depth": "3" } });
    })?;
    let refused = home.sh("$corten run $id")?.fails()?;
    let runcs =
        "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";
    ensure!(refused.stderr.contains(runcs), "{refused}");
    ensure!(refused.stderr.contains("Delegate=yes"), "{refused}");
    nothing_left(runtime)
}

fn cgroup_that_is_delegated_is_used(runtime: &Runtime) -> TestResult {
    let script = "cat /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.max.depth";
    let mut home = Home::new(runtime, Mode::Alone, &["sh", "-c", script], |config| {
        remove(config, "/linux/namespaces", "type", "cgroup");
        config["linux"]["resources"] = json!({ "unified": { "cgroup.max.depth": "3" } });
    })?;
    // As systemd delegates: the directory and what moves processes; the caller is in a cgroup below.
    let top = format!("/sys/fs/cgroup/{}", home.id);
    home.before += &format!(
        "; mkdir -p {top}/own; echo $$ > {top}/own/cgroup.procs; \
         chown -R {ID} {top} {top}/cgroup.procs {top}/cgroup.subtree_control {top}/own"
    );
    let seen = home.sh("$corten run ${id}inner; $corten list");
    // Emptied by the end of the call.
    runtime.wait_until("the end of the call", || {
        fs::remove_dir(format!("{top}/own")).ok();
        Ok(fs::remove_dir(&top).is_ok() || !PathBuf::from(&top).exists())
    })?;
    let seen = seen?.ok()?;
    ensure!(seen.stdout.contains(&format!("0::/{0}/{0}inner\n", home.id)), "{seen}");
    nothing_left(runtime)
}

/// Below the systemd of the VM's user `lab`, and in a login session, whose cgroup is not below that.
const MANAGER: &[&str] = &["--user", "-M", "lab@.host"];
const SESSION: &[&str] =
    &["-p", "User=lab", "-p", "PAMName=login", "-E", "XDG_RUNTIME_DIR=/run/user/1000"];

/// Runs a script as `lab`, in a bundle of its own.
fn as_lab(
    runtime: &Runtime,
    how: &[&str],
    arguments: &[&str],
    change: impl FnOnce(&mut Value),
    script: &str,
) -> Result<String, Failed> {
    let home = Home::new(runtime, Mode::Helpers, arguments, change)?;
    let script = format!(
        "corten={}; id={}; cd {}\n{script}",
        runtime.program().display(),
        home.id,
        home.path.display()
    );
    let output = Command::new("systemd-run")
        .args(["--quiet", "--pipe", "--wait", "--collect"])
        .args(how)
        .args(["sh", "-exc", &script])
        .output()?;
    let (seen, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{seen}\n{errors}");
    Ok(seen.into_owned() + &errors)
}

fn session_without_delegation_runs_without_a_cgroup(runtime: &Runtime) -> TestResult {
    let script = "$corten create $id; cat /proc/self/cgroup; cat /proc/$($corten ps -f json $id | tr -d \"[]\\n\")/cgroup; \
        $corten start $id; $corten exec $id echo executed; $corten kill --all $id TERM; $corten delete --force $id";
    let seen = as_lab(runtime, SESSION, &["sleep", "1000"], |_| (), script)?;
    let cgroups: Vec<_> = seen.lines().filter(|line| line.starts_with("0::")).collect();
    ensure!(cgroups.len() == 2 && cgroups[0] == cgroups[1], "{seen}");
    ensure!(cgroups[0].contains("session-") && seen.contains("executed"), "{seen}");
    let seen = as_lab(runtime, SESSION, &["true"], limited, "! $corten run $id")?;
    ensure!(seen.contains("Delegate=yes"), "{seen}");
    nothing_left(runtime)
}

/// What the limits of [`limited`] look like from inside.
const TRY: &[&str] = &[
    "sh",
    "-c",
    "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; \
     (head -c 200m /dev/zero | tail | wc -c) || :; \
     grep oom_kill /sys/fs/cgroup/memory.events; \
     (for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do sleep 3 & done) 2>&1 | head -n 1; \
     grep max /sys/fs/cgroup/pids.events",
];

fn check_limits(seen: &str) -> TestResult {
    ensure!(seen.contains("50331648\n20\n"), "{seen}");
    ensure!(!seen.contains("oom_kill 0"), "memory has no limit: {seen}");
    ensure!(
        seen.contains("can't fork") && !seen.contains("max 0\n"),
        "processes have no limit: {seen}"
    );
    Ok(())
}

fn limits_hold_in_a_cgroup_of_the_users_systemd(runtime: &Runtime) -> TestResult {
    let seen = as_lab(runtime, MANAGER, TRY, limited, "$corten run $id")?;
    check_limits(&seen)?;
    nothing_left(runtime)
}

fn limits_hold_in_a_scope_of_the_users_systemd(runtime: &Runtime) -> TestResult {
    for how in [MANAGER, SESSION] {
        let seen = as_lab(runtime, how, TRY, limited, "$corten --systemd-cgroup run $id")?;
        check_limits(&seen)?;
    }
    nothing_left(runtime)
}

/// No user may move a process from the cgroup of a session to that of a scope; process 1 does it for the user's systemd.
fn exec_from_a_session_is_moved_by_the_users_systemd(runtime: &Runtime) -> TestResult {
    for how in [MANAGER, SESSION] {
        let script = "$corten --systemd-cgroup create $id; $corten start $id; \
            $corten exec $id cat /proc/self/cgroup; $corten exec --user 5:6 $id sh -c \"id -u; cat /proc/self/cgroup\"; \
            $corten delete --force $id";
        let seen = as_lab(
            runtime,
            how,
            &["sleep", "1000"],
            |config| remove(config, "/linux/namespaces", "type", "cgroup"),
            script,
        )?;
        let cgroups: Vec<_> = seen.lines().filter(|line| line.starts_with("0::")).collect();
        ensure!(cgroups.len() == 2 && seen.contains("5\n"), "{seen}");
        for cgroup in cgroups {
            ensure!(cgroup.contains("/user@1000.service/user.slice/corten-"), "{seen}");
        }
    }
    nothing_left(runtime)
}
