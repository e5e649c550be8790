//! The `corten` program. All of it is in `corten-cli`, where tests can reach it.
//!
//! Without std's own start, which reads /proc/self/maps and sets up a stack for SIGSEGV: twenty system calls of some
//! two hundred. What of it a program needs, `corten_cli::main` does.
//!
//! Runs in: runtime.

#![no_main]
#![expect(unsafe_code, reason = "the name that the C runtime calls")]

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    corten_cli::main().into()
}
