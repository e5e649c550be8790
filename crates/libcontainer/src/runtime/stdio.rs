//! File descriptors 0 to 2 of a host program that has closed its own: what is opened then gets their numbers, and would be
//! taken for the standard streams of a child, or overwritten by them.
//!
//! Runs in: runtime.

use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// This fd, or a duplicate of it that is none of 0 to 2.
pub(crate) fn above(fd: OwnedFd) -> io::Result<OwnedFd> {
    if is_low(fd.as_fd()) { duplicate(fd.as_fd()) } else { Ok(fd) }
}

/// Replaces those that are among 0 to 2 by duplicates, which live in `duplicates`.
pub(crate) fn lift<'a, 'f: 'a>(
    fds: impl Iterator<Item = &'a mut BorrowedFd<'f>>,
    duplicates: &'f OnceCell<Vec<OwnedFd>>,
) -> io::Result<()> {
    let low: Vec<_> = fds.filter(|fd| is_low(**fd)).collect();
    let made = low.iter().map(|fd| duplicate(**fd)).collect::<io::Result<_>>()?;
    for (fd, duplicate) in low.into_iter().zip(duplicates.get_or_init(|| made)) {
        *fd = duplicate.as_fd();
    }
    Ok(())
}

fn is_low(fd: BorrowedFd<'_>) -> bool {
    fd.as_raw_fd() <= 2
}

fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_fds_are_lifted_and_others_stay() {
        let (read, _write) = rustix::pipe::pipe().unwrap();
        let read = above(read).unwrap();
        let (stdin, stdout) = (io::stdin(), io::stdout());
        let before = [stdout.as_fd(), read.as_fd(), stdin.as_fd()];
        let (mut fds, duplicates) = (before, OnceCell::new());
        lift(fds.iter_mut(), &duplicates).unwrap();
        assert_eq!(fds[1].as_raw_fd(), read.as_raw_fd());
        for (fd, before) in fds.iter().zip(before) {
            assert!(fd.as_raw_fd() > 2, "{fd:?}");
            let file = |fd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
            assert_eq!(file(*fd).unwrap(), file(before).unwrap());
        }
    }
}
