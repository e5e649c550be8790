//! A user namespace of the container's own: whose ids it has, what belongs to them, and what is refused.
//!
//! Runs in: any process.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::bundle::{add, map, remove};
use crate::console::Created;
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, Namespace, NotOn, PureCgroup2, Root, Terminal};
use crate::inside::{field, refuses, sh};
use crate::runtime::Runtime;

const NO_ROOT_NO_RUN: &str = "becomes uid 0 in any case";

table! {
    maps_are_those_given: [Root],
    maps_that_leave_root_out_are_taken: [Root, NotOn("crun", NO_ROOT_NO_RUN), NotOn("runc", NO_ROOT_NO_RUN)],
    maps_of_the_hosts_root_are_taken: [Root],
    namespaces_of_other_kinds_belong_to_it: [Root],
    time_namespace_belongs_to_it: [Root, Namespace("time"), Corten("runc 1.1 and crun 1.8 have no time namespace here")],
    files_that_are_made_belong_to_its_root: [Root],
    devices_are_those_of_the_host: [Root, NotOn("runc", "binds them with the flags that they have on the host")],
    groups_are_those_given: [Root],
    ids_that_are_not_mapped_are_refused: [Root, Corten("before anything is made")],
    mappings_without_the_namespace_are_refused: [Root, Corten("the others leave them out, without a word")],
    namespace_with_half_of_the_mappings_is_refused: [Root, NotOn("crun", "maps what /etc/subgid has"), NotOn("runc", "1.1 says it of the root; 1.2 in these words")],
    namespace_of_the_path_is_joined: [Root, NotOn("runc", "1.1 wants mappings; 1.2 does not")],
    namespace_of_the_path_with_its_mappings_is_joined: [Root, NotOn("runc", "wants them in the same order")],
    namespace_of_the_path_with_other_mappings_is_refused: [Root, NotOn("crun", "does not compare them"), NotOn("runc", "1.1 does not; 1.2 does")],
    namespaces_of_the_host_are_joined_beside_it: [Root, NotOn("crun", "mounts no procfs then"), NotOn("runc", "1.1 joins the user namespace first")],
    namespaces_of_a_pod_are_joined: [Root],
    sysfs_without_a_network_of_its_own_is_the_hosts: [Root, NotOn("runc", "the kernel permits no sysfs there; crun binds that of the host, as we do")],
    sources_that_its_root_cannot_reach_are_mounted: [Root, NotOn("crun", "1.8 says EACCES of one that is missing there")],
    root_that_its_root_cannot_reach_is_mounted: [Root, NotOn("crun", "1.8 looks for it as the container's root"), NotOn("runc", "1.1 looks for it as the container's root")],
    source_that_its_root_cannot_reach_keeps_its_flags: [Root, NotOn("crun", "1.8 clears them")],
    flags_that_the_host_has_locked_stay: [Root, NotOn("crun", "1.8 opens the source outside: nothing is locked"), NotOn("runc", "1.1 refuses the mount")],
    flags_that_the_host_has_locked_are_not_cleared_by_a_word: [Root, NotOn("crun", "1.8 keeps them without a word"), NotOn("runc", "1.1 keeps them without a word; 1.2 refuses")],
    exec_is_in_it_with_its_ids: [Root],
    terminal_belongs_to_its_user: [Root, Terminal],
    filter_is_loaded_in_it: [Root],
    cgroup_is_delegated_to_its_root: [Root, PureCgroup2, NotOn("runc", "with systemd only")],
    namespace_without_mappings_is_refused: [Root, NotOn("crun", "maps what /etc/subuid has"), NotOn("runc", "1.1 has other words")],
}

const UIDS: &[[u32; 3]] = &[[0, 100_000, 1000], [1000, 300_000, 5]];
const GIDS: &[[u32; 3]] = &[[0, 200_000, 65_536]];

fn mapped(config: &mut Value) {
    map(config, UIDS, GIDS);
}

/// A file of maps as the kernel shows it, without the blanks.
fn ranges(text: &str) -> Vec<Vec<u32>> {
    let words = |line: &str| line.split_whitespace().filter_map(|it| it.parse().ok()).collect();
    text.lines().map(words).collect()
}

