//! The crates that the program is made of, as cargo resolves them for it.
//!
//! Runs in: any process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::foreign::{self, Foreign};
use super::release::Release;
use crate::machine::stdout_of;

/// A crate's name and version: no two of the lock file's share both.
pub type Key = (String, String);

/// For cargo it takes part in the build of libcontainer, which puts the image made of it into the program.
const EMBEDDED: &str = "corten-init";

/// What the program consists of, and what took part in its making.
#[derive(Debug)]
pub struct Parts {
    pub crates: BTreeMap<Key, Crate>,
    /// Linked too, and of no crate.
    pub foreign: Vec<Foreign>,
}

#[derive(Debug)]
pub struct Crate {
    pub licence: String,
    pub repository: Option<String>,
    /// SHA-256 of the registry's archive; a crate of this repository has none.
    pub checksum: Option<String>,
    pub directory: PathBuf,
    /// In the program; the others ran when it was built: build scripts and macros, and what these need.
    pub linked: bool,
    pub depends: BTreeSet<Key>,
}

impl Parts {
    pub fn of(release: &Release) -> Result<Self> {
        let linked = Graph::of(release, "normal,no-proc-macro")?;
        let all = Graph::of(release, "normal,build")?;
        let metadata = metadata(release)?;
        let sums = checksums(&fs::read_to_string(release.source.join("Cargo.lock"))?);
        let mut crates = BTreeMap::new();
        for (key, depends) in all.0 {
            let package = package(&metadata, &key)?;
            let directory =
                PathBuf::from(string(package, "manifest_path").context("no manifest_path")?);
            let part = Crate {
                licence: string(package, "license").context("a crate without a licence")?,
                repository: string(package, "repository"),
                checksum: sums.get(&key).cloned(),
                directory: directory.parent().context("no directory")?.to_owned(),
                linked: linked.0.contains_key(&key) || key.0 == EMBEDDED,
                depends,
            };
            crates.insert(key, part);
        }
        Ok(Self { crates, foreign: foreign::parts()? })
    }

    /// What is in the program.
    pub fn linked(&self) -> impl Iterator<Item = (&Key, &Crate)> {
        self.crates.iter().filter(|(_, part)| part.linked)
    }
}

fn cargo(release: &Release, arguments: &[&str]) -> Result<String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    stdout_of(cargo.args(arguments).arg("--locked").current_dir(&release.source))
}

/// `cargo metadata` unites the features that the whole workspace asks for; what is true of the program is in `cargo tree`, and
/// all else in the metadata.
fn metadata(release: &Release) -> Result<Value> {
    let arguments = ["metadata", "--format-version", "1", "--filter-platform", &release.target];
    Ok(serde_json::from_str(&cargo(release, &arguments)?)?)
}

fn package<'a>(metadata: &'a Value, (name, version): &Key) -> Result<&'a Value> {
    let all = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let is_it = |it: &&Value| it["name"] == **name && it["version"] == **version;
    all.iter().find(is_it).with_context(|| format!("cargo metadata has no {name} {version}"))
}

fn string(value: &Value, name: &str) -> Option<String> {
    value[name].as_str().map(str::to_owned)
}

/// Who needs whom.
#[derive(Debug, Default)]
struct Graph(BTreeMap<Key, BTreeSet<Key>>);

impl Graph {
    fn of(release: &Release, edges: &str) -> Result<Self> {
        let mut arguments = vec!["tree", "--package", "corten", "--target", &release.target];
        arguments.extend([
            "--edges",
            edges,
            "--prefix",
            "depth",
            "--no-dedupe",
            "--format",
            " {p}",
        ]);
        Self::parse(&cargo(release, &arguments)?)
    }

    /// Lines such as `2 clap v4.6.9`: a crate at depth 2 that the last one at depth 1 needs.
    fn parse(tree: &str) -> Result<Self> {
        let mut graph = Self::default();
        let mut above: Vec<Key> = Vec::new();
        for line in tree.lines().filter(|line| !line.is_empty()) {
            let read = || -> Option<(usize, Key)> {
                let mut words = line.split(' ');
                let depth = words.next()?.parse().ok()?;
                Some((depth, (words.next()?.into(), words.next()?.strip_prefix('v')?.into())))
            };
            let (depth, key) = read().with_context(|| format!("cargo tree says {line:?}"))?;
            above.truncate(depth);
            if let Some(needs_it) = above.last() {
                graph.0.entry(needs_it.clone()).or_default().insert(key.clone());
            }
            graph.0.entry(key.clone()).or_default();
            above.push(key);
        }
        Ok(graph)
    }
}

/// Of Cargo.lock: in each `[[package]]` the name, the version, and of what is from a registry the checksum follow one another.
fn checksums(lock: &str) -> BTreeMap<Key, String> {
    let read = |block: &str| {
        let value = |name: &str| {
            let line =
                block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))?;
            Some(line.trim_matches('"').to_owned())
        };
        Some(((value("name")?, value("version")?), value("checksum")?))
    };
    lock.split("[[package]]").filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, version: &str) -> Key {
        (name.to_owned(), version.to_owned())
    }

    #[test]
    fn a_tree_is_read_by_its_depths() {
        let tree = "0 corten v0.1.0 (/src)\n1 cli v0.1.0 (/src/cli)\n2 log v0.4.1\n1 log v0.4.1\n";
        let graph = Graph::parse(tree).unwrap().0;
        let of = |name: &str, version: &str| {
            graph[&key(name, version)].iter().cloned().collect::<Vec<_>>()
        };
        assert_eq!(of("corten", "0.1.0"), [key("cli", "0.1.0"), key("log", "0.4.1")]);
        assert_eq!(of("cli", "0.1.0"), [key("log", "0.4.1")]);
        assert_eq!(of("log", "0.4.1"), []);
        assert!(Graph::parse("1 log\n").is_err());
    }

    #[test]
    fn checksums_are_those_of_the_lock_file() {
        let lock = "version = 4\n\n[[package]]\nname = \"log\"\nversion = \"0.4.1\"\nsource = \"registry+https://x\"\n\
            checksum = \"ab12\"\n\n[[package]]\nname = \"corten\"\nversion = \"0.1.0\"\ndependencies = [\n \"log\",\n]\n";
        let found = checksums(lock);
        assert_eq!(found.len(), 1);
        assert_eq!(found[&key("log", "0.4.1")], "ab12");
    }
}
