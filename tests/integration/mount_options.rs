//! The option words of `/mounts`: each one of config.md's and config-linux.md's tables, seen in the container's mountinfo.
//!
//! Runs in: any process.

use nix::mount::MsFlags;
use serde_json::json;

use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, Root};
use crate::inside::{Mount, bind, mount_at, mountinfo, refusal, refuses, tmpfs};
use crate::outside::HostMount;
use crate::runtime::Runtime;

const NO_DEFAULTS: &str = "hands the word to tmpfs, which answers EINVAL; config.md has it as MUST";
const NO_SUPERBLOCK_WORDS: &str =
    "1.8 hands them to tmpfs, which answers EINVAL; config.md has them as MUST";
const NO_LAZYTIME: &str =
    "1.1 hands the word to tmpfs, which answers EINVAL; runc 1.2 and config.md have it";
const NO_NOSYMFOLLOW: &str = "has no such word; config.md has it as SHOULD, runc since 1.2";
const NO_CLEARING: &str = "does not clear; runc 1.2 does, config.md has the words as MUST";
const LOSES_FLAGS: &str = "drops flags of the source; runc is the judge: to bind is not to grant";
const NO_RECURSIVE_ATIME: &str = "1.8 sets atime bits without MOUNT_ATTR__ATIME, EINVAL";
const FIRST_COUNTS: &str =
    "does not take back what an earlier word has set; runc 1.2 and mount(8) do";
const SHARES_ONE: &str = "makes only the uppermost mount shared; mount(8): r is recursive";

table! {
    tmpfs_words_set_what_they_name: [Root],
    tmpfs_defaults_is_no_option: [Root, NotOn("runc", NO_DEFAULTS)],
    tmpfs_words_without_a_trace_are_taken: [Root],
    tmpfs_superblock_words_are_taken: [Root, NotOn("crun", NO_SUPERBLOCK_WORDS)],
    tmpfs_lazytime_is_set_and_cleared: [Root, NotOn("crun", NO_SUPERBLOCK_WORDS), NotOn("runc", NO_LAZYTIME)],
    tmpfs_data_reaches_the_file_system: [Root],
    bind_words_set_what_they_name: [Root],
    bind_without_words_keeps_the_flags_of_the_source: [Root, NotOn("crun", LOSES_FLAGS)],
    bind_with_a_word_has_only_what_was_asked: [Root, NotOn("crun", LOSES_FLAGS)],
    bind_clearing_words_clear_the_flags_of_the_source: [Root, NotOn("runc", NO_CLEARING), NotOn("crun", NO_CLEARING)],
    bind_changes_access_times_only_by_a_word_that_sets_one:
        [Root, NotOn("runc", NO_CLEARING), NotOn("crun", LOSES_FLAGS)],
    nosymfollow_is_set_and_cleared: [Root, NotOn("crun", NO_NOSYMFOLLOW), NotOn("runc", NO_NOSYMFOLLOW)],
    rbind_brings_mounts_below_and_bind_does_not: [Root],
    recursive_words_reach_mounts_below: [Root],
    recursive_clearing_words_reach_mounts_below: [Root],
    recursive_clearing_words_keep_the_other_flags: [Root, NotOn("crun", LOSES_FLAGS)],
    of_contrary_words_the_last_counts: [Root, NotOn("crun", FIRST_COUNTS)],
    of_contrary_recursive_words_the_last_counts:
        [Root, NotOn("crun", FIRST_COUNTS), NotOn("runc", FIRST_COUNTS)],
    recursive_atime_words_reach_mounts_below: [Root, NotOn("crun", NO_RECURSIVE_ATIME)],
    recursive_nosymfollow_reaches_mounts_below: [Root, NotOn("crun", NO_NOSYMFOLLOW)],
    plain_ro_leaves_mounts_below_writable: [Root],
    propagation_words_set_that_of_the_mount: [Root],
    recursive_propagation_words_reach_mounts_below: [Root, NotOn("crun", SHARES_ONE)],
    remount_changes_the_mount_that_is_there: [Root],
    unknown_word_is_refused_by_the_file_system: [Root],
    unknown_word_error_names_the_entry_and_the_word: [Root, Corten("errors have the JSON pointer")],
    file_system_data_on_a_bind_is_refused:
        [Root, Corten("a bind ignores them; runc since 1.2 says so, 1.1.5 and crun start without a word")],
}

