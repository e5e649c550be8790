//! `exec`: one more process in a container that is there.
//!
//! It changes nothing that is recorded and takes no lock: it holds a pidfd of init, which the namespaces are taken from, and an
//! fd of the cgroup, in which the process is born. A container that is deleted meanwhile takes it along.
//!
//! Runs in: runtime.

use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use corten_plan::Point;
use rustix::fs::{Mode, OFlags};

use super::conversation::{Conversation, out_of_order};
use super::filter::{self, Loading};
use super::launch::{self, Placing, Spawned, Start, StartError};
use super::undo::{self, Undo};
use super::{Console, Container, ContainerProcess, LiveInit, read_back};
use crate::cgroup::{Cgroup, permission, systemd};
use crate::error::Error;
use crate::host;
use crate::intel_rdt;
use crate::plan::{self, ExecBase, ExecPlan, ExecRequest, Manager};
use crate::runtime::handles::{Handles, Outside};
use crate::runtime::link::Asked;
use crate::spec::Process;
use crate::state::{CgroupRecord, Init, ProcessStat, Record, Status, UnitRecord};
use crate::trace::{Span, Trace};

/// What `exec` is told.
#[derive(Debug, Default)]
pub struct ExecOptions {
    /// The process; begin with [`Container::process`] to have what config.json had. Absent capabilities, rlimits, labels,
    /// scheduler, ioPriority, oomScoreAdj, umask and CPU affinity are those of the container.
    pub process: Process,
    /// Who gets the terminal; needed when `process` asks for one.
    pub console: Option<Console>,
    /// Gets the pid of the process, in decimal, without a newline.
    pub pid_file: Option<PathBuf>,
    /// A listening stream socket that gets a pidfd of the process.
    pub pidfd_socket: Option<PathBuf>,
    /// How many fds the process keeps after those of `listen_fds`.
    pub preserve_fds: u32,
    /// How many fds from 3 on are passed as LISTEN_FDS.
    pub listen_fds: u32,
    /// A cgroup below the container's, which must exist. `None`: the container's own, or where its init has gone when that
    /// takes no processes.
    pub cgroup: Option<PathBuf>,
    /// Whether to go on in a container that is paused: the call then returns when it is resumed.
    pub ignore_paused: bool,
    /// What becomes fds 0, 1 and 2 of the process; `None`: the caller's own.
    pub stdio: Option<[OwnedFd; 3]>,
    /// Collects where the time goes.
    pub trace: Option<Arc<Trace>>,
}

/// The container that is executed in, as it is recorded by now, and its init.
struct Target<'a> {
    record: Cow<'a, Record>,
    init: LiveInit,
}

impl Container {
    /// `/process` of config.json as it was at create: what [`ExecOptions::process`] begins with.
    ///
    /// # Errors
    /// [`Error::WrongStatus`] of a container that is not created yet.
    pub fn process(&self) -> Result<Process, Error> {
        Ok(self.exec_base(&*self.latest()?)?.process.clone())
    }

    /// Starts a process in the container; on return its program has been executed. It is a child of the calling process, and
    /// lives on without it.
    ///
    /// # Errors
    /// [`Error::WrongStatus`] with runc's texts `cannot exec in a stopped container` and `cannot exec in a paused container
    /// (use --ignore-paused to override)`; [`Error::Init`] when a step or the program fails.
    pub fn exec(&self, options: &ExecOptions) -> Result<ContainerProcess, Error> {
        launch::refuse_receiver(options.console.as_ref())?;
        self.exec_prepared(options, |_| {})
    }

