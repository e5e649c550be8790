//! Who the process is: ids, groups, umask, the five capability sets, no_new_privs, as /proc/self/status has them.
//!
//! Runs in: any process.

use std::fs;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::bundle::add;
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, Root};
use crate::inside::{field, output, refuses, sh};
use crate::runtime::Runtime;

const KEEPS_ALL: &str =
    "keeps all capabilities of the runtime; we fail closed (docs/compatibility.md)";

table! {
    user_and_groups_are_exactly_those_given: [Root],
    groups_of_the_runtime_are_dropped: [Root],
    ids_up_to_31_bits_are_taken: [Root],
    id_minus_one_is_refused: [Root, NotOn("crun", "runs as root: setresuid(-1) changes nothing")],
    capability_sets_of_root_are_those_given: [Root],
    capability_sets_of_a_user_are_those_given: [Root],
    ambient_capabilities_reach_a_users_program: [Root],
    capabilities_that_are_empty_are_none: [Root],
    capabilities_that_are_absent_are_none: [Root, NotOn("runc", KEEPS_ALL)],
    capability_that_is_unknown_is_left_out_with_a_warning: [Root],
    capability_outside_of_the_bounding_set_cannot_come_back: [Root],
    effective_capability_that_is_not_permitted_is_refused: [Root, Corten("it is EPERM of capset(2); the pointer says which")],
    no_new_privileges_is_as_given: [Root],
    umask_is_022_by_default: [Root],
    umask_is_as_given: [Root],
    home_is_that_of_passwd: [Root],
    home_that_is_given_is_kept: [Root],
}

const KILL: u64 = 1 << 5;
const SETUID: u64 = 1 << 7;
const NET_BIND_SERVICE: u64 = 1 << 10;
const CHOWN: u64 = 1;

fn user(config: &mut Value, uid: u32, gid: u32) {
    config["process"]["user"] = json!({ "uid": uid, "gid": gid });
}

fn capabilities(config: &mut Value, sets: Value) {
    config["process"]["capabilities"] = sets;
}

fn status(runtime: &Runtime, change: impl FnOnce(&mut Value)) -> Result<String, Failed> {
    output(runtime, &["cat", "/proc/self/status"], change)
}

