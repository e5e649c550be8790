//! `ps`.
//!
//! Runs in: any process.

use libtest_mimic::Failed;
use serde_json::Value;

use crate::callers::{FOREVER, as_containerd, running, stopped};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, Program, Root};
use crate::runtime::Runtime;

const OTHER_TABLE: &str = "its table has the column of pids alone and takes no options of ps";

table! {
    containerd_reads_pids_from_ps_as_json: [Root],
    ps_of_several_processes_has_all_pids: [Root],
    ps_of_a_stopped_container_is_empty: [Root, NotOn("crun", "it wants a running one")],
    ps_of_a_missing_container_does_not_exist: [Root, NotOn("crun", "has other words")],
    ps_with_another_format_is_refused: [Root, NotOn("crun", "has other words")],
    ps_table_is_that_of_ps_with_its_title: [Root, Program("ps"), NotOn("crun", OTHER_TABLE)],
    ps_options_after_the_id_go_to_ps: [Root, Program("ps"), NotOn("crun", OTHER_TABLE)],
    ps_options_that_ps_refuses_are_an_error: [Root, Program("ps"), NotOn("crun", OTHER_TABLE)],
    ps_without_a_pid_column_is_refused: [Root, Program("ps"), NotOn("crun", OTHER_TABLE)],
    ps_without_the_program_says_what_works: [Root, Corten("runc says only what is missing")],
}

/// The pids as go-runc reads them: stdout and stderr are one stream for it.
fn pids(runtime: &Runtime, id: &str) -> Result<Vec<i64>, Failed> {
    let outcome = as_containerd(runtime, &["ps", "--format", "json", id]).output()?.ok()?;
    let merged = format!("{}{}", outcome.stdout, outcome.stderr);
    let list: Value =
        serde_json::from_str(&merged).map_err(|error| format!("{error}: {merged}"))?;
    Ok(list.as_array().into_iter().flatten().filter_map(Value::as_i64).collect())
}

fn containerd_reads_pids_from_ps_as_json(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    ensure_eq!(pids(runtime, &id)?, vec![i64::from(runtime.pid(&id)?)]);
    Ok(())
}

fn ps_of_several_processes_has_all_pids(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = runtime.bundle(&["sh", "-c", "sleep 1001 & sleep 1002 & echo ready; wait"])?;
    let created = runtime.create(&bundle, &id)?.ok()?;
    ensure_eq!(pids(runtime, &id)?, vec![i64::from(runtime.pid(&id)?)]);
    runtime.start(&id)?.ok()?;
    runtime.wait_until("the processes", || Ok(created.stdout_now() == "ready\n"))?;
    let pids = pids(runtime, &id)?;
    ensure_eq!(pids.len(), 3);
    ensure!(pids.contains(&runtime.pid(&id)?.into()), "init is not among {pids:?}");
    Ok(())
}

fn ps_of_a_stopped_container_is_empty(runtime: &Runtime) -> TestResult {
    let id = stopped(runtime)?;
    let outcome = runtime.command(["ps", "--format", "json", &id]).output()?.ok()?;
    ensure_eq!(outcome.stdout, "null\n");
    Ok(())
}

fn ps_of_a_missing_container_does_not_exist(runtime: &Runtime) -> TestResult {
    runtime.command(["ps", "nosuch"]).output()?.fails_with("does not exist")?;
    Ok(())
}

fn ps_with_another_format_is_refused(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let outcome = runtime.command(["ps", "--format", "xml", &id]).output()?;
    outcome.exits(1)?.fails_with("invalid format option")?;
    Ok(())
}

fn ps_table_is_that_of_ps_with_its_title(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let outcome = runtime.command(["ps", &id]).output()?.ok()?;
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    ensure_eq!(lines.len(), 2);
    ensure!(lines[0].starts_with("UID") && lines[0].contains("CMD"), "another title: {}", lines[0]);
    ensure!(lines[1].contains(&FOREVER.join(" ")), "another process: {}", lines[1]);
    Ok(())
}

fn ps_options_after_the_id_go_to_ps(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    // A flag of ours before the container, flags of ps after it, one of them spelt as one of ours.
    let command = runtime.command(["ps", "-f", "table", &id, "-e", "-o", "pid,args", "-q"]);
    let outcome = command.arg(runtime.pid(&id)?.to_string()).output()?.ok()?;
    let expected = format!("{} {}", runtime.pid(&id)?, FOREVER.join(" "));
    let found: Vec<&str> = outcome.stdout.lines().map(str::trim).collect();
    ensure_eq!(found, vec!["PID COMMAND", expected.as_str()]);
    Ok(())
}

fn ps_options_that_ps_refuses_are_an_error(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    runtime.command(["ps", &id, "--nosuchflag"]).output()?.exits(1)?.fails()?;
    Ok(())
}

fn ps_without_a_pid_column_is_refused(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let outcome = runtime.command(["ps", &id, "-e", "-o", "args"]).output()?;
    outcome.exits(1)?.fails_with("couldn't find PID field in ps output")?;
    Ok(())
}

fn ps_without_the_program_says_what_works(runtime: &Runtime) -> TestResult {
    let id = running(runtime)?;
    let outcome = runtime.command(["ps", &id]).env("PATH", "/nonexistent").output()?;
    outcome.exits(1)?.fails_with("--format json")?;
    let json = runtime.command(["ps", "--format", "json", &id]).env("PATH", "/nonexistent");
    json.output()?.ok()?;
    Ok(())
}
