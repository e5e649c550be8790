//! Starting init and talking to it until it lives on its own.
//!
//! Runs in: runtime.

use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use corten_plan::wire::{FLAG_TRACE, set_flag};
use corten_plan::{Handle, Op, Point};

use super::conversation::{Conversation, out_of_order};
use super::create::environment;
use super::filter::Loading;
use super::stages::{at_point, second_stage, see_to_ids};
use super::undo::{Undo, kill_and_reap};
use super::{Console, ContainerProcess, CreateOptions, hook_state, read_back};
use crate::error::Error;
use crate::network::Devices;
use crate::plan::{InitPlan, Plan, Remark, SpawnPlan, describe};
use crate::runtime::handles::{self, Handles};
use crate::runtime::id_map::IdMaps;
use crate::runtime::link::{Asked, Link};
use crate::runtime::{console, gate, image, pid_file, source, stdio};
use crate::state::{Init, Process, ProcessStat, Record, StateDir, Status};
use crate::sys::spawn::{Spawn, SpawnError, spawn};
use crate::trace::{Span, Trace};

/// How long init may take from one point to the next, hooks apart. Mounts of network file systems are what can be slow.
const STEP_DEADLINE: Duration = Duration::from_secs(120);

/// A process that was just started, and what belongs to it on this side.
pub(super) struct Spawned {
    pub init: ContainerProcess,
    pub link: Link,
    /// Device and inode of its image, where it will be asked for.
    image: Option<(u64, u64)>,
    /// Where it writes the times of its ops.
    times: Option<OwnedFd>,
}

/// Has the process of this pid moved to its cgroup.
pub(super) type Placing<'a> = dyn Fn(i32) -> Result<(), Error> + 'a;

/// What to start, and where.
pub(super) struct Start<'a> {
    pub init: &'a InitPlan,
    pub spawn: &'a SpawnPlan,
    pub handles: &'a Handles<'a>,
    /// More fds for it, by the names that the plan has for them.
    pub own: &'a [(Handle, BorrowedFd<'a>)],
    /// Where it is born; `None`: where this process is.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The container's directory.
    pub state: BorrowedFd<'a>,
    /// Called with the pid of the process, or of its first stage, at its point `Placed`, if the plan of that has one.
    pub placed: Option<&'a Placing<'a>>,
    /// How many fds from 3 on it keeps.
    pub kept: u32,
    pub stdio: Option<&'a [OwnedFd; 3]>,
    /// Whether somebody will ask if it still executes its image.
    pub is_watched: bool,
    pub trace: Option<&'a Trace>,
}

/// Why nothing was started.
pub(super) enum StartError {
    /// `clone3`: maybe elsewhere it works.
    Clone(io::Error),
    Other(Error),
}

impl From<Error> for StartError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl StartError {
    /// The error of a process in these new namespaces.
    pub fn of(self, spawn: &SpawnPlan) -> Error {
        match self {
            Self::Clone(source) => {
                let flags = describe::clone_flags(spawn.clone_flags);
                let hint = clone_hint(&source, spawn.id_maps.is_some());
                Error::Os { call: format!("clone3({flags}){hint}"), source }
            }
            Self::Other(error) => error,
        }
    }
}

