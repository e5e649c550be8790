//! Starts the real image in new namespaces, with plans made here, and looks at what it did.
//!
//! Needs root, and busybox as a static program at /bin/busybox (Debian: busybox-static).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is a test; what it needs and cannot have is its failure"
)]

mod bundle;
mod container;
mod credentials;
#[path = "../../../libcontainer/build/elf.rs"]
mod elf;
mod hooks;
#[path = "../../../libcontainer/build/image.rs"]
mod image;
mod mounts;
mod processes;
mod programs;
mod root;
mod shortcuts;
mod targets;
