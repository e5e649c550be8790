//! What is measured. How a contender is asked for it is in `lanes.rs`.
//!
//! Runs in: any process.

use anyhow::Result;

use super::contender::Contender;
use super::lanes;
use super::meter::{Request, User};
use super::scene::Scene;
use super::setting::Setting;

/// One line of the result.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    pub name: &'static str,
    pub what: &'static str,
    /// Rounds when nothing else is said.
    pub rounds: u32,
    pub setting: Setting,
    /// How many of what it is about: containers, masks, mounts of the bundle.
    pub count: u32,
    pub lane: Prepare,
}

/// Prepares a contender; `None` where it has no such thing.
pub type Prepare = fn(&mut Scene, &Contender, u32) -> Result<Option<Lane>>;

/// A contender that is ready to be measured.
#[derive(Debug)]
pub struct Lane {
    pub request: Request,
    pub user: User,
    /// What is different from the other contenders.
    pub note: Option<String>,
}

impl Lane {
    pub fn new(steps: Vec<Vec<String>>) -> Self {
        Self { request: Request::of(steps), user: User::Root, note: None }
    }
}

const fn plain(
    name: &'static str,
    what: &'static str,
    rounds: u32,
    count: u32,
    lane: Prepare,
) -> Workload {
    Workload { name, what, rounds, setting: Setting::Plain, count, lane }
}

const fn run_in(setting: Setting, name: &'static str, what: &'static str, rounds: u32) -> Workload {
    Workload { name, what, rounds, setting, count: 1, lane: lanes::run }
}

pub const ALL: &[Workload] = &[
    plain("run", "`run` of /bin/true, default bundle", 200, 1, lanes::run),
    plain(
        "create-start-delete",
        "`create`, `start`, wait, `delete`",
        100,
        1,
        lanes::create_start_delete,
    ),
    plain("exec", "`exec` of /bin/true", 200, 1, lanes::exec),
    plain("state", "`state` of a running container", 200, 1, lanes::state),
    plain("list", "`list` of 1,000 containers", 50, 1000, lanes::list),
    plain("docker", "`run`, Docker's bundle with seccomp", 100, 1, lanes::docker),
    plain("pod", "`run` into a Kubernetes pod, 40 mounts", 100, 40, lanes::pod),
    plain("masks", "`run` with 512 masked paths more", 50, 512, lanes::masks),
    plain("rootless", "`run` by uid 1000", 100, 1, lanes::rootless),
    plain("at-once-1", "1 `run`", 50, 1, lanes::at_once),
    plain("at-once-2", "2 `run` at once", 50, 2, lanes::at_once),
    plain("at-once-8", "8 `run` at once", 30, 8, lanes::at_once),
    plain("at-once-64", "64 `run` at once", 10, 64, lanes::at_once),
    plain("at-once-256", "256 `run` at once", 4, 256, lanes::at_once),
    run_in(Setting::Mounts(30), "mounts-30", "`run`, 30 mounts on the host", 50),
    run_in(Setting::Mounts(5000), "mounts-5000", "`run`, 5,000 mounts on the host", 20),
    run_in(Setting::Cgroups(10), "cgroups-10", "`run`, 10 cgroups more on the host", 50),
    run_in(Setting::Cgroups(5000), "cgroups-5000", "`run`, 5,000 cgroups more on the host", 50),
];
