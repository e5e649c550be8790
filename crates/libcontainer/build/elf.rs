//! What init's image may be: a static program without relocations, without a symbol that is defined elsewhere, and small.
//!
//! Runs in: any process (the build script, and a test of it).

/// The largest image that is accepted, in bytes.
pub const MAX_LENGTH: usize = 64 * 1024;

const ELF_64_LITTLE: [u8; 6] = *b"\x7fELF\x02\x01";
const ET_EXEC: u64 = 2;
const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const PT_TLS: u64 = 7;
const SHT_SYMTAB: u64 = 2;
const SHT_RELA: u64 = 4;
const SHT_REL: u64 = 9;
const FLAGS_WX: u64 = 3;

/// The image without what is not loaded (symbols, section headers, comments), if it is one that may be embedded.
///
/// # Errors
/// What is wrong with it, as text.
pub fn strip(linked: &[u8]) -> Result<Vec<u8>, String> {
    if !linked.starts_with(&ELF_64_LITTLE) || integer(linked, 16, 2)? != ET_EXEC {
        return Err("the image is not a static 64-bit ELF program at a fixed address".into());
    }
    check_sections(linked)?;
    let end = loaded_length(linked)?;
    if end > MAX_LENGTH {
        return Err(format!("the image has {end} bytes, more than {MAX_LENGTH}"));
    }
    let mut image = linked.get(..end).ok_or("the image is cut off")?.to_vec();
    // e_shoff, and e_shentsize, e_shnum, e_shstrndx.
    image.get_mut(40..48).ok_or("no header")?.fill(0);
    image.get_mut(58..64).ok_or("no header")?.fill(0);
    Ok(image)
}

/// Where what is loaded ends in the file.
fn loaded_length(file: &[u8]) -> Result<usize, String> {
    let mut end = 64;
    for header in table(file, 32, 54, 56)? {
        let kind = integer(header, 0, 4)?;
        match kind {
            PT_INTERP => return Err("the image wants a dynamic linker".into()),
            PT_DYNAMIC => return Err("the image has a dynamic section".into()),
            PT_TLS => {
                return Err("the image wants thread-local storage, which nobody sets up".into());
            }
            PT_LOAD if integer(header, 4, 4)? & FLAGS_WX == FLAGS_WX => {
                return Err("the image has memory that is writable and executable".into());
            }
            PT_LOAD => end = end.max(integer(header, 8, 8)? + integer(header, 32, 8)?),
            _ => {}
        }
    }
    usize::try_from(end).map_err(|_| "the image's segments are too large".into())
}

/// No relocation, and no symbol that the image does not define.
fn check_sections(file: &[u8]) -> Result<(), String> {
    let sections = table(file, 40, 58, 60)?;
    let mut has_symbols = false;
    for section in &sections {
        match integer(section, 4, 4)? {
            SHT_REL | SHT_RELA if integer(section, 32, 8)? > 0 => {
                return Err("the image has relocations".into());
            }
            SHT_SYMTAB => {
                let names = usize::try_from(integer(section, 40, 4)?).ok();
                let names = names.and_then(|index| sections.get(index)).ok_or("no symbol names")?;
                check_symbols(contents(file, section)?, contents(file, names)?)?;
                has_symbols = true;
            }
            _ => {}
        }
    }
    if has_symbols {
        Ok(())
    } else {
        Err("the image was linked without symbols: nothing to check".into())
    }
}

fn check_symbols(symbols: &[u8], names: &[u8]) -> Result<(), String> {
    // The first symbol is the undefined one that every table begins with.
    for symbol in symbols.chunks_exact(24).skip(1) {
        if integer(symbol, 6, 2)? == 0 {
            let start = usize::try_from(integer(symbol, 0, 4)?).unwrap_or(usize::MAX);
            let name = names.get(start..).and_then(|rest| rest.split(|byte| *byte == 0).next());
            let name = String::from_utf8_lossy(name.unwrap_or_default());
            return Err(format!("the image does not define the symbol `{name}`"));
        }
    }
    Ok(())
}

/// The entries of the table whose offset, entry size and count are at these places of the file's header.
fn table(file: &[u8], offset: usize, size: usize, count: usize) -> Result<Vec<&[u8]>, String> {
    let (start, size) = (integer(file, offset, 8)?, integer(file, size, 2)?);
    let length = size * integer(file, count, 2)?;
    Ok(slice(file, start, length)?
        .chunks_exact(usize::try_from(size.max(1)).unwrap_or(1))
        .collect())
}

fn contents<'a>(file: &'a [u8], section: &[u8]) -> Result<&'a [u8], String> {
    slice(file, integer(section, 24, 8)?, integer(section, 32, 8)?)
}

fn slice(file: &[u8], start: u64, length: u64) -> Result<&[u8], String> {
    let range = usize::try_from(start).ok().zip(usize::try_from(length).ok());
    let part = range.and_then(|(start, length)| file.get(start..start.checked_add(length)?));
    part.ok_or_else(|| "the image is cut off".into())
}

/// The little-endian integer of `size` bytes at `at`.
fn integer(bytes: &[u8], at: usize, size: usize) -> Result<u64, String> {
    let bytes = bytes.get(at..at + size).ok_or("the image is cut off")?;
    Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}
