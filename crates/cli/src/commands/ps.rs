//! `ps`: the processes of a container.
//!
//! Runs in: runtime.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, anyhow, bail};
use libcontainer::Container;

use super::ContainerId;
use crate::args::Globals;
use crate::exit::ExitCode;

/// List the processes of a container
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    id: ContainerId,

    /// For humans, by ps(1), or the pids alone for programs
    #[arg(long, short, value_name = "table|json", default_value = "table")]
    format: String,

    /// What ps(1) is called with
    #[arg(value_name = "ps options", trailing_var_arg = true)]
    options: Vec<OsString>,
}

pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let pids = Container::load(&globals.root, args.id.get()?)?.processes()?;
    let text = match args.format.as_str() {
        "table" => rows(&table(&args.options)?, &pids)?,
        // A Go slice that was never appended to is `null`, as in `list`.
        "json" if pids.is_empty() => "null\n".to_owned(),
        "json" => serde_json::to_string(&pids)? + "\n",
        _ => bail!("invalid format option"),
    };
    crate::print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// What the host's ps(1) says of all processes.
fn table(options: &[OsString]) -> anyhow::Result<String> {
    let mut ps = Command::new("ps");
    if options.is_empty() {
        ps.arg("-ef")
    } else {
        ps.args(options)
    };
    let output = ps
        .output()
        .context("ps (the host's ps(1) makes the table; `--format json` needs no other program)")?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("ps: {}: {}", output.status, String::from_utf8_lossy(&said).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The title, and of the other lines those of `pids`.
fn rows(table: &str, pids: &[i32]) -> anyhow::Result<String> {
    let mut lines = table.lines();
    let title = lines.next().unwrap_or_default();
    let column = title.split_whitespace().position(|name| name == "PID");
    let column = column.ok_or_else(|| anyhow!("couldn't find PID field in ps output"))?;
    let mut text = format!("{title}\n");
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let pid = line.split_whitespace().nth(column).unwrap_or_default();
        let pid: i32 = pid.parse().with_context(|| format!("unable to parse pid {pid:?}"))?;
        if pids.contains(&pid) {
            text.extend([line, "\n"]);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "UID   PID  PPID CMD\nroot    1     0 init\nroot   42     1 sleep 1\n\n";

    #[test]
    fn rows_are_the_title_and_those_of_the_container() {
        assert_eq!(
            rows(TABLE, &[42, 7]).unwrap(),
            "UID   PID  PPID CMD\nroot   42     1 sleep 1\n"
        );
    }

    #[test]
    fn table_without_a_pid_column_is_refused_in_the_words_of_runc() {
        let error = rows("USER CMD\nroot init\n", &[1]).unwrap_err();
        assert_eq!(error.to_string(), "couldn't find PID field in ps output");
        assert!(rows("PID\nx\n", &[1]).is_err());
    }
}
