//! Bad configurations: refused before anything is done, with the JSON pointer of what is wrong.
//!
//! Runs in: any process.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bundle::{Bundle, add};
use crate::harness::{TestResult, ensure, table};
use crate::host::Need::{Corten, NotOn, Root};
use crate::inside::{nothing_left, refuses};
use crate::runtime::Runtime;

const STRICT: &str =
    "two readers of one file must not see two configurations (docs/compatibility.md)";
const POINTER: &str = "errors have the JSON pointer";

table! {
    missing_configuration_is_refused: [Root],
    text_that_is_no_json_is_refused: [Root],
    text_after_the_document_is_refused: [Root, Corten(STRICT)],
    text_that_is_not_utf8_is_refused: [Root, Corten(STRICT)],
    property_given_twice_is_refused: [Root, Corten(STRICT)],
    property_of_another_type_is_refused: [Root, Corten(POINTER)],
    property_that_is_required_is_missed: [Root, Corten(POINTER)],
    property_that_is_unknown_is_ignored: [Root],
    property_that_is_null_is_absent: [Root],
    value_out_of_range_is_refused: [Root, Corten(POINTER)],
    value_that_contradicts_another_is_refused: [Root, Corten(POINTER)],
    nul_in_a_string_is_refused: [Root, Corten(STRICT)],
    versions_of_the_specification_are_taken: [Root, NotOn("crun", "1.8 does not know 1.2")],
    version_that_is_none_is_refused: [Root, Corten("runc and crun do not look at it; a 2.0 could mean anything")],
    configuration_of_64_mebibytes_is_refused_at_once: [Root, Corten("16 MiB are the limit; the others read it in seconds")],
    million_environment_entries_are_refused_at_once: [Root, Corten("crun hangs, runc fails after all has been done")],
    deep_nesting_is_refused: [Root],
}

fn missing_configuration_is_refused(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["true"])?;
    fs::remove_file(bundle.config_path())?;
    runtime.create(&bundle, &runtime.new_id())?.fails_with("config.json")?;
    nothing_left(runtime)
}

/// `create` of a bundle with this text as its configuration must fail, with these words in the message.
fn refuses_text(runtime: &Runtime, text: &[u8], words: &[&str]) -> TestResult {
    let bundle = runtime.bundle(&["true"])?;
    bundle.write_text(text)?;
    let outcome = runtime.create(&bundle, &runtime.new_id())?.fails()?;
    for word in words {
        ensure!(outcome.stderr.contains(word), "without {word:?}: {outcome}");
    }
    nothing_left(runtime)
}

fn text_that_is_no_json_is_refused(runtime: &Runtime) -> TestResult {
    for text in
        ["", "{", "{}", "[]", "null", "\"\"", "{\"ociVersion\": }", "{\"ociVersion\": \"1.0.0\""]
    {
        refuses_text(runtime, text.as_bytes(), &[])?;
    }
    Ok(())
}

/// The text of a configuration that works.
fn text(runtime: &Runtime) -> Result<String, libtest_mimic::Failed> {
    Ok(fs::read_to_string(runtime.bundle(&["true"])?.config_path())?)
}

fn text_after_the_document_is_refused(runtime: &Runtime) -> TestResult {
    let text = text(runtime)?;
    for more in ["x", "{}", "\0"] {
        refuses_text(runtime, format!("{text}{more}").as_bytes(), &["config.json"])?;
    }
    Ok(())
}

fn text_that_is_not_utf8_is_refused(runtime: &Runtime) -> TestResult {
    let text = text(runtime)?;
    let (before, after) = text.split_once("corten").ok_or("no hostname")?;
    let text = [before.as_bytes(), b"\xff\xfe", after.as_bytes()].concat();
    refuses_text(runtime, &text, &["config.json"])
}

