//! The root file system: where it comes from and how it becomes `/`.
//!
//! Runs in: init.

use core::ffi::CStr;

use corten_plan::{Handle, Stage};

use crate::handles::number;
use crate::kept::Kept;
use crate::lines::Lines;
use crate::mounts::clone_tree;
use crate::path::{Path, is_within};
use crate::process;
use crate::procfs;
use crate::report::{At, Done, Failed};
use crate::run::Init;
use crate::sys::abi::{
    AT_EMPTY_PATH, AT_RECURSIVE, MNT_DETACH, MS_MOVE, MS_PRIVATE, MS_RDONLY, MS_SLAVE, MountAttr,
    O_DIRECTORY, O_PATH, O_RDONLY,
};
use crate::sys::{Errno, Fd, FdRef, close_dropped, fs, mount};
use crate::target;

/// How many directories up the parent mount of the root file system may be.
const MAX_DEPTH: usize = 1000;
/// How often `--no-pivot` looks for mounts of procfs and sysfs that are left: umount reveals what was below.
const MAX_PASSES: u32 = 64;

/// [`corten_plan::Op::Propagation`] and [`corten_plan::Op::RootPropagation`].
///
/// # Errors
/// Those of mount(2).
pub fn propagation(flags: u32) -> Done {
    mount::mount(None, c"/", None, u64::from(flags), None).at(Stage::Op)
}

/// [`corten_plan::Op::PrivateParent`].
///
/// # Errors
/// Those of `mount_setattr`; EINVAL when no mount was found on the way up.
#[inline(never)]
pub fn private_parent(init: &mut Init, path: &CStr) -> Done {
    init.leads_out = true;
    let dir = fs::openat(FdRef::CWD, path, O_PATH | O_DIRECTORY, 0).at(Stage::Source)?;
    let attr = MountAttr { propagation: MS_PRIVATE, ..MountAttr::default() };
    // From the fd up by `..`, because the path may have links in it. EINVAL: not the root of a mount.
    let mut up = Path::new();
    up.push(&[b"."]).at(Stage::Op)?;
    for _ in 0..MAX_DEPTH {
        match mount::setattr(dir.get(), up.as_c_str(), 0, &attr) {
            Err(Errno::EINVAL) => up.push(&[b"/.."]).at(Stage::Op)?,
            done => return done.at(Stage::Op),
        }
    }
    Err(Failed::new(Stage::Op, Errno::EINVAL))
}

/// [`corten_plan::Op::Rootfs`].
///
/// # Errors
/// See [`Stage`].
pub fn rootfs(init: &mut Init, path: &'static CStr) -> Done {
    // With a slash at its end the path is that of a directory, or an error.
    let dir: Path = Path::from_parts(&[path.to_bytes(), b"/"]).at(Stage::Source)?;
    let (tree, at) = match clone_tree(FdRef::CWD, dir.as_c_str(), AT_RECURSIVE) {
        // The host's root may go where that of the container may not.
        Err(Failed { stage: Stage::Source, errno: Errno::EACCES, .. })
            if init.has_user_namespace =>
        {
            let at = process::source(init)?;
            (clone_tree(at.get(), c"", AT_RECURSIVE)?, Some(at))
        }
        tree => (tree?, None),
    };
    // A clone is in the peer group of its original: what the host mounts there later would show in the container, and
    // pivot_root refuses a shared one.
    let private = MountAttr { propagation: MS_PRIVATE, ..MountAttr::default() };
    mount::setattr(tree.get(), c"", AT_EMPTY_PATH, &private).at(Stage::Propagation)?;
    match at {
        Some(at) => mount::move_mount(tree.get(), at.get()),
        None => mount::move_mount_to(tree.get(), dir.as_c_str()),
    }
    .at(Stage::Attach)?;
    init.root = Some(tree);
    Ok(())
}

/// [`corten_plan::Op::OpenRoot`].
///
/// # Errors
/// See [`Stage`].
pub fn open_root(init: &mut Init, path: &'static CStr) -> Done {
    let dir = fs::openat(FdRef::CWD, path, O_PATH | O_DIRECTORY, 0).at(Stage::Source)?;
    init.root = Some(dir);
    Ok(())
}

/// [`corten_plan::Op::Directory`].
///
/// # Errors
/// See [`Stage`].
pub fn directory(init: &Init, path: &CStr, mode: u32) -> Done {
    target::directory(init.root()?, path, mode).map(drop)
}

