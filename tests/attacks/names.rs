//! Names, numbers and texts of the configuration and the command line that mean more than they should.
//!
//! Runs in: any process.

use std::fs;
use std::process::Command;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::attack::{Attack, attacks};
use crate::bundle::add;
use crate::harness::TestResult;
use crate::host::Need::Root;
use crate::outside::Outside;
use crate::runtime::Outcome;
use crate::sys;

attacks! {
    names_that_become_paths_do_not_lead_out: [Root],
    id_of_a_container_does_not_lead_out: [Root],
    ids_that_wrap_are_not_root: [Root],
    ids_of_exec_that_wrap_are_not_root: [Root],
    texts_with_nul_are_not_cut: [Root],
    lengths_that_wrap_do_not_make_other_properties: [Root],
}

/// T-14, runc #4103: values that become names of files in a directory.
fn names_that_become_paths_do_not_lead_out(attack: &Attack<'_>) -> TestResult {
    let outside = Outside::new(attack.runtime)?;
    let up = format!("{}made", outside.by_dotdot().join("").display());
    let naive = std::path::Path::new("/sys/fs/cgroup").join(&up);
    fs::create_dir(naive)?;
    attack.control("a join with the directory", outside.path.join("made").is_dir())?;
    fs::remove_dir(outside.path.join("made"))?;

    let file = format!("{}file", outside.by_dotdot().join("").display());
    let configs: Vec<(&str, Value)> = vec![
        ("/linux/cgroupsPath", json!(format!("/a/{up}"))),
        ("/linux/cgroupsPath", json!(up)),
        ("/linux/cgroupsPath", json!(format!("{}/../../{up}", attack.runtime.marker()))),
        ("/linux/cgroupsPath", json!("a\u{0}b")),
        ("/linux/resources/unified", json!({ (file.clone()): "1" })),
        ("/linux/resources/unified", json!({ "../cgroup.procs": "1" })),
        ("/linux/resources/unified", json!({ "memory.max\n": "1" })),
        (
            "/linux/resources/hugepageLimits",
            json!([{ "pageSize": format!("/{file}"), "limit": 1 }]),
        ),
        ("/linux/resources/hugepageLimits", json!([{ "pageSize": "../2MB", "limit": 1 }])),
        ("/linux/resources/rdma", json!({ "a\nb": { "hcaHandles": 1 } })),
        ("/linux/intelRdt", json!({ "closID": up })),
        ("/linux/netDevices", json!({ "../lo": {} })),
        ("/linux/sysctl", json!({ "net/../../../tmp": "1" })),
        ("/linux/sysctl", json!({ "net.ipv4.ip_default_ttl/../../../kernel/hostname": "x" })),
        ("/linux/sysctl", json!({ "kernel/../fs/mqueue/msg_max": "x" })),
        ("/hostname", json!("a\u{0}b")),
        ("/linux/mountLabel", json!("a\u{0}b")),
    ];
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname")?;
    for (pointer, value) in configs {
        let bundle = attack.runtime.bundle_with(&["true"], |config| {
            let (above, name) = pointer.rsplit_once('/').unwrap_or_default();
            if let Some(above) = config.pointer_mut(above) {
                above[name] = value.clone();
            }
        })?;
        let outcome = attack.runtime.run(&bundle)?;
        attack.attempt(&format!("{pointer} {value} is taken: {outcome}"), outcome.code() != 0)?;
        attack.attempt_by(outside.check())?;
    }
    attack.attempt(
        "the host has another name",
        fs::read_to_string("/proc/sys/kernel/hostname")? == hostname,
    )
}

/// T-14: the id of a container is a name in the state directory.
fn id_of_a_container_does_not_lead_out(attack: &Attack<'_>) -> TestResult {
    let victim = attack.runtime.directory().join("victim");
    let make = || -> Result<(), Failed> {
        fs::create_dir_all(&victim)?;
        Ok(fs::write(victim.join("state.json"), "{}")?)
    };
    make()?;
    fs::create_dir_all(attack.runtime.root())?;
    fs::remove_dir_all(attack.runtime.root().join("../victim"))?;
    attack.control("rm -r of a join with the directory", !victim.exists())?;
    make()?;
    let bundle = attack.runtime.bundle(&["true"])?;
    for id in
        ["../victim", "..", ".", "", "a/../../victim", "/etc", "a\nb", "-v", ".hidden/../../victim"]
    {
        for verb in ["create", "state", "start", "kill", "delete", "exec"] {
            let command = attack.runtime.command([verb]);
            let command = match verb {
                "create" => command.arg("--bundle").arg(bundle.path()).arg(id),
                "delete" => command.arg("--force").arg(id),
                "exec" => command.arg(id).arg("true"),
                _ => command.arg(id),
            };
            let outcome = command.output()?;
            // `delete --force` of what does not exist is no error.
            let refused = outcome.code() != 0 || (verb == "delete" && !id.contains("victim"));
            attack.attempt(&format!("{id:?} is taken: {outcome}"), refused)?;
            let kept = fs::read(victim.join("state.json")).is_ok_and(|text| text == b"{}");
            attack.attempt(&format!("{id:?} reaches a directory outside: {outcome}"), kept)?;
        }
    }
    Ok(())
}

