//! Kernel parameters of the container's namespaces.
//!
//! Names are those of sysctl.d(5): the first separator says what `.` and `/` mean, so that
//! `net/ipv4/conf/eth0.100/rp_filter` and `net.ipv4.conf.eth0/100.rp_filter` are the same. Which may be set at all is
//! checked with the configuration.
//!
//! Runs in: any process.

use corten_plan::Op;

use super::steps::{Steps, c_string};
use super::types::Origin;
use crate::spec::{Linux, SpecError};

const POINTER: &str = "/linux/sysctl";

/// Sets all, in the order of their names.
pub(super) fn write(steps: &mut Steps, linux: &Linux) -> Result<(), SpecError> {
    for (name, value) in &linux.sysctl {
        let origin = Origin::member(POINTER, name);
        let path = path_of(name)
            .ok_or_else(|| SpecError::new(origin.to_string(), "is not the name of a sysctl"))?;
        let path = c_string(&origin, path)?;
        let value = c_string(&origin, value.as_str())?;
        steps.push(origin, &Op::Sysctl { path: &path, value: &value });
    }
    Ok(())
}

/// The path below /proc/sys; `None` when it would lead elsewhere.
fn path_of(name: &str) -> Option<String> {
    let separator = name.chars().find(|letter| matches!(letter, '.' | '/'));
    let swap = |letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let path: String =
        if separator == Some('.') { name.chars().map(swap).collect() } else { name.to_owned() };
    // Swapped names make `..` out of `//`: whatever was checked before, this is where it would count.
    let is_plain = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    is_plain.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn path_of_either_separator_is_the_same() {
        for name in ["net.ipv4.conf.eno2/100.rp_filter", "net/ipv4/conf/eno2.100/rp_filter"] {
            assert_eq!(path_of(name).as_deref(), Some("net/ipv4/conf/eno2.100/rp_filter"));
        }
        assert_eq!(path_of("kernel.msgmax").as_deref(), Some("kernel/msgmax"));
    }

    #[test]
    fn path_of_dots_and_empty_parts_is_refused() {
        for name in ["", ".", "net.//.x", "net/../kernel/core_pattern", "/etc/passwd", "a..b", "a/"]
        {
            assert_eq!(path_of(name), None, "{name:?}");
        }
    }
}
