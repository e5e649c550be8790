//! The annotations of crun that change what is done: those that Podman and its users set.
//!
//! Runs in: any process.

use std::collections::BTreeMap;

use super::types::{Origin, Remark};
use crate::spec::SpecError;

const POINTER: &str = "/annotations";

const KEEP_GROUPS: &str = "run.oci.keep_original_groups";
const MOUNT_CONTEXT: &str = "run.oci.mount_context_type";
const CGROUP_V1: &str = "run.oci.systemd.force_cgroup_v1";
const HANDLER: &str = "run.oci.handler";
/// Where hooks write to, in place of the error that shows the last of it.
pub(crate) const HOOKS_STDOUT: &str = "run.oci.hooks.stdout";
/// As [`HOOKS_STDOUT`].
pub(crate) const HOOKS_STDERR: &str = "run.oci.hooks.stderr";

/// The annotations of config.json.
#[derive(Debug, Clone, Copy)]
pub(super) struct Annotations<'a>(pub &'a BTreeMap<String, String>);

impl<'a> Annotations<'a> {
    /// The process keeps the supplementary groups of the runtime's caller (`podman run --group-add keep-groups`).
    pub fn keeps_groups(self) -> bool {
        self.get(KEEP_GROUPS).is_some_and(|value| value != "0")
    }

    /// The option of mount(2) that a mount's SELinux label is given by.
    pub fn mount_context(self) -> Result<&'a str, SpecError> {
        match self.get(MOUNT_CONTEXT) {
            None => Ok("context"),
            Some(word @ ("context" | "fscontext" | "defcontext" | "rootcontext")) => Ok(word),
            Some(other) => Err(SpecError::new(
                Origin::member(POINTER, MOUNT_CONTEXT).to_string(),
                format!("is {other:?}: not context, fscontext, defcontext or rootcontext"),
            )),
        }
    }

    /// What is ignored.
    pub fn warnings(self) -> Option<Remark> {
        self.get(CGROUP_V1).map(|_| {
            let text = "is ignored: cgroup v1 is not supported, and systemd above 255 has none";
            Remark::new(Origin::member(POINTER, CGROUP_V1), text)
        })
    }

    /// What is refused: the program would be run by something else than it was made for.
    pub fn unsupported(self) -> Option<Remark> {
        self.get(HANDLER).map(|handler| {
            let text =
                format!("the handler {handler:?} is not supported: corten runs Linux programs");
            Remark::new(Origin::member(POINTER, HANDLER), text)
        })
    }

    fn get(self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn groups_are_kept_when_the_annotation_says_so() {
        assert!(Annotations(&one(KEEP_GROUPS, "1")).keeps_groups());
        assert!(!Annotations(&one(KEEP_GROUPS, "0")).keeps_groups());
        assert!(!Annotations(&one(KEEP_GROUPS, "")).keeps_groups());
        assert!(!Annotations(&BTreeMap::new()).keeps_groups());
    }

    #[test]
    fn mount_context_is_one_of_four_words() {
        assert_eq!(Annotations(&BTreeMap::new()).mount_context().unwrap(), "context");
        let words = one(MOUNT_CONTEXT, "rootcontext");
        assert_eq!(Annotations(&words).mount_context().unwrap(), "rootcontext");
        let error = Annotations(&one(MOUNT_CONTEXT, "x,y")).mount_context().unwrap_err();
        assert_eq!(error.pointer, "/annotations/run.oci.mount_context_type");
    }
}
