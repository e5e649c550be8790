//! The main loop: reads the plan, does one op after another, reports what fails.
//!
//! Runs in: init.

use core::ffi::CStr;

use corten_plan::wire::{FLAG_EXPECT_PID1, FLAG_TRACE};
use corten_plan::{Handle, Op, PlanReader, Stage};

use crate::handles::Handles;
use crate::kept::Kept;
use crate::mask::Masks;
use crate::mounts::{Attributes, Bind, Data, LastMount, NewFs};
use crate::report::{self, At, Detail, Done, Failed};
use crate::root_namespace::Sources;
use crate::seccomp::Filter;
use crate::sys::abi::{SIGKILL, SIGSTOP, SchedAttr};
use crate::sys::{self, Errno, Fd, FdRef, memory, process};
use crate::target::Parent;
use crate::{
    console, credentials, device, hooks, lsm, mask, mounts, namespaces, program, root,
    root_namespace, seccomp, sysctl, trace,
};

/// Those up to 31 whose disposition can be another: not SIGKILL, not SIGSTOP.
const ALL_SIGNALS: u64 = 0x7fff_ffff & !(1 << (SIGKILL - 1)) & !(1 << (SIGSTOP - 1));

/// What one op leaves for later ones.
#[derive(Debug)]
pub struct Init {
    /// What the runtime opened for us.
    pub handles: Handles,
    /// The op that runs now.
    pub op: u16,
    /// More about its failure.
    pub detail: Detail,
    /// All of the plan.
    pub plan: Option<PlanReader<'static>>,
    /// From [`Op::TimeOffsets`] to [`Op::TimeNamespace`].
    pub time_offsets: Option<Fd>,
    /// The root file system, from [`Op::Rootfs`] on.
    pub root: Option<Fd>,
    /// What is to be bound, in order, where [`Op::RootNamespace`] has left the host's mount namespace: paths of the host lead
    /// nowhere any more.
    pub sources: Option<Sources>,
    /// The directory of the last device or link.
    pub parent: Parent,
    /// The directory that is filled by us.
    pub kept: Option<Kept>,
    /// The last mount.
    pub last_mount: Option<LastMount>,
    /// What masked paths are covered with.
    pub masks: Masks,
    /// The private procfs of [`Op::Sysctl`].
    pub procfs: Option<Fd>,
    /// What hooks read: came with a Go.
    pub state: Option<Fd>,
    /// From [`Op::Home`]: `HOME=/root`.
    pub home: Option<&'static CStr>,
    /// From [`Op::Find`].
    pub program: Option<&'static CStr>,
    /// Signals that the runtime's caller ignored, or may ignore as long as it has not said: bit n-1 is signal n.
    pub ignored: u64,
    /// Whether [`Op::DieWithRuntime`] is in force.
    pub dies_with_runtime: bool,
    /// It is in a user namespace that is not the runtime's.
    pub has_user_namespace: bool,
    /// Whether [`Op::NotDumpable`] is in force.
    pub is_hidden: bool,
    /// The working directory is the root file system's.
    pub is_at_root: bool,
    /// A directory of the host has been opened: it is closed when the root is another.
    pub leads_out: bool,
    /// Where an [`Op::Cwd`] with `retry` has gone to.
    pub cwd: Option<&'static CStr>,
    /// Somebody may take a long look at us before execve: we wait for `start`, or for hooks.
    pub will_wait: bool,
    /// The filter that [`Op::Exec`] loads.
    pub filter: Option<Filter>,
    /// A filter is loaded.
    pub is_filtered: bool,
    /// The plan has a hook after the last [`Op::Sync`].
    pub has_late_hooks: bool,
    /// [`FLAG_EXPECT_PID1`] is to be checked after [`Op::Fork`].
    pub expects_pid1: bool,
}

impl Init {
    fn new(handles: Handles) -> Self {
        Self {
            handles,
            op: 0,
            detail: Detail::EMPTY,
            plan: None,
            time_offsets: None,
            root: None,
            sources: None,
            parent: Parent::default(),
            kept: None,
            last_mount: None,
            masks: Masks::default(),
            procfs: None,
            state: None,
            home: None,
            program: None,
            ignored: ALL_SIGNALS,
            dies_with_runtime: false,
            has_user_namespace: false,
            is_hidden: false,
            is_at_root: false,
            leads_out: false,
            cwd: None,
            will_wait: false,
            filter: None,
            is_filtered: false,
            has_late_hooks: false,
            expects_pid1: false,
        }
    }

