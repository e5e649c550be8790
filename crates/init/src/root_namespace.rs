//! A mount namespace of the root file system alone, in place of a copy of the host's: `open_tree(OPEN_TREE_NAMESPACE)`, Linux 7.0.
//!
//! A path of the host is looked up in the host's mount namespace, or not at all: what is to be bound is cloned before that is left
//! (crun issue 2264 shows what comes of a second look from the other side). Whatever a copy of the host's mounts would have
//! shown otherwise is looked for first, and then it is that copy which is made.
//!
//! Runs in: init.

use core::ffi::CStr;

use corten_plan::op::{MAX_SOURCES, mount_flags};
use corten_plan::{Op, Stage};

use crate::mask;
use crate::mounts::{Bind, changes, proc_path, set};
use crate::path::is_within;
use crate::report::{At, Done};
use crate::run::Init;
use crate::sys::abi::{
    AT_EMPTY_PATH, AT_RECURSIVE, CAP_MKNOD, CLONE_NEWNS, MS_PRIVATE, MountAttr, NSFS_MAGIC,
    O_DIRECTORY, O_PATH, OPEN_TREE_NAMESPACE, PATH_MAX, PROC_SUPER_MAGIC, RESOLVE_NO_SYMLINKS,
    STATX_ATTR_MOUNT_ROOT,
};
use crate::sys::{Errno, Fd, FdRef, Result as Called, close_dropped, fs, mount, process};

/// Detached clones of what is to be bound.
#[derive(Debug)]
pub struct Sources {
    trees: [Option<Fd>; MAX_SOURCES],
    held: usize,
    given: usize,
}

impl Sources {
    const fn new() -> Self {
        Self { trees: [const { None }; MAX_SOURCES], held: 0, given: 0 }
    }

    fn hold(&mut self, tree: Fd) -> Called<()> {
        *self.trees.get_mut(self.held).ok_or(Errno::E2BIG)? = Some(tree);
        self.held += 1;
        Ok(())
    }

    /// That of the next bind mount of the plan.
    pub fn next(&mut self) -> Option<Fd> {
        let tree = self.trees.get_mut(self.given)?.take();
        self.given += 1;
        tree
    }
}

/// [`corten_plan::Op::RootNamespace`].
///
/// # Errors
/// See [`Stage`]; what keeps the namespace from being made is none.
#[inline(never)]
pub fn enter(init: &mut Init, path: &CStr, propagation: u32) -> Done {
    let done = enter_or_copy(init, path, propagation);
    // What leads to the host: the path of a program could name it by its number (CVE-2024-21626).
    close_dropped();
    done
}

fn enter_or_copy(init: &mut Init, path: &CStr, propagation: u32) -> Done {
    let Ok(outside) = Outside::open() else { return copy() };
    let prepared = prepare(init, path, propagation.into());
    let entered = prepared.and_then(|prepared| {
        process::setns(prepared.namespace.get(), CLONE_NEWNS).map(|()| prepared)
    });
    match entered {
        Ok(prepared) => arrive(init, prepared),
        Err(_) => {
            outside.go_back().at(Stage::Op)?;
            copy()
        }
    }
}

/// The next steps of the plan do the rest.
fn copy() -> Done {
    process::unshare(CLONE_NEWNS).at(Stage::Op)
}

/// Root and working directory are that of the namespace: the root file system.
fn arrive(init: &mut Init, prepared: Prepared) -> Done {
    init.masks.hold(prepared.null);
    init.sources = Some(prepared.sources);
    let root = fs::openat(FdRef::CWD, c"/", O_PATH | O_DIRECTORY, 0).at(Stage::Source)?;
    // A clone is in the peer group of its original.
    let private = MountAttr { propagation: MS_PRIVATE, ..MountAttr::default() };
    mount::setattr(root.get(), c"", AT_EMPTY_PATH, &private).at(Stage::Propagation)?;
    init.root = Some(root);
    Ok(())
}

/// Where init has come from.
struct Outside {
    root: Fd,
    directory: Fd,
}

impl Outside {
    fn open() -> Called<Self> {
        let open = |path| fs::openat(FdRef::CWD, path, O_PATH | O_DIRECTORY, 0);
        Ok(Self { root: open(c"/")?, directory: open(c".")? })
    }

    fn go_back(&self) -> Called<()> {
        fs::fchdir(self.root.get())?;
        fs::chroot(c".")?;
        fs::fchdir(self.directory.get())
    }
}

struct Prepared {
    namespace: Fd,
    sources: Sources,
    null: Option<Fd>,
}

