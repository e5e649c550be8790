//! `exec`: one more process in a container, in the foreground or detached.
//!
//! Runs in: runtime.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use libcontainer::spec::{self, Process};
use libcontainer::{Console, Container, ExecOptions};

use super::ContainerId;
use crate::args::Globals;
use crate::exit::ExitCode;
use crate::foreground;

/// Execute another process in a container
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    id: ContainerId,

    /// The program and its arguments
    #[arg(value_name = "command", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,

    #[command(flatten)]
    process: ProcessFlags,

    /// Return as soon as the program is executed
    #[arg(long, short)]
    detach: bool,

    /// Send the master of the terminal to the AF_UNIX socket at PATH
    #[arg(long, value_name = "PATH")]
    console_socket: Option<PathBuf>,

    /// Send a pidfd of the process to the AF_UNIX socket at PATH
    #[arg(long, value_name = "PATH")]
    pidfd_socket: Option<PathBuf>,

    /// Write the pid of the process to FILE
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,

    /// Pass N more fds to the process, after stdio
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    preserve_fds: u32,

    /// Put the process into this cgroup below the container's
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<String>,

    /// Go on in a container that is paused, and wait there
    #[arg(long)]
    ignore_paused: bool,
}

/// What the process is to be; without `--process`: as in config.json, but for these.
#[derive(Debug, clap::Args)]
struct ProcessFlags {
    /// Read all of the process from FILE (-: stdin), which is as /process in config.json; the flags below do nothing then
    #[arg(long, short, value_name = "FILE")]
    process: Option<PathBuf>,

    /// Give the process a terminal
    #[arg(long, short)]
    tty: bool,

    /// The working directory
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,

    /// Set a variable
    #[arg(long, short, value_name = "NAME=VALUE")]
    env: Vec<String>,

    /// Run as this user, and this group
    #[arg(long, short, value_name = "UID[:GID]")]
    user: Option<String>,

    /// Add a supplementary group
    #[arg(long, short = 'g', value_name = "GID")]
    additional_gids: Vec<u32>,

    /// Add a capability
    #[arg(long, short, value_name = "CAP")]
    cap: Vec<String>,

    /// Forbid new privileges; =false allows what config.json forbids
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true", require_equals = true, hide_possible_values = true)]
    no_new_privs: Option<bool>,

    /// The AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,

    /// The SELinux label
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
}

/// What every error of exec begins with; it exits with 255 (runc-exec(8)), so that it is no code of the program's.
#[derive(Debug)]
pub struct ExecFailed;

impl fmt::Display for ExecFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("exec failed")
    }
}

pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    exec(args, globals).context(ExecFailed)
}

fn exec(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let container = Container::load(&globals.root, args.id.get()?)?;
    let process = args.process.read(&container, args.command)?;
    if args.console_socket.is_some() && !(args.detach && process.terminal) {
        bail!("cannot use console socket if corten will not detach or allocate tty");
    }
    let options = ExecOptions {
        process,
        console: args.console_socket.map(Console::Socket),
        pid_file: args.pid_file,
        pidfd_socket: args.pidfd_socket,
        // Of LISTEN_FDS runc's exec knows nothing, whatever its help says.
        preserve_fds: args.preserve_fds,
        cgroup: sub_cgroup(args.cgroup)?,
        ignore_paused: args.ignore_paused,
        trace: globals.trace.clone(),
        ..ExecOptions::default()
    };
    if !args.detach {
        return foreground::exec(&container, options);
    }
    crate::block_sigpipe()?;
    container.exec(&options)?;
    Ok(ExitCode::SUCCESS)
}

/// `[CONTROLLERS:]PATH`, where the controllers are of cgroup v1.
fn sub_cgroup(mut words: Vec<String>) -> anyhow::Result<Option<PathBuf>> {
    if words.len() > 1 || words.iter().any(|word| word.contains(':')) {
        bail!("invalid --cgroup argument: {}: controllers are of cgroup v1", words.join(" "));
    }
    Ok(words.pop().map(PathBuf::from))
}

impl ProcessFlags {
    fn read(self, container: &Container, command: Vec<OsString>) -> anyhow::Result<Process> {
        match &self.process {
            Some(file) => from_file(file),
            None => self.change(container.process()?, command),
        }
    }

    fn change(self, mut process: Process, command: Vec<OsString>) -> anyhow::Result<Process> {
        if command.is_empty() {
            bail!("exec args cannot be empty");
        }
        let text =
            |word: OsString| word.into_string().map_err(|word| anyhow!("{word:?} is not UTF-8"));
        process.args = command.into_iter().map(text).collect::<Result<_, _>>()?;
        process.env.extend(self.env);
        process.terminal = self.tty;
        process.no_new_privileges = self.no_new_privs.unwrap_or(process.no_new_privileges);
        set(&mut process.cwd, self.cwd);
        set(&mut process.apparmor_profile, self.apparmor);
        set(&mut process.selinux_label, self.process_label);
        if let Some(user) = self.user {
            let (uid, gid) =
                user.split_once(':').map_or((user.as_str(), None), |(uid, gid)| (uid, Some(gid)));
            process.user.uid = uid.parse().with_context(|| format!("bad uid: {uid:?}"))?;
            if let Some(gid) = gid {
                process.user.gid = gid.parse().with_context(|| format!("bad gid: {gid:?}"))?;
            }
        }
        process.user.additional_gids.extend(self.additional_gids);
        add_capabilities(&mut process, &self.cap);
        Ok(process)
    }
}

