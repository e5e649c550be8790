//! `/ociVersion`.
//!
//! Runs in: any process.

use super::{Check, fail};
use crate::spec::SpecError;

/// Every 1.x is accepted: the specification adds properties within a major version, and unknown ones are ignored.
pub(super) fn check(version: &str, warnings: &mut Vec<SpecError>) -> Check {
    const POINTER: &str = "/ociVersion";
    /// The newest minor version whose properties are known.
    const NEWEST: u64 = 3;
    if version.is_empty() {
        return fail(POINTER, "is empty");
    }
    match parts(version) {
        None => fail(POINTER, format!("is {version:?}, not a semantic version")),
        Some((1, minor)) if minor <= NEWEST => Ok(()),
        Some((1, _)) => {
            let problem = format!("is {version}; properties added after 1.{NEWEST} are ignored");
            warnings.push(SpecError::new(POINTER, problem));
            Ok(())
        }
        Some(_) => {
            fail(POINTER, format!("is {version}, which is not supported: 1.0 to 1.{NEWEST} are"))
        }
    }
}

/// Major and minor of `1.2.3-rc.1+build`; the patch may be absent.
fn parts(version: &str) -> Option<(u64, u64)> {
    let (version, build) = version.split_once('+').map_or((version, None), |(a, b)| (a, Some(b)));
    let (core, pre) = version.split_once('-').map_or((version, None), |(a, b)| (a, Some(b)));
    if ![pre, build].into_iter().flatten().all(identifiers) {
        return None;
    }
    let mut numbers = core.split('.').map(number);
    let parts = (numbers.next()??, numbers.next()??);
    let patch_is_number = numbers.next().is_none_or(|patch| patch.is_some());
    (patch_is_number && numbers.next().is_none()).then_some(parts)
}

fn identifiers(text: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.split('.').all(word)
}

fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_versions_as_written_by_engines_are_read() {
        for (version, minor) in [
            ("1.0.0", 0),
            ("1.0", 0),
            ("1.0.2-dev", 0),
            ("1.1.0-rc.1", 1),
            ("1.3.0+dev", 3),
            ("1.2.99", 2),
        ] {
            assert_eq!(parts(version), Some((1, minor)), "{version}");
        }
    }

    #[test]
    fn parts_of_what_is_no_version_are_none() {
        for version in [
            "1",
            "v1.0.0",
            "1.0.0.0",
            "1.x",
            "1.0.0-",
            "1.0.0-a..b",
            "1.0.+1",
            "1..0",
            "+1.0.0",
            " 1.0",
        ] {
            assert_eq!(parts(version), None, "{version}");
        }
    }
}
