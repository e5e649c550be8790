//! init's image: what is embedded passes the check that the build makes, and what must not be embedded fails it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "this is a test; what it needs and cannot have is its failure"
)]

#[path = "../build/elf.rs"]
mod elf;
#[expect(dead_code, reason = "the libraries of the real image are the build script's to make")]
#[path = "../build/image.rs"]
mod image;

use std::fs;

/// What the build embeds.
static EMBEDDED: &[u8] = include_bytes!(env!("CORTEN_INIT_IMAGE"));

/// A program that does nothing, and the same with a call into libc.
const NOTHING: &str = r#"
    #![no_std]
    #![no_main]
    use core::panic::PanicInfo;
    #[panic_handler] fn panic(_: &PanicInfo<'_>) -> ! { loop {} }
    #[unsafe(no_mangle)] extern "C" fn _start() -> ! { BODY }
    BEFORE
"#;

fn nothing() -> String {
    NOTHING.replace("BODY", "loop {}").replace("BEFORE", "")
}

fn libc_call() -> String {
    let call = "loop { unsafe { getpid() }; }";
    NOTHING.replace("BODY", call).replace("BEFORE", "unsafe extern \"C\" { fn getpid() -> i32; }")
}

/// Links `source` in the place of init's crate root.
fn link(source: &str, link_flags: &'static [&'static str]) -> Result<Vec<u8>, String> {
    let out = tempfile::tempdir().unwrap();
    let root = out.path().join("image.rs");
    fs::write(&root, source).unwrap();
    let toolchain = image::Toolchain {
        rustc: option_env!("RUSTC").unwrap_or("rustc").into(),
        target: format!("{}-unknown-linux-gnu", std::env::consts::ARCH),
        fallback_linker: Some("cc".into()),
        link_flags,
    };
    toolchain.program(&root, &[], out.path()).map(|linked| fs::read(linked).unwrap())
}

#[test]
fn embedded_image_is_small_and_only_what_is_loaded() {
    assert!(EMBEDDED.len() <= elf::MAX_LENGTH && EMBEDDED.len() > 4096, "{}", EMBEDDED.len());
    assert!(EMBEDDED.starts_with(b"\x7fELF"));
    // No section headers, and no names of functions.
    assert_eq!(EMBEDDED[60..62], [0, 0]);
    assert!(!EMBEDDED.windows(12).any(|bytes| bytes == b"corten_init."));
}

#[test]
fn image_with_a_call_into_libc_does_not_link() {
    let error = link(&libc_call(), &[]).unwrap_err();
    assert!(error.contains("undefined") && error.contains("getpid"), "{error}");
}

#[test]
fn image_with_an_undefined_symbol_that_the_linker_let_pass_is_refused() {
    let linked = link(&libc_call(), &["--unresolved-symbols=ignore-all"]).unwrap();
    let error = elf::strip(&linked).unwrap_err();
    assert_eq!(error, "the image does not define the symbol `getpid`");
}

#[test]
fn image_that_is_position_independent_is_refused() {
    let linked = link(&nothing(), &["-pie", "--no-dynamic-linker"]).unwrap();
    assert!(elf::strip(&linked).is_err());
}

#[test]
fn image_that_keeps_its_relocations_is_refused() {
    let linked = link(&nothing(), &["--emit-relocs"]).unwrap();
    assert_eq!(elf::strip(&linked).unwrap_err(), "the image has relocations");
}

#[test]
fn image_without_symbols_is_refused_because_it_cannot_be_checked() {
    let linked = link(&nothing(), &["--strip-all"]).unwrap();
    assert!(elf::strip(&linked).unwrap_err().contains("without symbols"));
}

#[test]
fn image_with_another_kind_of_segment_is_refused() {
    let linked = link(&nothing(), &[]).unwrap();
    elf::strip(&linked).unwrap();
    let headers = usize::from(linked[32]);
    for (kind, text) in [(2, "dynamic section"), (3, "dynamic linker"), (7, "thread-local")] {
        let mut changed = linked.clone();
        changed[headers..headers + 4].copy_from_slice(&[kind, 0, 0, 0]);
        let error = elf::strip(&changed).unwrap_err();
        assert!(error.contains(text), "{error}");
    }
    let mut writable = linked.clone();
    // The second header is of the first segment that is loaded.
    writable[headers + 56 + 4] = 7;
    assert!(elf::strip(&writable).unwrap_err().contains("writable and executable"));
}

#[test]
fn image_cut_at_any_byte_is_refused_without_a_panic() {
    let linked = link(&nothing(), &[]).unwrap();
    for length in 0..linked.len() {
        assert!(elf::strip(&linked[..length]).is_err(), "{length} of {}", linked.len());
    }
}

#[test]
fn image_that_is_too_large_is_refused() {
    let large = "static LARGE: [u8; 70_000] = [1; 70_000];";
    let body = "loop { unsafe { core::ptr::read_volatile(&raw const LARGE) }; }";
    let linked = link(&NOTHING.replace("BODY", body).replace("BEFORE", large), &[]).unwrap();
    let error = elf::strip(&linked).unwrap_err();
    assert!(error.contains("more than 65536"), "{error}");
}
