//! The program itself: where it begins, and the memory functions that the compiler calls where there is no libc.
//!
//! No target of cargo's: libcontainer's build script links it (`crates/libcontainer/build/image.rs`).
//!
//! Runs in: init.

#![no_std]
#![no_main]
#![no_builtins]

#[cfg(target_arch = "aarch64")]
#[path = "image/aarch64.rs"]
mod arch;
#[cfg(target_arch = "riscv64")]
#[path = "image/riscv64.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "image/x86_64.rs"]
mod arch;

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    corten_init::panicked(info.location().map_or("?", |location| location.file()))
}
