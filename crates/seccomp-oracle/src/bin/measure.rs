//! Times both compilers on the captured profiles: the least of many runs, in microseconds.
//!
//! Runs in: any process.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use libcontainer::seccomp::{Arch, compile};
use seccomp_oracle::captured_profiles;
use seccomp_oracle::peer::Peer;

fn main() -> io::Result<()> {
    let Some(native) = Arch::NATIVE else {
        return Err(io::Error::other("no table for this architecture"));
    };
    let mut out = io::stdout().lock();
    writeln!(out, "file | names | ours: instructions, µs | libseccomp: instructions, µs")?;
    for (file, profile) in captured_profiles()? {
        let names: usize = profile.syscalls.iter().map(|rule| rule.names.len()).sum();
        let ours = compile(&profile, native).map_err(io::Error::other)?;
        let theirs =
            Peer::new(&profile, native).map_err(|why| io::Error::other(format!("{why:?}")))?;
        let ours_time = least(500, || compile(&profile, native).is_ok());
        let theirs_time = least(10, || Peer::new(&profile, native).is_ok());
        writeln!(
            out,
            "{file} | {names} | {}, {:.0} | {}, {:.0}",
            ours.instructions.len(),
            ours_time.as_secs_f64() * 1e6,
            theirs.len(),
            theirs_time.as_secs_f64() * 1e6,
        )?;
    }
    Ok(())
}

fn least(runs: u32, mut work: impl FnMut() -> bool) -> Duration {
    let time = |_| {
        let start = Instant::now();
        std::hint::black_box(work());
        start.elapsed()
    };
    (0..runs).map(time).min().unwrap_or_default()
}