fn maps_are_those_given(runtime: &Runtime) -> TestResult {
    let seen = sh(runtime, "cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g", mapped)?;
    let expected: Vec<Vec<u32>> =
        UIDS.iter().chain(GIDS).chain(&[[0; 3]]).map(|range| range.to_vec()).collect();
    let seen = ranges(&seen);
    ensure_eq!(seen.get(..3), expected.get(..3));
    ensure_eq!(seen.get(3..), Some(&[vec![0], vec![0]][..]));
    Ok(())
}

fn maps_that_leave_root_out_are_taken(runtime: &Runtime) -> TestResult {
    let seen = sh(
        runtime,
        "id -u; id -g; cat /proc/self/uid_map; echo x >/tmp/made; stat -c %u /tmp/made /dev/shm",
        |config| {
            map(config, &[[1000, 100_000, 10]], &[[50, 200_000, 10]]);
            config["process"]["user"] = json!({ "uid": 1001, "gid": 51 });
            // Nobody has gid 5.
            for mount in config["mounts"].as_array_mut().into_iter().flatten() {
                if let Some(options) = mount["options"].as_array_mut() {
                    options.retain(|option| option != "gid=5");
                }
            }
        },
    )?;
    ensure_eq!(
        seen.split_whitespace().collect::<Vec<_>>(),
        ["1001", "51", "1000", "100000", "10", "1001", "1001"]
    );
    Ok(())
}

fn maps_of_the_hosts_root_are_taken(runtime: &Runtime) -> TestResult {
    let seen =
        sh(runtime, "readlink /proc/self/ns/user; id -u; cat /proc/self/uid_map", |config| {
            map(config, &[[0, 0, 10]], &[[0, 0, 10]]);
        })?;
    let own = fs::read_link("/proc/self/ns/user")?;
    ensure!(!seen.starts_with(&*own.to_string_lossy()), "the host's: {seen}");
    let seen = ranges(&seen);
    ensure_eq!(seen.get(1..), Some(&[vec![0], vec![0, 0, 10]][..]));
    Ok(())
}

/// What only its owner may do, or what shows whose it is.
fn namespaces_of_other_kinds_belong_to_it(runtime: &Runtime) -> TestResult {
    let script = "hostname changed && hostname; stat -c %u /dev/mqueue /proc/net/ /sys/class/net/lo/; \
        ifconfig lo mtu 1234 && cat /sys/class/net/lo/mtu; mkdir /tmp/m && mount -t tmpfs t /tmp/m && stat -c %u /tmp/m; \
        grep -c . /proc/self/cgroup";
    let seen = sh(runtime, script, |config| {
        mapped(config);
        capabilities(config, &["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]);
    })?;
    let mut words = seen.split_whitespace();
    ensure_eq!(words.next(), Some("changed"));
    ensure_eq!(words.by_ref().take(3).collect::<Vec<_>>(), ["0", "0", "0"]);
    ensure_eq!(words.by_ref().take(2).collect::<Vec<_>>(), ["1234", "0"]);
    Ok(())
}

fn capabilities(config: &mut Value, names: &[&str]) {
    config["process"]["capabilities"] =
        json!({ "bounding": names, "effective": names, "permitted": names });
}

fn time_namespace_belongs_to_it(runtime: &Runtime) -> TestResult {
    let seen = sh(
        runtime,
        "cat /proc/self/timens_offsets; readlink /proc/self/ns/time; date -s 2000-01-01 2>&1; id -u",
        |config| {
            mapped(config);
            add(config, "/linux/namespaces", json!({ "type": "time" }));
            config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 604_800 } });
        },
    )?;
    ensure!(
        seen.split_whitespace().any(|word| word == "604800"),
        "the clock is not shifted: {seen}"
    );
    let own = fs::read_link("/proc/self/ns/time")?;
    ensure!(!seen.contains(&*own.to_string_lossy()), "the host's: {seen}");
    Ok(())
}