/// An option list, and the words that mountinfo must and must not have.
struct Row {
    options: &'static [&'static str],
    with: &'static [&'static str],
    without: &'static [&'static str],
}

const fn row(
    options: &'static [&'static str],
    with: &'static [&'static str],
    without: &'static [&'static str],
) -> Row {
    Row { options, with, without }
}

impl Row {
    fn check(&self, mount: &Mount) -> TestResult {
        let options = self.options;
        for word in self.with {
            let found = mount.has(word) || mount.superblock_has(word);
            ensure!(found, "{options:?} does not give {word}: {mount:?}");
        }
        for word in self.without {
            // A read-only mount of a writable file system is `ro` as a mount and `rw` as a file system.
            let superblock = !matches!(*word, "ro" | "rw") && mount.superblock_has(word);
            ensure!(!mount.has(word) && !superblock, "{options:?} gives {word}: {mount:?}");
        }
        Ok(())
    }
}

/// One container with a tmpfs for each row, at /m/0, /m/1, ...
fn check_tmpfs(runtime: &Runtime, rows: &[Row]) -> TestResult {
    let mounts = mountinfo(runtime, |config| {
        for (index, row) in rows.iter().enumerate() {
            tmpfs(config, &format!("/m/{index}"), row.options);
        }
    })?;
    for (index, row) in rows.iter().enumerate() {
        let mount = mount_at(&mounts, &format!("/m/{index}"))?;
        ensure_eq!(mount.fstype, "tmpfs");
        row.check(mount)?;
    }
    Ok(())
}

/// One container with a bind of `source` for each row; the checks are on the mount and on each of those below it.
fn check_binds(runtime: &Runtime, source: &HostMount, below: &[&str], rows: &[Row]) -> TestResult {
    let mounts = mountinfo(runtime, |config| {
        for (index, row) in rows.iter().enumerate() {
            bind(config, &format!("/m/{index}"), source.path(), row.options);
        }
    })?;
    for (index, row) in rows.iter().enumerate() {
        row.check(mount_at(&mounts, &format!("/m/{index}"))?)?;
        for path in below {
            row.check(mount_at(&mounts, &format!("/m/{index}/{path}"))?)?;
        }
    }
    Ok(())
}

#[rustfmt::skip] // A table.
fn tmpfs_words_set_what_they_name(runtime: &Runtime) -> TestResult {
    check_tmpfs(runtime, &[
        row(&[], &["rw", "relatime"], &["nosuid", "nodev", "noexec", "sync", "dirsync"]),
        row(&["ro"], &["ro"], &["rw"]),
        row(&["nosuid"], &["nosuid"], &["nodev", "noexec"]),
        row(&["nodev"], &["nodev"], &["nosuid"]),
        row(&["noexec"], &["noexec"], &["nosuid"]),
        row(&["sync"], &["sync"], &[]),
        row(&["dirsync"], &["dirsync"], &[]),
        row(&["noatime"], &["noatime"], &["relatime"]),
        row(&["nodiratime"], &["nodiratime"], &[]),
        row(&["relatime"], &["relatime"], &[]),
        row(&["strictatime"], &[], &["relatime", "noatime"]),
        // relatime is the kernel's default, which its absence does not change.
        row(&["norelatime"], &["relatime"], &[]),
        row(&["nosuid", "noexec", "nodev", "ro", "noatime"],
            &["nosuid", "noexec", "nodev", "ro", "noatime"], &[]),
    ])
}

fn tmpfs_defaults_is_no_option(runtime: &Runtime) -> TestResult {
    check_tmpfs(runtime, &[row(&["defaults"], &["rw", "relatime"], &["nosuid", "nodev", "noexec"])])
}

fn tmpfs_words_without_a_trace_are_taken(runtime: &Runtime) -> TestResult {
    let words = &["rw", "suid", "dev", "exec", "async", "atime", "diratime"];
    check_tmpfs(
        runtime,
        &[row(&["mand"], &["rw"], &[]), row(&["nomand"], &["rw"], &[]), row(words, &["rw"], &[])],
    )
}

