//! Mounts: made detached, finished, then attached from fd to fd.
//!
//! Runs in: init.

use core::ffi::CStr;

use corten_plan::Stage;
use corten_plan::op::mount_flags;
use corten_plan::wire::{Ids, List};

use crate::copy_up;
use crate::kept::Kept;
use crate::path::{Path, decimal};
use crate::plain;
use crate::process;
use crate::report::{At, Detail, Done, Failed};
use crate::run::Init;
use crate::sys::abi::{
    AT_EMPTY_PATH, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW, MOUNT_ATTR__ATIME, MOUNT_ATTR_RDONLY, MS_REC,
    MS_REMOUNT, MountAttr, O_PATH, OPEN_TREE_CLONE, PROC_SUPER_MAGIC, RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV, S_IFDIR, STATX_ATTR_MOUNT_ROOT, TMPFS_MAGIC,
};
use crate::sys::{Errno, Fd, FdRef, close_dropped, fs, mount};
use crate::target::{self, Leaf, Target};

/// The item of [`Stage::Option`] that stands for the source.
const SOURCE_ITEM: u16 = u16::MAX;
/// The longest key that fsconfig takes, and a NUL.
const KEY_LENGTH: usize = 256;

/// The mount that was made last: it is likely that the next one goes into it.
#[derive(Debug)]
pub struct LastMount {
    path: &'static CStr,
    /// Its root, where that is not in a procfs.
    root: Option<Fd>,
}