fn files_that_are_made_belong_to_its_root(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(
        &["sh", "-c", "stat -c %u:%g /dev /dev/pts /dev/shm /work /proc/self/ /new"],
        |config| {
            mapped(config);
            config["process"]["cwd"] = json!("/work");
            add(
                config,
                "/mounts",
                json!({ "destination": "/new", "type": "tmpfs", "source": "t" }),
            );
        },
    )?;
    let seen = runtime.run(&bundle)?.ok()?.stdout;
    ensure_eq!(seen.lines().collect::<Vec<_>>(), ["0:0"; 6]);
    let made = fs::metadata(bundle.in_rootfs("work"))?;
    ensure_eq!(std::os::unix::fs::MetadataExt::uid(&made), 100_000);
    Ok(())
}

fn devices_are_those_of_the_host(runtime: &Runtime) -> TestResult {
    let script = "echo x >/dev/null && head -c 1 /dev/zero | wc -c; stat -c '%t:%T' /dev/null /dev/full /dev/tty; \
        test -c /dev/ptmx && echo ptmx; grep -c ' /dev/null .*nosuid,noexec' /proc/self/mountinfo";
    let seen = sh(runtime, script, mapped)?;
    ensure_eq!(
        seen.split_whitespace().collect::<Vec<_>>(),
        ["1", "1:3", "1:7", "5:0", "ptmx", "1"]
    );
    Ok(())
}

fn groups_are_those_given(runtime: &Runtime) -> TestResult {
    let status = sh(runtime, "cat /proc/self/status", |config| {
        mapped(config);
        config["process"]["user"] = json!({ "uid": 1004, "gid": 7, "additionalGids": [9, 65_535] });
    })?;
    ensure_eq!(field(&status, "Uid")?, "1004\t1004\t1004\t1004");
    let mut groups: Vec<_> = field(&status, "Groups")?.split_whitespace().collect();
    groups.retain(|group| *group != "7");
    ensure_eq!(groups, ["9", "65535"]);
    Ok(())
}

fn ids_that_are_not_mapped_are_refused(runtime: &Runtime) -> TestResult {
    for (user, pointer) in [
        (
            json!({ "uid": 1005, "gid": 0 }),
            "/process/user/uid: cannot setuid to unmapped uid 1005 in user namespace",
        ),
        (
            json!({ "uid": 0, "gid": 65_536 }),
            "/process/user/gid: cannot setgid to unmapped gid 65536 in user namespace",
        ),
        (
            json!({ "uid": 0, "gid": 0, "additionalGids": [1, 70_000] }),
            "/process/user/additionalGids/1",
        ),
    ] {
        refuses(runtime, &[pointer], |config| {
            mapped(config);
            config["process"]["user"] = user;
        })?;
    }
    Ok(())
}

fn mappings_without_the_namespace_are_refused(runtime: &Runtime) -> TestResult {
    refuses(runtime, &["user namespace"], |config| {
        mapped(config);
        remove(config, "/linux/namespaces", "type", "user");
    })
}

fn namespace_without_mappings_is_refused(runtime: &Runtime) -> TestResult {
    refuses(runtime, &["user namespaces enabled"], |config| map(config, &[], &[]))
}

fn namespace_with_half_of_the_mappings_is_refused(runtime: &Runtime) -> TestResult {
    refuses(runtime, &["user namespaces enabled, but no gid mappings found"], |config| {
        map(config, UIDS, &[]);
    })
}