fn tmpfs_superblock_words_are_taken(runtime: &Runtime) -> TestResult {
    check_tmpfs(
        runtime,
        &[
            row(&["iversion"], &["rw"], &[]),
            row(&["noiversion"], &["rw"], &[]),
            row(&["silent"], &["rw"], &[]),
            row(&["loud"], &["rw"], &[]),
        ],
    )
}

fn tmpfs_lazytime_is_set_and_cleared(runtime: &Runtime) -> TestResult {
    check_tmpfs(
        runtime,
        &[
            row(&["lazytime"], &["lazytime"], &[]),
            row(&["lazytime", "nolazytime"], &[], &["lazytime"]),
        ],
    )
}

#[rustfmt::skip] // A table.
fn tmpfs_data_reaches_the_file_system(runtime: &Runtime) -> TestResult {
    check_tmpfs(runtime, &[
        row(&["size=4096k"], &["size=4096k"], &[]),
        row(&["nosuid", "size=64m", "nr_inodes=123", "mode=1750"],
            &["nosuid", "size=65536k", "nr_inodes=123", "mode=1750"], &[]),
        row(&["uid=7", "gid=8"], &["uid=7", "gid=8"], &[]),
        // One word with commas is as many options as it has, as in mount(8).
        row(&["size=8192k,nr_inodes=77"], &["size=8192k", "nr_inodes=77"], &[]),
        row(&["size=1m", "size=2m"], &["size=2048k"], &["size=1024k"]),
    ])
}

#[rustfmt::skip] // A table.
fn bind_words_set_what_they_name(runtime: &Runtime) -> TestResult {
    let source = HostMount::tmpfs(runtime.directory().join("source"), MsFlags::empty())?;
    check_binds(runtime, &source, &[], &[
        row(&["bind"], &["rw"], &["nosuid", "nodev", "noexec"]),
        row(&["rbind"], &["rw"], &["nosuid", "nodev", "noexec"]),
        row(&["bind", "ro"], &["ro"], &["nosuid"]),
        row(&["bind", "nosuid"], &["nosuid", "rw"], &["nodev"]),
        row(&["bind", "nodev"], &["nodev"], &["noexec"]),
        row(&["bind", "noexec"], &["noexec"], &["nosuid"]),
        row(&["bind", "noatime"], &["noatime"], &["relatime"]),
        row(&["bind", "nodiratime"], &["nodiratime"], &[]),
        row(&["bind", "relatime"], &["relatime"], &[]),
        row(&["bind", "strictatime"], &[], &["relatime", "noatime"]),
        row(&["rbind", "ro", "nosuid", "nodev", "noexec", "noatime"],
            &["ro", "nosuid", "nodev", "noexec", "noatime"], &[]),
    ])
}

/// A host tmpfs that has every flag.
fn restricted(runtime: &Runtime) -> std::io::Result<HostMount> {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    HostMount::tmpfs(runtime.directory().join("restricted"), flags | MsFlags::MS_NOATIME)
}

fn bind_without_words_keeps_the_flags_of_the_source(runtime: &Runtime) -> TestResult {
    let source = restricted(runtime)?;
    let all = &["ro", "nosuid", "nodev", "noexec", "noatime"];
    let rows = [
        row(&["bind"], all, &[]),
        row(&["rbind"], all, &[]),
        row(&["rbind", "rprivate"], all, &[]),
    ];
    check_binds(runtime, &source, &[], &rows)
}

fn bind_with_a_word_has_only_what_was_asked(runtime: &Runtime) -> TestResult {
    let source = restricted(runtime)?;
    // mount(2): a remount has exactly the flags that it gives, and without one for atime keeps that.
    let rows = [
        row(&["bind", "ro"], &["ro", "noatime"], &["nosuid", "nodev", "noexec"]),
        row(&["bind", "nosuid"], &["rw", "nosuid", "noatime"], &["nodev", "noexec"]),
        row(&["bind", "relatime"], &["rw", "relatime"], &["noatime", "nosuid"]),
    ];
    check_binds(runtime, &source, &[], &rows)
}

