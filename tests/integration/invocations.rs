//! Bad command lines, files and ids.
//!
//! Runs in: any process.

use std::fs;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::json;

use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{NotOn, Root};
use crate::inside::{nothing_left, refusal};
use crate::runtime::Runtime;

const OVERWRITES: &str =
    "writes over what is there: runc replaces the node by a file, crun writes to the device";

table! {
    bundle_that_is_missing_is_refused: [Root],
    pid_file_that_is_a_device_is_left_as_it_is: [Root, NotOn("runc", OVERWRITES), NotOn("crun", OVERWRITES)],
    pid_file_that_cannot_be_written_undoes_create: [Root],
    pid_file_of_before_is_replaced: [Root],
    long_id_works_or_is_refused: [Root],
    id_with_every_letter_works: [Root],
    command_lines_that_are_wrong_exit_with_one: [Root],
    every_error_of_ours_exits_with_one: [Root],
}

fn bundle_that_is_missing_is_refused(runtime: &Runtime) -> TestResult {
    let create = runtime.command(["create", "--bundle", "/no/such/bundle"]).arg(runtime.new_id());
    create.output()?.fails_with("/no/such/bundle")?;
    nothing_left(runtime)
}

fn pid_file_that_is_a_device_is_left_as_it_is(runtime: &Runtime) -> TestResult {
    let device = runtime.directory().join("full");
    mknodat(CWD, &device, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 7))?;
    let bundle = runtime.bundle(&["true"])?;
    let create = runtime.command(["create", "--bundle"]).arg(bundle.path());
    create.arg("--pid-file").arg(&device).arg(runtime.new_id()).output()?.fails()?;
    let found = rustix::fs::lstat(&device)?;
    ensure_eq!(FileType::from_raw_mode(found.st_mode), FileType::CharacterDevice);
    nothing_left(runtime)
}

fn pid_file_that_cannot_be_written_undoes_create(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["true"])?;
    let create = runtime.command(["create", "--bundle"]).arg(bundle.path());
    create
        .arg("--pid-file")
        .arg("/no/such/directory/pid")
        .arg(runtime.new_id())
        .output()?
        .fails()?;
    nothing_left(runtime)
}

fn pid_file_of_before_is_replaced(runtime: &Runtime) -> TestResult {
    let (id, bundle) = (runtime.new_id(), runtime.bundle(&["true"])?);
    let file = runtime.directory().join("pid");
    fs::write(&file, "something longer than any pid")?;
    let create = runtime.command(["create", "--bundle"]).arg(bundle.path());
    create.arg("--pid-file").arg(&file).arg(&id).output()?.ok()?;
    ensure_eq!(fs::read_to_string(&file)?, runtime.pid(&id)?.to_string());
    // The temporary file is gone.
    let names = fs::read_dir(runtime.directory())?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains("pid"));
    ensure_eq!(names.count(), 1);
    Ok(())
}

fn long_id_works_or_is_refused(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["true"])?;
    for length in [200, 255, 256, 1024, 5000] {
        let id = format!("{}{}", runtime.marker(), "x".repeat(length - runtime.marker().len()));
        let outcome = runtime.create(&bundle, &id)?;
        if outcome.code() == 0 {
            runtime.delete_force(&id)?.ok()?;
        } else {
            outcome.fails()?;
        }
        nothing_left(runtime)?;
    }
    Ok(())
}

fn id_with_every_letter_works(runtime: &Runtime) -> TestResult {
    let id = format!("{}_A-z.0+9", runtime.marker());
    runtime.create(&runtime.bundle(&["true"])?, &id)?.ok()?;
    let state = runtime.state(&id)?;
    ensure_eq!(state["id"], id.as_str());
    runtime.delete_force(&id)?.ok()?;
    nothing_left(runtime)
}

fn command_lines_that_are_wrong_exit_with_one(runtime: &Runtime) -> TestResult {
    for arguments in [
        &["create"][..],
        &["create", "a", "b"],
        &["state"],
        &["start"],
        &["start", "a", "b"],
        &["kill"],
        &["delete"],
    ] {
        let outcome = runtime.command(arguments).output()?;
        ensure!(outcome.code() != 0, "it was taken: {outcome}");
        // crun's argp has 64 for some of them.
        ensure!(outcome.code() == 1 || runtime.is("crun"), "another code: {outcome}");
    }
    for arguments in
        [&["nosuchcommand"][..], &["create", "--nosuchflag", "a"], &["kill", "a", "NOSUCHSIGNAL"]]
    {
        let outcome = runtime.command(arguments).output()?;
        ensure!(outcome.code() != 0, "it was taken: {outcome}");
    }
    Ok(())
}

fn every_error_of_ours_exits_with_one(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["/no/such/program"])?;
    runtime.create(&bundle, &runtime.new_id())?.exits(1)?;
    runtime.run(&bundle)?.exits(1)?;
    for verb in ["state", "start", "delete"] {
        runtime.command([verb, "nosuch"]).output()?.exits(1)?;
    }
    runtime.kill("nosuch", "TERM")?.exits(1)?;
    refusal(runtime, |config| config["root"]["path"] = json!("missing"))?.exits(1)?;
    Ok(())
}
