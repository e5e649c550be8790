//! Which kernel this is, without a system call: a note says so in the vDSO, the library that the kernel maps into every process
//! (vdso(7)).
//!
//! Runs in: runtime.

/// What is mapped of it at least: a page, in which all that comes before the code has room.
const PAGE: usize = 4096;
/// The note's header and name (`arch/*/vdso/note.S`): length of the name, of what follows, and the type.
const LINUX: [u8; 20] = *b"\x06\0\0\0\x04\0\0\0\0\0\0\0Linux\0\0\0";

/// Major and minor version; `None` where there is no vDSO, or no such note in it.
pub fn version() -> Option<(u32, u32)> {
    // SAFETY: it reads the auxiliary vector, which the kernel has put behind the environment.
    let start = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
    let start: *const u8 = std::ptr::with_exposed_provenance(usize::try_from(start).ok()?);
    if start.is_null() {
        return None;
    }
    // SAFETY: it is where the vDSO begins, mapped readable as long as the process lives and never written to; no page is smaller.
    find(unsafe { std::slice::from_raw_parts(start, PAGE) })
}

/// The version in what is aligned to four bytes, as notes are.
fn find(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut places = bytes.windows(LINUX.len() + 4).step_by(4);
    let code = places.find_map(|place| place.strip_prefix(&LINUX))?;
    // LINUX_VERSION_CODE.
    let code = u32::from_ne_bytes(code.try_into().ok()?);
    Some((code >> 16, code >> 8 & 0xff))
}

#[cfg(test)]
mod tests {
    use super::{LINUX, find, version};

    #[test]
    fn version_is_what_uname_says() {
        let release = rustix::system::uname();
        let release = release.release().to_str().unwrap();
        let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
        let mut next = || numbers.next().unwrap().parse::<u32>().unwrap();
        assert_eq!(version(), Some((next(), next())), "{release}");
    }

    #[test]
    fn version_among_other_notes_is_found() {
        let other = b"\x04\0\0\0\x04\0\0\0\x03\0\0\0GNU\0abcd";
        let code = (7u32 << 16 | 2 << 8 | 13).to_ne_bytes();
        assert_eq!(find(&[&other[..], &LINUX, &code].concat()), Some((7, 2)));
        assert_eq!(find(other), None);
        assert_eq!(find(&LINUX), None);
    }
}