#[rustfmt::skip] // A table.
fn bind_clearing_words_clear_the_flags_of_the_source(runtime: &Runtime) -> TestResult {
    let source = restricted(runtime)?;
    check_binds(runtime, &source, &[], &[
        row(&["bind", "rw"], &["rw"], &["ro"]),
        row(&["bind", "suid"], &[], &["nosuid"]),
        row(&["bind", "dev"], &[], &["nodev"]),
        row(&["bind", "exec"], &[], &["noexec"]),
        row(&["bind", "rw", "suid", "dev", "exec", "atime"],
            &["rw"], &["ro", "nosuid", "nodev", "noexec"]),
    ])
}

fn nosymfollow_is_set_and_cleared(runtime: &Runtime) -> TestResult {
    let source = HostMount::tmpfs(runtime.directory().join("source"), MsFlags::empty())?;
    let rows = [
        row(&["bind", "nosymfollow"], &["nosymfollow"], &["ro"]),
        row(&["bind", "nosymfollow", "symfollow"], &[], &["nosymfollow"]),
    ];
    check_binds(runtime, &source, &[], &rows)?;
    check_tmpfs(runtime, &[row(&["nosymfollow"], &["nosymfollow"], &[])])
}

/// A host tmpfs with another below it, at [`BELOW`], both with these flags.
struct Tree {
    // Dropped first, and unmounted first.
    _below: HostMount,
    top: HostMount,
}

const BELOW: &str = "deeper/below";

impl Tree {
    fn new(runtime: &Runtime, flags: MsFlags) -> std::io::Result<Self> {
        let top = HostMount::tmpfs(runtime.directory().join("tree"), MsFlags::empty())?;
        let below = HostMount::tmpfs(top.path().join(BELOW), flags)?;
        if !flags.is_empty() {
            top.change(MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags)?;
        }
        Ok(Self { _below: below, top })
    }
}

fn rbind_brings_mounts_below_and_bind_does_not(runtime: &Runtime) -> TestResult {
    let tree = Tree::new(runtime, MsFlags::empty())?;
    let mounts = mountinfo(runtime, |config| {
        bind(config, "/bind", tree.top.path(), &["bind"]);
        bind(config, "/rbind", tree.top.path(), &["rbind"]);
    })?;
    mount_at(&mounts, "/bind")?;
    let below = mount_at(&mounts, "/bind/deeper/below");
    ensure!(below.is_err(), "bind brought what is below: {mounts:#?}");
    mount_at(&mounts, "/rbind/deeper/below")?;
    Ok(())
}

#[rustfmt::skip] // A table.
fn recursive_words_reach_mounts_below(runtime: &Runtime) -> TestResult {
    let tree = Tree::new(runtime, MsFlags::empty())?;
    check_binds(runtime, &tree.top, &[BELOW], &[
        row(&["rbind", "rro"], &["ro"], &["rw"]),
        row(&["rbind", "rnosuid"], &["nosuid"], &["nodev"]),
        row(&["rbind", "rnodev"], &["nodev"], &["nosuid"]),
        row(&["rbind", "rnoexec"], &["noexec"], &["nosuid"]),
        row(&["rbind", "rro", "rnosuid", "rnodev", "rnoexec"],
            &["ro", "nosuid", "nodev", "noexec"], &[]),
    ])
}

/// As with mount(8): what sets an access time replaces that of the source, what clears one changes nothing.
#[rustfmt::skip] // A table.
fn bind_changes_access_times_only_by_a_word_that_sets_one(runtime: &Runtime) -> TestResult {
    let flags = MsFlags::MS_NOATIME;
    let source = HostMount::tmpfs(runtime.directory().join("source"), flags)?;
    check_binds(runtime, &source, &[], &[
        row(&["bind"], &["noatime"], &["relatime"]),
        row(&["bind", "dev"], &["noatime"], &["relatime"]),
        row(&["bind", "atime"], &["noatime"], &["relatime"]),
        row(&["bind", "norelatime"], &["noatime"], &["relatime"]),
        row(&["bind", "nostrictatime"], &["noatime"], &["relatime"]),
        row(&["bind", "diratime"], &["noatime"], &["relatime"]),
        row(&["bind", "relatime"], &["relatime"], &["noatime"]),
        row(&["bind", "nodiratime"], &["nodiratime", "relatime"], &["noatime"]),
        row(&["bind", "nodiratime", "norelatime"], &["nodiratime", "relatime"], &["noatime"]),
        row(&["bind", "nodiratime", "strictatime"], &["nodiratime"], &["noatime", "relatime"]),
    ])?;
    let source = HostMount::tmpfs(runtime.directory().join("nodiratime"), MsFlags::MS_NODIRATIME)?;
    check_binds(runtime, &source, &[], &[
        row(&["bind", "diratime"], &["nodiratime"], &[]),
        row(&["bind", "strictatime"], &[], &["nodiratime", "relatime"]),
    ])
}

