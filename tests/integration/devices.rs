//! Device nodes: those of every container, `linux.devices`, and the rules of `linux.resources.devices`.
//!
//! Runs in: any process.

use std::fs;
use std::os::unix::fs::symlink;

use libtest_mimic::Failed;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use serde_json::{Value, json};

use crate::bundle::{self, add};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, PureCgroup2, Root};
use crate::inside::{bind, refusal, refuses, sh, tmpfs};
use crate::runtime::Runtime;

const MEMLOCK: &str =
    "raises RLIMIT_MEMLOCK for any rule, which needs CAP_SYS_RESOURCE and kernels before 5.11";

table! {
    default_devices_are_there: [Root],
    default_symlinks_are_there: [Root],
    default_devices_work: [Root],
    console_is_not_there_without_a_terminal: [Root],
    default_devices_are_made_in_an_image_without_dev: [Root, NotOn("crun", "does not make /dev; runc does")],
    bind_of_the_hosts_dev_is_left_alone: [Root],
    devices_are_made_as_given: [Root],
    device_without_a_mode_is_0666: [Root],
    device_in_a_new_directory_is_made: [Root],
    device_may_replace_a_default_one: [Root, NotOn("crun", "1.8 makes the default one first and keeps it")],
    device_of_unknown_type_is_refused: [Root, NotOn("crun", "takes it for a character device")],
    device_without_numbers_is_refused: [Root, Corten("config-linux.md: REQUIRED unless type is p; the others make 0:0")],
    device_on_a_readonly_root_is_made: [Root],
    rules_deny_what_they_do_not_allow: [Root, PureCgroup2, NotOn("crun", MEMLOCK)],
    rules_allow_by_number_and_access: [Root, PureCgroup2, NotOn("crun", MEMLOCK)],
    rules_of_which_the_last_counts: [Root, PureCgroup2, NotOn("crun", MEMLOCK), NotOn("runc", "keeps to what v1 could say, and refuses")],
    rules_with_wildcards_hold: [Root, PureCgroup2, NotOn("crun", MEMLOCK)],
    rules_let_default_devices_be: [Root, PureCgroup2, NotOn("crun", MEMLOCK)],
    rules_with_letters_that_are_none_are_refused: [Root, Corten("crun and runc 1.1 take them for none")],
}

const STAT: &str = "stat -c '%n %F %t:%T %a %u:%g'";

fn default_devices_are_there(runtime: &Runtime) -> TestResult {
    let script = format!("cd /dev; {STAT} null zero full random urandom tty");
    let seen = sh(runtime, &script, |_| {})?;
    let expected = "null character special file 1:3 666 0:0\nzero character special file 1:5 666 0:0\n\
        full character special file 1:7 666 0:0\nrandom character special file 1:8 666 0:0\n\
        urandom character special file 1:9 666 0:0\ntty character special file 5:0 666 0:0\n";
    ensure_eq!(seen, expected);
    Ok(())
}

fn default_symlinks_are_there(runtime: &Runtime) -> TestResult {
    let seen =
        sh(runtime, "cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done", |_| {})?;
    ensure_eq!(
        seen,
        "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n"
    );
    Ok(())
}

fn default_devices_work(runtime: &Runtime) -> TestResult {
    let script = "head -c 5 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c; head -c 5 /dev/random | wc -c; \
        echo x >/dev/null && echo null; echo x 2>/dev/null >/dev/full || echo full; cat /dev/fd/0 </etc/group | head -n 1; \
        head -c 0 /dev/ptmx && echo ptmx";
    let seen = sh(runtime, script, |_| {})?;
    ensure_eq!(seen, "5\n5\n5\nnull\nfull\nroot:x:0:\nptmx\n");
    Ok(())
}

fn console_is_not_there_without_a_terminal(runtime: &Runtime) -> TestResult {
    sh(runtime, "[ ! -e /dev/console ]", |_| {})?;
    Ok(())
}

fn default_devices_are_made_in_an_image_without_dev(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(
        &["sh", "-c", "echo x >/dev/null; head -c 5 /dev/zero | wc -c; readlink /dev/fd"],
        |config| {
            for target in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
                bundle::remove(config, "/mounts", "destination", target);
            }
        },
    )?;
    fs::remove_dir(bundle.in_rootfs("dev"))?;
    // Twice: what the first has made in the image is no surprise for the second.
    for _ in 0..2 {
        ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "5\n/proc/self/fd\n");
    }
    Ok(())
}

