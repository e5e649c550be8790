//! What is wrong with a config.json, and where.
//!
//! Runs in: any process.

use std::fmt;

/// A problem and its place. A pointer that is empty means the whole document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// JSON pointer (RFC 6901): `/mounts/3/options/2`.
    pub pointer: String,
    /// The problem, as a predicate of what is there: `is 4294967295, which is not an id`.
    pub problem: String,
}

impl SpecError {
    /// A problem at a pointer.
    pub fn new(pointer: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), problem: problem.into() }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys are anything: none of them begins a new line of a log.
        for character in self.pointer.chars() {
            if character.is_control() {
                write!(to, "{}", character.escape_debug())?;
            } else {
                write!(to, "{character}")?;
            }
        }
        if !self.pointer.is_empty() {
            to.write_str(": ")?;
        }
        to.write_str(&self.problem)
    }
}

impl std::error::Error for SpecError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_of_odd_pointer_stays_on_one_line() {
        assert_eq!(SpecError::new("/a\nb", "is odd").to_string(), "/a\\nb: is odd");
        assert_eq!(SpecError::new("", "is odd").to_string(), "is odd");
    }
}
