//! Labels of Linux security modules: of the process, of its keys, of mounts.
//!
//! That the module is there is looked at before (`unsupported`).
//!
//! Runs in: any process.

use std::ffi::{CStr, CString};

use corten_plan::Op;

use super::steps::{Steps, c_string};
use crate::spec::{Linux, Process, SpecError};

const APPARMOR: &str = "/process/apparmorProfile";
const SELINUX: &str = "/process/selinuxLabel";
const MOUNT: &str = "/linux/mountLabel";

/// What execve changes to.
pub(super) fn of_process(steps: &mut Steps, process: &Process) -> Result<(), SpecError> {
    label(steps, APPARMOR, &process.apparmor_profile, |profile| Op::AppArmor { profile })?;
    label(steps, SELINUX, &process.selinux_label, |label| Op::SelinuxExec { label })
}

/// Of the session keyring, which is about to be made: as runc, for the container's processes to be allowed to use it.
pub(super) fn of_keys(steps: &mut Steps, process: &Process) -> Result<(), SpecError> {
    label(steps, SELINUX, &process.selinux_label, |label| Op::SelinuxKeys { label })
}

/// Of the tmpfs on masked directories.
pub(super) fn of_masks(steps: &mut Steps, linux: &Linux) -> Result<(), SpecError> {
    label(steps, MOUNT, &linux.mount_label, |label| Op::MaskLabel { label })
}

/// Of a new mount, by type: what runc gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OfMount<'a> {
    /// None: none is asked for, or the kernel labels it.
    None,
    /// The option `context=`, or what the annotation of crun has in its place; and the label.
    Option(&'a str, &'a str),
    /// It does not know the option: its root is labelled after.
    Root(&'a str),
}

impl<'a> OfMount<'a> {
    /// That of `linux`, for this type.
    pub fn new(linux: &'a Linux, fstype: &str, option: &'a str) -> Self {
        match (linux.mount_label.as_str(), fstype) {
            ("", _) | (_, "proc" | "sysfs" | "cgroup" | "cgroup2") => Self::None,
            (label, "mqueue") => Self::Root(label),
            (label, _) => Self::Option(option, label),
        }
    }

    /// As an option of fsconfig(2), which takes it as it is.
    pub fn option(self) -> Option<String> {
        match self {
            Self::Option(option, label) => Some(format!("{option}={label}")),
            _ => None,
        }
    }

    /// As an option of mount(2), which splits at commas that are not quoted.
    pub fn quoted(self) -> Option<String> {
        match self {
            Self::Option(option, label) => Some(format!("{option}=\"{label}\"")),
            _ => None,
        }
    }

    /// Labels the root of the mount on `target`.
    pub fn of_root(self, steps: &mut Steps, target: &CStr) -> Result<(), SpecError> {
        match self {
            Self::Root(label) => {
                let label = c_string(&MOUNT.into(), label)?;
                steps.push(MOUNT, &Op::SelinuxFile { path: target, label: &label });
            }
            Self::None | Self::Option(..) => {}
        }
        Ok(())
    }
}

fn label(
    steps: &mut Steps,
    pointer: &'static str,
    text: &str,
    op: impl for<'b> Fn(&'b CStr) -> Op<'b>,
) -> Result<(), SpecError> {
    if !text.is_empty() {
        let text: CString = c_string(&pointer.into(), text)?;
        steps.push(pointer, &op(&text));
    }
    Ok(())
}
