//! The scope that systemd is asked for: its name and slice (runc's rules for `cgroupsPath`), and its properties.
//!
//! Runs in: any process.

use std::borrow::Cow;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::gvariant::{self, Type, Value};
use super::resources::Setting;
use super::{Inputs, Origin, properties};
use crate::spec::SpecError;

const POINTER: &str = "/linux/cgroupsPath";
/// Annotations that are properties of the unit, as runc and crun have it.
const ANNOTATION: &str = "org.systemd.property.";
/// `UNIT_NAME_MAX` of systemd.
const NAME_LENGTH: usize = 255;
/// What an annotation may not set: it would take the container out of our hands (which processes are killed with it, where it
/// is), or have systemd act on the whole machine when it ends.
const REFUSED: &[&str] = &[
    "PIDs",
    "PIDFDs",
    "Slice",
    "Controller",
    "SuccessAction",
    "FailureAction",
    "JobTimeoutAction",
    "StartLimitAction",
    "RebootArgument",
    "JobTimeoutRebootArgument",
];

/// The systemd that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// Process 1.
    System,
    /// The caller's user manager (`user@UID.service`).
    User,
}

/// A transient scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitPlan {
    /// Who makes it.
    pub manager: Manager,
    /// `PREFIX-NAME.scope`.
    pub name: String,
    /// What it is told, the processes apart.
    pub properties: Vec<Property>,
}

/// A property of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// As systemd's D-Bus interface spells it.
    pub name: Cow<'static, str>,
    /// Its value.
    pub value: Value,
    /// A systemd that does not know it is asked again without: the limit itself is also written to the cgroup.
    pub optional: bool,
}

impl Property {
    fn new(name: &'static str, value: Value) -> Self {
        Self { name: name.into(), value, optional: false }
    }
}

/// The unit, and its cgroup below that of the manager, without a leading slash.
pub(super) fn plan(
    inputs: &Inputs<'_>,
    manager: Manager,
    settings: &[Setting],
) -> Result<(UnitPlan, PathBuf), SpecError> {
    let (slice, name) = names(inputs, manager)?;
    let mut path = expand_slice(&slice)?;
    path.push(&name);
    let mut properties = vec![
        Property::new("Description", format!("corten container {}", inputs.request.id).into()),
        Property::new("Slice", slice.into()),
        // The controllers are ours below the scope: systemd leaves alone what is there.
        Property::new("Delegate", true.into()),
        // As with runc: each controller is on from the start, or what was used before would not be counted.
        Property::new("MemoryAccounting", true.into()),
        Property::new("CPUAccounting", true.into()),
        Property::new("IOAccounting", true.into()),
        Property::new("TasksAccounting", true.into()),
        // Ended by whoever made it, not by a shutdown's order of units.
        Property::new("DefaultDependencies", false.into()),
    ];
    properties.extend(annotations(inputs)?);
    properties.extend(limits(settings));
    Ok((UnitPlan { manager, name, properties }, path))
}

/// What systemd knows of the limits that are written to the cgroup.
pub(crate) fn limits(settings: &[Setting]) -> Vec<Property> {
    properties::of_writes(settings.iter().map(|setting| (&*setting.file, &*setting.text)))
}

/// What systemd would write in place of the asked: the files are to say what the unit's properties say.
pub(crate) fn round_quotas(settings: &mut [Setting]) {
    for setting in settings.iter_mut().filter(|setting| setting.file == "cpu.max") {
        if let Some(text) = properties::round_quota(&setting.text) {
            setting.text = text;
        }
    }
}

/// Slice and name of `slice:prefix:name`; without any, what runc takes, with our name for its own.
fn names(inputs: &Inputs<'_>, manager: Manager) -> Result<(String, String), SpecError> {
    let refuse = |problem: String| SpecError::new(POINTER, problem);
    let wanted = inputs.linux.cgroups_path.as_str();
    let default = format!(":corten:{}", inputs.request.id);
    let parts = if wanted.is_empty() { default.as_str() } else { wanted };
    let mut parts = parts.split(':');
    let (Some(slice), Some(prefix), Some(name), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(refuse(format!(
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {wanted:?} instead"
        )));
    };
    if name.ends_with(".slice") {
        return Err(refuse(format!("{name:?} is a slice, in which no container can be")));
    }
    let slice = match (slice, manager) {
        ("", Manager::System) => "system.slice",
        ("", Manager::User) => "user.slice",
        (slice, _) => slice,
    };
    let unit = format!("{prefix}-{name}.scope");
    // `unit_name_is_valid` of systemd.
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":_.\\-@".contains(&byte);
    if name.is_empty() || unit.len() > NAME_LENGTH || !unit.bytes().all(allowed) {
        return Err(refuse(format!("{unit:?} cannot be the name of a systemd unit")));
    }
    Ok((slice.to_owned(), unit))
}

