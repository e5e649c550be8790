//! The types of config.json, after specs-go of runtime-spec 1.3: its names, in Rust's spelling.
//!
//! An absent scalar is `None` only where absent means something else than zero. An absent array or map is empty.
//! Open sets of words (mount options, capabilities) are strings, closed sets are enums.
//!
//! Runs in: any process.

#[macro_use]
mod object;
mod linux;
mod process;
mod resources;
mod seccomp;

use std::collections::BTreeMap;

pub use self::linux::*;
pub use self::process::*;
pub use self::resources::*;
pub use self::seccomp::*;

objects! {
    /// config.json.
    #[derive(Default)]
    Spec {
        /// The version of the runtime specification that the bundle follows, as in `1.3.0`.
        "ociVersion" (required) oci_version: String,
        /// The container's process; `None` only before validation, which refuses it as runc does.
        "process" process: Option<Process>,
        /// The root file system; `None` only before validation.
        "root" root: Option<Root>,
        /// Empty: the name that a new uts namespace copies.
        "hostname" hostname: String,
        /// The NIS domain name; empty as [`Self::hostname`].
        "domainname" domainname: String,
        /// On top of the root file system, in order.
        "mounts" mounts: Vec<Mount>,
        /// Programs to run at points of the life of the container.
        "hooks" hooks: Option<Hooks>,
        /// For others: returned by `state`.
        "annotations" annotations: BTreeMap<String, String>,
        /// What only Linux has.
        "linux" linux: Option<Linux>,
    }

    /// The root file system.
    #[derive(Default)]
    Root {
        /// Absolute, or relative to the bundle.
        "path" (required) path: String,
        /// Mounted read-only before the process starts.
        "readonly" readonly: bool,
    }

    /// A mount.
    #[derive(Default)]
    Mount {
        /// Where, in the container. A relative path counts from `/`.
        "destination" (required) destination: String,
        /// The file system type; `bind`, or empty with the option `bind`: a bind mount.
        "type" mount_type: String,
        /// A device, a name, or for a bind mount a path: absolute, or relative to the bundle.
        "source" source: String,
        /// As of fstab.
        "options" options: Vec<String>,
        /// Owners seen through the mount; together with [`Self::gid_mappings`].
        "uidMappings" uid_mappings: Vec<LinuxIdMapping>,
        /// Groups seen through the mount.
        "gidMappings" gid_mappings: Vec<LinuxIdMapping>,
    }

    /// The hooks by kind, each in order.
    #[derive(Default)]
    Hooks {
        /// Deprecated: after the namespaces were made; runtime's namespaces.
        "prestart" prestart: Vec<Hook>,
        /// After the namespaces were made, before pivot; runtime's namespaces.
        "createRuntime" create_runtime: Vec<Hook>,
        /// After [`Self::create_runtime`], before pivot; container's namespaces, path of the host.
        "createContainer" create_container: Vec<Hook>,
        /// At `start`, before the process is executed; container's namespaces, path of the container.
        "startContainer" start_container: Vec<Hook>,
        /// After the process was started; runtime's namespaces.
        "poststart" poststart: Vec<Hook>,
        /// After the container was deleted; runtime's namespaces.
        "poststop" poststop: Vec<Hook>,
    }

    /// A program to run.
    #[derive(Default)]
    Hook {
        /// Absolute.
        "path" (required) path: String,
        /// As of execv: the first is the name. Empty: the path alone.
        "args" args: Vec<String>,
        /// `None`: the runtime's own environment, as runc and crun do.
        "env" env: Option<Vec<String>>,
        /// Seconds, at least 1. `None`: no limit.
        "timeout" timeout: Option<i64>,
    }
}
