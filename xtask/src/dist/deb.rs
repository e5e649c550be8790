//! Debian's package: `apt install ./corten_VERSION_MACHINE.deb`. Its texts are in packaging/debian.
//!
//! Runs in: any process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::release::Release;
use super::tree::Tree;
use super::{foreign, fresh, set_times};
use crate::machine::{self, stdout_of, succeed};

/// What dpkg runs.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
/// Of these Debian wants the compressed form (Policy 12.3, 12.7); documents only from 4 KiB on.
const COMPRESSED: [&str; 2] = ["usr/share/man", "usr/share/doc/corten"];
const PLAIN: usize = 4096;

pub fn write(release: &Release, mut tree: Tree, out: &Path) -> Result<PathBuf> {
    own(release, &mut tree)?;
    tree.0.iter_mut().try_for_each(compress)?;
    let stage = out.join("stage/debian");
    fresh(&stage)?;
    tree.write(&stage)?;
    let meta = meta(release, &tree, &stage)?;
    meta.write(&stage.join("DEBIAN"))?;
    set_times(&stage, release)?;
    let machine = release.debian_machine()?;
    let path = out.join(format!("corten_{}_{machine}.deb", release.debian_version()));
    let mut dpkg = Command::new("dpkg-deb");
    // Ubuntu's dpkg has another default than Debian's.
    dpkg.args(["--root-owner-group", "-Zxz", "--build"]).arg(&stage).arg(&path);
    dpkg.env("SOURCE_DATE_EPOCH", release.epoch.to_string()).stdout(Stdio::null());
    succeed(&mut dpkg).context("Debian's package needs Debian's dpkg-deb")?;
    Ok(path)
}

/// Errors of Debian's own checks are errors; the rest is shown.
pub fn lint(package: &Path) -> Result<()> {
    let Some(lintian) = machine::find("lintian") else {
        eprintln!("lintian is not installed: {} is not checked by it", package.display());
        return Ok(());
    };
    // As root it says that it had better not be.
    let options = ["--fail-on", "error", "--allow-root", "--tag-display-limit", "0"];
    succeed(Command::new(lintian).args(options).arg(package))
}

/// What is in this package alone.
fn own(release: &Release, tree: &mut Tree) -> Result<()> {
    let documents = Path::new("usr/share/doc/corten");
    tree.add(documents.join("copyright"), 0o644, text(release, "copyright")?.into());
    tree.add(documents.join("changelog.Debian.gz"), 0o644, zipped(changelog(release)?.as_bytes())?);
    let changes = fs::read(release.source.join("CHANGELOG.md")).context("CHANGELOG.md")?;
    tree.add(documents.join("changelog.gz"), 0o644, zipped(&changes)?);
    let overrides = text(release, "lintian-overrides")?;
    tree.add("usr/share/lintian/overrides/corten", 0o644, overrides.into());
    Ok(())
}

fn text(release: &Release, name: &str) -> Result<String> {
    let path = release.source.join("packaging/debian").join(name);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

fn changelog(release: &Release) -> Result<String> {
    let maintainer = text(release, "control")?;
    let maintainer = maintainer.lines().find_map(|line| line.strip_prefix("Maintainer: "));
    Ok(format!(
        "corten ({}) unstable; urgency=medium\n\n  * What has changed is in changelog.gz beside this file.\n  * Commit {}.\n\n -- {}  {}\n",
        release.debian_version(),
        release.commit,
        maintainer.context("packaging/debian/control names no maintainer")?,
        release.date("+%a, %d %b %Y %H:%M:%S +0000")?,
    ))
}

/// control, md5sums, conffiles and scripts.
fn meta(release: &Release, tree: &Tree, stage: &Path) -> Result<Tree> {
    let mut meta = Tree::default();
    meta.add("control", 0o644, control(release, tree)?.into());
    let files = tree.0.iter().map(|file| file.path.as_path());
    let (conffiles, others): (Vec<&Path>, Vec<&Path>) =
        files.partition(|path| path.starts_with("etc"));
    let lines = conffiles.iter().map(|path| format!("/{}\n", path.display()));
    meta.add("conffiles", 0o644, lines.collect::<String>().into());
    let mut sums = Command::new("md5sum");
    sums.current_dir(stage).args(others);
    meta.add("md5sums", 0o644, stdout_of(&mut sums)?.into());
    for script in SCRIPTS {
        meta.add(script, 0o755, text(release, script)?.into());
    }
    Ok(meta)
}

fn control(release: &Release, tree: &Tree) -> Result<String> {
    // In KiB, each file rounded up (deb-substvars(5)).
    let size: usize = tree.0.iter().map(|file| file.content.len().div_ceil(1024)).sum();
    let built_using = foreign::built_using()?.map(|what| format!("Built-Using: {what}\n"));
    Ok(text(release, "control")?
        .replace("@VERSION@", &release.debian_version())
        .replace("@ARCHITECTURE@", release.debian_machine()?)
        .replace("@INSTALLED_SIZE@", &size.to_string())
        .replace("@BUILT_USING@\n", &built_using.unwrap_or_default()))
}

fn compress(file: &mut super::tree::File) -> Result<()> {
    let is_page = file.path.starts_with(COMPRESSED[0]);
    let is_document = file.path.parent() == Some(Path::new(COMPRESSED[1]));
    let name = file.path.to_str().context("not UTF-8")?;
    let never = name.ends_with(".gz") || name.ends_with("/copyright");
    if never || !(is_page || is_document && file.content.len() > PLAIN) {
        return Ok(());
    }
    file.path = format!("{name}.gz").into();
    file.content = zipped(&file.content)?;
    Ok(())
}

fn zipped(content: &[u8]) -> Result<Vec<u8>> {
    let mut plain = tempfile::NamedTempFile::new()?;
    std::io::Write::write_all(&mut plain, content)?;
    let mut gzip = Command::new("gzip");
    gzip.args(["--best", "--no-name", "--stdout"]).stdin(plain.reopen()?).env_remove("GZIP");
    let output = gzip.stderr(Stdio::inherit()).output().context("gzip")?;
    anyhow::ensure!(output.status.success(), "gzip: {}", output.status);
    Ok(output.stdout)
}
