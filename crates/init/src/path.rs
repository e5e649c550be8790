//! Paths in fixed memory, and how a path with missing parts is taken apart: text only, no system calls.
//!
//! Runs in: init.

use core::ffi::CStr;

use crate::sys::Errno;
use crate::sys::abi::PATH_MAX;

/// A path of less than `N` bytes; without a number, of any length that the kernel takes.
#[derive(Debug)]
pub struct Path<const N: usize = PATH_MAX> {
    /// Zero from `length` on, and nowhere before it.
    bytes: [u8; N],
    length: usize,
}

impl Path {
    /// The empty path.
    pub const fn new() -> Self {
        Self { bytes: [0; PATH_MAX], length: 0 }
    }
}

impl<const N: usize> Path<N> {
    /// The path that consists of these parts.
    ///
    /// # Errors
    /// Those of [`Path::push`].
    pub fn from_parts(parts: &[&[u8]]) -> Result<Self, Errno> {
        let mut path = Self { bytes: [0; N], length: 0 };
        path.push(parts)?;
        Ok(path)
    }

    /// Appends the parts.
    ///
    /// # Errors
    /// ENAMETOOLONG when there is no room, EINVAL for a NUL.
    pub fn push(&mut self, parts: &[&[u8]]) -> Result<(), Errno> {
        for part in parts {
            if part.contains(&0) {
                return Err(Errno::EINVAL);
            }
            let end = self.length.saturating_add(part.len());
            let room = self.bytes.get_mut(self.length..end).filter(|_| end < N);
            room.ok_or(Errno::ENAMETOOLONG)?.copy_from_slice(part);
            self.length = end;
        }
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

    /// What `see` gives for the first `length` bytes as a path.
    pub fn at<T>(&mut self, length: usize, see: impl FnOnce(&CStr) -> T) -> T {
        let kept = self.bytes.get_mut(length).map(core::mem::take);
        let result = see(self.as_c_str());
        if let Some((byte, kept)) = self.bytes.get_mut(length).zip(kept) {
            *byte = kept;
        }
        result
    }

    /// Puts `new` in the place of the bytes from `start` to `end`.
    ///
    /// # Errors
    /// ENAMETOOLONG when there is no room, EINVAL for a NUL.
    pub fn splice(&mut self, start: usize, end: usize, new: &[u8]) -> Result<(), Errno> {
        let after = self.length.checked_sub(end).filter(|_| start <= end).ok_or(Errno::EINVAL)?;
        let length = start.saturating_add(new.len()).saturating_add(after);
        if new.contains(&0) {
            return Err(Errno::EINVAL);
        }
        if length >= N {
            return Err(Errno::ENAMETOOLONG);
        }
        self.bytes.copy_within(end..self.length, start + new.len());
        if let Some(room) = self.bytes.get_mut(start..start + new.len()) {
            room.copy_from_slice(new);
        }
        let old = core::mem::replace(&mut self.length, length);
        if let Some(rest) = self.bytes.get_mut(length..old) {
            rest.fill(0);
        }
        Ok(())
    }

    /// Where the first component at or after `at` begins and ends; `.` is none.
    pub fn component(&self, at: usize) -> Option<(usize, usize)> {
        let mut end = at;
        loop {
            let rest = self.bytes().get(end..)?;
            let start = end + rest.iter().position(|byte| *byte != b'/')?;
            let name = self.bytes().get(start..)?;
            end = start + name.iter().position(|byte| *byte == b'/').unwrap_or(name.len());
            if self.bytes().get(start..end)? != b"." {
                return Some((start, end));
            }
        }
    }

    /// Whether a component at or after `at` is `..`.
    pub fn goes_back(&self, at: usize) -> bool {
        let mut next = self.component(at);
        while let Some((start, end)) = next {
            if self.bytes().get(start..end) == Some(b"..") {
                return true;
            }
            next = self.component(end);
        }
        false
    }

    /// Takes each `..` from `base` on as leading back from where the component before it would have led: nothing of what is
    /// there exists. Where there is none before it, it stays: above `base` the kernel resolves it, and knows of links. runc
    /// (securejoin) does the same.
    pub fn go_back(&mut self, base: usize) {
        let (mut floor, mut written, mut read) = (base, base, base);
        while let Some((start, end)) = self.component(read) {
            read = end;
            let is_back = self.bytes().get(start..end) == Some(b"..");
            let last = self.bytes().get(..written).and_then(last_component);
            if let Some(last) = last.filter(|last| is_back && *last >= floor) {
                written = last;
                continue;
            }
            // At least one slash was read for each that is written: this never overtakes `read`.
            if let Some(slash) = self.bytes.get_mut(written) {
                *slash = b'/';
            }
            self.bytes.copy_within(start..end, written + 1);
            written += 1 + end - start;
            floor = if is_back { written } else { floor };
        }
        self.truncate(written);
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

/// Whether `path` is the name of one thing in a directory.
pub fn is_name(path: &[u8]) -> bool {
    !matches!(path, b"" | b"." | b"..") && !path.contains(&b'/')
}

/// Whether `path` is `above`, which does not end with a slash, or lies below it.
pub fn is_within(path: &[u8], above: &[u8]) -> bool {
    path.strip_prefix(above).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

/// The digits of a number that is not negative.
pub fn decimal(number: i32, digits: &mut [u8; 10]) -> &[u8] {
    let mut rest = number;
    let mut start = digits.len();
    for (index, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        start = index;
        if rest == 0 {
            break;
        }
    }
    digits.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::from_parts(&[text.as_bytes()]).unwrap()
    }

    fn gone_back(text: &str, base: usize) -> String {
        let mut path = path(text);
        path.go_back(base);
        assert_eq!(path.as_c_str().to_bytes(), path.bytes());
        String::from_utf8(path.bytes().to_vec()).unwrap()
    }

    #[test]
    fn path_of_4096_bytes_is_too_long() {
        assert!(Path::<PATH_MAX>::from_parts(&[&[b'x'; PATH_MAX - 1]]).is_ok());
        let long = Path::<PATH_MAX>::from_parts(&[&[b'x'; PATH_MAX - 1], b"y"]);
        assert_eq!(long.unwrap_err(), Errno::ENAMETOOLONG);
    }

    #[test]
    fn path_with_a_nul_is_refused() {
        assert_eq!(Path::<8>::from_parts(&[b"a\0b"]).unwrap_err(), Errno::EINVAL);
    }

    #[test]
    fn path_truncated_and_extended_has_no_old_bytes() {
        let mut path = path("/abc/def");
        path.truncate(2);
        path.push(&[b"x"]).unwrap();
        assert_eq!(path.as_c_str(), c"/ax");
    }

    #[test]
    fn path_at_a_length_is_cut_and_whole_again() {
        let mut path = path("/abc/def");
        let seen = path.at(4, |cut| cut == c"/abc");
        assert!(seen);
        assert_eq!(path.as_c_str(), c"/abc/def");
        assert!(path.at(8, |whole| whole == c"/abc/def"));
    }

    #[test]
    fn path_spliced_with_longer_and_shorter_text_is_exact() {
        let mut path = path("/etc/link/file");
        path.splice(5, 9, b"../run/long").unwrap();
        assert_eq!(path.as_c_str(), c"/etc/../run/long/file");
        path.splice(0, 16, b"/x").unwrap();
        assert_eq!(path.as_c_str(), c"/x/file");
        assert_eq!(path.bytes().len(), 7);
        assert_eq!(path.splice(0, 2, &[b'x'; PATH_MAX]), Err(Errno::ENAMETOOLONG));
        assert_eq!(path.splice(3, 8, b""), Err(Errno::EINVAL));
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
    fn component_skips_dots_and_slashes() {
        let path = path("/a//./b/../c/");
        let mut ends = Vec::new();
        let mut next = path.component(0);
        while let Some((start, end)) = next {
            ends.push((start, end));
            next = path.component(end);
        }
        assert_eq!(ends, [(1, 2), (6, 7), (8, 10), (11, 12)]);
        assert!(path.goes_back(0) && path.goes_back(8) && !path.goes_back(10));
    }

    #[test]
    fn go_back_stays_among_the_missing() {
        assert_eq!(gone_back("/a/b/c", 2), "/a/b/c");
        assert_eq!(gone_back("/a/b/../c", 2), "/a/c");
        assert_eq!(gone_back("/a/b//c/.././../d/", 2), "/a/d");
        assert_eq!(gone_back("/b/../c", 0), "/c");
        assert_eq!(gone_back("/b/..", 0), "");
    }

    #[test]
    fn go_back_above_the_missing_is_left_to_the_kernel() {
        assert_eq!(gone_back("/a/b/../../c", 2), "/a/../c");
        assert_eq!(gone_back("/a/b/../../../c/../d", 2), "/a/../../d");
    }

    #[test]
    fn decimal_of_numbers_has_no_leading_zero() {
        for number in [0, 7, 10, 255, i32::MAX] {
            assert_eq!(decimal(number, &mut [0; 10]), number.to_string().as_bytes());
        }
    }
}