fn property_given_twice_is_refused(runtime: &Runtime) -> TestResult {
    let text = text(runtime)?;
    let twice = |place: &str, more: &str| text.replacen(place, &format!("{more}, {place}"), 1);
    refuses_text(
        runtime,
        twice("\"root\":", "\"root\": {\"path\": \"/\"}").as_bytes(),
        &["/root"],
    )?;
    refuses_text(runtime, twice("\"uid\":", "\"uid\": 1").as_bytes(), &["/process/user/uid"])?;
    // Also written in another way, and where nobody looks.
    refuses_text(
        runtime,
        twice("\"uid\":", "\"\\u0075id\": 1").as_bytes(),
        &["/process/user/uid"],
    )?;
    let annotations = "\"annotations\": {\"a\": \"1\", \"a\": \"2\"}";
    refuses_text(runtime, twice("\"root\":", annotations).as_bytes(), &["/annotations/a"])
}

type Change = fn(&mut Value);

fn refuses_each(runtime: &Runtime, rows: &[(&str, Change)]) -> TestResult {
    for (pointer, change) in rows {
        refuses(runtime, &["config.json", pointer], change)?;
    }
    Ok(())
}

fn property_of_another_type_is_refused(runtime: &Runtime) -> TestResult {
    refuses_each(
        runtime,
        &[
            ("/ociVersion", |config| config["ociVersion"] = json!(1)),
            ("/process", |config| config["process"] = json!([])),
            ("/process/args", |config| config["process"]["args"] = json!("true")),
            ("/process/args/1", |config| config["process"]["args"] = json!(["true", 1])),
            ("/process/terminal", |config| config["process"]["terminal"] = json!("true")),
            ("/process/user/uid", |config| config["process"]["user"]["uid"] = json!("1")),
            ("/process/user/uid", |config| config["process"]["user"]["uid"] = json!(1.5)),
            ("/process/user/uid", |config| config["process"]["user"]["uid"] = json!(-1)),
            ("/process/user/uid", |config| {
                config["process"]["user"]["uid"] = json!(4_294_967_296_u64);
            }),
            ("/process/rlimits/0/soft", |config| {
                config["process"]["rlimits"][0]["soft"] = json!("10");
            }),
            ("/mounts/0/options", |config| config["mounts"][0]["options"] = json!("ro")),
            ("/mounts/0/options/0", |config| config["mounts"][0]["options"] = json!([1])),
            ("/hooks/prestart", |config| config["hooks"] = json!({ "prestart": {} })),
            ("/annotations/a", |config| config["annotations"] = json!({ "a": 1 })),
            ("/linux/namespaces/0", |config| config["linux"]["namespaces"][0] = json!("pid")),
            ("/root/readonly", |config| config["root"]["readonly"] = json!(1)),
        ],
    )
}

fn property_that_is_required_is_missed(runtime: &Runtime) -> TestResult {
    refuses_each(
        runtime,
        &[
            ("/process", |config| config["process"] = Value::Null),
            ("/process/args", |config| config["process"]["args"] = json!([])),
            ("/process/args", |config| config["process"]["args"] = Value::Null),
            ("/process/cwd", |config| config["process"]["cwd"] = json!("")),
            ("/root", |config| config["root"] = Value::Null),
            ("/root/path", |config| config["root"] = json!({ "path": "" })),
            ("/mounts/0/destination", |config| config["mounts"][0]["destination"] = json!("")),
            ("/hooks/prestart/0/path", |config| {
                config["hooks"] = json!({ "prestart": [{ "path": "" }] });
            }),
        ],
    )
}

fn property_that_is_unknown_is_ignored(runtime: &Runtime) -> TestResult {
    // config.md: MUST NOT generate an error.
    let bundle = runtime.bundle_with(&["true"], |config| {
        config["unknown"] = json!({ "a": [1] });
        config["process"]["unknown"] = json!(1);
        config["linux"]["unknown"] = json!(null);
        config["mounts"][0]["unknown"] = json!("x");
        config["windows"] = json!({ "layerFolders": ["x"] });
    })?;
    runtime.run(&bundle)?.ok()?;
    Ok(())
}

