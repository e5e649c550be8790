//! The plans of real config.json files, compared with what they were.
//!
//! Each `tests/configs/NAME.json` of the workspace (what Docker, Podman, containerd and CRI wrote) and of `tests/plans`
//! (written by hand for what those do not show) is planned on an imagined host and compared with `tests/plans/NAME.txt`.
//! `UPDATE_SNAPSHOTS=1 cargo test --test plan_snapshots` writes the files anew: read the diff.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use libcontainer::host::{CgroupFacts, CgroupLayout, Facts, Modules};
use libcontainer::plan::{self, Plan, Request};
use libcontainer::spec::Bundle;

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans")
}

/// All configurations by name.
fn configs() -> BTreeMap<String, PathBuf> {
    let captured = here().join("../../../../tests/configs");
    let mut configs = BTreeMap::new();
    for entry in [captured, here()].iter().flat_map(|dir| fs::read_dir(dir).unwrap()) {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            configs.insert(path.file_stem().unwrap().to_str().unwrap().to_owned(), path);
        }
    }
    configs
}

fn facts() -> Facts {
    Facts {
        euid: 0,
        egid: 0,
        last_capability: 40,
        cgroup: CgroupFacts {
            layout: CgroupLayout::Unified,
            mount_point: "/sys/fs/cgroup".into(),
            own: "/user.slice/session.scope".into(),
            bound_to_v1: Vec::new(),
        },
        modules: Modules { apparmor: true, selinux: true },
        root_namespaces: false,
    }
}

fn plan_of(config: &Path) -> Result<Plan, libcontainer::Error> {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(config, directory.path().join("config.json")).unwrap();
    let mut bundle = Bundle::load(directory.path())?;
    bundle.dir = "/bundle".into();
    let request = Request {
        id: "c1".into(),
        bundle: "/bundle".into(),
        environment: vec!["PATH=/host/bin".into()],
        ..Request::default()
    };
    plan::plan(&bundle, &facts(), &request)
}

fn text_of(config: &Path) -> String {
    match plan_of(config) {
        Ok(plan) => plan::print::text(&plan),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            format!("error: {}\n", cause.unwrap_or_else(|| error.to_string()))
        }
    }
}

#[test]
fn plans_of_real_configurations_are_as_recorded() {
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    let mut changed = Vec::new();
    for (name, config) in configs() {
        let recorded = here().join(name).with_extension("txt");
        let text = text_of(&config);
        if update {
            fs::write(&recorded, &text).unwrap();
        } else if fs::read_to_string(&recorded).unwrap_or_default() != text {
            changed.push(format!("{}\n{text}", recorded.display()));
        }
    }
    assert!(
        changed.is_empty(),
        "changed plans (UPDATE_SNAPSHOTS=1 accepts):\n{}",
        changed.join("\n")
    );
}

#[test]
fn plans_recorded_without_a_configuration_are_none() {
    let configs = configs();
    assert!(configs.len() >= 10, "{} configurations", configs.len());
    for entry in fs::read_dir(here()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(configs.contains_key(name), "{} belongs to no configuration", path.display());
    }
}

/// What is printed as text is printed as JSON: every step, with the same words and pointers.
#[test]
fn plans_as_json_have_the_steps_of_the_text() {
    for config in configs().values() {
        let Ok(plan) = plan_of(config) else { continue };
        let text = plan::print::text(&plan);
        let json: serde_json::Value = serde_json::from_str(&plan::print::json(&plan)).unwrap();
        let steps = json["steps"].as_array().unwrap();
        let of_init = steps.iter().filter(|step| step["op"].is_string()).count();
        assert_eq!(of_init, plan.init.ops().count());
        assert_eq!(of_init, plan.init.origins.len());
        for step in steps {
            assert!(text.contains(step["step"].as_str().unwrap()), "{step} in {text}");
            assert!(text.contains(step["pointer"].as_str().unwrap()), "{step} in {text}");
        }
    }
}
