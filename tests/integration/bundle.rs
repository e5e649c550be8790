//! Bundles: a busybox root file system and a configuration like that of `runc spec`, with edits.
//!
//! Runs in: any process.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Where Debian's busybox-static and the VM have it.
pub const BUSYBOX: &str = "/bin/busybox";

const APPLETS: &str = "[ awk basename cat chmod chown chroot cp cut date dd df dirname dmesg echo env expr \
    false find free getopt grep head hostname id ifconfig ip kill ln ls md5sum mkdir mkfifo \
    mknod mktemp mount mountpoint mv nc nice nproc od printf ps pwd readlink realpath renice \
    rm rmdir sed seq setsid sh sha256sum sleep sort stat stty sync tail tee test time \
    timeout top touch tr true tty umount uname uniq unshare uptime usleep wc wget which \
    whoami xargs yes";

/// A bundle directory of one test; `rootfs` is its own and may be written.
#[derive(Debug)]
pub struct Bundle {
    directory: PathBuf,
    config: Value,
    /// Whose its files are: uid and gid of the container's root on the host.
    owner: (u32, u32),
}

impl Bundle {
    /// Makes `directory` with `rootfs` and a `config.json` that runs `arguments`.
    pub fn new(directory: PathBuf, marker: &str, arguments: &[&str]) -> io::Result<Self> {
        make_rootfs(&directory.join("rootfs"))?;
        let made = fs::metadata(&directory)?;
        let owner = (made.uid(), made.gid());
        let mut bundle = Self { directory, config: config(marker, arguments), owner };
        bundle.write()?;
        Ok(bundle)
    }

    /// Changes the configuration and writes it.
    pub fn edit(&mut self, change: impl FnOnce(&mut Value)) -> io::Result<()> {
        change(&mut self.config);
        self.write()
    }

    /// Writes text in place of the configuration, whatever it is.
    pub fn write_text(&self, text: &[u8]) -> io::Result<()> {
        fs::write(self.config_path(), text)
    }

    fn write(&mut self) -> io::Result<()> {
        let made = fs::metadata(&self.directory)?;
        let root = |kind, caller| root_on_host(&self.config, kind, caller);
        let owner = (root("uid", made.uid()), root("gid", made.gid()));
        let before = std::mem::replace(&mut self.owner, owner);
        if before != owner {
            give(&self.directory.join("rootfs"), before, owner)?;
        }
        self.write_text(format!("{:#}\n", self.config).as_bytes())
    }

    pub fn config(&self) -> &Value {
        &self.config
    }

    pub fn config_path(&self) -> PathBuf {
        self.directory.join("config.json")
    }

    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// A path inside the root file system, as the host sees it: `in_rootfs("etc/passwd")`.
    pub fn in_rootfs(&self, path: &str) -> PathBuf {
        self.directory.join("rootfs").join(path.trim_start_matches('/'))
    }

