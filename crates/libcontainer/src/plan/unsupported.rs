//! What config.json may ask for and this version cannot give: refused by name, never ignored.
//!
//! Runs in: any process.

use super::Inputs;
use super::annotations::Annotations;
use super::types::Remark;
use crate::host::Modules;
use crate::spec::Process;

/// What a process of exec asks for.
pub(super) fn of_process(process: &Process, modules: Modules) -> Vec<Remark> {
    let mut found = Found(Vec::new());
    found.process(process, modules);
    found.0
}

/// All of it, in the order of config.json.
pub(super) fn find(inputs: &Inputs<'_>) -> Vec<Remark> {
    let mut found = Found(Vec::new());
    let modules = inputs.facts.modules;
    found.process(inputs.process, modules);
    found.label("/linux/mountLabel", &inputs.linux.mount_label, modules);
    found.0.extend(Annotations(&inputs.spec.annotations).unsupported());
    found.0
}

struct Found(Vec<Remark>);

impl Found {
    fn add(&mut self, pointer: &str, text: &str) {
        self.0.push(Remark::new(pointer, text));
    }

    /// What is asked for and not there is never left out.
    fn process(&mut self, process: &Process, modules: Modules) {
        if !process.apparmor_profile.is_empty() && !modules.apparmor {
            let text = "apparmor profile is specified, but apparmor is disabled or not supported";
            self.add("/process/apparmorProfile", text);
        }
        self.label("/process/selinuxLabel", &process.selinux_label, modules);
    }

    fn label(&mut self, pointer: &str, label: &str, modules: Modules) {
        if !label.is_empty() && !modules.selinux {
            let text = "selinux label is specified, but selinux is disabled or not supported";
            self.add(pointer, text);
        }
    }
}
