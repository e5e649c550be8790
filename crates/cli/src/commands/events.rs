//! `events`: what a container uses and what happens to it, as lines of JSON in the form of runc's.
//!
//! Runs in: runtime.

use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::bail;
use libcontainer::Container;
use libcontainer::stats::{Event, Stats};
use serde::Serialize;

use super::ContainerId;
use crate::args::Globals;
use crate::exit::ExitCode;

/// Show what a container uses, again and again, and when the kernel kills for want of memory
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    id: ContainerId,

    /// Show what is used once in this time, as in 500ms or 1m30s
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    interval: Duration,

    /// Show what is used now, and nothing more
    #[arg(long)]
    stats: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    r#type: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Stats>,
}

pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let id = args.id.get()?;
    let container = Container::load(&globals.root, id)?;
    if args.interval.is_zero() {
        bail!("duration interval must be greater than 0");
    }
    if args.stats {
        print(&Line { r#type: "stats", id, data: Some(&container.stats()?) })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut printed = Ok(());
    container.events(args.interval, &mut |event| {
        printed = print(&match event {
            Event::Stats(stats) => Line { r#type: "stats", id, data: Some(stats) },
            Event::Oom => Line { r#type: "oom", id, data: None },
        });
        if printed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    match printed {
        // Who reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print(line: &Line<'_>) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    io::stdout().lock().write_all(&text)
}

/// A duration as Go writes it: numbers, each with its unit. One without a unit is none, but for 0.
fn duration(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "not a duration as in 500ms or 1m30s";
    let mut rest = text;
    let mut sum = Some(0u64);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split(after, char::is_alphabetic);
        let unit = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(WRONG),
        };
        sum = sum.and_then(|sum| sum.checked_add(nanoseconds(number, unit)?));
        rest = after;
    }
    sum.filter(|_| !text.is_empty()).map(Duration::from_nanos).ok_or(WRONG)
}

/// `1.5` of a unit of so many nanoseconds. In integers: the library's parser of floats has 15 KB, most of it a table.
fn nanoseconds(number: &str, unit: u64) -> Option<u64> {
    let (whole, mut fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // `0`, for one of the two may be missing.
    let digits = |digits: &str| format!("0{digits}").parse::<u64>().ok();
    let mut sum = digits(whole)?.checked_mul(unit)?;
    // Digit by digit, until one is worth less than a nanosecond.
    let mut worth = unit;
    while let Some((digit, rest)) = fraction.split_at_checked(1) {
        worth /= 10;
        sum = sum.checked_add(digits(digit)?.checked_mul(worth)?)?;
        fraction = rest;
    }
    Some(sum)
}

fn split(text: &str, is_first: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !is_first(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_read_as_go_reads_it() {
        for (text, milliseconds) in [
            ("5s", 5000),
            ("100ms", 100),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("0", 0),
            ("0s", 0),
            (".5s", 500),
            ("1.s2.25ms750us", 1003),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1x", "1s5", "1..s", "1e3s", ".s", "9999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