/// The numbers of T-15, as they are in JSON, and the id that each may be.
const NUMBERS: &[(&str, Option<&str>)] = &[
    ("-1", None),
    ("2147483648", Some("2147483648")),
    ("4294967294", Some("4294967294")),
    ("4294967295", None),
    ("4294967296", None),
    ("4294968296", None),
    ("18446744073709551616", None),
    ("1.5", None),
    ("1e3", Some("1000")),
    ("\"1\"", None),
    ("true", None),
    ("[]", None),
];

/// A control for all: who sets the id 4294967295 stays what he was, and is told that it is set.
fn sets_the_id_that_means_no_change(attack: &Attack<'_>) -> TestResult {
    let set = std::thread::scope(|scope| {
        let set = || sys::set_uids(u32::MAX).is_ok() && rustix::process::getuid().is_root();
        scope.spawn(set).join()
    });
    attack.control("setresuid(4294967295)", set.is_ok_and(|set| set))
}

fn judge_id(
    attack: &Attack<'_>,
    what: &str,
    may_be: Option<&str>,
    outcome: &Outcome,
) -> TestResult {
    let is = outcome.stdout.trim();
    let right = outcome.code() != 0 && is.is_empty() || may_be.is_some_and(|id| id == is);
    attack.attempt(&format!("{what} is the id {is}: {outcome}"), right)
}

/// T-15, CVE-2024-40635, CVE-2026-46680: numbers that become 0, or no change, on their way to the kernel.
fn ids_that_wrap_are_not_root(attack: &Attack<'_>) -> TestResult {
    sets_the_id_that_means_no_change(attack)?;
    for (number, may_be) in NUMBERS {
        for (name, show) in [("uid", "-u"), ("gid", "-g"), ("additionalGids", "-G")] {
            let bundle = attack.runtime.bundle_with(&["id", show], |config| {
                let text = if name == "additionalGids" { "[\"NUMBER\"]" } else { "\"NUMBER\"" };
                let user = &mut config["process"]["user"];
                user["gid"] = json!(7);
                user[name] = serde_json::from_str(text).unwrap_or_default();
            })?;
            let text = bundle.config().to_string().replace("\"NUMBER\"", number);
            bundle.write_text(text.as_bytes())?;
            let outcome = attack.runtime.run(&bundle)?;
            let group = may_be.map(|id| {
                if name == "additionalGids" { format!("7 {id}") } else { id.to_string() }
            });
            judge_id(attack, &format!("{name} {number}"), group.as_deref(), &outcome)?;
        }
    }
    Ok(())
}

/// T-15, CVE-2026-30892: what is no id is 0 for who does not look.
fn ids_of_exec_that_wrap_are_not_root(attack: &Attack<'_>) -> TestResult {
    sets_the_id_that_means_no_change(attack)?;
    let (id, bundle) = (
        attack.runtime.new_id(),
        attack.runtime.bundle_with(&["sleep", "1000"], |config| {
            config["process"]["user"]["uid"] = json!(1000);
        })?,
    );
    attack.runtime.create(&bundle, &id)?.ok()?;
    attack.runtime.start(&id)?.ok()?;
    for user in [
        "-1",
        "4294967295",
        "4294967296",
        "18446744073709551616",
        "1.5",
        "1e3",
        "0x1",
        " 1",
        "1 ",
        ":",
        ":1",
        "1:",
        "1:-1",
        "1:4294967295",
        "root",
        "user",
        "1:root",
        "1:2:3",
        "1,2",
        "\u{661}",
    ] {
        let exec = attack.runtime.command(["exec"]).arg("--user").arg(user).arg(&id);
        let outcome = exec.arg("id").arg("-u").output()?;
        judge_id(attack, &format!("--user {user:?}"), None, &outcome)?;
    }
    for (user, is) in [("1", "1"), ("", "1000"), ("+1", "1"), ("4294967294:5", "4294967294")] {
        let exec = attack.runtime.command(["exec", "--user", user, &id, "id", "-u"]);
        judge_id(attack, user, Some(is), &exec.output()?)?;
    }
    Ok(())
}