    /// As [`Container::exec`], and calls `before_execve` as [`Container::run_prepared`] does.
    ///
    /// # Errors
    /// As [`Container::exec`].
    pub fn exec_prepared(
        &self,
        options: &ExecOptions,
        before_execve: impl FnOnce(Option<BorrowedFd<'_>>),
    ) -> Result<ContainerProcess, Error> {
        let span = Span::begin(options.trace.as_deref(), "look at the container");
        let (target, cgroup) = self.look_for_exec(options)?;
        drop(span);
        let started = self.exec_beside(&target, cgroup, options, before_execve);
        started.map_err(|error| match target.init.has_ended() {
            true => self.ended_meanwhile(&error),
            false => error,
        })
    }

    fn exec_beside(
        &self,
        target: &Target<'_>,
        cgroup: Option<Cgroup>,
        options: &ExecOptions,
        before_execve: impl FnOnce(Option<BorrowedFd<'_>>),
    ) -> Result<ContainerProcess, Error> {
        let trace = options.trace.as_deref();
        let span = Span::begin(trace, "plan");
        let mover = target.mover()?;
        let plan = self.exec_plan(&target.record, options, mover.is_some())?;
        launch::check_console(plan.terminal, options.console.as_ref())?;
        let seccomp = self.exec_base(&target.record)?.seccomp();
        let mut agent = filter::prepare(seccomp, false)?;
        let handles = Handles::open(&[], plan.terminal, &options.outside())?;
        drop(span);
        let spawned = self.spawn_beside(target, cgroup, &plan, &handles, options, mover)?;
        let undo = Undo::new(&spawned.init, undo::kill_and_reap);
        let process =
            Conversation { plan: &plan.init, process: &spawned.init, link: &spawned.link };
        if plan.reports_ready {
            let span = Span::begin(trace, "wait for the process to be ready");
            let filter = Loading {
                seccomp,
                process: &spawned.init,
                link: &spawned.link,
                init: target.init.pid,
                status: Status::Running,
            };
            let answer = |asked| match asked {
                Asked::Listener(number) => filter.hand_over(&mut agent, number, &target.record),
                Asked::Source(_) | Asked::IdMap(..) | Asked::Network(_) => Err(out_of_order()),
            };
            if process.next("the process to be ready", answer)? != Point::Ready {
                return Err(out_of_order());
            }
            if seccomp.is_some() {
                read_back::check(spawned.init.pid, &plan.init)?;
            }
            if let Some(rdt) = &target.record.intel_rdt {
                intel_rdt::enter(rdt, spawned.init.pid)?;
            }
            drop(span);
            before_execve(handles.console_receiver());
            process.go(ProcessStat::read(spawned.init.pid)?.ignored, None)?;
        }
        let span = Span::begin(trace, "wait for execve");
        process.wait_for_execve()?;
        drop(span);
        // As runc: of a process whose program has been executed.
        launch::publish(&spawned.init, options.pid_file.as_deref(), &handles, b"setns")?;
        spawned.collect_times(&plan.init, trace);
        undo.disarm();
        Ok(spawned.init)
    }

    /// init and its cgroup, if the container is one in which something can be executed. Both stay what they are, whatever
    /// becomes of the container.
    fn look_for_exec(&self, options: &ExecOptions) -> Result<(Target<'_>, Option<Cgroup>), Error> {
        let refused = |status, problem: &str| Err(self.wrong_status(status, problem));
        let record = self.latest()?;
        let is_at_work = record.init.as_ref().is_none_or(Init::is_at_work);
        if is_at_work {
            let problem = "cannot exec in a container that is not created";
            return refused(Status::Creating, problem);
        }
        let Some(init) = LiveInit::of(&record)? else {
            return refused(Status::Stopped, "cannot exec in a stopped container");
        };
        if options.cgroup.is_some() {
            self.require_cgroup("choose a cgroup for exec in")?;
        }
        let cgroup = self.cgroup()?;
        if !options.ignore_paused
            && cgroup.as_ref().map(Cgroup::is_frozen).transpose()? == Some(true)
        {
            let problem = "cannot exec in a paused container (use --ignore-paused to override)";
            return refused(Status::Paused, problem);
        }
        Ok((Target { record, init }, cgroup))
    }

    /// What CRI-O takes for an end, and not for a failure.
    fn ended_meanwhile(&self, error: &Error) -> Error {
        let error = crate::error::with_causes(error);
        self.wrong_status(
            Status::Stopped,
            format!("container not running: it has ended meanwhile ({error})"),
        )
    }

    fn exec_base<'r>(&self, record: &'r Record) -> Result<&'r ExecBase, Error> {
        record.exec.as_ref().ok_or_else(|| {
            self.wrong_status(None, "the state has nothing for exec: it is of a container that is not created, or of an older corten")
        })
    }

