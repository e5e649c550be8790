//! What an attack is, how it is judged, and the ways of attackers that several of them use.
//!
//! Runs in: any process.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::bundle::Bundle;
use crate::harness::TestResult;
use crate::host;
use crate::probe;
use crate::runtime::{Outcome, Runtime};

static ATTACKS: AtomicU32 = AtomicU32::new(0);
static SUCCEEDED: AtomicU32 = AtomicU32::new(0);

/// One attack under way.
#[derive(Debug)]
pub struct Attack<'a> {
    pub runtime: &'a Runtime,
    controls: AtomicU32,
    attempts: AtomicU32,
}

impl Attack<'_> {
    /// The attack on an operation without guard is over, and must have succeeded.
    pub fn control(&self, what: &str, succeeded: bool) -> TestResult {
        self.controls.fetch_add(1, Ordering::Relaxed);
        if succeeded { Ok(()) } else { Err(format!("the control does not succeed: {what}").into()) }
    }

    /// An attempt on the runtime is over, and must not have succeeded: it is `repelled`.
    pub fn attempt(&self, what: &str, repelled: bool) -> TestResult {
        let number = self.attempts.fetch_add(1, Ordering::Relaxed);
        if repelled {
            return Ok(());
        }
        SUCCEEDED.fetch_add(1, Ordering::Relaxed);
        Err(format!("THE ATTACK SUCCEEDED, at attempt {number}: {what}").into())
    }

    /// [`Attack::attempt`] for what says itself how it was harmed.
    pub fn attempt_by(&self, unharmed: TestResult) -> TestResult {
        let why = unharmed.as_ref().err().and_then(Failed::message).unwrap_or("it is harmed");
        self.attempt(why, unharmed.is_ok())
    }

    /// Runs the bundle twice: with openat2, and where a seccomp filter around the runtime hides it.
    pub fn runs(&self, bundle: &Bundle) -> Result<[Outcome; 2], Failed> {
        Ok([self.runtime.run(bundle)?, self.run_by(bundle, &probe::without("openat2")?)?])
    }

    /// Runs the bundle by a wrapper.
    pub fn run_by(&self, bundle: &Bundle, wrapper: &[String]) -> Result<Outcome, Failed> {
        let run = self.runtime.command(["run", "--bundle"]).arg(bundle.path());
        run.arg(self.runtime.new_id()).wrapped_by(wrapper).output()
    }

    /// Repeats a control that is a race until it succeeds.
    pub fn control_race(
        &self,
        what: &str,
        mut succeeds: impl FnMut() -> Result<bool, Failed>,
    ) -> TestResult {
        let (end, mut succeeded) = (Instant::now() + patience(30), false);
        while !succeeded && Instant::now() < end {
            succeeded = succeeds()?;
        }
        self.control(what, succeeded)
    }

    /// Repeats an attempt that is a race for as long as a race has.
    pub fn race(&self, mut attempt: impl FnMut() -> TestResult) -> TestResult {
        let end = Instant::now() + patience(4);
        while Instant::now() < end {
            attempt()?;
        }
        Ok(())
    }
}

/// Seconds; the VM's emulated processor is slower.
pub fn patience(seconds: u64) -> Duration {
    Duration::from_secs(if host::is_vm() { 8 * seconds } else { seconds })
}

/// Runs the attack; one that has not had its control and an attempt has failed.
pub fn judge(runtime: &Runtime, body: fn(&Attack<'_>) -> TestResult) -> TestResult {
    ATTACKS.fetch_add(1, Ordering::Relaxed);
    let attack = Attack { runtime, controls: AtomicU32::new(0), attempts: AtomicU32::new(0) };
    body(&attack)?;
    match (attack.controls.into_inner(), attack.attempts.into_inner()) {
        (0, _) => Err("no control was run".into()),
        (_, 0) => Err("nothing was attempted".into()),
        _ => Ok(()),
    }
}

/// As `table!` of the harness, for functions of an [`Attack`].
macro_rules! attacks {
    ($($function:ident : [$($need:expr),* $(,)?]),* $(,)?) => {
        pub fn tests() -> Vec<$crate::harness::Test> {
            vec![$($crate::harness::Test {
                name: concat!(module_path!(), "::", stringify!($function)),
                needs: &[$($need),*],
                body: |runtime| $crate::attack::judge(runtime, $function),
            }),*]
        }
    };
}
pub(crate) use attacks;

/// The last line of the program.
pub fn say_how_many() {
    let (attacks, succeeded) = (ATTACKS.load(Ordering::Relaxed), SUCCEEDED.load(Ordering::Relaxed));
    if attacks > 0 {
        // Without a stdout there is nobody to tell.
        drop(writeln!(std::io::stdout(), "{attacks} attacks, {succeeded} succeeded"));
    }
}

/// Exchanges two paths as fast as it can until it is dropped.
#[derive(Debug)]
pub struct Exchange {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Exchange {
    pub fn of(one: PathBuf, other: PathBuf) -> Result<Self, Failed> {
        renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // A moment without one of them is a race that others may win, too.
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).ok();
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

/// Does something in a mount namespace that ends with it.
pub fn in_own_mounts<T: Send>(
    action: impl FnOnce() -> Result<T, Failed> + Send,
) -> Result<T, Failed> {
    let inner = || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        action()
    };
    let joined = std::thread::scope(|scope| scope.spawn(inner).join());
    joined.map_err(|_| Failed::from("the thread panicked"))?
}
