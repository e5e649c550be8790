//! `exec`: one more process in the namespaces of a container that is there.
//!
//! What it is to be like is in [`ExecBase`], which create has recorded: config.json may be another by now, or gone
//! (runtime.md, "Lifecycle": updates of it must not affect the container).
//!
//! Runs in: any process.

use corten_plan::wire::Ids;
use corten_plan::{Handle, Op, Point};
use serde::{Deserialize, Serialize};

use super::annotations::Annotations;
use super::namespaces::clone_flag;
use super::process::{self, Environment};
use super::program::Program;
use super::seccomp::SeccompPlan;
use super::steps::Steps;
use super::types::{InitPlan, Origin, Remark, SpawnPlan};
use super::unsupported;
use super::user_namespace::{self, IdMaps, MappedIds};
use super::words::{CLONE_NEWNS, CLONE_NEWPID, CLONE_VM};
use crate::error::Error;
use crate::host::{Facts, Modules};
use crate::spec::{
    self, Bundle, LinuxMemoryPolicy, LinuxPersonality, NamespaceType, Process, SpecError,
};

/// What `exec` needs to know of a container; recorded by create, so that it never reads config.json.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecBase {
    /// `/process`: what is inherited.
    pub process: Process,
    /// The kinds that are not the runtime's own.
    #[serde(default)]
    namespaces: Vec<NamespaceType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    personality: Option<LinuxPersonality>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory_policy: Option<LinuxMemoryPolicy>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    no_new_keyring: bool,
    /// Every process has the supplementary groups of the runtime's caller.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    keeps_groups: bool,
    /// Who a process is that was just brought into the user namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mapped_ids: Option<MappedIds>,
    /// The filter of every process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seccomp: Option<SeccompPlan>,
}

impl ExecBase {
    /// That of a container that is made from `bundle`, with this filter.
    pub fn of(
        bundle: &Bundle,
        facts: &Facts,
        seccomp: Option<SeccompPlan>,
        no_new_keyring: bool,
    ) -> Self {
        let linux = bundle.spec.linux.as_ref();
        let namespaces = linux.map(|linux| linux.namespaces.as_slice()).unwrap_or_default();
        Self {
            process: bundle.spec.process.clone().unwrap_or_default(),
            namespaces: namespaces.iter().map(|namespace| namespace.namespace_type).collect(),
            personality: linux.and_then(|linux| linux.personality.clone()),
            memory_policy: linux.and_then(|linux| linux.memory_policy.clone()),
            no_new_keyring,
            keeps_groups: Annotations(&bundle.spec.annotations).keeps_groups()
                || linux.is_some_and(|linux| user_namespace::keeps_groups(linux, facts)),
            mapped_ids: linux
                .zip(bundle.spec.process.as_ref())
                .and_then(|(linux, process)| MappedIds::of(linux, &process.user)),
            seccomp,
        }
    }

    /// The filter.
    pub(crate) fn seccomp(&self) -> Option<&SeccompPlan> {
        self.seccomp.as_ref()
    }

    /// Which security modules `process` asks for.
    pub(crate) fn modules(&self, process: &Process) -> Modules {
        Modules::of([&self.process, process], false)
    }

    /// Whether the container has a mount namespace, and so a root of its own to come into.
    pub(crate) fn has_mount_namespace(&self) -> bool {
        self.flags() & CLONE_NEWNS != 0
    }

    fn flags(&self) -> u32 {
        self.namespaces.iter().fold(0, |flags, kind| flags | clone_flag(*kind))
    }

    /// What `process` leaves open is as config.json had it: that of `newInitConfig` of runc. Not so arguments, environment,
    /// user, directory, terminal and noNewPrivileges, which every process has its own of.
    fn complete(&self, mut process: Process) -> Process {
        let base = &self.process;
        process.user.umask = process.user.umask.or(base.user.umask);
        process.capabilities = process.capabilities.or_else(|| base.capabilities.clone());
        process.scheduler = process.scheduler.or_else(|| base.scheduler.clone());
        process.io_priority = process.io_priority.or_else(|| base.io_priority.clone());
        process.oom_score_adj = process.oom_score_adj.or(base.oom_score_adj);
        let affinity = process.exec_cpu_affinity.take();
        process.exec_cpu_affinity = affinity.or_else(|| base.exec_cpu_affinity.clone());
        if process.rlimits.is_empty() {
            process.rlimits.clone_from(&base.rlimits);
        }
        if process.apparmor_profile.is_empty() {
            process.apparmor_profile.clone_from(&base.apparmor_profile);
        }
        if process.selinux_label.is_empty() {
            process.selinux_label.clone_from(&base.selinux_label);
        }
        process
    }
}