fn property_that_is_null_is_absent(runtime: &Runtime) -> TestResult {
    // Go writes it for slices, maps and pointers.
    let bundle = runtime.bundle_with(&["true"], |config| {
        for property in ["hooks", "annotations"] {
            config[property] = Value::Null;
        }
        for property in ["env", "rlimits", "capabilities", "oomScoreAdj"] {
            config["process"][property] = Value::Null;
        }
        config["process"]["args"] = json!(["/bin/true"]);
        config["process"]["user"]["additionalGids"] = Value::Null;
        for property in [
            "resources",
            "devices",
            "maskedPaths",
            "readonlyPaths",
            "sysctl",
            "uidMappings",
            "seccomp",
        ] {
            config["linux"][property] = Value::Null;
        }
    })?;
    runtime.run(&bundle)?.ok()?;
    Ok(())
}

fn value_out_of_range_is_refused(runtime: &Runtime) -> TestResult {
    refuses_each(
        runtime,
        &[
            ("/process/cwd", |config| config["process"]["cwd"] = json!("relative")),
            ("/process/env/0", |config| config["process"]["env"] = json!(["NOVALUE"])),
            ("/process/env/1", |config| config["process"]["env"] = json!(["A=1", "=x"])),
            ("/process/user/umask", |config| config["process"]["user"]["umask"] = json!(65_536)),
            ("/process/oomScoreAdj", |config| config["process"]["oomScoreAdj"] = json!(1001)),
            ("/process/rlimits/0/type", |config| {
                config["process"]["rlimits"][0]["type"] = json!("RLIMIT_NOSUCH");
            }),
            ("/process/ioPriority/priority", |config| {
                config["process"]["ioPriority"] =
                    json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 });
            }),
            ("/process/ioPriority/class", |config| {
                config["process"]["ioPriority"] =
                    json!({ "class": "IOPRIO_CLASS_NOSUCH", "priority": 1 });
            }),
            ("/hostname", |config| config["hostname"] = json!("x".repeat(65))),
            ("/linux/namespaces/0/type", |config| {
                config["linux"]["namespaces"][0]["type"] = json!("net");
            }),
            ("/linux/devices/0/major", |config| {
                config["linux"]["devices"] =
                    json!([{ "path": "/dev/a", "type": "c", "major": 4096, "minor": 0 }]);
            }),
            ("/linux/devices/0/minor", |config| {
                config["linux"]["devices"] =
                    json!([{ "path": "/dev/a", "type": "c", "major": 0, "minor": 1_048_576 }]);
            }),
            ("/linux/devices/0/path", |config| {
                config["linux"]["devices"] = json!([{ "path": "dev/a", "type": "p" }]);
            }),
            ("/linux/maskedPaths/10", |config| {
                add(config, "/linux/maskedPaths", json!("relative"));
            }),
            ("/linux/readonlyPaths/5", |config| add(config, "/linux/readonlyPaths", json!(""))),
            ("/linux/cgroupsPath", |config| config["linux"]["cgroupsPath"] = json!("/a/../b")),
            ("/linux/rootfsPropagation", |config| {
                config["linux"]["rootfsPropagation"] = json!("sideways");
            }),
            ("/linux/personality/domain", |config| {
                config["linux"]["personality"] = json!({ "domain": "NOSUCH" });
            }),
        ],
    )
}

fn value_that_contradicts_another_is_refused(runtime: &Runtime) -> TestResult {
    refuses_each(
        runtime,
        &[
            ("/process/rlimits/1/type", |config| {
                add(
                    config,
                    "/process/rlimits",
                    json!({ "type": "RLIMIT_NOFILE", "soft": 1, "hard": 1 }),
                );
            }),
            ("/process/rlimits/0/soft", |config| {
                config["process"]["rlimits"][0]["soft"] = json!(2048);
            }),
            ("/linux/namespaces/6/type", |config| {
                add(config, "/linux/namespaces", json!({ "type": "pid" }));
            }),
            ("/linux/uidMappings", |config| {
                config["linux"]["uidMappings"] =
                    json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
            }),
            ("/hostname", |config| {
                crate::bundle::remove(config, "/linux/namespaces", "type", "uts");
            }),
            ("/linux/timeOffsets", |config| {
                config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1 } });
            }),
        ],
    )
}