    /// The root file system.
    ///
    /// # Errors
    /// [`Stage::Plan`] before there is one.
    pub fn root(&self) -> Result<FdRef<'_>, Failed> {
        self.root.as_ref().map(Fd::get).ok_or(Failed::new(Stage::Plan, Errno::EBADF))
    }

    /// The directory in the root that `path` lies in, made where it is missing, and the name in it.
    ///
    /// # Errors
    /// Those of [`Parent::of`].
    pub fn parent_of(&mut self, path: &'static CStr) -> Result<(FdRef<'_>, &'static CStr), Failed> {
        let Self { root: Some(root), parent, kept, .. } = self else {
            return Err(Failed::new(Stage::Plan, Errno::EBADF));
        };
        match kept.as_ref().and_then(|kept| Some((kept.get(), kept.name(path)?))) {
            Some(found) => Ok(found),
            None => parent.of(root.get(), path),
        }
    }

    /// Changes the working directory to `dir`.
    ///
    /// # Errors
    /// Those of fchdir(2).
    pub fn change_directory(&mut self, dir: FdRef<'_>) -> sys::Result<()> {
        self.is_at_root = false;
        self.kept.iter_mut().for_each(Kept::left);
        sys::fs::fchdir(dir)
    }

    /// Forgets the directories that may be others after `op`.
    fn forget(&mut self, op: &Op<'_>) {
        if !matches!(op, Op::Device { .. } | Op::Symlink { .. }) {
            self.parent.forget();
        }
        match op {
            // Hooks may do anything to it; nodes made under another umask would have other modes.
            Op::Hook { .. } | Op::Sync { .. } | Op::Umask { .. } => {
                (self.kept, self.last_mount) = (None, None);
            }
            Op::MountFs { .. } | Op::MountData { .. } | Op::MountBind { .. } => {
                self.kept.iter_mut().for_each(Kept::replaced);
            }
            _ => {}
        }
    }
}

/// Executes the plan among the handles of `table`; ends in execve, or with a report and exit status 1.
pub fn run(table: &'static CStr) -> ! {
    process::set_name(c"corten:init");
    let Ok(handles) = Handles::parse(table.to_bytes()) else { sys::exit(1) };
    if let Some(socket) = handles.find(Handle::SOCKET) {
        report::to(socket);
    }
    let mut init = Init::new(handles);
    if let Err(failed) = execute_all(&mut init) {
        report::failed(init.op, failed, &init.detail);
    }
    sys::exit(1)
}

fn execute_all(init: &mut Init) -> Done {
    let bytes = memory::contents(init.handles.take(Handle::PLAN)?.get()).at(Stage::Plan)?;
    let plan = PlanReader::new(bytes).map_err(|_| Failed::new(Stage::Plan, Errno::EINVAL))?;
    let flags = plan.header().flags;
    init.plan = Some(plan.clone());
    begin(init, plan.clone(), flags & FLAG_EXPECT_PID1 != 0)?;
    let times = if flags & FLAG_TRACE != 0 { init.handles.find(Handle::TRACE) } else { None };
    for record in plan {
        let (index, op) = record.map_err(|_| Failed::new(Stage::Plan, Errno::EINVAL))?;
        (init.op, _) = (index, init.detail.clear());
        match times {
            // Behind a filter, not: what it takes to write the time down may be forbidden.
            Some(times) if !init.is_filtered && !matches!(op, Op::Seccomp { .. }) => {
                trace::timed(times, index, || execute(init, &op))?;
            }
            _ => execute(init, &op)?,
        }
    }
    // Every plan ends with Exec or in the first stage's exit.
    Err(Failed::new(Stage::Plan, Errno::ENOEXEC))
}

