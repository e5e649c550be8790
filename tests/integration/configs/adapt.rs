//! What of a captured configuration cannot be the same here: one function for each kind of thing.
//!
//! Runs in: any process.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};

use super::probe;
use crate::harness::{TestResult, ensure_eq};
use crate::host;
use crate::inside::field;
use crate::runtime::Runtime;

/// A configuration that runs here.
#[derive(Debug)]
pub struct Adapted {
    pub config: Value,
    /// The process whose namespaces are those with a path.
    pub holder: Option<i32>,
    /// Where the hook, if there is one, puts its standard input.
    hook_state: Option<PathBuf>,
}

impl Adapted {
    pub fn new(runtime: &Runtime, mut config: Value) -> Result<Self, Failed> {
        remove_unsupported(&mut config);
        config["process"]["args"] = json!(["/bin/sh", "-c", probe::script(&config)]);
        config["root"]["path"] = json!("rootfs");
        sources(&mut config, &runtime.directory().join("sources"))?;
        let hook_state = hooks(&mut config, runtime.directory());
        let holder = namespaces(&mut config, runtime)?;
        cgroup(&mut config, runtime);
        resources(&mut config);
        if !host::has_capability(host::CAP_SYS_RESOURCE) {
            limits(&mut config)?;
            oom_score(&mut config)?;
        }
        capabilities(&mut config)?;
        for_a_peer(&mut config, runtime);
        Ok(Self { config, holder, hook_state })
    }

    /// The hook has run and was told of this container.
    pub fn hook_has_run(&self, id: &str) -> TestResult {
        let Some(file) = &self.hook_state else { return Ok(()) };
        let state: Value = serde_json::from_slice(&fs::read(file)?)?;
        ensure_eq!(state["id"], id);
        Ok(())
    }
}

/// JSON pointers to what corten refuses by name until it has it, in the order in which `corten plan` lists it.
pub fn unsupported(config: &Value) -> Vec<String> {
    let is_asked = |pointer: &str| match config.pointer(pointer) {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(_) => true,
    };
    let plain = |pointers: &[&str]| -> Vec<String> {
        pointers.iter().filter(|it| is_asked(it)).map(|it| (*it).to_owned()).collect()
    };
    [
        if host::has_apparmor() { Vec::new() } else { plain(&["/process/apparmorProfile"]) },
        plain(&["/process/selinuxLabel", "/linux/mountLabel"]),
    ]
    .concat()
}

/// What is wrong with a file, as runc and corten see it.
pub fn error(config: &Value) -> Option<&'static str> {
    let namespaces = config["linux"]["namespaces"].as_array().into_iter().flatten();
    let mut users = namespaces.filter(|namespace| namespace["type"] == "user");
    let makes_user = users.any(|namespace| namespace["path"].is_null());
    // crun run by a user writes the mappings of /etc/subuid in their place.
    let is_wrong = makes_user && config["linux"]["uidMappings"].is_null();
    is_wrong.then_some("/linux/namespaces/4: user namespaces enabled, but no namespace path")
}

/// Takes out exactly what [`unsupported`] names. What is left is what the file says.
fn remove_unsupported(config: &mut Value) {
    for pointer in unsupported(config) {
        if let Some(value) = config.pointer_mut(&pointer) {
            *value = Value::Null;
        }
    }
    // Where there is AppArmor: no engine has loaded its profile.
    config["process"]["apparmorProfile"] = Value::Null;
    // The files of the bundle are those of the host's root here; `user_namespaces.rs` has others.
    if let Some(namespaces) = config.pointer_mut("/linux/namespaces").and_then(Value::as_array_mut)
    {
        namespaces.retain(|namespace| namespace["type"] != "user");
    }
    for mount in array(config, "/mounts") {
        mount["uidMappings"] = Value::Null;
        mount["gidMappings"] = Value::Null;
    }
    config["linux"]["uidMappings"] = Value::Null;
    config["linux"]["gidMappings"] = Value::Null;
}

/// Sources of binds that this machine does not have are made, of the kind that they had: the names tell it.
fn sources(config: &mut Value, directory: &Path) -> TestResult {
    fs::create_dir_all(directory)?;
    for (index, mount) in array(config, "/mounts").iter_mut().enumerate() {
        let is_bind =
            array_of(mount, "options").any(|option| option == "bind" || option == "rbind");
        let source = PathBuf::from(mount["source"].as_str().unwrap_or_default());
        if !is_bind || source.exists() {
            continue;
        }
        let made = directory.join(index.to_string());
        make_source(&source, &made)?;
        mount["source"] = json!(made);
    }
    Ok(())
}

fn make_source(source: &Path, made: &Path) -> TestResult {
    let name = source.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if source.starts_with("/dev") {
        // Any device does: nothing opens it.
        mknodat(CWD, made, FileType::CharacterDevice, Mode::from(0o666), makedev(1, 3))?;
    } else if matches!(name, "shm" | "data" | "_data" | "lab") {
        fs::create_dir(made)?;
    } else {
        // Of resolv.conf, hosts, hostname, .containerenv, docker-init, catatonit.
        fs::write(made, "")?;
    }
    Ok(())
}

