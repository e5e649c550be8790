//! A user namespace of the container's own: whose ids it has, what belongs to them, and what is refused.
//!
//! Runs in: any process.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::{add, map, remove};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, Namespace, NotOn, Root};
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
    devices_are_those_of_the_host: [Root],
    groups_are_those_given: [Root],
    ids_that_are_not_mapped_are_refused: [Root, Corten("before anything is made")],
    mappings_without_the_namespace_are_refused: [Root],
    namespace_without_mappings_is_refused: [Root, NotOn("crun", "maps what /etc/subuid has")],
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