/// The cgroup of a slice: `a-b.slice` is in `a.slice`, and `-.slice` is the root.
fn expand_slice(slice: &str) -> Result<PathBuf, SpecError> {
    let refuse = || SpecError::new(POINTER, format!("invalid slice name: {slice}"));
    let name = slice.strip_suffix(".slice").ok_or_else(refuse)?;
    let mut path = PathBuf::new();
    if name == "-" {
        return Ok(path);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":_.\\-@".contains(&byte);
    if slice.len() > NAME_LENGTH || !name.bytes().all(allowed) {
        return Err(refuse());
    }
    for (at, _) in name.match_indices('-').chain([(name.len(), "")]) {
        let component = name.get(..at).unwrap_or_default();
        if component.is_empty() || component.ends_with('-') {
            return Err(refuse());
        }
        path.push(format!("{component}.slice"));
    }
    Ok(path)
}

fn annotations(inputs: &Inputs<'_>) -> Result<Vec<Property>, SpecError> {
    let all = inputs.spec.annotations.iter();
    let ours = all.filter_map(|(key, text)| Some((key, key.strip_prefix(ANNOTATION)?, text)));
    ours.map(|(key, name, text)| {
        annotation(name, text).map_err(|problem| {
            let origin = Origin::member("/annotations", key);
            SpecError::new(origin.to_string(), problem)
        })
    })
    .collect()
}

/// runc's rules: letters only, at least three; a value as `gvariant_parse` reads it; `XSec` is `XUSec` in microseconds, and
/// what ends with `USec` or `NSec` is left alone.
fn annotation(name: &str, text: &str) -> Result<Property, String> {
    if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err("names no property of a systemd unit".into());
    }
    if REFUSED.contains(&name) {
        return Err("a container cannot set this property of its unit".into());
    }
    let stem = name
        .strip_suffix("Sec")
        .filter(|stem| stem.bytes().next_back().is_some_and(|byte| byte.is_ascii_lowercase()));
    let (name, value) = match stem {
        Some(stem) => (format!("{stem}USec"), microseconds(text)?),
        None => (name.to_owned(), gvariant::parse(text)?),
    };
    Ok(Property { name: name.into(), value, optional: false })
}

