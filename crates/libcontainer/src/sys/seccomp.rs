//! What the kernel knows of seccomp.
//!
//! Runs in: runtime.

/// Whether the kernel takes these `SECCOMP_FILTER_FLAG_*`. Nothing is loaded.
pub fn takes_flags(flags: u32) -> bool {
    let no_program = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: unknown flags give EINVAL; else the kernel looks for the program at address 0 and gives EFAULT (seccomp(2)).
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, no_program)
    };
    result < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

#[cfg(test)]
mod tests {
    use super::takes_flags;

    #[test]
    fn takes_flags_of_every_kernel_and_not_those_of_none() {
        assert!(takes_flags(0));
        assert!(takes_flags(1 << 1));
        assert!(!takes_flags(1 << 31));
    }
}
