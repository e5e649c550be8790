//! The attacks of the field, on the built binary, as root: one test for each class (`docs/security.md` has the list).
//!
//! `cargo test --test attacks [FILTER]`. Every test first runs its attack on an operation without guard, where it must
//! succeed: a control that does not fails the test, for then the attack proves nothing. Then it attacks the runtime, for a
//! bounded time. The last line is `N attacks, M succeeded`. Harness and variables are those of `tests/integration`.
//!
//! A new file: one `mod` line and one line in `tests()` below.
//!
//! Runs in: any process.

#[path = "../integration"]
#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "a vocabulary for two programs: not every word is in use in each"
)]
mod shared {
    pub mod bundle;
    pub mod harness;
    pub mod holder;
    pub mod host;
    pub mod inside;
    pub mod leaks;
    pub mod mapped;
    pub mod ordinary_user;
    pub mod outside;
    pub mod runtime;
}
// The harness's files know each other by these names.
use shared::{
    bundle, harness, holder, host, inside, leaks, mapped, ordinary_user, outside, runtime,
};

mod attack;
mod confinement;
mod descriptors;
mod images;
mod kernel_files;
mod machine;
mod masks;
mod names;
mod probe;
mod processes;
mod races;
mod sys;
mod terminals;

use std::process::ExitCode;

use harness::Test;

fn tests() -> Vec<Test> {
    [
        confinement::tests(),
        descriptors::tests(),
        images::tests(),
        kernel_files::tests(),
        machine::tests(),
        masks::tests(),
        names::tests(),
        processes::tests(),
        races::tests(),
        terminals::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn main() -> ExitCode {
    if let Some(code) = probe::play() {
        return code;
    }
    let code = harness::run(tests());
    attack::say_how_many();
    code
}
