//! One container from a program's own code: create, start, wait, delete.
//!
//! `cargo run -p libcontainer --example lifecycle -- BUNDLE`, as root. config.json in BUNDLE has `"terminal": false`: who
//! wants a terminal gives `CreateOptions::console` a socket.
//!
//! Runs in: runtime.

#![expect(clippy::print_stdout, reason = "an example, to be looked at")]

use std::env;
use std::error::Error;

use libcontainer::{Container, CreateOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let bundle = env::args_os().nth(1).ok_or("usage: lifecycle BUNDLE")?;
    let options = CreateOptions {
        root: "/run/lifecycle-example".into(),
        id: format!("example-{}", std::process::id()),
        bundle: bundle.into(),
        ..CreateOptions::default()
    };
    // Nothing is left of a create that fails.
    let (container, init) = Container::create(&options)?;
    println!("{} is {}, its init is process {}", container.id(), container.status()?, init.pid());
    let ended = container.start().and_then(|()| init.wait());
    // Whatever came of it: with `force`, for it may still run.
    for problem in Container::delete(&options.root, &options.id, true)? {
        println!("a poststop hook has failed: {problem}");
    }
    println!("{:?}", ended?);
    Ok(())
}
