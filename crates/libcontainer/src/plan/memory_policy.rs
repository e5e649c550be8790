//! `linux.memoryPolicy`: from which NUMA nodes memory comes, for init and for every process of exec (runc,
//! `setupMemoryPolicy`).
//!
//! Runs in: any process.

use corten_plan::Op;
use corten_plan::wire::Ids;

use super::steps::Steps;
use super::types::Origin;
use super::words::{MPOL, MPOL_FLAGS};
use crate::spec::{LinuxMemoryPolicy, SpecError};

const NODES: &str = "/linux/memoryPolicy/nodes";

/// The step that sets it.
pub(super) fn set(steps: &mut Steps, policy: Option<&LinuxMemoryPolicy>) -> Result<(), SpecError> {
    let Some(policy) = policy else { return Ok(()) };
    let problem = |what: &str| SpecError::new(NODES, format!("is {:?}, {what}", policy.nodes));
    let nodes = match policy.nodes.as_str() {
        "" => Vec::new(),
        nodes => super::exec::mask(nodes).ok_or_else(|| problem("with too large a number"))?,
    };
    let flags = policy.flags.iter().map(|flag| number(MPOL_FLAGS, flag.as_str()));
    let mode = flags.fold(number(MPOL, policy.mode.as_str()), |mode, flag| mode | flag);
    let nodes = Ids::new(&nodes).map_err(|_| problem("with too large a number"))?;
    steps.push(Origin::from("/linux/memoryPolicy"), &Op::MemoryPolicy { mode, nodes });
    Ok(())
}

fn number(words: &[(&str, u32)], name: &str) -> u32 {
    words.iter().find(|(word, _)| *word == name).map_or(0, |(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::{MPOL, MPOL_FLAGS, number};
    use crate::spec::{MemoryPolicyFlag, MemoryPolicyMode};

    /// The numbers against those of the C library.
    #[test]
    fn number_of_every_word_is_the_c_library_s() {
        let modes = MemoryPolicyMode::ALL.iter().map(|mode| number(MPOL, mode.as_str()));
        let theirs = [
            libc::MPOL_DEFAULT,
            libc::MPOL_BIND,
            libc::MPOL_INTERLEAVE,
            // The crate does not have this one, nor MPOL_PREFERRED_MANY.
            6,
            libc::MPOL_PREFERRED,
            5,
            libc::MPOL_LOCAL,
        ];
        assert!(modes.eq(theirs.map(i32::cast_unsigned)));
        let flags = MemoryPolicyFlag::ALL.iter().map(|flag| number(MPOL_FLAGS, flag.as_str()));
        let theirs =
            [libc::MPOL_F_NUMA_BALANCING, libc::MPOL_F_RELATIVE_NODES, libc::MPOL_F_STATIC_NODES];
        assert!(flags.eq(theirs.map(i32::cast_unsigned)));
    }
}
