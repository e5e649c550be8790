//! Debian's kernel packages, fetched by apt and unpacked into the cache once.
//!
//! Runs in: any process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::cache;
use crate::machine::{self, stdout_of, succeed};

/// The small kernel for virtual machines: boots in 1.5 s, has every namespace and controller.
pub const DEFAULT: &str = "linux-image-cloud-amd64";

/// An unpacked kernel.
#[derive(Debug)]
pub struct Kernel {
    /// What QEMU boots.
    pub image: PathBuf,
    /// `lib/modules/VERSION/kernel`.
    pub modules: PathBuf,
    /// The directory of this kernel in the cache.
    pub directory: PathBuf,
}

/// The kernel of `PACKAGE` or `PACKAGE/SUITE`: from the cache when it is there, else from apt.
pub fn get(wanted: &str) -> Result<Kernel> {
    let directory = cache()?.join(wanted.replace('/', "@"));
    if !directory.is_dir() {
        fetch(wanted, &directory).with_context(|| format!("kernel {wanted}"))?;
    }
    // Since trixie packages have /usr merged; in sid the image lies beside the modules.
    let versions = ["lib/modules", "usr/lib/modules"].map(|modules| directory.join(modules));
    let versions =
        versions.iter().find(|path| path.is_dir()).context("the package has no modules")?;
    let version = fs::read_dir(versions)?.next().context("the package has no modules")??;
    let name = version.file_name();
    let images = [
        version.path().join("vmlinuz"),
        directory.join("boot").join(format!("vmlinuz-{}", name.display())),
    ];
    let image =
        images.into_iter().find(|path| path.is_file()).context("the package has no kernel")?;
    Ok(Kernel { image, modules: version.path().join("kernel"), directory })
}

fn fetch(wanted: &str, directory: &Path) -> Result<()> {
    let (package, suite) = wanted.split_once('/').map_or((wanted, None), |(p, s)| (p, Some(s)));
    eprintln!("vm: fetching Debian's package {wanted} (once)");
    let work = directory.with_extension("part");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir_all(&work)?;
    let apt = suite.map(|suite| foreign_suite(&work, suite)).transpose()?.unwrap_or_default();
    let names = download(&work, &apt, package)?;
    for name in names {
        succeed(Command::new("dpkg-deb").arg("-x").arg(work.join(name)).arg(work.join("tree")))?;
    }
    fs::rename(work.join("tree"), directory)?;
    Ok(fs::remove_dir_all(&work)?)
}

/// The packages that hold parts of a kernel: its image (`linux-binary` in sid) and its modules are apart since 7.x.
const PARTS: &[&str] = &["linux-image-", "linux-binary-", "linux-modules-"];

/// Downloads the packages that the named one depends on, at most two steps away, and gives the files' names.
fn download(work: &Path, apt: &[String], package: &str) -> Result<Vec<String>> {
    let mut packages = vec![package.to_owned()];
    for _ in 0..2 {
        let depends = stdout_of(
            Command::new("apt-cache").args(apt).args(["depends", "--important"]).args(&packages),
        )?;
        let names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        packages.extend(
            names.filter(|name| PARTS.iter().any(|part| name.starts_with(part))).map(str::to_owned),
        );
    }
    packages.sort();
    packages.dedup();
    let mut get = Command::new("apt-get");
    get.args(apt)
        .args(["-qq", "-o", "APT::Sandbox::User=root", "download"])
        .args(&packages)
        .current_dir(work);
    succeed(&mut get)?;
    let entries =
        fs::read_dir(work)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(entries.filter(|name| name.ends_with(".deb")).collect())
}

/// Options that make apt see another suite at the place that this machine's own Debian sources name, and nothing else.
fn foreign_suite(work: &Path, suite: &str) -> Result<Vec<String>> {
    let state = work.join("apt");
    fs::create_dir_all(state.join("lists/partial"))?;
    fs::create_dir_all(state.join("cache/archives/partial"))?;
    let list = state.join("sources.list");
    fs::write(&list, machine::debian_source(suite)? + "\n")?;
    let state = state.display();
    let options = [
        format!("Dir::Etc::SourceList={}", list.display()),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        format!("Dir::State::Lists={state}/lists"),
        format!("Dir::Cache={state}/cache"),
        "APT::Sandbox::User=root".to_owned(),
        "Acquire::Languages=none".to_owned(),
    ];
    let options: Vec<String> =
        options.into_iter().flat_map(|option| ["-o".to_owned(), option]).collect();
    succeed(Command::new("apt-get").args(&options).args(["-qq", "update"]))?;
    Ok(options)
}

/// A module's bytes, decompressed; `None` when this kernel has it built in or not at all.
pub fn module(kernel: &Kernel, name: &str) -> Result<Option<Vec<u8>>> {
    let Some(path) = find(&kernel.modules, name)? else { return Ok(None) };
    if path.extension().is_some_and(|extension| extension == "xz") {
        machine::ensure("xz", "xz-utils")?;
        let output = Command::new("xz").arg("-dc").arg(&path).output()?;
        if !output.status.success() {
            bail!("xz -dc {}: {}", path.display(), output.status);
        }
        return Ok(Some(output.stdout));
    }
    Ok(Some(fs::read(&path)?))
}

fn find(directory: &Path, name: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            if let Some(found) = find(&entry.path(), name)? {
                return Ok(Some(found));
            }
        } else if entry
            .file_name()
            .to_str()
            .and_then(|file| file.split_once(".ko"))
            .is_some_and(|(n, _)| n == name)
        {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// The names after `depends=` in the module's .modinfo section.
pub fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value =
        module.iter().skip(at + KEY.len()).take_while(|byte| **byte != 0).copied().collect();
    let value = String::from_utf8(value).unwrap_or_default();
    value.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}
