//! Sorts the words of the command line, in every spelling that runc's callers use.
//!
//! runc's parser (Go's `flag` with urfave's extensions) takes more spellings than clap: one dash before a long name
//! (`-no-subreaper`, go-runc), `=true` after a switch (`--rootless=true`, go-runc), flags that are repeated (`--root`,
//! conmon-rs), flags after the operands. Here all become one canonical form, from which clap makes types: `--name` or
//! `--name=value`. Global flags are taken from anywhere before `--`, unless the command has one of that name.
//!
//! Runs in: any process.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, Command};

use crate::usage::UsageError;

/// The flag whose empty value is not the same as its absence: there the default would be another set of containers.
const NEVER_EMPTY: &str = "root";

/// A command line in canonical words.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The global flags.
    pub globals: Vec<OsString>,
    /// The first word that is neither a flag nor a flag's value.
    pub command: Option<OsString>,
    /// The command's flags.
    pub flags: Vec<OsString>,
    /// What follows the command and is no flag.
    pub operands: Vec<OsString>,
    /// The command's `--help` or `-h`; what follows it is not looked at.
    pub help: bool,
    /// The first thing that cannot be understood; what follows it is not looked at.
    pub problem: Option<UsageError>,
}

impl CommandLine {
    /// Sorts `words`, the command line without the program's name.
    ///
    /// `globals` declares the global flags, `find` gives the declaration of a command by its name.
    pub fn split(
        words: impl IntoIterator<Item = OsString>,
        globals: &Command,
        find: impl Fn(&str) -> Option<Command>,
    ) -> Self {
        let mut line = Self::default();
        let mut words = words.into_iter();
        let name = line.sort_globals(&mut words, globals);
        let outcome = name.and_then(|name| {
            let command = name.as_deref().and_then(OsStr::to_str).and_then(find);
            line.command = name;
            // Of a command that is not there no flag can be told from an operand.
            let Some(command) = command else {
                line.operands = words.collect();
                return Ok(());
            };
            line.sort_command(&mut words, globals, &command)
        });
        line.problem = outcome.err();
        line
    }

    /// Up to the command's name, which it returns.
    fn sort_globals(
        &mut self,
        words: &mut impl Iterator<Item = OsString>,
        globals: &Command,
    ) -> Result<Option<OsString>, UsageError> {
        while let Some(word) = words.next() {
            if word == "--" {
                continue;
            }
            let Some(flag) = Flag::parse(&word) else { return Ok(Some(word)) };
            let arg = flag.declared_in(globals).ok_or_else(|| UsageError::unknown_flag(&word))?;
            flag.push(arg, words, &mut self.globals)?;
        }
        Ok(None)
    }

    fn sort_command(
        &mut self,
        words: &mut impl Iterator<Item = OsString>,
        globals: &Command,
        command: &Command,
    ) -> Result<(), UsageError> {
        while let Some(word) = words.next() {
            if word == "--" {
                self.operands.extend(words);
                return Ok(());
            }
            let Some(flag) = Flag::parse(&word) else {
                self.operands.push(word);
                // `exec ID ls -l`, `ps ID -o pid`: what follows is the program's.
                if command.get_positionals().any(Arg::is_trailing_var_arg_set) {
                    self.operands.extend(words);
                    return Ok(());
                }
                continue;
            };
            if flag.is_help() {
                self.help = true;
                return Ok(());
            }
            if let Some(arg) = flag.declared_in(command) {
                flag.push(arg, words, &mut self.flags)?;
            } else if let Some(arg) =
                flag.declared_in(globals).filter(|arg| arg.get_short().is_none())
            {
                flag.push(arg, words, &mut self.globals)?;
            } else {
                return Err(UsageError::unknown_flag(&word));
            }
        }
        Ok(())
    }

    /// The command's part as clap is to read it.
    pub fn arguments(&self) -> impl Iterator<Item = &OsStr> {
        let dashes = OsStr::new("--");
        let flags = self.flags.iter().map(OsString::as_os_str);
        flags.chain([dashes]).chain(self.operands.iter().map(OsString::as_os_str))
    }
}

