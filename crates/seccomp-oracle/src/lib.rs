//! Holds libcontainer's seccomp compiler against libseccomp, the way runc uses it.
//!
//! The same profile goes through both; both programs run in [`machine`], for every architecture and number and, where a program looks
//! at arguments, for every [class](classes) of them. What runc adds to libseccomp's program, and where we differ from both on
//! purpose, is written down in [`peer`] and [`rules`]: nothing is skipped.
//!
//! Needs libseccomp's headers and static library (Debian: `libseccomp-dev`); not among the workspace's default members.
//!
//! Runs in: any process.

pub mod classes;
pub mod compare;
pub mod machine;
pub mod peer;
pub mod rules;

use std::path::{Path, PathBuf};
use std::{fs, io};

use libcontainer::spec::LinuxSeccomp;

/// The profiles in `tests/configs`, which were captured from real clients: each different one with the first file that has it.
///
/// # Errors
/// Files that cannot be read or parsed.
pub fn captured_profiles() -> io::Result<Vec<(String, LinuxSeccomp)>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/configs");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    let mut all: Vec<(String, LinuxSeccomp)> = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|end| end == "json")) {
        let Some(profile) = profile_of(path)? else { continue };
        if all.iter().all(|(_, known)| *known != profile) {
            all.push((
                path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                profile,
            ));
        }
    }
    Ok(all)
}

/// `linux.seccomp` of a config.json.
fn profile_of(path: &Path) -> io::Result<Option<LinuxSeccomp>> {
    let config: serde_json::Value = serde_json::from_slice(&fs::read(path)?)?;
    match config.pointer("/linux/seccomp") {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(profile) => Ok(Some(serde_json::from_value(profile.clone())?)),
    }
}
