//! The table of tests, what each needs, and how they are run.
//!
//! Runs in: any process.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::host::{self, Host, Need, Unmet};
use crate::runtime::{Program, Runtime};

pub type TestResult = Result<(), Failed>;

/// One row of a file's table; made by [`table!`].
#[derive(Debug, Clone, Copy)]
pub struct Test {
    pub name: &'static str,
    pub needs: &'static [Need],
    pub body: fn(&Runtime) -> TestResult,
}

/// `table! { function: [Need::Root, Need::Terminal], ... }` makes the file's `pub fn tests()`.
///
/// Each function is `fn(&Runtime) -> TestResult`; the test's name is `file::function`.
macro_rules! table {
    ($($function:ident : [$($need:expr),* $(,)?]),* $(,)?) => {
        pub fn tests() -> Vec<$crate::harness::Test> {
            vec![$($crate::harness::Test {
                name: concat!(module_path!(), "::", stringify!($function)),
                needs: &[$($need),*],
                body: $function,
            }),*]
        }
    };
}
pub(crate) use table;

/// Fails the test with a message, as `assert!` does, but by `return`: what the test holds is dropped in order.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(libtest_mimic::Failed::from(format!($($message)+)));
        }
    };
}
pub(crate) use ensure;

/// Like `assert_eq!`, by `return`.
macro_rules! ensure_eq {
    ($left:expr, $right:expr) => {{
        let (left, right) = (&$left, &$right);
        $crate::harness::ensure!(
            left == right,
            "{} is {left:?}, not {right:?} ({}:{})",
            stringify!($left),
            file!(),
            line!()
        );
    }};
}
pub(crate) use ensure_eq;

/// Runs the table as the command line says and prints, at the end, what was skipped and why.
pub fn run(tests: Vec<Test>) -> ExitCode {
    let arguments = Arguments::from_args();
    // Before the first thread: a mount namespace belongs to a thread, and later ones inherit it.
    let view = match host::enter_private_view() {
        Ok(view) => view,
        Err(error) => {
            say(&format!("cannot set up the tests' view of this machine: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let program = match Program::find() {
        Ok(program) => Arc::new(program),
        Err(error) => {
            say(&format!("cannot run the runtime under test: {}", text(&error)));
            return ExitCode::FAILURE;
        }
    };
    let host = Host::read(view);
    if !arguments.list {
        say(&format!("runtime: {program}\nhost: {host}"));
    }
    let tests = only(tests);
    let skipped = skipped(&tests, &host, &program, arguments.filter.as_deref().unwrap_or(""));
    let trials = tests.into_iter().map(|test| trial(test, &host, &program)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        report(&skipped);
    }
    conclusion.exit_code()
}

fn trial(test: Test, host: &Host, program: &Arc<Program>) -> Trial {
    let name = short(test.name);
    let program = Arc::clone(program);
    match host.unmet(name, test.needs, &program) {
        None => Trial::test(name, move || body(test, &program)),
        // The VM exists to have what the host lacks: a skip there would hide that it does not.
        Some(unmet) if host.is_vm() && !unmet.is_about_the_runtime() => {
            Trial::test(name, move || Err(format!("skipped in the VM: {unmet}").into()))
        }
        Some(_) => Trial::test(name, || Ok(())).with_ignored_flag(true),
    }
}

/// Runs the test, removes what it left, and fails it for what could not be removed.
fn body(test: Test, program: &Arc<Program>) -> TestResult {
    let runtime = Runtime::new(Arc::clone(program))?;
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (test.body)(&runtime)));
    let left = runtime.finish();
    match outcome {
        Err(panic) => std::panic::resume_unwind(panic),
        Ok(Err(failed)) => Err(failed),
        Ok(Ok(())) if !left.is_empty() => {
            Err(format!("left behind:\n  {}", left.join("\n  ")).into())
        }
        Ok(Ok(())) => Ok(()),
    }
}

/// The tests that `CORTEN_ONLY` names, by commas; all without it. For what the host left to the VM.
fn only(tests: Vec<Test>) -> Vec<Test> {
    let Ok(names) = std::env::var("CORTEN_ONLY") else { return tests };
    tests.into_iter().filter(|test| names.split(',').any(|name| name == short(test.name))).collect()
}

/// The tests that the filter takes and this machine or runtime does not.
fn skipped(
    tests: &[Test],
    host: &Host,
    program: &Program,
    filter: &str,
) -> Vec<(&'static str, Unmet)> {
    tests
        .iter()
        .map(|test| (short(test.name), test.needs))
        .filter(|(name, _)| name.contains(filter))
        .filter_map(|(name, needs)| Some((name, host.unmet(name, needs, program)?)))
        .collect()
}

/// Says what was skipped and why; appends to the file `CORTEN_SKIPPED` what another machine could run.
fn report(skipped: &[(&str, Unmet)]) {
    let line = |(name, unmet): &(&str, Unmet)| format!("{name}: {unmet}");
    skipped.iter().for_each(|skip| say(&format!("SKIPPED {}", line(skip))));
    let elsewhere = skipped.iter().filter(|(_, unmet)| !unmet.is_about_the_runtime());
    let Some(path) = std::env::var_os("CORTEN_SKIPPED") else { return };
    let lines: String = elsewhere.map(|skip| line(skip) + "\n").collect();
    // Appended: more than one program of tests may have something to say.
    let file = std::fs::OpenOptions::new().append(true).create(true).open(&path);
    if let Err(error) = file.and_then(|mut file| file.write_all(lines.as_bytes())) {
        say(&format!("{}: {error}", path.display()));
    }
}

/// The name without the crate's: `lifecycle::start_twice_fails`.
fn short(name: &str) -> &str {
    name.split_once("::").map_or(name, |(_, rest)| rest)
}

/// The message of a [`Failed`], which has no `Display`.
pub fn text(failed: &Failed) -> &str {
    failed.message().unwrap_or("no message")
}

fn say(line: &str) {
    // Without a stderr there is nobody to tell.
    drop(writeln!(std::io::stderr(), "{line}"));
}
