//! Which capabilities the kernel knows.
//!
//! Runs in: runtime.

/// `CAP_CHECKPOINT_RESTORE`, the last one of Linux 5.9 and of every release up to 6.18.
const KNOWN: u32 = 40;

/// The number of the last capability that the kernel knows: the first call that it does not understand ends the search.
pub fn last() -> u32 {
    let is_known = |number: &u32| {
        // SAFETY: PR_CAPBSET_READ takes a number and touches no memory.
        unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(*number)) >= 0 }
    };
    (KNOWN + 1..64).take_while(is_known).last().unwrap_or(KNOWN)
}