fn nul_in_a_string_is_refused(runtime: &Runtime) -> TestResult {
    refuses_each(
        runtime,
        &[
            ("/process/args/1", |config| config["process"]["args"] = json!(["echo", "a\0b"])),
            ("/process/env/0", |config| config["process"]["env"] = json!(["A=a\0b"])),
            ("/process/cwd", |config| config["process"]["cwd"] = json!("/tmp\0/x")),
            ("/hostname", |config| config["hostname"] = json!("a\0b")),
            ("/root/path", |config| config["root"]["path"] = json!("rootfs\0")),
            ("/mounts/0/destination", |config| {
                config["mounts"][0]["destination"] = json!("/proc\0");
            }),
            ("/mounts/0/source", |config| config["mounts"][0]["source"] = json!("pr\0oc")),
            ("/mounts/1/options/0", |config| config["mounts"][1]["options"][0] = json!("no\0suid")),
            ("/linux/maskedPaths/0", |config| {
                config["linux"]["maskedPaths"][0] = json!("/proc/a\0cpi");
            }),
            ("/linux/cgroupsPath", |config| config["linux"]["cgroupsPath"] = json!("/a\0b")),
            ("/hooks/poststop/0/args/1", |config| {
                config["hooks"] =
                    json!({ "poststop": [{ "path": "/bin/sh", "args": ["sh", "a\0b"] }] });
            }),
            ("/linux/sysctl", |config| {
                config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1\0" });
            }),
        ],
    )
}

fn versions_of_the_specification_are_taken(runtime: &Runtime) -> TestResult {
    for version in ["1.0.0", "1.0.2-dev", "1.0.2", "1.1.0", "1.2.1", "1.3.0"] {
        let bundle =
            runtime.bundle_with(&["true"], |config| config["ociVersion"] = json!(version))?;
        runtime.run(&bundle)?.ok()?;
    }
    Ok(())
}

fn version_that_is_none_is_refused(runtime: &Runtime) -> TestResult {
    for version in ["", "2.0.0", "0.9.0", "one", "1"] {
        refuses(runtime, &["/ociVersion"], |config| config["ociVersion"] = json!(version))?;
    }
    Ok(())
}

/// `create` must fail within a few seconds, and leave nothing.
fn refused_at_once(runtime: &Runtime, bundle: &Bundle, words: &str) -> TestResult {
    let begin = Instant::now();
    runtime.create(bundle, &runtime.new_id())?.fails_with(words)?;
    let took = begin.elapsed();
    ensure!(took < Duration::from_secs(5), "took {took:?}");
    nothing_left(runtime)
}

fn configuration_of_64_mebibytes_is_refused_at_once(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["true"])?;
    let large = "x".repeat(64 << 20);
    let text = fs::read_to_string(bundle.config_path())?;
    bundle.write_text(
        text.replacen(
            "\"hostname\"",
            &format!("\"annotations\": {{\"a\": \"{large}\"}}, \"hostname\""),
            1,
        )
        .as_bytes(),
    )?;
    refused_at_once(runtime, &bundle, "config.json")
}

fn million_environment_entries_are_refused_at_once(runtime: &Runtime) -> TestResult {
    let entries: Vec<_> = (0..1_000_000).map(|number| format!("V{number}=")).collect();
    let bundle = runtime.bundle(&["true"])?;
    let mut config = bundle.config().clone();
    config["process"]["env"] = json!(entries);
    // Without the spaces, which would make it larger than a configuration may be.
    bundle.write_text(config.to_string().as_bytes())?;
    refused_at_once(runtime, &bundle, "/process/env")?;
    // One string longer than execve(2) takes.
    let long = format!("LONG={}", "x".repeat(200_000));
    let bundle =
        runtime.bundle_with(&["true"], |config| config["process"]["env"] = json!(["A=1", long]))?;
    refused_at_once(runtime, &bundle, "/process/env/1")
}

fn deep_nesting_is_refused(runtime: &Runtime) -> TestResult {
    // A recursive reader's stack ends before this does.
    let text = format!("{{\"annotations\": {}", "[".repeat(1_000_000));
    refuses_text(runtime, text.as_bytes(), &[])?;
    if runtime.is("corten") {
        let nested = format!("{{\"x\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        refuses_text(runtime, nested.as_bytes(), &["config.json"])?;
    }
    Ok(())
}