/// A container in a user namespace of its own that waits; its pid.
fn holder(runtime: &Runtime) -> Result<i32, Failed> {
    let id = runtime.new_id();
    runtime.create(&runtime.bundle_with(&["sleep", "1000"], mapped)?, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    runtime.pid(&id)
}

/// Joins these of process `pid`; kinds as config.json has them.
fn join(config: &mut Value, pid: i32, kinds: &[(&str, &str)]) {
    for (kind, file) in kinds {
        remove(config, "/linux/namespaces", "type", kind);
        let path = format!("/proc/{pid}/ns/{file}");
        add(config, "/linux/namespaces", json!({ "type": kind, "path": path }));
    }
}

fn namespace_of_the_path_is_joined(runtime: &Runtime) -> TestResult {
    let pid = holder(runtime)?;
    let seen = sh(
        runtime,
        "readlink /proc/self/ns/user; id -u; stat -c %u /dev/shm /dev/mqueue",
        |config| {
            mapped(config);
            config["linux"]["uidMappings"] = Value::Null;
            config["linux"]["gidMappings"] = Value::Null;
            join(config, pid, &[("user", "user")]);
        },
    )?;
    let namespace = fs::read_link(format!("/proc/{pid}/ns/user"))?;
    let expected = [&*namespace.to_string_lossy(), "0", "0", "0"];
    ensure_eq!(seen.split_whitespace().collect::<Vec<_>>(), expected);
    Ok(())
}

fn namespace_of_the_path_with_its_mappings_is_joined(runtime: &Runtime) -> TestResult {
    let pid = holder(runtime)?;
    let seen = sh(runtime, "readlink /proc/self/ns/user; id -u", |config| {
        mapped(config);
        config["process"]["user"] = json!({ "uid": 1004, "gid": 3 });
        // In another order.
        config["linux"]["uidMappings"].as_array_mut().into_iter().for_each(|maps| maps.reverse());
        join(config, pid, &[("user", "user")]);
    })?;
    let namespace = fs::read_link(format!("/proc/{pid}/ns/user"))?;
    ensure_eq!(
        seen.split_whitespace().collect::<Vec<_>>(),
        [&*namespace.to_string_lossy(), "1004"]
    );
    Ok(())
}

fn namespace_of_the_path_with_other_mappings_is_refused(runtime: &Runtime) -> TestResult {
    let pid = holder(runtime)?;
    let bundle = runtime.bundle_with(&["true"], |config| {
        map(config, UIDS, &[[0, 200_001, 65_536]]);
        join(config, pid, &[("user", "user")]);
    })?;
    let text = "/linux/gidMappings: user namespaces enabled, but both namespace path and non-matching mapping specified";
    runtime.create(&bundle, &runtime.new_id())?.fails_with(text)?;
    ensure_eq!(runtime.containers().len(), 1);
    Ok(())
}

/// A network that belongs to the host's user namespace, and a new or a joined one of the container's own.
fn namespaces_of_the_host_are_joined_beside_it(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    runtime.create(&runtime.bundle(&["sleep", "1000"])?, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    let (host, own) = (runtime.pid(&id)?, holder(runtime)?);
    let network = fs::read_link(format!("/proc/{host}/ns/net"))?;
    for joins_user in [false, true] {
        let seen = sh(
            runtime,
            "readlink /proc/self/ns/net; id -u; echo x >/tmp/made; hostname",
            |config| {
                mapped(config);
                remove(config, "/mounts", "type", "sysfs");
                remove(config, "/mounts", "type", "cgroup");
                join(config, host, &[("network", "net"), ("uts", "uts")]);
                config["hostname"] = Value::Null;
                if joins_user {
                    join(config, own, &[("user", "user")]);
                }
            },
        )?;
        ensure_eq!(
            seen.split_whitespace().collect::<Vec<_>>(),
            [&*network.to_string_lossy(), "0", "corten"]
        );
    }
    Ok(())
}

fn namespaces_of_a_pod_are_joined(runtime: &Runtime) -> TestResult {
    let pid = holder(runtime)?;
    let kinds =
        [("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")];
    let script = "for it in user net ipc uts pid; do readlink /proc/self/ns/$it; done; id -u; stat -c %u /dev/mqueue /sys/class/net/lo/";
    let seen = sh(runtime, script, |config| {
        mapped(config);
        config["hostname"] = Value::Null;
        join(config, pid, &kinds);
    })?;
    let mut expected = Vec::new();
    for (_, file) in kinds {
        expected
            .push(fs::read_link(format!("/proc/{pid}/ns/{file}"))?.to_string_lossy().into_owned());
    }
    expected.extend(["0", "0", "0"].map(str::to_owned));
    ensure_eq!(seen.split_whitespace().collect::<Vec<_>>(), expected);
    Ok(())
}

fn sysfs_without_a_network_of_its_own_is_the_hosts(runtime: &Runtime) -> TestResult {
    let seen = sh(
        runtime,
        "ls /sys/kernel >/dev/null && grep ' /sys ' /proc/self/mountinfo; id -u",
        |config| {
            mapped(config);
            remove(config, "/linux/namespaces", "type", "network");
        },
    )?;
    ensure!(seen.contains(" ro,") && seen.contains("sysfs"), "no read-only sysfs: {seen}");
    Ok(())
}

/// Below a directory that only the host's root may search.
fn hidden(runtime: &Runtime) -> Result<PathBuf, Failed> {
    let hidden = runtime.directory().join("hidden");
    fs::create_dir_all(hidden.join("volume/below"))?;
    fs::write(hidden.join("volume/file"), "found\n")?;
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o700))?;
    Ok(hidden)
}