/// The sets in the order of /proc: inheritable, permitted, effective, bounding, ambient.
fn sets(status: &str) -> Result<[u64; 5], Failed> {
    let mut sets = [0; 5];
    for (set, name) in sets.iter_mut().zip(["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
        *set = u64::from_str_radix(field(status, name)?, 16)?;
    }
    Ok(sets)
}

fn user_and_groups_are_exactly_those_given(runtime: &Runtime) -> TestResult {
    let status = status(runtime, |config| {
        config["process"]["user"] =
            json!({ "uid": 1234, "gid": 5678, "additionalGids": [77, 5, 1234567] });
    })?;
    ensure_eq!(field(&status, "Uid")?, "1234\t1234\t1234\t1234");
    ensure_eq!(field(&status, "Gid")?, "5678\t5678\t5678\t5678");
    let mut groups: Vec<_> = field(&status, "Groups")?.split_whitespace().collect();
    // runc puts the gid among them too.
    groups.retain(|group| *group != "5678");
    ensure_eq!(groups, ["5", "77", "1234567"]);
    Ok(())
}

fn groups_of_the_runtime_are_dropped(runtime: &Runtime) -> TestResult {
    let bundle =
        runtime.bundle_with(&["cat", "/proc/self/status"], |config| user(config, 1000, 1000))?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    let wrapped = run.wrapped_by(["setpriv", "--groups", "4,27,1000"]).output()?.ok()?;
    let groups = field(&wrapped.stdout, "Groups")?;
    ensure!(matches!(groups, "" | "1000"), "groups are {groups}");
    Ok(())
}

fn ids_up_to_31_bits_are_taken(runtime: &Runtime) -> TestResult {
    for id in [1, 65_534, 65_536, i32::MAX.unsigned_abs()] {
        let seen = sh(runtime, "id -u; id -g", |config| user(config, id, id))?;
        ensure_eq!(seen, format!("{id}\n{id}\n"));
    }
    Ok(())
}

fn id_minus_one_is_refused(runtime: &Runtime) -> TestResult {
    for (property, text) in [("uid", "/process/user/uid"), ("gid", "/process/user/gid")] {
        let texts: &[&str] = if runtime.is("corten") { &[text, "4294967295"] } else { &[] };
        refuses(runtime, texts, |config| config["process"]["user"][property] = json!(u32::MAX))?;
    }
    let texts: &[&str] =
        if runtime.is("corten") { &["/process/user/additionalGids/1"] } else { &[] };
    refuses(runtime, texts, |config| {
        config["process"]["user"]["additionalGids"] = json!([5, u32::MAX]);
    })
}

fn capability_sets_of_root_are_those_given(runtime: &Runtime) -> TestResult {
    let both = json!(["CAP_KILL", "CAP_CHOWN"]);
    let status = status(runtime, |config| {
        capabilities(config, json!({ "bounding": both, "effective": both, "permitted": both }));
    })?;
    ensure_eq!(sets(&status)?, [0, KILL | CHOWN, KILL | CHOWN, KILL | CHOWN, 0]);
    let status = self::status(runtime, |config| {
        capabilities(
            config,
            json!({ "bounding": both, "effective": both, "permitted": both, "inheritable": both, "ambient": ["CAP_KILL"] }),
        );
    })?;
    // capabilities(7): root's exec gives no ambient set away.
    ensure_eq!(sets(&status)?, [KILL | CHOWN, KILL | CHOWN, KILL | CHOWN, KILL | CHOWN, KILL]);
    Ok(())
}

fn capability_sets_of_a_user_are_those_given(runtime: &Runtime) -> TestResult {
    let status = status(runtime, |config| {
        user(config, 1000, 1000);
        let both = json!(["CAP_KILL", "CAP_CHOWN"]);
        capabilities(
            config,
            json!({ "bounding": both, "effective": both, "permitted": both, "inheritable": ["CAP_CHOWN"] }),
        );
    })?;
    // capabilities(7): a user's exec drops what is not ambient.
    ensure_eq!(sets(&status)?, [CHOWN, 0, 0, KILL | CHOWN, 0]);
    Ok(())
}

fn ambient_capabilities_reach_a_users_program(runtime: &Runtime) -> TestResult {
    let given = json!(["CAP_NET_BIND_SERVICE", "CAP_SETUID"]);
    let status = status(runtime, |config| {
        user(config, 1000, 1000);
        capabilities(
            config,
            json!({ "bounding": given, "effective": given, "permitted": given, "inheritable": given, "ambient": given }),
        );
    })?;
    let all = NET_BIND_SERVICE | SETUID;
    ensure_eq!(sets(&status)?, [all, all, all, all, all]);
    Ok(())
}

fn capabilities_that_are_empty_are_none(runtime: &Runtime) -> TestResult {
    for sets_given in [
        json!({}),
        json!({ "bounding": [], "effective": null, "permitted": [], "inheritable": [], "ambient": [] }),
    ] {
        let status = status(runtime, |config| capabilities(config, sets_given.clone()))?;
        ensure_eq!(sets(&status)?, [0; 5]);
    }
    Ok(())
}

fn capabilities_that_are_absent_are_none(runtime: &Runtime) -> TestResult {
    for uid in [0, 1000] {
        let status = status(runtime, |config| {
            user(config, uid, uid);
            capabilities(config, Value::Null);
        })?;
        ensure_eq!(sets(&status)?, [0; 5]);
    }
    Ok(())
}

fn capability_that_is_unknown_is_left_out_with_a_warning(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["cat", "/proc/self/status"], |config| {
        let given = json!(["CAP_KILL", "CAP_NO_SUCH_THING"]);
        capabilities(config, json!({ "bounding": given, "effective": given, "permitted": given }));
    })?;
    let log = runtime.directory().join("log");
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    let run = run.global("--log").global(&log).output()?.ok()?;
    ensure_eq!(sets(&run.stdout)?, [0, KILL, KILL, KILL, 0]);
    // config.md: "the runtime SHOULD NOT fail" and "SHOULD log a warning"; crun 1.8 says nothing.
    let warned = fs::read_to_string(&log).unwrap_or_default().contains("CAP_NO_SUCH_THING");
    ensure!(warned || runtime.is("crun"), "no warning in the log");
    ensure!(run.stderr.is_empty(), "a warning on stderr: {run}");
    let run = runtime.run(&bundle)?.ok()?;
    let warned = run.stderr.contains("CAP_NO_SUCH_THING");
    ensure!(warned || runtime.is("crun"), "no warning without a log: {run}");
    Ok(())
}

