//! The bill of materials, as CycloneDX 1.5 (<https://cyclonedx.org/docs/1.5/json/>).
//!
//! Not by cargo-cyclonedx 0.5.9: it unites the features of the whole workspace, and so lists seven crates that are not in the
//! program; it takes macros for parts of it, writes the directory of the build into the file, and knows nothing of the two
//! libraries that come with the compiler.
//!
//! Runs in: any process.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::crates::{Crate, Key, Parts};
use super::foreign::Foreign;
use super::release::Release;
use crate::machine::stdout_of;

/// The text of the file. No serial number: it would be another in each build.
pub fn text(release: &Release, parts: &Parts, program: &Path) -> Result<String> {
    let root = parts.crates.iter().find(|((name, _), _)| name == "corten");
    let (root, _) = root.context("cargo tree has no corten")?;
    let others = parts.crates.iter().filter(|(key, _)| *key != root);
    let components = others.map(|(key, part)| component(key, part));
    let components: Vec<Value> = components.chain(parts.foreign.iter().map(foreign)).collect();
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": release.date("+%Y-%m-%dT%H:%M:%SZ")?,
            "lifecycles": [{ "phase": "build" }],
            "tools": { "components": [
                { "type": "application", "name": "corten-xtask", "version": release.version },
            ] },
            "component": {
                "type": "application",
                "bom-ref": reference(root),
                "name": "corten",
                "version": release.version,
                "hashes": [{ "alg": "SHA-256", "content": sha256(program)? }],
                "licenses": [{ "expression": "Apache-2.0" }],
            },
            "properties": [
                { "name": "corten:commit", "value": release.commit },
                { "name": "corten:target", "value": release.target },
            ],
        },
        "components": components,
        "dependencies": dependencies(root, parts),
    });
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}

/// `excluded`: it ran when the program was built, and is not in it.
fn component(key: &Key, part: &Crate) -> Value {
    let mut value = json!({
        "type": "library",
        "bom-ref": reference(key),
        "name": key.0,
        "version": key.1,
        "scope": if part.linked { "required" } else { "excluded" },
        // Cargo's older way to say OR.
        "licenses": [{ "expression": part.licence.replace('/', " OR ") }],
    });
    // Of this repository's own crates no registry knows.
    if let Some(checksum) = &part.checksum {
        value["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        value["purl"] = json!(format!("pkg:cargo/{}@{}", key.0, key.1));
    }
    if let Some(repository) = &part.repository {
        value["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
    }
    value
}

fn foreign(part: &Foreign) -> Value {
    json!({
        "type": "library",
        "bom-ref": part.purl,
        "name": part.name,
        "version": part.version,
        "scope": "required",
        "licenses": [{ "expression": part.licence }],
        "purl": part.purl,
    })
}

/// Who needs whom; the program itself needs what comes with the compiler.
fn dependencies(root: &Key, parts: &Parts) -> Vec<Value> {
    let of = |(key, part): (&Key, &Crate)| {
        let foreign = parts.foreign.iter().filter(|_| key == root).map(|part| part.purl.clone());
        let needed: Vec<String> = part.depends.iter().map(reference).chain(foreign).collect();
        json!({ "ref": reference(key), "dependsOn": needed })
    };
    let alone = |part: &Foreign| json!({ "ref": part.purl, "dependsOn": [] });
    parts.crates.iter().map(of).chain(parts.foreign.iter().map(alone)).collect()
}

fn reference((name, version): &Key) -> String {
    format!("{name}@{version}")
}

fn sha256(file: &Path) -> Result<String> {
    let said = stdout_of(Command::new("sha256sum").arg("--binary").arg(file))?;
    Ok(said.split(' ').next().unwrap_or_default().to_owned())
}
