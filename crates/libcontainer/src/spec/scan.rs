//! One walk over the text of a JSON document: what serde does not look for, and where an error is.
//!
//! serde takes the last of two equal keys in a map, does not look into properties it does not know, and knows lines and
//! columns, not pointers. This walk is cheap (no allocation for each value) and lenient as to grammar: where the text is
//! not JSON it stops, and serde says why.
//!
//! Runs in: any process.

use std::borrow::Cow;
use std::ops::Range;

use super::SpecError;
use super::limits::{MAX_DEPTH, MAX_ELEMENTS};

/// Checks depth, sizes, duplicate keys and NUL escapes, all over the document.
///
/// Returns whether the walk reached the end; a text where it did not is no JSON.
pub(super) fn check(text: &str) -> Result<bool, SpecError> {
    let mut walk = Walk::new(text, None);
    match walk.document() {
        Ok(()) => Ok(true),
        Err(Stop::NotJson) => Ok(false),
        Err(Stop::At(pointer)) => Err(SpecError::new(pointer, "cannot be read")),
        Err(Stop::Problem(error)) => Err(error),
    }
}

/// The JSON pointer of the value that ends at byte `offset`, or that is an array or object and begins there: these are the
/// places that `serde_json` gives for errors in data. Else of the innermost value that is there.
pub(super) fn pointer_at(text: &str, offset: usize) -> String {
    let mut walk = Walk::new(text, Some(offset));
    match walk.document() {
        Err(Stop::At(pointer)) => pointer,
        Err(Stop::NotJson) => walk.pointer(),
        Err(Stop::Problem(error)) => error.pointer,
        Ok(()) => String::new(),
    }
}

enum Stop {
    /// The text is not JSON here.
    NotJson,
    /// What was looked for is here.
    At(String),
    /// JSON that is refused.
    Problem(SpecError),
}

/// An array or object that the walk is in.
enum Level {
    Array {
        index: usize,
    },
    /// The keys so far are `keys[first_key..]`; the last is that of the present value.
    Object {
        first_key: usize,
    },
}

impl Level {
    fn first_key(&self) -> Option<usize> {
        match self {
            Self::Array { .. } => None,
            Self::Object { first_key } => Some(*first_key),
        }
    }
}

struct Walk<'a> {
    text: &'a str,
    at: usize,
    levels: Vec<Level>,
    /// Spans of the keys of all open objects, without quotes, escapes as they are.
    keys: Vec<Range<usize>>,
    target: Option<usize>,
}

impl<'a> Walk<'a> {
    fn new(text: &'a str, target: Option<usize>) -> Self {
        Self { text, at: 0, levels: Vec::new(), keys: Vec::new(), target }
    }

    fn document(&mut self) -> Result<(), Stop> {
        self.value()?;
        if self.next_token().is_some() { Err(Stop::NotJson) } else { Ok(()) }
    }

    fn value(&mut self) -> Result<(), Stop> {
        match self.next_token() {
            Some(b'{') => self.nested(Level::Object { first_key: self.keys.len() }, b'}'),
            Some(b'[') => self.nested(Level::Array { index: 0 }, b']'),
            Some(b'"') => self.string().map(drop),
            Some(_) => self.scalar(),
            None => Err(Stop::NotJson),
        }?;
        if self.target.is_some_and(|target| self.at >= target) {
            return Err(Stop::At(self.pointer()));
        }
        Ok(())
    }

    fn nested(&mut self, level: Level, end: u8) -> Result<(), Stop> {
        if self.target.is_some_and(|target| self.at >= target) {
            return Err(Stop::At(self.pointer()));
        }
        if self.levels.len() == MAX_DEPTH {
            return self.refuse(format!("is nested in more than {MAX_DEPTH} arrays and objects"));
        }
        self.at += 1;
        let keys = self.keys.len();
        self.levels.push(level);
        if self.next_token() != Some(end) {
            self.elements(end)?;
        }
        self.at += 1;
        self.levels.pop();
        self.refuse_duplicates(keys)?;
        self.keys.truncate(keys);
        Ok(())
    }

    /// From the first element up to `end`, which is not consumed.
    fn elements(&mut self, end: u8) -> Result<(), Stop> {
        for count in 1.. {
            if count > MAX_ELEMENTS {
                let problem = format!("has more than {MAX_ELEMENTS} elements");
                return Err(Stop::Problem(SpecError::new(self.parent_pointer(), problem)));
            }
            match self.levels.last_mut() {
                Some(Level::Array { index }) => *index = count - 1,
                _ => self.key()?,
            }
            self.value()?;
            match self.next_token() {
                Some(b',') => self.at += 1,
                Some(found) if found == end => break,
                _ => return Err(Stop::NotJson),
            }
        }
        Ok(())
    }

