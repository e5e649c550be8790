//! Makes init's image, which `runtime` embeds: a program for the same target, without libc (`build/image.rs`), checked to be
//! so (`build/elf.rs`).
//!
//! Runs in: any process (the build).

#[path = "build/elf.rs"]
mod elf;
#[path = "build/image.rs"]
mod image;

use std::env;
use std::path::{Path, PathBuf};

fn main() -> Result<(), String> {
    let variable = |name: &str| env::var_os(name).ok_or(format!("cargo gave no {name}"));
    let out = PathBuf::from(variable("OUT_DIR")?);
    let init = Path::new(corten_init::SOURCE_DIR).join("src");
    let plan = Path::new(corten_init::PLAN_SOURCE_DIR).join("src");
    let toolchain = image::Toolchain {
        rustc: variable("RUSTC")?.into(),
        target: variable("TARGET")?.into_string().map_err(|_| "TARGET is no text")?,
        fallback_linker: Some(env::var_os("RUSTC_LINKER").unwrap_or("cc".into()).into()),
        link_flags: &[],
    };
    toolchain.libraries(&plan.join("lib.rs"), &init.join("lib.rs"), &out)?;
    let libraries = ["corten_init", "corten_plan"];
    let linked = toolchain.program(&init.join("image.rs"), &libraries, &out)?;
    let file = |error| format!("{}: {error}", linked.display());
    let stripped = elf::strip(&std::fs::read(&linked).map_err(file)?)?;
    let embedded = out.join("init.image");
    std::fs::write(&embedded, stripped).map_err(file)?;
    println!("cargo::rustc-env=CORTEN_INIT_IMAGE={}", embedded.display());
    for source in [init.as_path(), &plan, Path::new("build.rs"), Path::new("build")] {
        println!("cargo::rerun-if-changed={}", source.display());
    }
    Ok(())
}
