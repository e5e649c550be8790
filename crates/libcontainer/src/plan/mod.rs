//! From what the user asked to what the kernel will be told: pure functions.
//!
//! `plan(&Bundle, &Facts, &Request) -> Plan` makes no system call, reads no file and no environment variable; its
//! tests run under a seccomp filter that allows little more than memory. Each file here lowers one part of
//! config.json and mirrors the file of the same name in `crates/init`. `order` is where to begin reading: it has
//! every step of init, in order, with the reason of its place.
//!
//! Runs in: any process.

mod annotations;
mod cgroup;
mod credentials;
pub mod describe;
mod devices;
mod errno;
mod exec;
mod gvariant;
mod hints;
mod hooks;
mod id_maps;
mod intel_rdt;
mod late;
mod lsm;
mod memory_policy;
mod mounts;
mod namespaces;
mod options;
pub mod print;
mod process;
mod program;
pub(crate) mod properties;
mod resources;
mod root_namespace;
mod rootfs;
mod seccomp;
mod steps;
mod sysctl;
#[cfg(test)]
mod tests;
mod types;
mod unit;
mod unsupported;
mod user_namespace;
mod words;

use corten_plan::wire::FLAG_EXPECT_PID1;
use corten_plan::{Op, Point};

use self::annotations::Annotations;
pub(crate) use self::annotations::{HOOKS_STDERR, HOOKS_STDOUT};
pub(crate) use self::credentials::NAMES as CAPABILITIES;
pub(crate) use self::devices::program as device_program;
pub use self::exec::{ExecBase, ExecPlan, ExecRequest, exec};
pub use self::gvariant::{Type, Value};
pub use self::late::LateSteps;
pub(crate) use self::options::WORDS as MOUNT_OPTIONS;
pub(crate) use self::resources::Update;
pub use self::resources::{Otherwise, Setting};
pub use self::seccomp::{Listener, SeccompPlan};
pub use self::types::{
    CgroupPlan, IdMapPlan, InitPlan, MapSource, NamespacePath, NetDevice, Origin, Plan, RdtPlan,
    Remark, Request, RuntimeHooks, SpawnPlan,
};
pub use self::unit::{Manager, Property, UnitPlan, pids};
pub(crate) use self::unit::{limits, round_quotas};
pub use self::user_namespace::IdMaps;
pub(crate) use self::user_namespace::on_host;

use self::mounts::PlannedMount;
use self::namespaces::Namespaces;
use self::process::Environment;
use self::program::Program;
use self::steps::{Steps, c_string};
use self::user_namespace::MappedIds;
use self::words::{CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER};
use crate::error::Error;
use crate::host::Facts;
use crate::spec::{Bundle, Hooks, Linux, Process, Root, Spec, SpecError};

/// What everything is planned from.
struct Inputs<'a> {
    bundle: &'a Bundle,
    facts: &'a Facts,
    request: &'a Request,
    spec: &'a Spec,
    root: &'a Root,
    process: &'a Process,
    linux: &'a Linux,
    hooks: &'a Hooks,
    namespaces: Namespaces,
}

/// What `create`, or `run`, will do.
///
/// What this version does not support is in [`Plan::unsupported`]; such a plan is for printing only.
///
/// # Errors
/// [`Error::Property`]: a property cannot mean anything that the kernel could do.
pub fn plan(bundle: &Bundle, facts: &Facts, request: &Request) -> Result<Plan, Error> {
    let refused = |SpecError { pointer, problem }| Error::Property { pointer, problem };
    make(bundle, facts, request).map_err(refused)
}

fn make(bundle: &Bundle, facts: &Facts, request: &Request) -> Result<Plan, SpecError> {
    let spec = &bundle.spec;
    let required = |pointer: &str| SpecError::new(pointer, "is required");
    // Their defaults allocate nothing: all in them is empty.
    let (no_linux, no_hooks) = (Linux::default(), Hooks::default());
    let linux = spec.linux.as_ref().unwrap_or(&no_linux);
    let mut inputs = Inputs {
        bundle,
        facts,
        request,
        spec,
        root: spec.root.as_ref().ok_or_else(|| required("/root"))?,
        process: spec.process.as_ref().ok_or_else(|| required("/process"))?,
        linux,
        hooks: spec.hooks.as_ref().unwrap_or(&no_hooks),
        namespaces: Namespaces::of(linux)?,
    };
    user_namespace::check_caller(linux, &inputs.process.user, facts)?;
    let mounts = mounts::read(&spec.mounts, &rootfs::path(&inputs));
    inputs.namespaces.copies_no_mounts = root_namespace::is_enough(&inputs, &mounts);
    let mut warnings = warnings(&inputs);
    let spawn = inputs.namespaces.spawn(inputs.linux, facts);
    let cgroup = cgroup::plan(&inputs, &mounts, &mut warnings)?;
    let profile = inputs.linux.seccomp.as_ref();
    let seccomp = profile.map(|profile| SeccompPlan::of(profile, &mut warnings)).transpose()?;
    let steps = order(&inputs, &mounts, seccomp.as_ref(), &mut warnings)?;
    let init = steps.finish(flags(&spawn))?;
    let init = InitPlan {
        state_at_mounted: !inputs.hooks.create_container.is_empty(),
        state_at_ready: !inputs.hooks.start_container.is_empty(),
        may_go_ahead: init.id_maps.is_empty() && may_go_ahead(&inputs, seccomp.as_ref()),
        ..init
    };
    Ok(Plan {
        spawn,
        cgroup,
        hooks: hooks::of_runtime(inputs.hooks),
        intel_rdt: intel_rdt::plan(inputs.linux, &inputs.request.id),
        net_devices: namespaces::net_devices(inputs.linux),
        terminal: inputs.process.terminal,
        rootfs: rootfs::path(&inputs),
        init,
        seccomp,
        unsupported: unsupported::find(&inputs),
        warnings,
    })
}

