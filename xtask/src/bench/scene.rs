//! Where the bench plays: a mount namespace with cgroup v2 alone, a root file system for all, state on a tmpfs, one cgroup.
//!
//! Runs in: any process.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use super::contender::{Contender, Kind};
use super::meter::{Meter, Request, Sample, User};
use crate::bundle::{Bundle, share_busybox};
use crate::machine;

const CGROUPS: &str = "/sys/fs/cgroup";

#[derive(Debug)]
pub struct Scene {
    pub directory: PathBuf,
    /// The name of the cgroup that is the parent of all containers' cgroups.
    name: String,
    /// What `corten spec` writes, with /bin/true and without a terminal.
    spec: Value,
    host: Option<Contender>,
    meter: Meter,
    user: Option<Meter>,
    pub floor: PathBuf,
}

impl Scene {
    /// Everything below `directory`, which somebody else removes.
    pub fn new(directory: &Path) -> Result<Self> {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
        machine::private_view().context("a mount namespace with cgroup v2")?;
        for name in ["bin", "bundles", "run", "test"] {
            fs::create_dir(directory.join(name))?;
        }
        let state = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("run"), &directory.join("run"), Some("tmpfs"), state, Some("mode=755"))?;
        share_busybox(directory)?;
        Bundle::new(directory.join("test/base"), "bench", &["/bin/true"])?;
        let meter = compile(directory, "meter", include_str!("meter.c"))?;
        let floor = compile(directory, "floor", include_str!("floor.c"))?;
        let meter = Meter::start(&meter, User::Root, directory.join("errors"), Path::new("/root"))?;
        let name = cgroup_name(directory)?;
        fs::create_dir(Path::new(CGROUPS).join(&name))?;
        let (directory, spec) = (directory.to_owned(), Value::Null);
        Ok(Self { directory, name, spec, host: None, meter, user: None, floor })
    }

    /// The default bundle, as the first corten writes it, which also makes the container that the floor's `exec` enters.
    pub fn take_spec(&mut self, contenders: &[Contender]) -> Result<()> {
        let corten = contenders.iter().find(|it| it.kind == Kind::Corten).context("no corten")?;
        self.host = Some(corten.clone());
        self.spec = self.written_spec("spec", &[])?;
        Ok(())
    }

    pub fn host(&self) -> Result<Contender> {
        self.host.clone().context("no corten")
    }

    /// `corten spec --rootless`, by uid 1000: with a user namespace, and with the network of the host.
    pub fn rootless_spec(&self) -> Result<Value> {
        let mut spec = self.written_spec("rootless", &["--rootless"])?;
        for name in ["uidMappings", "gidMappings"] {
            spec["linux"][name] = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
        }
        Ok(spec)
    }

    /// What `spec` writes with these flags.
    fn written_spec(&self, name: &str, flags: &[&str]) -> Result<Value> {
        let directory = self.directory.join("test").join(name);
        fs::create_dir_all(&directory)?;
        let config = directory.join("config.json");
        if !config.exists() {
            let mut command = Command::new(&self.host()?.program);
            machine::succeed(command.arg("spec").args(flags).arg("--bundle").arg(&directory))?;
        }
        let mut spec: Value = serde_json::from_slice(&fs::read(config)?)?;
        spec["process"]["terminal"] = json!(false);
        spec["process"]["args"] = json!(["/bin/true"]);
        // The newest version that crun 1.8 knows.
        spec["ociVersion"] = json!("1.0.2");
        spec["root"]["path"] = json!(self.rootfs());
        Ok(spec)
    }

    /// Starts the meter of an ordinary user.
    pub fn start_user(&mut self) -> Result<()> {
        if self.user.is_none() {
            let home = self.directory.join("home");
            fs::create_dir(&home)?;
            chown(&home, Some(1000), Some(1000))?;
            let program = self.directory.join("bin/meter");
            let errors = self.directory.join("user-errors");
            self.user = Some(Meter::start(&program, User::Ordinary, errors, &home)?);
        }
        Ok(())
    }

    pub fn spec(&self) -> Value {
        self.spec.clone()
    }

    pub fn rootfs(&self) -> PathBuf {
        self.directory.join("test/base/rootfs")
    }

    pub fn cgroup(&self) -> PathBuf {
        Path::new(CGROUPS).join(&self.name)
    }

    /// Writes a bundle with a cgroup of its own and gives its directory; bundles with one name follow each other.
    pub fn bundle(&self, contender: &Contender, name: &str, mut config: Value) -> Result<PathBuf> {
        let directory = self.directory.join("bundles").join(&contender.label).join(name);
        fs::create_dir_all(&directory)?;
        let path = format!("/{}/{}-{name}", self.name, contender.label);
        // An ordinary user has none.
        let is_rootless = !config["linux"]["uidMappings"].is_null();
        config["linux"]["cgroupsPath"] = if is_rootless { Value::Null } else { json!(path) };
        fs::write(directory.join("config.json"), format!("{config:#}\n"))?;
        Ok(directory)
    }

    /// The cgroup of the container of that bundle.
    pub fn cgroup_of(&self, contender: &Contender, name: &str) -> PathBuf {
        self.cgroup().join(format!("{}-{name}", contender.label))
    }

    /// A command line of the contender with its own state root.
    pub fn words(&self, contender: &Contender, words: &[&str]) -> Vec<String> {
        let root = self.directory.join("run").join(&contender.label);
        let mut line = vec![contender.program.display().to_string(), "--root".to_owned()];
        line.push(root.display().to_string());
        line.extend(words.iter().map(|word| (*word).to_owned()));
        line
    }

    pub fn pid_file(&self, contender: &Contender) -> PathBuf {
        self.directory.join("run").join(format!("{}.pid", contender.label))
    }

    pub fn measure(&mut self, user: User, request: &Request) -> Result<Sample> {
        match (user, &mut self.user) {
            (User::Ordinary, Some(meter)) => meter.measure(request),
            _ => self.meter.measure(request),
        }
    }

    /// Runs a command of a contender outside of any measurement.
    pub fn call(&mut self, contender: &Contender, words: &[&str]) -> Result<Sample> {
        let request = Request::of(vec![self.words(contender, words)]);
        self.meter.measure(&request)
    }

    /// After an error: ends and forgets what has no process of its own (a container that is prepared has one), as far as it can.
    pub fn force(&mut self, contender: &Contender) {
        let listed = Command::new(&contender.program)
            .arg("--root")
            .arg(self.directory.join("run").join(&contender.label))
            .args(["list", "--quiet"])
            .output();
        let Ok(listed) = listed else { return };
        for id in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
            let keeps = ["exec", "state", "sandbox", "list"].iter().any(|it| id.starts_with(it));
            if !keeps {
                self.call(contender, &["delete", "--force", id]).ok();
            }
        }
    }

    /// Ends all containers and forgets them.
    pub fn sweep(&self) -> Result<()> {
        empty(&self.cgroup());
        let run = self.directory.join("run");
        for entry in fs::read_dir(&run)? {
            let path = entry?.path();
            if path.is_dir() {
                fs::remove_dir_all(path)?;
            } else {
                fs::remove_file(path)?;
            }
        }
        let bundles = self.directory.join("bundles");
        fs::remove_dir_all(&bundles)?;
        Ok(fs::create_dir(&bundles)?)
    }
}