fn capability_outside_of_the_bounding_set_cannot_come_back(runtime: &Runtime) -> TestResult {
    let status = status(runtime, |config| {
        capabilities(
            config,
            json!({ "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"] }),
        );
        config["process"]["noNewPrivileges"] = json!(false);
    })?;
    ensure_eq!(sets(&status)?, [0, KILL, KILL, KILL, 0]);
    Ok(())
}

fn effective_capability_that_is_not_permitted_is_refused(runtime: &Runtime) -> TestResult {
    let texts = ["/process/capabilities/effective/1", "CAP_CHOWN"];
    refuses(runtime, &texts, |config| {
        let both = json!(["CAP_KILL", "CAP_CHOWN"]);
        capabilities(
            config,
            json!({ "bounding": both, "effective": both, "permitted": ["CAP_KILL"] }),
        );
    })
}

fn no_new_privileges_is_as_given(runtime: &Runtime) -> TestResult {
    for (given, seen) in [(json!(true), "1"), (json!(false), "0"), (Value::Null, "0")] {
        let status =
            status(runtime, |config| config["process"]["noNewPrivileges"] = given.clone())?;
        ensure_eq!(field(&status, "NoNewPrivs")?, seen);
    }
    Ok(())
}

fn umask_is_022_by_default(runtime: &Runtime) -> TestResult {
    // Whatever the caller's is: config.md leaves it open, and runc's and crun's callers rely on 022.
    let bundle = runtime.bundle(&["cat", "/proc/self/status"])?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    let run = run.wrapped_by(["sh", "-c", "umask 077; exec \"$@\"", "sh"]).output()?.ok()?;
    ensure_eq!(field(&run.stdout, "Umask")?, "0022");
    Ok(())
}

fn umask_is_as_given(runtime: &Runtime) -> TestResult {
    let seen = sh(runtime, "umask; touch /new; stat -c %a /new", |config| {
        config["process"]["user"]["umask"] = json!(0o027);
    })?;
    ensure_eq!(seen, "0027\n640\n");
    let seen = sh(runtime, "umask", |config| config["process"]["user"]["umask"] = json!(0))?;
    ensure_eq!(seen, "0000\n");
    Ok(())
}

fn home_is_that_of_passwd(runtime: &Runtime) -> TestResult {
    // crun 1.8 leaves it empty without an entry; runc takes /.
    let without_entry = if runtime.is("crun") { "" } else { "/" };
    for (uid, home) in [(0, "/root"), (1000, "/home"), (4321, without_entry)] {
        let seen = sh(runtime, "echo $HOME", |config| user(config, uid, uid))?;
        ensure_eq!((uid, seen), (uid, format!("{home}\n")));
    }
    Ok(())
}

fn home_that_is_given_is_kept(runtime: &Runtime) -> TestResult {
    for (given, home) in [("HOME=/given", "/given"), ("HOME=/a=b c", "/a=b c")] {
        let seen =
            sh(runtime, "echo \"$HOME\"", |config| add(config, "/process/env", json!(given)))?;
        ensure_eq!(seen, format!("{home}\n"));
    }
    Ok(())
}
