//! Whether the last commit gives one and the same release, wherever and by whomever it is built.
//!
//! Two exports of it, at places of other names and lengths, each with a `target` and a `CARGO_HOME` of its own; and all that a
//! shell may have set differently. Compiler, C library and packer are this machine's in both.
//!
//! Runs in: any process.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::release::{self, Release};
use super::{build, fresh};
use crate::machine::{self, stdout_of, succeed};

/// A place and the environment there.
struct Try {
    place: &'static str,
    umask: &'static str,
    environment: [(&'static str, &'static str); 3],
}

const TRIES: [Try; 2] = [
    Try {
        place: "one",
        umask: "022",
        environment: [("TZ", "UTC"), ("LC_ALL", "C"), ("RUSTFLAGS", "")],
    },
    Try {
        place: "another/with a space/and-a-longer-name",
        umask: "077",
        environment: [
            ("TZ", "Asia/Kathmandu"),
            ("LC_ALL", "C.UTF-8"),
            ("RUSTFLAGS", "-Cdebuginfo=2"),
        ],
    },
];

pub fn run(out: &Path) -> Result<()> {
    let release = Release::of(&machine::workspace()?)?;
    // More may lie around here than is committed, and there may be other commits before this is done.
    let commit = release::git(&release.source, &["rev-parse", "HEAD"])?;
    fs::create_dir_all(out)?;
    let work = tempfile::Builder::new().prefix("check-").tempdir_in(out)?;
    let made = TRIES.iter().map(|it| make(&release, &commit, it, &work.path().join(it.place)));
    let [one, other] =
        made.collect::<Result<Vec<_>>>()?.try_into().map_err(|_| anyhow::anyhow!("two"))?;
    print!("{one}");
    if one != other {
        let kept = work.keep();
        bail!("not the same, see {}:\n{other}", kept.display());
    }
    println!("the same twice: commit {commit}, SOURCE_DATE_EPOCH {}", release.epoch);
    Ok(())
}

/// One release of the last commit; tells the hashes of what it consists of, and of the program and init's image.
fn make(release: &Release, commit: &str, it: &Try, place: &Path) -> Result<String> {
    let (source, out, home) = (place.join("source"), place.join("out"), place.join("cargo"));
    fresh(&source)?;
    export(release, commit, &source)?;
    second_home(&home)?;
    let script = format!("umask {} && exec \"$@\"", it.umask);
    let mut dist = Command::new("sh");
    dist.args(["-c", &script, "sh"]).arg(std::env::current_exe()?).arg("dist");
    dist.arg("--source").arg(&source).arg("--out").arg(&out);
    dist.env("CARGO_HOME", &home).envs(it.environment).stdout(Stdio::null());
    dist.env("CORTEN_COMMIT", commit).env("SOURCE_DATE_EPOCH", release.epoch.to_string());
    succeed(&mut dist)?;
    let program = out.join("build").join(&release.target).join("release");
    let sums = fs::read_to_string(out.join("SHA256SUMS"))?;
    let more = [sum(&program.join("corten"), "corten")?, sum(&image(&program)?, "init.image")?];
    Ok(sums + &more.concat())
}

fn export(release: &Release, commit: &str, to: &Path) -> Result<()> {
    let script = "set -o pipefail; git -C \"$1\" archive \"$2\" | tar -x -C \"$3\"";
    let mut bash = Command::new("bash");
    bash.args(["-c", script, "bash"]).arg(&release.source).arg(commit).arg(to);
    succeed(&mut bash)
}

/// A `CARGO_HOME` that shares with the usual one what was downloaded and how; crates are unpacked anew in it.
fn second_home(home: &Path) -> Result<()> {
    let usual = build::home()?;
    fs::create_dir_all(home.join("registry"))?;
    for shared in ["config.toml", "config", "registry/index", "registry/cache"] {
        if usual.join(shared).exists() {
            symlink(usual.join(shared), home.join(shared))?;
        }
    }
    Ok(())
}

fn image(release: &Path) -> Result<PathBuf> {
    let mut find = Command::new("find");
    find.arg(release).args(["-path", "*/libcontainer-*/out/init.image"]);
    let found = stdout_of(&mut find)?;
    Ok(PathBuf::from(found.lines().next().context("the build has no init.image")?))
}

fn sum(file: &Path, name: &str) -> Result<String> {
    let said = stdout_of(Command::new("sha256sum").arg(file))?;
    let hash = said.trim_start_matches('\\').split(' ').next().unwrap_or_default();
    Ok(format!("{hash}  {name} ({} bytes)\n", fs::metadata(file)?.len()))
}