/// A word that is a flag.
struct Flag {
    name: String,
    /// What follows `=`.
    value: Option<OsString>,
}

impl Flag {
    /// `None`: not a flag. A dash alone is a file by convention, and a dash before a digit a number: runc's parser takes
    /// both as operands (`kill ID -9`).
    fn parse(word: &OsStr) -> Option<Self> {
        let bytes = word.as_bytes();
        let rest = bytes.strip_prefix(b"--").or_else(|| bytes.strip_prefix(b"-"))?;
        if !rest.first()?.is_ascii_alphabetic() {
            return None;
        }
        let (name, value) = match rest.iter().position(|byte| *byte == b'=') {
            None => (rest, None),
            Some(at) => {
                let (name, value) = rest.split_at(at);
                (name, value.get(1..).map(|value| OsString::from_vec(value.to_vec())))
            }
        };
        Some(Self { name: String::from_utf8_lossy(name).into_owned(), value })
    }

    fn is_help(&self) -> bool {
        matches!(self.name.as_str(), "help" | "h")
    }

    fn declared_in<'c>(&self, command: &'c Command) -> Option<&'c Arg> {
        let mut letters = self.name.chars();
        let letter = letters.next().filter(|_| letters.next().is_none());
        command.get_arguments().find(|arg| {
            arg.get_long() == Some(&self.name) || (letter.is_some() && arg.get_short() == letter)
        })
    }

    /// Adds the flag in its canonical form to `flags`; a value that is a word of its own is taken from `words`.
    fn push(
        self,
        arg: &Arg,
        words: &mut impl Iterator<Item = OsString>,
        flags: &mut Vec<OsString>,
    ) -> Result<(), UsageError> {
        let name = arg.get_long().unwrap_or_default();
        if !arg.get_action().takes_values() {
            return push_switch(name, self.value.as_deref(), flags);
        }
        if arg.get_num_args().is_some_and(|count| count.min_values() == 0) {
            return push_choice(name, self.value.as_deref(), flags);
        }
        let value =
            self.value.or_else(|| words.next()).ok_or_else(|| UsageError::missing_value(name))?;
        let mut word = OsString::from(format!("--{name}="));
        let is_list = matches!(arg.get_action(), clap::ArgAction::Append);
        if value.is_empty() && name != NEVER_EMPTY && !is_list {
            // As with runc: the default again, whatever an earlier word has said.
            flags.retain(|earlier| !earlier.as_bytes().starts_with(word.as_bytes()));
        } else {
            word.push(value);
            flags.push(word);
        }
        Ok(())
    }
}

/// The last one wins: `--debug --debug=false` is off.
fn push_switch(
    name: &str,
    value: Option<&OsStr>,
    flags: &mut Vec<OsString>,
) -> Result<(), UsageError> {
    let word = OsString::from(format!("--{name}"));
    match value.map(go_bool) {
        None | Some(Some(true)) => flags.push(word),
        Some(Some(false)) => flags.retain(|earlier| *earlier != word),
        Some(None) => return Err(UsageError::bad_bool(name, value.unwrap_or_default())),
    }
    Ok(())
}

/// A switch of which `false` is not as none.
fn push_choice(
    name: &str,
    value: Option<&OsStr>,
    flags: &mut Vec<OsString>,
) -> Result<(), UsageError> {
    let is_on = match value {
        None => true,
        Some(word) => go_bool(word).ok_or_else(|| UsageError::bad_bool(name, word))?,
    };
    flags.push(format!("--{name}={is_on}").into());
    Ok(())
}

