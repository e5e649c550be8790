//! The user's process: what it is told (argv, environment, directory) and what holds for it (limits, scheduling).
//!
//! Runs in: any process.

use std::borrow::Cow;
use std::collections::BTreeSet;

use corten_plan::Op;

use super::lsm;
use super::steps::{Steps, c_string, c_strings, list};
use super::types::Origin;
use super::words::RLIMITS;
use crate::spec::{
    IoPriorityClass, LinuxPersonality, PersonalityDomain, PosixRlimit, Process, RlimitType,
    Scheduler, SchedulerFlag, SchedulerPolicy, SpecError,
};

const ARGS: &str = "/process/args";
const CWD: &str = "/process/cwd";
const ENV: &str = "/process/env";

/// What runc and crun set where config.json has none; callers rely on it.
const DEFAULT_UMASK: u32 = 0o022;

/// The environment of the process.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Environment<'a> {
    /// `NAME=value`, each name once.
    pub variables: Vec<Cow<'a, str>>,
    /// Whether HOME must come from the container's /etc/passwd.
    pub needs_home: bool,
    /// The value of PATH.
    pub path: &'a str,
}

impl<'a> Environment<'a> {
    /// runc's rules: of a name that is there twice the last value counts, in its place; an empty HOME is no HOME.
    pub fn of(env: &'a [String], listen_fds: u32) -> Result<Self, SpecError> {
        let listen = [format!("LISTEN_FDS={listen_fds}"), "LISTEN_PID=1".to_owned()];
        let listen = if listen_fds == 0 { None } else { Some(listen.map(Cow::Owned)) };
        let given = env.iter().map(|variable| Cow::Borrowed(variable.as_str()));
        let all: Vec<Cow<'a, str>> = given.chain(listen.into_iter().flatten()).collect();

        let mut environment = Self { needs_home: true, ..Self::default() };
        for (index, variable) in env.iter().enumerate() {
            let (name, value) = split(index, variable)?;
            match name {
                // Of several the last one stays.
                "PATH" => environment.path = value,
                "HOME" => environment.needs_home = value.is_empty(),
                _ => {}
            }
        }
        environment.variables = last_of_each(&all, environment.needs_home);
        Ok(environment)
    }
}

fn split(index: usize, variable: &str) -> Result<(&str, &str), SpecError> {
    let problem = match variable.split_once('=') {
        Some(("", _)) => "has an empty name",
        Some(pair) => return Ok(pair),
        None => "has no '='",
    };
    Err(SpecError::new(Origin::Element(ENV, index).to_string(), problem))
}

fn last_of_each<'a>(all: &[Cow<'a, str>], without_home: bool) -> Vec<Cow<'a, str>> {
    let mut seen = BTreeSet::new();
    if without_home {
        seen.insert("HOME");
    }
    let mut kept: Vec<Cow<'a, str>> = Vec::with_capacity(all.len());
    for variable in all.iter().rev() {
        if seen.insert(name_of(variable)) {
            kept.push(variable.clone());
        }
    }
    kept.reverse();
    kept
}

fn name_of(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(name, _)| name)
}

/// First of all: while /proc is the host's, and its files in it are the caller's, which those of a process are not that has other
/// ids or is not dumpable. Init has it of its first stage.
pub(super) fn oom_score(steps: &mut Steps, process: &Process) -> Result<(), SpecError> {
    if let Some(adjustment) = process.oom_score_adj {
        let pointer = "/process/oomScoreAdj";
        let adjustment = c_string(&pointer.into(), adjustment.to_string())?;
        steps.push(pointer, &Op::OomScoreAdj { adjustment: &adjustment });
    }
    Ok(())
}

/// A new session keyring, or keys of the caller's session could be used in the container. runc's name.
pub(super) fn keyring(
    steps: &mut Steps,
    process: &Process,
    id: &str,
    no_new_keyring: bool,
) -> Result<(), SpecError> {
    if no_new_keyring {
        return Ok(());
    }
    lsm::of_keys(steps, process)?;
    let name = c_string(&Origin::Always, format!("_ses.{id}"))?;
    steps.always(&Op::Keyring { name: &name });
    Ok(())
}

/// The working directory, where it is missing, as runc and crun make it.
pub(super) fn make_cwd(steps: &mut Steps, process: &Process) -> Result<(), SpecError> {
    let path = c_string(&CWD.into(), process.cwd.as_str())?;
    if path.as_c_str() != c"/" {
        steps.push(CWD, &Op::Directory { path: &path, mode: 0o755 });
    }
    Ok(())
}

/// Changes the directory: before the user changes (root may enter where the user may not), and finally as the user,
/// where that is the other way round.
pub(super) fn change_directory(
    steps: &mut Steps,
    process: &Process,
    retry: bool,
) -> Result<(), SpecError> {
    let path = c_string(&CWD.into(), process.cwd.as_str())?;
    steps.push(CWD, &Op::Cwd { path: &path, retry });
    Ok(())
}

/// The terminal; or, without one, the stdio of the caller, made fit for the user.
///
/// `null`: the container has a null device of ours; `console`: it has a mount namespace, so that /dev/console can be mounted.
pub(super) fn stdio(steps: &mut Steps, process: &Process, null: bool, console: bool) {
    let uid = process.user.uid;
    if !process.terminal {
        steps.always(&Op::Stdio { uid, null });
        return;
    }
    let (height, width) =
        process.console_size.as_ref().map_or((0, 0), |size| (size.height, size.width));
    steps.push("/process/terminal", &Op::Terminal { height, width, uid, console });
}

