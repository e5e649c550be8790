//! From the bytes of config.json to the types, or to the pointer of what is wrong.
//!
//! Runs in: any process.

use serde::de::DeserializeOwned;

use super::{LinuxResources, Process, Spec, SpecError, scan};

/// Parses config.json: strict as to JSON (UTF-8, one document, no key twice, no NUL), lenient as to properties that
/// this version does not know, which the specification says to ignore.
///
/// # Errors
/// The first problem, with its pointer.
pub fn parse(bytes: &[u8]) -> Result<Spec, SpecError> {
    document(bytes)
}

/// Parses what `linux.resources` is in a config.json, as [`parse`] does; pointers begin there.
///
/// # Errors
/// As [`parse`].
pub fn parse_resources(bytes: &[u8]) -> Result<LinuxResources, SpecError> {
    document(bytes)
}

/// Parses what is as `/process` of config.json, and as strictly; its pointers have no `/process` in front.
///
/// # Errors
/// As [`parse`].
pub fn parse_process(bytes: &[u8]) -> Result<Process, SpecError> {
    document(bytes)
}

fn document<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, SpecError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        SpecError::new("", format!("is not UTF-8 at byte {}", error.valid_up_to()))
    })?;
    let complete = scan::check(text)?;
    match serde_json::from_str(text) {
        Ok(found) if complete => Ok(found),
        Ok(_) => Err(SpecError::new("", "is not JSON")),
        Err(error) => Err(explain(text, &error)),
    }
}

/// serde's error with a pointer in place of line and column, which are kept for errors of syntax.
fn explain(text: &str, error: &serde_json::Error) -> SpecError {
    /// What a text may repeat of a config.json, in bytes.
    const LONGEST: usize = 300;
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = error.to_string();
    let mut problem = message.strip_suffix(&place).unwrap_or(&message).to_owned();
    let place_known = !error.is_eof();
    let mut pointer =
        if place_known { scan::pointer_at(text, offset(text, error)) } else { String::new() };
    if let Some(field) =
        problem.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'))
    {
        scan::push_token(&mut pointer, field);
        let problem = in_words_of_runc(&pointer, "is missing and required".to_owned());
        return SpecError::new(pointer, problem);
    }
    if problem.len() > LONGEST {
        let end = problem.floor_char_boundary(LONGEST);
        problem.truncate(end);
        problem.push('…');
    }
    if !error.is_data() {
        problem = format!("{problem} (line {}, column {})", error.line(), error.column());
    }
    let problem = in_words_of_runc(&pointer, problem);
    SpecError::new(pointer, problem)
}

/// What runc says first of a property, where its tests look for that.
fn in_words_of_runc(pointer: &str, problem: String) -> String {
    match pointer.strip_prefix("/linux/memoryPolicy/") {
        Some(member) if member.starts_with("flags") => {
            format!("invalid memory policy flag: {problem}")
        }
        Some(_) => format!("invalid memory policy mode: {problem}"),
        None => problem,
    }
}

/// The byte at which serde stopped: it counts lines from 1, and columns in bytes.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    lines.map(str::len).sum::<usize>() + error.column()
}