fn set(place: &mut String, value: Option<String>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// As runc: ambient ones only where some are inheritable, for otherwise none can be ambient.
fn add_capabilities(process: &mut Process, names: &[String]) {
    if names.is_empty() {
        return;
    }
    let sets = process.capabilities.get_or_insert_default();
    for name in names {
        let upper = name.to_ascii_uppercase();
        let name = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        if !sets.inheritable.is_empty() {
            sets.ambient.push(name.clone());
        }
        sets.bounding.push(name.clone());
        sets.effective.push(name.clone());
        sets.permitted.push(name);
    }
}

/// A pipe as well (`--process <(…)`).
fn from_file(path: &Path) -> anyhow::Result<Process> {
    let limit = u64::try_from(spec::limits::MAX_CONFIG_SIZE)?;
    let mut text = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(limit + 1).read_to_end(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut text))
    };
    read.with_context(|| format!("--process {}", path.display()))?;
    if u64::try_from(text.len())? > limit {
        bail!("--process {}: is larger than {} MiB", path.display(), limit >> 20);
    }
    spec::parse_process(&text).with_context(|| format!("--process {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> ProcessFlags {
        ProcessFlags {
            process: None,
            tty: false,
            cwd: None,
            env: Vec::new(),
            user: None,
            additional_gids: Vec::new(),
            cap: Vec::new(),
            no_new_privs: None,
            apparmor: None,
            process_label: None,
        }
    }

    fn changed(flags: ProcessFlags, command: &[&str]) -> anyhow::Result<Process> {
        let process = spec::parse_process(
            br#"{"cwd": "/srv", "args": ["init"], "env": ["A=1"], "terminal": true, "noNewPrivileges": true,
                "user": {"uid": 1, "gid": 2, "additionalGids": [3]}}"#,
        )?;
        flags.change(process, command.iter().map(OsString::from).collect())
    }

    #[test]
    fn process_without_flags_is_that_of_the_container_without_its_terminal() {
        let process = changed(flags(), &["ls", "-l"]).unwrap();
        assert_eq!((process.cwd.as_str(), process.terminal), ("/srv", false));
        assert_eq!((process.user.uid, process.user.gid, process.no_new_privileges), (1, 2, true));
        assert_eq!(
            (process.args, process.env),
            (vec!["ls".into(), "-l".into()], vec!["A=1".into()])
        );
    }

    #[test]
    fn process_new_privileges_are_as_in_config_json_unless_said_otherwise() {
        for (flag, expected) in [(None, true), (Some(true), true), (Some(false), false)] {
            let flags = ProcessFlags { no_new_privs: flag, ..flags() };
            assert_eq!(changed(flags, &["id"]).unwrap().no_new_privileges, expected);
        }
    }

    #[test]
    fn process_user_without_a_group_keeps_the_containers() {
        let of = |user: &str| {
            changed(ProcessFlags { user: Some(user.into()), ..flags() }, &["id"])
                .map(|p| (p.user.uid, p.user.gid))
        };
        assert_eq!(of("1000").unwrap(), (1000, 2));
        assert_eq!(of("1000:50").unwrap(), (1000, 50));
        for (user, problem) in [
            ("root", "bad uid"),
            ("1:x", "bad gid"),
            ("-1", "bad uid"),
            ("1:", "bad gid"),
            ("", "bad uid"),
        ] {
            assert!(of(user).unwrap_err().to_string().starts_with(problem), "{user:?}");
        }
    }

    #[test]
    fn process_capabilities_are_ambient_only_where_some_are_inheritable() {
        let process = changed(
            ProcessFlags { cap: vec!["CAP_KILL".into(), "chown".into()], ..flags() },
            &["id"],
        )
        .unwrap();
        let sets = process.capabilities.unwrap();
        assert_eq!(sets.effective, ["CAP_KILL", "CAP_CHOWN"]);
        assert!(sets.ambient.is_empty() && sets.inheritable.is_empty());
    }

    #[test]
    fn process_without_a_command_is_refused_in_runcs_words() {
        assert_eq!(changed(flags(), &[]).unwrap_err().to_string(), "exec args cannot be empty");
    }

    #[test]
    fn sub_cgroup_of_a_controller_is_refused() {
        assert_eq!(sub_cgroup(vec!["a/b".into()]).unwrap(), Some("a/b".into()));
        assert!(sub_cgroup(vec!["cpu:a".into()]).is_err());
        assert!(sub_cgroup(vec!["a".into(), "b".into()]).is_err());
    }
}
