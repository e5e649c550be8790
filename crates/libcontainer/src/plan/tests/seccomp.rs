//! When a system call filter is loaded, and what the runtime has to know of it.

use corten_plan::Op;
use serde_json::{Value, json};

use super::{bundle, facts, names, planned, refused, request};
use crate::plan::{LateSteps, Request, plan, print};

fn profile() -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7 }] })
}

fn notifying(name: &str) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent", "listenerMetadata": "m",
        "syscalls": [{ "names": ["no_such_call"], "action": "SCMP_ACT_ERRNO" },
                     { "names": [name], "action": "SCMP_ACT_NOTIFY" }],
    })
}

/// The last steps, with a startContainer hook.
fn last_steps(profile: &Value, no_new_privileges: bool, has_hook: bool) -> Vec<&'static str> {
    let hooks = if has_hook { json!({ "startContainer": [{ "path": "/h" }] }) } else { json!({}) };
    let plan = planned(json!({
        "process": { "noNewPrivileges": no_new_privileges, "env": ["HOME=/"] },
        "linux": { "seccomp": profile },
        "hooks": hooks,
    }));
    let names = names(&plan);
    let from = names.iter().position(|name| *name == "Cwd").unwrap();
    names[from..].to_vec()
}

#[test]
fn filter_with_no_new_privileges_is_loaded_at_execve() {
    let expected =
        ["Cwd", "Credentials", "Cwd", "Find", "Sync", "WaitStart", "CloseFds", "Seccomp", "Exec"];
    assert_eq!(last_steps(&profile(), true, false), expected);
    let plan = planned(json!({
        "process": { "noNewPrivileges": true }, "linux": { "seccomp": profile() },
    }));
    let at_exec = plan.init.ops().any(|(_, op)| matches!(op, Op::Seccomp { at_exec: true, .. }));
    assert!(at_exec);
}

#[test]
fn filter_without_no_new_privileges_is_loaded_before_capabilities_go() {
    let expected = [
        "Cwd",
        "CloseFds",
        "Seccomp",
        "Credentials",
        "Cwd",
        "Find",
        "Sync",
        "WaitStart",
        "CloseFds",
        "Exec",
    ];
    assert_eq!(last_steps(&profile(), false, false), expected);
}

/// Who reads back: init where the profile lets it, else the runtime, whom it then waits for.
#[test]
fn credentials_behind_a_filter_are_read_back_by_init_where_the_profile_allows_it() {
    let allowed = super::super::seccomp::READS_BACK;
    let of = |names: &[&str], no_new_privileges: bool| {
        let at_once = Request { start_at_once: true, ..request() };
        let config = bundle(json!({
            "process": { "noNewPrivileges": no_new_privileges },
            "linux": { "seccomp": { "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }] } },
        }));
        let plan = plan(&config, &facts(), &at_once).unwrap();
        let by_init = |op| matches!(op, Op::Credentials { reads_back: true, .. });
        (plan.init.ops().any(|(_, op)| by_init(op)), plan.init.may_go_ahead)
    };
    assert_eq!(of(&allowed, false), (true, true));
    assert_eq!(of(&allowed[1..], false), (false, false));
    assert_eq!(of(&["read"], false), (false, false));
    assert_eq!(of(&["read"], true), (true, true), "the filter comes later");
}

/// Their programs are the image's.
#[test]
fn filter_with_start_container_hooks_is_loaded_before_them() {
    let expected = [
        "Cwd",
        "Credentials",
        "Cwd",
        "Find",
        "Sync",
        "WaitStart",
        "CloseFds",
        "Seccomp",
        "Hook",
        "CloseFds",
        "Exec",
    ];
    assert_eq!(last_steps(&profile(), true, true), expected);
    let config = bundle(json!({
        "process": { "noNewPrivileges": true },
        "linux": { "seccomp": profile() },
        "hooks": { "startContainer": [{ "path": "/h" }] },
    }));
    let plan = plan(&config, &facts(), &request()).unwrap();
    let late = LateSteps::of(&plan.init).unwrap();
    let hook = plan.init.ops().position(|(_, op)| op.name() == "Hook").unwrap();
    let failure = corten_plan::Failure {
        op: hook.try_into().unwrap(),
        stage: corten_plan::Stage::HookStatus,
        item: 1,
        errno: 0,
        detail: b"",
    };
    assert_eq!(late.error(&failure).pointer, "/hooks/startContainer/0");
}

#[test]
fn filter_that_notifies_is_loaded_while_the_runtime_is_there() {
    let expected = [
        "Cwd",
        "Credentials",
        "Cwd",
        "Find",
        "CloseFds",
        "Seccomp",
        "Sync",
        "WaitStart",
        "CloseFds",
        "Exec",
    ];
    assert_eq!(last_steps(&notifying("mkdir"), true, false), expected);
    let plan = planned(json!({
        "process": { "noNewPrivileges": true }, "linux": { "seccomp": notifying("mkdir") },
    }));
    let filter = plan.seccomp.as_ref().unwrap();
    let listener = filter.listener.as_ref().unwrap();
    assert_eq!((listener.path.to_str(), listener.metadata.as_str()), (Some("/agent"), "m"));
    assert!(print::text(&plan).contains("SECCOMP_FILTER_FLAG_NEW_LISTENER"));
}

#[test]
fn filter_that_notifies_of_write_is_refused() {
    let (pointer, problem) = refused(json!({ "linux": { "seccomp": notifying("write") } }));
    assert_eq!(pointer, "/linux/seccomp/syscalls/1");
    assert_eq!(problem, "SCMP_ACT_NOTIFY cannot be used for the write syscall");
}

#[test]
fn filter_with_a_name_that_nobody_knows_is_a_warning() {
    let plan = planned(json!({ "linux": { "seccomp": notifying("mkdir") } }));
    let [warning] = &plan.warnings[..] else { panic!("{:?}", plan.warnings) };
    assert_eq!(warning.pointer, "/linux/seccomp/syscalls/0/names/0");
    assert!(warning.text.contains("no_such_call"));
}
