//! The user namespace: whose ids it has, and who init is in it.
//!
//! Runs in: any process.

use std::fmt::Write as _;

use corten_plan::Op;
use serde::{Deserialize, Serialize};

use super::steps::Steps;
use crate::host::Facts;
use crate::spec::{Linux, LinuxIdMapping, NamespaceType, SpecError, User};

const POINTER: &str = "/linux/namespaces";

/// The id maps of a user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// `/proc/PID/uid_map`.
    pub uids: Vec<LinuxIdMapping>,
    /// `/proc/PID/gid_map`.
    pub gids: Vec<LinuxIdMapping>,
    /// Whether `setgroups` is to be forbidden in it, which the kernel demands of who has no CAP_SETGID
    /// (user_namespaces(7), "The /proc/pid/setgroups file").
    pub deny_setgroups: bool,
}

/// Who init is in its user namespace until it becomes the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MappedIds {
    uid: u32,
    gid: u32,
}

impl IdMaps {
    /// The lines of a map file: first id inside, first id outside, how many.
    pub(crate) fn lines(mappings: &[LinuxIdMapping]) -> String {
        let mut lines = String::new();
        for LinuxIdMapping { container_id, host_id, size } in mappings {
            // Writing to a String cannot fail.
            writeln!(lines, "{container_id} {host_id} {size}").unwrap_or_default();
        }
        lines
    }

    /// The mappings in a map file; those of [`Self::lines`], with whatever blanks.
    pub(crate) fn parse(text: &str) -> Option<Vec<LinuxIdMapping>> {
        let mapping = |line: &str| {
            let mut numbers = line.split_ascii_whitespace().map(str::parse);
            let mut next = || numbers.next()?.ok();
            Some(LinuxIdMapping { container_id: next()?, host_id: next()?, size: next()? })
        };
        text.lines().map(mapping).collect()
    }
}

/// What an id of the container is on the host.
pub(crate) fn on_host(mappings: &[LinuxIdMapping], id: u32) -> Option<u32> {
    mappings.iter().find_map(|map| {
        let offset = id.checked_sub(map.container_id)?;
        (offset < map.size).then(|| map.host_id.checked_add(offset)).flatten()
    })
}

/// The maps that config.json has.
pub(super) fn maps(linux: &Linux, facts: &Facts) -> IdMaps {
    let (uids, gids) = (linux.uid_mappings.clone(), linux.gid_mappings.clone());
    IdMaps { uids, gids, deny_setgroups: forbids_setgroups(linux, facts) }
}

/// An ordinary user may map the own group without newgidmap, if nobody in the namespace may then leave a group (CVE-2014-8989).
fn forbids_setgroups(linux: &Linux, facts: &Facts) -> bool {
    let own = |map: &LinuxIdMapping| map.host_id == facts.egid && map.size == 1;
    facts.euid != 0 && matches!(linux.gid_mappings.as_slice(), [only] if own(only))
}

/// Whether the groups of the runtime's caller stay, because they cannot be changed in the new user namespace.
pub(super) fn keeps_groups(linux: &Linux, facts: &Facts) -> bool {
    has_new(linux) && forbids_setgroups(linux, facts)
}

fn has_new(linux: &Linux) -> bool {
    let mut namespaces = linux.namespaces.iter();
    namespaces.any(|one| one.namespace_type == NamespaceType::User && one.path.is_empty())
}

