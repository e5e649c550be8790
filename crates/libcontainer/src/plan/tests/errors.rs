//! What is said when a step fails.

use corten_plan::{Failure, Stage};
use serde_json::json;

use super::planned;
use crate::plan::{Plan, describe};

/// The message for a failure of the `nth` step with this name.
fn message(plan: &Plan, name: &str, stage: Stage, errno: i32, detail: &[u8]) -> String {
    let op = plan.init.ops().position(|(_, op)| op.name() == name).unwrap();
    let failure = Failure { op: u16::try_from(op).unwrap(), stage, item: 0, errno, detail };
    describe::init_error(&plan.init, &failure).message
}

#[test]
fn init_error_of_a_mount_option_says_what_design_md_says() {
    let plan = planned(json!({ "mounts": [
        { "destination": "/a", "source": "/b", "options": ["bind"] },
        { "destination": "/dev/shm", "type": "tmpfs", "options": ["size=12q"] },
    ] }));
    assert_eq!(
        message(&plan, "MountFs", Stage::Option, libc::EINVAL, b""),
        "/mounts/1: mount tmpfs on /dev/shm: EINVAL: option \"size=12q\" is not understood by tmpfs"
    );
    assert_eq!(
        message(
            &plan,
            "MountFs",
            Stage::Option,
            libc::EINVAL,
            b"size=12q: tmpfs: Bad value for 'size'"
        ),
        "/mounts/1: mount tmpfs on /dev/shm: EINVAL: option \"size=12q\" is not understood by tmpfs \
         (tmpfs: Bad value for 'size')"
    );
    assert_eq!(
        message(&plan, "MountBind", Stage::Source, libc::ENOENT, b""),
        "/mounts/0: mount /b on /a: ENOENT: no such file or directory: the source /b"
    );
}

#[test]
fn init_error_without_a_hint_says_stage_and_errno() {
    let plan = planned(json!({}));
    assert_eq!(
        message(&plan, "Session", Stage::Op, libc::EPERM, b""),
        "begin a session: EPERM: operation not permitted"
    );
    assert_eq!(
        message(&plan, "Device", Stage::Owner, libc::EIO, b""),
        "make the device /dev/null: set owner and mode: EIO: input/output error"
    );
}

/// Docker and Podman look for these words.
#[test]
fn init_error_of_the_program_is_what_callers_match() {
    let plan = planned(json!({ "process": { "args": ["/x", "y"] } }));
    for (stage, errno, detail, expected) in [
        (Stage::NotInPath, libc::ENOENT, "", "executable file not found in $PATH"),
        (
            Stage::NotInPath,
            libc::EACCES,
            "/bin/x",
            "executable file not found in $PATH (/bin/x cannot be executed)",
        ),
        (Stage::Exec, libc::ENOENT, "", "no such file or directory"),
        (Stage::Exec, libc::EACCES, "", "permission denied"),
        (Stage::Exec, libc::EISDIR, "", "is a directory"),
        (Stage::Exec, libc::ENOEXEC, "the file is empty", "exec format error: the file is empty"),
        (
            Stage::Interpreter,
            libc::ENOENT,
            "#!/bin/sh (the line ends in CR LF)",
            "no such file or directory: its interpreter: #!/bin/sh (the line ends in CR LF)",
        ),
    ] {
        for (name, program) in [("Find", "exec: \"/x\""), ("Exec", "exec /x")] {
            let message = message(&plan, name, stage, errno, detail.as_bytes());
            assert_eq!(message, format!("/process/args/0: {program}: {expected}"));
        }
    }
}

#[test]
fn init_error_of_a_hook_is_runc_s() {
    let hooks = json!({ "createContainer": [{ "path": "/h", "timeout": 1 }] });
    let plan = planned(json!({ "hooks": hooks }));
    let op = plan.init.ops().position(|(_, op)| op.name() == "Hook").unwrap();
    let message = |stage, item, detail: &[u8]| {
        let failure = Failure { op: u16::try_from(op).unwrap(), stage, item, errno: 0, detail };
        describe::init_error(&plan.init, &failure).message
    };
    let start = "/hooks/createContainer/0: error running createContainer hook #0: /h: ";
    assert_eq!(
        message(Stage::HookStatus, 3, b"oh\n"),
        format!("{start}exit status 3, stdout/stderr: oh")
    );
    assert_eq!(message(Stage::HookStatus, 137, b""), format!("{start}killed by signal 9"));
    assert_eq!(
        message(Stage::HookTimeout, 0, b""),
        format!("{start}hook ran past specified timeout of 1.0s")
    );
}

#[test]
fn init_error_of_credentials_names_the_property() {
    let plan = planned(json!({}));
    for (stage, pointer) in [
        (Stage::Groups, "/process/user/additionalGids: "),
        (Stage::Uid, "/process/user/uid: "),
        (Stage::Capset, "/process/capabilities: "),
        (Stage::ReadBack, "/process/user: "),
    ] {
        let message = message(&plan, "Credentials", stage, libc::EINVAL, b"");
        assert!(message.starts_with(pointer), "{message}");
    }
}

#[test]
fn init_error_of_no_step_says_its_number() {
    let plan = planned(json!({}));
    let failure = Failure { op: u16::MAX, stage: Stage::Plan, item: 0, errno: 0, detail: b"" };
    let error = describe::init_error(&plan.init, &failure);
    assert_eq!(error.message, "step 65535: read the plan");
    assert_eq!(error.pointer, "");
}

#[test]
fn failure_without_plan_says_all_that_init_says() {
    let failure =
        Failure { op: 0, stage: Stage::Exec, item: 0, errno: libc::ENOEXEC, detail: b"why" };
    assert_eq!(
        describe::failure_without_plan(&failure),
        "execute: ENOEXEC: exec format error: why"
    );
    let nothing = Failure { op: 0, stage: Stage::Op, item: 0, errno: 0, detail: b"" };
    assert_eq!(describe::failure_without_plan(&nothing), "unknown error");
}
