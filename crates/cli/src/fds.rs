//! The fds that the caller hands over: LISTEN_FDS (systemd's socket activation) and `--preserve-fds`.
//!
//! Runs in: runtime.

use std::{env, fs, process};

use anyhow::{Context, anyhow};
use clap::ArgMatches;

/// The first fd after stdio; `SD_LISTEN_FDS_START` is the same.
const FIRST: u32 = 3;

/// How many fds from 3 on systemd means for this process.
pub fn listen_fds() -> u32 {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    // Variables that a parent has left in the environment name another process.
    match number("LISTEN_PID") {
        Some(pid) if pid == process::id() => number("LISTEN_FDS").unwrap_or(0),
        _ => 0,
    }
}

/// Checks that every fd of `--preserve-fds` is open, in the words of runc.
///
/// To be called before this process opens anything of its own: what it opens then gets higher numbers.
pub fn check_preserved(matches: &ArgMatches, with_listen_fds: bool) -> anyhow::Result<()> {
    let Ok(Some(&count)) = matches.try_get_one::<u32>("preserve_fds") else { return Ok(()) };
    let first = FIRST.saturating_add(if with_listen_fds { listen_fds() } else { 0 });
    for index in 0..count {
        let fd = first.checked_add(index).ok_or_else(|| anyhow!("there is no fd of this number"));
        fd.and_then(|fd| Ok(fs::symlink_metadata(format!("/proc/self/fd/{fd}"))?))
            .with_context(|| format!("unable to stat preserved-fd {index} (of {count})"))?;
    }
    Ok(())
}