/// What needs the runtime's privileges and is inherited by the program.
pub(super) fn attributes(
    steps: &mut Steps,
    process: &Process,
    personality: Option<&LinuxPersonality>,
) -> Result<(), SpecError> {
    let mask = process.user.umask.unwrap_or(DEFAULT_UMASK);
    let origin = process.user.umask.map_or(Origin::Always, |_| "/process/user/umask".into());
    steps.push(origin, &Op::Umask { mask });
    if let Some(personality) = personality {
        let persona = match personality.domain {
            PersonalityDomain::Linux => 0x0000,
            PersonalityDomain::Linux32 => 0x0008,
        };
        steps.push("/linux/personality", &Op::Personality { persona });
    }
    // The class of ioPriority follows from the policy where it is not given, so that the policy comes first.
    if let Some(scheduler) = &process.scheduler {
        schedule(steps, scheduler)?;
    }
    if let Some(priority) = &process.io_priority {
        let class: u32 = match priority.class {
            IoPriorityClass::Rt => 1,
            IoPriorityClass::Be => 2,
            IoPriorityClass::Idle => 3,
        };
        let level = u32::try_from(priority.priority)
            .map_err(|_| SpecError::new("/process/ioPriority/priority", "is negative"))?;
        // `IOPRIO_PRIO_VALUE` of <linux/ioprio.h>.
        steps.push("/process/ioPriority", &Op::IoPriority { value: class << 13 | level });
    }
    lsm::of_process(steps, process)?;
    if process.no_new_privileges {
        steps.push("/process/noNewPrivileges", &Op::NoNewPrivileges);
    }
    Ok(())
}

fn schedule(steps: &mut Steps, scheduler: &Scheduler) -> Result<(), SpecError> {
    // <linux/sched.h>.
    let policy = match scheduler.policy {
        SchedulerPolicy::Other => 0,
        SchedulerPolicy::Fifo => 1,
        SchedulerPolicy::Rr => 2,
        SchedulerPolicy::Batch => 3,
        SchedulerPolicy::Iso => 4,
        SchedulerPolicy::Idle => 5,
        SchedulerPolicy::Deadline => 6,
    };
    let flag = |flag: &SchedulerFlag| match flag {
        SchedulerFlag::ResetOnFork => 0x01,
        SchedulerFlag::Reclaim => 0x02,
        SchedulerFlag::DlOverrun => 0x04,
        SchedulerFlag::KeepPolicy => 0x08,
        SchedulerFlag::KeepParams => 0x10,
        SchedulerFlag::UtilClampMin => 0x20,
        SchedulerFlag::UtilClampMax => 0x40,
    };
    let priority = u32::try_from(scheduler.priority)
        .map_err(|_| SpecError::new("/process/scheduler/priority", "is negative"))?;
    steps.push(
        "/process/scheduler",
        &Op::Scheduler {
            policy,
            flags: scheduler.flags.iter().map(flag).fold(0, |all, flag| all | flag),
            nice: scheduler.nice,
            priority,
            runtime: scheduler.runtime,
            deadline: scheduler.deadline,
            period: scheduler.period,
        },
    );
    Ok(())
}

/// The limits; that on open files last, for init itself opens some.
pub(super) fn rlimits(steps: &mut Steps, rlimits: &[PosixRlimit]) {
    let is_nofile = |limit: &PosixRlimit| limit.rlimit_type == RlimitType::Nofile;
    for late in [false, true] {
        let of_this_round =
            rlimits.iter().enumerate().filter(|(_, limit)| is_nofile(limit) == late);
        for (index, limit) in of_this_round {
            let name = limit.rlimit_type.as_str();
            let resource = RLIMITS.iter().position(|known| *known == name);
            let resource = resource.and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX);
            steps.push(
                Origin::Element("/process/rlimits", index),
                &Op::Rlimit { resource, soft: limit.soft, hard: limit.hard },
            );
        }
    }
}

/// Finds the program.
pub(super) fn find(
    steps: &mut Steps,
    process: &Process,
    environment: &Environment<'_>,
) -> Result<(), SpecError> {
    let origin = Origin::Element(ARGS, 0);
    let program = process.args.first().ok_or_else(|| SpecError::new(ARGS, "is empty"))?;
    let file = c_string(&origin, program.as_str())?;
    let path = c_string(&ENV.into(), environment.path)?;
    steps.push(origin, &Op::Find { file: &file, path: &path });
    Ok(())
}

/// Executes it.
pub(super) fn execute(
    steps: &mut Steps,
    process: &Process,
    environment: &Environment<'_>,
) -> Result<(), SpecError> {
    let (args_at, env_at) = (ARGS.into(), ENV.into());
    let args = c_strings(&args_at, &process.args)?;
    let env = c_strings(&env_at, environment.variables.iter().map(|variable| variable.as_bytes()))?;
    steps.push(
        Origin::Element(ARGS, 0),
        &Op::Exec {
            args: list(&args_at, &args)?,
            env: list(&env_at, &env)?,
            home: environment.needs_home,
        },
    );
    Ok(())
}