#[rustfmt::skip] // A table.
fn recursive_clearing_words_reach_mounts_below(runtime: &Runtime) -> TestResult {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    let tree = Tree::new(runtime, flags)?;
    check_binds(runtime, &tree.top, &[BELOW], &[
        row(&["rbind", "rrw"], &["rw"], &["ro"]),
        row(&["rbind", "rsuid"], &[], &["nosuid"]),
        row(&["rbind", "rdev"], &[], &["nodev"]),
        row(&["rbind", "rexec"], &[], &["noexec"]),
    ])
}

#[rustfmt::skip] // A table.
fn recursive_clearing_words_keep_the_other_flags(runtime: &Runtime) -> TestResult {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    let tree = Tree::new(runtime, flags)?;
    check_binds(runtime, &tree.top, &[BELOW], &[
        row(&["rbind", "rrw"], &["nosuid", "nodev", "noexec"], &["ro"]),
        row(&["rbind", "rsuid"], &["ro", "nodev", "noexec"], &["nosuid"]),
    ])
}

#[rustfmt::skip] // A table.
fn of_contrary_words_the_last_counts(runtime: &Runtime) -> TestResult {
    check_tmpfs(runtime, &[
        row(&["ro", "rw"], &["rw"], &["ro"]),
        row(&["rw", "ro"], &["ro"], &["rw"]),
        row(&["suid", "nosuid"], &["nosuid"], &[]),
        row(&["nodev", "dev"], &[], &["nodev"]),
        row(&["noexec", "exec"], &[], &["noexec"]),
        row(&["sync", "async"], &[], &["sync"]),
        row(&["noatime", "atime"], &["relatime"], &["noatime"]),
        row(&["nodiratime", "diratime"], &[], &["nodiratime"]),
        row(&["strictatime", "nostrictatime"], &["relatime"], &["noatime"]),
        row(&["nosuid", "suid"], &[], &["nosuid"]),
    ])?;
    let source = HostMount::tmpfs(runtime.directory().join("source"), MsFlags::empty())?;
    check_binds(runtime, &source, &[], &[
        row(&["bind", "ro", "rw"], &["rw"], &["ro"]),
        row(&["bind", "rw", "ro"], &["ro"], &["rw"]),
    ])
}

#[rustfmt::skip] // A table.
fn of_contrary_recursive_words_the_last_counts(runtime: &Runtime) -> TestResult {
    let tree = Tree::new(runtime, MsFlags::empty())?;
    check_binds(runtime, &tree.top, &[BELOW], &[
        row(&["rbind", "rro", "rrw"], &["rw"], &["ro"]),
        row(&["rbind", "rrw", "rro"], &["ro"], &["rw"]),
        row(&["rbind", "rnodiratime", "rdiratime"], &[], &["nodiratime"]),
        row(&["rbind", "rnosymfollow", "rsymfollow"], &[], &["nosymfollow"]),
        row(&["rbind", "rnoatime", "ratime"], &[], &["noatime"]),
    ])
}

#[rustfmt::skip] // A table.
fn recursive_atime_words_reach_mounts_below(runtime: &Runtime) -> TestResult {
    let tree = Tree::new(runtime, MsFlags::empty())?;
    check_binds(runtime, &tree.top, &[BELOW], &[
        row(&["rbind", "rnodiratime"], &["nodiratime"], &[]),
        row(&["rbind", "rnoatime"], &["noatime"], &["relatime"]),
        row(&["rbind", "rrelatime"], &["relatime"], &["noatime"]),
        row(&["rbind", "rstrictatime"], &[], &["relatime", "noatime"]),
    ])
}