/// All that is to be taken along, and the namespace. Any error means that a copy of the host's mounts is to be made.
fn prepare(init: &Init, path: &CStr, propagation: u64) -> Called<Prepared> {
    // Who may not make devices binds those of the host (`device::make`).
    let [capabilities, _] = process::capget()?;
    if capabilities.effective >> CAP_MKNOD & 1 == 0 {
        return Err(Errno::EPERM);
    }
    // Without links, so that its path is what sources are compared with.
    let root = fs::openat2(FdRef::CWD, path, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS)?;
    // First: mountinfo has mounts in the order in which they came to be, and this is above all others.
    let namespace = mount::open_tree(root.get(), c"", OPEN_TREE_NAMESPACE | AT_EMPTY_PATH)?;
    let (mut sources, mut directories) = (Sources::new(), Sources::new());
    let mut null = None;
    for record in init.plan.clone().ok_or(Errno::EBADF)? {
        match record.map_err(|_| Errno::EINVAL)? {
            (_, Op::MountBind { source, set, clear, must_clear, flags, .. }) => {
                let bind = Bind { source, set, clear, must_clear };
                let original = original(source, path, flags)?;
                sources.hold(clone(original.get(), &bind, flags, propagation)?)?;
                refuse_kinds(original.get())?;
                if is_tree(original.get(), flags)? {
                    directories.hold(original)?;
                }
            }
            (_, Op::MaskPath { .. }) if null.is_none() => {
                null = Some(mask::null_file(propagation).map_err(|failed| failed.errno)?);
            }
            _ => {}
        }
    }
    // Last, for paths are others behind it.
    while let Some(directory) = directories.next() {
        refuse_mounts_below(directory.get())?;
    }
    refuse_mounts_below(root.get())?;
    Ok(Prepared { namespace, sources, null })
}

/// What is bound, where it has nothing to do with the root file system, in which a copy of the host's mounts would show what
/// the container has mounted so far. The plan has compared the words, but there may be links among them.
#[inline(never)]
fn original(source: &CStr, root: &CStr, flags: u32) -> Called<Fd> {
    if flags & mount_flags::SOURCE_NOFOLLOW != 0 {
        return Err(Errno::EINVAL);
    }
    // The one look at its path; as without this, an automount point becomes what is mounted there.
    let original = mount::open_tree(FdRef::CWD, source, 0)?;
    let mut buffer = [0; PATH_MAX];
    let link = proc_path(original.get())?;
    let path = fs::readlinkat(FdRef::CWD, link.as_c_str(), &mut buffer)?;
    let is_apart = path.starts_with(b"/") && are_apart(path, root.to_bytes());
    if is_apart { Ok(original) } else { Err(Errno::EXDEV) }
}

/// A detached clone of what is bound, on which `original` is open, as it would be in a copy of this mount namespace in which all
/// has this propagation.
fn clone(original: FdRef<'_>, bind: &Bind, flags: u32, propagation: u64) -> Called<Fd> {
    let is_recursive = flags & mount_flags::RECURSIVE != 0;
    let own = changes(bind.set, bind.clear);
    // At once, where the attributes are for all that is cloned.
    let with = own.filter(|_| !is_recursive).unwrap_or_default();
    let attr = MountAttr { propagation, ..with };
    let recursive = if is_recursive { AT_RECURSIVE } else { 0 };
    let tree = mount::open_tree_attr(original, c"", AT_EMPTY_PATH | recursive, &attr)?;
    if is_recursive {
        set(tree.get(), 0, bind.set, bind.clear)?;
    }
    Ok(tree)
}

/// Whether it is a directory, and is bound with all that is mounted below.
fn is_tree(original: FdRef<'_>, flags: u32) -> Called<bool> {
    if flags & mount_flags::RECURSIVE == 0 {
        return Ok(false);
    }
    match fs::fchdir(original) {
        Err(Errno::ENOTDIR) => Ok(false),
        done => done.map(|()| true),
    }
}

/// Whether neither of two paths is the other, or lies below it.
fn are_apart(one: &[u8], other: &[u8]) -> bool {
    one != b"/" && other != b"/" && !is_within(one, other) && !is_within(other, one)
}

/// A mount of a mount namespace (snapd pins some) is in no copy of the host's mounts: what it covers is bound. What is in `/proc/net`
/// belongs to the network namespace of who looks, and init may not be in the container's yet.
fn refuse_kinds(original: FdRef<'_>) -> Called<()> {
    match fs::file_system(original)?.kind {
        NSFS_MAGIC => Err(Errno::ELOOP),
        PROC_SUPER_MAGIC => Err(Errno::EXDEV),
        _ => Ok(()),
    }
}

/// What is mounted below would not come along if it were unbindable, and could not be attached if it were a mount namespace (ELOOP).
/// Which it is, would have to be asked of each. The call lists what is below the root directory of who makes it.
fn refuse_mounts_below(directory: FdRef<'_>) -> Called<()> {
    fs::fchdir(directory)?;
    fs::chroot(c".")?;
    let mut ids = [0; 2];
    let has_none = match mount::list(&mut ids)? {
        0 => true,
        // Itself.
        1 => fs::status(directory)?.attributes & STATX_ATTR_MOUNT_ROOT != 0,
        _ => false,
    };
    if has_none { Ok(()) } else { Err(Errno::EBUSY) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_apart_compares_whole_names() {
        assert!(are_apart(b"/a/b", b"/a/c"));
        assert!(are_apart(b"/a", b"/ab"));
        for (one, other) in
            [(&b"/a"[..], &b"/a"[..]), (b"/a", b"/a/b"), (b"/a/b", b"/a"), (b"/", b"/a")]
        {
            assert!(!are_apart(one, other), "{one:?} {other:?}");
        }
    }
}
