//! For each workload, what a contender is asked.
//!
//! Runs in: any process.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::bundles;
use super::contender::{Contender, Kind};
use super::meter::{Request, User, reap};
use super::scene::Scene;
use super::workload::Lane;

type Prepared = Result<Option<Lane>>;

pub fn run(scene: &mut Scene, contender: &Contender, _: u32) -> Prepared {
    let step = run_step(scene, contender, "run", scene.spec())?;
    Ok(Some(Lane::new(vec![step])))
}

/// One `run` with a bundle of its own; the floor makes the default bundle whatever the configuration says.
fn run_step(
    scene: &Scene,
    contender: &Contender,
    name: &str,
    config: Value,
) -> Result<Vec<String>> {
    if contender.kind == Kind::Floor {
        return Ok(floor_run(scene, contender, name));
    }
    let bundle = scene.bundle(contender, name, config)?;
    Ok(scene.words(contender, &["run", "--bundle", &word(&bundle), name]))
}

fn floor_run(scene: &Scene, floor: &Contender, name: &str) -> Vec<String> {
    let cgroup = scene.cgroup_of(floor, name);
    vec![word(&floor.program), "run".to_owned(), word(&scene.rootfs()), word(&cgroup)]
}

fn word(path: &Path) -> String {
    path.display().to_string()
}

/// So many at once, each with its own bundle and cgroup.
pub fn at_once(scene: &mut Scene, contender: &Contender, count: u32) -> Prepared {
    let step = |index: u32| run_step(scene, contender, &format!("run{index}"), scene.spec());
    let steps = (0..count).map(step).collect::<Result<_>>()?;
    Ok(Some(Lane { request: Request::all_at_once(steps), user: User::Root, note: None }))
}

/// As containerd's shim: it waits for init itself, as its reaper.
pub fn create_start_delete(scene: &mut Scene, contender: &Contender, _: u32) -> Prepared {
    if contender.kind == Kind::Floor {
        return Ok(None);
    }
    let bundle = word(&scene.bundle(contender, "csd", scene.spec())?);
    let pid_file = scene.pid_file(contender);
    let create = ["create", "--bundle", &bundle, "--pid-file", &word(&pid_file), "csd"];
    Ok(Some(Lane::new(vec![
        scene.words(contender, &create),
        scene.words(contender, &["start", "csd"]),
        reap(&pid_file),
        scene.words(contender, &["delete", "csd"]),
    ])))
}

/// A created container; gives the pid of its init.
pub fn created(scene: &mut Scene, contender: &Contender, name: &str) -> Result<String> {
    let mut config = scene.spec();
    config["process"]["args"] = json!(["/bin/sleep", "100000"]);
    let bundle = word(&scene.bundle(contender, name, config)?);
    let pid_file = scene.pid_file(contender);
    let create = ["create", "--bundle", &bundle, "--pid-file", &word(&pid_file), name];
    scene.call(contender, &create)?;
    Ok(fs::read_to_string(pid_file)?.trim().to_owned())
}

pub fn running(scene: &mut Scene, contender: &Contender, name: &str) -> Result<String> {
    let pid = created(scene, contender, name)?;
    scene.call(contender, &["start", name])?;
    Ok(pid)
}

pub fn exec(scene: &mut Scene, contender: &Contender, _: u32) -> Prepared {
    if contender.kind == Kind::Floor {
        let host = Contender { label: contender.label.clone(), ..scene.host()? };
        let pid = running(scene, &host, "exec")?;
        let cgroup = word(&scene.cgroup_of(&host, "exec"));
        let words = vec![word(&contender.program), "exec".to_owned(), pid, cgroup];
        return Ok(Some(Lane::new(vec![words])));
    }
    running(scene, contender, "exec")?;
    Ok(Some(Lane::new(vec![scene.words(contender, &["exec", "exec", "/bin/true"])])))
}

pub fn state(scene: &mut Scene, contender: &Contender, _: u32) -> Prepared {
    if contender.kind == Kind::Floor {
        return Ok(None);
    }
    running(scene, contender, "state")?;
    Ok(Some(Lane::new(vec![scene.words(contender, &["state", "state"])])))
}

/// Created containers. Fewer where their inits would take more than a GiB, or their creation more than a minute.
pub fn list(scene: &mut Scene, contender: &Contender, count: u32) -> Prepared {
    const TRIED: u32 = 10;
    if contender.kind == Kind::Floor {
        return Ok(None);
    }
    let begin = Instant::now();
    let mut pid = String::new();
    for index in 0..TRIED {
        pid = created(scene, contender, &format!("list{index}"))?;
    }
    let seconds = begin.elapsed().as_secs() * u64::from(count / TRIED);
    let kib = rollup(&pid, "Pss")? * u64::from(count);
    let listed = if seconds > 60 || kib > 1 << 20 { count / 5 } else { count };
    for index in TRIED..listed {
        created(scene, contender, &format!("list{index}"))?;
    }
    let mut lane = Lane::new(vec![scene.words(contender, &["list"])]);
    lane.note = (listed < count).then(|| format!("only {listed} containers"));
    Ok(Some(lane))
}

/// A sum over a process's memory in KiB.
pub fn rollup(pid: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let value = line.and_then(|rest| rest.split_whitespace().next());
    Ok(value.with_context(|| format!("smaps_rollup has no {name}"))?.parse()?)
}

pub fn docker(scene: &mut Scene, contender: &Contender, _: u32) -> Prepared {
    special(scene, contender, "docker", bundles::docker(scene)?)
}

fn special(scene: &Scene, contender: &Contender, name: &str, config: Value) -> Prepared {
    if contender.kind == Kind::Floor {
        return Ok(None);
    }
    Ok(Some(Lane::new(vec![run_step(scene, contender, name, config)?])))
}

pub fn pod(scene: &mut Scene, contender: &Contender, mounts: u32) -> Prepared {
    if contender.kind == Kind::Floor {
        return Ok(None);
    }
    let sandbox = running(scene, contender, "sandbox")?;
    let config = bundles::pod(scene, &sandbox, mounts as usize)?;
    special(scene, contender, "pod", config)
}

pub fn masks(scene: &mut Scene, contender: &Contender, count: u32) -> Prepared {
    let names = bundles::maskable(&scene.rootfs(), count)?;
    if contender.kind == Kind::Floor {
        let mut words = floor_run(scene, contender, "masks");
        for name in names {
            words.extend(["-m".to_owned(), name.trim_start_matches('/').to_owned()]);
        }
        return Ok(Some(Lane::new(vec![words])));
    }
    let mut config = scene.spec();
    let masked = config["linux"]["maskedPaths"].as_array_mut().context("no maskedPaths")?;
    masked.extend(names.into_iter().map(Value::String));
    special(scene, contender, "masks", config)
}

/// Of a user with one id and no cgroup of its own.
pub fn rootless(scene: &mut Scene, contender: &Contender, _: u32) -> Prepared {
    if contender.kind == Kind::Floor {
        return Ok(None);
    }
    scene.start_user()?;
    let state = scene.directory.join("run/user");
    if !state.exists() {
        fs::DirBuilder::new().mode(0o700).create(&state)?;
        chown(&state, Some(1000), Some(1000))?;
    }
    let config = scene.rootless_spec()?;
    let bundle = scene.bundle(contender, "rootless", config)?;
    let root = word(&state.join(&contender.label));
    let words =
        [&word(&contender.program), "--root", &root, "run", "--bundle", &word(&bundle), "one"];
    let mut lane = Lane::new(vec![words.map(str::to_owned).to_vec()]);
    lane.user = User::Ordinary;
    Ok(Some(lane))
}
