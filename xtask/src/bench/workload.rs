//! What is measured: for each workload, the request of a contender.
//!
//! Runs in: any process.

use anyhow::{Context as _, Result};
use serde_json::json;

use super::contender::{Contender, Kind};
use super::meter::{Request, User, reap};
use super::scene::Scene;

/// One line of the result.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    pub name: &'static str,
    pub what: &'static str,
    /// Rounds when nothing else is said.
    pub rounds: u32,
    /// Prepares the contender; `None` where it has no such thing.
    pub lane: fn(&mut Scene, &Contender) -> Result<Option<Lane>>,
}

/// A contender that is ready to be measured.
#[derive(Debug)]
pub struct Lane {
    pub request: Request,
    pub user: User,
}

impl Lane {
    fn new(steps: Vec<Vec<String>>) -> Option<Self> {
        Some(Self { request: Request::of(steps), user: User::Root })
    }
}

pub const ALL: &[Workload] = &[
    Workload { name: "run", what: "run /bin/true, default bundle", rounds: 200, lane: run },
    Workload {
        name: "create-start-delete",
        what: "create, start, wait for the end, delete; default bundle",
        rounds: 100,
        lane: create_start_delete,
    },
    Workload {
        name: "exec",
        what: "exec /bin/true in a running container",
        rounds: 200,
        lane: exec,
    },
    Workload { name: "state", what: "state of a running container", rounds: 200, lane: state },
];

fn run(scene: &mut Scene, contender: &Contender) -> Result<Option<Lane>> {
    if contender.kind == Kind::Floor {
        return Ok(Lane::new(vec![floor_run(scene, contender, "run", &[])]));
    }
    let bundle = scene.bundle(contender, "run", scene.spec())?;
    let words = scene.words(contender, &["run", "--bundle", &bundle.display().to_string(), "run"]);
    Ok(Lane::new(vec![words]))
}

/// The command line of the floor for the default bundle and what is on top of it.
fn floor_run(scene: &Scene, floor: &Contender, name: &str, more: &[String]) -> Vec<String> {
    let cgroup = scene.cgroup_of(floor, name);
    let mut words = vec![floor.program.display().to_string(), "run".to_owned()];
    words.extend([scene.rootfs().display().to_string(), cgroup.display().to_string()]);
    words.extend_from_slice(more);
    words
}

fn create_start_delete(scene: &mut Scene, contender: &Contender) -> Result<Option<Lane>> {
    if contender.kind == Kind::Floor {
        return Ok(None);
    }
    let bundle = scene.bundle(contender, "csd", scene.spec())?.display().to_string();
    let pid_file = scene.pid_file(contender);
    let pid_file_word = pid_file.display().to_string();
    let create = ["create", "--bundle", &bundle, "--pid-file", &pid_file_word, "csd"];
    Ok(Lane::new(vec![
        scene.words(contender, &create),
        scene.words(contender, &["start", "csd"]),
        reap(&pid_file),
        scene.words(contender, &["delete", "csd"]),
    ]))
}

/// A container that runs; gives the pid of its init.
fn running(scene: &mut Scene, contender: &Contender, name: &str) -> Result<String> {
    let mut config = scene.spec();
    config["process"]["args"] = json!(["/bin/sleep", "100000"]);
    let bundle = scene.bundle(contender, name, config)?.display().to_string();
    let pid_file = scene.pid_file(contender);
    let pid_file_word = pid_file.display().to_string();
    scene.call(contender, &["create", "--bundle", &bundle, "--pid-file", &pid_file_word, name])?;
    scene.call(contender, &["start", name])?;
    Ok(std::fs::read_to_string(pid_file)?.trim().to_owned())
}

fn exec(scene: &mut Scene, contender: &Contender) -> Result<Option<Lane>> {
    if contender.kind == Kind::Floor {
        let host = scene.host().context("no runtime for the floor's container")?;
        let host = Contender { label: "floor".to_owned(), ..host };
        let pid = running(scene, &host, "exec")?;
        let cgroup = scene.cgroup_of(&host, "exec").display().to_string();
        let program = contender.program.display().to_string();
        return Ok(Lane::new(vec![vec![program, "exec".to_owned(), pid, cgroup]]));
    }
    running(scene, contender, "exec")?;
    Ok(Lane::new(vec![scene.words(contender, &["exec", "exec", "/bin/true"])]))
}

fn state(scene: &mut Scene, contender: &Contender) -> Result<Option<Lane>> {
    if contender.kind == Kind::Floor {
        return Ok(None);
    }
    running(scene, contender, "state")?;
    Ok(Lane::new(vec![scene.words(contender, &["state", "state"])]))
}