/// See [`InitPlan::may_go_ahead`].
fn may_go_ahead(inputs: &Inputs<'_>, seccomp: Option<&SeccompPlan>) -> bool {
    let Inputs { process, linux, hooks, namespaces, request, .. } = inputs;
    let has_hooks = hooks::any_before_pivot(hooks) || !hooks.start_container.is_empty();
    let is_asked = process.terminal || !linux.net_devices.is_empty() || request.systemd.is_some();
    let is_filtered = seccomp.is_some_and(|seccomp| seccomp.needs_runtime(process));
    let may_ask = namespaces.has(CLONE_NEWUSER);
    request.start_at_once && !has_hooks && !is_asked && !is_filtered && !may_ask
}

/// Whether init may go on without its network namespace, which is being made, until a mount asks for it: no other `Go` comes before,
/// and the runtime wants nothing that is in there.
fn enters_network_late(inputs: &Inputs<'_>) -> bool {
    inputs.namespaces.is_network_ahead()
        && inputs.request.systemd.is_none()
        && inputs.linux.net_devices.is_empty()
}

/// A program that was started by hand must not act on the host: where init is to be pid 1, it checks.
fn flags(spawn: &SpawnPlan) -> u32 {
    let flags = spawn.clone_flags | spawn.fork_flags;
    if flags & CLONE_NEWPID != 0 { FLAG_EXPECT_PID1 } else { 0 }
}

fn warnings(inputs: &Inputs<'_>) -> Vec<Remark> {
    let of_spec = inputs.bundle.warnings.iter();
    let mut warnings: Vec<Remark> =
        of_spec.map(|warning| Remark::new(&warning.pointer, warning.problem.as_str())).collect();
    if inputs.linux.personality.as_ref().is_some_and(|personality| !personality.flags.is_empty()) {
        let text = "is ignored: the specification defines no flags";
        warnings.push(Remark::new("/linux/personality/flags", text));
    }
    warnings.extend(Annotations(&inputs.spec.annotations).warnings());
    warnings
}

