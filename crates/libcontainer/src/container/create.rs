//! `create` and `run`: from a bundle to a container whose init waits for `start`, or has started already.
//!
//! Runs in: runtime.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::SystemTime;

use corten_plan::Handle;

use super::hook_state::own_environment;
use super::launch::{self, Launch, Spawned, Start};
use super::place::{Made, Place};
use super::undo::{self, Left, Undo};
use super::{Container, ContainerProcess, CreateOptions, filter};
use crate::cgroup::systemd;
use crate::error::Error;
use crate::host::{self, Facts};
use crate::intel_rdt::Rdt;
use crate::network::Devices;
use crate::plan::{self, ExecBase, LateSteps, Plan, Request};
use crate::runtime::handles::{Handles, Outside};
use crate::runtime::id_map::IdMaps;
use crate::runtime::new_network::NewNetwork;
use crate::runtime::{notify, start_fifo};
use crate::spec::Bundle;
use crate::state::{self, CgroupRecord, ContainerId, Record, StateDir};
use crate::trace::Span;

impl Container {
    /// What `create` would do: reads the bundle and the facts of this host, and changes nothing.
    ///
    /// # Errors
    /// config.json cannot be used. What this version does not support is in the plan, marked.
    pub fn plan(options: &CreateOptions) -> Result<Plan, Error> {
        prepare(options, false).map(|(_, _, plan)| plan)
    }

    /// Creates a container and leaves its init waiting for [`Container::start`].
    ///
    /// Everything that can be refused is refused before the first side effect; when something fails after, all of it is
    /// undone. Until this returns, init dies with this process.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn create(options: &CreateOptions) -> Result<(Self, ContainerProcess), Error> {
        launch::refuse_receiver(options.console.as_ref())?;
        create(options, false, |_| {})
    }

    /// Creates and starts a container; on return the user's program has been executed.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn run(options: &CreateOptions) -> Result<(Self, ContainerProcess), Error> {
        launch::refuse_receiver(options.console.as_ref())?;
        create(options, true, |_| {})
    }

    /// As [`Container::run`], and calls `before_execve` with the socket of [`Console::Receive`], if config.json asks for a terminal, when the terminal's master has been sent and the program is not executed yet:
    /// who shows the terminal then sets its size and modes, so that the program never sees others.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn run_prepared(
        options: &CreateOptions,
        before_execve: impl FnOnce(Option<BorrowedFd<'_>>),
    ) -> Result<(Self, ContainerProcess), Error> {
        create(options, true, before_execve)
    }
}

/// As runc says it.
const NO_MEMBERS: &str = "creating a container with no cgroup and no private pid namespace. Such configuration is strongly discouraged: \
     it is impossible to properly kill all of its processes";