/// [`corten_plan::Op::Pivot`].
///
/// # Errors
/// See [`Stage`].
pub fn pivot(init: &mut Init, slave_old: bool) -> Done {
    init.leads_out |= slave_old;
    let old = if slave_old {
        Some(fs::openat(FdRef::CWD, c"/", O_PATH, 0).at(Stage::Pivot)?)
    } else {
        None
    };
    to_root(init)?;
    mount::pivot_here().at(Stage::Pivot)?;
    if let Some(old) = &old {
        let attr = MountAttr { propagation: MS_SLAVE, ..MountAttr::default() };
        mount::setattr(old.get(), c"", AT_EMPTY_PATH | AT_RECURSIVE, &attr)
            .at(Stage::Propagation)?;
    }
    drop(old);
    // The old root lies on top of the new one now, and umount takes the topmost (pivot_root(2), "pivot_root(".", ".")").
    mount::umount(c".", MNT_DETACH).at(Stage::Unmount)?;
    enter(init);
    Ok(())
}

/// [`corten_plan::Op::Pivot`], where the root is `/` already.
///
/// # Errors
/// See [`Stage`].
pub fn stay(init: &mut Init) -> Done {
    to_root(init)?;
    enter(init);
    Ok(())
}

/// The new root is `/`, and the working directory: all ways here begin with fchdir to it. What leads to the old one is
/// closed at Ready at the latest, before others can look at us; its directories now, for until execve the path of a program
/// could name one by its number (CVE-2024-21626).
fn enter(init: &mut Init) {
    init.masks.forget();
    init.is_at_root = true;
    if init.leads_out {
        close_dropped();
    }
}

fn to_root(init: &mut Init) -> Done {
    init.kept.iter_mut().for_each(Kept::left);
    fs::fchdir(init.root()?).at(Stage::Chdir)
}

/// [`corten_plan::Op::MoveRoot`].
///
/// # Errors
/// See [`Stage`].
pub fn move_root(init: &mut Init) -> Done {
    let own = fs::status(init.root()?).at(Stage::Op)?.mnt_id;
    hide_kernel_file_systems(own, init.has_user_namespace)?;
    init.leads_out = true;
    to_root(init)?;
    mount::mount(Some(c"."), c"/", None, MS_MOVE, None).at(Stage::Op)?;
    fs::chroot(c".").at(Stage::Op)?;
    enter(init);
    Ok(())
}

/// [`corten_plan::Op::Chroot`].
///
/// # Errors
/// See [`Stage`].
pub fn chroot(init: &mut Init) -> Done {
    to_root(init)?;
    fs::chroot(c".").at(Stage::Op)?;
    enter(init);
    Ok(())
}

/// [`corten_plan::Op::EnterRoot`].
///
/// # Errors
/// See [`Stage`].
pub fn enter_handle(init: &mut Init, handle: Handle) -> Done {
    init.root = Some(init.handles.take(handle)?);
    chroot(init)
}

/// [`corten_plan::Op::RootAttr`].
///
/// # Errors
/// Those of `mount_setattr`.
pub fn attributes(init: &Init, set: u64) -> Done {
    let attr = MountAttr { set, ..MountAttr::default() };
    mount::setattr(init.root()?, c"", AT_EMPTY_PATH, &attr).at(Stage::Op)
}

/// [`corten_plan::Op::MountAttr`].
///
/// # Errors
/// See [`Stage`]; EINVAL when there is no root of a mount.
pub fn mount_attributes(init: &Init, path: &CStr, set: u64) -> Done {
    let target = target::open(init.root()?, path, O_PATH, 0).at(Stage::Target)?;
    let attr = MountAttr { set, ..MountAttr::default() };
    mount::setattr(target.get(), c"", AT_EMPTY_PATH, &attr).at(Stage::Attr)
}

/// Unmounts or covers every procfs and sysfs that is not below the root file system, mount `own`: whoever gets out of the
/// chroot would find them without masks (runc's `msMoveRoot`).
#[inline(never)]
fn hide_kernel_file_systems(own: u64, has_user_namespace: bool) -> Done {
    // Opened once: the procfs that it lies in is among the first to go.
    let file = mountinfo(has_user_namespace)?;
    let root = mount_point(file.get(), own).at(Stage::Op)?;
    let mut unmounted = true;
    for _ in 0..MAX_PASSES {
        if !core::mem::take(&mut unmounted) {
            break;
        }
        let see = &mut |path: &CStr| {
            unmounted |= mount::umount(path, MNT_DETACH).is_ok();
            Ok(())
        };
        each_exposed(file.get(), root.bytes(), see).at(Stage::Unmount)?;
    }
    // What cannot be unmounted (EINVAL: locked together with its parent) is covered.
    let tmpfs = Some(c"tmpfs");
    let cover = &mut |path: &CStr| mount::mount(tmpfs, path, tmpfs, MS_RDONLY, None);
    each_exposed(file.get(), root.bytes(), cover).at(Stage::Attach)
}