fn sources_that_its_root_cannot_reach_are_mounted(runtime: &Runtime) -> TestResult {
    let volume = hidden(runtime)?.join("volume");
    let seen = sh(runtime, "cat /a/file /b /c/file; test -d /c/below && echo below", |config| {
        mapped(config);
        for (target, source, option) in [
            ("/a", volume.clone(), "bind"),
            ("/b", volume.join("file"), "bind"),
            ("/c", volume.clone(), "rbind"),
        ] {
            add(
                config,
                "/mounts",
                json!({ "destination": target, "source": source, "options": [option, "ro"] }),
            );
        }
    })?;
    ensure_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["found", "found", "found", "below"]);
    let pointer = if runtime.is("corten") { "/mounts/7: " } else { "" };
    refuses(runtime, &[pointer, "o such file or directory"], |config| {
        mapped(config);
        add(
            config,
            "/mounts",
            json!({ "destination": "/a", "source": volume.join("missing"), "options": ["bind"] }),
        );
    })
}

fn root_that_its_root_cannot_reach_is_mounted(runtime: &Runtime) -> TestResult {
    let hidden = hidden(runtime)?;
    let bundle = runtime.bundle_with(&["sh", "-c", "id -u; ls -d /bin"], mapped)?;
    fs::rename(bundle.path().join("rootfs"), hidden.join("rootfs"))?;
    let mut bundle = bundle;
    bundle.edit(|config| config["root"]["path"] = json!(hidden.join("rootfs")))?;
    let seen = runtime.run(&bundle)?.ok()?.stdout;
    ensure_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["0", "/bin"]);
    Ok(())
}

/// T-22: what the host has restricted stays so, and cannot be undone inside.
fn source_that_its_root_cannot_reach_keeps_its_flags(runtime: &Runtime) -> TestResult {
    let volume = hidden(runtime)?.join("volume");
    let mounted = Mounted::new(&volume, "ro,nosuid,nodev,noexec")?;
    let script = "grep ' /v ' /proc/self/mountinfo; mount -o remount,bind,rw,suid,dev,exec /v 2>&1; touch /v/x 2>&1; true";
    let seen = sh(runtime, script, |config| {
        mapped(config);
        capabilities(config, &["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
        add(
            config,
            "/mounts",
            json!({ "destination": "/v", "source": volume, "options": ["bind"] }),
        );
    })?;
    drop(mounted);
    ensure!(seen.contains("ro,nosuid,nodev,noexec"), "the flags are lost: {seen}");
    ensure!(
        seen.contains("ermission denied") || seen.contains("not permitted"),
        "remounted: {seen}"
    );
    ensure!(seen.contains("Read-only file system"), "written to: {seen}");
    Ok(())
}

/// T-22: of a source that the container's root can reach.
fn flags_that_the_host_has_locked_stay(runtime: &Runtime) -> TestResult {
    let volume = runtime.directory().join("volume");
    fs::create_dir(&volume)?;
    let mounted = Mounted::new(&volume, "ro,nosuid,nodev,noexec")?;
    let script =
        "grep ' /v ' /proc/self/mountinfo; mount -o remount,bind,rw,suid,dev,exec /v 2>&1; true";
    for words in [&["bind"][..], &["rbind"], &["bind", "nosuid"]] {
        let seen = sh(runtime, script, |config| {
            mapped(config);
            capabilities(config, &["CAP_SYS_ADMIN"]);
            let mount = json!({ "destination": "/v", "source": volume, "options": words });
            add(config, "/mounts", mount);
        })?;
        ensure!(seen.contains("ro,nosuid,nodev,noexec"), "{words:?}: flags are lost: {seen}");
        let is_refused = seen.contains("ermission denied") || seen.contains("not permitted");
        ensure!(is_refused, "{words:?}: remounted: {seen}");
    }
    drop(mounted);
    Ok(())
}

fn flags_that_the_host_has_locked_are_not_cleared_by_a_word(runtime: &Runtime) -> TestResult {
    let volume = runtime.directory().join("volume");
    fs::create_dir(&volume)?;
    let mounted = Mounted::new(&volume, "ro,nosuid,nodev,noexec")?;
    for word in ["rw", "suid", "dev", "exec"] {
        let bundle = runtime.bundle_with(&["true"], |config| {
            mapped(config);
            let mount = json!({ "destination": "/v", "source": volume, "options": ["bind", word] });
            add(config, "/mounts", mount);
        })?;
        let created = runtime.create(&bundle, &runtime.new_id())?;
        created.fails_with("cannot clear locked flags")?;
    }
    drop(mounted);
    Ok(())
}

/// A tmpfs on the host, unmounted at the end.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: &Path, options: &str) -> Result<Self, Failed> {
        let done =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "t"]).arg(at).status()?;
        ensure!(done.success(), "mount: {done}");
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).status());
    }
}