/// Docker's hook is its own program; here it is one that keeps its standard input.
fn hooks(config: &mut Value, directory: &Path) -> Option<PathBuf> {
    let hook = config.pointer_mut("/hooks/prestart/0")?;
    let file = directory.join("hook-state");
    *hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", format!("cat >{}", file.display())] });
    Some(file)
}

/// Namespaces of processes and files of the other machine become those of another container, as they were there.
fn namespaces(config: &mut Value, runtime: &Runtime) -> Result<Option<i32>, Failed> {
    let namespaces = array(config, "/linux/namespaces");
    if namespaces.iter().all(|namespace| namespace["path"].is_null()) {
        return Ok(None);
    }
    let id = runtime.new_id();
    runtime.create(&runtime.bundle(&["sleep", "1000"])?, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    let pid = runtime.pid(&id)?;
    for namespace in namespaces.iter_mut().filter(|namespace| !namespace["path"].is_null()) {
        let file = match namespace["type"].as_str().unwrap_or_default() {
            "network" => "net",
            same => same,
        };
        namespace["path"] = json!(format!("/proc/{pid}/ns/{file}"));
    }
    Ok(Some(pid))
}

/// The same name at the top of the hierarchy, with the test's marker in front: runc and crun leave parents behind.
fn cgroup(config: &mut Value, runtime: &Runtime) {
    if let Some(path) = config.pointer_mut("/linux/cgroupsPath") {
        let name = path.as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        *path = json!(format!("/{}-{name}", runtime.new_id()));
    }
}

/// Where v1 has the controllers there are no limits; else they are for a disk and processors that this machine has.
fn resources(config: &mut Value) {
    let Some(resources) = config.pointer_mut("/linux/resources").filter(|it| it.is_object()) else {
        return;
    };
    let has = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    if !["cpu", "cpuset", "io", "memory", "pids"].iter().all(|it| has.contains(it)) {
        *resources = json!({ "devices": resources["devices"] });
    }
    if let Some(device) = resources.pointer_mut("/blockIO/throttleReadBpsDevice/0") {
        device["major"] = json!(7);
    }
    // Neither BFQ nor io.cost is in every kernel.
    if let Some(weight) = resources.pointer_mut("/blockIO/weight") {
        *weight = Value::Null;
    }
    if let Some(cpus) = resources.pointer_mut("/cpu/cpus") {
        *cpus = json!("0");
    }
}

/// Nobody without CAP_SYS_RESOURCE raises a hard limit.
fn limits(config: &mut Value) -> TestResult {
    for limit in array(config, "/process/rlimits") {
        let resource = match limit["type"].as_str() {
            Some("RLIMIT_NOFILE") => Resource::Nofile,
            Some("RLIMIT_NPROC") => Resource::Nproc,
            Some("RLIMIT_CORE") => Resource::Core,
            other => return Err(format!("a limit that is new here: {other:?}").into()),
        };
        let highest = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        for kind in ["hard", "soft"] {
            let given = limit[kind].as_u64().ok_or("a limit that is no number")?;
            limit[kind] = json!(given.min(highest));
        }
    }
    Ok(())
}

/// Nobody without CAP_SYS_RESOURCE lowers it.
fn oom_score(config: &mut Value) -> TestResult {
    let own: i64 = fs::read_to_string("/proc/self/oom_score_adj")?.trim().parse()?;
    if let Some(score) = config.pointer_mut("/process/oomScoreAdj") {
        *score = json!(score.as_i64().unwrap_or_default().max(own));
    }
    Ok(())
}

/// Nobody gives a capability that it lacks.
fn capabilities(config: &mut Value) -> TestResult {
    let status = fs::read_to_string("/proc/self/status")?;
    let own = u64::from_str_radix(field(&status, "CapPrm")?, 16)?;
    let Some(Value::Object(sets)) = config.pointer_mut("/process/capabilities") else {
        return Ok(());
    };
    for set in sets.values_mut().filter_map(Value::as_array_mut) {
        set.retain(|name| own & capability(name.as_str().unwrap_or_default()) != 0);
    }
    Ok(())
}

/// What crun 1.8 cannot: versions that it does not know, and RLIMIT_MEMLOCK, which it raises for device programs.
fn for_a_peer(config: &mut Value, runtime: &Runtime) {
    if !runtime.is("crun") {
        return;
    }
    config["ociVersion"] = json!("1.0.2");
    if !host::has_capability(host::CAP_SYS_RESOURCE) {
        config["linux"]["resources"] = Value::Null;
    }
}

/// The bit of a capability, by the numbers of linux/capability.h; 0 for a name that it has not.
pub fn capability(name: &str) -> u64 {
    const NAMES: &str = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP \
        LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE \
        SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME \
        SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG \
        WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE";
    let position = NAMES.split_whitespace().position(|it| name.strip_prefix("CAP_") == Some(it));
    position.map_or(0, |number| 1 << number)
}

/// The array at `pointer`, or none.
fn array<'a>(config: &'a mut Value, pointer: &str) -> &'a mut [Value] {
    let found = config.pointer_mut(pointer).and_then(Value::as_array_mut);
    found.map_or(&mut [], |items| items.as_mut_slice())
}

/// The strings of a member that is an array.
pub fn array_of<'a>(value: &'a Value, member: &str) -> impl Iterator<Item = &'a str> {
    value[member].as_array().into_iter().flatten().filter_map(Value::as_str)
}
