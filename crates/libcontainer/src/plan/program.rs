//! The end of every plan: a process in the container's namespaces becomes the user's program. One path for init and for
//! exec, so that neither gets what the other does not.
//!
//! Runs in: any process.

use corten_plan::Op;

use super::process::Environment;
use super::seccomp::{Moment, SeccompPlan};
use super::steps::Steps;
use super::types::Remark;
use super::{credentials, memory_policy, process};
use crate::spec::{LinuxMemoryPolicy, LinuxPersonality, Process, SpecError};

/// The program, and what holds for it.
pub(super) struct Program<'a> {
    pub process: &'a Process,
    pub personality: Option<&'a LinuxPersonality>,
    pub memory_policy: Option<&'a LinuxMemoryPolicy>,
    pub environment: Environment<'a>,
    /// The last capability that can be asked for.
    pub last_capability: u32,
    /// It has the supplementary groups of the runtime's caller.
    pub keeps_groups: bool,
    /// How many fds from 3 on it keeps.
    pub preserved_fds: u32,
    /// Its system call filter.
    pub seccomp: Option<&'a SeccompPlan>,
    /// Whether startContainer hooks run before it.
    pub has_hooks: bool,
}

impl Program<'_> {
    /// All that can fail for a reason that the user can mend: after this the runtime is told that the process is ready.
    pub fn prepare(&self, steps: &mut Steps, warnings: &mut Vec<Remark>) -> Result<(), SpecError> {
        let process = self.process;
        // All that needs the privileges of the runtime, in namespaces that are complete by now.
        process::attributes(steps, process, self.personality)?;
        memory_policy::set(steps, self.memory_policy)?;
        // Reads the container's /etc/passwd while any file can be read.
        if self.environment.needs_home {
            steps.push("/process/env", &Op::Home { uid: process.user.uid });
        }
        // As root: the user may lack the permission to walk to its own directory. Then, below, the other way round.
        process::change_directory(steps, process, true)?;
        // Raising a limit needs CAP_SYS_RESOURCE. So late that init has opened all that it opens.
        process::rlimits(steps, &process.rlimits);

        // While there is CAP_SYS_ADMIN, where it takes that.
        self.confine(Moment::BeforeCredentials, steps);
        // From here on as the user.
        let reads_back = !self.seccomp.is_some_and(|seccomp| seccomp.hides_credentials(process));
        let last = self.last_capability;
        credentials::change(steps, process, self.keeps_groups, reads_back, last, warnings)?;
        process::change_directory(steps, process, false)?;
        // As the user, whose permissions decide; at create, so that a missing program is an error of create.
        process::find(steps, process, &self.environment)?;
        // While the runtime is there, who takes the listener.
        self.confine(Moment::BeforeReady, steps);
        Ok(())
    }

    /// Before the first program of the image, where that is a hook.
    pub fn before_hooks(&self, steps: &mut Steps) {
        self.confine(Moment::BeforeHooks, steps);
    }

    /// What nothing comes after.
    pub fn execute(&self, steps: &mut Steps) -> Result<(), SpecError> {
        // Immediately before execve (CVE-2024-21626): whatever is open, of whoever, ends here.
        self.close(steps);
        self.confine(Moment::AtExec, steps);
        process::execute(steps, self.process, &self.environment)
    }

    fn confine(&self, moment: Moment, steps: &mut Steps) {
        let Some(seccomp) = self.seccomp else { return };
        if seccomp.is_loaded(moment, self.process, self.has_hooks) {
            // An old profile may not know the call, which is for every process then (runc, `finalizeNamespace`).
            if moment != Moment::AtExec {
                self.close(steps);
            }
            seccomp.load(moment, steps);
        }
    }

    fn close(&self, steps: &mut Steps) {
        steps.always(&Op::CloseFds { first: self.preserved_fds.saturating_add(3) });
    }
}
