//! Tells the linker what the shipped binary does without: 300 KB of it (docs/design/0003-static-build.md).
//!
//! Runs in: any process (the build).

use std::env;
use std::path::Path;
use std::process::Command;

/// The script that drops the tables for unwinding.
const NO_UNWIND_TABLES: &str = "build/no-unwind-tables.ld";

/// The first glibc whose start-up code of a static-pie applies relative relocations in their packed form.
const FIRST_WITH_RELR: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed={NO_UNWIND_TABLES}");
    if is("CARGO_CFG_TARGET_ENV", "gnu") && glibc().is_some_and(|it| it >= FIRST_WITH_RELR) {
        link_with("-z,pack-relative-relocs");
    }
    // release-debug keeps them, for debuggers.
    if is("PROFILE", "release") && is("DEBUG", "false") {
        link_with("--no-eh-frame-hdr");
        let folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        link_with(&format!("-T,{folder}/{NO_UNWIND_TABLES}"));
        if is_linked_by_lld() {
            link_with("--icf=all");
        }
    }
}

fn is(variable: &str, value: &str) -> bool {
    env::var(variable).is_ok_and(|it| it == value)
}

fn link_with(argument: &str) {
    println!("cargo::rustc-link-arg-bin=corten=-Wl,{argument}");
}

/// Whether rustc takes the linker that it brings along: its default for this target alone (since 1.90), unless it is told of another.
fn is_linked_by_lld() -> bool {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let is_told = ["linker", "fuse-ld"].iter().any(|word| flags.contains(word));
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).args(["--print", "sysroot"]).output();
    let sysroot = said.ok().and_then(|said| String::from_utf8(said.stdout).ok());
    let brings_it = |sysroot: String| {
        let programs = Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("bin");
        programs.join("gcc-ld/ld.lld").exists()
    };
    is("TARGET", TARGET)
        && is("HOST", TARGET)
        && env::var_os("RUSTC_LINKER").is_none()
        && !is_told
        && sysroot.is_some_and(brings_it)
}

/// The version of the glibc that is linked; `None`: unknown, as for another machine than this.
fn glibc() -> Option<(u32, u32)> {
    if env::var("HOST") != env::var("TARGET") {
        return None;
    }
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?.stdout;
    let said = String::from_utf8(said).ok()?;
    let (major, minor) = said.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