    /// Writes an executable shell script into the root file system.
    pub fn script(&self, path: &str, text: &str) -> io::Result<()> {
        let path = self.in_rootfs(path);
        fs::write(&path, format!("#!/bin/sh\n{text}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
    }
}

/// The new user namespace with these ids, as `uidMappings` and `gidMappings` have them: first inside, first outside, count.
pub fn map(config: &mut Value, uids: &[[u32; 3]], gids: &[[u32; 3]]) {
    remove(config, "/linux/namespaces", "type", "user");
    add(config, "/linux/namespaces", json!({ "type": "user" }));
    for (name, ranges) in [("uidMappings", uids), ("gidMappings", gids)] {
        let range = |range: &[u32; 3]| json!({ "containerID": range[0], "hostID": range[1], "size": range[2] });
        config["linux"][name] = ranges.iter().map(range).collect();
    }
}

/// What id 0 of the container is on the host, or the first that it has; the caller's without a user namespace of its own.
fn root_on_host(config: &Value, kind: &str, caller: u32) -> u32 {
    let maps = config["linux"][format!("{kind}Mappings")].as_array();
    let maps = maps.map(Vec::as_slice).unwrap_or_default();
    let map = maps.iter().find(|map| map["containerID"] == 0).or(maps.first());
    let id = map.and_then(|map| map["hostID"].as_u64()).and_then(|id| u32::try_from(id).ok());
    id.unwrap_or(caller)
}

/// Gives all files to another root and its users, as `chown -R` by an offset. What nobody can own stays as it is.
fn give(path: &Path, before: (u32, u32), after: (u32, u32)) -> io::Result<()> {
    let status = fs::symlink_metadata(path)?;
    // Whoever's it is: the host's null device must never get another owner.
    if status.file_type().is_char_device() {
        return Ok(());
    }
    let shifted = |id: u32, before: u32, after: u32| {
        id.checked_sub(before).and_then(|offset| after.checked_add(offset))
    };
    let uid = shifted(status.uid(), before.0, after.0);
    lchown(path, uid, shifted(status.gid(), before.1, after.1))?;
    // chown(2) takes the set-user-ID bits away; links have none.
    if !status.is_symlink() {
        fs::set_permissions(path, status.permissions())?;
    }
    if status.is_dir() {
        for entry in fs::read_dir(path)? {
            let inner = entry?.path();
            // What a test has mounted there is not the bundle's: the host's /dev, for one.
            if fs::symlink_metadata(&inner)?.dev() == status.dev() {
                give(&inner, before, after)?;
            }
        }
    }
    Ok(())
}

/// Appends to the array at `pointer`, which is made when absent: `add(config, "/mounts", json!({...}))`.
pub fn add(config: &mut Value, pointer: &str, item: Value) {
    let mut place = config;
    for name in pointer.split('/').skip(1) {
        place = &mut place[name];
    }
    match place {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}

/// Removes the entries of an array of objects whose `key` is `value`: `remove(config, "/mounts", "type", "cgroup")`.
pub fn remove(config: &mut Value, pointer: &str, key: &str, value: &str) {
    if let Some(Value::Array(items)) = config.pointer_mut(pointer) {
        items.retain(|item| item[key] != value);
    }
}

fn make_rootfs(rootfs: &Path) -> io::Result<()> {
    for directory in
        ["bin", "dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "usr/bin", "var"]
    {
        fs::create_dir_all(rootfs.join(directory))?;
    }
    fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::write(
        rootfs.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n",
    )?;
    fs::write(rootfs.join("etc/group"), "root:x:0:\nuser:x:1000:\n")?;
    let run = rootfs.ancestors().nth(3).ok_or(io::ErrorKind::InvalidInput)?;
    fs::hard_link(run.join("busybox"), rootfs.join("bin/busybox"))?;
    let mut applets = APPLETS.split_whitespace();
    applets.try_for_each(|applet| symlink("busybox", rootfs.join("bin").join(applet)))
}

/// Copies busybox. By another process: what this one has open for writing, others of its threads hand on to the children
/// that they start at that moment, and then nobody can execute it (ETXTBSY).
pub fn copy_busybox(to: &Path) -> io::Result<()> {
    let copied = std::process::Command::new("cp").arg(BUSYBOX).arg(to).status()?;
    if copied.success() { Ok(()) } else { Err(io::Error::other(format!("cp: {copied}"))) }
}

/// Copies busybox to the run's directory once, so that each root file system only links to it.
pub fn share_busybox(run: &Path) -> io::Result<()> {
    let shared = run.join("busybox");
    copy_busybox(&shared)?;
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o755))
}

/// What `runc spec` writes, without a terminal and with a writable root; the marker is in `env`.
fn config(marker: &str, arguments: &[&str]) -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": arguments,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm",
                    format!("CORTEN_TEST={marker}")],
            "cwd": "/",
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": false },
        "hostname": "corten",
        "mounts": mounts(),
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [{ "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" },
                           { "type": "mount" }, { "type": "cgroup" }],
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                            "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
                            "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

fn mounts() -> Value {
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
          "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
        { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
          "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
        { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
          "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
        { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
          "options": ["nosuid", "noexec", "nodev"] },
        { "destination": "/sys", "type": "sysfs", "source": "sysfs",
          "options": ["nosuid", "noexec", "nodev", "ro"] },
        { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
          "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }
    ])
}
