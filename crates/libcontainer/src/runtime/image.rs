//! init's image in a file that nobody can write to.
//!
//! CVE-2019-5736: a container opens `/proc/PID/exe` of the process that enters it and writes to it. What it finds here is a
//! sealed memfd with a tiny program, made anew for each container; the runtime's own binary is never reachable.
//!
//! Runs in: runtime.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::error::Error;

/// The program, as build.rs made it from `crates/init`.
static IMAGE: &[u8] = include_bytes!(env!("CORTEN_INIT_IMAGE"));
const NAME: &str = "corten-init";

/// A file with the image, that can be executed and not changed. `state`: a directory of the runtime's own.
pub(crate) fn open(state: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    match sealed_memfd(IMAGE, MemfdFlags::EXEC) {
        // vm.memfd_noexec=2 forbids executable memfds.
        Err(Errno::ACCESS) => detached_tmpfs().or_else(|errno| match errno {
            Errno::PERM => unlinked_file(state),
            errno => {
                Err(failed("no executable memfd (vm.memfd_noexec=2), and fsopen(\"tmpfs\")", errno))
            }
        }),
        // MFD_EXEC is unknown before Linux 6.3.
        Err(Errno::INVAL) => {
            sealed_memfd(IMAGE, MemfdFlags::empty()).map_err(|errno| failed("memfd_create", errno))
        }
        made => made.map_err(|errno| failed("memfd_create", errno)),
    }
}

/// A sealed memfd with the state that hooks read: none of them can change what the next one gets.
pub(crate) fn sealed_data(content: &[u8]) -> Result<OwnedFd, Error> {
    let memfd = data(content)?;
    seal(&memfd).map_err(|errno| failed("F_ADD_SEALS", errno))?;
    Ok(memfd)
}

/// A memfd with a plan. init reads it into its own memory as its first deed, and nobody else has it: seals would protect
/// nothing.
pub(crate) fn data(content: &[u8]) -> Result<OwnedFd, Error> {
    match memfd(content, MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd(content, MemfdFlags::empty()),
        made => made,
    }
    .map_err(|errno| failed("memfd_create", errno))
}

fn sealed_memfd(content: &[u8], flags: MemfdFlags) -> Result<OwnedFd, Errno> {
    let memfd = memfd(content, flags)?;
    seal(&memfd)?;
    Ok(memfd)
}

fn memfd(content: &[u8], flags: MemfdFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memfd = rustix::fs::memfd_create(NAME, flags)?;
    write_all(&memfd, content)?;
    Ok(memfd)
}

fn seal(memfd: &OwnedFd) -> Result<(), Errno> {
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(memfd, seals)
}

/// Where memfds cannot be executed: a file in a tmpfs that is read-only and was never attached anywhere, so that only this
/// fd leads to it. Needs CAP_SYS_ADMIN.
fn detached_tmpfs() -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    let mount = rustix::mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&mount, NAME, create, Mode::RUSR | Mode::XUSR)?;
    write_all(&file, IMAGE)?;
    // A file that is open for writing cannot be executed (ETXTBSY).
    drop(file);
    // The superblock, not the mount: nobody has another way to it that could be remounted.
    rustix::mount::fsconfig_set_flag(context.as_fd(), "ro")?;
    rustix::mount::fsconfig_reconfigure(context.as_fd())?;
    rustix::fs::openat(&mount, NAME, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// What an ordinary user can have instead: a file without a name, in the first directory whose file system executes it. Nobody
/// else has it, and no other container: who writes to it (root of a container whose ids include the user's) changes what has been
/// executed already.
fn unlinked_file(state: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    let own = format!("/run/user/{}", rustix::process::geteuid().as_raw());
    let in_state = unlinked_file_in(state);
    let elsewhere = [own.as_str(), "/var/tmp"].into_iter().map(|path| {
        let directory = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        unlinked_file_in(&directory)
    });
    let mut tried = std::iter::once(in_state).chain(elsewhere);
    tried.find_map(Result::ok).ok_or_else(|| {
        let problem = format!(
            "executable memfds are forbidden (vm.memfd_noexec=2), and neither the state directory nor {own} nor /var/tmp takes \
             a file that can be executed: mount one of them without noexec, or give another --root"
        );
        Error::Os { call: "make init's image".into(), source: std::io::Error::other(problem) }
    })
}

fn unlinked_file_in(directory: impl AsFd) -> Result<OwnedFd, Errno> {
    if rustix::fs::fstatvfs(&directory)?.f_flag.contains(StatVfsMountFlags::NOEXEC) {
        return Err(Errno::ACCESS);
    }
    // O_EXCL: it can never be given a name (open(2)).
    let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&directory, ".", flags, Mode::RUSR | Mode::XUSR)?;
    write_all(&file, IMAGE)?;
    let path = format!("/proc/thread-self/fd/{}", file.as_raw_fd());
    // Open for reading alone, or it could not be executed (ETXTBSY).
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn write_all(file: &OwnedFd, mut content: &[u8]) -> Result<(), Errno> {
    while !content.is_empty() {
        let written = rustix::io::write(file, content)?;
        content = content.get(written..).unwrap_or_default();
    }
    Ok(())
}

fn failed(call: &str, errno: Errno) -> Error {
    Error::os(format!("{call} for init's image"), errno)
}
