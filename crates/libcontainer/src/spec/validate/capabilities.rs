//! `/process/capabilities`.
//!
//! Runs in: any process.

use std::str::FromStr;

use super::{Check, fail};
use crate::spec::{LinuxCapabilities, SpecError};

/// Unknown names warn, as the specification demands ("SHOULD NOT fail"); so do ambient ones that the kernel will not
/// raise. An effective one that is not permitted is EPERM of capset(2) for certain.
pub(super) fn check(sets: &LinuxCapabilities, warnings: &mut Vec<SpecError>) -> Check {
    let mut bits = |set: &str, names: &[String]| bits(set, names, warnings);
    bits("bounding", &sets.bounding);
    let effective = bits("effective", &sets.effective);
    let inheritable = bits("inheritable", &sets.inheritable);
    let permitted = bits("permitted", &sets.permitted);
    let ambient = bits("ambient", &sets.ambient);
    if let Some((index, name)) = first_outside(&sets.effective, effective & !permitted) {
        return fail(
            format!("/process/capabilities/effective/{index}"),
            format!("{name} is not permitted"),
        );
    }
    if let Some((index, name)) = first_outside(&sets.ambient, ambient & !(permitted & inheritable))
    {
        warnings.push(SpecError::new(
            format!("/process/capabilities/ambient/{index}"),
            // runc's first words.
            format!(
                "can't raise ambient capability {name}: it is not both permitted and inheritable"
            ),
        ));
    }
    Ok(())
}

/// The known capabilities of a set, as bits.
fn bits(set: &str, names: &[String], warnings: &mut Vec<SpecError>) -> u64 {
    let mut bits = 0;
    for (index, name) in names.iter().enumerate() {
        match bit(name) {
            Some(bit) => bits |= bit,
            None => warnings.push(SpecError::new(
                format!("/process/capabilities/{set}/{index}"),
                format!("unknown capability {name:?} is ignored"),
            )),
        }
    }
    bits
}

fn bit(name: &str) -> Option<u64> {
    caps::Capability::from_str(name).ok().map(|capability| capability.bitmask())
}

fn first_outside(names: &[String], outside: u64) -> Option<(usize, &String)> {
    if outside == 0 {
        return None;
    }
    names.iter().enumerate().find(|(_, name)| bit(name).is_some_and(|bit| bit & outside != 0))
}
