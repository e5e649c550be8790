//! The list of init's ops while it is made, and strings as the kernel wants them.
//!
//! Runs in: any process.

use std::ffi::CString;
use std::path::{Component, Path, PathBuf};

use corten_plan::wire::List;
use corten_plan::{Op, PlanWriter};

use super::types::{IdMapPlan, InitPlan, Origin};
use crate::spec::SpecError;

/// Ops, one behind the other, and where each comes from.
#[derive(Debug)]
pub(super) struct Steps {
    writer: PlanWriter,
    origins: Vec<Origin>,
    id_maps: Vec<IdMapPlan>,
}

impl Steps {
    pub fn new() -> Self {
        // A default bundle has some 70 ops.
        let origins = Vec::with_capacity(96);
        Self { writer: PlanWriter::default(), origins, id_maps: Vec::new() }
    }

    /// Appends a step.
    pub fn push(&mut self, origin: impl Into<Origin>, op: &Op<'_>) {
        self.writer.push(op);
        self.origins.push(origin.into());
    }

    /// The next step is a mount that gets this id mapping.
    pub fn map_ids(&mut self, map: Option<IdMapPlan>) {
        // More steps than a plan can have are refused by `finish`.
        let op = u16::try_from(self.origins.len()).unwrap_or(u16::MAX);
        self.id_maps.extend(map.map(|map| IdMapPlan { op, ..map }));
    }

    /// Appends a step that every container has.
    pub fn always(&mut self, op: &Op<'_>) {
        self.push(Origin::Always, op);
    }

    /// All of it, for an init whose hooks need no state.
    pub fn finish(self, flags: u32) -> Result<InitPlan, SpecError> {
        let bytes = self.writer.finish(flags).map_err(|_| {
            SpecError::new("", "makes more than 65,535 steps or a plan of more than 4 GiB")
        })?;
        Ok(InitPlan {
            bytes,
            origins: self.origins,
            id_maps: self.id_maps,
            state_at_mounted: false,
            state_at_ready: false,
            may_go_ahead: false,
        })
    }
}

/// `string` with a NUL behind it.
pub(super) fn c_string(origin: &Origin, string: impl Into<Vec<u8>>) -> Result<CString, SpecError> {
    CString::new(string).map_err(|_| has_nul(origin))
}

/// `path` with a NUL behind it.
pub(super) fn c_path(origin: &Origin, path: &Path) -> Result<CString, SpecError> {
    c_string(origin, path.as_os_str().as_encoded_bytes())
}

/// Strings, each with its NUL, for [`list`].
pub(super) fn c_strings<S: AsRef<[u8]>>(
    origin: &Origin,
    strings: impl IntoIterator<Item = S>,
) -> Result<Vec<u8>, SpecError> {
    let mut bytes = Vec::new();
    for string in strings {
        if string.as_ref().contains(&0) {
            return Err(has_nul(origin));
        }
        bytes.extend_from_slice(string.as_ref());
        bytes.push(0);
    }
    Ok(bytes)
}

/// What [`c_strings`] made, as a field of an op.
pub(super) fn list<'a>(origin: &Origin, strings: &'a [u8]) -> Result<List<'a>, SpecError> {
    List::new(strings).map_err(|_| SpecError::new(origin.to_string(), "has too many elements"))
}

fn has_nul(origin: &Origin) -> SpecError {
    SpecError::new(origin.to_string(), "has a NUL byte")
}

/// An absolute path without `.`, `..` and repeated slashes; `..` at the root is the root. By the words alone: nothing
/// is looked up, and what is no absolute path is taken as below `/`.
pub(super) fn clean(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    if is_clean(path) {
        return path.to_owned();
    }
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    cleaned
}

/// Whether [`clean`] has nothing to do: nearly always.
fn is_clean(path: &Path) -> bool {
    let Some(names) = path.as_os_str().as_encoded_bytes().strip_prefix(b"/") else { return false };
    names.split(|byte| *byte == b'/').all(|name| !matches!(name, b"" | b"." | b".."))
}

/// Whether `path` is `above`, or lies below it; both are as [`clean`] makes them.
pub(super) fn is_within(path: &Path, above: &Path) -> bool {
    let [path, above] = [path, above].map(|path| path.as_os_str().as_encoded_bytes());
    let rest = path.strip_prefix(above);
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'/')) || above == b"/")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Origin, c_string, clean, is_within};

    #[test]
    fn is_within_compares_whole_names() {
        for (path, above, expected) in [
            ("/a/b", "/a", true),
            ("/a", "/a", true),
            ("/ab", "/a", false),
            ("/a", "/a/b", false),
            ("/a", "/", true),
            ("/", "/", true),
        ] {
            assert_eq!(is_within(Path::new(path), Path::new(above)), expected, "{path} {above}");
        }
    }

    #[test]
    fn clean_dots_and_slashes_never_leads_above_the_root() {
        for (path, expected) in [
            ("/", "/"),
            ("", "/"),
            ("..", "/"),
            ("/../../etc", "/etc"),
            ("//a/./b//", "/a/b"),
            ("a/../../b", "/b"),
            ("/a/b/..", "/a"),
            ("/a/", "/a"),
            ("/a/b", "/a/b"),
            ("/.", "/"),
        ] {
            assert_eq!(clean(path), Path::new(expected), "{path:?}");
        }
    }

    #[test]
    fn c_string_with_nul_is_an_error_with_the_pointer() {
        let error = c_string(&Origin::Element("/mounts", 3), "a\0b").unwrap_err();
        assert_eq!(error.to_string(), "/mounts/3: has a NUL byte");
    }
}