/// Ours, by a procfs of our own: in a mount namespace that was joined, what is at /proc is anybody's.
fn mountinfo(has_user_namespace: bool) -> Result<Fd, Failed> {
    match procfs::mount(Some(c"pid")) {
        // Where none may be mounted, we are root of nothing that is the host's.
        Err(_) if has_user_namespace => {
            fs::openat(FdRef::CWD, c"/proc/self/mountinfo", O_RDONLY, 0).at(Stage::Open)
        }
        procfs => procfs::open(procfs?.get(), c"self/mountinfo", O_RDONLY, 0),
    }
}

fn each_exposed(
    file: FdRef<'_>,
    root: &[u8],
    see: &mut dyn FnMut(&CStr) -> Result<(), Errno>,
) -> Result<(), Errno> {
    each_mount(file, &mut |line| exposed(line, root).map_or(Ok(()), |path| see(path.as_c_str())))
}

/// Where the mount of this id is.
#[inline(never)]
fn mount_point(file: FdRef<'_>, id: u64) -> Result<Path, Errno> {
    let mut found = None;
    each_mount(file, &mut |line| {
        let mut fields = line.split(|byte| *byte == b' ');
        if fields.next().and_then(|field| number(field, 10)) == Some(id) {
            found = fields.nth(3).and_then(unescaped);
        }
        Ok(())
    })?;
    found.ok_or(Errno::ENOENT)
}

#[inline(never)]
fn each_mount(
    file: FdRef<'_>,
    see: &mut dyn FnMut(&[u8]) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut lines = Lines::new();
    fs::rewind(file)?;
    while let Some(line) = lines.next(|buffer| fs::read(file, buffer).map(|read| read.len()))? {
        see(line)?;
    }
    Ok(())
}

/// The mount point in a line of mountinfo, when it is a whole procfs or sysfs outside `root`.
fn exposed(line: &[u8], root: &[u8]) -> Option<Path> {
    // id parent major:minor root mount-point options optional... - type source options
    let mut fields = line.split(|byte| *byte == b' ');
    if fields.nth(3)? != b"/" {
        return None;
    }
    let path = unescaped(fields.next()?)?;
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    let inside = is_within(path.bytes(), root);
    (matches!(kind, b"proc" | b"sysfs") && !inside).then_some(path)
}

/// A field of mountinfo, where blanks and backslashes are written as `\040`.
fn unescaped(field: &[u8]) -> Option<Path> {
    let mut path = Path::new();
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let octal = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        path.push(&[&[octal.unwrap_or(*first)]]).ok()?;
        rest = if octal.is_some() { rest.get(4..)? } else { after };
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> Option<String> {
        let path = exposed(line.as_bytes(), b"/run/b/rootfs")?;
        Some(String::from_utf8(path.bytes().to_vec()).unwrap())
    }

    #[test]
    fn exposed_proc_and_sysfs_of_the_host_are_found() {
        assert_eq!(found("22 1 0:20 / /proc rw shared:2 - proc proc rw"), Some("/proc".into()));
        assert_eq!(found("23 1 0:21 / /s\\040s rw - sysfs sysfs rw"), Some("/s s".into()));
        assert_eq!(
            found("23 1 0:21 / /run/b/rootfs2 rw - sysfs s rw"),
            Some("/run/b/rootfs2".into())
        );
    }

    #[test]
    fn exposed_others_and_own_are_left() {
        assert_eq!(found("24 1 0:22 / /tmp rw - tmpfs tmpfs rw"), None);
        assert_eq!(found("24 1 0:22 /sys /x rw - proc proc rw"), None);
        assert_eq!(found("24 1 0:22 / /run/b/rootfs/proc rw master:1 - proc proc rw"), None);
        assert_eq!(found("24 1 0:22 / /proc rw"), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn unescaped_text_without_octal_is_kept() {
        assert_eq!(unescaped(b"a\\b\\0").unwrap().bytes(), b"a\\b\\0");
        assert_eq!(unescaped(b"\\134").unwrap().bytes(), b"\\");
    }
}
