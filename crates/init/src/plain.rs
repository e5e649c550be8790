//! New file systems by one mount(2) on the working directory, where that can say all there is to say.
//!
//! The path is `.`, which is no lookup: it is the mount and the directory that fchdir(2) was given, as with `move_mount`
//! from fd to fd. Or it is a name in the directory that init fills, where nobody else can change what has that name.
//! Whatever fails here is done again by the calls that say what is wrong.
//!
//! Runs in: init.

use core::ffi::CStr;

use crate::mounts::{NewFs, octal};
use crate::path::Path;
use crate::run::Init;
use crate::sys::abi::{
    MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_STRICTATIME, MS_DIRSYNC, MS_LAZYTIME, MS_MANDLOCK, MS_NOATIME, MS_NODEV,
    MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_NOSYMFOLLOW, MS_RDONLY, MS_STRICTATIME, MS_SYNCHRONOUS,
};
use crate::sys::{Errno, FdRef, Result, fs, mount};

/// Bytes of all options: more than any usual mount has, less than a page of stack.
const LENGTH: usize = 1024;

/// The flags of the mount, by attribute. `relatime` is the default of both.
const ATTRIBUTES: [(u64, u64); 8] = [
    (MOUNT_ATTR_RDONLY, MS_RDONLY),
    (MOUNT_ATTR_NOSUID, MS_NOSUID),
    (MOUNT_ATTR_NODEV, MS_NODEV),
    (MOUNT_ATTR_NOEXEC, MS_NOEXEC),
    (MOUNT_ATTR_NOATIME, MS_NOATIME),
    (MOUNT_ATTR_STRICTATIME, MS_STRICTATIME),
    (MOUNT_ATTR_NODIRATIME, MS_NODIRATIME),
    (MOUNT_ATTR_NOSYMFOLLOW, MS_NOSYMFOLLOW),
];

/// The flags of the super block, by the words that fsconfig has for them. `ro` is one of both.
const WORDS: [(&CStr, u64); 4] = [
    (c"sync", MS_SYNCHRONOUS),
    (c"dirsync", MS_DIRSYNC),
    (c"lazytime", MS_LAZYTIME),
    (c"mand", MS_MANDLOCK),
];

/// Mounts `new` on the directory `target`; `mode`: one more option.
///
/// # Errors
/// Those of fchdir(2) and mount(2), and EINVAL for what mount(2) cannot say.
pub fn on(init: &mut Init, target: FdRef<'_>, new: &NewFs, mode: Option<u16>) -> Result<()> {
    init.change_directory(target)?;
    mount_on(c".", new, mode)
}

/// Mounts `new` on `path`, where that is something missing in the directory that init fills.
pub fn in_kept(init: &mut Init, path: &'static CStr, new: &NewFs) -> bool {
    let Some(kept) = &mut init.kept else { return false };
    let Some(name) = kept.name(path) else { return false };
    let made = fs::mkdirat(kept.get(), name, 0o755).and_then(|()| kept.enter());
    made.and_then(|()| mount_on(name, new, None)).is_ok()
}

#[inline(never)]
fn mount_on(target: &CStr, new: &NewFs, mode: Option<u16>) -> Result<()> {
    let (flags, data) = arguments(new, mode)?;
    mount::mount(new.source, target, Some(new.fstype), flags, Some(data.as_c_str()))
}

/// The flags and the options for mount(2).
fn arguments(new: &NewFs, mode: Option<u16>) -> Result<(u64, Path<LENGTH>)> {
    let mut flags = flags(new.attr)?;
    let mut data = Path::from_parts(&[])?;
    let mut is_ro = false;
    for option in new.options.iter() {
        if option == c"ro" {
            is_ro = true;
        } else if let Some((_, flag)) = WORDS.iter().find(|(word, _)| *word == option) {
            flags |= flag;
        } else {
            push(&mut data, &[option.to_bytes()])?;
        }
    }
    if let Some(mode) = mode {
        push(&mut data, &[b"mode=", &octal(mode)])?;
    }
    // The one flag makes both read-only, mount and super block.
    if is_ro == (new.attr & MOUNT_ATTR_RDONLY != 0) {
        Ok((flags, data))
    } else {
        Err(Errno::EINVAL)
    }
}

fn flags(attr: u64) -> Result<u64> {
    let known = ATTRIBUTES.iter().fold(0, |all, (attr, _)| all | attr);
    if attr & !known != 0 || attr & MOUNT_ATTR__ATIME == MOUNT_ATTR__ATIME {
        return Err(Errno::EINVAL);
    }
    let set = ATTRIBUTES.iter().filter(|(bit, _)| attr & bit != 0);
    Ok(set.fold(0, |all, (_, flag)| all | flag))
}

fn push(data: &mut Path<LENGTH>, option: &[&[u8]]) -> Result<()> {
    if option.iter().any(|part| part.contains(&b',')) {
        return Err(Errno::EINVAL);
    }
    if !data.bytes().is_empty() {
        data.push(&[b","])?;
    }
    data.push(option)
}

#[cfg(test)]
mod tests {
    use corten_plan::wire::List;

    use super::*;

    fn of(attr: u64, options: &'static [u8], mode: Option<u16>) -> Result<(u64, String)> {
        let options = List::new(options).unwrap();
        let new = NewFs { fstype: c"tmpfs", source: None, options, attr, fallback: None };
        let (flags, data) = arguments(&new, mode)?;
        Ok((flags, String::from_utf8(data.bytes().to_vec()).unwrap()))
    }

    #[test]
    fn arguments_have_words_as_flags_and_the_rest_as_data() {
        let made =
            of(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, b"size=1m\0ro\0sync\0x\0", Some(0o1777));
        let flags = MS_RDONLY | MS_NOSUID | MS_SYNCHRONOUS;
        assert_eq!(made, Ok((flags, "size=1m,x,mode=1777".into())));
        assert_eq!(of(0, b"", None), Ok((0, String::new())));
    }

    #[test]
    fn arguments_that_mount_cannot_say_are_refused() {
        let long = [[b'x'; LENGTH].as_slice(), b"\0"].concat().leak();
        for (attr, options) in [
            (MOUNT_ATTR_RDONLY, &b""[..]),
            (0, b"ro\0"),
            (0, b"a=b,c\0"),
            (1 << 20, b""),
            (MOUNT_ATTR_NOATIME | MOUNT_ATTR_STRICTATIME | 0x40, b""),
            (0, long),
        ] {
            assert!(of(attr, options, None).is_err(), "{attr:#x} {options:?}");
        }
    }
}
