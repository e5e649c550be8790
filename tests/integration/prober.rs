//! A program for containers that makes system calls and says what came of each: this test binary, called with [`FLAG`].
//!
//! Each further argument is `[x86:]NUMBER[,ARGUMENT]...`, or `FIRST-LAST`: each of these numbers with arguments that no call
//! can use. Each call is made in a process of its own. A line of the answer is the word and `returned`, `errno N` or
//! `signal N`. The word [`LEAVE`] starts a thread that sleeps and ends the first one.
//!
//! Runs in: any process.

#![allow(unsafe_code, reason = "it makes the system calls that its caller names")]

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

/// What makes this binary the prober.
pub const FLAG: &str = "--probe";

/// See the module.
pub const LEAVE: &str = "leave";

/// Calls that never return, end the process, or make another.
const NEVER: [libc::c_long; 5] = [
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_vhangup,
];
#[cfg(target_arch = "x86_64")]
const NEVER_HERE: [libc::c_long; 3] = [libc::SYS_pause, libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const NEVER_HERE: [libc::c_long; 0] = [];

/// The words, if this binary was called as the prober.
pub fn words() -> Option<Vec<String>> {
    let mut arguments = std::env::args().skip(1);
    (arguments.next().as_deref() == Some(FLAG)).then(|| arguments.collect())
}

pub fn run(words: &[String]) -> ExitCode {
    let said = words.iter().try_for_each(|word| match word.split_once('-') {
        Some((first, last)) if !first.is_empty() && !word.contains(',') => {
            let (first, last) = (number(first)?, number(last)?);
            let numbers =
                (first..=last).filter(|it| !NEVER.contains(it) && !NEVER_HERE.contains(it));
            numbers
                .map(|number| (number.to_string(), number, [-1; 6]))
                .try_for_each(|(word, call, arguments)| say(&word, || native(call, arguments)))
        }
        _ => one(word),
    });
    if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(word: &str) -> io::Result<()> {
    if word == LEAVE {
        std::thread::spawn(|| std::thread::sleep(Duration::from_secs(1000)));
        // SAFETY: ends this thread alone; nothing that it has is used by the other.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }
    if let Some(call) = word.strip_prefix("x86:") {
        let call = number(call)?;
        return say(word, || x86(call));
    }
    let mut numbers = word.split(',').map(number);
    let call = numbers.next().ok_or(io::ErrorKind::InvalidInput)??;
    let given = numbers.collect::<io::Result<Vec<_>>>()?;
    let arguments = std::array::from_fn(|index| given.get(index).copied().unwrap_or(0));
    say(word, || native(call, arguments))
}

fn number(word: &str) -> io::Result<libc::c_long> {
    word.parse().map_err(io::Error::other)
}

/// Calls in a child, and writes what came of it.
fn say(word: &str, call: impl FnOnce() -> i64) -> io::Result<()> {
    // SAFETY: the prober has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let result = call();
        let code = if result < 0 { i32::try_from(-result).unwrap_or(255) } else { 0 };
        // SAFETY: ends the child without the exit handlers, which are the parent's.
        unsafe { libc::_exit(code) }
    }
    let mut status = 0;
    // SAFETY: waits for a child of this process; the status is written to an int.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    if child < 0 || waited != child {
        return Err(io::Error::last_os_error());
    }
    let outcome = match (libc::WIFSIGNALED(status), libc::WEXITSTATUS(status)) {
        (true, _) => format!("signal {}", libc::WTERMSIG(status)),
        (false, 0) => "returned".to_owned(),
        (false, errno) => format!("errno {errno}"),
    };
    writeln!(io::stdout(), "{word} {outcome}")
}

/// A negative number is a negated error.
fn native(call: libc::c_long, arguments: [libc::c_long; 6]) -> i64 {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the tests name numbers that are no pointers, NULL, or -1, where no memory is; what a call changes is this child's,
    // which ends now.
    let result = unsafe { libc::syscall(call, a, b, c, d, e, f) };
    if result < 0 {
        -i64::from(io::Error::last_os_error().raw_os_error().unwrap_or(255))
    } else {
        0
    }
}

/// As a 32-bit program would, without arguments.
#[cfg(target_arch = "x86_64")]
fn x86(call: libc::c_long) -> i64 {
    let mut result = call;
    // SAFETY: int 0x80 enters the kernel with the number in eax, answers there, and may clear r8 to r11; the tests name calls
    // without arguments.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inlateout("rax") result,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    };
    // Answers have 32 bits.
    result << 32 >> 32
}

#[cfg(not(target_arch = "x86_64"))]
fn x86(_: libc::c_long) -> i64 {
    -i64::from(libc::ENOSYS)
}
