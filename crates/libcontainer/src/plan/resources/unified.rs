//! `/linux/resources/unified`: any file of the cgroup, by its name.
//!
//! Runs in: any process.

use std::collections::BTreeMap;

use super::Setting;
use crate::plan::types::{Origin, Remark};
use crate::spec::SpecError;

const POINTER: &str = "/linux/resources/unified";

/// Through these the runtime itself places, freezes and ends processes: init would be born frozen, or could not be born.
const OWN_FILES: [&str; 6] = [
    "cgroup.freeze",
    "cgroup.kill",
    "cgroup.procs",
    "cgroup.subtree_control",
    "cgroup.threads",
    "cgroup.type",
];

/// Each line is one write: `io.max` and its kin take one device at a time.
pub(super) fn set(
    unified: &BTreeMap<String, String>,
    settings: &mut Vec<Setting>,
    warnings: &mut Vec<Remark>,
) -> Result<(), SpecError> {
    let before = settings.len();
    for (file, value) in unified {
        let origin = Origin::member(POINTER, file);
        refuse(file, &origin)?;
        let is_idle = |it: &&Setting| it.file == "cpu.idle" && it.text.trim() == "1";
        if file == "cpu.weight"
            && settings.iter().rfind(|it| it.file == "cpu.idle").filter(is_idle).is_some()
        {
            warnings.push(Remark::new(&origin, super::cpu::IDLE));
            continue;
        }
        let also = settings.iter().take(before).find(|setting| setting.file == *file);
        if let Some(also) = also.filter(|also| also.text != value.trim_end()) {
            let text = format!("is written after {} and overrides it", also.origin);
            warnings.push(Remark::new(&origin, text));
        }
        let mut lines = value.lines().filter(|line| !line.trim().is_empty()).peekable();
        if lines.peek().is_none() {
            // An empty value resets some files, as cpuset.cpus; a write of nothing would not reach the kernel.
            settings.push(Setting::new(origin.clone(), file.clone(), "\n".to_owned()));
        }
        settings
            .extend(lines.map(|line| Setting::new(origin.clone(), file.clone(), line.to_owned())));
    }
    Ok(())
}

fn refuse(file: &str, origin: &Origin) -> Result<(), SpecError> {
    if file.contains('/') {
        let problem = format!("unified resource {file:?} must be a file name (no slashes)");
        return Err(SpecError::new(origin.to_string(), problem));
    }
    if OWN_FILES.contains(&file) {
        let problem = "is not for config.json: the runtime itself writes it";
        return Err(SpecError::new(origin.to_string(), problem));
    }
    Ok(())
}