/// Refuses to act on anything that is not wholly a plan, or outside a pid namespace of our own: init does things that would
/// harm the host.
fn begin(init: &mut Init, plan: PlanReader<'static>, expects_pid1: bool) -> Done {
    let mut has_fork = false;
    for record in plan {
        let (_, op) = record.map_err(|_| Failed::new(Stage::Plan, Errno::EINVAL))?;
        has_fork |= matches!(op, Op::Fork { .. });
        init.will_wait |= matches!(op, Op::WaitStart | Op::Hook { .. });
        match op {
            Op::Hook { .. } => init.has_late_hooks = true,
            Op::Sync { .. } => init.has_late_hooks = false,
            _ => {}
        }
    }
    init.expects_pid1 = expects_pid1;
    if !has_fork {
        check_pid(init)?;
    }
    // What we make has the mode that the plan gives; `Op::Umask` sets the user's.
    sys::fs::umask(0);
    Ok(())
}

/// Refuses to go on where the plan wants pid 1 and we are not.
///
/// # Errors
/// [`Stage::Plan`].
pub fn check_pid(init: &Init) -> Done {
    if init.expects_pid1 && process::getpid() != 1 {
        return Err(Failed::new(Stage::Plan, Errno::EPERM));
    }
    Ok(())
}

/// Does one op.
#[expect(clippy::too_many_lines, reason = "one line an op: a table")]
fn execute(init: &mut Init, op: &Op<'static>) -> Done {
    init.forget(op);
    match *op {
        Op::Join { handle, kind, may_wait } => namespaces::join(init, handle, kind, may_wait),
        Op::JoinProcess { handle, flags } => namespaces::join_process(init, handle, flags),
        Op::EnterSent { kind } => namespaces::enter_sent(init, kind),
        Op::EnterRoot { handle } => root::enter_handle(init, handle),
        Op::OomScoreAdj { adjustment } => {
            namespaces::write_file(c"/proc/self/oom_score_adj", adjustment.to_bytes())
        }
        Op::EnterCgroup { handle } => namespaces::enter_cgroup(init, handle),
        Op::Affinity { cpus } => crate::process::affinity(cpus),
        Op::Unshare { flags } => process::unshare(flags).at(Stage::Op),
        Op::TimeOffsets => namespaces::time_offsets(init),
        Op::TimeNamespace { offsets } => namespaces::time(init, offsets),
        Op::Fork { flags } => namespaces::fork(init, flags),
        Op::NotDumpable => credentials::hide(init),
        Op::MappedIds { uid, gid } => credentials::enter_ids(init, uid, gid),
        Op::DieWithRuntime => crate::process::die_with_runtime(init),
        Op::Session => process::setsid().at(Stage::Op),
        Op::MemoryPolicy { mode, nodes } => crate::process::memory_policy(mode, nodes),
        Op::AllCpus => process::allow_all_cpus().at(Stage::Op),
        Op::Keyring { name } => crate::process::keyring(name),
        Op::Loopback => namespaces::loopback(),
        Op::NetworkSocket => namespaces::network_socket(init),
        Op::Sync { point } => crate::process::sync(init, point),

        Op::RootNamespace { path, propagation } => root_namespace::enter(init, path, propagation),
        // It is done.
        Op::Propagation { .. } | Op::Rootfs { .. } if init.sources.is_some() => Ok(()),
        Op::Pivot { .. } if init.sources.is_some() => root::stay(init),
        Op::Propagation { flags } | Op::RootPropagation { flags } => root::propagation(flags),
        Op::PrivateParent { path } => root::private_parent(init, path),
        Op::Rootfs { path } => root::rootfs(init, path),
        Op::OpenRoot { path } => root::open_root(init, path),
        Op::Directory { path, mode } => root::directory(init, path, mode),
        Op::MountFs {
            target,
            fstype,
            source,
            options,
            attr,
            recursive_set,
            recursive_clear,
            propagation,
            flags,
            fallback,
        } => {
            let attributes = Attributes { recursive_set, recursive_clear, propagation };
            let file_system = NewFs { fstype, source, options, attr, fallback };
            mounts::file_system(init, target, &file_system, &attributes, flags)
        }
        Op::MountData {
            target,
            fstype,
            source,
            ms_flags,
            data,
            recursive_set,
            recursive_clear,
            propagation,
            flags,
        } => {
            let attributes = Attributes { recursive_set, recursive_clear, propagation };
            let file_system = Data { fstype, source, ms_flags, data };
            mounts::data(init, target, &file_system, &attributes, flags)
        }
        Op::MountBind {
            source,
            target,
            set,
            clear,
            must_clear,
            recursive_set,
            recursive_clear,
            propagation,
            flags,
        } => {
            let attributes = Attributes { recursive_set, recursive_clear, propagation };
            let bind = Bind { source, set, clear, must_clear };
            mounts::bind(init, target, &bind, &attributes, flags)
        }
        Op::Device { path, mode, major, minor, uid, gid } => {
            device::make(init, path, &device::Node { mode, major, minor, uid, gid })
        }
        Op::Symlink { path, target, replace } => device::link(init, path, target, replace),
        Op::MaskPath { path, file } => mask::cover(init, path, file),
        Op::ReadonlyPath { path, alone } => mask::read_only(init, path, alone),
        Op::Hook { path, args, env, cwd, timeout_ms, home } => {
            hooks::run(init, &hooks::Hook { path, args, env, cwd, timeout_ms, home })
        }
        Op::Pivot { slave_old } => root::pivot(init, slave_old),
        Op::MoveRoot => root::move_root(init),
        Op::Chroot => root::chroot(init),
        Op::RootAttr { set } => root::attributes(init, set),
        Op::Terminal { height, width, uid, console } => {
            console::make(init, &console::Terminal { height, width, uid, console })
        }
        Op::MountAttr { path, set } => root::mount_attributes(init, path, set),
        Op::Stdio { uid, null } => console::stdio(init, uid, null),

        Op::Hostname { name } => process::sethostname(name).at(Stage::Op),
        Op::Domainname { name } => process::setdomainname(name).at(Stage::Op),
        Op::Sysctl { path, value } => sysctl::set(init, path, value),

        Op::Rlimit { resource, soft, hard } => crate::process::limit(resource, soft, hard),
        Op::Umask { mask } => {
            sys::fs::umask(mask);
            Ok(())
        }
        Op::Personality { persona } => process::personality(persona).at(Stage::Op),
        Op::Scheduler { policy, flags, nice, priority, runtime, deadline, period } => {
            let size = u32::try_from(size_of::<SchedAttr>()).unwrap_or(0);
            let attr = SchedAttr { size, policy, flags, nice, priority, runtime, deadline, period };
            process::set_scheduler(&attr).at(Stage::Op)
        }
        Op::IoPriority { value } => process::set_io_priority(value).at(Stage::Op),
        Op::NoNewPrivileges => credentials::no_new_privileges(),
        Op::Home { uid } => crate::process::home(init, uid),
        Op::Cwd { path, retry } => crate::process::cwd(init, path, retry),
        Op::Credentials {
            uid,
            gid,
            groups,
            bounding,
            effective,
            permitted,
            inheritable,
            ambient,
            reads_back,
        } => {
            let sets = credentials::Sets { bounding, effective, permitted, inheritable, ambient };
            credentials::set(init, uid, gid, groups, sets, reads_back)
        }
        Op::Find { file, path } => program::find(init, file, path),
        Op::EndBySignals => crate::process::end_by_signals(),
        Op::WaitStart => crate::process::wait_start(init),
        Op::CloseFds { first } => match sys::close_on_exec(first) {
            // It was done before the filter that does not know the call; since then all has been close-on-exec from birth.
            Err(Errno::ENOSYS | Errno::EPERM) if init.is_filtered => Ok(()),
            done => done.at(Stage::Op),
        },
        Op::Exec { args, env, home } => program::exec(init, args, env, home),

        Op::Seccomp { program, flags, at_exec } => {
            seccomp::set(init, Filter { program, flags }, at_exec)
        }
        Op::AppArmor { profile } => lsm::apparmor(init, profile),
        Op::SelinuxExec { label } => lsm::selinux_exec(init, label),
        Op::SelinuxKeys { label } => lsm::selinux_keys(init, label),
        Op::SelinuxFile { path, label } => lsm::selinux_file(init, path, label),
        Op::MaskLabel { label } => {
            init.masks.label = Some(label);
            Ok(())
        }
    }
}
