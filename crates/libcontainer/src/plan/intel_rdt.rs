//! `linux.intelRdt`: which class of service, and what is written of it.
//!
//! Runs in: any process.

use super::types::RdtPlan;
use crate::spec::Linux;

/// For the container of this id; nothing where config.json does not ask for it.
pub(super) fn plan(linux: &Linux, id: &str) -> Option<RdtPlan> {
    let rdt = linux.intel_rdt.as_ref()?;
    let named = rdt.clos_id.as_deref().filter(|class| !class.is_empty());
    let single = [("l3CacheSchema", &rdt.l3_cache_schema), ("memBwSchema", &rdt.mem_bw_schema)];
    let single = single.into_iter().map(|(property, line)| (property.to_owned(), line));
    let all = rdt.schemata.iter().enumerate();
    let all = all.map(|(index, line)| (format!("schemata/{index}"), line));
    let lines = single.chain(all).filter(|(_, line)| !line.is_empty());
    Some(RdtPlan {
        group: match named {
            Some("/") => String::new(),
            Some(class) => class.to_owned(),
            None => id.to_owned(),
        },
        is_named: named.is_some(),
        lines: lines.map(|(property, line)| (property, line.clone())).collect(),
        monitor: rdt.enable_monitoring.then(|| id.to_owned()),
    })
}
