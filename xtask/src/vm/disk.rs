//! The disk of `--systemd`: a small Debian with systemd and D-Bus, made once from Debian's packages.
//!
//! Runs in: any process.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::kernel::Kernel;
use crate::machine::{self, succeed};

/// Its kernel, unless another is asked for.
pub const KERNEL: &str = "linux-image-cloud-amd64/trixie";
/// Where the initramfs has what its init copies to the disk.
pub const PLACE: &str = "/vm/disk";

const SUITE: &str = "trixie";
const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "dbus",
    "dbus-user-session",
    "libpam-systemd",
    "uidmap",
    "kmod",
    "procps",
    "busybox-static",
    "bpftool",
];
/// Needs no network, no clock, no login: what only makes the boot longer.
const MASKED: &[&str] = &[
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@.service",
    "ldconfig.service",
    "modprobe@.service",
    "serial-getty@.service",
    "systemd-binfmt.service",
    "systemd-boot-update.service",
    "systemd-firstboot.service",
    "systemd-hibernate-clear.service",
    "systemd-journal-catalog-update.service",
    "systemd-journal-flush.service",
    "systemd-machine-id-commit.service",
    "systemd-networkd.service",
    "systemd-pcrphase.service",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-timesyncd.service",
    "systemd-tpm2-setup-early.service",
    "systemd-tpm2-setup.service",
    "systemd-update-utmp.service",
    // What a run copies to the disk may be below /tmp.
    "tmp.mount",
];
const SERVE: &str = include_str!("serve.sh");
/// The command's place is a cgroup of its own, which is delegated: what it makes below is nobody else's.
const SERVICE: &str = "[Unit]\nDescription=The command of cargo xtask vm\n\
    After=basic.target dbus.socket systemd-logind.service systemd-user-sessions.service\nWants=systemd-logind.service\n\
    [Service]\nType=exec\nExecStart=/bin/sh /vm/serve\nDelegate=yes\nKillMode=process\nTasksMax=infinity\n\
    LimitNOFILE=1048576\nOOMPolicy=continue\n";
/// The user `lab` (uid 1000) is for rootless tests: its manager has all controllers and runs from the boot on.
const FILES: &[(&str, &str)] = &[
    ("vm/serve", SERVE),
    ("etc/systemd/system/corten-vm.service", SERVICE),
    (
        "etc/systemd/journald.conf.d/vm.conf",
        "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n",
    ),
    (
        "etc/systemd/system.conf.d/vm.conf",
        "[Manager]\nDefaultTimeoutStopSec=5s\nDefaultTasksMax=infinity\n",
    ),
    (
        "etc/systemd/system/user@.service.d/vm.conf",
        "[Service]\nDelegate=cpu cpuset io memory pids\n",
    ),
    ("etc/fstab", ""),
    ("etc/hostname", "corten-vm\n"),
    ("etc/hosts", "127.0.0.1 localhost corten-vm\n"),
    ("etc/resolv.conf", ""),
];
const HOOK: &str = "chroot \"$1\" sh -ec 'passwd -d root > /dev/null; useradd -m -u 1000 -s /bin/bash lab; \
    grep -q ^lab: /etc/subuid || { echo lab:100000:65536 >> /etc/subuid; echo lab:100000:65536 >> /etc/subgid; }; \
    systemctl set-default multi-user.target 2> /dev/null; rm -f /etc/resolv.conf'";

/// The image with these packages, `NAME` or `NAME/SUITE`, beside the usual ones; made when it is missing or older than this program's list.
pub fn image(kernel: &Kernel, packages: &[String]) -> Result<PathBuf> {
    let mut names = packages.to_vec();
    names.sort();
    names.dedup();
    let name = names.iter().fold(format!("systemd-{:08x}", recipe()), |name, p| name + "+" + p);
    let name = name.replace('/', "@");
    let image = kernel.directory.join(format!("{name}.img"));
    if !image.exists() {
        make(kernel, &names, &image).with_context(|| format!("make {}", image.display()))?;
    }
    Ok(image)
}

