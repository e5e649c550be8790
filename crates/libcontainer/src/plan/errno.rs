//! The kernel's error numbers: names, and what they mean in words.
//!
//! Runs in: any process.

use std::io;

/// By number, from 1 (`<asm-generic/errno.h>`; x86, ARM and RISC-V have the same numbers).
#[rustfmt::skip]
const NAMES: [&str; 133] = [
    "EPERM", "ENOENT", "ESRCH", "EINTR", "EIO", "ENXIO", "E2BIG", "ENOEXEC", "EBADF", "ECHILD",
    "EAGAIN", "ENOMEM", "EACCES", "EFAULT", "ENOTBLK", "EBUSY", "EEXIST", "EXDEV", "ENODEV",
    "ENOTDIR", "EISDIR", "EINVAL", "ENFILE", "EMFILE", "ENOTTY", "ETXTBSY", "EFBIG", "ENOSPC",
    "ESPIPE", "EROFS", "EMLINK", "EPIPE", "EDOM", "ERANGE", "EDEADLK", "ENAMETOOLONG", "ENOLCK",
    "ENOSYS", "ENOTEMPTY", "ELOOP", "", "ENOMSG", "EIDRM", "ECHRNG", "EL2NSYNC", "EL3HLT",
    "EL3RST", "ELNRNG", "EUNATCH", "ENOCSI", "EL2HLT", "EBADE", "EBADR", "EXFULL", "ENOANO",
    "EBADRQC", "EBADSLT", "", "EBFONT", "ENOSTR", "ENODATA", "ETIME", "ENOSR", "ENONET", "ENOPKG",
    "EREMOTE", "ENOLINK", "EADV", "ESRMNT", "ECOMM", "EPROTO", "EMULTIHOP", "EDOTDOT", "EBADMSG",
    "EOVERFLOW", "ENOTUNIQ", "EBADFD", "EREMCHG", "ELIBACC", "ELIBBAD", "ELIBSCN", "ELIBMAX",
    "ELIBEXEC", "EILSEQ", "ERESTART", "ESTRPIPE", "EUSERS", "ENOTSOCK", "EDESTADDRREQ", "EMSGSIZE",
    "EPROTOTYPE", "ENOPROTOOPT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "EOPNOTSUPP",
    "EPFNOSUPPORT", "EAFNOSUPPORT", "EADDRINUSE", "EADDRNOTAVAIL", "ENETDOWN", "ENETUNREACH",
    "ENETRESET", "ECONNABORTED", "ECONNRESET", "ENOBUFS", "EISCONN", "ENOTCONN", "ESHUTDOWN",
    "ETOOMANYREFS", "ETIMEDOUT", "ECONNREFUSED", "EHOSTDOWN", "EHOSTUNREACH", "EALREADY",
    "EINPROGRESS", "ESTALE", "EUCLEAN", "ENOTNAM", "ENAVAIL", "EISNAM", "EREMOTEIO", "EDQUOT",
    "ENOMEDIUM", "EMEDIUMTYPE", "ECANCELED", "ENOKEY", "EKEYEXPIRED", "EKEYREVOKED",
    "EKEYREJECTED", "EOWNERDEAD", "ENOTRECOVERABLE", "ERFKILL", "EHWPOISON",
];

/// `EINVAL`; a number that has no name as `errno 4000`.
pub(super) fn name(errno: i32) -> String {
    let index = usize::try_from(errno).ok().and_then(|errno| errno.checked_sub(1));
    match index.and_then(|index| NAMES.get(index)) {
        Some(name) if !name.is_empty() => (*name).to_owned(),
        _ => format!("errno {errno}"),
    }
}

/// `no such file or directory`: the C library's words, as Go's runtime spells them, for callers match these.
pub(super) fn words(errno: i32) -> String {
    let words = io::Error::from_raw_os_error(errno).to_string();
    let words = words.split(" (os error").next().unwrap_or_default();
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{NAMES, name, words};

    #[test]
    fn name_known_and_unknown_numbers() {
        assert_eq!(name(libc::EPERM), "EPERM");
        assert_eq!(name(libc::EINVAL), "EINVAL");
        assert_eq!(name(libc::ELOOP), "ELOOP");
        assert_eq!(name(libc::EHWPOISON), "EHWPOISON");
        assert_eq!(NAMES.len(), usize::try_from(libc::EHWPOISON).unwrap());
        for number in [0, -1, 41, 134, i32::MAX, i32::MIN] {
            assert_eq!(name(number), format!("errno {number}"));
        }
    }

    #[test]
    fn words_are_what_callers_match() {
        assert_eq!(words(libc::ENOENT), "no such file or directory");
        assert_eq!(words(libc::EACCES), "permission denied");
        assert_eq!(words(libc::EISDIR), "is a directory");
        assert_eq!(words(libc::ENOEXEC), "exec format error");
    }
}
