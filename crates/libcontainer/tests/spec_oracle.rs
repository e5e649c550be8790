//! The crate `oci-spec` as oracle: what it accepts means the same to us.
//!
//! Runs in: any process.

#![expect(clippy::expect_used, reason = "helpers of tests, which clippy does not know as such")]

use std::fs;
use std::path::Path;

use libcontainer::spec::{Spec, default_spec, parse};
use oci_spec::runtime::Spec as OciSpec;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

/// What `oci-spec` understood of a text, in our types; `None`: it refuses the text.
fn as_oci_spec_reads_it(text: &str) -> Option<Spec> {
    let theirs: OciSpec = serde_json::from_str(text).ok()?;
    let theirs = serde_json::to_vec(&theirs).expect("oci-spec writes JSON");
    Some(parse(&theirs).expect("oci-spec writes what we read"))
}

/// The same but for what `oci-spec` cannot say: it keeps capabilities as sets, without order, and has no absent
/// `pids.limit`, which it takes for 0.
fn comparable(mut spec: Spec) -> Spec {
    if let Some(sets) = spec.process.as_mut().and_then(|process| process.capabilities.as_mut()) {
        for set in [
            &mut sets.bounding,
            &mut sets.effective,
            &mut sets.inheritable,
            &mut sets.permitted,
            &mut sets.ambient,
        ] {
            set.sort();
            set.dedup();
        }
    }
    let resources = spec.linux.as_mut().and_then(|linux| linux.resources.as_mut());
    if let Some(pids) = resources.and_then(|resources| resources.pids.as_mut()) {
        pids.limit = pids.limit.or(Some(0));
    }
    spec
}

#[test]
fn configurations_of_engines_mean_the_same_to_oci_spec() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/configs");
    let mut compared = 0;
    for entry in fs::read_dir(dir).expect("tests/configs") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a text");
        let Some(theirs) = as_oci_spec_reads_it(&text) else { continue };
        let ours = parse(text.as_bytes()).expect("what oci-spec accepts");
        assert_eq!(comparable(ours), comparable(theirs), "{}", path.display());
        compared += 1;
    }
    assert!(compared >= 10, "oci-spec read only {compared}");
}

#[test]
fn template_means_the_same_to_oci_spec() {
    let text = serde_json::to_string(&default_spec()).expect("a text");
    let theirs = as_oci_spec_reads_it(&text).expect("accepted");
    assert_eq!(comparable(theirs), comparable(default_spec()));
}

fn word() -> impl Strategy<Value = String> {
    "[a-z/=:.0-9]{1,12}"
}

fn process() -> impl Strategy<Value = Value> {
    let capability =
        prop::sample::select(vec!["CAP_KILL", "CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_BPF"]);
    let limit = prop::sample::select(vec!["RLIMIT_NOFILE", "RLIMIT_CPU", "RLIMIT_RTTIME"]);
    let user = (any::<u32>(), any::<u32>(), option::of(0..0o1000_u32), vec(any::<u32>(), 0..4));
    let scalars = (any::<bool>(), any::<bool>(), option::of(-1000..1001_i32), option::of(0..8_i32));
    (user, vec(word(), 1..4), vec(word(), 0..4), btree_set(capability, 0..4), btree_set(limit, 0..3), scalars)
        .prop_map(|(user, args, env, capabilities, limits, (terminal, privileges, oom, io))| {
            let limit = |kind: &str| json!({ "type": kind, "soft": u64::MAX, "hard": u64::MAX });
            json!({
                "user": { "uid": user.0, "gid": user.1, "umask": user.2, "additionalGids": user.3 },
                "args": args, "env": env, "cwd": "/", "terminal": terminal, "noNewPrivileges": privileges,
                "oomScoreAdj": oom,
                "capabilities": { "bounding": capabilities, "ambient": capabilities },
                "rlimits": limits.into_iter().map(limit).collect::<Vec<_>>(),
                "ioPriority": io.map(|priority| json!({ "class": "IOPRIO_CLASS_BE", "priority": priority })),
            })
        })
}

