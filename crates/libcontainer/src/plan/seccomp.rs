//! The system call filter: compiled here, loaded by init at the latest moment that noNewPrivileges allows.
//!
//! With it any process may load a filter, so that nothing but execve is done behind it. Without it loading one needs
//! CAP_SYS_ADMIN (seccomp(2)), so that it comes before the capabilities go, as with runc. A filter that notifies is loaded
//! while the runtime is there, who gives the listener to the agent.
//!
//! Runs in: any process.

use std::path::PathBuf;

use corten_plan::Op;
use serde::{Deserialize, Serialize};

use super::steps::Steps;
use super::types::Remark;
use crate::seccomp::{self, Arch};
use crate::spec::{LinuxSeccomp, Process, SpecError};

const POINTER: &str = "/linux/seccomp";

/// What init calls from [`Op::Credentials`] on where nobody else has to look whether they are in force.
pub(super) const READS_BACK: [&str; 10] = [
    "capget",
    "capset",
    "getgroups",
    "getresgid",
    "getresuid",
    "prctl",
    "rt_sigaction",
    "setgroups",
    "setresgid",
    "setresuid",
];

/// A compiled filter, for init and for every process of exec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeccompPlan {
    /// `struct sock_filter[]`, each as a number in this machine's byte order.
    program: Vec<u64>,
    /// `SECCOMP_FILTER_FLAG_*`; not every kernel knows each.
    pub flags: u32,
    /// It allows what init does to set credentials and to read them back ([`READS_BACK`]).
    #[serde(default)]
    reads_back: bool,
    /// Who answers, where it notifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<Listener>,
}

/// The seccomp agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// A listening unix stream socket.
    pub path: PathBuf,
    /// Sent along; empty: none.
    pub metadata: String,
}

impl SeccompPlan {
    /// Compiles `profile`.
    pub(super) fn of(
        profile: &LinuxSeccomp,
        warnings: &mut Vec<Remark>,
    ) -> Result<Self, SpecError> {
        let native = Arch::NATIVE.ok_or_else(|| {
            SpecError::new(POINTER, "there is no table of system calls for this architecture")
        })?;
        // runc's words, and its rule: from the write with which it reports on, everything waits for the agent.
        if let Some((pointer, name)) = seccomp::notified(profile, &["write"]) {
            let problem = format!("SCMP_ACT_NOTIFY cannot be used for the {name} syscall");
            return Err(SpecError::new(pointer, problem));
        }
        let filter = seccomp::compile(profile, native)?;
        let unknown = filter.warnings.iter();
        warnings.extend(unknown.map(|name| Remark::new(&name.pointer, name.problem.as_str())));
        let program = filter.instructions.iter();
        Ok(Self {
            program: program.map(|one| u64::from_ne_bytes(one.to_bytes())).collect(),
            flags: filter.flags,
            reads_back: seccomp::allows(profile, &READS_BACK),
            listener: filter.notify.then(|| Listener {
                path: profile.listener_path.clone().into(),
                metadata: profile.listener_metadata.clone(),
            }),
        })
    }

    /// Whether this is the moment to load it; `has_hooks`: programs of the image run before the process.
    pub(super) fn is_loaded(&self, moment: Moment, process: &Process, has_hooks: bool) -> bool {
        moment == self.moment(process, has_hooks)
    }

    /// Whether the runtime has to be there when it is loaded, or right after: for the listener, or to read back what init may not.
    pub(super) fn needs_runtime(&self, process: &Process) -> bool {
        self.listener.is_some() || self.hides_credentials(process)
    }

    /// Whether it is in force before the credentials are set, and may forbid to read them back.
    pub(super) fn hides_credentials(&self, process: &Process) -> bool {
        self.moment(process, false) == Moment::BeforeCredentials && !self.reads_back
    }

    /// Appends the step that loads it.
    pub(super) fn load(&self, moment: Moment, steps: &mut Steps) {
        let program: Vec<u8> = self.program.iter().flat_map(|one| one.to_ne_bytes()).collect();
        let at_exec = moment == Moment::AtExec;
        steps.push(POINTER, &Op::Seccomp { program: &program, flags: self.flags, at_exec });
    }

    fn moment(&self, process: &Process, has_hooks: bool) -> Moment {
        match (process.no_new_privileges, &self.listener, has_hooks) {
            (false, ..) => Moment::BeforeCredentials,
            (true, Some(_), _) => Moment::BeforeReady,
            (true, None, true) => Moment::BeforeHooks,
            (true, None, false) => Moment::AtExec,
        }
    }
}

/// The places in the order of steps where a filter may be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Before [`Op::Credentials`] takes CAP_SYS_ADMIN away.
    BeforeCredentials,
    /// Before [`Op::Sync`] at Ready: the last time that the runtime is sure to be there.
    BeforeReady,
    /// After the wait for `start`: the hooks are programs of the image.
    BeforeHooks,
    /// As the last call before execve.
    AtExec,
}
