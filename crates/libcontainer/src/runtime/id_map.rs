//! Id-mapped mounts: the user namespaces whose maps they take are there before init is, and the call itself is made here,
//! on a detached mount that init hands over in mount order.
//!
//! The kernel wants CAP_SYS_ADMIN over both the file system and the mapping (`can_idmap_mount` in fs/namespace.c): only a
//! process outside of the container's user namespace has both.
//!
//! Runs in: runtime.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use corten_plan::{Failure, Stage};

use super::handles::Handles;
use super::user_namespace;
use crate::error::Error;
use crate::plan::{IdMapPlan, InitPlan, MapSource, describe};
use crate::sys;

/// The id mappings of a plan, each with a user namespace that has it.
pub(crate) struct IdMaps<'a> {
    plan: &'a InitPlan,
    /// Those that were made for it, by the index of the first mapping that wants the same.
    made: Vec<(usize, OwnedFd)>,
    handles: &'a Handles<'a>,
}

impl<'a> IdMaps<'a> {
    /// Makes the user namespaces.
    ///
    /// # Errors
    /// The kernel does not permit a mapping.
    pub fn make(plan: &'a InitPlan, handles: &'a Handles<'a>) -> Result<Self, Error> {
        let mut made = Vec::new();
        for (index, map) in plan.id_maps.iter().enumerate() {
            let MapSource::Maps { uids, gids } = &map.source else { continue };
            if first_like(&plan.id_maps, map) == Some(index) {
                let namespace = user_namespace::with_maps(uids, gids).map_err(|error| {
                    let problem = crate::error::with_causes(&error);
                    Error::Property { pointer: map.pointer.clone(), problem }
                })?;
                made.push((index, namespace));
            }
        }
        Ok(Self { plan, made, handles })
    }

    /// Gives `mount` the mapping that the op of this index wants.
    ///
    /// # Errors
    /// Those of the kernel, as an error of that op; [`io::ErrorKind::InvalidData`] where it wants none.
    pub fn set(&self, op: u16, mount: BorrowedFd<'_>) -> Result<(), Error> {
        let found = self.plan.id_maps.iter().find(|map| map.op == op);
        let found = found.and_then(|map| Some((map, self.namespace(map)?)));
        let (map, namespace) = found.ok_or_else(|| Error::Os {
            call: "receive from init: a mount that wants no id mapping".into(),
            source: io::ErrorKind::InvalidData.into(),
        })?;
        sys::mount::map_ids(mount, namespace, map.recursive)
            .map_err(|error| self.failed(map, mount, namespace, &error))
    }

    fn namespace(&self, map: &IdMapPlan) -> Option<BorrowedFd<'_>> {
        match &map.source {
            MapSource::Joined(handle) => self.handles.namespace(*handle),
            MapSource::Maps { .. } => {
                let first = first_like(&self.plan.id_maps, map)?;
                let mut made = self.made.iter();
                made.find(|(index, _)| *index == first).map(|(_, namespace)| namespace.as_fd())
            }
        }
    }

    /// The error of the op, in the words of those that init reports; with the type of the file system, which is what people
    /// need to know.
    fn failed(
        &self,
        map: &IdMapPlan,
        mount: BorrowedFd<'_>,
        namespace: BorrowedFd<'_>,
        error: &io::Error,
    ) -> Error {
        // The kernel does not say which mount it refuses: where the uppermost alone is taken, it is one below it.
        let below = map.recursive && sys::mount::map_ids(mount, namespace, false).is_ok();
        let fs_type = fs_type(mount);
        let failure = Failure {
            op: map.op,
            stage: Stage::IdMap,
            item: u16::from(below),
            errno: error.raw_os_error().unwrap_or(libc::EIO),
            detail: fs_type.as_bytes(),
        };
        Error::Init(Box::new(describe::init_error(self.plan, &failure)))
    }
}

fn first_like(maps: &[IdMapPlan], map: &IdMapPlan) -> Option<usize> {
    maps.iter().position(|other| other.source == map.source)
}

/// The type of the file system that a mount is of: as the mounts of this process have it, else its number.
fn fs_type(mount: BorrowedFd<'_>) -> String {
    let status = rustix::fs::fstat(mount).map(|status| status.st_dev);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let known = status.ok().and_then(|device| {
        let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        // proc_pid_mountinfo(5): the third field is the device; the type follows the field `-`.
        let mut lines = mounts.lines().filter(|line| line.split(' ').nth(2) == Some(&device));
        lines.next()?.split(" - ").nth(1)?.split(' ').next()
    });
    known.map_or_else(
        || {
            let magic = rustix::fs::fstatfs(mount).map_or(0, |status| status.f_type);
            format!("{magic:#x}")
        },
        str::to_owned,
    )
}
