//! What needs the memory controller, which a hybrid host gives to v1: in the project's VM (`--vm`).
//!
//! Runs in: any process.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde_json::json;

use super::contender::{Contender, Kind};
use super::scene::Scene;
use crate::vm;

/// Of one contender, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// The smallest memory.max with which /bin/true starts, three times of three, to 16 KiB.
    pub smallest: Option<u64>,
    /// memory.current of a container that is created and not started.
    pub charged: Option<u64>,
}

/// By label; and the VM's kernel. Minutes: the VM is slow.
pub fn measure(
    scene: &Scene,
    contenders: &[Contender],
) -> Result<(BTreeMap<String, Memory>, String)> {
    let runtimes: Vec<_> = contenders.iter().filter(|it| it.kind != Kind::Floor).collect();
    let names: Vec<_> = runtimes.iter().map(|it| it.label.as_str()).collect();
    let script = format!("runtimes='{}'\n{}", names.join(" "), include_str!("memory.sh"));
    let mut arguments = vm::Arguments::new("linux-image-cloud-amd64", script);
    arguments.add = runtimes.iter().map(|it| it.program.clone()).collect();
    arguments.timeout = 1800;
    let extra = vec![(template(scene)?, PathBuf::from("/bench/config.json"))];
    let (code, said) = vm::run_and_keep(&arguments, extra)?;
    ensure!(code == 0, "the VM ended with {code}: {said}");
    let kernel = said.lines().find_map(|line| line.strip_prefix("kernel "));
    Ok((parse(&said), kernel.unwrap_or("unknown").to_owned()))
}

/// The default bundle with words that the script replaces.
fn template(scene: &Scene) -> Result<PathBuf> {
    let mut config = scene.spec();
    config["root"]["path"] = json!("/bench/rootfs");
    config["process"]["args"] = json!(["/bin/PROGRAM"]);
    config["linux"]["cgroupsPath"] = json!("/bench/CONTAINER");
    config["linux"]["resources"]["memory"] = json!({ "limit": "LIMIT" });
    let path = scene.directory.join("vm-config.json");
    fs::write(&path, format!("{config:#}\n"))?;
    Ok(path)
}

fn parse(said: &str) -> BTreeMap<String, Memory> {
    let mut found: BTreeMap<String, Memory> = BTreeMap::new();
    for line in said.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        if let [name, what, number] = words[..] {
            let memory = found.entry(name.to_owned()).or_default();
            match what {
                "smallest" => memory.smallest = number.parse().ok(),
                "charged" => memory.charged = number.parse().ok(),
                _ => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_script_are_found_by_their_names() {
        let said = "kernel 6.1\na smallest 16384\nsomething else\na charged 4096\nb charged ?\n";
        let found = parse(said);
        assert_eq!(
            found.get("a").map(|it| (it.smallest, it.charged)),
            Some((Some(16384), Some(4096)))
        );
        assert_eq!(found.get("b").map(|it| (it.smallest, it.charged)), Some((None, None)));
        assert_eq!(found.len(), 2);
    }
}
