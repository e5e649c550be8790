//! `cargo xtask demo`: from a clone to a real container, every command as one would type it.
//!
//! Runs in: any process.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::machine::{self, Profile, stdout_of};

/// What the container shows of itself.
const VISIBLE: &str =
    "echo \"hello from $(hostname)\"; echo; id; echo; ps; echo; mount | head -8; exit 7";

pub fn run() -> Result<()> {
    println!(
        "corten: an OCI container runtime. This shows one real container, and the life of a second.\n"
    );
    if !machine::is_root() {
        bail!(
            "the demo makes namespaces, mounts and cgroups, and needs root so far: run `sudo -E cargo xtask demo`"
        );
    }
    let busybox = machine::busybox()?;
    println!("building corten (cargo build --release) ...");
    let corten = machine::build(Profile::Release, &[])?;
    let size = fs::metadata(&corten)?.len();
    println!("{}: {:.2} MiB, static\n", corten.display(), bytes_to_mib(size));

    let demo =
        Demo { corten, directory: tempfile::Builder::new().prefix("corten-demo-").tempdir()? };
    demo.bundle(&busybox)?;
    let code = demo.show(&["run", "hello"])?;
    println!("[exit code {code}: that of the process]\n");
    demo.configure(json!(["sh", "-c", "echo the second one runs; sleep 1000"]))?;
    let shown = demo.lifecycle();
    // Whatever happened, nothing is left behind.
    demo.command(&["delete", "--force", "second"]).stdout(Stdio::null()).status()?;
    shown?;
    println!(
        "Nothing is left of either. Next: `cargo xtask test`, README.md, docs/architecture.md."
    );
    if code == 7 {
        Ok(())
    } else {
        bail!("`corten run` ended with {code}, not with its process's 7")
    }
}

/// The bundle's directory is the working directory of every command, as it would be of a person.
#[derive(Debug)]
struct Demo {
    corten: PathBuf,
    directory: tempfile::TempDir,
}

impl Demo {
    fn bundle(&self, busybox: &Path) -> Result<()> {
        let bundle = self.directory.path();
        typed(&format!("mkdir -p {0}/rootfs/bin && cd {0}", bundle.display()));
        fs::create_dir_all(bundle.join("rootfs/bin"))?;
        typed(&format!(
            "cp {} rootfs/bin/ && chroot rootfs /bin/busybox --install -s /bin",
            busybox.display()
        ));
        fs::copy(busybox, bundle.join("rootfs/bin/busybox"))?;
        for applet in stdout_of(Command::new(busybox).arg("--list"))?
            .lines()
            .filter(|name| *name != "busybox")
        {
            symlink("busybox", bundle.join("rootfs/bin").join(applet))?;
        }
        self.must(&["spec"])?;
        self.configure(json!(["sh", "-c", VISIBLE]))
    }

    /// What one would do with an editor.
    fn configure(&self, arguments: Value) -> Result<()> {
        let path = self.directory.path().join("config.json");
        let mut config: Value =
            serde_json::from_slice(&fs::read(&path)?).context("what `corten spec` wrote")?;
        println!("# edit config.json: process.terminal = false, process.args = {arguments}");
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = arguments;
        Ok(fs::write(path, format!("{config:#}\n"))?)
    }

    fn lifecycle(&self) -> Result<()> {
        self.must(&["create", "second"])?;
        self.must(&["state", "second"])?;
        self.must(&["list"])?;
        self.must(&["start", "second"])?;
        self.must(&["list"])?;
        self.must(&["kill", "second", "KILL"])?;
        self.wait_until_stopped()?;
        self.must(&["delete", "second"])?;
        self.must(&["list"])
    }

    /// kill(2) returns before the process has ended.
    fn wait_until_stopped(&self) -> Result<()> {
        for _ in 0..500 {
            let state: Value =
                serde_json::from_str(&stdout_of(&mut self.command(&["state", "second"]))?)?;
            if state["status"] == "stopped" {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        bail!("the container did not stop after SIGKILL")
    }

    fn must(&self, arguments: &[&str]) -> Result<()> {
        match self.show(arguments)? {
            0 => Ok(()),
            code => bail!("`corten {}` ended with exit code {code}", arguments.join(" ")),
        }
    }

    /// Prints the command, runs it, prints its output, and gives its exit code.
    fn show(&self, arguments: &[&str]) -> Result<i32> {
        typed(&format!("corten {}", arguments.join(" ")));
        let status = self.command(arguments).stdin(Stdio::null()).status()?;
        let code =
            status.code().with_context(|| format!("corten {}: {status}", arguments.join(" ")))?;
        println!();
        Ok(code)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.corten);
        command.arg("--root").arg(self.directory.path().join("state")).args(arguments);
        command.current_dir(self.directory.path());
        command
    }
}

fn typed(line: &str) {
    println!("# {line}");
    // Our line comes before the command's own output.
    std::io::stdout().flush().ok();
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn bytes_to_mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}
