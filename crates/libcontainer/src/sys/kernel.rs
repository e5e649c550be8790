//! Which kernel this is, without a system call: it says so in a note of the vDSO, the library that it maps into every process (vdso(7)).
//!
//! Runs in: runtime.

/// `PT_NOTE` of `<linux/elf.h>`.
const PT_NOTE: u32 = 4;
/// `EI_CLASS`, and what it is in a file of 64 bits.
const EI_CLASS: usize = 4;
const ELFCLASS64: u8 = 2;
/// The header of the note (`arch/*/vdso/note.S`): length of the name and of what follows, and the type; then the name.
const LINUX: [u8; 20] = *b"\x06\0\0\0\x04\0\0\0\0\0\0\0Linux\0\0\0";

/// Major and minor version; `None` where there is no vDSO, or no such note in it.
pub fn version() -> Option<(u32, u32)> {
    // SAFETY: it reads the auxiliary vector, which the kernel has put behind the environment.
    let start = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
    let start: *const u8 = std::ptr::with_exposed_provenance(usize::try_from(start).ok()?);
    if start.is_null() {
        return None;
    }
    // SAFETY: an ELF header is what AT_SYSINFO_EHDR points to, mapped as long as the process lives and never written to.
    let header = unsafe { std::slice::from_raw_parts(start, size_of::<libc::Elf64_Ehdr>()) };
    if header.get(..EI_CLASS)? != b"\x7fELF" || *header.get(EI_CLASS)? != ELFCLASS64 {
        return None;
    }
    // SAFETY: as above, of 64 bits; the vDSO begins at the beginning of a page.
    let header = unsafe { &*start.cast::<libc::Elf64_Ehdr>() };
    let offset = usize::try_from(header.e_phoff).ok()?;
    // SAFETY: the table of segments lies in the vDSO, where the header says; it is made of 64-bit numbers, and so aligned.
    let segments = unsafe {
        let table = start.add(offset).cast::<libc::Elf64_Phdr>();
        std::slice::from_raw_parts(table, header.e_phnum.into())
    };
    segments.iter().filter(|segment| segment.p_type == PT_NOTE).find_map(|segment| {
        let offset = usize::try_from(segment.p_offset).ok()?;
        let length = usize::try_from(segment.p_filesz).ok()?;
        // SAFETY: all of the vDSO is mapped, from its beginning, and so is each segment.
        find(unsafe { std::slice::from_raw_parts(start.add(offset), length) })
    })
}

/// The version in these notes.
fn find(notes: &[u8]) -> Option<(u32, u32)> {
    // Notes are aligned to four bytes.
    let at =
        notes.windows(LINUX.len() + 4).step_by(4).find_map(|note| note.strip_prefix(&LINUX))?;
    let code = u32::from_ne_bytes(at.try_into().ok()?);
    // LINUX_VERSION_CODE.
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