    fn exec_plan(
        &self,
        record: &Record,
        options: &ExecOptions,
        is_moved: bool,
    ) -> Result<ExecPlan, Error> {
        let base = self.exec_base(record)?;
        let request = ExecRequest {
            id: record.id.clone(),
            preserved_fds: options.listen_fds.saturating_add(options.preserve_fds),
            listen_fds: options.listen_fds,
            modules: base.modules(&options.process),
            no_cgroup: record.cgroup.is_none(),
            is_moved,
            has_class: record.intel_rdt.is_some(),
        };
        let process = options.process.clone();
        let plan = plan::exec(base, process, host::LAST_CAPABILITY, &request)?;
        launch::refuse_unsupported(&plan.warnings, &plan.unsupported)?;
        Ok(plan)
    }

    /// Starts it in the cgroup that it belongs in, or in that of init (runc's `prepareCgroupFD` and `addIntoCgroupV2`): an init
    /// that manages cgroups itself has gone into one below, and with controllers switched on the container's own takes no
    /// processes; an init without a cgroup namespace may be anywhere.
    fn spawn_beside(
        &self,
        target: &Target<'_>,
        cgroup: Option<Cgroup>,
        plan: &ExecPlan,
        handles: &Handles<'_>,
        options: &ExecOptions,
        mover: Option<&UnitRecord>,
    ) -> Result<Spawned, Error> {
        let Target { record, init } = target;
        let has_own_root = self.exec_base(record)?.has_mount_namespace();
        let root = (!has_own_root).then(|| open_root(init)).transpose()?;
        let spawn = |cgroup: Option<&Cgroup>| {
            let _span = Span::begin(options.trace.as_deref(), "clone3");
            let place = |pid| target.have_moved(mover, options, pid);
            let placed: Option<&Placing<'_>> = if mover.is_some() { Some(&place) } else { None };
            start(plan, handles, options, cgroup, init, root.as_ref(), (self.dir.fd(), placed))
        };
        let Some(place) = record.cgroup.as_ref().filter(|_| mover.is_none()) else {
            return spawn(None).map_err(|error| error.of(&plan.spawn));
        };
        let failed = match cgroup_for_exec(place, cgroup, options.cgroup.as_deref())? {
            Some(cgroup) => match spawn(Some(&cgroup)) {
                Err(StartError::Clone(source)) => cgroup.refused_process(source),
                started => return started.map_err(|error| error.of(&plan.spawn)),
            },
            None => no_such_cgroup(place.mount_point.join(&place.path)),
        };
        if options.cgroup.is_some() || init.has_ended() {
            return Err(failed);
        }
        let Some(cgroup) =
            Cgroup::of_process(&place.mount_point, init.pid)?.filter(|_| !init.has_ended())
        else {
            return Err(failed);
        };
        log::debug!("{}: executing in the cgroup of init", crate::error::with_causes(&failed));
        spawn(Some(&cgroup)).map_err(|error| match error {
            StartError::Clone(source) => cgroup.refused_process(source),
            error => error.of(&plan.spawn),
        })
    }
}

impl Target<'_> {
    /// The unit of the user's systemd, where that has to move the process into its cgroup.
    fn mover(&self) -> Result<Option<&UnitRecord>, Error> {
        let Some(place) = &self.record.cgroup else { return Ok(None) };
        let unit = place.unit.as_ref().filter(|unit| unit.manager == Manager::User);
        match unit {
            Some(_) if permission::may_enter(&place.mount_point, &place.path)? => Ok(None),
            unit => Ok(unit),
        }
    }

    /// Where init is, which always takes processes, or where it was asked for.
    fn have_moved(
        &self,
        mover: Option<&UnitRecord>,
        options: &ExecOptions,
        pid: i32,
    ) -> Result<(), Error> {
        let (Some(unit), Some(place)) = (mover, &self.record.cgroup) else { return Ok(()) };
        let below = match &options.cgroup {
            Some(sub) => plain(sub)?,
            None => {
                let inits = host::cgroup_of(&format!("/proc/{}/cgroup", self.init.pid))?;
                let inits = inits.strip_prefix("/").unwrap_or(&inits);
                inits.strip_prefix(&place.path).unwrap_or(Path::new("")).to_owned()
            }
        };
        systemd::attach(unit, &below, pid)
    }
}