/// T-14: a text ends for the kernel where a NUL is.
fn texts_with_nul_are_not_cut(attack: &Attack<'_>) -> TestResult {
    let text = "safe\0/../evil";
    let cut = text.split('\0').next().unwrap_or_default();
    let output = Command::new("echo").arg(cut).output()?;
    attack.control("what a C string takes of it", output.stdout == b"safe\n")?;
    type Change = fn(&mut Value, &str);
    let places: [(&str, Change); 9] = [
        ("args", |config, text| add(config, "/process/args", json!(text))),
        ("env", |config, text| add(config, "/process/env", json!(format!("A={text}")))),
        ("cwd", |config, text| config["process"]["cwd"] = json!(format!("/{text}"))),
        ("hostname", |config, text| config["hostname"] = json!(text)),
        ("root", |config, text| config["root"]["path"] = json!(format!("rootfs\0{text}"))),
        ("mask", |config, text| add(config, "/linux/maskedPaths", json!(format!("/{text}")))),
        ("destination", |config, text| {
            let mount =
                json!({ "destination": format!("/{text}"), "type": "tmpfs", "source": "tmpfs" });
            add(config, "/mounts", mount);
        }),
        ("device", |config, text| {
            let device =
                json!({ "path": format!("/dev/{text}"), "type": "c", "major": 1, "minor": 3 });
            add(config, "/linux/devices", device);
        }),
        ("hook", |config, text| {
            add(config, "/hooks/createRuntime", json!({ "path": format!("/bin/true\0{text}") }));
        }),
    ];
    for (place, change) in places {
        let bundle = attack.runtime.bundle_with(&["echo", "ran"], |config| change(config, text))?;
        let outcome = attack.runtime.run(&bundle)?;
        attack.attempt(
            &format!("{place}: {outcome}"),
            outcome.code() != 0 && outcome.stdout.is_empty(),
        )?;
    }
    Ok(())
}

/// Records of a length in 16 bits and a text, as CVE-2021-43784 had them.
fn naive_record(text: &[u8]) -> Vec<u8> {
    let [low, high, ..] = text.len().to_le_bytes();
    [&[low, high], text].concat()
}

fn naive_first(record: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = record.split_at(2);
    let length = usize::from(length[0]) | usize::from(length[1]) << 8;
    rest.split_at(length.min(rest.len()))
}

/// T-20, CVE-2021-43784: a text of 65536 bytes and more, whose length wraps on its way to the stage inside, where what is
/// left over is read as other properties.
fn lengths_that_wrap_do_not_make_other_properties(attack: &Attack<'_>) -> TestResult {
    let evil = naive_record(b"evil");
    let long = [evil.clone(), vec![b'x'; 65536 - evil.len()]].concat();
    let record = naive_record(&long);
    let (first, rest) = naive_first(&record);
    let (second, _) = naive_first(rest);
    attack.control("a length of 16 bits", first.is_empty() && second == b"evil")?;

    for length in [65535, 65536, 65537, 65536 + 4, 131_072] {
        let value = "x".repeat(length);
        let bundle = attack.runtime.bundle_with(
            &["sh", "-c", "echo ${#LONG} ${#1} $2", "sh", &value, "end"],
            |config| {
                if length < 131_000 {
                    add(config, "/process/env", json!(format!("LONG={value}")));
                }
            },
        )?;
        let outcome = attack.runtime.run(&bundle)?;
        let (in_env, whole) = (if length < 131_000 { length } else { 0 }, outcome.code() == 0);
        let right = !whole || outcome.stdout == format!("{in_env} {length} end\n");
        attack.attempt(&outcome.stdout, right)?;
        // Whatever the paths are, they are too long for the kernel; of many small texts none may be lost.
        let bundle = attack.runtime.bundle_with(&["true"], |config| {
            config["process"]["cwd"] = json!(format!("/{value}"));
        })?;
        let outcome = attack.runtime.run(&bundle)?;
        attack.attempt(&outcome.stderr, outcome.code() != 0 && outcome.code() < 128)?;
    }
    let bundle = attack.runtime.bundle_with(&["env"], |config| {
        for number in 0..65540 {
            add(config, "/process/env", json!(format!("V{number}={number}")));
        }
    })?;
    let outcome = attack.runtime.run(&bundle)?;
    let count = outcome.stdout.lines().filter(|line| line.starts_with('V')).count();
    let whole = count == 65540 && outcome.stdout.contains("\nV65536=65536\n");
    attack.attempt(&format!("{count} of 65540 variables"), outcome.code() != 0 || whole)
}