fn bind_of_the_hosts_dev_is_left_alone(runtime: &Runtime) -> TestResult {
    // As privileged containers of Podman and toolbox have it: nothing may be made in what belongs to the host.
    let host = runtime.directory().join("dev");
    fs::create_dir(&host)?;
    symlink("of the host", host.join("ptmx"))?;
    // That of the process's stdin, which must be there.
    mknodat(
        CWD,
        host.join("null"),
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o666),
        makedev(1, 3),
    )?;
    let seen = sh(runtime, "ls /dev; readlink /dev/ptmx", |config| {
        for target in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
            bundle::remove(config, "/mounts", "destination", target);
        }
        bind(config, "/dev", &host, &["rbind"]);
        config["linux"]["maskedPaths"] = json!([]);
    })?;
    ensure_eq!(seen, "null\nptmx\nof the host\n");
    Ok(())
}

fn devices_are_made_as_given(runtime: &Runtime) -> TestResult {
    let seen = sh(runtime, &format!("cd /dev; {STAT} a b c d e"), |config| {
        config["linux"]["devices"] = json!([
            { "path": "/dev/a", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 11, "gid": 22 },
            { "path": "/dev/b", "type": "b", "major": 7, "minor": 300, "fileMode": 0o600 },
            { "path": "/dev/c", "type": "p", "fileMode": 0o622, "uid": 1 },
            { "path": "/dev/d", "type": "u", "major": 10, "minor": 229, "fileMode": 0o666 },
            // With the bits of its type, as Docker writes it.
            { "path": "/dev/e", "type": "c", "major": 1, "minor": 3, "fileMode": 0o20_444, "gid": 5 },
        ]);
    })?;
    let expected = "a character special file 1:5 640 11:22\nb block special file 7:12c 600 0:0\nc fifo 0:0 622 1:0\n\
        d character special file a:e5 666 0:0\ne character special file 1:3 444 0:5\n";
    ensure_eq!(seen, expected);
    Ok(())
}

fn device_without_a_mode_is_0666(runtime: &Runtime) -> TestResult {
    let seen = sh(runtime, "stat -c %a /dev/a", |config| {
        config["linux"]["devices"] =
            json!([{ "path": "/dev/a", "type": "c", "major": 1, "minor": 5 }]);
    })?;
    ensure_eq!(seen, "666\n");
    Ok(())
}

fn device_in_a_new_directory_is_made(runtime: &Runtime) -> TestResult {
    let seen =
        sh(runtime, "stat -c %t:%T /dev/new/dir/a /opt/b; stat -c %a /dev/new/dir", |config| {
            config["linux"]["devices"] = json!([
                { "path": "/dev/new/dir/a", "type": "c", "major": 1, "minor": 5 },
                { "path": "/opt/b", "type": "c", "major": 1, "minor": 7 },
            ]);
        })?;
    ensure_eq!(seen, "1:5\n1:7\n755\n");
    Ok(())
}

fn device_may_replace_a_default_one(runtime: &Runtime) -> TestResult {
    let seen = sh(runtime, "stat -c '%t:%T %a' /dev/tty", |config| {
        config["linux"]["devices"] =
            json!([{ "path": "/dev/tty", "type": "c", "major": 5, "minor": 0, "fileMode": 0o600 }]);
    })?;
    ensure_eq!(seen, "5:0 600\n");
    Ok(())
}

fn device_of_unknown_type_is_refused(runtime: &Runtime) -> TestResult {
    for kind in ["z", "cc"] {
        refusal(runtime, |config| {
            config["linux"]["devices"] =
                json!([{ "path": "/dev/a", "type": kind, "major": 1, "minor": 5 }]);
        })?;
    }
    Ok(())
}

fn device_without_numbers_is_refused(runtime: &Runtime) -> TestResult {
    refuses(runtime, &["/linux/devices/0/minor"], |config| {
        config["linux"]["devices"] = json!([{ "path": "/dev/a", "type": "c", "major": 1 }]);
    })
}

fn device_on_a_readonly_root_is_made(runtime: &Runtime) -> TestResult {
    let seen = sh(runtime, "stat -c %t:%T /a", |config| {
        config["root"]["readonly"] = json!(true);
        config["linux"]["devices"] = json!([{ "path": "/a", "type": "c", "major": 1, "minor": 5 }]);
    })?;
    ensure_eq!(seen, "1:5\n");
    Ok(())
}

