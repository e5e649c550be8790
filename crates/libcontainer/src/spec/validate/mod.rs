//! The rules between the properties: the MUSTs of config.md and config-linux.md, what the kernel is certain to refuse,
//! and what runc refuses. Nothing here looks at the host.
//!
//! One file for each part of config.json. Every check names its pointer; the first that fails is the error.
//!
//! Runs in: any process.

mod capabilities;
mod devices;
mod id_mappings;
mod linux;
mod mounts;
mod namespaces;
mod number_list;
mod process;
mod resources;
mod scheduling;
mod seccomp;
mod sysctl;
mod version;

pub use self::sysctl::{sysctl_owner, sysctl_path};
use super::limits::{MAX_HOST_NAME, MAX_STEPS};
use super::{Hook, Hooks, LinuxResources, NamespaceType, Process, Spec, SpecError};

/// What a check gives.
type Check = Result<(), SpecError>;

/// Checks a whole configuration for `create`; returns what is odd and no error.
///
/// # Errors
/// The first rule that is broken.
pub fn validate(spec: &Spec) -> Result<Vec<SpecError>, SpecError> {
    let mut warnings = Vec::new();
    version::check(&spec.oci_version, &mut warnings)?;
    let Some(process) = &spec.process else {
        return fail("/process", "process property must not be empty");
    };
    process::check(process, &mut warnings)?;
    check_root(spec)?;
    check_names(spec)?;
    mounts::check(&spec.mounts, &mut warnings)?;
    if let Some(hooks) = &spec.hooks {
        check_hooks(hooks)?;
    }
    if spec.annotations.contains_key("") {
        return fail("/annotations/", "is an empty key");
    }
    if let Some(linux) = &spec.linux {
        linux::check(linux, &mut warnings)?;
    }
    Ok(warnings)
}

/// Checks resources by themselves, as `update` has them; pointers are those into a config.json.
///
/// # Errors
/// The first rule that is broken.
pub fn validate_resources(resources: &LinuxResources) -> Result<(), SpecError> {
    resources::check(resources)
}

/// Checks a process for `exec`; returns what is odd and no error. Its pointers begin with `/process`.
///
/// # Errors
/// The first rule that is broken.
pub fn validate_process(process: &Process) -> Result<Vec<SpecError>, SpecError> {
    let mut warnings = Vec::new();
    process::check(process, &mut warnings)?;
    Ok(warnings)
}

fn check_root(spec: &Spec) -> Check {
    match &spec.root {
        None => fail("/root", "root must be specified"),
        Some(root) if root.path.is_empty() => fail("/root/path", "is empty"),
        Some(_) => Ok(()),
    }
}

/// Host name and domain name change the uts namespace, which must not be the host's.
fn check_names(spec: &Spec) -> Check {
    for (pointer, word, name) in
        [("/hostname", "hostname", &spec.hostname), ("/domainname", "domainname", &spec.domainname)]
    {
        if name.is_empty() {
            continue;
        }
        if !spec.has_namespace(NamespaceType::Uts) {
            return fail(pointer, format!("unable to set {word} without a private UTS namespace"));
        }
        if name.len() > MAX_HOST_NAME {
            return fail(pointer, format!("is longer than {MAX_HOST_NAME} bytes"));
        }
        if name.contains(char::is_control) {
            return fail(pointer, "contains a control character");
        }
    }
    Ok(())
}

fn check_hooks(hooks: &Hooks) -> Check {
    for (kind, hooks) in [
        ("prestart", &hooks.prestart),
        ("createRuntime", &hooks.create_runtime),
        ("createContainer", &hooks.create_container),
        ("startContainer", &hooks.start_container),
        ("poststart", &hooks.poststart),
        ("poststop", &hooks.poststop),
    ] {
        let pointer = format!("/hooks/{kind}");
        check_count(&pointer, hooks.len(), MAX_STEPS)?;
        for (index, hook) in hooks.iter().enumerate() {
            check_hook(&format!("{pointer}/{index}"), hook)?;
        }
    }
    Ok(())
}

fn check_hook(pointer: &str, hook: &Hook) -> Check {
    check_absolute(&hook.path, || format!("{pointer}/path"))?;
    match hook.timeout {
        Some(seconds) if seconds <= 0 => {
            fail(format!("{pointer}/timeout"), format!("is {seconds}, not greater than zero"))
        }
        // More does not fit into milliseconds of 64 bits with room to spare, and is no deadline anyway.
        Some(seconds) if seconds > i64::from(u32::MAX) => {
            fail(format!("{pointer}/timeout"), format!("is {seconds}, more than {}", u32::MAX))
        }
        _ => Ok(()),
    }
}

impl Spec {
    /// Whether the container has a namespace of this kind that is not the runtime's: a new one or a joined one.
    pub fn has_namespace(&self, kind: NamespaceType) -> bool {
        self.linux.as_ref().is_some_and(|linux| linux.has_namespace(kind))
    }
}

fn fail<T>(pointer: impl Into<String>, problem: impl Into<String>) -> Result<T, SpecError> {
    Err(SpecError::new(pointer, problem))
}

fn check_absolute(path: &str, pointer: impl FnOnce() -> String) -> Check {
    if path.is_empty() {
        return fail(pointer(), "is empty");
    }
    if !path.starts_with('/') {
        return fail(pointer(), format!("is {path:?}, not an absolute path"));
    }
    Ok(())
}

fn check_count(pointer: &str, count: usize, limit: usize) -> Check {
    if count > limit {
        return fail(pointer, format!("has {count} entries, more than {limit}"));
    }
    Ok(())
}

/// 4294967295 is (uid_t) -1: for setresuid(2), chown(2) and their kind it means "unchanged", and would leave root.
fn check_id(id: u32, pointer: impl FnOnce() -> String) -> Check {
    if id == u32::MAX {
        return fail(pointer(), "is 4294967295, which is not an id");
    }
    Ok(())
}

/// Within `low..=high`.
fn check_range<N: PartialOrd + std::fmt::Display>(
    value: N,
    low: N,
    high: N,
    pointer: impl FnOnce() -> String,
) -> Check {
    if value < low || value > high {
        return fail(pointer(), format!("is {value}, not from {low} to {high}"));
    }
    Ok(())
}

/// The pointer of a member, with the key escaped.
fn member(object: &str, key: &str) -> String {
    let mut pointer = object.to_owned();
    super::scan::push_token(&mut pointer, key);
    pointer
}
