//! The VM's root file system: a base (busybox, modules) that is cached, and what one run adds to it.
//!
//! Runs in: any process.

use std::fs::{self, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Extra;
use super::cpio::Archive;
use super::kernel::{self, Kernel};
use crate::machine::{self, stdout_of};

const INIT: &str = include_str!("init.sh");
/// Where init finds the run's script.
const COMMAND: &str = "/vm/command";

/// What init loads at once, and for --share; modules they depend on are found by themselves.
const BOOT: &[&str] = &["virtio_pci", "virtio_console"];
const SHARE: &[&str] = &["virtiofs"];
/// For --systemd.
const DISK: &[&str] = &["virtio_blk", "ext4"];
/// What tests may need; init loads them too, so that nothing in the VM depends on modprobe.
const TESTS: &[&str] = &["overlay", "dummy", "veth", "tun", "loop"];

const DIRECTORIES: &[&str] = &[
    "dev", "etc", "home", "host", "lib", "mnt", "opt", "proc", "root", "run", "sys", "tmp",
    "usr/bin", "usr/sbin", "var/tmp",
];

/// The archive of what is the same in every run; made when it is missing or older than this program.
pub fn base(kernel: &Kernel) -> Result<PathBuf> {
    let path = kernel.directory.join("base.cpio");
    let newer = |path: &Path| -> Result<bool> {
        Ok(fs::metadata(path)?.modified()? > fs::metadata(std::env::current_exe()?)?.modified()?)
    };
    if path.exists() && newer(&path)? {
        return Ok(path);
    }
    let part = path.with_extension("part");
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&part)?;
    let mut archive = Archive::new(BufWriter::new(file));
    for directory in DIRECTORIES {
        archive.directory(Path::new(directory))?;
    }
    add_busybox(&mut archive)?;
    add_modules(&mut archive, kernel)?;
    archive.file(Path::new("/init"), 0o755, INIT.as_bytes())?;
    archive.file(
        Path::new("/etc/passwd"),
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    )?;
    archive.file(Path::new("/etc/group"), 0o644, b"root:x:0:\nnogroup:x:65534:\n")?;
    archive.finish()?.flush()?;
    fs::rename(&part, &path)?;
    Ok(path)
}

fn add_busybox<W: Write>(archive: &mut Archive<W>) -> Result<()> {
    let busybox = machine::busybox()?;
    archive.file(Path::new("/bin/busybox"), 0o755, &fs::read(&busybox)?)?;
    for applet in stdout_of(Command::new(&busybox).arg("--list"))?
        .lines()
        .filter(|applet| *applet != "busybox")
    {
        archive.link(&Path::new("/bin").join(applet), "busybox")?;
    }
    Ok(())
}

/// Puts each module after those that it depends on, in numbered files: init loads them in the order of their names.
fn add_modules<W: Write>(archive: &mut Archive<W>, kernel: &Kernel) -> Result<()> {
    for (stage, names) in [("boot", BOOT), ("disk", DISK), ("share", SHARE), ("tests", TESTS)] {
        let mut loaded = Vec::new();
        for name in names {
            add_module(archive, kernel, stage, name, &mut loaded)?;
        }
    }
    Ok(())
}

fn add_module<W: Write>(
    archive: &mut Archive<W>,
    kernel: &Kernel,
    stage: &str,
    name: &str,
    loaded: &mut Vec<String>,
) -> Result<()> {
    if loaded.iter().any(|known| known == name) {
        return Ok(());
    }
    let Some(bytes) = kernel::module(kernel, name)? else { return Ok(()) };
    for needed in kernel::depends(&bytes) {
        add_module(archive, kernel, stage, &needed, loaded)?;
    }
    let path = format!("/vm/modules/{stage}/{:02}-{name}.ko", loaded.len());
    loaded.push(name.to_owned());
    Ok(archive.file(Path::new(&path), 0o644, &bytes)?)
}

/// Writes the base, then an archive with the run's files and its script, all of them below `place`: the kernel unpacks one
/// after the other.
pub fn with_extra(base: &Path, to: &Path, place: &str, extra: &Extra, script: &str) -> Result<()> {
    let below = |path: &Path| Path::new(place).join(path.strip_prefix("/").unwrap_or(path));
    fs::copy(base, to)?;
    let file = OpenOptions::new().append(true).open(to)?;
    let mut archive = Archive::new(BufWriter::new(file));
    for (from, path) in extra {
        let content = fs::read(from).with_context(|| format!("{}", from.display()))?;
        archive.file(&below(path), fs::metadata(from)?.permissions().mode() & 0o777, &content)?;
    }
    archive.file(&below(Path::new(COMMAND)), 0o755, script.as_bytes())?;
    archive.finish()?.flush()?;
    Ok(())
}

/// A program under its own name in /usr/bin, and the shared libraries that ldd names, each where it is here.
pub fn with_libraries(program: &Path) -> Result<Extra> {
    let found = if program.components().count() > 1 {
        fs::canonicalize(program).with_context(|| format!("{}", program.display()))?
    } else {
        let name = program.to_str().context("not UTF-8")?;
        machine::find(name).with_context(|| format!("{name} is not in PATH"))?
    };
    let name = program.file_name().context("a program needs a name")?;
    let mut files = vec![(found.clone(), Path::new("/usr/bin").join(name))];
    let listed = Command::new("ldd").arg(&found).output()?;
    // ldd fails on a static program: it has none.
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let libraries =
        listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    files.extend(libraries.filter(|path| path.is_file()).map(|path| (path.clone(), path)));
    Ok(files)
}

/// All files below a directory, each at the path that it has here.
pub fn tree(directory: &Path) -> Result<Extra> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("{}", directory.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(tree(&entry.path())?);
        } else {
            files.push((entry.path(), entry.path()));
        }
    }
    Ok(files)
}