fn recursive_nosymfollow_reaches_mounts_below(runtime: &Runtime) -> TestResult {
    let tree = Tree::new(runtime, MsFlags::empty())?;
    let rows = [row(&["rbind", "rnosymfollow"], &["nosymfollow"], &["ro"])];
    check_binds(runtime, &tree.top, &[BELOW], &rows)
}

fn plain_ro_leaves_mounts_below_writable(runtime: &Runtime) -> TestResult {
    let tree = Tree::new(runtime, MsFlags::empty())?;
    let mounts =
        mountinfo(runtime, |config| bind(config, "/t", tree.top.path(), &["rbind", "ro"]))?;
    ensure!(mount_at(&mounts, "/t")?.has("ro"), "not read-only: {mounts:#?}");
    // config.md: ro is MS_RDONLY, which is not recursive; rro is.
    ensure!(mount_at(&mounts, "/t/deeper/below")?.has("rw"), "read-only below: {mounts:#?}");
    Ok(())
}

fn propagation_words_set_that_of_the_mount(runtime: &Runtime) -> TestResult {
    let source = HostMount::tmpfs(runtime.directory().join("source"), MsFlags::empty())?;
    source.change(MsFlags::MS_SHARED)?;
    let rows = [
        ("private", "private"),
        ("rprivate", "private"),
        ("slave", "master"),
        ("rslave", "master"),
        ("shared", "shared"),
        ("rshared", "shared"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ];
    let mounts = mountinfo(runtime, |config| {
        // Else the container has the source as a slave of the host's, whatever it does with it.
        config["linux"]["rootfsPropagation"] = json!("shared");
        for (word, _) in rows {
            bind(config, &format!("/{word}"), source.path(), &["bind", word]);
        }
    })?;
    for (word, kind) in rows {
        let found = mount_at(&mounts, &format!("/{word}"))?.propagates();
        ensure!(found == kind, "{word} gives {found}, not {kind}");
    }
    Ok(())
}

fn recursive_propagation_words_reach_mounts_below(runtime: &Runtime) -> TestResult {
    let tree = Tree::new(runtime, MsFlags::empty())?;
    let rows = [("shared", "private"), ("rshared", "shared"), ("runbindable", "unbindable")];
    let mounts = mountinfo(runtime, |config| {
        for (word, _) in rows {
            bind(config, &format!("/{word}"), tree.top.path(), &["rbind", word]);
        }
    })?;
    for (word, kind) in rows {
        let found = mount_at(&mounts, &format!("/{word}/{BELOW}"))?.propagates();
        ensure!(found == kind, "{word} gives {found} below, not {kind}");
    }
    Ok(())
}

fn remount_changes_the_mount_that_is_there(runtime: &Runtime) -> TestResult {
    let mounts = mountinfo(runtime, |config| {
        tmpfs(config, "/t", &["size=1m"]);
        tmpfs(config, "/t", &["remount", "ro", "size=2m"]);
    })?;
    ensure_eq!(mounts.iter().filter(|mount| mount.target == "/t").count(), 1);
    row(&["remount", "ro", "size=2m"], &["ro", "size=2048k"], &[]).check(mount_at(&mounts, "/t")?)
}

fn unknown_word_is_refused_by_the_file_system(runtime: &Runtime) -> TestResult {
    for word in ["nosuchoption", "size=12q", "nr_inodes=-"] {
        refusal(runtime, |config| tmpfs(config, "/t", &[word]))?;
    }
    Ok(())
}

fn unknown_word_error_names_the_entry_and_the_word(runtime: &Runtime) -> TestResult {
    for word in ["nosuchoption", "size=12q"] {
        let texts = ["/mounts/7", "mount tmpfs on /t", word, "EINVAL"];
        refuses(runtime, &texts, |config| tmpfs(config, "/t", &["nosuid", word, "mode=755"]))?;
    }
    Ok(())
}

fn file_system_data_on_a_bind_is_refused(runtime: &Runtime) -> TestResult {
    let texts = ["/mounts/7", "size=1m"];
    refuses(runtime, &texts, |config| bind(config, "/t", "/tmp", &["rbind", "size=1m"]))
}