/// Another recipe is another image (FNV-1a over all that is written here).
fn recipe() -> u32 {
    let parts = [PACKAGES, MASKED, &[HOOK, SUITE]].concat();
    let files = FILES.iter().flat_map(|(path, content)| [*path, *content]);
    let bytes = parts.into_iter().chain(files).flat_map(str::bytes);
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn make(kernel: &Kernel, packages: &[String], image: &Path) -> Result<()> {
    if !machine::is_root() {
        bail!("a root file system of Debian's packages is made as root");
    }
    eprintln!("vm: making a Debian with systemd {} (once, a minute)", packages.join(" "));
    let work = tempfile::Builder::new().prefix("disk-").tempdir_in(&kernel.directory)?;
    let root = work.path().join("root");
    bootstrap(&root, packages)?;
    for (path, content) in FILES {
        write(&root.join(path), content)?;
    }
    for unit in MASKED {
        let link = root.join("etc/systemd/system").join(unit);
        if fs::symlink_metadata(&link).is_err() {
            symlink("/dev/null", &link)?;
        }
    }
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants)?;
    symlink("/etc/systemd/system/corten-vm.service", wants.join("corten-vm.service"))?;
    write(&root.join("var/lib/systemd/linger/lab"), "")?;
    write(&root.join("etc/machine-id"), "c0f7e0c0f7e0c0f7e0c0f7e0c0f7e0c0\n")?;
    add_modules(kernel, &root)?;
    format(&root, image)
}

fn bootstrap(root: &Path, packages: &[String]) -> Result<()> {
    // One busybox: Debian's two exclude each other.
    let ours = |name: &&str| *name != "busybox-static" || !packages.iter().any(|p| p == "busybox");
    let mut include: Vec<&str> = PACKAGES.iter().copied().filter(ours).collect();
    include.extend(packages.iter().map(String::as_str));
    let program = machine::ensure("mmdebstrap", "mmdebstrap")?;
    let mut command = Command::new(program);
    command.args(["--quiet", "--variant=minbase", "--mode=root", "--skip=check/qemu"]);
    command.arg("--aptopt=APT::Install-Recommends \"false\"");
    command.arg("--aptopt=Acquire::Languages \"none\"");
    if !machine::apt_checks_expiry()? {
        command.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
    }
    for unread in ["man", "doc", "locale", "info"] {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{unread}/*"));
    }
    command.arg(format!("--include={}", include.join(",")));
    command.arg(format!("--customize-hook={HOOK}"));
    command.arg(SUITE).arg(root).arg(machine::debian_source(SUITE)?);
    let suites: BTreeSet<&str> =
        include.iter().filter_map(|name| Some(name.split_once('/')?.1)).collect();
    for suite in suites {
        command.arg(machine::debian_source(suite)?);
    }
    // Of another suite comes what is asked for by name, and what that cannot do without.
    command.arg(format!("--aptopt=APT::Default-Release \"{SUITE}\""));
    succeed(command.stdin(Stdio::null()).stdout(Stdio::null()).env_remove("SOURCE_DATE_EPOCH"))
}

/// All modules of the kernel that will be booted, for modprobe.
fn add_modules(kernel: &Kernel, root: &Path) -> Result<()> {
    let version = kernel.modules.parent().context("modules have no version")?;
    let name = version.file_name().context("modules have no version")?;
    let to = root.join("usr/lib/modules");
    fs::create_dir_all(&to)?;
    succeed(Command::new("cp").arg("-a").arg(version).arg(&to))?;
    succeed(Command::new("chroot").arg(root).arg("depmod").arg(name))
}

fn format(root: &Path, image: &Path) -> Result<()> {
    let program = machine::ensure("mke2fs", "e2fsprogs")?;
    let part = image.with_extension("part");
    if part.exists() {
        fs::remove_file(&part)?;
    }
    fs::OpenOptions::new().write(true).create_new(true).open(&part)?.set_len(8 << 30)?;
    let mut command = Command::new(program);
    command.args(["-q", "-t", "ext4", "-O", "^has_journal", "-m", "0"]);
    command.args(["-E", "lazy_itable_init=1,lazy_journal_init=1", "-d"]).arg(root).arg(&part);
    succeed(&mut command)?;
    Ok(fs::rename(&part, image)?)
}

fn write(path: &Path, content: &str) -> Result<()> {
    fs::create_dir_all(path.parent().context("a file has a directory")?)?;
    // A package may have put a link there, to a file of this machine if it were followed.
    if fs::symlink_metadata(path).is_ok() {
        fs::remove_file(path)?;
    }
    fs::write(path, content).with_context(|| format!("{}", path.display()))
}