/// Every step of init, in order. `docs/init-sequence.md` says more on each.
fn order(
    inputs: &Inputs<'_>,
    mounts: &[PlannedMount<'_>],
    seccomp: Option<&SeccompPlan>,
    warnings: &mut Vec<Remark>,
) -> Result<Steps, SpecError> {
    let Inputs { process, linux, hooks, namespaces, .. } = inputs;
    let program = Program {
        process,
        personality: linux.personality.as_ref(),
        memory_policy: linux.memory_policy.as_ref(),
        environment: Environment::of(&process.env, inputs.request.listen_fds)?,
        last_capability: inputs.facts.last_capability,
        keeps_groups: Annotations(&inputs.spec.annotations).keeps_groups()
            || user_namespace::keeps_groups(linux, inputs.facts),
        preserved_fds: inputs.request.preserved_fds,
        seccomp,
        has_hooks: !hooks.start_container.is_empty(),
    };
    let fills_dev = mounts::fills_dev(mounts);
    let mut steps = Steps::new();

    // Lowering it takes CAP_SYS_RESOURCE, which counts in the initial user namespace: for a process that is born in a new one the
    // runtime does it at Unmapped, and what was set so may be set again. A first stage does it before it enters any namespace: in
    // a mount namespace that it joins, /proc is anybody's.
    let is_mapped = namespaces.is_new(CLONE_NEWUSER) && !namespaces.has_two_stages();
    if !is_mapped {
        process::oom_score(&mut steps, process)?;
    }
    // The first stage, in the runtime's pid namespace. All that is below happens in the child that Fork makes: setns
    // and unshare of pid and time namespaces are for children only.
    namespaces.first_stage(&mut steps, linux)?;
    if is_mapped {
        process::oom_score(&mut steps, process)?;
    }

    // The user's systemd has process 1 move what it may not move itself, which that does for processes of the same user alone:
    // so before the ids are others.
    let by_user = inputs.request.systemd == Some(Manager::User);
    if by_user {
        steps.push("--systemd-cgroup", &Op::Sync { point: Point::Placed as u8 });
    }
    // What init makes from here on belongs to them; a change of ids takes away what the next step asks for.
    if let Some(ids) = MappedIds::of(linux, &process.user) {
        user_namespace::check_user(linux, &process.user)?;
        ids.enter(&mut steps);
    }
    // First of all: an init that outlives a killed runtime is found by nobody until the state is saved. Not before
    // Fork: a child does not inherit it.
    steps.always(&Op::DieWithRuntime);
    // Before anything of the container runs: no signal of the caller's terminal, no TIOCSTI into it, no keys of it.
    steps.always(&Op::Session);
    steps.always(&Op::AllCpus);
    process::keyring(&mut steps, process, &inputs.request.id, inputs.request.no_new_keyring)?;
    let enters_network_late = enters_network_late(inputs);
    if namespaces.is_network_ahead() && !enters_network_late {
        namespaces::enter_network(&mut steps);
    }
    // Where systemd makes the cgroup, it does so around a process that is there: init is moved before it looks at cgroups.
    if inputs.request.systemd.is_some() && !by_user {
        steps.push("--systemd-cgroup", &Op::Sync { point: Point::Placed as u8 });
    }
    // Before any cgroup2 is mounted: its root is that of the namespace of the process that mounts it.
    match namespaces.by_init() {
        0 => {}
        flags => steps.push("/linux/namespaces", &Op::Unshare { flags }),
    }
    // Before hooks, which may add addresses and routes (CNI).
    if namespaces.is_new(CLONE_NEWNET) {
        if !namespaces.is_network_ahead() {
            steps.push("/linux/namespaces", &Op::Loopback);
        }
        namespaces::hand_over_network(&mut steps, linux);
    }

    // Cut off from the host before the first mount: no mount of ours may propagate to it.
    rootfs::enter(&mut steps, inputs)?;
    // In the order of config.json (MUST): a mount may be the target or the source of a later one.
    mounts::make(&mut steps, inputs, mounts, enters_network_late)?;
    // After the mounts: what is mounted on /dev would hide them.
    if fills_dev {
        rootfs::fill_dev(&mut steps, linux)?;
    }

    // The hooks of create see all mounts and the old root, in this order (runtime.md, "Lifecycle").
    hooks::wait_for_runtime(&mut steps, hooks, linux);
    hooks::create_container(&mut steps, inputs, hooks)?;
    // After the hooks: they may have mounted something where it is. Before anything is read-only.
    process::make_cwd(&mut steps, process)?;
    // After hooks and cwd, which may need to write there. Before pivot: the null device that covers files is the
    // host's, and after pivot no mount of the host can be cloned any more.
    rootfs::protect_paths(&mut steps, linux, hooks, mounts)?;

    rootfs::jail(&mut steps, inputs);
    // After pivot: the terminal's name and the null device are then those of the container. Before /dev and the root
    // become read-only: /dev/console may have to be made.
    process::stdio(&mut steps, process, fills_dev, namespaces.has(CLONE_NEWNS));
    mounts::make_readonly(&mut steps, mounts)?;
    rootfs::make_readonly(&mut steps, inputs.root);

    // In namespaces that are complete by now, and still with the privileges of the runtime.
    set_name(&mut steps, "/hostname", &inputs.spec.hostname, |name| Op::Hostname { name })?;
    set_name(&mut steps, "/domainname", &inputs.spec.domainname, |name| Op::Domainname { name })?;
    sysctl::write(&mut steps, linux)?;
    if !inputs.request.start_at_once {
        // Before a filter that could forbid it.
        steps.always(&Op::EndBySignals);
    }
    program.prepare(&mut steps, warnings)?;

    // Here the state is saved. Nothing that a start does not need comes after: from here on nobody may be there to read
    // an error.
    steps.always(&Op::Sync { point: Point::Ready as u8 });
    if !inputs.request.start_at_once {
        steps.always(&Op::WaitStart);
    }
    program.before_hooks(&mut steps);
    hooks::start_container(&mut steps, hooks, &program.environment)?;
    program.execute(&mut steps)?;
    Ok(steps)
}

fn set_name(
    steps: &mut Steps,
    pointer: &'static str,
    name: &str,
    op: impl for<'b> Fn(&'b std::ffi::CStr) -> Op<'b>,
) -> Result<(), SpecError> {
    if !name.is_empty() {
        let name = c_string(&pointer.into(), name)?;
        steps.push(pointer, &op(&name));
    }
    Ok(())
}
