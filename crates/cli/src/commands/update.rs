//! `update`: other limits for a container.
//!
//! The flags are a table, each with the property of config.json that it stands for: from them comes a JSON of the form of
//! `linux.resources`, which is read as that of `--resources` is; and what goes wrong with a property names its flag.
//!
//! Runs in: runtime.

use std::fs::File;
use std::io::{self, Read as _};

use anyhow::{Context as _, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use libcontainer::spec::{LinuxResources, limits::MAX_CONFIG_SIZE, parse_resources};
use libcontainer::{Container, Error};
use serde_json::{Value, json};

use crate::args::Globals;
use crate::exit::ExitCode;

/// Of what kind a flag's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    /// 512m, 1.5g; -1: no limit.
    Bytes,
}

struct Flag {
    name: &'static str,
    /// Below `linux.resources`.
    property: [&'static str; 2],
    kind: Kind,
    help: &'static str,
}

const fn flag(
    name: &'static str,
    property: [&'static str; 2],
    kind: Kind,
    help: &'static str,
) -> Flag {
    Flag { name, property, kind, help }
}

/// Those of runc; an empty help text hides one.
const FLAGS: [Flag; 16] = [
    flag("blkio-weight", ["blockIO", "weight"], Kind::Number, "Weight of block I/O, 10 to 1000"),
    flag("cpu-period", ["cpu", "period"], Kind::Number, "Period of the quota, in microseconds"),
    flag(
        "cpu-quota",
        ["cpu", "quota"],
        Kind::Number,
        "CPU time in each period, in microseconds; -1: no limit",
    ),
    flag(
        "cpu-burst",
        ["cpu", "burst"],
        Kind::Number,
        "CPU time that may be saved up, in microseconds",
    ),
    flag(
        "cpu-share",
        ["cpu", "shares"],
        Kind::Number,
        "Weight against other containers, 2 to 262144",
    ),
    flag("cpu-rt-period", ["cpu", "realtimePeriod"], Kind::Number, ""),
    flag("cpu-rt-runtime", ["cpu", "realtimeRuntime"], Kind::Number, ""),
    flag("cpuset-cpus", ["cpu", "cpus"], Kind::Text, "CPUs to use, as in 0-3,7"),
    flag("cpuset-mems", ["cpu", "mems"], Kind::Text, "Memory nodes to use, as in 0-3,7"),
    flag(
        "cpu-idle",
        ["cpu", "idle"],
        Kind::Number,
        "1: runs only when nobody else wants to; 0: not so",
    ),
    flag(
        "memory",
        ["memory", "limit"],
        Kind::Bytes,
        "Limit of memory, in bytes or as in 512m; -1: no limit",
    ),
    flag(
        "memory-reservation",
        ["memory", "reservation"],
        Kind::Bytes,
        "Memory that is reclaimed last",
    ),
    flag(
        "memory-swap",
        ["memory", "swap"],
        Kind::Bytes,
        "Limit of memory and swap together; -1: no limit of swap",
    ),
    flag("kernel-memory", ["memory", "kernel"], Kind::Bytes, ""),
    flag("kernel-memory-tcp", ["memory", "kernelTCP"], Kind::Bytes, ""),
    flag(
        "pids-limit",
        ["pids", "limit"],
        Kind::Number,
        "How many processes and threads; -1: no limit",
    ),
];

/// Flags of Intel RDT: lines of its `schemata`.
const RDT: [(&str, &str); 2] = [
    ("l3-cache-schema", "Share of the L3 cache, as a line of resctrl: L3:0=f;1=f"),
    ("mem-bw-schema", "Share of memory bandwidth, as a line of resctrl: MB:0=20;1=70"),
];

/// Change the limits of a container: all that are asked for, or on an error none
#[derive(Debug)]
pub struct Args(ArgMatches);

impl clap::Args for Args {
    fn augment_args(command: Command) -> Command {
        let command = command
            .about("Change the limits of a container: all that are asked for, or on an error none")
            .arg(value("resources", "Read the limits from FILE, as config.json has them in linux.resources; - is stdin; other flags are ignored").short('r').value_name("FILE"));
        let command = FLAGS.iter().fold(command, |command, flag| {
            command.arg(value(flag.name, flag.help).hide(flag.help.is_empty()))
        });
        let command =
            RDT.iter().fold(command, |command, (name, help)| command.arg(value(name, help)));
        let id = Arg::new("id").value_name("container-id").required(true);
        command.arg(id.help("The name of the container, unique below --root"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Args {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(matches.clone()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0 = matches.clone();
        Ok(())
    }
}

fn value(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::Set).value_name("VALUE")
}

impl Args {
    /// An empty value is as none: so scripts of runc's users have it.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get_one::<String>(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let container =
        Container::load(&globals.root, args.get("id").context("container id cannot be empty")?)?;
    let file = args.get("resources");
    let mut asked = match file {
        Some(file) => of_file(file)?,
        None => of_flags(&args)?,
    };
    let lines: Vec<&str> = RDT.iter().filter_map(|(name, _)| args.get(name)).collect();
    // First: what is refused there has changed nothing.
    if !lines.is_empty() {
        container.update_intel_rdt(&lines)?;
    }
    // As runc: engines send the rules of config.json along, and plug-ins may have added to what was made of them.
    asked.devices.clear();
    match (container.update(&asked), file) {
        (Err(Error::Property { pointer, problem }), file) => {
            bail!("{}: {problem}", named(&pointer, file))
        }
        (Err(Error::Unsupported { pointer, feature }), file) => {
            bail!("{}: {feature}", named(&pointer, file))
        }
        (outcome, _) => outcome?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What the user called the property: its flag, or its place in the file.
fn named(pointer: &str, file: Option<&str>) -> String {
    let property = pointer.strip_prefix("/linux/resources/").unwrap_or(pointer);
    let flag = FLAGS.iter().find(|flag| property.split('/').eq(flag.property));
    match (file, flag) {
        (Some(file), _) => format!("{file}: /{property}"),
        (None, Some(flag)) => format!("--{}", flag.name),
        (None, None) => pointer.to_owned(),
    }
}

fn of_file(name: &str) -> anyhow::Result<LinuxResources> {
    let most = u64::try_from(MAX_CONFIG_SIZE)? + 1;
    let mut text = Vec::new();
    let read = match name {
        "-" => io::stdin().take(most).read_to_end(&mut text),
        _ => File::open(name).and_then(|file| file.take(most).read_to_end(&mut text)),
    };
    if read.with_context(|| name.to_owned())? > MAX_CONFIG_SIZE {
        bail!("{name}: is larger than {} MiB", MAX_CONFIG_SIZE >> 20);
    }
    parse_resources(&text).with_context(|| name.to_owned())
}

fn of_flags(args: &Args) -> anyhow::Result<LinuxResources> {
    let mut resources = json!({});
    for Flag { name, property: [object, member], kind, .. } in &FLAGS {
        if let Some(text) = args.get(name) {
            let value =
                kind.parse(text).with_context(|| format!("invalid value for {name}: {text:?}"))?;
            resources[object][member] = value.clone();
            // The type of the property has the last word on its range.
            let alone = json!({ *object: { *member: value } });
            parse_resources(alone.to_string().as_bytes())
                .with_context(|| format!("invalid value for {name}"))?;
        }
    }
    Ok(parse_resources(resources.to_string().as_bytes())?)
}

impl Kind {
    fn parse(self, text: &str) -> Option<Value> {
        match self {
            Self::Text => Some(text.into()),
            Self::Number => {
                let unsigned = text.parse::<u64>().map(Value::from);
                unsigned.or_else(|_| text.parse::<i64>().map(Value::from)).ok()
            }
            Self::Bytes => bytes(text).map(Value::from),
        }
    }
}

/// A size as Docker writes it: `64m`, `1.5GiB`, `100 kb`; units are powers of 1024, and -1 is no limit.
fn bytes(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(at)?;
    let unit = unit.to_ascii_lowercase();
    let letter = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let shift = 10 * ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == letter)?;
    if letter.is_empty() && unit == "ib" {
        return None;
    }
    let (whole, fraction) = number.trim_end().split_once('.').unwrap_or((number.trim_end(), ""));
    let unit = 1_i128.checked_shl(u32::try_from(shift).ok()?)?;
    let whole: u64 = whole.parse().ok()?;
    let fraction = match fraction {
        "" => 0,
        digits => {
            let scale = 10_i128.checked_pow(u32::try_from(digits.len()).ok()?)?;
            i128::from(digits.parse::<u64>().ok()?).checked_mul(unit)? / scale
        }
    };
    i64::try_from(i128::from(whole).checked_mul(unit)?.checked_add(fraction)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_spelling_of_docker_are_read() {
        for (text, expected) in [
            ("-1", -1),
            ("0", 0),
            ("32", 32),
            ("32b", 32),
            ("32k", 32 << 10),
            ("32K", 32 << 10),
            ("32kb", 32 << 10),
            ("32KiB", 32 << 10),
            ("32Mb", 32 << 20),
            ("1g", 1 << 30),
            ("1.5g", 3 << 29),
            ("2t", 2 << 40),
            ("3p", 3 << 50),
            ("32 mb", 32 << 20),
            ("0.25k", 256),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "-2",
            "k",
            "1x",
            "1kx",
            "1ib",
            "1.k.",
            "1e3",
            "9223372036854775808",
            "9999p",
            "0x10",
            "+-1",
        ] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    fn parsed(words: &[&str]) -> anyhow::Result<LinuxResources> {
        let command =
            <Args as clap::Args>::augment_args(Command::new("update").no_binary_name(true));
        of_flags(&Args(command.try_get_matches_from(words)?))
    }

    #[test]
    fn flags_become_the_properties_of_config_json() {
        let resources = parsed(&[
            "--memory=64m",
            "--memory-swap=-1",
            "--cpu-quota=-1",
            "--cpu-share=512",
            "--pids-limit=-1",
            "--blkio-weight=300",
            "--cpuset-cpus=0-1",
            "--cpu-period=",
            "x",
        ])
        .unwrap();
        let expected = json!({
            "memory": { "limit": 64 << 20, "swap": -1 },
            "cpu": { "quota": -1, "shares": 512, "cpus": "0-1" },
            "pids": { "limit": -1 },
            "blockIO": { "weight": 300 }
        });
        assert_eq!(resources, serde_json::from_value(expected).unwrap());
    }

    #[test]
    fn flags_with_values_that_are_none_are_refused_by_name() {
        for word in [
            "--memory=lots",
            "--cpu-period=-1",
            "--blkio-weight=70000",
            "--pids-limit=1.5",
            "--cpu-quota=x",
        ] {
            let error = format!("{:#}", parsed(&[word, "x"]).unwrap_err());
            let name = word.split('=').next().unwrap().trim_start_matches('-');
            assert!(error.starts_with(&format!("invalid value for {name}")), "{error}");
        }
    }

    #[test]
    fn named_property_is_its_flag_or_its_place_in_the_file() {
        assert_eq!(named("/linux/resources/memory/limit", None), "--memory");
        assert_eq!(named("/linux/resources/memory/limit", Some("-")), "-: /memory/limit");
        assert_eq!(named("/linux/resources/unified/a.b", None), "/linux/resources/unified/a.b");
    }
}
