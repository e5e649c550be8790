//! `/linux`: what has no file of its own.
//!
//! Runs in: any process.

use super::{
    Check, check_count, devices, fail, namespaces, number_list, resources, seccomp, sysctl,
};
use crate::spec::limits::MAX_STEPS;
use crate::spec::{
    Linux, LinuxIntelRdt, LinuxMemoryPolicy, LinuxPersonality, MemoryPolicyFlag, MemoryPolicyMode,
    SpecError,
};

pub(super) fn check(linux: &Linux, warnings: &mut Vec<SpecError>) -> Check {
    namespaces::check(linux)?;
    sysctl::check(linux)?;
    devices::check(linux)?;
    check_cgroups_path(&linux.cgroups_path)?;
    if let Some(resources) = &linux.resources {
        resources::check(resources)?;
    }
    if let Some(filter) = &linux.seccomp {
        seccomp::check(filter, warnings)?;
    }
    if let Some(rdt) = &linux.intel_rdt {
        check_intel_rdt(rdt)?;
    }
    if let Some(policy) = &linux.memory_policy {
        check_memory_policy(policy)?;
    }
    if let Some(personality) = &linux.personality {
        warn_of_flags(personality, warnings);
    }
    Ok(())
}

/// `..` would lead out of the hierarchy (crun and youki made directories on the host with it).
fn check_cgroups_path(path: &str) -> Check {
    const POINTER: &str = "/linux/cgroupsPath";
    if path.contains(char::is_control) {
        return fail(POINTER, "contains a control character");
    }
    if path.split(['/', ':']).any(|component| component == "..") {
        return fail(POINTER, format!("is {path:?}, which has a component .."));
    }
    Ok(())
}

fn check_intel_rdt(rdt: &LinuxIntelRdt) -> Check {
    if let Some(class) = rdt.clos_id.as_deref().filter(|class| *class != "/") {
        let file_name = !matches!(class, "." | "..") && !class.contains('/');
        if !file_name || class.contains(char::is_control) {
            return fail("/linux/intelRdt/closID", format!("invalid intelRdt.ClosID {class:?}"));
        }
    }
    check_count("/linux/intelRdt/schemata", rdt.schemata.len(), MAX_STEPS)?;
    let schemata = rdt.schemata.iter().enumerate();
    let schemata = schemata.map(|(index, line)| (format!("schemata/{index}"), line, ""));
    let single =
        [("l3CacheSchema", &rdt.l3_cache_schema, "L3"), ("memBwSchema", &rdt.mem_bw_schema, "MB:")];
    let single =
        single.into_iter().map(|(property, line, start)| (property.to_owned(), line, start));
    for (property, line, start) in single.chain(schemata) {
        let pointer = format!("/linux/intelRdt/{property}");
        if line.contains('\n') {
            return fail(pointer, "contains a newline");
        }
        if !line.is_empty() && !line.starts_with(start) {
            return fail(pointer, format!("is {line:?}, which does not start with {start}"));
        }
    }
    Ok(())
}

/// set_mempolicy(2), as runc checks it.
fn check_memory_policy(policy: &LinuxMemoryPolicy) -> Check {
    use MemoryPolicyMode::{
        Bind, Default, Interleave, Local, Preferred, PreferredMany, WeightedInterleave,
    };
    const NODES: &str = "/linux/memoryPolicy/nodes";
    number_list::check(&policy.nodes, || NODES.to_owned()).map_err(|error| {
        SpecError::new(NODES, format!("invalid memory policy nodes: {}", error.problem))
    })?;
    match policy.mode {
        Default | Local if !policy.nodes.is_empty() => {
            let count = number_list::count(&policy.nodes);
            return fail(NODES, format!("memory policy mode requires 0 nodes but got {count}"));
        }
        Bind | Interleave | WeightedInterleave | PreferredMany if policy.nodes.is_empty() => {
            return fail(NODES, "memory policy mode requires at least one node but got 0");
        }
        Preferred | Default | Local | Bind | Interleave | WeightedInterleave | PreferredMany => {}
    }
    check_memory_policy_flags(&policy.flags)
}

fn check_memory_policy_flags(flags: &[MemoryPolicyFlag]) -> Check {
    let exclusive = [MemoryPolicyFlag::RelativeNodes, MemoryPolicyFlag::StaticNodes];
    if exclusive.iter().all(|flag| flags.contains(flag)) {
        return fail(
            "/linux/memoryPolicy/flags",
            "has both MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES",
        );
    }
    Ok(())
}

fn warn_of_flags(personality: &LinuxPersonality, warnings: &mut Vec<SpecError>) {
    if !personality.flags.is_empty() {
        let problem = "are ignored: no flag is defined";
        warnings.push(SpecError::new("/linux/personality/flags", problem));
    }
}
