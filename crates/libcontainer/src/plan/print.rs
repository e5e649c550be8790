//! A plan in words, for `corten plan`: every step in order, who does it, and which property asked for it.
//!
//! Runs in: any process.

use std::ffi::CStr;
use std::fmt::Write as _;

use corten_plan::op::Value;
use corten_plan::{Op, Point};
use serde_json::{Map, Value as Json, json};

use super::credentials::names;
use super::describe::{clone_flags, fields, step};
use super::types::{CgroupPlan, IdMapPlan, NetDevice, Plan, RdtPlan, Remark};
use super::unit::Manager;
use super::user_namespace::IdMaps;
use super::words::{CLONE, MOUNT_ATTR, MOUNT_OP, MS, SECCOMP, join};
use crate::spec::Hook;

/// One step of somebody.
struct Line {
    /// `runtime`, `stage` or `init`.
    by: &'static str,
    step: String,
    pointer: String,
    /// For steps of init: index, name of the op, and what the words do not say.
    op: Option<(usize, &'static str, Map<String, Json>)>,
}

/// As text: a line for each step, and below it what the words do not say.
pub fn text(plan: &Plan) -> String {
    let mut out = String::new();
    for remark in &plan.unsupported {
        put(&mut out, format_args!("unsupported  {}\n", remark_text(remark)));
    }
    for remark in &plan.warnings {
        put(&mut out, format_args!("warning      {}\n", remark_text(remark)));
    }
    for line in lines(plan) {
        let number = line.op.as_ref().map_or_else(|| "  -".into(), |(at, ..)| format!("{at:>3}"));
        put(&mut out, format_args!("{:<7} {number}  {}", line.by, line.step));
        if !line.pointer.is_empty() {
            put(&mut out, format_args!("  [{}]", line.pointer));
        }
        out.push('\n');
        if let Some((_, _, details)) = line.op {
            put_details(&mut out, details);
        }
    }
    out
}

/// Short values share a line, lists and sets have one each.
fn put_details(out: &mut String, details: Map<String, Json>) {
    let is_long =
        |value: &Json| value.is_array() || value.as_str().is_some_and(|text| text.contains(' '));
    let (long, short): (Vec<_>, Vec<_>) =
        details.into_iter().partition(|(_, value)| is_long(value));
    let show = |(name, value): (String, Json)| format!("{name}={}", plain(&value));
    let short = short.into_iter().map(show).collect::<Vec<_>>().join(" ");
    let long = long.into_iter().map(show);
    for detail in [short].into_iter().chain(long).filter(|detail| !detail.is_empty()) {
        put(out, format_args!("               {detail}\n"));
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    out.write_fmt(text).unwrap_or_default();
}

/// As JSON: an object with `steps`, `unsupported` and `warnings`.
pub fn json(plan: &Plan) -> String {
    let remark = |remark: &Remark| json!({ "pointer": remark.pointer, "text": remark.text });
    let step = |line: Line| {
        let mut step = json!({ "by": line.by, "step": line.step, "pointer": line.pointer });
        if let (Some((index, name, fields)), Some(step)) = (line.op, step.as_object_mut()) {
            step.insert("index".into(), index.into());
            step.insert("op".into(), name.into());
            step.insert("fields".into(), fields.into());
        }
        step
    };
    let all = json!({
        "steps": lines(plan).into_iter().map(step).collect::<Vec<_>>(),
        "unsupported": plan.unsupported.iter().map(remark).collect::<Vec<_>>(),
        "warnings": plan.warnings.iter().map(remark).collect::<Vec<_>>(),
    });
    format!("{all:#}\n")
}

fn remark_text(remark: &Remark) -> String {
    if remark.pointer.is_empty() {
        remark.text.clone()
    } else {
        format!("{}: {}", remark.pointer, remark.text)
    }
}

/// Strings bare where they are one line, all else as JSON.
fn plain(value: &Json) -> String {
    let bare = value.as_str().filter(|text| !text.contains(char::is_control));
    bare.map_or_else(|| value.to_string(), str::to_owned)
}

fn lines(plan: &Plan) -> Vec<Line> {
    let mut lines = Vec::new();
    before_init(plan, &mut lines);
    let mut by = if plan.spawn.two_stages { "stage" } else { "init" };
    for (index, (origin, op)) in plan.init.ops().enumerate() {
        let details = (index, op.name(), details(&op));
        lines.push(Line { by, step: step(&op), pointer: origin.to_string(), op: Some(details) });
        let of_op = |map: &&IdMapPlan| usize::from(map.op) == index;
        if let Some(map) = plan.init.id_maps.iter().find(of_op) {
            let below = if map.recursive { " and all below it" } else { "" };
            let what = format!("give that mount{below} its id mapping: {}", map.source);
            runtime(&mut lines, &map.pointer, what);
        }
        match op {
            Op::Fork { .. } => by = "init",
            Op::NetworkSocket => net_device_lines(plan, &mut lines),
            Op::Sync { point } => after_sync(plan, point, &mut lines),
            _ => {}
        }
    }
    hook_lines("poststart", &plan.hooks.poststart, &mut lines);
    hook_lines("poststop", &plan.hooks.poststop, &mut lines);
    lines
}

fn runtime(lines: &mut Vec<Line>, pointer: &str, step: impl Into<String>) {
    lines.push(Line { by: "runtime", step: step.into(), pointer: pointer.into(), op: None });
}

fn before_init(plan: &Plan, lines: &mut Vec<Line>) {
    for join in &plan.spawn.joins {
        let path = join.path.display();
        runtime(lines, &join.pointer, format!("open the namespace {path}"));
    }
    if plan.spawn.network_ahead {
        let what = "have a network namespace made meanwhile, and its loopback device set up";
        runtime(lines, "/linux/namespaces", what);
    }
    runtime(lines, "", "make the state directory and write down what is about to be made");
    let own = plan.cgroup.as_ref().filter(|cgroup| cgroup.unit.is_none());
    if let Some(cgroup) = own {
        let path = cgroup.path.display();
        runtime(lines, "/linux/cgroupsPath", format!("make the cgroup {path}"));
        furnish(cgroup, lines);
    }
    if let Some(rdt) = &plan.intel_rdt {
        rdt_lines(rdt, lines);
    }
    let flags = match plan.spawn.clone_flags {
        0 => String::new(),
        flags => format!("{}|", clone_flags(flags)),
    };
    let what = if plan.spawn.two_stages { "init's first stage" } else { "init" };
    let into = if own.is_some() { "CLONE_INTO_CGROUP|" } else { "" };
    let call = format!("start {what}: clone3({flags}{into}CLONE_PIDFD)");
    runtime(lines, "/linux/namespaces", call);
    if let Some(cgroup) = own {
        restrict_devices(cgroup, lines);
    }
}

fn restrict_devices(cgroup: &CgroupPlan, lines: &mut Vec<Line>) {
    let devices = match &cgroup.devices {
        Some(program) => format!("attach a device program of {} instructions", program.len()),
        None => "attach no device program: every device is allowed".into(),
    };
    runtime(lines, "/linux/resources/devices", devices);
}

fn furnish(cgroup: &CgroupPlan, lines: &mut Vec<Line>) {
    for setting in &cgroup.settings {
        let step = format!("write {:?} to {}", setting.text, setting.file);
        runtime(lines, &setting.origin.to_string(), step);
    }
    if let Some(uid) = cgroup.owner {
        runtime(lines, "/mounts", format!("delegate the cgroup to the user {uid}"));
    }
}

fn scope(plan: &Plan, lines: &mut Vec<Line>) {
    let Some(cgroup) = &plan.cgroup else { return };
    let Some(unit) = &cgroup.unit else { return };
    let whose = match unit.manager {
        Manager::System => "systemd",
        Manager::User => "the user's systemd",
    };
    let names: Vec<&str> = unit.properties.iter().map(|property| &*property.name).collect();
    let (unit, path, names) = (&unit.name, cgroup.path.display(), names.join(", "));
    let what = format!("have {whose} move init into unit {unit}, cgroup {path}, with {names}");
    runtime(lines, "/linux/cgroupsPath", what);
    restrict_devices(cgroup, lines);
    furnish(cgroup, lines);
}

fn after_sync(plan: &Plan, point: u8, lines: &mut Vec<Line>) {
    if point == Point::Unmapped as u8 {
        id_maps(plan, lines);
    } else if point == Point::Placed as u8 {
        scope(plan, lines);
    } else if point == Point::Mounted as u8 {
        hook_lines("prestart", &plan.hooks.prestart, lines);
        hook_lines("createRuntime", &plan.hooks.create_runtime, lines);
    } else {
        runtime(lines, "", "save the state");
    }
}

fn rdt_lines(rdt: &RdtPlan, lines: &mut Vec<Line>) {
    const POINTER: &str = "/linux/intelRdt";
    let group = if rdt.group.is_empty() { "/" } else { &rdt.group };
    runtime(lines, POINTER, format!("have the class of service {group} in resctrl, for init"));
    for (property, line) in &rdt.lines {
        runtime(lines, &format!("{POINTER}/{property}"), format!("write {line:?} to its schemata"));
    }
    if let Some(name) = &rdt.monitor {
        let what = format!("make the monitored group {name} in it, for init");
        runtime(lines, &format!("{POINTER}/enableMonitoring"), what);
    }
}

fn net_device_lines(plan: &Plan, lines: &mut Vec<Line>) {
    for NetDevice { pointer, host_name, name } in &plan.net_devices {
        let what = format!("move the network device {host_name} into the container, as {name}");
        runtime(lines, pointer, what);
    }
}

fn id_maps(plan: &Plan, lines: &mut Vec<Line>) {
    if let Some(maps) = &plan.spawn.joined_id_maps {
        let maps = [("gid", &maps.gids), ("uid", &maps.uids)];
        for (kind, mappings) in maps.into_iter().filter(|(_, mappings)| !mappings.is_empty()) {
            let text = IdMaps::lines(mappings).trim_end().replace('\n', ", ");
            let step = format!("compare the {kind} map: {text}");
            runtime(lines, &format!("/linux/{kind}Mappings"), step);
        }
    }
    let Some(maps) = &plan.spawn.id_maps else { return };
    if maps.deny_setgroups {
        runtime(lines, "/linux/gidMappings", "forbid setgroups in the user namespace");
    }
    for (kind, mappings) in [("gid", &maps.gids), ("uid", &maps.uids)] {
        let text = IdMaps::lines(mappings);
        let step = format!("write the {kind} map: {}", text.trim_end().replace('\n', ", "));
        runtime(lines, &format!("/linux/{kind}Mappings"), step);
    }
}

fn hook_lines(kind: &str, hooks: &[Hook], lines: &mut Vec<Line>) {
    for (index, hook) in hooks.iter().enumerate() {
        let what = format!("run the {kind} hook {}", hook.path);
        runtime(lines, &format!("/hooks/{kind}/{index}"), what);
    }
}

/// What [`step`] does not say, and is not empty.
fn details(op: &Op<'_>) -> Map<String, Json> {
    let said = |name: &str| match op {
        Op::Credentials { .. } | Op::MappedIds { .. } => matches!(name, "uid" | "gid"),
        Op::Symlink { .. } | Op::Sysctl { .. } => matches!(name, "path" | "target" | "value"),
        Op::MountBind { .. } => matches!(name, "source" | "target"),
        Op::MountFs { .. } | Op::MountData { .. } => matches!(name, "fstype" | "target"),
        Op::Device { .. } | Op::Directory { .. } | Op::Cwd { .. } | Op::Hook { .. } => {
            name == "path"
        }
        Op::Find { .. } => name == "file",
        Op::Seccomp { .. } => name != "flags",
        Op::AppArmor { .. } | Op::SelinuxExec { .. } | Op::SelinuxKeys { .. } => true,
        Op::SelinuxFile { .. } | Op::MaskLabel { .. } => true,
        Op::Join { .. } => name == "kind",
        Op::TimeNamespace { .. } | Op::Scheduler { .. } | Op::Exec { .. } => false,
        Op::Terminal { .. } | Op::Stdio { .. } | Op::IoPriority { .. } => false,
        Op::Pivot { .. } | Op::Personality { .. } | Op::MountAttr { .. } => name == "path",
        _ => true,
    };
    let shown =
        fields(op).into_iter().filter(|(name, value)| !said(name) && !is_nothing(name, value));
    shown.map(|(name, value)| (name.to_owned(), detail(op, name, value))).collect()
}

fn is_nothing(name: &str, value: &Value<'_>) -> bool {
    match value {
        Value::Absent | Value::Bool(false) => true,
        Value::Number(0) => !matches!(name, "major" | "minor" | "uid" | "gid" | "bounding"),
        Value::Text(text) => text.is_empty(),
        Value::List(list) => list.is_empty(),
        Value::Ids(ids) => ids.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// A value in the words of whoever defined it.
fn detail(op: &Op<'_>, name: &str, value: Value<'_>) -> Json {
    match value {
        Value::Absent => Json::Null,
        Value::Bool(value) => value.into(),
        Value::Text(text) => string(text).into(),
        Value::List(list) => list.iter().map(string).collect(),
        Value::Ids(ids) if name == "propagation" => {
            ids.iter().map(|id| join(MS, id.into())).collect()
        }
        Value::Ids(ids) => ids.iter().collect(),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()).into(),
        Value::Number(number) => match u64::try_from(number) {
            Ok(number) => unsigned(op, name, number),
            Err(_) => i64::try_from(number).unwrap_or(i64::MIN).into(),
        },
    }
}

fn unsigned(op: &Op<'_>, name: &str, number: u64) -> Json {
    let mount_op = matches!(op, Op::MountFs { .. } | Op::MountData { .. } | Op::MountBind { .. });
    match name {
        "attr" | "set" | "clear" | "must_clear" | "recursive_set" | "recursive_clear" => {
            join(MOUNT_ATTR, number).into()
        }
        "bounding" | "effective" | "permitted" | "inheritable" | "ambient" => names(number).into(),
        "ms_flags" => join(MS, number).into(),
        "kind" => join(CLONE, number).into(),
        "flags" if matches!(op, Op::Seccomp { .. }) => join(SECCOMP, number).into(),
        "flags" if mount_op => join(MOUNT_OP, number).into(),
        "mode" => mode(number).into(),
        _ => number.into(),
    }
}

/// `S_IFCHR|0666`.
fn mode(mode: u64) -> String {
    let kind = match mode >> 12 {
        1 => "S_IFIFO|",
        2 => "S_IFCHR|",
        6 => "S_IFBLK|",
        _ => "",
    };
    format!("{kind}{:04o}", mode & 0o7777)
}

fn string(text: &CStr) -> String {
    text.to_string_lossy().into_owned()
}
