//! The flags that `create` and `run` share, and what they become.
//!
//! Runs in: runtime.

use std::path::PathBuf;

use libcontainer::{Console, CreateOptions};

use super::ContainerId;
use crate::args::{CgroupManager, Globals};
use crate::{fds, notify};

#[derive(Debug, clap::Args)]
pub struct CreateFlags {
    #[command(flatten)]
    id: ContainerId,

    #[command(flatten)]
    bundle: BundleFlags,

    /// Send the master of the container's terminal to the AF_UNIX socket at PATH
    #[arg(long, value_name = "PATH")]
    pub console_socket: Option<PathBuf>,

    /// Send a pidfd of the container's init to the AF_UNIX socket at PATH
    #[arg(long, value_name = "PATH")]
    pidfd_socket: Option<PathBuf>,

    /// Write the pid of the container's init to FILE
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
}

/// What decides the plan, besides config.json.
#[derive(Debug, clap::Args)]
pub struct BundleFlags {
    /// The directory with config.json
    #[arg(long, short, value_name = "DIR", default_value = ".", hide_default_value = true)]
    bundle: PathBuf,

    /// Move the root file system over / instead of pivoting: for one that is on an initramfs
    #[arg(long)]
    no_pivot: bool,

    /// Keep the caller's session keyring instead of making one for the container
    #[arg(long)]
    no_new_keyring: bool,

    /// Pass N more fds to the container, after stdio and those of $LISTEN_FDS
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    preserve_fds: u32,
}

impl BundleFlags {
    /// What `create` is told of the container `id`.
    pub fn options(&self, id: &str, globals: &Globals) -> anyhow::Result<CreateOptions> {
        Ok(CreateOptions {
            root: globals.root.clone(),
            id: id.to_owned(),
            bundle: self.bundle.clone(),
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            preserve_fds: self.preserve_fds,
            listen_fds: fds::listen_fds(),
            notify: notify::is_asked(),
            systemd_cgroup: globals.cgroup_manager == CgroupManager::Systemd,
            no_cgroup: globals.cgroup_manager == CgroupManager::Disabled,
            rootless: globals.rootless,
            trace: globals.trace.clone(),
            ..CreateOptions::default()
        })
    }
}

impl CreateFlags {
    /// What the library is told.
    pub fn options(&self, globals: &Globals) -> anyhow::Result<CreateOptions> {
        let options = self.bundle.options(self.id.get()?, globals)?;
        globals.make_xdg_root()?;
        Ok(CreateOptions {
            console: self.console_socket.clone().map(Console::Socket),
            pid_file: self.pid_file.clone(),
            pidfd_socket: self.pidfd_socket.clone(),
            ..options
        })
    }
}
