//! `exec`: one more process in a container, in the foreground or detached.
//!
//! Runs in: runtime.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use libcontainer::spec::{self, Process};
use libcontainer::{Console, Container, ExecOptions};

use super::ContainerId;
use crate::args::Globals;
use crate::exit::ExitCode;
use crate::foreground;

/// How a flag takes values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    /// One, as a path.
    Path,
    /// One, as text.
    Text,
    /// Any number of them.
    Many,
    /// A number.
    Number,
    /// Any number of numbers.
    Numbers,
    /// `=true`, `=false`, or nothing, which is true.
    Truth,
}

/// Name, the letter that is its short form, what it takes, what the help calls that, and the help.
type Flag = (&'static str, Option<char>, Takes, &'static str, &'static str);

/// Those of runc, and `--cgroup`. A table, because the code of a derived parser for as many is 15 KB.
const FLAGS: [Flag; 17] = [
    (
        "process",
        Some('p'),
        Takes::Path,
        "FILE",
        "Read all of the process from FILE (-: stdin), which is as /process in config.json; the flags below do nothing then",
    ),
    ("tty", Some('t'), Takes::Nothing, "", "Give the process a terminal"),
    ("cwd", None, Takes::Text, "DIR", "The working directory"),
    ("env", Some('e'), Takes::Many, "NAME=VALUE", "Set a variable"),
    ("user", Some('u'), Takes::Text, "UID[:GID]", "Run as this user, and this group"),
    ("additional-gids", Some('g'), Takes::Numbers, "GID", "Add a supplementary group"),
    ("cap", Some('c'), Takes::Many, "CAP", "Add a capability"),
    (
        "no-new-privs",
        None,
        Takes::Truth,
        "true|false",
        "Forbid new privileges; =false allows what config.json forbids",
    ),
    ("apparmor", None, Takes::Text, "PROFILE", "The AppArmor profile"),
    ("process-label", None, Takes::Text, "LABEL", "The SELinux label"),
    ("detach", Some('d'), Takes::Nothing, "", "Return as soon as the program is executed"),
    (
        "console-socket",
        None,
        Takes::Path,
        "PATH",
        "Send the master of the terminal to the AF_UNIX socket at PATH",
    ),
    (
        "pidfd-socket",
        None,
        Takes::Path,
        "PATH",
        "Send a pidfd of the process to the AF_UNIX socket at PATH",
    ),
    ("pid-file", None, Takes::Path, "FILE", "Write the pid of the process to FILE"),
    ("preserve-fds", None, Takes::Number, "N", "Pass N more fds to the process, after stdio"),
    ("cgroup", None, Takes::Many, "PATH", "Put the process into this cgroup below the container's"),
    (
        "ignore-paused",
        None,
        Takes::Nothing,
        "",
        "Go on in a container that is paused, and wait there",
    ),
];

/// Execute another process in a container
#[derive(Debug)]
pub struct Args {
    id: ContainerId,
    command: Vec<OsString>,
    process: ProcessFlags,
    detach: bool,
    console_socket: Option<PathBuf>,
    pidfd_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    preserve_fds: u32,
    cgroup: Vec<String>,
    ignore_paused: bool,
}

/// What the process is to be; without `--process`: as in config.json, but for these.
#[derive(Debug)]
struct ProcessFlags {
    process: Option<PathBuf>,
    tty: bool,
    cwd: Option<String>,
    env: Vec<String>,
    user: Option<String>,
    additional_gids: Vec<u32>,
    cap: Vec<String>,
    no_new_privs: Option<bool>,
    apparmor: Option<String>,
    process_label: Option<String>,
}

impl clap::Args for Args {
    fn augment_args(command: Command) -> Command {
        let command = ContainerId::augment_args(command);
        // After the operand, whose description clap takes for the command's.
        let command = command.about("Execute another process in a container");
        let program = Arg::new("command").value_name("command").num_args(0..);
        let program = program.trailing_var_arg(true).allow_hyphen_values(true);
        let program = program.value_parser(clap::value_parser!(OsString));
        let command = command.arg(program.help("The program and its arguments"));
        FLAGS.iter().fold(command, |command, flag| command.arg(argument(flag)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn argument((name, letter, takes, value, help): &Flag) -> Arg {
    let argument = Arg::new(*name).long(*name).help(*help).action(match takes {
        Takes::Nothing => ArgAction::SetTrue,
        Takes::Many | Takes::Numbers => ArgAction::Append,
        _ => ArgAction::Set,
    });
    let argument = letter.map_or(argument.clone(), |letter| argument.short(letter));
    let argument = match takes {
        Takes::Nothing => return argument,
        Takes::Text | Takes::Many => argument,
        Takes::Path => argument.value_parser(clap::value_parser!(PathBuf)),
        Takes::Number | Takes::Numbers => argument.value_parser(clap::value_parser!(u32)),
        Takes::Truth => argument
            .value_parser(clap::value_parser!(bool))
            .num_args(0..=1)
            .default_missing_value("true")
            .require_equals(true)
            .hide_possible_values(true),
    };
    argument.value_name(*value)
}

impl clap::FromArgMatches for Args {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let text = |name| matches.get_one::<String>(name).cloned();
        let texts = |name| matches.get_many(name).map_or(Vec::new(), |all| all.cloned().collect());
        let path = |name| matches.get_one::<PathBuf>(name).cloned();
        Ok(Self {
            id: ContainerId::from_arg_matches(matches)?,
            command: matches.get_many("command").map_or(Vec::new(), |all| all.cloned().collect()),
            process: ProcessFlags {
                process: path("process"),
                tty: matches.get_flag("tty"),
                cwd: text("cwd"),
                env: texts("env"),
                user: text("user"),
                additional_gids: matches
                    .get_many("additional-gids")
                    .map_or(Vec::new(), |all| all.copied().collect()),
                cap: texts("cap"),
                no_new_privs: matches.get_one("no-new-privs").copied(),
                apparmor: text("apparmor"),
                process_label: text("process-label"),
            },
            detach: matches.get_flag("detach"),
            console_socket: path("console-socket"),
            pidfd_socket: path("pidfd-socket"),
            pid_file: path("pid-file"),
            preserve_fds: matches.get_one("preserve-fds").copied().unwrap_or(0),
            cgroup: texts("cgroup"),
            ignore_paused: matches.get_flag("ignore-paused"),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
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
