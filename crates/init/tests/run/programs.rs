//! Finding and executing the program, and saying why not.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use corten_plan::op::mount_flags;
use corten_plan::{Op, Stage};

use crate::bundle::{begin, bind, execute};
use crate::container::{Container, Outcome};

const ENOENT: i32 = 2;
const ENOEXEC: i32 = 8;
const EACCES: i32 = 13;
const EISDIR: i32 = 21;

/// Runs `file` with these contents at /bin/program.
fn run_file(file: &str, contents: &[u8], mode: u32) -> Outcome {
    let mut container = Container::new();
    let program = container.rootfs().join("bin/program");
    fs::write(&program, contents).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
    begin(&mut container);
    container.push(&Op::Pivot { slave_old: false });
    execute(&mut container, &[file, "argument"]);
    container.run()
}

fn assert_failure(outcome: &Outcome, stage: Stage, errno: i32, detail: &str) {
    let failure = outcome.failure();
    assert_eq!((failure.stage, failure.errno, failure.detail.as_str()), (stage, errno, detail));
    assert_eq!(outcome.status, 1);
}

#[test]
fn program_with_a_slash_and_without_is_found() {
    for file in ["/bin/program", "bin/program", "program"] {
        let outcome = run_file(file, b"#!/bin/sh\necho $0 $1", 0o755);
        let shown = if file == "program" { "/bin/program" } else { file };
        assert_eq!(outcome.output, format!("{shown} argument\n"), "{outcome:?}");
    }
}

#[test]
fn program_that_is_missing_is_not_found() {
    assert_failure(&run_file("/bin/nonesuch", b"", 0o755), Stage::Exec, ENOENT, "");
    assert_failure(&run_file("nonesuch", b"", 0o755), Stage::NotInPath, ENOENT, "");
    assert_failure(&run_file("", b"", 0o755), Stage::NotInPath, ENOENT, "");
    assert_failure(&run_file(&"x".repeat(5000), b"", 0o755), Stage::NotInPath, ENOENT, "");
}

#[test]
fn program_without_permission_and_directory_are_said_to_be_so() {
    assert_failure(&run_file("/bin/program", b"", 0o644), Stage::Exec, EACCES, "");
    assert_failure(&run_file("program", b"", 0o644), Stage::NotInPath, EACCES, "/bin/program");
    assert_failure(&run_file("/bin", b"", 0o644), Stage::Exec, EISDIR, "");
}

#[test]
fn script_whose_interpreter_is_missing_shows_its_first_line() {
    let outcome = run_file("program", b"#!/usr/bin/python3 -u\nprint()", 0o755);
    assert_failure(&outcome, Stage::Interpreter, ENOENT, "#!/usr/bin/python3 -u");
    let outcome = run_file("program", b"#!/bin/sh\r\necho hello\r\n", 0o755);
    assert_failure(&outcome, Stage::Interpreter, ENOENT, "#!/bin/sh (the line ends in CR LF)");
}

#[test]
fn program_whose_dynamic_linker_is_missing_shows_it() {
    // The C compiler's own target: a dynamic program of this machine.
    let program = fs::read("/bin/ls").unwrap();
    let outcome = run_file("program", &program, 0o755);
    let failure = outcome.failure();
    assert_eq!((failure.stage, failure.errno), (Stage::Interpreter, ENOENT));
    assert!(failure.detail.starts_with("/lib") && failure.detail.contains("/ld-"), "{failure:?}");
}

#[test]
fn file_that_is_no_program_of_this_machine_is_said_to_be_so() {
    let mut other = fs::read("/bin/busybox").unwrap();
    other[18..20]
        .copy_from_slice(&if cfg!(target_arch = "s390x") { 62u16 } else { 22 }.to_le_bytes());
    let text = "it is a program for s390x, this machine is another";
    assert_failure(&run_file("program", &other, 0o755), Stage::Exec, ENOEXEC, text);
    assert_failure(&run_file("program", b"", 0o755), Stage::Exec, ENOEXEC, "the file is empty");
    let text = "it is neither an ELF program nor a script whose first line names its interpreter";
    assert_failure(&run_file("program", b"echo hello", 0o755), Stage::Exec, ENOEXEC, text);
}

#[test]
fn program_on_a_file_system_without_exec_cannot_be_executed() {
    const NOEXEC: u64 = 8;
    let mut container = Container::new();
    let source = container.rootfs().join("bin").to_str().unwrap().to_owned();
    begin(&mut container);
    bind(&mut container, &source, c"/bin", NOEXEC, mount_flags::RECURSIVE);
    container.push(&Op::Pivot { slave_old: false });
    container.push(&Op::Find { file: c"/bin/sh", path: c"" });
    assert_failure(&container.run(), Stage::Exec, EACCES, "");
}

#[test]
fn program_that_is_a_link_to_nowhere_is_missing() {
    let mut container = Container::new();
    symlink("/nowhere", container.rootfs().join("bin/program")).unwrap();
    begin(&mut container);
    container.push(&Op::Pivot { slave_old: false });
    execute(&mut container, &["/bin/program"]);
    assert_failure(&container.run(), Stage::Exec, ENOENT, "");
}
