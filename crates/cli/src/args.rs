//! The global flags, as typed and as meant.
//!
//! Runs in: any process.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Command, FromArgMatches, ValueEnum};
use libcontainer::host;
use libcontainer::trace::Trace;

use crate::usage::UsageError;
use crate::{PROGRAM, commands};

/// The flags that every command has. The texts are what `--help` prints.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "a list of switches is what it is")]
pub struct GlobalArgs {
    /// Log everything, also what only helps to find a fault
    #[arg(long)]
    pub debug: bool,

    /// Append the log to FILE [default: stderr]
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,

    /// How a line of the log looks: json is what containerd and Podman read
    #[arg(long, value_name = "text|json", default_value = "text")]
    pub log_format: String,

    /// The least that is logged [default: warning; error for json]
    #[arg(long, value_name = "error|warning|debug")]
    pub log_level: Option<LogLevel>,

    /// Where the state of containers is kept; best on a tmpfs [default: /run/corten, or $XDG_RUNTIME_DIR/corten]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Have systemd make the cgroups; cgroupsPath is then slice:prefix:name
    #[arg(long)]
    systemd_cgroup: bool,

    /// Who makes the cgroups
    #[arg(long, value_name = "cgroupfs|systemd|disabled")]
    cgroup_manager: Option<CgroupManager>,

    /// Do without a cgroup that cannot be made, where nothing asks for one [default: auto: who is not root of the host does]
    #[arg(long, value_name = "true|false|auto", value_parser = bool_or_auto)]
    rootless: Option<Tolerance>,

    /// Write where the time goes to FILE, as trace-event JSON for Perfetto
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    /// Print the version
    #[arg(long, short)]
    pub version: bool,

    /// Print help
    #[arg(long, short)]
    pub help: bool,
}

/// `--log-level`, in the words of crun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Error,
    Warning,
    Debug,
}

/// `--cgroup-manager`, in the words of crun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CgroupManager {
    Cgroupfs,
    Systemd,
    Disabled,
}

/// `--rootless`: yes, no, or who calls decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tolerance(Option<bool>);

fn bool_or_auto(word: &str) -> Result<Tolerance, &'static str> {
    if word.is_empty() || word.eq_ignore_ascii_case("auto") {
        return Ok(Tolerance(None));
    }
    let said = crate::argv::go_bool(OsStr::new(word)).ok_or("not true, false or auto")?;
    Ok(Tolerance(Some(said)))
}

impl GlobalArgs {
    /// The declaration of the global flags.
    pub fn command() -> Command {
        let command = Command::new(PROGRAM).no_binary_name(true).args_override_self(true);
        Self::augment_args(command.disable_help_flag(true).disable_version_flag(true))
    }

    /// Types the canonical words of the global flags.
    pub fn parse(declared: Command, words: &[OsString]) -> anyhow::Result<Self> {
        let usage = |error: clap::Error| UsageError::from_clap(&error);
        let mut matches = declared.try_get_matches_from(words).map_err(usage)?;
        Ok(Self::from_arg_matches_mut(&mut matches).map_err(usage)?)
    }
}

/// runc's form of help.
const HELP: &str = "NAME:\n   {name}, a drop-in for runc - {about}\n\nUSAGE:\n   {usage}\n\n\
    COMMANDS:\n{subcommands}\n\nOPTIONS:\n{options}{after-help}\n";

/// The whole command line as a tree of clap's, for help, man pages and completions.
#[must_use]
pub fn command_tree() -> Command {
    let tree = GlobalArgs::augment_args(Command::new(PROGRAM));
    tree.about("Open Container Initiative runtime: runs containers from bundles")
        .help_template(HELP)
        .after_help("A bundle is a directory with a config.json and a root file system. `corten spec` writes a config.json.")
        .disable_help_flag(true)
        .subcommand_value_name("COMMAND")
        .subcommands(commands::ALL.iter().map(commands::Entry::command))
}

/// What the global flags mean here and now.
#[derive(Debug)]
pub struct Globals {
    /// The directory of the containers' states, absolute.
    pub root: PathBuf,
    /// `root` is below $XDG_RUNTIME_DIR because nothing else was said.
    is_xdg_root: bool,
    /// `root` was given by `--root`.
    is_given_root: bool,
    pub cgroup_manager: CgroupManager,
    /// `--rootless`; `None`: auto.
    pub rootless: Option<bool>,
    pub trace: Option<Arc<Trace>>,
    trace_file: Option<PathBuf>,
}

