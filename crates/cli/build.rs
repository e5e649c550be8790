//! Tells `version` which sources and which compiler it was built from.
//!
//! Runs in: any process (the build).

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=CORTEN_COMMIT");
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    if let Some(said) = first_line(Command::new(rustc).arg("--version")) {
        let version = said.split(' ').nth(1).unwrap_or_default();
        println!("cargo::rustc-env=CORTEN_RUST={version}");
    }
    // A packager's word goes first; else what git knows, of a clone.
    if env::var_os("CORTEN_COMMIT").is_none() {
        let head = first_line(Command::new("git").args(["rev-parse", "--git-path", "logs/HEAD"]));
        let Some(head) = head else { return };
        println!("cargo::rerun-if-changed={head}");
        if let Some(commit) = first_line(Command::new("git").args(["rev-parse", "HEAD"])) {
            println!("cargo::rustc-env=CORTEN_COMMIT={commit}");
        }
    }
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(str::to_owned)
}