    fn key(&mut self) -> Result<(), Stop> {
        if self.next_token() != Some(b'"') {
            // The last key is that of the member before.
            let searching = self.target.is_some();
            return Err(if searching { Stop::At(self.parent_pointer()) } else { Stop::NotJson });
        }
        let span = match self.string() {
            Err(Stop::Problem(SpecError { problem, .. })) => {
                let problem = format!("has a key that {problem}");
                return Err(Stop::Problem(SpecError::new(self.parent_pointer(), problem)));
            }
            other => other?,
        };
        self.keys.push(span);
        if self.next_token() != Some(b':') {
            return Err(Stop::NotJson);
        }
        self.at += 1;
        Ok(())
    }

    /// A string, from its opening quote; the span between the quotes.
    fn string(&mut self) -> Result<Range<usize>, Stop> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut at = start;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' => {
                    self.at = at + 1;
                    return Ok(start..at);
                }
                b'\\' if bytes.get(at..).is_some_and(|rest| rest.starts_with(br"\u0000")) => {
                    self.at = at;
                    return self.refuse("contains a NUL, which no C string can".to_owned());
                }
                // The backslash and what it escapes; of \uXXXX the digits are ordinary bytes here.
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        Err(Stop::NotJson)
    }

    /// A number or word.
    fn scalar(&mut self) -> Result<(), Stop> {
        let rest = self.rest();
        let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        self.at += length;
        if length == 0 { Err(Stop::NotJson) } else { Ok(()) }
    }

    /// Skips white space; the next byte, not consumed.
    fn next_token(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        let mut at = self.at;
        // Nearly every byte that is not white space is above it.
        while let Some(byte) = bytes.get(at) {
            if *byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                self.at = at;
                return Some(*byte);
            }
            at += 1;
        }
        None
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn refuse<T>(&self, problem: String) -> Result<T, Stop> {
        Err(Stop::Problem(SpecError::new(self.pointer(), problem)))
    }

    /// Refuses the object that was just left if two of its keys, from `first` on, are the same.
    fn refuse_duplicates(&self, first: usize) -> Result<(), Stop> {
        let keys = self.keys.get(first..).unwrap_or_default();
        let Some(key) = duplicate(keys.iter().map(|span| self.key_text(span))) else {
            return Ok(());
        };
        let mut pointer = self.pointer_of(&self.levels, first);
        push_token(&mut pointer, &key);
        Err(Stop::Problem(SpecError::new(pointer, "is given more than once")))
    }

    /// A key as it is meant, without escapes.
    fn key_text(&self, span: &Range<usize>) -> Cow<'a, str> {
        let raw = self.text.get(span.clone()).unwrap_or_default();
        if !raw.contains('\\') {
            return Cow::Borrowed(raw);
        }
        // Escapes that are not JSON stay as they are: serde refuses them.
        serde_json::from_str(&format!("\"{raw}\"")).map_or(Cow::Borrowed(raw), Cow::Owned)
    }

    /// Of the value that the walk is in or before.
    fn pointer(&self) -> String {
        self.pointer_of(&self.levels, self.keys.len())
    }

    /// Of the array or object that the walk is in.
    fn parent_pointer(&self) -> String {
        let Some((innermost, outer)) = self.levels.split_last() else {
            return String::new();
        };
        self.pointer_of(outer, innermost.first_key().unwrap_or(self.keys.len()))
    }

    /// Of what is in the last of `levels`; the keys from `end` on belong to none of them.
    fn pointer_of(&self, levels: &[Level], end: usize) -> String {
        let mut tokens = Vec::new();
        let mut end = end;
        for level in levels.iter().rev() {
            match level {
                Level::Array { index } => tokens.push(Cow::Owned(index.to_string())),
                Level::Object { first_key } => {
                    let key = self.keys.get(*first_key..end).and_then(<[_]>::last);
                    tokens.extend(key.map(|span| self.key_text(span)));
                    end = *first_key;
                }
            }
        }
        let mut pointer = String::new();
        tokens.iter().rev().for_each(|token| push_token(&mut pointer, token));
        pointer
    }
}

/// Two keys that are the same, if there are any.
fn duplicate<'a>(
    keys: impl ExactSizeIterator<Item = Cow<'a, str>> + Clone,
) -> Option<Cow<'a, str>> {
    /// Up to here comparing each with each is faster than sorting.
    const FEW: usize = 16;
    if keys.len() <= FEW {
        let mut rest = keys;
        while let Some(key) = rest.next() {
            if rest.clone().any(|other| other == key) {
                return Some(key);
            }
        }
        return None;
    }
    let mut sorted: Vec<_> = keys.collect();
    sorted.sort_unstable();
    sorted.windows(2).find_map(|pair| match pair {
        [one, other] if one == other => Some(one.clone()),
        _ => None,
    })
}

/// Appends `/token`, escaped as RFC 6901 says.
pub(super) fn push_token(pointer: &mut String, token: &str) {
    pointer.push('/');
    for character in token.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}