/// Rules, after the one that denies all; and nodes to try them on.
fn rules(config: &mut Value, rules: &Value) {
    config["linux"]["resources"]["devices"] = json!([{ "allow": false, "access": "rwm" }]);
    for rule in rules.as_array().into_iter().flatten() {
        add(config, "/linux/resources/devices", rule.clone());
    }
    config["linux"]["devices"] = json!([
        // loop7, loop6, loop-control: to open them does nothing.
        { "path": "/dev/block", "type": "b", "major": 7, "minor": 7, "fileMode": 0o666 },
        { "path": "/dev/other", "type": "b", "major": 7, "minor": 6, "fileMode": 0o666 },
        { "path": "/dev/control", "type": "c", "major": 10, "minor": 237, "fileMode": 0o666 },
    ]);
    let capabilities = json!(["CAP_MKNOD"]);
    config["process"]["capabilities"] =
        json!({ "bounding": capabilities, "effective": capabilities, "permitted": capabilities });
    tmpfs(config, "/t", &["mode=755"]);
}

/// What could be opened; mknod is allowed for every device by runc's own rules, and so by ours.
fn opened(runtime: &Runtime, given: &Value) -> Result<String, Failed> {
    let seen = sh(runtime, TRY, |config| rules(config, given))?;
    Ok(seen.lines().map(|line| line.trim_end_matches('m').trim_end().to_owned() + "\n").collect())
}

/// Tries to open for reading, open for writing, and make a node of, each of the three; prints what worked.
const TRY: &str = "cd /dev; for n in 'block b 7 7' 'other b 7 6' 'control c 10 237'; do set -- $n; \
    r=$(head -c 0 $1 2>/dev/null && echo r); w=$( (: >>$1) 2>/dev/null && echo w); \
    m=$(mknod /t/$1 $2 $3 $4 2>/dev/null && echo m); echo $1 $r$w$m; done";

fn rules_deny_what_they_do_not_allow(runtime: &Runtime) -> TestResult {
    ensure_eq!(opened(runtime, &json!([]))?, "block\nother\ncontrol\n");
    Ok(())
}

fn rules_allow_by_number_and_access(runtime: &Runtime) -> TestResult {
    for (access, seen) in [("r", "r"), ("w", "w"), ("rw", "rw"), ("rwm", "rw")] {
        let rule =
            json!([{ "allow": true, "type": "b", "major": 7, "minor": 7, "access": access }]);
        ensure_eq!(
            (access, opened(runtime, &rule)?),
            (access, format!("block {seen}\nother\ncontrol\n"))
        );
    }
    Ok(())
}

fn rules_of_which_the_last_counts(runtime: &Runtime) -> TestResult {
    let given = json!([
        { "allow": true, "type": "b", "major": 7, "access": "rwm" },
        { "allow": false, "type": "b", "major": 7, "minor": 6, "access": "rwm" },
    ]);
    ensure_eq!(opened(runtime, &given)?, "block rw\nother\ncontrol\n");
    Ok(())
}

fn rules_with_wildcards_hold(runtime: &Runtime) -> TestResult {
    for (rule, seen) in [
        (
            json!({ "allow": true, "type": "b", "major": 7, "minor": -1, "access": "rwm" }),
            "block rw\nother rw\ncontrol\n",
        ),
        (json!({ "allow": true, "type": "b", "access": "rwm" }), "block rw\nother rw\ncontrol\n"),
        (
            json!({ "allow": true, "type": "a", "access": "rwm" }),
            "block rw\nother rw\ncontrol rw\n",
        ),
        (json!({ "allow": true, "access": "rwm" }), "block rw\nother rw\ncontrol rw\n"),
    ] {
        let found = opened(runtime, &json!([rule.clone()]))?;
        ensure!(found == seen, "{rule} gives {found}");
    }
    Ok(())
}

fn rules_let_default_devices_be(runtime: &Runtime) -> TestResult {
    let script = "head -c 3 /dev/zero | wc -c; echo x >/dev/null && head -c 3 /dev/urandom | wc -c; head -c 0 /dev/ptmx && echo ptmx";
    let seen = sh(runtime, script, |config| rules(config, &json!([])))?;
    ensure_eq!(seen, "3\n3\nptmx\n");
    Ok(())
}

fn rules_with_letters_that_are_none_are_refused(runtime: &Runtime) -> TestResult {
    refuses(runtime, &["/linux/resources/devices/1/access"], |config| {
        rules(config, &json!([{ "allow": true, "type": "b", "access": "rx" }]));
    })
}