/// The words that Go's `strconv.ParseBool` takes.
pub fn go_bool(word: &OsStr) -> Option<bool> {
    match word.to_str()? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::GlobalArgs;
    use crate::commands;

    fn split(line: &str) -> CommandLine {
        let words = line.split_whitespace().map(OsString::from);
        CommandLine::split(words, &GlobalArgs::command(), |name| {
            commands::find(name).map(commands::Entry::command)
        })
    }

    /// Globals, command, flags and operands, each as one line.
    fn sorted(line: &str) -> [String; 4] {
        let line = split(line);
        assert_eq!(line.problem, None);
        let join = |words: &[OsString]| words.join(OsStr::new(" ")).into_string().unwrap();
        let command = line.command.clone().unwrap().into_string().unwrap();
        [join(&line.globals), command, join(&line.flags), join(&line.operands)]
    }

    fn problem(line: &str) -> String {
        split(line).problem.unwrap().to_string()
    }

    #[test]
    fn go_runc_create_is_sorted() {
        assert_eq!(
            sorted(
                "--root /run/containerd/runc/k8s.io --log /b/log.json --log-format json --rootless=true \
                 create --bundle /b --pid-file /b/init.pid --no-pivot --preserve-fds 2 c1"
            ),
            [
                "--root=/run/containerd/runc/k8s.io --log=/b/log.json --log-format=json --rootless=true",
                "create",
                "--bundle=/b --pid-file=/b/init.pid --no-pivot --preserve-fds=2",
                "c1"
            ]
        );
    }

    #[test]
    fn go_runc_single_dash_no_subreaper_is_the_long_flag() {
        assert_eq!(
            sorted("run --detach -no-subreaper --bundle /b c1"),
            ["", "run", "--detach --no-subreaper --bundle=/b", "c1"]
        );
    }

    #[test]
    fn go_runc_kill_all_with_a_number_is_sorted() {
        assert_eq!(sorted("kill --all c1 9"), ["", "kill", "--all", "c1 9"]);
        assert_eq!(sorted("delete --force c1"), ["", "delete", "--force", "c1"]);
        assert_eq!(sorted("list --format=json"), ["", "list", "--format=json", ""]);
    }

    #[test]
    fn conmon_create_is_sorted() {
        assert_eq!(
            sorted(
                "--systemd-cgroup --log-format=json --log /run/oci-log create --bundle /b --pid-file /p \
                 --no-new-keyring --preserve-fds 1 --console-socket /s c1"
            ),
            [
                "--systemd-cgroup --log-format=json --log=/run/oci-log",
                "create",
                "--bundle=/b --pid-file=/p --no-new-keyring --preserve-fds=1 --console-socket=/s",
                "c1"
            ]
        );
    }

    #[test]
    fn conmon_rs_repeated_globals_are_kept_for_the_last_to_win() {
        assert_eq!(
            sorted(
                "--root=/a --systemd-cgroup --root=/a --systemd-cgroup create --bundle /b --pid-file /p c1"
            ),
            [
                "--root=/a --systemd-cgroup --root=/a --systemd-cgroup",
                "create",
                "--bundle=/b --pid-file=/p",
                "c1"
            ]
        );
    }

    #[test]
    fn cri_o_kill_a_is_the_short_flag() {
        assert_eq!(sorted("--root /r kill -a c1 9"), ["--root=/r", "kill", "--all", "c1 9"]);
        assert_eq!(sorted("--root /r kill c1 KILL"), ["--root=/r", "kill", "", "c1 KILL"]);
    }

    #[test]
    fn podman_cgroup_manager_disabled_is_a_global_flag() {
        assert_eq!(
            sorted("--cgroup-manager disabled --log-format=json --log=/l start c1"),
            ["--cgroup-manager=disabled --log-format=json --log=/l", "start", "", "c1"]
        );
    }

    #[test]
    fn global_flags_after_the_command_are_global() {
        assert_eq!(sorted("state c1 --root /r -debug"), ["--root=/r --debug", "state", "", "c1"]);
    }

    #[test]
    fn exec_takes_no_flags_after_the_container() {
        assert_eq!(
            sorted("exec -t --env A=1 -e=B=2 c1 sh --root -- -c"),
            ["", "exec", "--tty --env=A=1 --env=B=2", "c1 sh --root -- -c"]
        );
    }

    #[test]
    fn go_runc_and_conmon_exec_is_sorted() {
        assert_eq!(
            sorted(
                "--root /r exec --process /p.json --console-socket /s --detach --pid-file /b/e.pid c1"
            ),
            [
                "--root=/r",
                "exec",
                "--process=/p.json --console-socket=/s --detach --pid-file=/b/e.pid",
                "c1"
            ]
        );
    }

    #[test]
    fn spec_rootless_is_the_flag_of_the_command() {
        assert_eq!(
            sorted("--rootless auto spec --rootless"),
            ["--rootless=auto", "spec", "--rootless", ""]
        );
    }

    #[test]
    fn negative_number_is_an_operand() {
        assert_eq!(sorted("kill c1 -9"), ["", "kill", "", "c1 -9"]);
    }

    #[test]
    fn words_after_two_dashes_are_operands() {
        assert_eq!(sorted("state -- --root"), ["", "state", "", "--root"]);
    }

    #[test]
    fn value_that_looks_like_a_flag_is_the_value() {
        assert_eq!(sorted("--root --debug state c1")[0], "--root=--debug");
    }

    #[test]
    fn switch_set_to_false_takes_back_the_earlier_one() {
        assert_eq!(sorted("--debug --debug=false state c1")[0], "");
        assert_eq!(sorted("--debug=0 --debug=1 state c1")[0], "--debug");
        assert_eq!(
            problem("--debug=maybe state c1"),
            "invalid boolean value \"maybe\" for -debug: not true or false"
        );
    }

    #[test]
    fn switch_that_may_take_back_what_config_json_says_keeps_its_value() {
        for (word, flag) in [("--no-new-privs", "true"), ("-no-new-privs=0", "false")] {
            let sorted = sorted(&format!("exec {word} c1 true"));
            assert_eq!(sorted[2..], [format!("--no-new-privs={flag}"), "c1 true".into()]);
        }
        assert_eq!(
            problem("exec --no-new-privs=maybe c1 true"),
            "invalid boolean value \"maybe\" for -no-new-privs: not true or false"
        );
    }

    #[test]
    fn empty_value_is_the_default_except_for_root() {
        assert_eq!(sorted("--log /x --log= create --pid-file= c1"), ["", "create", "", "c1"]);
        assert_eq!(sorted("--root= state c1")[0], "--root=");
        // Of a list an element like the others.
        assert_eq!(
            sorted("exec --env=A=1 --env= --env=B=2 c1 env")[2],
            "--env=A=1 --env= --env=B=2"
        );
    }

    #[test]
    fn unknown_flag_is_named_as_runc_names_it() {
        assert_eq!(problem("--bogus state c1"), "flag provided but not defined: -bogus");
        assert_eq!(problem("create -bogus=1 c1"), "flag provided but not defined: -bogus=1");
    }

    #[test]
    fn missing_value_is_told_in_words_that_podman_matches() {
        assert_eq!(problem("create --bundle"), "flag needs an argument: --bundle");
    }

    #[test]
    fn globals_before_a_problem_are_kept() {
        assert_eq!(split("--log /l create --bogus").globals, ["--log=/l"]);
    }

    #[test]
    fn help_of_a_command_ends_the_line() {
        assert!(split("create -h --bogus").help);
        assert!(split("create --help").help);
    }

    #[test]
    fn words_of_an_unknown_command_are_operands() {
        let line = split("nonesuch c1 ls --color");
        assert_eq!(line.command.unwrap(), "nonesuch");
        assert_eq!(line.operands, ["c1", "ls", "--color"]);
    }

    #[test]
    fn flags_after_the_container_of_ps_are_those_of_ps() {
        assert_eq!(
            sorted("ps --format json c1 --root -aux --"),
            ["", "ps", "--format=json", "c1 --root -aux --"]
        );
    }
}