fn create(
    options: &CreateOptions,
    start_at_once: bool,
    before_execve: impl FnOnce(Option<BorrowedFd<'_>>),
) -> Result<(Container, ContainerProcess), Error> {
    let id = ContainerId::new(&options.id)?;
    let prepared = prepare(options, start_at_once)?;
    carry_out(options, id, &prepared, start_at_once, before_execve)
        .map_err(|error| launch::explained(error, &prepared.2.spawn))
}

fn carry_out(
    options: &CreateOptions,
    id: ContainerId,
    (bundle, facts, plan): &(Bundle, Facts, Plan),
    start_at_once: bool,
    before_execve: impl FnOnce(Option<BorrowedFd<'_>>),
) -> Result<(Container, ContainerProcess), Error> {
    let trace = options.trace.as_deref();
    launch::refuse_unsupported(&plan.warnings, &plan.unsupported)?;
    launch::check_console(plan.terminal, options.console.as_ref())?;
    let mut agent = filter::prepare(plan.seccomp.as_ref(), plan.has_hooks_before_init_is_ready())?;
    let handles = Handles::open(&plan.spawn.joins, plan.terminal, &options.outside())?;
    let id_maps = IdMaps::make(&plan.init, &handles)?;
    let rdt = Rdt::look(plan.intel_rdt.as_ref())?;
    let devices = Devices::find(&plan.net_devices)?;
    // As soon as nothing is refused any more: it goes with us, and nobody can see it.
    let network = plan.spawn.network_ahead.then(NewNetwork::begin).transpose()?;
    // --- nothing on the machine has changed so far ---

    let span = Span::begin(trace, "state");
    let dir = StateDir::create(&options.root, &id)?;
    let lock = dir.lock_new()?;
    let left = Left::default();
    let state = (&dir, &left);
    let undo_state = Undo::new(&state, undo::remove_state);
    // A cgroup that others live in is not ours to kill: look before the intent says that it is.
    let place = Place::look(&facts.cgroup, plan.cgroup.as_ref())?;
    let intent =
        Record { intel_rdt: rdt.intent(), ..intent(&id, bundle, facts, plan, place.record())? };
    write_intent(&dir, &intent)?;
    if options.notify {
        notify::make(&dir)?;
    }
    let poststop = (&dir, &intent, options, &left);
    let undo_hooks = Undo::new(&poststop, undo::run_poststop);
    drop(span);

    let span = Span::begin(trace, "cgroup");
    let cgroup = Made::new(intent.cgroup.as_ref(), &left);
    let undo_cgroup = Undo::new(&cgroup, Made::remove);
    let scope = place.create(&cgroup)?;
    if scope.is_none() && cgroup.fd().is_none() && !intent.private_pid_namespace {
        log::warn!("{NO_MEMBERS}");
    }
    drop(span);

    let undo_rdt = Undo::new(&rdt, Rdt::unmake);
    rdt.make()?;
    let fifo = if start_at_once { None } else { Some(start_fifo::create(&dir)?) };
    let spawned = start_init(plan, options, &handles, cgroup.fd(), fifo.as_ref(), dir.fd())?;
    let undo_init = Undo::new(&spawned.init, undo::kill_and_reap);
    log::debug!("init is process {}", spawned.init.pid);
    network.as_ref().map_or(Ok(()), |network| network.send(&spawned.link))?;
    cgroup.complete(plan.cgroup.as_ref())?;
    rdt.assign(spawned.init.pid)?;
    let undo_devices = Undo::new(&devices, Devices::give_back);
    let launch = Launch::new(plan, options, &spawned, &id_maps, &devices)?;
    if let Some(mut scope) = scope {
        launch.placed(|pid| {
            let cgroup = cgroup.set(scope.start(pid)?);
            scope.prepare(cgroup)
        })?;
    }
    let record = Record {
        init: Some(launch.identity()?),
        exec: Some(ExecBase::of(bundle, facts, plan.seccomp.clone(), options.no_new_keyring)),
        cgroup: cgroup.record()?,
        intel_rdt: rdt.record(),
        ..intent.clone()
    };
    let before = || {
        launch::publish(&spawned.init, options.pid_file.as_deref(), &handles, b"standard")?;
        before_execve(handles.console_receiver());
        Ok(())
    };
    launch.let_go((&dir, &intent), &record, &mut agent, before, network)?;
    if start_at_once {
        launch.wait_for_execve()?;
    }
    launch.collect_trace();
    undo_devices.disarm();
    undo_init.disarm();
    undo_rdt.disarm();
    undo_cgroup.disarm();
    undo_hooks.disarm();
    undo_state.disarm();
    drop(lock);
    let container = Container { dir, record: Box::new(record), made: cgroup.into_cgroup() };
    if start_at_once {
        let ran = container.run_poststart(spawned.init.pid, || environment(options));
        ran.inspect_err(|_| undo::kill_and_reap(&spawned.init))?;
    }
    Ok((container, spawned.init))
}

/// Starts init in its namespaces and its cgroup; with a fifo it waits for `start` there.
fn start_init(
    plan: &Plan,
    options: &CreateOptions,
    handles: &Handles<'_>,
    cgroup: Option<BorrowedFd<'_>>,
    fifo: Option<&OwnedFd>,
    state: BorrowedFd<'_>,
) -> Result<Spawned, Error> {
    let fifo = fifo.map(|fifo| (Handle::START_FIFO, fifo.as_fd()));
    let started = launch::start(&Start {
        init: &plan.init,
        spawn: &plan.spawn,
        handles,
        own: fifo.as_slice(),
        cgroup,
        state,
        placed: None,
        kept: options.listen_fds.saturating_add(options.preserve_fds),
        stdio: options.stdio.as_ref(),
        is_watched: fifo.is_some() || plan.init.may_go_ahead,
        trace: options.trace.as_deref(),
    });
    started.map_err(|error| error.of(&plan.spawn))
}

/// Reads what was asked for and decides what will be done; no effects.
fn prepare(options: &CreateOptions, start_at_once: bool) -> Result<(Bundle, Facts, Plan), Error> {
    let trace = options.trace.as_deref();
    let span = Span::begin(trace, "load config.json");
    let mut bundle = Bundle::load(&options.bundle)?;
    if options.notify {
        notify::add(&mut bundle, &host::absolute(&options.root)?.join(&options.id));
    }
    drop(span);
    let span = Span::begin(trace, "host facts");
    let facts = Facts::read(&bundle.spec)?;
    drop(span);
    let _span = Span::begin(trace, "plan");
    let request = Request {
        id: options.id.clone(),
        bundle: bundle.dir.clone(),
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
        preserved_fds: options.listen_fds.saturating_add(options.preserve_fds),
        listen_fds: options.listen_fds,
        start_at_once,
        environment: if has_hooks_in_init(&bundle) { environment(options) } else { Vec::new() },
        systemd: options.systemd_cgroup.then(systemd::manager_of_caller),
        no_cgroup: options.no_cgroup,
        rootless: options.rootless,
    };
    let plan = plan::plan(&bundle, &facts, &request)?;
    Ok((bundle, facts, plan))
}

impl CreateOptions {
    fn outside(&self) -> Outside<'_> {
        Outside {
            console: self.console.as_ref(),
            pidfd_socket: self.pidfd_socket.as_deref(),
            listen_fds: self.listen_fds,
            preserve_fds: self.preserve_fds,
        }
    }
}

/// Whether the plan has hooks with an environment in it.
fn has_hooks_in_init(bundle: &Bundle) -> bool {
    bundle.spec.hooks.as_ref().is_some_and(|hooks| !hooks.create_container.is_empty())
}

/// What hooks get that have no environment of their own.
pub(super) fn environment(options: &CreateOptions) -> Vec<std::ffi::OsString> {
    options.hook_environment.clone().unwrap_or_else(own_environment)
}

fn intent(
    id: &ContainerId,
    bundle: &Bundle,
    facts: &Facts,
    plan: &Plan,
    cgroup: Option<CgroupRecord>,
) -> Result<Record, Error> {
    Ok(Record {
        format: Record::current_format(),
        oci_version: bundle.spec.oci_version.clone(),
        id: id.to_string(),
        bundle: bundle.dir.clone(),
        rootfs: plan.rootfs.clone(),
        created: state::rfc3339(SystemTime::now()),
        owner: facts.euid,
        annotations: bundle.spec.annotations.clone(),
        boot_id: state::boot_id()?.to_owned(),
        init: None,
        exec: None,
        cgroup,
        resources: bundle
            .spec
            .linux
            .as_ref()
            .and_then(|linux| linux.resources.clone())
            .unwrap_or_default(),
        private_pid_namespace: plan.has_private_pid_namespace(),
        late: LateSteps::of(&plan.init),
        intel_rdt: None,
        poststart: plan.hooks.poststart.clone(),
        poststop: plan.hooks.poststop.clone(),
    })
}

#[cfg(not(feature = "fault-no-intent"))]
fn write_intent(dir: &StateDir, record: &Record) -> Result<(), Error> {
    dir.write_intent(record)
}

/// A build that leaves the intent out, to show that `cargo xtask fault` finds the leaks of such a runtime.
#[cfg(feature = "fault-no-intent")]
fn write_intent(_dir: &StateDir, _record: &Record) -> Result<(), Error> {
    Ok(())
}