/// What an ordinary user cannot have, in the words of runc.
pub(super) fn check_caller(linux: &Linux, user: &User, facts: &Facts) -> Result<(), SpecError> {
    if facts.euid == 0 {
        return Ok(());
    }
    if !linux.has_namespace(NamespaceType::User) {
        let problem = "rootless container requires user namespaces: `corten spec --rootless` writes a config.json for an ordinary user";
        return Err(SpecError::new(POINTER, problem));
    }
    if !has_new(linux) {
        return Ok(());
    }
    for (mappings, pointer, kind) in [
        (&linux.uid_mappings, "/linux/uidMappings", "UID"),
        (&linux.gid_mappings, "/linux/gidMappings", "GID"),
    ] {
        if mappings.is_empty() {
            let problem = format!("rootless containers requires at least one {kind} mapping");
            return Err(SpecError::new(pointer, problem));
        }
    }
    if forbids_setgroups(linux, facts) && !user.additional_gids.is_empty() {
        let problem = "cannot set any additional groups in a rootless container that has the user's own group alone: map more in /linux/gidMappings";
        return Err(SpecError::new("/process/user/additionalGids", problem));
    }
    Ok(())
}

impl MappedIds {
    /// Root, where the namespace has one; else the user, for somebody has to own what init makes. `None` without a user
    /// namespace.
    pub fn of(linux: &Linux, user: &User) -> Option<Self> {
        let id = |mappings: &[LinuxIdMapping], of_user| {
            let has_root = mappings.is_empty() || on_host(mappings, 0).is_some();
            if has_root { 0 } else { of_user }
        };
        linux.has_namespace(NamespaceType::User).then(|| Self {
            uid: id(&linux.uid_mappings, user.uid),
            gid: id(&linux.gid_mappings, user.gid),
        })
    }

    /// Init becomes it.
    pub fn enter(self, steps: &mut Steps) {
        steps.push(POINTER, &Op::MappedIds { uid: self.uid, gid: self.gid });
    }
}

/// Refuses ids that the namespace does not have, before anything is made; in the words of runc's init. Where no mappings are
/// given (a namespace that is joined) the kernel has the word.
pub(super) fn check_user(linux: &Linux, user: &User) -> Result<(), SpecError> {
    let (uids, gids) = (&linux.uid_mappings, &linux.gid_mappings);
    let ids = [(uids, "uid", user.uid), (gids, "gid", user.gid)];
    for (mappings, kind, id) in ids {
        let problem = || format!("cannot set{kind} to unmapped {kind} {id} in user namespace");
        check(mappings, id, || format!("/process/user/{kind}"), problem)?;
    }
    for (index, gid) in user.additional_gids.iter().enumerate() {
        let problem = || format!("is {gid}, which is not mapped in the user namespace");
        check(gids, *gid, || format!("/process/user/additionalGids/{index}"), problem)?;
    }
    Ok(())
}

fn check(
    mappings: &[LinuxIdMapping],
    id: u32,
    pointer: impl Fn() -> String,
    problem: impl Fn() -> String,
) -> Result<(), SpecError> {
    if mappings.is_empty() || on_host(mappings, id).is_some() {
        return Ok(());
    }
    Err(SpecError::new(pointer(), problem()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: [LinuxIdMapping; 2] = [
        LinuxIdMapping { container_id: 0, host_id: 1000, size: 1 },
        LinuxIdMapping { container_id: 5, host_id: u32::MAX - 9, size: 5 },
    ];

    #[test]
    fn id_on_the_host_is_that_of_its_range() {
        assert_eq!(on_host(&MAPS, 0), Some(1000));
        assert_eq!(on_host(&MAPS, 1), None);
        assert_eq!(on_host(&MAPS, 9), Some(u32::MAX - 5));
        assert_eq!(on_host(&MAPS, 10), None);
        assert_eq!(on_host(&[], 0), None);
    }

    #[test]
    fn mappings_of_the_kernels_file_are_read() {
        let text = "         0       1000          1\n         5 4294967286          5\n";
        assert_eq!(IdMaps::parse(text).unwrap(), MAPS);
        assert_eq!(IdMaps::parse("").unwrap(), []);
        assert_eq!(IdMaps::parse("0 1\n"), None);
        assert_eq!(IdMaps::parse("0 1 x\n"), None);
    }

    #[test]
    fn lines_are_those_of_the_kernels_file() {
        assert_eq!(IdMaps::lines(&MAPS), "0 1000 1\n5 4294967286 5\n");
    }
}