/// Clones the process into its namespaces and cgroup.
pub(super) fn start(what: &Start<'_>) -> Result<Spawned, StartError> {
    let span = Span::begin(what.trace, "image and plan");
    let image = image::open(what.state)?;
    let plan = image::data(&plan_bytes(what.init, what.trace.is_some()))?;
    let times = what.trace.map(|_| times_file()).transpose()?;
    let (link, inits_end) = Link::pair(deadline(what.init))?;
    let mut own = vec![(Handle::PLAN, plan.as_fd()), (Handle::SOCKET, inits_end.as_fd())];
    own.extend_from_slice(what.own);
    own.extend(times.as_ref().map(|times| (Handle::TRACE, times.as_fd())));
    let lifted = OnceCell::new();
    let mut fds = what.handles.with(own);
    let mut image_fd = image.as_fd();
    let mut streams = what.stdio.map(|fds| fds.each_ref().map(AsFd::as_fd));
    let others = std::iter::once(&mut image_fd).chain(streams.iter_mut().flatten());
    stdio::lift(fds.iter_mut().map(|(_, fd)| fd).chain(others), &lifted)
        .map_err(|source| Error::os("dup", source))?;
    let argument = handles::argument(&fds)?;
    let inherit: Vec<BorrowedFd<'_>> = fds.into_iter().map(|(_, fd)| fd).collect();
    drop(span);

    let span = Span::begin(what.trace, "clone3");
    let child = spawn(&Spawn {
        namespaces: what.spawn.clone_flags,
        cgroup: what.cgroup,
        image: image_fd,
        argv: &[c"init", argument.as_c_str()],
        stdio: streams,
        inherit: &inherit,
        first_closed: what.kept.saturating_add(3),
    })
    .map_err(spawn_error)?;
    drop(span);
    let mut init = ContainerProcess { pid: child.pid, pidfd: child.pidfd };
    // Ours would keep the socket from ever ending.
    drop(inits_end);
    see_through_first_stage(what, &link, &init)?;
    if what.spawn.two_stages {
        init = second_stage(what.init, &link, init)?;
    }
    let undo = Undo::new(&init, kill_and_reap);
    let image = what.is_watched.then(|| rustix::fs::fstat(&image)).transpose();
    let image = image.map_err(|errno| Error::os("fstat(init's image)", errno))?;
    undo.disarm();
    Ok(Spawned { init, link, image: image.map(|image| (image.st_dev, image.st_ino)), times })
}

fn see_through_first_stage(
    what: &Start<'_>,
    link: &Link,
    process: &ContainerProcess,
) -> Result<(), Error> {
    if let Some(place) = what.placed {
        let waits = (Point::Placed, "the process to be placed in its cgroup");
        at_point(what, link, process, waits, &|| place(process.pid))?;
    }
    if what.spawn.id_maps.is_some() || what.spawn.joined_id_maps.is_some() {
        let waits = (Point::Unmapped, "container init to be in its user namespace");
        at_point(what, link, process, waits, &|| see_to_ids(what, process))?;
    }
    Ok(())
}

fn spawn_error(error: SpawnError) -> StartError {
    match error {
        SpawnError::Clone(source) => StartError::Clone(source),
        SpawnError::Exec(source) => Error::os("prepare and execute init's image", source).into(),
    }
}

impl Spawned {
    /// Adds the times of its ops to the trace.
    pub fn collect_times(&self, plan: &InitPlan, trace: Option<&Trace>) {
        let (Some(trace), Some(times)) = (trace, &self.times) else { return };
        for (index, (_, op)) in plan.ops().enumerate() {
            let mut pair = [0; 16];
            let offset = u64::try_from(index * pair.len()).unwrap_or_default();
            if rustix::io::pread(times, &mut pair, offset).is_ok_and(|count| count == pair.len()) {
                let (pairs, _) = pair.as_chunks::<8>();
                if let [start, end] = pairs {
                    let (start, end) = (u64::from_le_bytes(*start), u64::from_le_bytes(*end));
                    if start != 0 {
                        trace.op(describe::step(&op), start, end.max(start));
                    }
                }
            }
        }
    }
}

/// The conversation with an init that has not been let go yet.
pub(super) struct Launch<'a> {
    plan: &'a Plan,
    options: &'a CreateOptions,
    spawned: &'a Spawned,
    id_maps: &'a IdMaps<'a>,
    devices: &'a Devices<'a>,
    stat: ProcessStat,
    /// Whether init is let go before it is ready.
    goes_ahead: bool,
}