/// What the caller wants, besides the process itself.
#[derive(Debug, Clone, Default)]
pub struct ExecRequest {
    /// The container's id.
    pub id: String,
    /// How many fds from 3 on the process keeps: LISTEN_FDS plus `--preserve-fds`.
    pub preserved_fds: u32,
    /// How many of them are LISTEN_FDS.
    pub listen_fds: u32,
    /// The security modules of this host, as far as they are asked for.
    pub modules: Modules,
    /// The container has no cgroup of its own: the process stays in that of the caller.
    pub no_cgroup: bool,
    /// It waits until it has been moved into the cgroup: neither is it born there, nor may it go there itself.
    pub is_moved: bool,
    /// The runtime puts the process into a class of service before it begins.
    pub has_class: bool,
}

/// All that `exec` will do.
#[derive(Debug, Clone)]
pub struct ExecPlan {
    /// How the process is started: no new namespace, in one stage or two.
    pub spawn: SpawnPlan,
    /// Whether it has a terminal of its own.
    pub terminal: bool,
    /// Whether it moves itself into the cgroup: it is on other CPUs before than after.
    pub enters_cgroup: bool,
    /// Whether it waits for the runtime at [`Point::Ready`].
    pub reports_ready: bool,
    /// What it does.
    pub init: InitPlan,
    /// What is asked for and this version cannot give.
    pub unsupported: Vec<Remark>,
    /// What the log gets as warnings.
    pub warnings: Vec<Remark>,
}

impl ExecPlan {
    /// A pidfd of the container's init.
    pub const INIT: Handle = Handle::FIRST_FREE;
    /// The root of init, of a container without a mount namespace.
    pub const ROOT: Handle = Handle(Handle::FIRST_FREE.0 + 1);
    /// `cgroup.procs` of the cgroup, for [`Self::enters_cgroup`].
    pub const CGROUP: Handle = Handle(Handle::FIRST_FREE.0 + 2);
}

/// What `exec` of `process` will do in a container of which `base` was recorded.
///
/// # Errors
/// [`Error::Property`]: a property of `process` cannot be used. Its pointers begin with `/process`.
pub fn exec(
    base: &ExecBase,
    process: Process,
    last_capability: u32,
    request: &ExecRequest,
) -> Result<ExecPlan, Error> {
    let refused = |SpecError { pointer, problem }| Error::Property { pointer, problem };
    make(base, &base.complete(process), last_capability, request).map_err(refused)
}

fn make(
    base: &ExecBase,
    process: &Process,
    last_capability: u32,
    request: &ExecRequest,
) -> Result<ExecPlan, SpecError> {
    let odd = spec::validate_process(process)?;
    let remark = |odd: SpecError| Remark::new(odd.pointer, odd.problem);
    let mut warnings: Vec<Remark> = odd.into_iter().map(remark).collect();
    let program = Program {
        process,
        personality: base.personality.as_ref(),
        memory_policy: base.memory_policy.as_ref(),
        environment: Environment::of(&process.env, request.listen_fds)?,
        last_capability,
        keeps_groups: base.keeps_groups,
        preserved_fds: request.preserved_fds,
        seccomp: base.seccomp.as_ref(),
        has_hooks: false,
    };
    let reports_ready = reports_ready(&program, request);
    let steps = order(base, &program, request, &mut warnings)?;
    Ok(ExecPlan {
        spawn: SpawnPlan {
            two_stages: has_two_stages(base),
            joined_id_maps: raises_limits(base, process).then(IdMaps::default),
            ..SpawnPlan::default()
        },
        terminal: process.terminal,
        enters_cgroup: initial_cpus(process).is_some() && !request.no_cgroup && !request.is_moved,
        reports_ready,
        init: steps.finish(0)?,
        unsupported: unsupported::of_process(process, request.modules),
        warnings,
    })
}

