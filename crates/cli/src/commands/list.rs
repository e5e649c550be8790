//! `list`: all containers below --root.
//!
//! Runs in: runtime.

use crate::exit::ExitCode;
use std::collections::BTreeMap;
use std::fs;

use anyhow::bail;
use libcontainer::Container;
use libcontainer::state::StateReport;

use crate::args::Globals;
use crate::report;

/// List the containers
#[derive(Debug, clap::Args)]
pub struct Args {
    /// For humans or for programs
    #[arg(long, short, value_name = "table|json", default_value = "table")]
    format: String,

    /// Print the ids alone
    #[arg(long, short)]
    quiet: bool,
}

pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let containers = containers(globals)?;
    let text = match args.format.as_str() {
        _ if args.quiet => {
            containers.iter().map(|container| format!("{}\n", container.id)).collect()
        }
        "table" => table(&containers),
        "json" => json(&containers)? + "\n",
        _ => bail!("invalid format option"),
    };
    crate::print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Those that can be read; of the others stderr says why not.
fn containers(globals: &Globals) -> anyhow::Result<Vec<StateReport>> {
    let mut users = Users::default();
    let mut reports = Vec::new();
    globals.require_given_root()?;
    for container in Container::list(&globals.root)? {
        let report = container.and_then(|container| {
            Ok(StateReport { owner: users.name(container.owner()), ..container.state()? })
        });
        match report {
            Ok(report) => reports.push(report),
            Err(error) => {
                let text = format!("load container: {:#}", anyhow::Error::new(error));
                report::note(&report::in_gos_words(text));
            }
        }
    }
    Ok(reports)
}

/// A Go slice that was never appended to is `null`; runc's callers know it.
fn json(containers: &[StateReport]) -> serde_json::Result<String> {
    if containers.is_empty() { Ok("null".into()) } else { serde_json::to_string(containers) }
}

fn table(containers: &[StateReport]) -> String {
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    rows.extend(containers.iter().map(|container| {
        [
            container.id.clone(),
            container.pid.to_string(),
            container.status.to_string(),
            container.bundle.display().to_string(),
            container.created.clone(),
            container.owner.clone(),
        ]
    }));
    align(&rows)
}

/// As Go's `tabwriter` with a least width of 12 and a padding of 3: what scripts that cut runc's columns count on.
fn align<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let mut widths = [12; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + 3);
        }
    }
    // The last cell of a line is not part of a column.
    if let Some(last) = widths.last_mut() {
        *last = 0;
    }
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<String>() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Names of users, each looked up once.
#[derive(Default)]
struct Users(BTreeMap<u32, String>);

impl Users {
    /// The name that /etc/passwd has for `uid`, else `#uid` as runc prints it. A static program has no NSS.
    fn name(&mut self, uid: u32) -> String {
        let look_up = || {
            let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
            user_name(&passwd, uid).unwrap_or_else(|| format!("#{uid}"))
        };
        self.0.entry(uid).or_insert_with(look_up).clone()
    }
}

fn user_name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use libcontainer::Status;

    fn report(id: &str, bundle: &str) -> StateReport {
        StateReport {
            oci_version: "1.3.0".into(),
            id: id.into(),
            pid: 42,
            status: Status::Running,
            bundle: bundle.into(),
            rootfs: "/r".into(),
            created: "2026-11-23T00:00:00.5Z".into(),
            annotations: BTreeMap::new(),
            owner: "root".into(),
        }
    }

    #[test]
    fn table_without_containers_is_the_header_of_runc() {
        assert_eq!(
            table(&[]),
            "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
        );
    }

    #[test]
    fn table_columns_grow_with_their_cells() {
        assert_eq!(
            table(&[report("a-long-container-name", "/b")]),
            "ID                      PID         STATUS      BUNDLE      CREATED                  OWNER\n\
             a-long-container-name   42          running     /b          2026-11-23T00:00:00.5Z   root\n"
        );
    }

    #[test]
    fn json_without_containers_is_null() {
        assert_eq!(json(&[]).unwrap(), "null");
    }

    #[test]
    fn json_is_one_line_with_the_keys_of_runc_in_order() {
        assert_eq!(
            json(&[report("c", "/b")]).unwrap(),
            "[{\"ociVersion\":\"1.3.0\",\"id\":\"c\",\"pid\":42,\"status\":\"running\",\"bundle\":\"/b\",\
             \"rootfs\":\"/r\",\"created\":\"2026-11-23T00:00:00.5Z\",\"owner\":\"root\"}]"
        );
    }

    #[test]
    fn user_is_found_by_id() {
        let passwd = "root:x:0:0::/root:/bin/sh\nbroken\nann:x:1000:1000::/:\n";
        assert_eq!(user_name(passwd, 1000).as_deref(), Some("ann"));
        assert_eq!(user_name(passwd, 1), None);
    }
}
