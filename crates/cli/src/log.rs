//! The sink of the `log` crate: `--log`, `--log-format`, `--log-level`, `--debug`.
//!
//! A line looks as logrus prints it for runc. containerd takes the last JSON object of level `error` and wants its time
//! in RFC 3339; Podman reads the whole file as *one* JSON object. So a failed command leaves exactly one line, and
//! warnings are written where a human reads (stderr, a text file) or has asked for them.
//!
//! Runs in: runtime.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::OnceLock;
use std::time::SystemTime;

use anyhow::{Context, bail};
use log::{Level, LevelFilter, Log, Metadata, Record};
use serde::Serialize;

use crate::args::{GlobalArgs, LogLevel};
use crate::report;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Json,
    /// For a human at a terminal.
    Plain,
    /// [`Format::Plain`] or [`Format::Text`]: what stderr is, is asked when there is something to say.
    Stderr,
}

#[derive(Debug)]
struct Sink {
    format: Format,
    /// `None`: stderr.
    file: Option<File>,
}

static SINK: OnceLock<Sink> = OnceLock::new();

/// Opens the log that the flags ask for.
pub fn open(args: &GlobalArgs) -> anyhow::Result<()> {
    let is_json = match args.log_format.as_str() {
        "json" => true,
        "text" => false,
        other => bail!("invalid log-format: {other}"),
    };
    let file = args.log.as_ref().map(|path| {
        let open = OpenOptions::new().create(true).append(true).mode(0o644).open(path);
        open.with_context(|| format!("open {}", path.display()))
    });
    let file = file.transpose()?;
    let format = match file {
        _ if is_json => Format::Json,
        None => Format::Stderr,
        Some(_) => Format::Text,
    };
    let level = if args.debug { Some(LogLevel::Debug) } else { args.log_level };
    let level = level.unwrap_or_else(|| default_level(format));
    install(Sink { format, file }, filter(level));
    Ok(())
}

fn default_level(format: Format) -> LogLevel {
    match format {
        Format::Text | Format::Plain | Format::Stderr => LogLevel::Warning,
        Format::Json => LogLevel::Error,
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warning => LevelFilter::Warn,
        LogLevel::Debug => LevelFilter::Debug,
    }
}

fn install(sink: Sink, level: LevelFilter) {
    if SINK.set(sink).is_err() {
        return;
    }
    if let Some(sink) = SINK.get()
        && log::set_logger(sink).is_ok()
    {
        log::set_max_level(level);
    }
}

/// Logs to stderr unless [`open`] has come to another place: for what is wrong before, or with `--log` itself.
pub fn ensure_open() {
    let sink = Sink { format: Format::Stderr, file: None };
    install(sink, LevelFilter::Error);
}

fn stderr_format() -> Format {
    if io::stderr().is_terminal() { Format::Plain } else { Format::Text }
}

/// Whether errors go to stderr by being logged as text for a program or a file: no human is there.
pub fn is_text_on_stderr() -> bool {
    SINK.get().is_some_and(|sink| sink.format == Format::Stderr && stderr_format() == Format::Text)
}

/// Whether errors go to stderr by being logged.
pub fn is_stderr() -> bool {
    SINK.get().is_some_and(|sink| sink.file.is_none())
}

impl Log for Sink {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let format = if self.format == Format::Stderr { stderr_format() } else { self.format };
        let message = report::in_gos_words(record.args().to_string());
        let line = line(format, record.level(), &message, SystemTime::now());
        // One write a line: other processes append to the same file. A log that cannot be written is no reason to fail.
        drop(match &self.file {
            Some(file) => (&*file).write_all(line.as_bytes()),
            None => io::stderr().lock().write_all(line.as_bytes()),
        });
    }

    fn flush(&self) {}
}

/// One line of the log, with its newline.
fn line(format: Format, level: Level, message: &str, time: SystemTime) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        level: &'a str,
        msg: &'a str,
        time: &'a str,
    }
    let level = level_name(level);
    let time = libcontainer::state::rfc3339(time);
    match format {
        Format::Plain => format!("{level}: {message}\n"),
        Format::Text | Format::Stderr => {
            format!("time=\"{time}\" level={level} msg={}\n", quoted(message))
        }
        Format::Json => {
            let line = Line { level, msg: message, time: &time };
            serde_json::to_string(&line).unwrap_or_default() + "\n"
        }
    }
}

/// As logrus spells them.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// As logrus writes a value: in Go's quotes unless it is one plain word.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    let mut text = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            c if c.is_control() => drop(write!(text, "\\x{:02x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(format: Format, level: Level, message: &str) -> String {
        line(format, level, message, UNIX_EPOCH + Duration::new(1_795_392_000, 120_000_000))
    }

    #[test]
    fn json_line_is_one_object_that_containerd_and_podman_read() {
        assert_eq!(
            at(Format::Json, Level::Error, "open \"x\"\nand more"),
            "{\"level\":\"error\",\"msg\":\"open \\\"x\\\"\\nand more\",\"time\":\"2026-11-23T00:00:00.12Z\"}\n"
        );
    }

    #[test]
    fn text_line_is_that_of_logrus() {
        assert_eq!(
            at(Format::Text, Level::Warn, "unknown \"CAP_X\""),
            "time=\"2026-11-23T00:00:00.12Z\" level=warning msg=\"unknown \\\"CAP_X\\\"\"\n"
        );
        assert_eq!(
            at(Format::Text, Level::Debug, "a/b"),
            "time=\"2026-11-23T00:00:00.12Z\" level=debug msg=a/b\n"
        );
    }

    #[test]
    fn text_line_stays_one_line_whatever_the_message() {
        let line = at(Format::Text, Level::Error, "a\nb\r\u{1b}[2J");
        assert!(line.ends_with("msg=\"a\\nb\\r\\x1b[2J\"\n"), "{line}");
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn warnings_are_not_logged_by_default_where_programs_read() {
        assert_eq!(default_level(Format::Json), LogLevel::Error);
        assert_eq!(default_level(Format::Text), LogLevel::Warning);
        assert_eq!(default_level(Format::Stderr), LogLevel::Warning);
    }
}