/// The container's cgroup, or the one below that was asked for; `None`: it is gone.
fn cgroup_for_exec(
    place: &CgroupRecord,
    own: Option<Cgroup>,
    sub: Option<&Path>,
) -> Result<Option<Cgroup>, Error> {
    let below = sub.map(plain).transpose()?.unwrap_or_default();
    let Some(cgroup) = own else { return Ok(None) };
    if below.as_os_str().is_empty() {
        return Ok(Some(cgroup));
    }
    let path = cgroup.path().join(below);
    match Cgroup::open(&place.mount_point, &path)? {
        Some(cgroup) => Ok(Some(cgroup)),
        None => Err(no_such_cgroup(place.mount_point.join(path))),
    }
}

impl ExecOptions {
    fn outside(&self) -> Outside<'_> {
        Outside {
            console: self.console.as_ref(),
            pidfd_socket: self.pidfd_socket.as_deref(),
            listen_fds: self.listen_fds,
            preserve_fds: self.preserve_fds,
        }
    }
}

fn start(
    plan: &ExecPlan,
    handles: &Handles<'_>,
    options: &ExecOptions,
    cgroup: Option<&Cgroup>,
    init: &LiveInit,
    root: Option<&OwnedFd>,
    (state, placed): (BorrowedFd<'_>, Option<&Placing<'_>>),
) -> Result<Spawned, StartError> {
    let entered = cgroup.filter(|_| plan.enters_cgroup);
    let procs = entered.map(Cgroup::open_processes).transpose()?;
    let mut own = vec![(ExecPlan::INIT, init.pidfd.as_fd())];
    own.extend(root.map(|root| (ExecPlan::ROOT, root.as_fd())));
    own.extend(procs.as_ref().map(|procs| (ExecPlan::CGROUP, procs.as_fd())));
    launch::start(&Start {
        init: &plan.init,
        spawn: &plan.spawn,
        handles,
        own: &own,
        // What is to be on other CPUs before moves itself.
        cgroup: cgroup.filter(|_| !plan.enters_cgroup).map(Cgroup::fd),
        state,
        placed,
        kept: options.listen_fds.saturating_add(options.preserve_fds),
        stdio: options.stdio.as_ref(),
        is_watched: false,
        trace: options.trace.as_deref(),
    })
}

/// A path below the container's cgroup; runc takes `/` for the container's own.
fn plain(sub: &Path) -> Result<PathBuf, Error> {
    let mut below = PathBuf::new();
    for component in sub.components() {
        match component {
            Component::Normal(name) => below.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                let problem = format!("bad sub cgroup path: {}", sub.display());
                return Err(Error::Argument { flag: "--cgroup", problem });
            }
        }
    }
    Ok(below)
}

fn no_such_cgroup(path: PathBuf) -> Error {
    let source = io::Error::from_raw_os_error(libc::ENOENT);
    Error::Cgroup { path, action: "open".into(), source }
}

/// The root of a container without a mount namespace: that of its init.
fn open_root(init: &LiveInit) -> Result<OwnedFd, Error> {
    let path = format!("/proc/{}/root", init.pid);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(&path, flags, Mode::empty())
        .map_err(|errno| Error::Os { call: format!("open {path}"), source: errno.into() })?;
    // Only while init lives is this its root, and not that of another process which has its number.
    if init.has_ended() {
        return Err(Error::Os {
            call: format!("open {path}"),
            source: io::Error::from_raw_os_error(libc::ESRCH),
        });
    }
    Ok(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_cgroup_is_below_the_containers() {
        for (sub, expected) in [("/", ""), ("", ""), ("a/b", "a/b"), ("/a//./b/", "a/b")] {
            assert_eq!(plain(Path::new(sub)).unwrap(), Path::new(expected), "{sub}");
        }
    }

    #[test]
    fn sub_cgroup_that_leads_up_is_refused_in_runcs_words() {
        for sub in ["..", "a/..", "../x2", "/../x"] {
            let refused = plain(Path::new(sub)).unwrap_err().to_string();
            assert_eq!(refused, format!("--cgroup: bad sub cgroup path: {sub}"));
        }
    }
}
