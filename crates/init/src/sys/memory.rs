//! Memory: the plan, and what is too large or lives too long for the stack. Nothing is ever unmapped: execve does that.
//!
//! Runs in: init.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};
use core::slice;
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use super::{Errno, FdRef, Result, abi, call, fs};

fn map(length: usize, protection: u32, flags: u32, fd: FdRef<'_>) -> Result<*mut u8> {
    let anywhere = core::ptr::null::<u8>();
    // SAFETY: the kernel chooses the address, so nothing that exists is mapped over.
    let address = unsafe { call!(MMAP, anywhere, length, protection, flags, fd, 0u64) }?;
    Ok(core::ptr::with_exposed_provenance_mut(address))
}

/// How much of a plan is read; a larger one is mapped.
const READ_LENGTH: usize = 12 * 1024;

/// The contents of the file, which must be sealed: it neither shrinks nor changes.
pub fn contents(fd: FdRef<'_>) -> Result<&'static [u8]> {
    let room = allocate(READ_LENGTH)?;
    let count = fs::read_at(fd, room, 0)?.len();
    if count == READ_LENGTH {
        return map_file(fd);
    }
    room.get(..count).ok_or(Errno::EOVERFLOW)
}

fn map_file(fd: FdRef<'_>) -> Result<&'static [u8]> {
    let length = usize::try_from(fs::status(fd)?.size).map_err(|_| Errno::EOVERFLOW)?;
    if length == 0 {
        return Ok(&[]);
    }
    let start = map(length, abi::PROT_READ, abi::MAP_PRIVATE | abi::MAP_POPULATE, fd)?;
    // SAFETY: `start` is the beginning of `length` readable bytes that are never unmapped; the runtime has sealed the file
    // against writes and shrinking.
    Ok(unsafe { slice::from_raw_parts(start, length) })
}

/// Memory that is there without a system call; of it only the pages exist that are written to.
#[repr(C, align(8))]
struct First(UnsafeCell<[u8; FIRST_LENGTH]>);
const FIRST_LENGTH: usize = 16 * 1024;
// SAFETY: it is reached through `allocate` alone, which gives each byte out once.
unsafe impl Sync for First {}
static FIRST: First = First(UnsafeCell::new([0; FIRST_LENGTH]));

/// What is left of the memory that pieces are taken from: its address and length. Address 0: all of [`FIRST`].
static REST: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(FIRST_LENGTH)];
const PAGE: usize = 4096;
/// All pieces begin at a multiple of this.
const ALIGNMENT: usize = 8;

/// Zeroed memory of ours.
pub fn allocate(length: usize) -> Result<&'static mut [u8]> {
    let [next, left] = &REST;
    let rounded = length.checked_next_multiple_of(ALIGNMENT).ok_or(Errno::ENOMEM)?;
    if next.load(Ordering::Relaxed) == 0 {
        next.store(FIRST.0.get().expose_provenance(), Ordering::Relaxed);
    }
    if left.load(Ordering::Relaxed) < rounded {
        let flags = abi::MAP_PRIVATE | abi::MAP_ANONYMOUS;
        let size = rounded.checked_next_multiple_of(PAGE).ok_or(Errno::ENOMEM)?;
        let start = map(size, abi::PROT_READ | abi::PROT_WRITE, flags, FdRef::inherited(-1))?;
        next.store(start.expose_provenance(), Ordering::Relaxed);
        left.store(size, Ordering::Relaxed);
    }
    let start = next.fetch_add(rounded, Ordering::Relaxed);
    left.fetch_sub(rounded, Ordering::Relaxed);
    let start: *mut u8 = core::ptr::with_exposed_provenance_mut(start);
    // SAFETY: `start` is the beginning of at least `length` zeroed bytes, of `FIRST` or of an anonymous mapping, which are
    // given out once and never unmapped.
    Ok(unsafe { slice::from_raw_parts_mut(start, length) })
}

/// Zeros of ours.
pub fn numbers(count: usize) -> Result<&'static mut [u32]> {
    let bytes = allocate(count.checked_mul(size_of::<u32>()).ok_or(Errno::ENOMEM)?)?;
    // SAFETY: the memory is aligned to 8 bytes, zeroed, has room for `count` numbers, and is borrowed for ever.
    Ok(unsafe { slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), count) })
}

/// A number, at first 0, that this process and its children see alike.
pub fn shared_number() -> Result<&'static AtomicI32> {
    let flags = abi::MAP_SHARED | abi::MAP_ANONYMOUS;
    let protection = abi::PROT_READ | abi::PROT_WRITE;
    let start = map(size_of::<AtomicI32>(), protection, flags, FdRef::inherited(-1))?;
    // SAFETY: a page is aligned for an i32, zero is a valid value, all access is atomic, and it is never unmapped.
    Ok(unsafe { AtomicI32::from_ptr(start.cast()) })
}

/// A list of C strings that ends with a NULL pointer, as execve wants it.
#[derive(Debug)]
pub struct Pointers {
    /// The last one is NULL, always.
    slots: &'static mut [*const c_char],
    used: usize,
}

impl Pointers {
    /// Empty lists with room for this many strings each, from one allocation.
    pub fn lists<const N: usize>(room: [usize; N]) -> Result<[Self; N]> {
        let total = room.iter().try_fold(N, |sum, count| sum.checked_add(*count));
        let length = total.and_then(|total| total.checked_mul(size_of::<*const c_char>()));
        let bytes = allocate(length.ok_or(Errno::ENOMEM)?)?;
        let count = bytes.len() / size_of::<*const c_char>();
        // SAFETY: the memory is aligned to 8 bytes and zeroed (NULL pointers), holds `count` pointers, and is borrowed for ever.
        let slots = unsafe { slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), count) };
        let mut rest = slots;
        let mut room = room.into_iter();
        Ok(core::array::from_fn(|_| {
            let count = room.next().unwrap_or(0) + 1;
            let (slots, others) =
                core::mem::take(&mut rest).split_at_mut_checked(count).unwrap_or_default();
            rest = others;
            Self { slots, used: 0 }
        }))
    }

    /// Appends a string.
    pub fn push(&mut self, string: &'static CStr) -> Result<()> {
        let last = self.slots.len().saturating_sub(1);
        let slot = self.slots.get_mut(..last).and_then(|slots| slots.get_mut(self.used));
        *slot.ok_or(Errno::E2BIG)? = string.as_ptr();
        self.used += 1;
        Ok(())
    }

    /// The list for execve.
    pub fn as_ptr(&self) -> *const *const c_char {
        self.slots.as_ptr()
    }
}

/// A string of these parts that lives until execve.
///
/// # Errors
/// ENOMEM; EINVAL when a part has a NUL.
pub fn keep(parts: &[&[u8]]) -> Result<&'static CStr> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = allocate(length + 1)?;
    let mut rest = &mut *bytes;
    for part in parts {
        let (room, others) = rest.split_at_mut_checked(part.len()).ok_or(Errno::ENOMEM)?;
        room.copy_from_slice(part);
        rest = others;
    }
    CStr::from_bytes_with_nul(bytes).map_err(|_| Errno::EINVAL)
}