impl Globals {
    /// Looks at the environment for what the flags leave open.
    pub fn resolve(args: &GlobalArgs) -> anyhow::Result<Self> {
        let (root, is_xdg_root) = match &args.root {
            Some(root) => (sane_root(root)?, false),
            None => default_root(),
        };
        if is_xdg_root {
            require_own(&root)?;
        }
        let by_flag =
            if args.systemd_cgroup { CgroupManager::Systemd } else { CgroupManager::Cgroupfs };
        Ok(Self {
            root,
            is_xdg_root,
            is_given_root: args.root.is_some(),
            cgroup_manager: args.cgroup_manager.unwrap_or(by_flag),
            rootless: args.rootless.and_then(|Tolerance(said)| said),
            // A debug log has every step with its time.
            trace: (args.trace.is_some() || log::log_enabled!(log::Level::Debug))
                .then(|| Arc::new(Trace::new())),
            trace_file: args.trace.clone(),
        })
    }

    /// Whoever names a root means one that is there (runc's `list`); the default one is there when it is needed.
    pub fn require_given_root(&self) -> anyhow::Result<()> {
        if self.is_given_root {
            fs::metadata(&self.root).with_context(|| format!("open {}", self.root.display()))?;
        }
        Ok(())
    }

    /// Makes a root below $XDG_RUNTIME_DIR, with the sticky bit that keeps it from being cleaned up (XDG Base Directory
    /// Specification). Other roots are made by the library.
    pub fn make_xdg_root(&self) -> anyhow::Result<()> {
        let path = &self.root;
        if !self.is_xdg_root {
            let is_users = !self.is_given_root && !rustix::process::geteuid().is_root();
            if is_users && rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_err() {
                bail!(
                    "XDG_RUNTIME_DIR is not set, and {} is root's: log in (pam_systemd sets it), set it to a directory of your \
                     own, or give --root",
                    path.display()
                );
            }
            return Ok(());
        }
        let make = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        make.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o1700)))
            .with_context(|| {
                format!(
                    "{}: the path in $XDG_RUNTIME_DIR must be writable by the user",
                    path.display()
                )
            })?;
        require_own(path)
    }

    /// Writes what `--trace` asked for. The outcome of the command stays what it was when that cannot be written.
    pub fn write_trace(&self) {
        let (Some(trace), Some(file)) = (&self.trace, &self.trace_file) else { return };
        if let Err(error) = trace.write(file) {
            log::error!("{:#}", anyhow::Error::new(error));
        }
    }
}

/// `root`, absolute and without `.` and `..`, as runc cleans it: by the text alone.
fn sane_root(root: &Path) -> anyhow::Result<PathBuf> {
    let mut clean = PathBuf::from("/");
    for component in std::path::absolute(root)?.components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::Normal(name) => clean.push(name),
            _ => {}
        }
    }
    if clean == Path::new("/") {
        bail!("Option --root argument should not be set to /");
    }
    Ok(clean)
}

/// As runc has it with its own name; `true`: below $XDG_RUNTIME_DIR.
fn default_root() -> (PathBuf, bool) {
    match env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) if honours_xdg() => (Path::new(&dir).join(PROGRAM), true),
        _ => (Path::new("/run").join(PROGRAM), false),
    }
}

/// A root that somebody else has put where ours is looked for would have us run that one's hooks.
fn require_own(root: &Path) -> anyhow::Result<()> {
    let (own, found) = (rustix::process::geteuid().as_raw(), rustix::fs::stat(root));
    match found.map(|stat| stat.st_uid) {
        Ok(uid) if uid != own => bail!(
            "{} belongs to uid {uid}, not to this user (uid {own}): XDG_RUNTIME_DIR must be a directory of the user's own, \
             or give --root",
            root.display()
        ),
        _ => Ok(()),
    }
}

/// Root in the initial user namespace uses /run whatever the environment says: sudo keeps the user's variables.
fn honours_xdg() -> bool {
    !rustix::process::geteuid().is_root()
        || (env::var_os("USER").is_none_or(|user| user != "root") && host::in_user_namespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_that_is_the_root_directory_is_refused() {
        for root in ["/", "//", "/run/..", "/../.."] {
            let error = sane_root(Path::new(root)).unwrap_err();
            assert_eq!(error.to_string(), "Option --root argument should not be set to /");
        }
    }

    #[test]
    fn root_is_made_absolute_and_clean() {
        assert_eq!(sane_root(Path::new("/a/./b/../c/")).unwrap(), Path::new("/a/c"));
        assert!(sane_root(Path::new("a")).unwrap().is_absolute());
    }

    #[test]
    fn rootless_takes_gos_booleans_and_auto() {
        for (word, said) in
            [("true", Some(true)), ("0", Some(false)), ("auto", None), ("AUTO", None), ("", None)]
        {
            assert_eq!(bool_or_auto(word), Ok(Tolerance(said)), "{word}");
        }
        assert!(bool_or_auto("maybe").is_err());
    }

    #[test]
    fn command_tree_is_consistent() {
        command_tree().debug_assert();
        GlobalArgs::command().debug_assert();
    }
}
