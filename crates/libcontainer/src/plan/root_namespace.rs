//! Whether the container's mount namespace may be made of its root file system alone, and not of a copy of the host's mounts.
//!
//! What init can see better than these words, it looks at itself: links in the sources, what is mounted below them.
//! `docs/design/0009-open-tree-namespace.md`.
//!
//! Runs in: any process.

use super::mounts::{self, PlannedMount};
use super::words::{CLONE_NEWNS, CLONE_NEWUSER};
use super::{Inputs, hooks, rootfs};

/// Whether all that the plan does after it comes out the same.
pub(super) fn is_enough(inputs: &Inputs<'_>, mounts: &[PlannedMount<'_>]) -> bool {
    let namespaces = &inputs.namespaces;
    inputs.facts.root_namespaces
        && namespaces.is_new(CLONE_NEWNS)
        // The host's mounts are not its, and what it may mount depends on what is mounted already.
        && !namespaces.has(CLONE_NEWUSER)
        && !inputs.request.no_pivot
        // They see the host's mounts, and in them the root file system before it is the root (runtime.md, "Lifecycle").
        && !hooks::any_before_pivot(inputs.hooks)
        && rootfs::is_cut_off(inputs.linux)
        && mounts::need_no_host(inputs, mounts)
}