/// Every step, in order.
fn order(
    base: &ExecBase,
    program: &Program<'_>,
    request: &ExecRequest,
    warnings: &mut Vec<Remark>,
) -> Result<Steps, SpecError> {
    let process = program.process;
    let mut steps = Steps::new();

    process::oom_score(&mut steps, process)?;
    // Before it can be seen in the container: its fds and its memory are the runtime's (CVE-2016-9962). execve ends it.
    steps.always(&Op::NotDumpable);
    let initial = initial_cpus(process);
    if let Some(cpus) = initial {
        // "before the process is moved to the container's cgroup" (config.md): so it moves itself.
        let pointer = "/process/execCPUAffinity/initial";
        affinity(&mut steps, pointer, cpus)?;
        if !request.no_cgroup && !request.is_moved {
            steps.push(pointer, &Op::EnterCgroup { handle: ExecPlan::CGROUP });
        }
    }
    // Before it is in the container, and while it has the caller's ids, by which systemd allows the move.
    if request.is_moved {
        steps.always(&Op::Sync { point: Point::Placed as u8 });
    }
    // Limits are raised by whoever has the right to: nobody in a user namespace.
    if raises_limits(base, process) {
        steps.push("/process/rlimits", &Op::Sync { point: Point::Unmapped as u8 });
    }
    // All at once, and of the very process that was found to be the container's.
    if base.flags() != 0 {
        steps.always(&Op::JoinProcess { handle: ExecPlan::INIT, flags: base.flags() });
    }
    // A pid namespace is entered by children only.
    if has_two_stages(base) {
        steps.always(&Op::Fork { flags: CLONE_VM });
    }
    if let Some(ids) = base.mapped_ids {
        ids.enter(&mut steps);
    }
    steps.always(&Op::DieWithRuntime);
    steps.always(&Op::Session);
    final_cpus(&mut steps, process, initial.is_some())?;
    process::keyring(&mut steps, process, &request.id, base.no_new_keyring)?;

    // setns has brought it into the root of the mount namespace, which is that of the container since pivot.
    if base.has_mount_namespace() {
        steps.always(&Op::OpenRoot { path: c"/" });
    } else {
        steps.always(&Op::EnterRoot { handle: ExecPlan::ROOT });
    }
    process::stdio(&mut steps, process, false, false);
    program.prepare(&mut steps, warnings)?;

    if reports_ready(program, request) {
        steps.always(&Op::Sync { point: Point::Ready as u8 });
    }
    program.execute(&mut steps)?;
    Ok(steps)
}

/// Whether the runtime has something to do before the program begins: give its terminal a size, put it into a class of
/// service, look whether the filter is in
/// force, or take its listener. Without that nobody waits for anybody.
fn reports_ready(program: &Program<'_>, request: &ExecRequest) -> bool {
    let Program { process, seccomp, .. } = program;
    process.terminal
        || request.has_class
        || seccomp.is_some_and(|seccomp| seccomp.needs_runtime(process))
}

fn raises_limits(base: &ExecBase, process: &Process) -> bool {
    base.mapped_ids.is_some() && !process.rlimits.is_empty()
}

fn has_two_stages(base: &ExecBase) -> bool {
    base.flags() & CLONE_NEWPID != 0
}

fn initial_cpus(process: &Process) -> Option<&str> {
    let affinity = process.exec_cpu_affinity.as_ref()?;
    Some(affinity.initial.as_str()).filter(|cpus| !cpus.is_empty())
}

/// runc's rules: `initial` alone stays; with neither of them it is not to be the caller's.
fn final_cpus(steps: &mut Steps, process: &Process, has_initial: bool) -> Result<(), SpecError> {
    let cpus = process.exec_cpu_affinity.as_ref().map(|affinity| affinity.final_.as_str());
    match cpus.filter(|cpus| !cpus.is_empty()) {
        Some(cpus) => affinity(steps, "/process/execCPUAffinity/final", cpus),
        None if has_initial => Ok(()),
        None => {
            steps.always(&Op::AllCpus);
            Ok(())
        }
    }
}

fn affinity(steps: &mut Steps, pointer: &'static str, cpus: &str) -> Result<(), SpecError> {
    let mask = mask(cpus).ok_or_else(|| {
        SpecError::new(pointer, format!("is {cpus:?}, with a CPU above {}", MAX_CPUS - 1))
    })?;
    let too_many = |_| SpecError::new(pointer, "has too many elements");
    let cpus = Ids::new(&mask).map_err(too_many)?;
    steps.push(Origin::from(pointer), &Op::Affinity { cpus });
    Ok(())
}

/// `CONFIG_NR_CPUS` is at most this.
const MAX_CPUS: usize = 8192;

