//! The mode in which all tests run as an ordinary user: `CORTEN_TEST_ROOTLESS=helpers` has newuidmap and newgidmap, and ids in
//! /etc/subuid and /etc/subgid; with `alone` there is nothing of it, and the user has the own ids only.
//!
//! The harness is started as root, makes itself this view in a mount namespace of its own, and becomes the user before the
//! first test. What a test cannot have then is in [`EXCEPTIONS`], by name.
//!
//! Runs in: any process.

use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use serde_json::{Value, json};

use crate::bundle::map;

/// The user's uid and gid.
pub const ID: u32 = 1000;
/// The first id that /etc/subuid and /etc/subgid give, and how many.
pub const SUBORDINATE: (u32, u32) = (100_000, 65_536);

/// What the user can map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The ids of /etc/subuid, by the helpers.
    Helpers,
    /// The own ids alone.
    Alone,
}

/// The mode of this run; `None`: as root.
pub fn mode() -> Option<Mode> {
    match std::env::var("CORTEN_TEST_ROOTLESS").ok()?.as_str() {
        "" | "0" => None,
        "alone" => Some(Mode::Alone),
        _ => Some(Mode::Helpers),
    }
}

/// Makes the view, for a process with a mount namespace of its own, and becomes the user.
pub fn become_user(mode: Mode) -> io::Result<()> {
    furnish(mode, Path::new("/run"))?;
    setgroups(&[])?;
    let (uid, gid) = (Uid::from_raw(ID), Gid::from_raw(ID));
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    // Another user's files in procfs are root's, else.
    nix::sys::prctl::set_dumpable(true)?;
    Ok(())
}

/// Puts files over those of /etc, and over the helpers. `scratch` is covered by a tmpfs.
fn furnish(mode: Mode, scratch: &Path) -> io::Result<()> {
    mount(Some("tmpfs"), scratch, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
    let (first, count) = SUBORDINATE;
    let table =
        if mode == Mode::Helpers { format!("{ID}:{first}:{count}\n") } else { String::new() };
    cover(scratch, "/etc/subuid", &table)?;
    cover(scratch, "/etc/subgid", &table)?;
    let users = fs::read_to_string("/etc/passwd")?;
    // The helpers want the user to have a name.
    if !users.lines().any(|line| line.split(':').nth(2) == Some("1000")) {
        cover(scratch, "/etc/passwd", &format!("{users}ordinary:x:{ID}:{ID}::/tmp:/bin/sh\n"))?;
    }
    if mode == Mode::Alone {
        for helper in ["/usr/bin/newuidmap", "/usr/bin/newgidmap"] {
            if Path::new(helper).exists() {
                cover(scratch, helper, "")?;
            }
        }
    }
    Ok(())
}

fn cover(scratch: &Path, path: &str, content: &str) -> io::Result<()> {
    let file = scratch.join(path.replace('/', "_"));
    fs::write(&file, content)?;
    if !Path::new(path).exists() {
        fs::write(path, "")?;
    }
    Ok(mount(Some(&file), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}

/// Makes the configuration of all tests one that the user can run.
pub fn adapt(config: &mut Value, mode: Mode) {
    let (first, count) = SUBORDINATE;
    let own = [0, ID, 1];
    match mode {
        Mode::Helpers => {
            let ids = [own, [1, first, count]];
            map(config, &ids, &ids);
        }
        Mode::Alone => {
            map(config, &[own], &[own]);
            // gid 5 is nobody's.
            for mount in config["mounts"].as_array_mut().into_iter().flatten() {
                if let Some(options) = mount["options"].as_array_mut() {
                    options.retain(|word| word != "gid=5");
                }
            }
        }
    }
    // Device rules are root's.
    config["linux"]["resources"] = json!({});
}

/// Why a test cannot hold for the user.
pub fn exception(name: &str, mode: Mode) -> Option<&'static str> {
    let of_name = |(what, _): &&(&str, &str)| {
        name == *what || (what.ends_with("::") && name.starts_with(what))
    };
    let of_mode: &[(&str, &str)] = match mode {
        Mode::Helpers => &[],
        Mode::Alone => ALONE,
    };
    EXCEPTIONS.iter().chain(of_mode).find(of_name).map(|(_, why)| *why)
}

/// Tests, or whole files (`file::`), and why.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// The same, for who has but one id.
const ALONE: &[(&str, &str)] = &[];
