//! System calls, each as one safe function: typed arguments, one call, the kernel's error number. No policy.
//!
//! This module and those below it hold all `unsafe` of the crate. File descriptors are [`Fd`], which closes on drop, and
//! [`FdRef`], which borrows.
//!
//! Runs in: init.

#![allow(unsafe_code, reason = "system calls are what this module is for")]

pub mod abi;
pub mod fs;
pub mod memory;
pub mod mount;
pub mod process;
pub mod socket;

#[cfg(target_arch = "aarch64")]
#[path = "sys/aarch64.rs"]
mod arch;
#[cfg(target_arch = "riscv64")]
#[path = "sys/riscv64.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "sys/x86_64.rs"]
mod arch;

use core::ffi::CStr;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU64, Ordering};

pub use arch::ELF_MACHINE;

/// An error number of the kernel, positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

/// The names are the kernel's: errno(3).
impl Errno {
    pub const NONE: Self = Self(0);
    pub const EPERM: Self = Self(1);
    pub const ENOENT: Self = Self(2);
    pub const EIO: Self = Self(5);
    pub const E2BIG: Self = Self(7);
    pub const ENOEXEC: Self = Self(8);
    pub const EBADF: Self = Self(9);
    pub const EAGAIN: Self = Self(11);
    pub const ENOMEM: Self = Self(12);
    pub const EACCES: Self = Self(13);
    pub const EBUSY: Self = Self(16);
    pub const EEXIST: Self = Self(17);
    pub const EXDEV: Self = Self(18);
    pub const ENODEV: Self = Self(19);
    pub const ENOTDIR: Self = Self(20);
    pub const EISDIR: Self = Self(21);
    pub const EINVAL: Self = Self(22);
    pub const ENOTTY: Self = Self(25);
    pub const EROFS: Self = Self(30);
    pub const ENAMETOOLONG: Self = Self(36);
    pub const ENOSYS: Self = Self(38);
    pub const ELOOP: Self = Self(40);
    pub const EPROTO: Self = Self(71);
    pub const EOVERFLOW: Self = Self(75);
}

/// What a system call gave.
pub type Result<T> = core::result::Result<T, Errno>;

/// A value that can be an argument of a system call.
trait Argument {
    fn register(self) -> usize;
}

macro_rules! integer_arguments {
    ($($type:ty),*) => {$(
        impl Argument for $type {
            #[allow(
                clippy::cast_possible_truncation, clippy::cast_sign_loss,
                reason = "registers are 64 bits wide here, and negative numbers are passed sign-extended"
            )]
            fn register(self) -> usize { self as usize }
        }
    )*};
}
integer_arguments!(u32, i32, u64, i64, usize);

impl<T> Argument for *const T {
    fn register(self) -> usize {
        self.expose_provenance()
    }
}

impl<T> Argument for *mut T {
    fn register(self) -> usize {
        self.expose_provenance()
    }
}

impl Argument for &CStr {
    fn register(self) -> usize {
        self.as_ptr().register()
    }
}

impl Argument for Option<&CStr> {
    fn register(self) -> usize {
        self.map_or(0, CStr::as_ptr_address)
    }
}

trait Address {
    fn as_ptr_address(&self) -> usize;
}

impl Address for CStr {
    fn as_ptr_address(&self) -> usize {
        self.as_ptr().register()
    }
}

impl Argument for FdRef<'_> {
    fn register(self) -> usize {
        self.number.register()
    }
}

/// What the kernel returned: a number, or a negated error number.
fn check(returned: isize) -> Result<usize> {
    #[expect(clippy::cast_possible_truncation, reason = "error numbers are at most 4095")]
    usize::try_from(returned).map_err(|_| Errno(-(returned as i32)))
}

/// For calls that cannot fail with the arguments they get, or whose failure means that what they were to do is done.
fn ignored(_: Result<usize>) {}

/// Makes the system call of this name with these [`Argument`]s. To be used in an `unsafe` block.
macro_rules! call {
    ($number:ident) => { call!(@ syscall0, $number) };
    ($number:ident, $a:expr) => { call!(@ syscall1, $number, $a) };
    ($number:ident, $a:expr, $b:expr) => { call!(@ syscall2, $number, $a, $b) };
    ($number:ident, $a:expr, $b:expr, $c:expr) => { call!(@ syscall3, $number, $a, $b, $c) };
    ($number:ident, $a:expr, $b:expr, $c:expr, $d:expr) => {
        call!(@ syscall4, $number, $a, $b, $c, $d)
    };
    ($number:ident, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr) => {
        call!(@ syscall5, $number, $a, $b, $c, $d, $e)
    };
    ($number:ident, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr, $f:expr) => {
        call!(@ syscall6, $number, $a, $b, $c, $d, $e, $f)
    };
    (@ $function:ident, $number:ident $(, $argument:expr)*) => {
        $crate::sys::check($crate::sys::arch::$function(
            $crate::sys::abi::number::$number
            $(, $crate::sys::Argument::register($argument))*
        ))
    };
}
use call;

