//! Holds the layers that docs/architecture.md describes: reads the sources and fails where one crosses a border.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// A source file: its path from the workspace, its text, and the text without unit tests.
struct Source {
    path: String,
    text: String,
    code: String,
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    collect(&root.join(folder), &mut found);
    assert!(!found.is_empty(), "no sources in {folder}");
    found.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
        let path = path.strip_prefix(root).unwrap().display().to_string();
        Source { path, text, code }
    };
    found.into_iter().map(read).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // Unit tests that are folders: `plan/tests`.
            if !path.ends_with("tests") {
                collect(&path, found);
            }
        } else if path.ends_with("tests.rs") {
            // Unit tests that are files.
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The lines of code, without comments, that contain one of `words`, as `path:line: text`.
fn lines_with(sources: &[Source], words: &[&str]) -> Vec<String> {
    let mut hits = Vec::new();
    for source in sources {
        for (index, line) in source.code.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                hits.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    hits
}

fn assert_none(hits: &[String], rule: &str) {
    assert!(hits.is_empty(), "{rule}:\n{}", hits.join("\n"));
}

#[test]
fn unsafe_is_only_in_the_syscall_modules() {
    let all: Vec<_> = [
        "src",
        "crates/cli/src",
        "crates/libcontainer/src",
        "crates/plan/src",
        "crates/init/src",
        "xtask/src",
    ]
    .into_iter()
    .flat_map(sources)
    .filter(|source| !source.path.contains("/sys/") && !source.path.ends_with("/sys.rs"))
    // The crate root of the image: entry point and panic handler.
    .filter(|source| !source.path.starts_with("crates/init/src/image"))
    .collect();
    let hits = lines_with(&all, &["unsafe ", "unsafe{"]);
    let hits: Vec<_> = hits.into_iter().filter(|hit| !hit.contains("unsafe_code")).collect();
    assert_none(&hits, "unsafe outside the syscall modules");
}

#[test]
fn planner_has_no_effects() {
    let words = [
        "std::fs",
        "std::env",
        "std::process",
        "std::net",
        "std::os::unix::fs",
        "std::thread",
        "std::time",
        "SystemTime",
        "Instant",
        "rustix::",
        "nix::",
        "crate::sys",
        "crate::runtime",
        "crate::container",
        "crate::cgroup::",
        "crate::hooks",
        ".exists()",
        ".is_dir()",
        "canonicalize",
        "println!",
    ];
    assert_none(
        &lines_with(&sources("crates/libcontainer/src/plan"), &words),
        "an effect in plan/",
    );
    // Numbers of errors and flags are words of the kernel, not effects; functions are lower case, and all need unsafe.
    let calls = lines_with(&sources("crates/libcontainer/src/plan"), &["libc::"]);
    let is_call = |hit: &String| {
        hit.split("libc::").skip(1).any(|after| after.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    assert_none(&calls.into_iter().filter(is_call).collect::<Vec<_>>(), "a call in plan/");
}

#[test]
fn init_has_no_std_no_allocation_and_no_configuration() {
    let words = [
        "std::",
        "extern crate std",
        "extern crate alloc",
        "alloc::",
        "libc::",
        "serde",
        "libcontainer",
        "rustix",
        "nix::",
        "Vec<",
        "Box<",
        "String::",
        "format!",
    ];
    assert_none(&lines_with(&sources("crates/init/src"), &words), "not for init");
}

#[test]
fn libraries_have_typed_errors_and_print_nothing() {
    let words = ["anyhow", "println!", "eprintln!", "log::error!"];
    for folder in ["crates/libcontainer/src", "crates/plan/src", "crates/init/src"] {
        assert_none(&lines_with(&sources(folder), &words), "not in a library");
    }
}

#[test]
fn library_does_not_change_its_caller() {
    let words = [
        "set_current_dir",
        "env::set_var",
        "chdir(",
        "fchdir(",
        "umask(",
        "PR_SET_DUMPABLE",
        "PR_SET_CHILD_SUBREAPER",
        "set_child_subreaper",
        "sigaction(",
        "signalfd(",
        "setrlimit(",
    ];
    assert_none(
        &lines_with(&sources("crates/libcontainer/src"), &words),
        "changes the caller's process",
    );
}

#[test]
fn every_file_says_which_process_runs_it() {
    for folder in
        ["src", "crates/cli/src", "crates/libcontainer/src", "crates/plan/src", "crates/init/src"]
    {
        for source in sources(folder) {
            let header: String =
                source.text.lines().take_while(|line| line.starts_with("//!")).collect();
            let is_said = header.contains("Runs in:") || source.path.ends_with("lib.rs");
            assert!(is_said, "{}: no header with `Runs in:`", source.path);
        }
    }
}

#[test]
fn files_have_one_subject() {
    for folder in [
        "src",
        "crates/cli/src",
        "crates/libcontainer/src",
        "crates/plan/src",
        "crates/init/src",
        "xtask/src",
    ] {
        for source in sources(folder) {
            let lines = source.code.lines().count();
            assert!(
                lines <= 500,
                "{}: {lines} lines without tests; split it by meaning",
                source.path
            );
            let name = Path::new(&source.path).file_stem().unwrap().to_str().unwrap().to_owned();
            let banned = ["util", "utils", "helper", "helpers", "common", "misc", "manager"];
            assert!(!banned.contains(&name.as_str()), "{}: the name says nothing", source.path);
        }
    }
}
