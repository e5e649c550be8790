//! Paths in fixed memory, and how a path with missing parts is taken apart: text only, no system calls.
//!
//! Runs in: init.

use core::ffi::CStr;

use crate::sys::Errno;
use crate::sys::abi::PATH_MAX;

/// A path, with room for the longest that the kernel takes.
#[derive(Debug)]
pub struct Path {
    /// Zero from `length` on, and nowhere before it.
    bytes: [u8; PATH_MAX],
    length: usize,
}

impl Path {
    /// The empty path.
    pub const fn new() -> Self {
        Self { bytes: [0; PATH_MAX], length: 0 }
    }

    /// The path that consists of these parts.
    ///
    /// # Errors
    /// ENAMETOOLONG for 4096 bytes and more, EINVAL for a NUL.
    pub fn from_parts(parts: &[&[u8]]) -> Result<Self, Errno> {
        let mut path = Self::new();
        parts.iter().try_for_each(|part| path.push(part))?;
        Ok(path)
    }

    /// Appends `part`.
    ///
    /// # Errors
    /// ENAMETOOLONG for 4096 bytes and more, EINVAL for a NUL.
    pub fn push(&mut self, part: &[u8]) -> Result<(), Errno> {
        let end = self.length.saturating_add(part.len());
        if end >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let room = self.bytes.get_mut(self.length..end).ok_or(Errno::ENAMETOOLONG)?;
        for (to, from) in room.iter_mut().zip(part) {
            if *from == 0 {
                return Err(Errno::EINVAL);
            }
            *to = *from;
        }
        self.length = end;
        Ok(())
    }

    /// Keeps the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        if let Some(cut) = self.bytes.get_mut(length..self.length) {
            cut.fill(0);
            self.length = length;
        }
    }

    /// The bytes without a NUL.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// The path for a system call.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

impl Default for Path {
    fn default() -> Self {
        Self::new()
    }
}

/// Where the last component of `path` begins and with it the slashes before it: `/a/b/` → 2, `/a` → 0. `None`: there is
/// no component.
pub fn last_component(path: &[u8]) -> Option<usize> {
    let end = path.iter().rposition(|byte| *byte != b'/')? + 1;
    let name = path.get(..end)?.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let before = path.get(..name)?;
    Some(before.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1))
}

/// The components of a path, without empty ones and `.`; each with what follows it.
pub fn components(path: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = path;
    core::iter::from_fn(move || {
        loop {
            let start = rest.iter().position(|byte| *byte != b'/')?;
            let after = rest.get(start..)?;
            let end = after.iter().position(|byte| *byte == b'/').unwrap_or(after.len());
            let (name, following) = after.split_at_checked(end)?;
            rest = following;
            if name != b"." {
                return Some((name, following));
            }
        }
    })
}

/// Whether `path` is the name of one thing in a directory.
pub fn is_name(path: &[u8]) -> bool {
    !matches!(path, b"" | b"." | b"..") && !path.contains(&b'/')
}

/// Appends `rest`, a path whose first component does not exist, to `prefix`, with each `..` taken as leading back from
/// where the component before it would have led. runc (securejoin) does the same with what does not exist.
///
/// # Errors
/// ENAMETOOLONG.
pub fn join_missing(prefix: &mut Path, rest: &[u8]) -> Result<(), Errno> {
    let base = prefix.length;
    for (name, _) in components(rest) {
        if name != b".." {
            prefix.push(b"/")?;
            prefix.push(name)?;
            continue;
        }
        match last_component(prefix.bytes()).filter(|start| *start >= base) {
            Some(start) => prefix.truncate(start),
            // Above what is missing the kernel resolves it, and knows of links.
            None => prefix.push(b"/..")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(prefix: &str, rest: &str) -> String {
        let mut path = Path::from_parts(&[prefix.as_bytes()]).unwrap();
        join_missing(&mut path, rest.as_bytes()).unwrap();
        String::from_utf8(path.bytes().to_vec()).unwrap()
    }

    #[test]
    fn path_of_4096_bytes_is_too_long() {
        assert!(Path::from_parts(&[&[b'x'; PATH_MAX - 1]]).is_ok());
        let long = Path::from_parts(&[&[b'x'; PATH_MAX - 1], b"y"]);
        assert_eq!(long.unwrap_err(), Errno::ENAMETOOLONG);
    }

    #[test]
    fn path_with_a_nul_is_refused() {
        assert_eq!(Path::from_parts(&[b"a\0b"]).unwrap_err(), Errno::EINVAL);
    }

    #[test]
    fn path_truncated_and_extended_has_no_old_bytes() {
        let mut path = Path::from_parts(&[b"/abc/def"]).unwrap();
        path.truncate(2);
        path.push(b"x").unwrap();
        assert_eq!(path.as_c_str(), c"/ax");
    }

    #[test]
    fn last_component_takes_the_slashes_before_it() {
        for (path, start) in [("/a/b/", 2), ("/a//b", 2), ("/a", 0), ("a", 0), ("//a", 0)] {
            assert_eq!(last_component(path.as_bytes()), Some(start), "{path}");
        }
        assert_eq!(last_component(b"/"), None);
        assert_eq!(last_component(b""), None);
    }

    #[test]
    fn components_skip_dots_and_slashes() {
        let parts: Vec<_> = components(b"/a//./b/../c/").collect();
        let expected: [(&[u8], &[u8]); 4] =
            [(b"a", b"//./b/../c/"), (b"b", b"/../c/"), (b"..", b"/c/"), (b"c", b"/")];
        assert_eq!(parts, expected);
    }

    #[test]
    fn join_missing_with_dot_dot_stays_among_the_missing() {
        assert_eq!(joined("/a", "b/c"), "/a/b/c");
        assert_eq!(joined("/a", "b/../c"), "/a/c");
        assert_eq!(joined("/a", "b/c/../../d"), "/a/d");
        assert_eq!(joined("", "b/../c"), "/c");
    }

    #[test]
    fn join_missing_with_dot_dot_above_the_missing_is_left_to_the_kernel() {
        assert_eq!(joined("/a", "b/../../c"), "/a/../c");
    }
}