/// An open file descriptor of ours. All are close-on-exec from birth.
///
/// Dropping it does not close it at once: numbers are gathered and closed with one `close_range` for each run of them
/// ([`close_dropped`]), because init opens some hundred files and ends in execve soon.
#[derive(Debug)]
pub struct Fd {
    number: i32,
}

impl Fd {
    /// What a system call that opens a file returned.
    fn new(number: usize) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "file descriptors are ints")]
        #[expect(
            clippy::cast_possible_wrap,
            reason = "those of a call that worked are not negative"
        )]
        Self { number: number as i32 }
    }

    /// A descriptor that init was started with, and that shall be closed when it is dropped.
    pub fn inherited(fd: FdRef<'static>) -> Self {
        Self { number: fd.number }
    }

    /// The descriptor for a call.
    pub fn get(&self) -> FdRef<'_> {
        FdRef { number: self.number, owner: PhantomData }
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        if !gather(self.number) {
            close_range(self.number, self.number);
        }
    }
}

/// A file descriptor that is open as long as `'f` lasts.
#[derive(Debug, Clone, Copy)]
pub struct FdRef<'f> {
    number: i32,
    owner: PhantomData<&'f Fd>,
}

impl FdRef<'static> {
    /// `AT_FDCWD`: paths are relative to the working directory.
    pub const CWD: Self = Self::inherited(abi::AT_FDCWD);

    /// A descriptor that init was started with, and that stays open.
    pub const fn inherited(number: i32) -> Self {
        Self { number, owner: PhantomData }
    }
}

impl FdRef<'_> {
    /// The number of the descriptor.
    pub fn number(self) -> i32 {
        self.number
    }
}

/// One bit for each of the first 256 numbers: dropped and not closed yet.
static DROPPED: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
/// How many may be dropped before they are closed.
const MAX_DROPPED: u32 = 64;

fn gather(number: i32) -> bool {
    let Ok(number) = usize::try_from(number) else { return true };
    let Some(word) = DROPPED.get(number / 64) else { return false };
    word.store(word.load(Ordering::Relaxed) | 1 << (number % 64), Ordering::Relaxed);
    let dropped: u32 = DROPPED.iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum();
    if dropped >= MAX_DROPPED {
        close_dropped();
    }
    true
}

/// Closes all [`Fd`]s that were dropped so far.
pub fn close_dropped() {
    let is_dropped = |number: i32| {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let word = DROPPED.get(number / 64).map_or(0, |word| word.load(Ordering::Relaxed));
        word >> (number % 64) & 1 == 1
    };
    let mut number = 0;
    while number < 256 {
        let first = number;
        while is_dropped(number) {
            number += 1;
        }
        if number > first {
            close_range(first, number - 1);
        }
        number += 1;
    }
    DROPPED.iter().for_each(|word| word.store(0, Ordering::Relaxed));
}

fn close_range(first: i32, last: i32) {
    // SAFETY: the numbers are those of dropped `Fd`s, which nothing refers to any more.
    ignored(unsafe { call!(CLOSE_RANGE, first, last, 0u32) });
}

/// `close_range` with `CLOSE_RANGE_CLOEXEC`: execve closes `first` and all above.
pub fn close_on_exec(first: u32) -> Result<()> {
    // SAFETY: nothing is closed now; descriptors stay valid until execve.
    unsafe { call!(CLOSE_RANGE, first, u32::MAX, abi::CLOSE_RANGE_CLOEXEC) }.map(drop)
}

/// `exit_group`; where the user's seccomp filter denies that, the process dies of a fault, which no filter keeps from it, and of
/// which pid 1 of a pid namespace dies too (`force_sig_info_to_task` of the kernel).
pub fn exit(status: i32) -> ! {
    // SAFETY: ends the process; no pointers.
    ignored(unsafe { call!(EXIT_GROUP, status) });
    arch::fault()
}

/// Where the program begins: `_start` gives the stack as execve left it.
///
/// # Safety
/// `stack` points to argc, then that many pointers to C strings, as the kernel lays them out for a new program.
pub unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: the caller's promise: argc is the first word.
    let count = unsafe { stack.read() };
    if count != 2 {
        exit(1);
    }
    // SAFETY: the caller's promise: there are three words at least, since argc is 2.
    let third = unsafe { stack.add(2) };
    // SAFETY: the caller's promise: argv[1] is the third word, a pointer.
    let second = unsafe { third.cast::<*const core::ffi::c_char>().read() };
    // SAFETY: the kernel ends each argument with a NUL, and the stack's top is never written to nor unmapped.
    let table = unsafe { CStr::from_ptr::<'static>(second) };
    crate::run::run(table)
}
