//! Lines of the file `schemata`: `L3:0=7f0;1=1f`, `MB:0=20;1=70` (Documentation/filesystems/resctrl.rst).
//!
//! Runs in: any process.

/// The resource that a line is for.
pub(super) fn resource(line: &str) -> &str {
    line.split_once(':').map_or(line, |(resource, _)| resource).trim()
}

/// The line of a resource, as the file has it.
pub(super) fn line_of<'a>(text: &'a str, wanted: &str) -> Option<&'a str> {
    text.lines().map(str::trim).find(|line| line.contains(':') && resource(line) == wanted)
}

/// Whether the file says what `wanted` says of each domain that it names: numbers are compared, not text, and bandwidth as
/// the kernel rounds it up, to a multiple of `granularity`.
pub(super) fn says(text: &str, wanted: &str, granularity: u64) -> bool {
    let Some(found) = line_of(text, resource(wanted)) else { return false };
    let number = |value: &str| match resource(wanted) {
        "MB" => value.parse::<u64>().ok().and_then(|it| it.checked_next_multiple_of(granularity)),
        _ => u64::from_str_radix(value.strip_prefix("0x").unwrap_or(value), 16).ok(),
    };
    let is_same = |one: &str, other: &str| match (number(one), number(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    };
    domains(wanted).all(|(domain, value)| {
        let there = domains(found).find(|(other, _)| is_same_domain(domain, other));
        there.is_some_and(|(_, other)| is_same(value, other))
    })
}

fn is_same_domain(one: &str, other: &str) -> bool {
    one.parse::<u64>().ok().map_or(one == other, |one| other.parse() == Ok(one))
}

/// Each domain and its value.
fn domains(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let domains = line.split_once(':').map_or("", |(_, domains)| domains).split(';');
    domains.filter(|domain| !domain.trim().is_empty()).map(|domain| {
        let (id, value) = domain.split_once('=').unwrap_or((domain, ""));
        (id.trim(), value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "    MB:0= 30;1= 100\n    L3:0=7f0;1=01f\nL3CODE:0=f\n";

    #[test]
    fn line_that_says_the_same_in_other_words_matches() {
        for wanted in [
            "L3:0=7f0;1=1f",
            "L3:1=1F;0=0x7f0",
            "L3: 00 = 07f0",
            "L3:",
            "MB:0=30;1=100",
            "MB:0=21",
            "L3CODE:0=f",
        ] {
            assert!(says(FILE, wanted, 10), "{wanted}");
        }
    }

    #[test]
    fn line_that_says_something_else_does_not_match() {
        for wanted in ["L3:0=7f", "L3:2=1f", "MB:0=31", "L2:0=1", "L3:0", "L3:0=", "L3:a=b", "x"] {
            assert!(!says(FILE, wanted, 10), "{wanted}");
        }
        assert!(!says(FILE, "MB:0=21", 1), "not rounded");
    }
}
