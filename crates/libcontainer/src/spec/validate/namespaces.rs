//! `/linux/namespaces` and what needs a namespace of its own.
//!
//! Runs in: any process.

use super::{Check, check_absolute, check_count, fail, id_mappings, member};
use crate::spec::limits::MAX_STEPS;
use crate::spec::{Linux, LinuxNamespace, LinuxTimeOffset, NamespaceType};

pub(super) fn check(linux: &Linux) -> Check {
    for (index, namespace) in linux.namespaces.iter().enumerate() {
        let kind = namespace.namespace_type;
        if linux.namespaces.iter().take(index).any(|earlier| earlier.namespace_type == kind) {
            let problem = format!("malformed spec file: duplicated ns {:?}", kind.as_str());
            return fail(format!("/linux/namespaces/{index}/type"), problem);
        }
        if !namespace.path.is_empty() {
            check_absolute(&namespace.path, || format!("/linux/namespaces/{index}/path"))?;
        }
    }
    check_user(linux)?;
    check_time(linux)?;
    check_paths(linux, "/linux/maskedPaths", &linux.masked_paths)?;
    check_paths(linux, "/linux/readonlyPaths", &linux.readonly_paths)
}

impl Linux {
    /// Whether there is a namespace of this kind that is not the runtime's: a new one or a joined one.
    pub fn has_namespace(&self, kind: NamespaceType) -> bool {
        self.namespace(kind).is_some()
    }

    /// The entry of this kind.
    pub fn namespace(&self, kind: NamespaceType) -> Option<&LinuxNamespace> {
        self.namespaces.iter().find(|namespace| namespace.namespace_type == kind)
    }

    /// Where in the array the entry of this kind is.
    fn namespace_pointer(&self, kind: NamespaceType) -> String {
        let place = self.namespaces.iter().position(|namespace| namespace.namespace_type == kind);
        place.map_or_else(String::new, |index| format!("/linux/namespaces/{index}"))
    }
}

/// Mappings need the namespace, and a new one needs mappings. A joined one may come with mappings: containerd and CRI-O
/// repeat those that it has.
fn check_user(linux: &Linux) -> Check {
    let mappings =
        [("/linux/uidMappings", &linux.uid_mappings), ("/linux/gidMappings", &linux.gid_mappings)];
    for (pointer, mappings) in mappings {
        if !mappings.is_empty() && !linux.has_namespace(NamespaceType::User) {
            return fail(
                pointer,
                "user namespace mappings specified, but user namespace isn't enabled in the config",
            );
        }
        id_mappings::check(mappings, pointer)?;
    }
    let new = linux.namespace(NamespaceType::User).is_some_and(|user| user.path.is_empty());
    if new && mappings.iter().all(|(_, mappings)| mappings.is_empty()) {
        return fail(
            linux.namespace_pointer(NamespaceType::User),
            "user namespaces enabled, but no namespace path to join nor mappings to apply specified",
        );
    }
    for (kind, (pointer, mappings)) in ["uid", "gid"].into_iter().zip(mappings) {
        if new && mappings.is_empty() {
            let problem = format!("user namespaces enabled, but no {kind} mappings found");
            return fail(pointer, problem);
        }
    }
    Ok(())
}

fn check_time(linux: &Linux) -> Check {
    if linux.time_offsets.is_empty() {
        return Ok(());
    }
    match linux.namespace(NamespaceType::Time) {
        None => fail(
            "/linux/timeOffsets",
            "time namespace offsets specified, but time namespace isn't enabled in the config",
        ),
        Some(time) if !time.path.is_empty() => fail(
            "/linux/timeOffsets",
            "time namespace enabled, but both namespace path and time offsets specified -- you may only provide one",
        ),
        Some(_) => {
            linux.time_offsets.iter().try_for_each(|(clock, offset)| check_clock(clock, offset))
        }
    }
}

fn check_clock(clock: &str, offset: &LinuxTimeOffset) -> Check {
    /// `KTIME_SEC_MAX`: `proc_timens_set_offset` answers ERANGE beyond it.
    const MAX_SECONDS: i64 = i64::MAX / 1_000_000_000;
    let pointer = member("/linux/timeOffsets", clock);
    if !matches!(clock, "monotonic" | "boottime") {
        return fail(pointer, "is not a clock of a time namespace: monotonic, boottime");
    }
    super::check_range(offset.secs, -MAX_SECONDS, MAX_SECONDS, || format!("{pointer}/secs"))?;
    super::check_range(offset.nanosecs, 0, 999_999_999, || format!("{pointer}/nanosecs"))
}

/// Masks and read-only paths are mounts: without a mount namespace they would be the host's.
fn check_paths(linux: &Linux, pointer: &str, paths: &[String]) -> Check {
    if !paths.is_empty() && !linux.has_namespace(NamespaceType::Mount) {
        return fail(pointer, "unable to restrict sys entries without a private MNT namespace");
    }
    check_count(pointer, paths.len(), MAX_STEPS)?;
    for (index, path) in paths.iter().enumerate() {
        check_absolute(path, || format!("{pointer}/{index}"))?;
    }
    Ok(())
}
