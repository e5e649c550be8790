//! The config.json of `corten spec`: runc's, property by property (`libcontainer/specconv/example.go`).
//!
//! Runs in: runtime.

use serde::Serialize;

use super::{
    Linux, LinuxCapabilities, LinuxDeviceCgroup, LinuxIdMapping, LinuxNamespace, LinuxResources,
    Mount, NamespaceType, PosixRlimit, Process, RlimitType, Root, Spec,
};

/// The newest version of the specification that is known.
pub(crate) const OCI_VERSION: &str = "1.3.0";

const CAPABILITIES: &[&str] = &["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

const ENV: &[&str] =
    &["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"];

/// Destination, type, source, options.
const MOUNTS: &[(&str, &str, &str, &[&str])] = &[
    ("/proc", "proc", "proc", &[]),
    ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    (
        "/dev/pts",
        "devpts",
        "devpts",
        &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    ),
    ("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
];

const MASKED_PATHS: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
];

const READONLY_PATHS: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// With the cgroup namespace, which runc adds on hosts with cgroup v2: others we do not know.
const NAMESPACES: &[NamespaceType] = &[
    NamespaceType::Pid,
    NamespaceType::Network,
    NamespaceType::Ipc,
    NamespaceType::Uts,
    NamespaceType::Mount,
    NamespaceType::Cgroup,
];

/// What `corten spec` writes: a shell on a terminal in a read-only `rootfs`.
pub fn default_spec() -> Spec {
    Spec {
        oci_version: OCI_VERSION.to_owned(),
        process: Some(process()),
        root: Some(Root { path: "rootfs".to_owned(), readonly: true }),
        hostname: "corten".to_owned(),
        mounts: MOUNTS.iter().map(mount).collect(),
        linux: Some(linux()),
        ..Spec::default()
    }
}

fn process() -> Process {
    Process {
        terminal: true,
        args: vec!["sh".to_owned()],
        env: strings(ENV),
        cwd: "/".to_owned(),
        capabilities: Some(LinuxCapabilities {
            bounding: strings(CAPABILITIES),
            effective: strings(CAPABILITIES),
            permitted: strings(CAPABILITIES),
            ..LinuxCapabilities::default()
        }),
        rlimits: vec![PosixRlimit { rlimit_type: RlimitType::Nofile, hard: 1024, soft: 1024 }],
        no_new_privileges: true,
        ..Process::default()
    }
}

fn mount(&(destination, kind, source, options): &(&str, &str, &str, &[&str])) -> Mount {
    Mount {
        destination: destination.to_owned(),
        mount_type: kind.to_owned(),
        source: source.to_owned(),
        options: strings(options),
        ..Mount::default()
    }
}

fn linux() -> Linux {
    let deny_all = LinuxDeviceCgroup { access: "rwm".to_owned(), ..LinuxDeviceCgroup::default() };
    Linux {
        resources: Some(LinuxResources { devices: vec![deny_all], ..LinuxResources::default() }),
        namespaces: NAMESPACES.iter().map(|kind| new_namespace(*kind)).collect(),
        masked_paths: strings(MASKED_PATHS),
        readonly_paths: strings(READONLY_PATHS),
        ..Linux::default()
    }
}

/// `corten spec --rootless`: makes a configuration one that an ordinary user can run. The caller becomes root in a new
/// user namespace, the network is the host's, `/sys` is a bind mount of the host's, and there are no limits.
pub fn rootless(spec: &mut Spec) {
    for mount in &mut spec.mounts {
        if mount.destination == "/sys" {
            "none".clone_into(&mut mount.mount_type);
            "/sys".clone_into(&mut mount.source);
            mount.options = strings(&["rbind", "nosuid", "noexec", "nodev", "ro"]);
        }
        mount.options.retain(|word| !word.starts_with("uid=") && !word.starts_with("gid="));
    }
    let linux = spec.linux.get_or_insert_default();
    linux.namespaces.retain(|namespace| {
        !matches!(namespace.namespace_type, NamespaceType::Network | NamespaceType::User)
    });
    linux.namespaces.push(new_namespace(NamespaceType::User));
    linux.uid_mappings = to_root(rustix::process::geteuid().as_raw());
    linux.gid_mappings = to_root(rustix::process::getegid().as_raw());
    linux.resources = None;
}

fn to_root(host_id: u32) -> Vec<LinuxIdMapping> {
    vec![LinuxIdMapping { container_id: 0, host_id, size: 1 }]
}

fn new_namespace(namespace_type: NamespaceType) -> LinuxNamespace {
    LinuxNamespace { namespace_type, path: String::new() }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What `corten spec` writes, as text: [`default_spec`], or with `for_rootless` what [`rootless`] makes of it for the ids of
/// this process. Kept as text, for then a program that only runs containers has no code to write a configuration.
pub fn template(for_rootless: bool) -> String {
    if !for_rootless {
        return include_str!("template/default.json").to_owned();
    }
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    include_str!("template/rootless.json")
        .replace("\"UID\"", &uid.as_raw().to_string())
        .replace("\"GID\"", &gid.as_raw().to_string())
}

/// config.json with one tab for each level and no newline at the end, as runc writes it.
pub fn to_pretty_json(spec: &Spec) -> Vec<u8> {
    let mut text = Vec::new();
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut to = serde_json::Serializer::with_formatter(&mut text, tabs);
    // Nothing here can fail: the keys are strings, and memory takes all.
    match spec.serialize(&mut to) {
        Ok(()) => text,
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template_is_the_text_of_the_structs() {
        let mut spec = default_spec();
        assert_eq!(template(false).as_bytes(), to_pretty_json(&spec));
        rootless(&mut spec);
        assert_eq!(template(true).as_bytes(), to_pretty_json(&spec));
    }
}
