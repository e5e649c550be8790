//! The bundles of engines, as the tests have captured them (`tests/configs`), made to run here.
//!
//! Runs in: any process.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::scene::Scene;
use crate::bundle::BUSYBOX;
use crate::machine;

/// What `docker run` writes. Its hook, a program of Docker's, becomes one that reads its standard input.
pub fn docker(scene: &Scene) -> Result<Value> {
    let mut config = captured(scene, "docker-default.json")?;
    config["hooks"]["prestart"] = json!([{ "path": BUSYBOX, "args": ["cat"] }]);
    Ok(config)
}

/// What containerd's CRI writes for a container of a pod, filled up to `mounts` mounts with volumes and files; it joins the
/// namespaces of the process `sandbox`.
pub fn pod(scene: &Scene, sandbox: &str, mounts: usize) -> Result<Value> {
    let mut config = captured(scene, "cri-pod-container.json")?;
    for namespace in config["linux"]["namespaces"].as_array_mut().into_iter().flatten() {
        if namespace["path"].is_string() {
            let file = match namespace["type"].as_str().unwrap_or_default() {
                "network" => "net",
                other => other,
            };
            namespace["path"] = json!(format!("/proc/{sandbox}/ns/{file}"));
        }
    }
    let sources = Sources(scene.directory.join("test/volumes"));
    let list = config["mounts"].as_array_mut().context("no mounts")?;
    for index in list.len()..mounts {
        // Volumes, and single files of config maps by subPath.
        let (source, target) = match index % 2 {
            0 => (sources.directory(index)?, format!("/run/volume-{index}")),
            _ => (sources.file(index)?, format!("/run/config-{index}")),
        };
        let options = json!(["rbind", "rprivate", "ro"]);
        list.push(
            json!({ "destination": target, "type": "bind", "source": source, "options": options }),
        );
    }
    Ok(config)
}

/// The captured file without what another machine had: its paths, its AppArmor profile, its limits where v1 has the controllers.
fn captured(scene: &Scene, name: &str) -> Result<Value> {
    let path = machine::workspace()?.join("tests/configs").join(name);
    let text = fs::read(&path).with_context(|| path.display().to_string())?;
    let mut config: Value = serde_json::from_slice(&text)?;
    // The newest version that crun 1.8 knows.
    config["ociVersion"] = json!("1.0.2");
    config["process"]["apparmorProfile"] = Value::Null;
    config["process"]["args"] = json!(["/bin/true"]);
    config["process"]["cwd"] = json!("/");
    config["root"]["path"] = json!(scene.rootfs());
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    if !["cpu", "memory"].iter().all(|it| controllers.contains(it)) {
        config["linux"]["resources"] =
            json!({ "devices": config["linux"]["resources"]["devices"] });
    }
    let sources = Sources(scene.directory.join("test").join(name));
    for (index, mount) in config["mounts"].as_array_mut().into_iter().flatten().enumerate() {
        if mount["type"] == "bind" {
            let target = mount["destination"].as_str().unwrap_or_default();
            let is_file = target.starts_with("/etc");
            mount["source"] =
                json!(if is_file { sources.file(index)? } else { sources.directory(index)? });
        }
    }
    Ok(config)
}

/// Files and directories to be bound, in a directory of their own; made once.
struct Sources(PathBuf);

impl Sources {
    fn directory(&self, index: usize) -> Result<PathBuf> {
        let path = self.path(index);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    fn file(&self, index: usize) -> Result<PathBuf> {
        fs::create_dir_all(&self.0)?;
        let path = self.path(index);
        fs::write(&path, "127.0.0.1 localhost\n")?;
        Ok(path)
    }

    fn path(&self, index: usize) -> PathBuf {
        self.0.join(index.to_string())
    }
}

/// `count` directories in the root file system, to be masked: machines with many processors have as many
/// (`/sys/devices/system/cpu/cpuN/thermal_throttle` of Docker's list).
pub fn maskable(rootfs: &Path, count: u32) -> Result<Vec<String>> {
    let names: Vec<_> = (0..count).map(|index| format!("/var/masked/{index}")).collect();
    for name in &names {
        fs::create_dir_all(rootfs.join(name.trim_start_matches('/')))?;
    }
    Ok(names)
}
