//! `/linux/sysctl`: only what belongs to a namespace of the container.
//!
//! Runs in: any process.

use super::{Check, check_count, fail, member};
use crate::spec::limits::MAX_STEPS;
use crate::spec::{Linux, NamespaceType};

/// Of the ipc namespace, besides `fs/mqueue`.
const IPC: &[&str] = &[
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

pub(super) fn check(linux: &Linux) -> Check {
    check_count("/linux/sysctl", linux.sysctl.len(), MAX_STEPS)?;
    for name in linux.sysctl.keys() {
        if let Err(problem) = check_name(linux, name) {
            return fail(member("/linux/sysctl", name), problem);
        }
    }
    Ok(())
}

fn check_name(linux: &Linux, name: &str) -> Result<(), String> {
    let (kind, problem) = sysctl_owner(name)?;
    if linux.has_namespace(kind) { Ok(()) } else { Err(problem) }
}

/// The kind of namespace that a parameter belongs to, and what is said where that is the host's: the list of runc 1.5
/// (`validator.go`), and its words.
///
/// # Errors
/// What is said of one that no container may set.
pub fn sysctl_owner(name: &str) -> Result<(NamespaceType, String), String> {
    let Some(path) = sysctl_path(name) else {
        return Err(format!("sysctl {name:?} is not a name"));
    };
    let owner = |kind, problem| Ok((kind, format!("sysctl {name:?} {problem}")));
    if IPC.contains(&path.as_str()) || path.starts_with("fs/mqueue/") {
        owner(NamespaceType::Ipc, "is not allowed in the hosts ipc namespace")
    } else if path.starts_with("net/") {
        owner(NamespaceType::Network, "not allowed in host network namespace")
    } else if path.starts_with("user/") {
        owner(NamespaceType::User, "not allowed without a user namespace")
    } else if path == "kernel/domainname" {
        owner(NamespaceType::Uts, "is not in a separate kernel namespace")
    } else if path == "kernel/hostname" {
        Err(format!(
            "sysctl {name:?} is not allowed as it conflicts with the OCI \"hostname\" field"
        ))
    } else {
        Err(format!("sysctl {name:?} is not in a separate kernel namespace"))
    }
}

/// The path below `/proc/sys` that a name means; `None` for what cannot be one.
///
/// As sysctl.d(5): the first separator decides. After a dot, dots separate and slashes stand for dots
/// (`net.ipv4.conf.eno2/100.rp_filter`); after a slash, the name is the path.
pub fn sysctl_path(name: &str) -> Option<String> {
    let dotted = name.chars().find(|character| matches!(character, '.' | '/')) == Some('.');
    let path = if dotted {
        let swap = |character| match character {
            '.' => '/',
            '/' => '.',
            other => other,
        };
        name.chars().map(swap).collect()
    } else {
        name.to_owned()
    };
    let is_component = |component: &str| {
        !matches!(component, "" | "." | "..") && !component.contains(char::is_control)
    };
    path.split('/').all(is_component).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sysctl_path_of_either_form_is_the_same() {
        for (name, path) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            ("net.ipv4.conf.eno2/100.rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
            ("net/ipv4/conf/eno2.100/rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
        ] {
            assert_eq!(sysctl_path(name).as_deref(), Some(path), "{name}");
        }
    }

    #[test]
    fn sysctl_path_that_leaves_its_directory_is_none() {
        for name in [
            "",
            "net/../kernel/core_pattern",
            "net.//.kernel.core_pattern",
            "/net/x",
            "net..x",
            "net.",
            "net/./x",
            "net.a\nb",
        ] {
            assert_eq!(sysctl_path(name), None, "{name:?}");
        }
    }
}
