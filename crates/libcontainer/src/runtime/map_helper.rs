//! newuidmap and newgidmap: the programs with which the system lets users map more than their own id, as /etc/subuid and
//! /etc/subgid allow.
//!
//! Runs in: runtime.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, HookError};
use crate::hooks;
use crate::spec::LinuxIdMapping;

/// A lookup of users over the network (subid in nsswitch.conf) may take its time.
const DEADLINE: Duration = Duration::from_secs(30);
/// Where they are when PATH is not set, as Podman and CRI-O call runtimes; the last is that of NixOS.
const USUAL: &[&str] = &["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/run/wrappers/bin"];

/// Which of the two.
#[derive(Debug)]
pub(crate) struct Helper {
    program: &'static str,
    /// Who may map which ids.
    table: &'static str,
    pointer: &'static str,
}

/// Writes `uid_map`.
pub(crate) const UIDS: Helper =
    Helper { program: "newuidmap", table: "/etc/subuid", pointer: "/linux/uidMappings" };
/// Writes `gid_map`.
pub(crate) const GIDS: Helper =
    Helper { program: "newgidmap", table: "/etc/subgid", pointer: "/linux/gidMappings" };

impl Helper {
    /// Has the map of the user namespace written that process `pid` is in. `own`: the caller's id, which needs no permission.
    ///
    /// # Errors
    /// [`Error::Property`]: what to install, or to add to which file.
    pub fn map(&self, pid: i32, mappings: &[LinuxIdMapping], own: u32) -> Result<(), Error> {
        let refused = |problem| Error::Property { pointer: self.pointer.into(), problem };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let Some(program) = find(self.program, &path) else {
            return Err(refused(self.missing(own)));
        };
        hooks::run_program(&program, arguments(pid, mappings), DEADLINE)
            .map_err(|error| refused(self.explain(&program, &error, mappings, own)))
    }

    fn missing(&self, own: u32) -> String {
        format!(
            "an ordinary user can map other ids than the own one only by {}, which is neither in PATH nor in {}: install it \
             (Debian: uidmap; Fedora: shadow-utils), or map the own id alone: [{{\"containerID\": 0, \"hostID\": {own}, \
             \"size\": 1}}]",
            self.program,
            USUAL.first().copied().unwrap_or_default()
        )
    }

    fn explain(
        &self,
        program: &Path,
        error: &HookError,
        mappings: &[LinuxIdMapping],
        own: u32,
    ) -> String {
        let said = match error {
            HookError::Timeout { seconds, .. } => format!("did not end within {seconds} s"),
            error => crate::error::with_causes(error),
        };
        let hint = self.hint(&said, mappings, own);
        format!("{}: {said}{hint}", program.display())
    }

    fn hint(&self, said: &str, mappings: &[LinuxIdMapping], own: u32) -> String {
        if said.contains("not allowed") {
            let ids = mappings.iter().filter(|map| map.host_id != own || map.size != 1);
            let (first, end) = ids.fold((u64::MAX, 0), |(first, end), map| {
                let begin = u64::from(map.host_id);
                (first.min(begin), end.max(begin + u64::from(map.size)))
            });
            let (table, count) = (self.table, end.saturating_sub(first));
            return format!(
                ": {table} does not give these ids to this user: add the line \"{own}:{first}:{count}\" to it, or map what it gives"
            );
        }
        if said.contains("Operation not permitted") {
            return format!(
                ": {} works only with its setuid bit or file capabilities: not on a file system that is mounted nosuid, and not \
                 below a process with no_new_privs",
                self.program
            );
        }
        String::new()
    }
}

/// `PID` and three numbers for each mapping.
fn arguments(pid: i32, mappings: &[LinuxIdMapping]) -> Vec<String> {
    let numbers = mappings.iter().flat_map(|map| [map.container_id, map.host_id, map.size]);
    std::iter::once(pid.to_string()).chain(numbers.map(|number| number.to_string())).collect()
}

/// In PATH, as runc; then where it usually is. Only absolute directories: the working directory is whoever's.
fn find(program: &str, path: &OsStr) -> Option<PathBuf> {
    let in_path = std::env::split_paths(path).filter(|directory| directory.is_absolute());
    let candidates = in_path.chain(USUAL.iter().map(PathBuf::from));
    candidates.map(|directory| directory.join(program)).find(|candidate| {
        rustix::fs::access(candidate, rustix::fs::Access::EXEC_OK).is_ok() && candidate.is_file()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(container_id: u32, host_id: u32, size: u32) -> LinuxIdMapping {
        LinuxIdMapping { container_id, host_id, size }
    }

    #[test]
    fn arguments_are_the_pid_and_three_numbers_each() {
        let mappings = [mapping(0, 1000, 1), mapping(1, 100_000, 65_536)];
        assert_eq!(arguments(7, &mappings), ["7", "0", "1000", "1", "1", "100000", "65536"]);
    }

    #[test]
    fn hint_names_the_line_that_is_missing() {
        let mappings = [mapping(0, 1000, 1), mapping(1, 200_000, 10), mapping(11, 300_000, 5)];
        let hint = UIDS.hint("newuidmap: uid range [1-11) -> [..) not allowed", &mappings, 1000);
        assert!(hint.contains("add the line \"1000:200000:100005\""), "{hint}");
        assert!(hint.contains("/etc/subuid"), "{hint}");
        let hint = GIDS.hint("write to gid_map failed: Operation not permitted", &mappings, 1000);
        assert!(hint.contains("no_new_privs"), "{hint}");
        assert_eq!(UIDS.hint("something else", &mappings, 1000), "");
    }

    #[test]
    fn deadline_is_told_without_a_word_of_hooks() {
        let error = HookError::Timeout { seconds: 30.0, output: String::new() };
        let said = UIDS.explain(Path::new("/usr/bin/newuidmap"), &error, &[], 1000);
        assert_eq!(said, "/usr/bin/newuidmap: did not end within 30 s");
    }

    #[test]
    fn program_is_found_in_path_first_and_never_in_the_working_directory() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("true");
        assert_eq!(find("true", OsStr::new("")), find("true", OsStr::new(".:relative")));
        assert_eq!(find("no-such-program", directory.path().as_os_str()), None);
        std::fs::write(&own, "").unwrap();
        assert_ne!(find("true", directory.path().as_os_str()), Some(own.clone()));
        std::fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        assert_eq!(find("true", directory.path().as_os_str()), Some(own));
    }
}