/// The bits of a list as in `0-3,7`, eight a byte; as many bytes as are needed, a multiple of 8, as `long`s are.
pub(super) fn mask(list: &str) -> Option<Vec<u8>> {
    let mut mask = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        for cpu in (first..=last).take_while(|cpu| *cpu <= MAX_CPUS) {
            if cpu == MAX_CPUS {
                return None;
            }
            if mask.len() <= cpu / 8 {
                mask.resize((cpu / 64 + 1) * 8, 0);
            }
            *mask.get_mut(cpu / 8)? |= 1 << (cpu % 8);
        }
    }
    Some(mask)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn process(value: Value) -> Process {
        serde_json::from_value(value).unwrap()
    }

    fn base(config: Value) -> ExecBase {
        serde_json::from_value(config).unwrap()
    }

    fn container() -> ExecBase {
        base(json!({
            "process": {
                "cwd": "/srv", "args": ["init"], "env": ["A=1"], "noNewPrivileges": true,
                "user": { "uid": 7, "gid": 8, "umask": 18 },
                "capabilities": { "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"] },
                "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 10, "soft": 10 }],
                "oomScoreAdj": 5,
            },
            "namespaces": ["pid", "mount", "network"],
        }))
    }

    fn names(base: &ExecBase, given: Value) -> Vec<&'static str> {
        let plan = exec(base, process(given), 40, &ExecRequest::default()).unwrap();
        plan.init.ops().map(|(_, op)| op.name()).collect()
    }

    #[test]
    fn exec_goes_through_the_steps_in_order() {
        let expected = [
            "OomScoreAdj",
            "NotDumpable",
            "JoinProcess",
            "Fork",
            "DieWithRuntime",
            "Session",
            "AllCpus",
            "Keyring",
            "OpenRoot",
            "Stdio",
            "Umask",
            "Home",
            "Cwd",
            "Rlimit",
            "Credentials",
            "Cwd",
            "Find",
            "CloseFds",
            "Exec",
        ];
        assert_eq!(names(&container(), json!({ "cwd": "/", "args": ["sh"] })), expected);
    }

    #[test]
    fn exec_without_pid_and_mount_namespace_is_one_stage_in_the_root_of_init() {
        let base =
            base(json!({ "process": { "cwd": "/" }, "namespaces": ["uts"], "noNewKeyring": true }));
        let names = names(&base, json!({ "cwd": "/", "args": ["sh"] }));
        assert!(!names.contains(&"Fork") && !names.contains(&"Keyring"), "{names:?}");
        assert!(names.contains(&"EnterRoot") && !names.contains(&"OpenRoot"), "{names:?}");
    }

    #[test]
    fn process_inherits_what_it_leaves_open() {
        let base = container();
        let made = base.complete(process(json!({ "cwd": "/", "args": ["sh"] })));
        assert_eq!((made.user.uid, made.user.umask), (0, Some(18)));
        assert_eq!((made.cwd.as_str(), made.env.len(), made.no_new_privileges), ("/", 0, false));
        assert_eq!(made.capabilities, base.process.capabilities);
        assert_eq!(made.rlimits, base.process.rlimits);
        assert_eq!(made.oom_score_adj, Some(5));
    }

    #[test]
    fn process_keeps_what_it_has() {
        let made = container().complete(process(json!({
            "cwd": "/", "args": ["sh"], "capabilities": {}, "oomScoreAdj": 6,
            "rlimits": [{ "type": "RLIMIT_CORE", "hard": 1, "soft": 1 }],
        })));
        assert_eq!(made.capabilities, Some(spec::LinuxCapabilities::default()));
        assert_eq!((made.rlimits.len(), made.oom_score_adj), (1, Some(6)));
    }

    #[test]
    fn affinity_initial_is_before_the_cgroup_and_final_after() {
        let affinity = |value: Value| {
            let names = names(
                &container(),
                json!({ "cwd": "/", "args": ["sh"], "execCPUAffinity": value }),
            );
            let is_about =
                |name: &&str| matches!(*name, "Affinity" | "AllCpus" | "EnterCgroup" | "Fork");
            names.into_iter().filter(is_about).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            affinity(json!({ "initial": "0", "final": "1" })),
            "Affinity EnterCgroup Fork Affinity"
        );
        assert_eq!(affinity(json!({ "initial": "0" })), "Affinity EnterCgroup Fork");
        assert_eq!(affinity(json!({ "final": "1" })), "Fork Affinity");
        assert_eq!(affinity(json!({})), "Fork AllCpus");
    }

    #[test]
    fn mask_of_a_list_has_its_bits() {
        assert_eq!(mask("0-3,7"), Some(vec![0b1000_1111, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(mask("64").map(|mask| (mask.len(), mask[8])), Some((16, 1)));
        assert_eq!(mask("8191").map(|mask| mask.len()), Some(1024));
        assert_eq!(mask("8192"), None);
        assert_eq!(mask("0-4294967295"), None);
    }

    #[test]
    fn exec_of_a_process_that_cannot_be_is_refused_with_the_pointer() {
        let refused = exec(
            &container(),
            process(json!({ "cwd": "srv", "args": ["sh"] })),
            40,
            &ExecRequest::default(),
        );
        assert!(
            matches!(refused, Err(Error::Property { pointer, .. }) if pointer == "/process/cwd")
        );
    }

    #[test]
    fn base_is_read_as_it_was_written() {
        let text = serde_json::to_string(&container()).unwrap();
        assert_eq!(serde_json::from_str::<ExecBase>(&text).unwrap(), container());
    }
}