impl<'a> Launch<'a> {
    /// Reads what is to be known of the process, and sets what only its parent may.
    pub fn new(
        plan: &'a Plan,
        options: &'a CreateOptions,
        spawned: &'a Spawned,
        id_maps: &'a IdMaps<'a>,
        devices: &'a Devices<'a>,
    ) -> Result<Self, Error> {
        let stat = ProcessStat::read(spawned.init.pid)?;
        // Whoever is told of the process by file or socket takes it for created.
        let is_published = options.pid_file.is_some() || options.pidfd_socket.is_some();
        let goes_ahead = plan.init.may_go_ahead && !is_published;
        Ok(Self { plan, options, spawned, id_maps, devices, stat, goes_ahead })
    }

    fn conversation(&self) -> Conversation<'_> {
        let Spawned { init, link, .. } = self.spawned;
        Conversation { plan: &self.plan.init, process: init, link }
    }

    /// init, as it is recorded.
    pub fn identity(&self) -> Result<Init, Error> {
        let ContainerProcess { pid, pidfd } = &self.spawned.init;
        let process = Process::of(*pid, pidfd, self.stat)?;
        Ok(Init { process, image: self.spawned.image, ahead: self.goes_ahead })
    }

    /// Has init moved to its cgroup, by its pid, while it waits before it looks at cgroups.
    pub fn placed(&self, place: impl FnOnce(i32) -> Result<(), Error>) -> Result<(), Error> {
        let _span = Span::begin(self.trace(), "have systemd make the cgroup");
        let conversation = self.conversation();
        let answer = |asked| match asked {
            Asked::Network(socket) => self.devices.move_to(socket),
            Asked::Listener(_) | Asked::IdMap(..) | Asked::Source(_) => Err(out_of_order()),
        };
        // Asked for at once: the first ops of init go on meanwhile.
        let placed = place(self.spawned.init.pid);
        if placed.is_err() && self.spawned.init.has_ended() {
            // It has said more than systemd knows of a process that is gone.
            conversation.next("container init to be placed in its cgroup", answer)?;
        }
        placed?;
        match conversation.next("container init to be placed in its cgroup", answer)? {
            Point::Placed => conversation.go(self.stat.ignored, None),
            Point::Unmapped | Point::Mounted | Point::Ready => Err(out_of_order()),
        }
    }

    /// Saves the state when init is ready, and lets it go on; or before, where nothing is to be done until it is ready. `before`
    /// is called when the state is saved; `used` is dropped when there is nothing to do but wait.
    pub fn let_go<T>(
        &self,
        (dir, intent): (&StateDir, &Record),
        record: &Record,
        agent: &mut Option<OwnedFd>,
        before: impl FnOnce() -> Result<(), Error>,
        used: T,
    ) -> Result<(), Error> {
        // While init is at work: what takes long of saving the state.
        dir.stage_state(record)?;
        let wait = |agent| {
            drop(used);
            self.until_ready(dir, intent, agent)
        };
        // Saved before init is told to go on: from then on it lives without us.
        let save_and_go = || {
            dir.commit_state()?;
            before()?;
            self.ready(record)
        };
        if self.goes_ahead {
            save_and_go()?;
            wait(agent)
        } else {
            wait(agent)?;
            save_and_go()
        }
    }

    /// Goes on until init is ready; runs the hooks of the runtime's namespaces where they belong, and gives the filter's
    /// listener to the agent (that is connected to already, or not).
    fn until_ready(
        &self,
        dir: &StateDir,
        record: &Record,
        agent: &mut Option<OwnedFd>,
    ) -> Result<(), Error> {
        let _span = Span::begin(self.trace(), "wait for init to be ready");
        let filter = Loading {
            seccomp: self.plan.seccomp.as_ref(),
            process: &self.spawned.init,
            link: &self.spawned.link,
            init: self.spawned.init.pid,
            status: Status::Creating,
        };
        loop {
            let answer = |asked| match asked {
                Asked::Listener(number) => filter.hand_over(agent, number, record),
                Asked::IdMap(op, mount) => self.map_ids(op, &mount),
                Asked::Source(op) => self.open_source(op),
                Asked::Network(socket) => self.devices.move_to(socket),
            };
            match self.conversation().next("container init to be ready", answer)? {
                Point::Ready => break,
                Point::Mounted => self.run_hooks(dir, record)?,
                Point::Unmapped | Point::Placed => return Err(out_of_order()),
            }
        }
        if !self.devices.are_moved() {
            return Err(out_of_order());
        }
        match &self.plan.seccomp {
            Some(_) => read_back::check(self.spawned.init.pid, &self.plan.init),
            None => Ok(()),
        }
    }

    fn map_ids(&self, op: u16, mount: &OwnedFd) -> Result<(), Error> {
        self.id_maps.set(op, mount.as_fd())?;
        self.conversation().go(self.stat.ignored, None)
    }

    fn open_source(&self, op: u16) -> Result<(), Error> {
        let source = source::open(&self.plan.init, op, self.spawned.init.pid)?;
        // As with hooks: it keeps what comes with a Go.
        self.conversation().go(self.stat.ignored, Some(&source))
    }

    fn run_hooks(&self, dir: &StateDir, record: &Record) -> Result<(), Error> {
        let _span = Span::begin(self.trace(), "prestart and createRuntime hooks");
        let hooks = &self.plan.hooks;
        if !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty() {
            let environment = environment(self.options);
            let creating = (Status::Creating, Some(self.spawned.init.pid));
            // Who kills init (`delete --force`) waits for us, and we must not wait for a hook then.
            let init = Some(self.spawned.init.pidfd());
            for (kind, hooks) in
                [("prestart", &hooks.prestart), ("createRuntime", &hooks.create_runtime)]
            {
                hook_state::run_all(kind, hooks, (dir, record), creating, &environment, init)?;
            }
        }
        let state = self.plan.init.state_at_mounted;
        let state = state.then(|| self.state_for_init(record, Status::Creating)).transpose()?;
        self.conversation().go(self.stat.ignored, state.as_ref())
    }

    /// Lets init go on from Ready: from here on it does not die with us.
    fn ready(&self, record: &Record) -> Result<(), Error> {
        let state = self.plan.init.state_at_ready;
        let state = state.then(|| self.state_for_init(record, Status::Created)).transpose()?;
        self.conversation().go(self.stat.ignored, state.as_ref())
    }

    /// Waits until init has executed the user's program, or failed to.
    pub fn wait_for_execve(&self) -> Result<(), Error> {
        let _span = Span::begin(self.trace(), "wait for execve");
        self.conversation().wait_for_execve()
    }

    /// The state in a memfd of its own, with the pid that processes of the container see (runtime.md, "State").
    fn state_for_init(&self, record: &Record, status: Status) -> Result<OwnedFd, Error> {
        let pid =
            if record.private_pid_namespace { 1 } else { innermost_pid(self.spawned.init.pid)? };
        image::sealed_data(&hook_state::json(record, status, Some(pid))?)
    }

    fn trace(&self) -> Option<&Trace> {
        self.options.trace.as_deref()
    }

    /// Adds the times of init's ops to the trace.
    pub fn collect_trace(&self) {
        self.spawned.collect_times(&self.plan.init, self.trace());
    }
}

