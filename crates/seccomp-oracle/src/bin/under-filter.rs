//! Loads the filter on its standard input and makes one system call under it: `under-filter FLAGS NUMBER [ARGUMENT]...`, or
//! `under-filter FLAGS x86 NUMBER`: as a 32-bit program would, without arguments.
//!
//! Writes what the call returned, or `-errno`. A filter that kills ends it with SIGSYS.
//!
//! Runs in: any process.

#![expect(unsafe_code, reason = "it makes the system calls that its caller names")]

use std::io::{self, Read, Write};
use std::{env, mem};

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    length: u16,
    instructions: *const [u8; 8],
}

const SECCOMP_SET_MODE_FILTER: libc::c_long = 1;

fn main() -> io::Result<()> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [flags, "x86", call] => {
            load(&bytes, number(flags)?)?;
            call_x86(number(call)?)
        }
        [flags, call, arguments @ ..] => {
            let call = number(call)?;
            let given =
                arguments.iter().map(|word| number(word)).collect::<io::Result<Vec<_>>>()?;
            let arguments = std::array::from_fn(|index| given.get(index).copied().unwrap_or(0));
            load(&bytes, number(flags)?)?;
            call_native(call, arguments)
        }
        _ => return Err(io::Error::other("usage: under-filter FLAGS [x86] NUMBER [ARGUMENT]...")),
    };
    // The tests' profiles allow what a Rust program needs to write this and end.
    io::stdout().write_all(result.to_string().as_bytes())
}

fn number(word: &str) -> io::Result<libc::c_long> {
    word.parse().map_err(io::Error::other)
}

fn call_native(call: libc::c_long, arguments: [libc::c_long; 6]) -> i64 {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the tests name calls that take numbers, or pointers of which 0 is a valid one; none writes to this process's memory.
    let result = unsafe { libc::syscall(call, a, b, c, d, e, f) };
    if result < 0 {
        -i64::from(io::Error::last_os_error().raw_os_error().unwrap_or_default())
    } else {
        result
    }
}

#[cfg(target_arch = "x86_64")]
fn call_x86(call: libc::c_long) -> i64 {
    let mut result = call;
    // SAFETY: int 0x80 enters the kernel with the number in eax, answers there, and may clear r8 to r11; the tests name calls
    // without arguments.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inlateout("rax") result,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    };
    // Answers have 32 bits.
    result << 32 >> 32
}

#[cfg(not(target_arch = "x86_64"))]
fn call_x86(_: libc::c_long) -> i64 {
    -i64::from(libc::ENOSYS)
}

fn load(bytes: &[u8], flags: libc::c_long) -> io::Result<()> {
    // The kernel reads `struct sock_filter`, which has an alignment of 4.
    let (instructions, _) = bytes.as_chunks::<8>();
    let mut aligned: Vec<u64> = Vec::with_capacity(instructions.len());
    aligned.extend(instructions.iter().map(|bytes| u64::from_ne_bytes(*bytes)));
    let program = Program {
        length: u16::try_from(aligned.len()).map_err(io::Error::other)?,
        instructions: aligned.as_ptr().cast(),
    };
    // SAFETY: PR_SET_NO_NEW_PRIVS takes the number 1 and three zeros.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    const { assert!(mem::size_of::<Program>() == 16) };
    // SAFETY: program points to `length` instructions of 8 bytes in `aligned`, which lives until the call returns.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