fn exec_is_in_it_with_its_ids(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    runtime.create(&runtime.bundle_with(&["sleep", "1000"], mapped)?, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    let pid = runtime.pid(&id)?;
    let script = "readlink /proc/self/ns/user; id -u; id -g; echo x >/tmp/$(id -u) && stat -c %u /tmp/$(id -u)";
    for (user, expected) in [("0:0", ["0", "0", "0"]), ("1004:7", ["1004", "7", "1004"])] {
        let seen =
            runtime.command(["exec", "--user", user, &id, "sh", "-c", script]).output()?.ok()?;
        let namespace = fs::read_link(format!("/proc/{pid}/ns/user"))?;
        let mut expected = expected.to_vec();
        let namespace = namespace.to_string_lossy().into_owned();
        expected.insert(0, &namespace);
        ensure_eq!(seen.stdout.split_whitespace().collect::<Vec<_>>(), expected);
    }
    runtime.command(["exec", "--user", "1005", &id, "true"]).output()?.fails()?;
    Ok(())
}

fn terminal_belongs_to_its_user(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(
        &["sh", "-c", "stat -c %u /dev/console /proc/self/fd/0/; tty; id -u"],
        |config| {
            mapped(config);
            config["process"]["terminal"] = json!(true);
            config["process"]["user"] = json!({ "uid": 1003, "gid": 4 });
        },
    )?;
    let created = Created::new(runtime, &bundle)?;
    let seen = created.shows(runtime)?;
    let words: Vec<_> = seen.split_whitespace().collect();
    ensure!(words.contains(&"1003"), "not the user's: {seen}");
    ensure!(!words.contains(&"65534"), "nobody's: {seen}");
    Ok(())
}

fn filter_is_loaded_in_it(runtime: &Runtime) -> TestResult {
    for no_new_privileges in [false, true] {
        let status = sh(runtime, "cat /proc/self/status", |config| {
            mapped(config);
            config["process"]["user"] = json!({ "uid": 1003, "gid": 4, "additionalGids": [5] });
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
        })?;
        ensure_eq!(field(&status, "Seccomp")?, "2");
        ensure_eq!(field(&status, "Uid")?, "1003\t1003\t1003\t1003");
    }
    Ok(())
}

fn cgroup_is_delegated_to_its_root(runtime: &Runtime) -> TestResult {
    let seen = sh(
        runtime,
        "mkdir /sys/fs/cgroup/below && stat -c %u /sys/fs/cgroup /sys/fs/cgroup/cgroup.procs; rmdir /sys/fs/cgroup/below",
        |config| {
            mapped(config);
            remove(config, "/mounts", "type", "cgroup");
            add(
                config,
                "/mounts",
                json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"] }),
            );
        },
    )?;
    ensure_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["0", "0"]);
    Ok(())
}
