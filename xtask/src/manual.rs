//! `cargo xtask man`: man pages and shell completions, from the tables that `--help` prints.
//!
//! Runs in: any process.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Command;
pub use clap_complete::Shell;
use clap_complete::generate;
use clap_mangen::Man;

/// The words of `cargo xtask man`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where to: DIR/man and DIR/completions
    #[arg(long, value_name = "DIR", default_value = "target/dist")]
    out: PathBuf,
}

/// Programs of the administrator.
const SECTION: &str = "8";

/// What no table of flags says, one after another at the end of each page.
const RUN_STATUS: &str = r"That of the process, or 128 and the number of the signal that ended it; with \fB\-\-detach\fR 0.
1 for an error of corten's own.";
const EXEC_STATUS: &str = r"That of the process, or 128 and the number of the signal that ended it; with \fB\-\-detach\fR 0.
255 for an error of corten's own, whose text begins with \(lqexec failed:\(rq.";
const STATUS: &str = "0, or 1 for an error, which is one line on stderr and in the log.";
const FILES: &str = r".TP
\fI/run/corten/ID/\fR
The state of the container ID; below \fI$XDG_RUNTIME_DIR/corten\fR for who is not root, or where \fB\-\-root\fR says.
.TP
\fIconfig.json\fR
In the bundle: what the container is to be. It is read at create, and never again.
.TP
\fI/sys/fs/cgroup\fR
cgroup v2, or with v1 controllers beside it \fI/sys/fs/cgroup/unified\fR.";
const ENVIRONMENT: &str = r".TP
\fBXDG_RUNTIME_DIR\fR
Where the state is kept by default, for who is not root.
.TP
\fBNOTIFY_SOCKET\fR
Of \fBcreate\fR and \fBrun\fR: the container gets a socket of its own for sd_notify(3), and what it says there is passed on.
.TP
\fBLISTEN_FDS\fR, \fBLISTEN_PID\fR
Of \fBcreate\fR and \fBrun\fR: fds from 3 on that the process gets, if LISTEN_PID names corten (sd_listen_fds(3)).
.TP
\fBDBUS_SYSTEM_BUS_ADDRESS\fR, \fBDBUS_SESSION_BUS_ADDRESS\fR
Where systemd is asked, with \fB\-\-systemd\-cgroup\fR.";
const ELSEWHERE: &str = r"\fBrunc\fR(8), \fBcrun\fR(1), \fBcgroups\fR(7), \fBnamespaces\fR(7), the OCI runtime specification";

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (man, completions) = (arguments.out.join("man"), arguments.out.join("completions"));
    for directory in [&man, &completions] {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    for page in pages()? {
        write(&man.join(page.file), &page.text)?;
    }
    for (shell, text) in self::completions() {
        let file = match shell {
            Shell::Zsh => "_corten",
            Shell::Fish => "corten.fish",
            _ => "corten.bash",
        };
        write(&completions.join(file), &text)?;
    }
    println!("{} and {}", man.display(), completions.display());
    Ok(())
}

fn write(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}

pub struct Page {
    /// `corten-run.8`.
    pub file: String,
    /// roff.
    pub text: Vec<u8>,
}

/// The page of corten and one of each command.
pub fn pages() -> io::Result<Vec<Page>> {
    let mut tree = corten_cli::command_tree();
    tree.build();
    let all = commands(&tree);
    let names: Vec<String> =
        all.iter().map(|command| format!("corten-{}", command.get_name())).collect();
    let mut pages = vec![Page { file: format!("corten.{SECTION}"), text: page(&tree, &names)? }];
    for (command, name) in all.into_iter().zip(names) {
        let text = page(&command.clone().display_name(&name), &["corten".to_owned()])?;
        pages.push(Page { file: format!("{name}.{SECTION}"), text });
    }
    Ok(pages)
}

/// All but clap's own `help`.
fn commands(tree: &Command) -> Vec<&Command> {
    tree.get_subcommands().filter(|command| command.get_name() != "help").collect()
}

fn page(command: &Command, see_also: &[String]) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone())
        .title(command.get_display_name().unwrap_or(command.get_name()))
        .section(SECTION)
        .source(concat!("corten ", env!("CARGO_PKG_VERSION")))
        .manual("corten");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
        man.render_extra_section(&mut text)?;
    }
    let status = match command.get_name() {
        "run" => RUN_STATUS,
        "exec" => EXEC_STATUS,
        _ => STATUS,
    };
    let others: Vec<String> =
        see_also.iter().map(|name| format!(r"\fB{}\fR({SECTION})", escaped(name))).collect();
    for (heading, body) in [
        ("EXIT STATUS", status),
        ("FILES", FILES),
        ("ENVIRONMENT", ENVIRONMENT),
        ("SEE ALSO", &format!("{}, {ELSEWHERE}", others.join(", "))),
    ] {
        write!(text, ".SH \"{heading}\"\n{body}\n")?;
    }
    Ok(text)
}

/// A dash of roff is a hyphen unless it is told otherwise.
fn escaped(name: &str) -> String {
    name.replace('-', r"\-")
}

/// Of every shell that has some.
pub fn completions() -> [(Shell, Vec<u8>); 3] {
    [Shell::Bash, Shell::Zsh, Shell::Fish].map(|shell| (shell, completion(shell)))
}

fn completion(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    generate(shell, &mut corten_cli::command_tree(), "corten", &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The long flags of a help text, which is made from the same tables by other code.
    fn flags(help: &str) -> Vec<String> {
        let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        let words = lines.flat_map(|line| line.split([' ', ',', '[']).take(3));
        let long = words.filter(|word| word.starts_with("--"));
        // clap_mangen leaves out what every command has.
        long.filter(|word| *word != "--help").map(str::to_owned).collect()
    }

    #[test]
    fn every_flag_of_every_command_has_a_line_in_its_man_page() {
        let tree = corten_cli::command_tree();
        let pages = pages().unwrap();
        let all: Vec<Command> =
            [tree.clone()].into_iter().chain(commands(&tree).into_iter().cloned()).collect();
        assert_eq!(pages.len(), all.len());
        let mut count = 0;
        for (mut command, page) in all.into_iter().zip(&pages) {
            let text = String::from_utf8(page.text.clone()).unwrap();
            for flag in flags(&command.render_help().to_string()) {
                let line = format!(r"\fB{}\fR", escaped(&flag));
                assert!(text.contains(&line), "{} is silent about {flag}", page.file);
                count += 1;
            }
        }
        assert!(count > 80, "only {count} flags were looked for");
    }

    #[test]
    fn every_page_has_the_sections_that_people_look_for() {
        for page in pages().unwrap() {
            let text = String::from_utf8(page.text).unwrap();
            for heading in ["NAME", "SYNOPSIS", "EXIT STATUS", "FILES", "ENVIRONMENT", "SEE ALSO"] {
                let [bare, quoted] = [format!(".SH {heading}"), format!(".SH \"{heading}\"")];
                assert!(text.contains(&bare) || text.contains(&quoted), "{}: {heading}", page.file);
            }
        }
    }

    #[test]
    fn completions_know_every_command() {
        let tree = corten_cli::command_tree();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = String::from_utf8(completion(shell)).unwrap();
            for command in commands(&tree) {
                assert!(text.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
            assert!(text.contains("console-socket"), "{shell}");
        }
    }
}
