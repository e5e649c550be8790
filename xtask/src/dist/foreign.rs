//! What the static program has from this machine and no crate: Rust's standard library and the C library.
//!
//! Runs in: any process.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::machine::{self, stdout_of};

/// One of them.
#[derive(Debug)]
pub struct Foreign {
    pub name: &'static str,
    pub version: String,
    pub licence: &'static str,
    /// As <https://github.com/package-url/purl-spec>.
    pub purl: String,
    /// Texts or pages of HTML; none where this machine has none.
    pub notices: Vec<PathBuf>,
}

/// Debian's package with libc.a, and its source package.
const LIBC: &str = "libc6-dev";
const LIBC_SOURCE: &str = "glibc";

pub fn parts() -> Result<Vec<Foreign>> {
    Ok([Some(rust()?), libc()?].into_iter().flatten().collect())
}

fn rust() -> Result<Foreign> {
    let said = stdout_of(Command::new("rustc").arg("-vV"))?;
    let version = said.lines().find_map(|line| line.strip_prefix("release: "));
    let version = version.context("rustc -vV names no release")?.to_owned();
    let sysroot = stdout_of(Command::new("rustc").args(["--print", "sysroot"]))?;
    let documents = Path::new(sysroot.trim()).join("share/doc/rust");
    let purl = format!("pkg:github/rust-lang/rust@{version}#library");
    let notices = there([documents.join("COPYRIGHT-library.html")]);
    Ok(Foreign { name: "rust-std", version, licence: "MIT OR Apache-2.0", purl, notices })
}

/// `None`: this machine's C library is not Debian's, and what it is is not known here.
fn libc() -> Result<Option<Foreign>> {
    let Some(version) = debian_libc()? else { return Ok(None) };
    let machine = stdout_of(Command::new("dpkg").arg("--print-architecture"))?;
    let escaped = version.replace('+', "%2B");
    let purl = format!("pkg:deb/debian/{LIBC}@{escaped}?arch={}", machine.trim());
    let notices = there([PathBuf::from(format!("/usr/share/doc/{LIBC}/copyright"))]);
    Ok(Some(Foreign { name: LIBC_SOURCE, version, licence: "LGPL-2.1-or-later", purl, notices }))
}

/// For Debian's `Built-Using`: whose source a static program has to be kept with (Policy 7.8).
pub fn built_using() -> Result<Option<String>> {
    Ok(debian_libc()?.map(|version| format!("{LIBC_SOURCE} (= {version})")))
}

fn debian_libc() -> Result<Option<String>> {
    if machine::find("dpkg-query").is_none() {
        return Ok(None);
    }
    let query = ["--show", "--showformat", "${source:Version}", LIBC];
    let output = Command::new("dpkg-query").args(query).output()?;
    Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned()))
}

fn there<const N: usize>(files: [PathBuf; N]) -> Vec<PathBuf> {
    files.into_iter().filter(|file| file.is_file()).collect()
}