fn resources() -> impl Strategy<Value = Value> {
    let kind = option::of(prop::sample::select(vec!["a", "b", "c"]));
    let rule = (any::<bool>(), kind, option::of(any::<i64>()), option::of("[rwm]{1,3}"));
    let rule = rule.prop_map(|(allow, kind, major, access)| {
        json!({ "allow": allow, "type": kind, "major": major, "access": access })
    });
    let memory = (option::of(any::<i64>()), option::of(any::<u64>()), option::of(any::<bool>()));
    let cpu = (option::of(any::<u64>()), option::of(any::<i64>()), option::of("[0-9,-]{1,6}"));
    let unified = prop::collection::btree_map("[a-z.]{1,8}", word(), 0..3);
    (vec(rule, 0..5), memory, cpu, any::<i64>(), unified).prop_map(|(devices, memory, cpu, pids, unified)| {
        json!({
            "devices": devices,
            "memory": { "limit": memory.0, "swappiness": memory.1, "disableOOMKiller": memory.2 },
            "cpu": { "shares": cpu.0, "quota": cpu.1, "cpus": cpu.2 },
            "pids": { "limit": pids },
            "unified": unified,
        })
    })
}

fn configuration() -> impl Strategy<Value = Value> {
    let mount = (word(), option::of(word()), option::of(word()), option::of(vec(word(), 0..4)));
    let mount = mount.prop_map(|(destination, kind, source, options)| {
        json!({ "destination": destination, "type": kind, "source": source, "options": options })
    });
    let namespaces = btree_set(
        prop::sample::select(vec!["pid", "mount", "user", "time", "network", "cgroup"]),
        0..6,
    );
    let map = (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
        |(container, host, size)| json!({ "containerID": container, "hostID": host, "size": size }),
    );
    let strings = || prop::collection::btree_map(word(), word(), 0..4);
    let linux = (namespaces, vec(map, 0..3), strings(), vec(word(), 0..4), option::of(resources()));
    (process(), vec(mount, 0..4), strings(), linux, any::<bool>()).prop_map(|(process, mounts, annotations, linux, readonly)| {
        let namespaces: Vec<_> = linux.0.iter().map(|kind| json!({ "type": kind })).collect();
        json!({
            "ociVersion": "1.2.0", "process": process, "root": { "path": "rootfs", "readonly": readonly },
            "hostname": "box", "mounts": mounts, "annotations": annotations,
            "hooks": { "poststop": [{ "path": "/bin/true", "args": ["true"], "timeout": 1 }] },
            "linux": {
                "namespaces": namespaces, "uidMappings": linux.1, "sysctl": linux.2, "maskedPaths": linux.3,
                "resources": linux.4, "cgroupsPath": "/x",
            },
        })
    })
}

proptest! {
    #[test]
    fn made_up_configuration_means_the_same_to_oci_spec(document in configuration()) {
        let text = document.to_string();
        let ours = parse(text.as_bytes());
        if let Some(theirs) = as_oci_spec_reads_it(&text) {
            prop_assert_eq!(ours.map(comparable), Ok(comparable(theirs)));
        }
    }

    #[test]
    fn made_up_configuration_is_accepted_by_both(document in configuration()) {
        let theirs: Result<OciSpec, _> = serde_json::from_value(document.clone());
        prop_assert!(theirs.is_ok(), "{:?}", theirs);
        prop_assert!(parse(document.to_string().as_bytes()).is_ok());
    }
}

#[cfg(feature = "oci-spec")]
mod feature {
    use super::*;

    proptest! {
        #[test]
        fn conversion_there_and_back_changes_nothing(document in configuration()) {
            let ours = parse(document.to_string().as_bytes()).expect("accepted");
            let there = OciSpec::try_from(&ours).expect("converted");
            let back = Spec::try_from(&there).expect("converted");
            prop_assert_eq!(comparable(back), comparable(ours));
        }
    }

    #[test]
    fn conversion_of_what_oci_spec_does_not_know_is_an_error() {
        let mut spec = default_spec();
        let process = spec.process.as_mut().expect("a process");
        process.capabilities.as_mut().expect("capabilities").bounding.push("CAP_NEW".to_owned());
        let error = OciSpec::try_from(&spec).expect_err("refused");
        assert!(error.problem.contains("no counterpart"), "{error}");
    }
}
