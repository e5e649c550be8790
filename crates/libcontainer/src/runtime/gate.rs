//! What keeps ordinary users from user namespaces on some hosts, and what opens it.
//!
//! The kernel answers EPERM, EACCES or ENOSPC, which say nothing of the switch that somebody has turned.
//!
//! Runs in: runtime.

/// Debian's and Ubuntu's patch; 0 forbids.
const CLONE: &str = "/proc/sys/kernel/unprivileged_userns_clone";
/// namespaces(7), "The /proc/sys/user directory"; 0 forbids, to root as well.
const MOST: &str = "/proc/sys/user/max_user_namespaces";
/// Ubuntu from 23.10 on; 1: an unconfined program gets a user namespace in which it has no capability.
const APPARMOR: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

/// Whether the user namespace itself was refused, or what should be allowed in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// `clone3` or `unshare` with `CLONE_NEWUSER`.
    Namespace,
    /// A later step.
    Step,
}

/// The switch that explains this error number, and how to turn it.
pub(crate) fn explain(refused: Refused, errno: i32) -> Option<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    explain_by(refused, errno, rustix::process::geteuid().is_root(), &read)
}

fn explain_by(
    refused: Refused,
    errno: i32,
    is_root: bool,
    read: &dyn Fn(&str) -> String,
) -> Option<String> {
    let is = |path: &str, value: &str| read(path).trim() == value;
    let text = match (refused, errno) {
        (Refused::Namespace, libc::ENOSPC | libc::EUSERS) if is(MOST, "0") => {
            "user namespaces are switched off on this host (user.max_user_namespaces is 0): as root `sysctl -w user.max_user_namespaces=15000`"
        }
        (Refused::Namespace, libc::ENOSPC | libc::EUSERS) => {
            "user namespaces are nested 32 deep at most, and each user may have user.max_user_namespaces of them"
        }
        (_, libc::EPERM | libc::EACCES) if is_root => return None,
        (Refused::Namespace, libc::EPERM | libc::EACCES) if is(CLONE, "0") => {
            "ordinary users may not make user namespaces on this host (kernel.unprivileged_userns_clone is 0): as root `sysctl -w kernel.unprivileged_userns_clone=1`"
        }
        (_, libc::EPERM | libc::EACCES) if is(APPARMOR, "1") => {
            "AppArmor keeps programs without a profile from using user namespaces on this host \
             (kernel.apparmor_restrict_unprivileged_userns is 1): install the profile packaging/apparmor/corten to /etc/apparmor.d \
             and load it with apparmor_parser --replace; it is for a corten in /usr/bin or /usr/local/bin"
        }
        (Refused::Namespace, libc::EPERM) => {
            "neither a chroot nor a container with a system call filter (Docker's default) allows new user namespaces"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(refused: Refused, errno: i32, switch: &str, value: &str) -> String {
        let read = |path: &str| if path == switch { format!("{value}\n") } else { String::new() };
        explain_by(refused, errno, false, &read).unwrap_or_default()
    }

    #[test]
    fn each_switch_is_named_with_the_way_to_turn_it() {
        let table = [
            (Refused::Namespace, libc::ENOSPC, MOST, "0", "user.max_user_namespaces=15000"),
            (Refused::Namespace, libc::ENOSPC, MOST, "100", "32 deep"),
            (Refused::Namespace, libc::EPERM, CLONE, "0", "unprivileged_userns_clone=1"),
            (Refused::Namespace, libc::EACCES, APPARMOR, "1", "packaging/apparmor/corten"),
            (Refused::Step, libc::EACCES, APPARMOR, "1", "apparmor_parser"),
            (Refused::Step, libc::EPERM, APPARMOR, "1", "apparmor_parser"),
            (Refused::Namespace, libc::EPERM, CLONE, "1", "chroot"),
        ];
        for (refused, errno, switch, value, expected) in table {
            let text = explained(refused, errno, switch, value);
            assert!(text.contains(expected), "{refused:?} {errno} {switch}={value}: {text:?}");
        }
    }

    #[test]
    fn what_no_switch_explains_is_left_alone() {
        assert_eq!(explained(Refused::Step, libc::EPERM, APPARMOR, "0"), "");
        assert_eq!(explained(Refused::Step, libc::EPERM, CLONE, "0"), "");
        assert_eq!(explained(Refused::Step, libc::ENOENT, APPARMOR, "1"), "");
        assert_eq!(explained(Refused::Namespace, libc::EAGAIN, MOST, "0"), "");
        assert_eq!(explain_by(Refused::Step, libc::EPERM, true, &|_| "1".into()), None);
    }
}