/// Tells the caller which process it is; `kind`: what runc calls it.
pub(super) fn publish(
    process: &ContainerProcess,
    pid_file: Option<&Path>,
    handles: &Handles<'_>,
    kind: &[u8],
) -> Result<(), Error> {
    if let Some(path) = pid_file {
        pid_file::write(path, process.pid)?;
    }
    if let Some(socket) = &handles.pidfd_socket {
        let sent = console::send_fd(socket.as_fd(), kind, process.pidfd());
        sent.map_err(|source| Error::os("send to --pidfd-socket", source))?;
    }
    Ok(())
}

/// In the words of runc. A connected socket is for whoever shows a terminal should there be one.
pub(super) fn check_console(has_terminal: bool, console: Option<&Console>) -> Result<(), Error> {
    let problem = match (has_terminal, console) {
        (true, None) => "cannot allocate tty if corten will detach without setting console socket",
        (false, Some(Console::Socket(_))) => {
            "cannot use console socket if corten will not detach or allocate tty"
        }
        _ => return Ok(()),
    };
    Err(Error::Argument { flag: "--console-socket", problem: problem.into() })
}

/// Nobody would take it.
pub(super) fn refuse_receiver(console: Option<&Console>) -> Result<(), Error> {
    match console {
        Some(Console::Receive) => Err(Error::Argument {
            flag: "console",
            problem: "Console::Receive is for run_prepared and exec_prepared".into(),
        }),
        _ => Ok(()),
    }
}