/// The name of the cgroup of the bench that plays in this directory.
fn cgroup_name(directory: &Path) -> Result<String> {
    let name = directory.file_name().and_then(|name| name.to_str());
    Ok(name.context("the scene has no name")?.to_owned())
}

/// Kills what is in a bench's cgroup and removes it, wherever this process sees cgroup v2. For who has survived the bench.
pub fn remove_cgroup(directory: &Path) -> Result<()> {
    for top in [CGROUPS, "/sys/fs/cgroup/unified"] {
        let cgroup = Path::new(top).join(cgroup_name(directory)?);
        if cgroup.join("cgroup.procs").exists() {
            empty(&cgroup);
            fs::remove_dir(&cgroup).with_context(|| cgroup.display().to_string())?;
        }
    }
    Ok(())
}

/// Kills all processes below and removes all cgroups below, which takes the kernel a moment.
fn empty(cgroup: &Path) {
    fs::write(cgroup.join("cgroup.kill"), "1").ok();
    for _ in 0..1000 {
        remove_below(cgroup);
        let is_left = fs::read_dir(cgroup).is_ok_and(|mut entries| {
            entries.any(|entry| entry.is_ok_and(|entry| entry.path().is_dir()))
        });
        if !is_left {
            return;
        }
        sleep(Duration::from_millis(5));
    }
}

fn remove_below(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path());
            fs::remove_dir(entry.path()).ok();
        }
    }
}

fn compile(directory: &Path, name: &str, source: &str) -> Result<PathBuf> {
    let compiler = machine::ensure("cc", "gcc")?;
    let file = directory.join(format!("{name}.c"));
    fs::write(&file, source)?;
    let program = directory.join("bin").join(name);
    machine::succeed(
        Command::new(compiler).args(["-O2", "-static", "-o"]).arg(&program).arg(&file),
    )?;
    Ok(program)
}
