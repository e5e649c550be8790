//! The process: environment, limits, credentials, hooks.

use serde_json::json;

use super::{bundle, facts, planned, refused, request, steps_of};
use crate::plan::process::Environment;
use crate::plan::{Request, plan};

fn environment(env: &[&str], listen_fds: u32) -> (Vec<String>, bool, String) {
    let env: Vec<String> = env.iter().map(|variable| (*variable).to_owned()).collect();
    let made = Environment::of(&env, listen_fds).unwrap();
    let variables = made.variables.iter().map(ToString::to_string).collect();
    (variables, made.needs_home, made.path.to_owned())
}

/// The cases of runc's libcontainer/env_test.go.
#[test]
fn environment_keeps_the_last_of_each_name_in_its_place() {
    let (variables, needs_home, _) = environment(
        &[
            "TERM=vt100",
            "HOME=/home/one",
            "HOME=/home/two",
            "TERM=xterm",
            "HOME=/home/three",
            "FOO=bar",
        ],
        0,
    );
    assert_eq!(variables, ["TERM=xterm", "HOME=/home/three", "FOO=bar"]);
    assert!(!needs_home);
}

#[test]
fn environment_without_or_with_empty_home_needs_one() {
    assert_eq!(environment(&["A=1"], 0), (vec!["A=1".into()], true, String::new()));
    assert_eq!(environment(&["HOME=/a", "HOME="], 0), (vec![], true, String::new()));
    assert_eq!(environment(&["HOME=", "HOME=/a"], 0).0, ["HOME=/a"]);
}

#[test]
fn environment_listen_fds_replace_given_ones() {
    let (variables, _, path) = environment(&["PATH=/a", "LISTEN_FDS=9", "PATH=/b:/c", "X=a=b"], 2);
    assert_eq!(variables, ["PATH=/b:/c", "X=a=b", "LISTEN_FDS=2", "LISTEN_PID=1"]);
    assert_eq!(path, "/b:/c");
}

#[test]
fn environment_of_no_variable_is_refused() {
    for (variable, problem) in [("A", "has no '='"), ("=a", "has an empty name")] {
        let refused = refused(json!({ "process": { "env": ["B=1", variable] } }));
        assert_eq!(refused, ("/process/env/1".into(), problem.into()));
    }
}

#[test]
fn process_home_is_looked_up_only_where_none_is_given() {
    for (env, expected) in [(json!(["A=1"]), true), (json!(["HOME=/h"]), false)] {
        let plan = planned(json!({ "process": { "env": env } }));
        let has = plan.init.ops().any(|(_, op)| op.name() == "Home");
        assert_eq!(has, expected);
    }
}

#[test]
fn process_limit_of_open_files_is_last() {
    let plan = planned(json!({ "process": { "rlimits": [
        { "type": "RLIMIT_NOFILE", "soft": 1, "hard": 2 },
        { "type": "RLIMIT_RTTIME", "soft": 3, "hard": u64::MAX },
    ] } }));
    let expected = [
        format!("Rlimit {{ resource: 15, soft: 3, hard: {} }}", u64::MAX),
        "Rlimit { resource: 7, soft: 1, hard: 2 }".to_owned(),
    ];
    assert_eq!(steps_of(&plan.init, "/process/rlimits"), expected);
}

/// The numbers against those of the C library.
#[test]
fn process_limits_have_the_kernel_s_numbers() {
    for (index, name) in crate::plan::words::RLIMITS.iter().enumerate() {
        let plan =
            planned(json!({ "process": { "rlimits": [{ "type": name, "soft": 0, "hard": 0 }] } }));
        let steps = steps_of(&plan.init, "/process/rlimits");
        assert!(steps[0].contains(&format!("resource: {index},")), "{name}");
    }
    assert_eq!(
        crate::plan::words::RLIMITS[usize::try_from(libc::RLIMIT_RTPRIO).unwrap()],
        "RLIMIT_RTPRIO"
    );
    assert_eq!(
        crate::plan::words::RLIMITS[usize::try_from(libc::RLIMIT_NPROC).unwrap()],
        "RLIMIT_NPROC"
    );
}

#[test]
fn process_scheduler_and_io_priority_are_kernel_numbers() {
    let plan = planned(json!({ "process": {
        "scheduler": {
            "policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"],
            "runtime": 1, "deadline": 2, "period": 3,
        },
        "ioPriority": { "class": "IOPRIO_CLASS_IDLE", "priority": 4 },
    } }));
    let expected = "Scheduler { policy: 6, flags: 5, nice: 0, priority: 0, runtime: 1, deadline: 2, period: 3 }";
    assert_eq!(steps_of(&plan.init, "/process/scheduler"), [expected]);
    assert_eq!(steps_of(&plan.init, "/process/ioPriority"), ["IoPriority { value: 24580 }"]);
}

#[test]
fn process_groups_are_always_set() {
    let plan = planned(json!({ "process": { "user": { "uid": 1, "gid": 2 } } }));
    assert!(steps_of(&plan.init, "/process/user")[0].contains("uid: 1, gid: 2, groups: Some([])"));
    let plan =
        planned(json!({ "process": { "user": { "uid": 1, "gid": 2, "additionalGids": [7, 3] } } }));
    assert!(steps_of(&plan.init, "/process/user")[0].contains("groups: Some([7, 3])"));
}

#[test]
fn process_files_that_are_kept_are_not_closed() {
    let request = Request { preserved_fds: 5, listen_fds: 2, ..request() };
    let plan = plan(&bundle(json!({})), &facts(), &request).unwrap();
    let close = plan.init.ops().find(|(_, op)| op.name() == "CloseFds").unwrap().1;
    assert_eq!(format!("{close:?}"), "CloseFds { first: 8 }");
}

#[test]
fn hooks_get_environment_directory_and_milliseconds() {
    let request = Request { environment: vec!["OF=caller".into()], ..request() };
    let config = bundle(json!({
        "process": { "env": ["OF=process", "HOME=/"] },
        "hooks": {
            "createContainer": [{ "path": "/a", "timeout": 2 }, { "path": "/b", "args": ["b", "x"], "env": [] }],
            "startContainer": [{ "path": "/c" }],
        },
    }));
    let plan = plan(&config, &facts(), &request).unwrap();
    let expected = [
        r#"Hook { path: "/a", args: ["/a"], env: ["OF=caller"], cwd: "/bundle/rootfs", timeout_ms: 2000, home: false }"#,
        r#"Hook { path: "/b", args: ["b", "x"], env: [], cwd: "/bundle/rootfs", timeout_ms: 0, home: false }"#,
        r#"Hook { path: "/c", args: ["/c"], env: ["OF=process", "HOME=/"], cwd: ".", timeout_ms: 0, home: false }"#,
    ];
    let steps: Vec<_> = steps_of(&plan.init, "/hooks/");
    assert_eq!(steps, expected);
}
