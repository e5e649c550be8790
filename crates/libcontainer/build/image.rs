//! Makes init's image: three calls of rustc, for the target that libcontainer is built for.
//!
//! Not cargo, which would wait for its own lock; and not the flags of the crate around it, which are for programs with libc.
//!
//! Runs in: any process (the build script, and a test of it).

use std::path::{Path, PathBuf};
use std::process::Command;

/// What it takes to link an image.
#[derive(Debug)]
pub struct Toolchain {
    /// `$RUSTC`.
    pub rustc: PathBuf,
    /// The target triple; of it only `core` is used.
    pub target: String,
    /// For a rustc without `rust-lld`: the C compiler driver that links for the target.
    pub fallback_linker: Option<PathBuf>,
    /// More flags for the linker: for tests.
    pub link_flags: &'static [&'static str],
}

/// What cargo and its callers put into the environment for other crates.
const FOREIGN: [&str; 7] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOCFLAGS",
    "RUSTC_BOOTSTRAP",
    "CARGO_MANIFEST_DIR",
];

/// What all three crates are compiled with. No unwinding, no PIE (no relocations), no mitigations that need a libc. Small
/// before fast: the image is copied for every start, and what takes time in it are system calls ("s" with the usual inlining
/// is 4,500 bytes more).
const CODE: [&str; 9] = [
    "--edition=2024",
    "-Copt-level=z",
    "-Cllvm-args=-inline-threshold=10",
    "-Cpanic=abort",
    "-Ccodegen-units=1",
    "-Crelocation-model=static",
    "-Cforce-unwind-tables=no",
    "-Cembed-bitcode=yes",
    "--cap-lints=allow",
];

/// Leaves out the tables for unwinding, which `core` brings along: an eighth of the image.
const LINKER_SCRIPT: &str =
    "SECTIONS { /DISCARD/ : { *(.eh_frame .eh_frame.*) } } INSERT AFTER .text;\n";

/// The linker's flags: one file of few pages, nothing but what is loaded.
const LINK: [&str; 6] = [
    "-static",
    "-znoseparate-code",
    "-znorelro",
    "-zmax-page-size=4096",
    "--build-id=none",
    "--no-eh-frame-hdr",
];

impl Toolchain {
    /// Compiles the crates that the program consists of, to `out`: `plan` and `init` are their roots.
    ///
    /// # Errors
    /// What rustc said.
    pub fn libraries(&self, plan: &Path, init: &Path, out: &Path) -> Result<(), String> {
        self.library("corten_plan", plan, out, &[])?;
        self.library("corten_init", init, out, &[library_in(out, "corten_plan")])
    }

    /// Links the program whose crate root is `image`, with these libraries in `out`. Returns it, with its symbols.
    ///
    /// # Errors
    /// What rustc said.
    pub fn program(&self, image: &Path, libraries: &[&str], out: &Path) -> Result<PathBuf, String> {
        let program = out.join("corten-init");
        let script = out.join("init.ld");
        std::fs::write(&script, LINKER_SCRIPT)
            .map_err(|error| format!("{}: {error}", script.display()))?;
        let mut rustc = self.rustc(image);
        rustc.args(["--crate-name=corten_init_image", "--crate-type=bin", "-Clto=fat"]);
        // Only there is the option stable; elsewhere rustc brings no linker of its own that would have to be kept out.
        if self.target.starts_with("x86_64") {
            rustc.arg("-Clink-self-contained=no");
        }
        rustc.arg("-o").arg(&program).arg("-L").arg(out);
        rustc.args(libraries.iter().map(|name| library_in(out, name)));
        rustc.args(self.linker()).arg(format!("-Clink-arg=-T{}", script.display()));
        rustc.args(self.link_flags.iter().map(|flag| format!("-Clink-arg={flag}")));
        run(rustc)?;
        Ok(program)
    }

    fn library(&self, name: &str, root: &Path, out: &Path, more: &[String]) -> Result<(), String> {
        let mut rustc = self.rustc(root);
        rustc
            .arg(format!("--crate-name={name}"))
            .arg("--crate-type=rlib")
            .arg("--out-dir")
            .arg(out);
        rustc.args(more);
        run(rustc)
    }

    fn rustc(&self, root: &Path) -> Command {
        let mut rustc = Command::new(&self.rustc);
        FOREIGN.iter().for_each(|variable| {
            rustc.env_remove(variable);
        });
        // `SOURCE_DIR` of the crates; nothing in the image refers to it.
        rustc.env("CARGO_MANIFEST_DIR", "");
        rustc.arg(root).args(CODE).arg("--target").arg(&self.target);
        rustc.args(without_place(root));
        rustc.arg(format!("-Ctarget-feature={}", self.features()));
        rustc
    }

    /// Static, and on aarch64 without the atomics that ask libc (`getauxval`) what the processor can do.
    fn features(&self) -> &'static str {
        if self.target.starts_with("aarch64") {
            "+crt-static,-outline-atomics"
        } else {
            "+crt-static"
        }
    }

    /// `rust-lld` links for every target, without a C compiler of it. Distributions leave it out: then theirs has to do.
    fn linker(&self) -> Vec<String> {
        if let Some(linker) = self.fallback_linker.as_ref().filter(|_| !self.has_lld()) {
            let link = LINK
                .iter()
                .filter(|flag| **flag != "-static")
                .map(|flag| format!("-Clink-arg=-Wl,{flag}"));
            let driver = ["-nostartfiles", "-nostdlib", "-static", "-fuse-ld=bfd"]
                .map(|flag| format!("-Clink-arg={flag}"));
            let linker = format!("-Clinker={}", linker.display());
            return link.chain(driver).chain([linker]).collect();
        }
        let flags = LINK.iter().map(|flag| format!("-Clink-arg={flag}"));
        flags.chain(["-Clinker=rust-lld".into(), "-Clinker-flavor=ld.lld".into()]).collect()
    }

    fn has_lld(&self) -> bool {
        let print = |what: &str| {
            let output = Command::new(&self.rustc).args(["--print", what]).output().ok()?;
            Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
        };
        print("target-libdir").and_then(|host| Some(host.parent()?.join("bin/rust-lld").exists()))
            == Some(true)
    }
}

/// The same image wherever it is built: what names a line of the sources begins with `init/src` or `plan/src`.
fn without_place(root: &Path) -> Option<String> {
    let (source, package) = (root.parent()?, root.parent()?.parent()?);
    let name = package.file_name()?.display();
    Some(format!("--remap-path-prefix={}={name}/src", source.display()))
}

fn library_in(out: &Path, name: &str) -> String {
    format!("--extern={name}={}", out.join(format!("lib{name}.rlib")).display())
}

fn run(mut command: Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}