impl LastMount {
    /// What `path` is called below it.
    fn below(&self, path: &'static CStr) -> Option<&'static CStr> {
        let rest = path.to_bytes_with_nul().strip_prefix(self.path.to_bytes())?;
        CStr::from_bytes_with_nul(rest.strip_prefix(b"/")?).ok()
    }
}

/// What all mounts have.
#[derive(Debug)]
pub struct Attributes {
    /// `MOUNT_ATTR_*` to set on the whole tree.
    pub recursive_set: u64,
    /// `MOUNT_ATTR_*` to clear on the whole tree.
    pub recursive_clear: u64,
    /// `MS_SHARED` and its siblings.
    pub propagation: Ids<'static>,
}

impl Attributes {
    fn is_empty(&self) -> bool {
        self.recursive_set | self.recursive_clear == 0 && self.propagation.is_empty()
    }
}

/// A new file system.
#[derive(Debug)]
pub struct NewFs {
    /// Its type.
    pub fstype: &'static CStr,
    /// Its `source` option.
    pub source: Option<&'static CStr>,
    /// The other options.
    pub options: List<'static>,
    /// `MOUNT_ATTR_*`.
    pub attr: u64,
    /// What is bound where the kernel refuses.
    pub fallback: Option<&'static CStr>,
}

/// A new file system by mount(2).
#[derive(Debug)]
pub struct Data {
    /// Its type.
    pub fstype: &'static CStr,
    /// Its source.
    pub source: Option<&'static CStr>,
    /// `MS_*`.
    pub ms_flags: u64,
    /// Its options.
    pub data: &'static CStr,
}

/// A bind mount.
#[derive(Debug)]
pub struct Bind {
    /// What is bound.
    pub source: &'static CStr,
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// Those of `clear` that the user asked for.
    pub must_clear: u64,
}

/// [`corten_plan::Op::MountFs`].
///
/// # Errors
/// See [`Stage`].
pub fn file_system(
    init: &mut Init,
    path: &'static CStr,
    new: &NewFs,
    attributes: &Attributes,
    flags: u32,
) -> Done {
    use mount_flags::{COPY_UP, KEPT, MODE_OF_TARGET, PLAIN};
    let is_plain = flags & (PLAIN | COPY_UP | KEPT) == PLAIN && attributes.is_empty();
    if is_plain && flags & MODE_OF_TARGET == 0 && plain::in_kept(init, path, new) {
        return Ok(());
    }
    let Target { fd: target, made } = open_target(init, path, Leaf::MOUNT_POINT, flags)?;
    // A directory that was made for it has no mode to keep: the file system's own default stays (runc: 1777 of a tmpfs).
    let mode = if flags & MODE_OF_TARGET != 0 && !made {
        Some(fs::status(target.get()).at(Stage::Target)?.mode)
    } else {
        None
    };
    if is_plain && plain::on(init, target.get(), new, mode).is_ok() {
        return Ok(());
    }
    // A read-only mount cannot be copied into: that comes after.
    let later = if flags & COPY_UP != 0 { new.attr & MOUNT_ATTR_RDONLY } else { 0 };
    let made = create(&mut init.detail, new, mode, new.attr & !later);
    // Of a path of the host, outside of whose mount namespace we are, nothing may be made.
    let fallback = new.fallback.filter(|_| init.sources.is_none());
    let mounted = match (made, fallback) {
        (Err(Failed { errno: Errno::EPERM | Errno::EBUSY, .. }), Some(source)) => {
            init.detail.clear();
            // Mounts of the host below it are locked to it in a user namespace: without them nothing can be cloned.
            let tree = clone_tree(FdRef::CWD, source, AT_RECURSIVE)?;
            set(tree.get(), AT_RECURSIVE, new.attr, 0).at(Stage::Attr)?;
            tree
        }
        (made, _) => made?,
    };
    if flags & COPY_UP != 0 {
        copy_up::copy(&mut init.detail, target.get(), mounted.get())?;
        // A file that is open for writing keeps the mount from becoming read-only.
        close_dropped();
        set(mounted.get(), 0, later, 0).at(Stage::Attr)?;
    }
    finish(mounted.get(), attributes)?;
    map_ids(init, mounted.get(), flags)?;
    mount::move_mount(mounted.get(), target.get()).at(Stage::Attach)?;
    if flags & (COPY_UP | KEPT) == KEPT && new.fallback.is_none() && new.fstype == c"tmpfs" {
        init.kept = Kept::new(path, mounted);
    } else if new.fallback.is_none() && new.fstype != c"proc" {
        init.last_mount = Some(LastMount { path, root: Some(mounted) });
    }
    Ok(())
}

/// A detached mount of a new file system.
fn create(detail: &mut Detail, new: &NewFs, mode: Option<u16>, attr: u64) -> Result<Fd, Failed> {
    let context = mount::fsopen(new.fstype).at(Stage::FsOpen)?;
    let context = context.get();
    if let Some(source) = new.source {
        let set = mount::fsconfig_set(context, c"source", Some(source));
        set.map_err(|errno| {
            refused(detail, context, &[b"source=", source.to_bytes()], SOURCE_ITEM, errno)
        })?;
    }
    for (option, item) in new.options.iter().zip(0..) {
        let set = set_option(context, option);
        set.map_err(|errno| refused(detail, context, &[option.to_bytes()], item, errno))?;
    }
    if let Some(mode) = mode {
        set_mode(context, mode).at(Stage::Option)?;
    }
    if let Err(errno) = mount::fsconfig_create(context) {
        add_message(detail, context);
        return Err(Failed::new(Stage::FsCreate, errno));
    }
    mount::fsmount(context, attr).at(Stage::FsMount)
}

/// `key` or `key=value`.
fn set_option(context: FdRef<'_>, option: &CStr) -> Result<(), Errno> {
    let bytes = option.to_bytes_with_nul();
    let Some(equals) = bytes.iter().position(|byte| *byte == b'=') else {
        return mount::fsconfig_set(context, option, None);
    };
    let (key, value) = bytes.split_at_checked(equals).ok_or(Errno::EINVAL)?;
    let value = value.get(1..).and_then(|value| CStr::from_bytes_with_nul(value).ok());
    let mut buffer = [0; KEY_LENGTH];
    let key = target::terminated(key, &mut buffer)?;
    mount::fsconfig_set(context, key, Some(value.ok_or(Errno::EINVAL)?))
}

/// A tmpfs without `mode=` has the mode of what it covers: runc does so, and /tmp stays 1777.
fn set_mode(context: FdRef<'_>, mode: u16) -> Result<(), Errno> {
    let value = Path::<8>::from_parts(&[&octal(mode)])?;
    mount::fsconfig_set(context, c"mode", Some(value.as_c_str()))
}

/// The digits of a file's permissions.
pub fn octal(mode: u16) -> [u8; 4] {
    [9, 6, 3, 0].map(|shift: u16| b'0' + u8::try_from(mode >> shift & 7).unwrap_or(0))
}

fn refused(
    detail: &mut Detail,
    context: FdRef<'_>,
    option: &[&[u8]],
    item: u16,
    errno: Errno,
) -> Failed {
    detail.set(option);
    add_message(detail, context);
    Failed { stage: Stage::Option, item, errno }
}

/// Appends the error messages of the file system: each read(2) gives one, `e tmpfs: Bad value for 'size'`.
fn add_message(detail: &mut Detail, context: FdRef<'_>) {
    let mut buffer = [0; 256];
    while let Ok(message) = fs::read(context, &mut buffer) {
        let Some(text) = message.strip_prefix(b"e ") else {
            if message.is_empty() {
                return;
            }
            continue;
        };
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        if !detail.bytes().is_empty() {
            detail.push(b": ");
        }
        detail.push(text);
    }
}

/// [`corten_plan::Op::MountBind`].
///
/// # Errors
/// See [`Stage`].
pub fn bind(
    init: &mut Init,
    path: &'static CStr,
    bind: &Bind,
    attributes: &Attributes,
    flags: u32,
) -> Done {
    // First the source: what the target is made as depends on it.
    let tree = clone_source(init, bind, flags)?;
    let is_directory = fs::status(tree.get()).at(Stage::Source)?.kind() == S_IFDIR;
    if flags & mount_flags::SOURCE_IS_PROC != 0 {
        let kind = fs::file_system(tree.get()).at(Stage::Source)?.kind;
        if kind != PROC_SUPER_MAGIC {
            return Err(Failed::new(Stage::Verify, Errno::EPERM));
        }
    }
    let leaf = if is_directory { Leaf::MOUNT_POINT } else { Leaf::File };
    let target = open_target(init, path, leaf, flags)?.fd;
    finish(tree.get(), attributes)?;
    map_ids(init, tree.get(), flags)?;
    mount::move_mount(tree.get(), target.get())
        .or_else(|errno| attach_error(is_directory, &target, errno))
}

/// move_mount(2) says EINVAL where a directory and something else meet; mount(2) said ENOTDIR, whichever it was, and callers
/// match its text.
fn attach_error(source_is_directory: bool, target: &Fd, errno: Errno) -> Done {
    let target_is_directory = fs::status(target.get()).at(Stage::Attach)?.kind() == S_IFDIR;
    let errno = if source_is_directory == target_is_directory { errno } else { Errno::ENOTDIR };
    Err(Failed::new(Stage::Attach, errno))
}

/// A detached clone of what is bound, with its own attributes.
fn clone_source(init: &mut Init, bind: &Bind, flags: u32) -> Result<Fd, Failed> {
    if let Some(sources) = &mut init.sources {
        return sources.next().ok_or(Failed::new(Stage::Plan, Errno::EBADF));
    }
    match clone_at(FdRef::CWD, bind.source, bind, flags) {
        // The host's root may go where that of the container may not.
        Err(Failed { stage: Stage::Source, errno: Errno::EACCES, .. })
            if init.has_user_namespace =>
        {
            let source = process::source(init)?;
            clone_at(source.get(), c"", bind, flags)
        }
        cloned => cloned,
    }
}

/// `path`: what is bound, or empty, where `dir` is that.
fn clone_at(dir: FdRef<'_>, path: &CStr, bind: &Bind, flags: u32) -> Result<Fd, Failed> {
    let recursive = if flags & mount_flags::RECURSIVE != 0 { AT_RECURSIVE } else { 0 };
    // All at once, where the attributes are for all that is cloned. When that fails, one by one, to see which.
    if let Some(attr) = changes(bind.set, bind.clear)
        && flags & (mount_flags::RECURSIVE | mount_flags::SOURCE_NOFOLLOW) == 0
        && let Ok(tree) = mount::open_tree_attr(dir, path, AT_EMPTY_PATH, &attr)
    {
        return Ok(tree);
    }
    let nofollow = if flags & mount_flags::SOURCE_NOFOLLOW != 0 { AT_SYMLINK_NOFOLLOW } else { 0 };
    let tree = clone_tree(dir, path, recursive | nofollow)?;
    match set(tree.get(), 0, bind.set, bind.clear) {
        Err(Errno::EPERM) if bind.clear & !bind.must_clear != 0 => {
            set(tree.get(), 0, bind.set, bind.clear & bind.must_clear).at(Stage::Attr)?;
        }
        result => result.at(Stage::Attr)?,
    }
    Ok(tree)
}

/// A detached clone of the mount at `path`, or of the one that `dir` is on.
///
/// # Errors
/// [`Stage::Source`], [`Stage::Clone`].
pub fn clone_tree(dir: FdRef<'_>, path: &CStr, flags: u32) -> Result<Fd, Failed> {
    mount::open_tree(dir, path, OPEN_TREE_CLONE | AT_EMPTY_PATH | flags).map_err(|errno| {
        // The call resolves a path and clones a mount; EINVAL (unbindable) and EPERM are from the second.
        let cloning = matches!(errno, Errno::EINVAL | Errno::EPERM);
        Failed::new(if cloning { Stage::Clone } else { Stage::Source }, errno)
    })
}

/// `mount_setattr` where there is something to do.
///
/// # Errors
/// Those of the call.
pub fn set(tree: FdRef<'_>, flags: u32, set: u64, clear: u64) -> Result<(), Errno> {
    let Some(attr) = changes(set, clear) else { return Ok(()) };
    mount::setattr(tree, c"", flags | AT_EMPTY_PATH, &attr)
}

/// Attributes to set and to clear, if there are any. An access time mode that is set replaces the one that is there, which
/// the kernel wants to be said.
pub fn changes(set: u64, clear: u64) -> Option<MountAttr> {
    let replaced = if set & MOUNT_ATTR__ATIME == 0 { 0 } else { MOUNT_ATTR__ATIME };
    let attr = MountAttr { set, clear: clear | replaced, ..MountAttr::default() };
    (set != 0 || clear != 0).then_some(attr)
}

/// Recursive attributes, then propagation one by one.
fn finish(tree: FdRef<'_>, attributes: &Attributes) -> Done {
    let (recursive_set, recursive_clear) = (attributes.recursive_set, attributes.recursive_clear);
    set(tree, AT_RECURSIVE, recursive_set, recursive_clear).at(Stage::Attr)?;
    for (flags, item) in attributes.propagation.iter().zip(0..) {
        let recursive = if u64::from(flags) & MS_REC != 0 { AT_RECURSIVE } else { 0 };
        let propagation = u64::from(flags) & !MS_REC;
        let attr = MountAttr { propagation, ..MountAttr::default() };
        mount::setattr(tree, c"", recursive | AT_EMPTY_PATH, &attr)
            .item(Stage::Propagation, item)?;
    }
    Ok(())
}

/// Before it is attached: a mount that was ever to be seen keeps its ids (`can_idmap_mount` in fs/namespace.c).
fn map_ids(init: &mut Init, mount: FdRef<'_>, flags: u32) -> Done {
    if flags & mount_flags::ID_MAP == 0 { Ok(()) } else { process::map_ids(init, mount) }
}

/// The target of a mount, made where it is missing, and checked.
fn open_target(
    init: &mut Init,
    path: &'static CStr,
    leaf: Leaf,
    flags: u32,
) -> Result<Target, Failed> {
    let last = init.last_mount.replace(LastMount { path, root: None });
    let name = init.kept.as_ref().and_then(|kept| kept.name(path));
    if let (Some(kept), Some(name)) = (&init.kept, name)
        && let Some(made) = kept.make(name, leaf)?
    {
        return Ok(Target { fd: made, made: true });
    }
    let resolve = if flags & mount_flags::NO_SYMLINKS == 0 { 0 } else { RESOLVE_NO_SYMLINKS };
    let may_cover = flags & mount_flags::MAY_COVER_PROC != 0;
    // A mount over a part of procfs would make what the kernel says a lie (CVE-2019-16884). What lies on a mount that is
    // known to be none, and on no mount in it, is in none: one call says both where it is and that.
    let last = last.as_ref().and_then(|last| Some((last, last.below(path)?)));
    if let Some((LastMount { root: Some(root), .. }, rest)) = last {
        let resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
        if let Ok(fd) = target::open(root.get(), rest, leaf.flags(), resolve) {
            return Ok(Target { fd, made: false });
        }
    }
    // The other such mount is that of the root itself.
    if !may_cover && last.is_none() {
        match target::open(init.root()?, path, leaf.flags(), resolve | RESOLVE_NO_XDEV) {
            Err(Errno::EXDEV | Errno::ENOENT) => {}
            opened => {
                return opened.map(|fd| Target { fd, made: false }).at(Stage::Target);
            }
        }
    }
    let target = target::open_or_make(init.root()?, path, leaf, resolve)?;
    // What was just made is in no procfs, and has nothing in it.
    if target.made {
        return Ok(target);
    }
    let kind = if may_cover { None } else { Some(file_system_of(target.fd.get())?) };
    if kind == Some(PROC_SUPER_MAGIC) {
        return Err(Failed::new(Stage::Verify, Errno::EPERM));
    }
    // It may be the root of the kept directory, reached by whatever links: then that is about to be covered.
    if name.is_none() && matches!(kind, None | Some(TMPFS_MAGIC)) {
        init.kept = None;
    }
    Ok(target)
}

fn file_system_of(file: FdRef<'_>) -> Result<u64, Failed> {
    Ok(fs::file_system(file).at(Stage::Target)?.kind)
}

/// [`corten_plan::Op::MountData`].
///
/// # Errors
/// See [`Stage`].
pub fn data(
    init: &mut Init,
    path: &'static CStr,
    new: &Data,
    attributes: &Attributes,
    flags: u32,
) -> Done {
    let target = open_target(init, path, Leaf::MOUNT_POINT, flags)?.fd;
    // Not by a path in procfs: in a mount namespace that was joined, that is anybody's.
    let by_fd = match init.change_directory(target.get()) {
        // What only the host's root may enter; then we are root of nothing that is the host's.
        Err(Errno::EACCES) if init.has_user_namespace => proc_path(target.get()),
        entered => entered.and_then(|()| Path::from_parts(&[b"."])),
    };
    let by_fd = by_fd.at(Stage::Target)?;
    let (fstype, options) = (Some(new.fstype), Some(new.data));
    let mounted = mount::mount(new.source, by_fd.as_c_str(), fstype, new.ms_flags, options);
    if let Err(errno) = mounted {
        return Err(explain(&mut init.detail, new, errno));
    }
    if new.ms_flags & MS_REMOUNT != 0 {
        return finish(target.get(), attributes);
    }
    if attributes.is_empty() && flags & mount_flags::COPY_UP == 0 {
        return Ok(());
    }
    let top = mounted_on(init.root()?, path, target.get())?;
    if flags & mount_flags::COPY_UP != 0 {
        copy_up::copy(&mut init.detail, target.get(), top.get())?;
    }
    finish(top.get(), attributes)
}

/// The root of the mount that mount(2), which gives no fd, has made on `target`: the path is resolved once more, and must
/// lead to the root of another mount now.
fn mounted_on(root: FdRef<'_>, path: &CStr, target: FdRef<'_>) -> Result<Fd, Failed> {
    let below = fs::status(target).at(Stage::Verify)?.mnt_id;
    let top = target::open(root, path, O_PATH, 0).at(Stage::Target)?;
    let status = fs::status(top.get()).at(Stage::Verify)?;
    if status.mnt_id == below || status.attributes & STATX_ATTR_MOUNT_ROOT == 0 {
        return Err(Failed::new(Stage::Verify, Errno::EBUSY));
    }
    Ok(top)
}

/// Why mount(2) failed: the new API says it in words, where it fails too.
#[inline(never)]
fn explain(detail: &mut Detail, new: &Data, errno: Errno) -> Failed {
    let failed = Failed::new(Stage::FsMount, errno);
    if new.ms_flags & MS_REMOUNT != 0 {
        return failed;
    }
    let context = match mount::fsopen(new.fstype) {
        Err(Errno::ENODEV) => return Failed::new(Stage::FsOpen, errno),
        Err(_) => return failed,
        Ok(context) => context,
    };
    let mut option = Path::new();
    for (text, item) in new.data.to_bytes().split(|byte| *byte == b',').zip(0..) {
        option.truncate(0);
        if text.is_empty() || option.push(&[text]).is_err() {
            continue;
        }
        if let Err(errno) = set_option(context.get(), option.as_c_str()) {
            return refused(detail, context.get(), &[text], item, errno);
        }
    }
    failed
}

/// The path by which calls that take no fd reach what `fd` is open on; in the host's procfs, so only before pivot, and never as the
/// host's root in a mount namespace that was joined.
///
/// # Errors
/// None in practice.
pub fn proc_path(fd: FdRef<'_>) -> Result<Path<32>, Errno> {
    let mut digits = [0; 10];
    Path::from_parts(&[b"/proc/self/fd/", decimal(fd.number(), &mut digits)])
}