/// Of whole seconds of any type, or of a decimal number of them.
fn microseconds(text: &str) -> Result<Value, String> {
    const MILLION: u64 = 1_000_000;
    const DIGITS: usize = 6;
    let (text, fraction) = match text.split_once('.') {
        Some((whole, digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            (whole, format!("{digits:0<DIGITS$.DIGITS$}"))
        }
        _ => (text, String::new()),
    };
    let whole = match gvariant::parse(text)? {
        Value::Byte(n) => Some(u64::from(n)),
        Value::Int16(n) => u64::try_from(n).ok(),
        Value::Uint16(n) => Some(u64::from(n)),
        Value::Int32(n) => u64::try_from(n).ok(),
        Value::Uint32(n) => Some(u64::from(n)),
        Value::Int64(n) => u64::try_from(n).ok(),
        Value::Uint64(n) => Some(n),
        _ => None,
    };
    let fraction = if fraction.is_empty() { Some(0) } else { fraction.parse::<u64>().ok() };
    let sum = whole.and_then(|seconds| seconds.checked_mul(MILLION)?.checked_add(fraction?));
    sum.map(Value::Uint64).ok_or_else(|| "is not a number of seconds".into())
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

/// `PIDs`, the one property that is known only after clone.
pub fn pids(pid: u32) -> Property {
    Property::new("PIDs", Value::Array(Type::Basic(b'u'), vec![Value::Uint32(pid)]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{bundle, facts, request};
    use super::super::{Request, plan as whole_plan};
    use super::*;
    use crate::error::Error;

    fn planned(
        manager: Manager,
        cgroups_path: &str,
        annotations: serde_json::Value,
    ) -> Result<(UnitPlan, PathBuf), String> {
        let changes =
            json!({ "linux": { "cgroupsPath": cgroups_path }, "annotations": annotations });
        let request = Request { systemd: Some(manager), ..request() };
        match whole_plan(&bundle(changes), &facts(), &request) {
            Ok(plan) => {
                let cgroup = plan.cgroup.unwrap();
                Ok((cgroup.unit.unwrap(), cgroup.path))
            }
            Err(Error::Property { pointer, problem }) => Err(format!("{pointer}: {problem}")),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn plan_of_each_cgroups_path_is_a_scope_in_its_slice() {
        let system = |path: &str| planned(Manager::System, path, json!({}));
        let table = [
            ("", "corten-c1.scope", "system.slice/corten-c1.scope"),
            ("machine.slice:libpod:abc", "libpod-abc.scope", "machine.slice/libpod-abc.scope"),
            (":docker:abc", "docker-abc.scope", "system.slice/docker-abc.scope"),
            ("a-b-c.slice:p:n", "p-n.scope", "a.slice/a-b.slice/a-b-c.slice/p-n.scope"),
            ("-.slice:p:n", "p-n.scope", "p-n.scope"),
            ("a.slice::n", "-n.scope", "a.slice/-n.scope"),
        ];
        for (cgroups_path, name, path) in table {
            let (unit, found) = system(cgroups_path).unwrap();
            assert_eq!((unit.name.as_str(), found), (name, path.into()), "{cgroups_path}");
        }
        let (unit, path) = planned(Manager::User, "", json!({})).unwrap();
        assert_eq!(path, PathBuf::from("user.slice/corten-c1.scope"));
        assert_eq!(unit.manager, Manager::User);
    }

    #[test]
    fn plan_of_a_cgroups_path_that_names_no_scope_is_refused() {
        let long = format!("a.slice:p:{}", "x".repeat(250));
        for path in [
            "/a/b",
            "a.slice",
            "a.slice:p",
            "a:b:c:d",
            "a:p:n",
            ".slice:p:n",
            "-a.slice:p:n",
            "a-.slice:p:n",
            "a--b.slice:p:n",
            "a/b.slice:p:n",
            "../x.slice:p:n",
            "a.slice:p:",
            "a.slice:p:n/m",
            "a.slice:p:n'",
            "a.slice:p:b.slice",
            &long,
        ] {
            let error = planned(Manager::System, path, json!({})).unwrap_err();
            assert!(error.starts_with("/linux/cgroupsPath: "), "{path}: {error}");
        }
    }

    #[test]
    fn annotation_of_each_form_is_a_property() {
        let table = [
            ("TimeoutStopUSec", "uint64 10000000", "TimeoutStopUSec", Value::Uint64(10_000_000)),
            ("TimeoutStopSec", "10", "TimeoutStopUSec", Value::Uint64(10_000_000)),
            ("TimeoutStopSec", "uint32 1", "TimeoutStopUSec", Value::Uint64(1_000_000)),
            ("RuntimeMaxSec", "1.5", "RuntimeMaxUSec", Value::Uint64(1_500_000)),
            ("RuntimeMaxSec", "0.0000019", "RuntimeMaxUSec", Value::Uint64(1)),
            ("KillSignal", "15", "KillSignal", Value::Int32(15)),
            ("CollectMode", "'inactive'", "CollectMode", Value::String("inactive".into())),
            ("SomeUSec", "1", "SomeUSec", Value::Int32(1)),
        ];
        for (name, text, property, value) in table {
            let found = annotation(name, text).unwrap();
            assert_eq!((&*found.name, found.value), (property, value), "{name}={text}");
        }
    }

    #[test]
    fn annotation_that_is_no_property_is_refused_by_its_pointer() {
        for (name, text) in [
            ("Ab", "1"),
            ("Abc1", "1"),
            ("After", "nothing"),
            ("TimeoutStopSec", "'x'"),
            ("TimeoutStopSec", "-1"),
            ("TimeoutStopSec", "uint64 18446744073709551615"),
            ("PIDs", "@au [1]"),
            ("FailureAction", "'reboot'"),
        ] {
            let key = format!("org.systemd.property.{name}");
            let error = planned(Manager::System, "", json!({ &key: text })).unwrap_err();
            assert!(error.starts_with(&format!("/annotations/{key}: ")), "{error}");
        }
    }

    #[test]
    fn plan_without_systemd_does_not_read_the_annotations() {
        let changes = json!({ "annotations": { "org.systemd.property.Ab": "?" } });
        let plan = whole_plan(&bundle(changes), &facts(), &request()).unwrap();
        assert_eq!(plan.cgroup.unwrap().unit, None);
    }

    #[test]
    fn plan_with_systemd_waits_for_the_cgroup_before_any_cgroup_namespace() {
        let changes =
            json!({ "linux": { "namespaces": [{ "type": "cgroup" }, { "type": "mount" }] } });
        let request = Request { systemd: Some(Manager::System), ..request() };
        let plan = whole_plan(&bundle(changes), &facts(), &request).unwrap();
        let ops: Vec<String> = plan.init.ops().map(|(_, op)| format!("{op:?}")).collect();
        let at = |text: &str| ops.iter().position(|op| op.contains(text)).unwrap();
        assert_eq!(at("Sync { point: 3 }") + 1, at("Unshare"), "{ops:?}");
    }
}
