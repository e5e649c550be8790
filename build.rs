//! Tells the linker what the shipped binary does without: 300 KB of it (docs/design/0003-static-build.md).
//!
//! Runs in: any process (the build).

use std::env;
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
    }
}

fn is(variable: &str, value: &str) -> bool {
    env::var(variable).is_ok_and(|it| it == value)
}

fn link_with(argument: &str) {
    println!("cargo::rustc-link-arg-bin=corten=-Wl,{argument}");
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