/// Logs the warnings, and refuses what this version cannot give.
pub(super) fn refuse_unsupported(warnings: &[Remark], unsupported: &[Remark]) -> Result<(), Error> {
    for warning in warnings {
        log::warn!("{}: {}", warning.pointer, warning.text);
    }
    match unsupported.first() {
        Some(first) => {
            Err(Error::Unsupported { pointer: first.pointer.clone(), feature: first.text.clone() })
        }
        None => Ok(()),
    }
}

/// The pid in the process's own pid namespace: the last number of the NSpid line.
fn innermost_pid(pid: i32) -> Result<i32, Error> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).map_err(|error| Error::os(&path, error))?;
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    Ok(line.and_then(|pids| pids.split_ascii_whitespace().last()?.parse().ok()).unwrap_or(pid))
}

/// The plan with the flags of this start.
fn plan_bytes(plan: &InitPlan, is_traced: bool) -> Vec<u8> {
    let mut bytes = plan.bytes.clone();
    if is_traced {
        set_flag(&mut bytes, FLAG_TRACE);
    }
    bytes
}

fn times_file() -> Result<OwnedFd, Error> {
    rustix::fs::memfd_create("corten-trace", rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(|errno| Error::os("memfd_create", errno))
}

/// How long init may be silent: hooks without a timeout may take for ever, as the specification has it.
fn deadline(plan: &InitPlan) -> Option<Duration> {
    if !plan.state_at_mounted && !plan.state_at_ready {
        return Some(STEP_DEADLINE);
    }
    plan.ops().try_fold(STEP_DEADLINE, |sum, (_, op)| match op {
        Op::Hook { timeout_ms: 0, .. } => None,
        Op::Hook { timeout_ms, .. } => Some(sum + Duration::from_millis(timeout_ms)),
        _ => Some(sum),
    })
}

fn clone_hint(error: &io::Error, with_user_namespace: bool) -> String {
    let switch = error.raw_os_error().filter(|_| with_user_namespace);
    if let Some(text) = switch.and_then(|errno| gate::explain(gate::Refused::Namespace, errno)) {
        return format!(": {text}");
    }
    let hint = match error.raw_os_error() {
        Some(libc::EPERM) => ": new namespaces need CAP_SYS_ADMIN",
        Some(libc::ENOSPC) => ": a limit of /proc/sys/user/max_*_namespaces is reached",
        Some(libc::EAGAIN) => ": a limit on processes is reached (pids.max, RLIMIT_NPROC)",
        Some(libc::EBUSY) => ": the cgroup has controllers enabled for its children",
        Some(libc::EACCES) => {
            ": it may not be born in that cgroup: who has no right to cgroup.procs of the one that both are below (cgroups(7), \
             \"Delegation containment\") runs below the user's systemd (systemd-run --user --scope -p Delegate=yes COMMAND), or has \
             it make the cgroup (--systemd-cgroup)"
        }
        _ => "",
    };
    hint.to_owned()
}

/// What a step of init was refused for that AppArmor keeps from using its user namespace.
pub(super) fn explained(error: Error, spawn: &SpawnPlan) -> Error {
    let Error::Init(mut inner) = error else { return error };
    if spawn.id_maps.is_some()
        && let Some(text) = gate::explain(gate::Refused::Step, inner.errno)
    {
        inner.message = format!("{}: {text}", inner.message);
    }
    Error::Init(inner)
}
