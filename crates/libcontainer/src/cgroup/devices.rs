//! The device program of a cgroup.
//!
//! Programs are attached with `BPF_F_ALLOW_MULTI`, so that one of ours works beside those of systemd and of cgroups above;
//! an access is allowed when all of them allow it. They go with the cgroup: nothing is pinned, no fd is kept.
//!
//! Runs in: runtime.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::Cgroup;
use crate::error::Error;
use crate::sys::bpf;

/// Room for the verifier's words on a program; asked for only when it has refused one.
const LOG_SIZE: usize = 64 * 1024;

impl Cgroup {
    /// Attaches a program to a cgroup that has none.
    pub(super) fn attach_devices(&self, instructions: &[u64]) -> Result<(), Error> {
        let program = self.load(instructions)?;
        bpf::attach_device_program(self.fd(), program.as_fd(), None)
            .map_err(self.at("attach the device program"))
    }

    /// Makes `instructions` the only device program of this cgroup. At no moment is more allowed than the old or the new
    /// rules allow: the one old program is replaced in one step; several are detached after the new one is in.
    ///
    /// # Errors
    /// [`Error::Cgroup`].
    pub fn replace_devices(&self, instructions: &[u64]) -> Result<(), Error> {
        let program = self.load(instructions)?;
        let attached = self.attached()?;
        let replaced = match attached.as_slice() {
            [only] => Some(only.as_fd()),
            _ => None,
        };
        bpf::attach_device_program(self.fd(), program.as_fd(), replaced)
            .map_err(self.at("attach the device program"))?;
        if replaced.is_none() { self.detach(&attached) } else { Ok(()) }
    }

    /// Takes the device programs away: every device is allowed.
    ///
    /// # Errors
    /// [`Error::Cgroup`].
    pub fn remove_devices(&self) -> Result<(), Error> {
        self.detach(&self.attached()?)
    }

    fn detach(&self, programs: &[OwnedFd]) -> Result<(), Error> {
        programs.iter().try_for_each(|program| {
            bpf::detach_device_program(self.fd(), program.as_fd())
                .map_err(self.at("detach an old device program"))
        })
    }

    /// The ids of the device programs that are attached to this cgroup itself.
    ///
    /// # Errors
    /// [`Error::Cgroup`].
    pub fn device_programs(&self) -> Result<Vec<u32>, Error> {
        bpf::device_programs(self.fd()).map_err(self.at("query the device programs"))
    }

    /// The attached programs, less those that an LSM hides: one more program only restricts more, so they may stay.
    fn attached(&self) -> Result<Vec<OwnedFd>, Error> {
        let mut programs = Vec::new();
        for id in self.device_programs()? {
            match bpf::program_by_id(id) {
                Ok(program) => programs.push(program),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    log::debug!("device program {id} of {} is hidden from us", self.path.display());
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.at("open a device program")(error)),
            }
        }
        Ok(programs)
    }

    fn load(&self, instructions: &[u64]) -> Result<OwnedFd, Error> {
        bpf::load_device_program(instructions, &mut []).map_err(|error| {
            let explained = match error.raw_os_error() {
                Some(libc::EINVAL | libc::EACCES) => explain(instructions, error),
                _ => error,
            };
            self.at("load the device program")(explained)
        })
    }
}

/// Loads again with a log and adds the last line in which the verifier says why it refuses.
fn explain(instructions: &[u64], error: io::Error) -> io::Error {
    let mut log = vec![0; LOG_SIZE];
    if bpf::load_device_program(instructions, &mut log).is_ok() {
        return error;
    }
    match verdict(&log) {
        Some(line) => io::Error::new(error.kind(), format!("{error}: {line}")),
        None => error,
    }
}

/// The last line that is not the statistics at the end (`processed 2 insns ...`).
fn verdict(log: &[u8]) -> Option<String> {
    let text = log.split(|byte| *byte == 0).next()?;
    let text = String::from_utf8_lossy(text);
    let line =
        text.lines().rev().find(|line| !line.is_empty() && !line.starts_with("processed "))?;
    Some(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdict_of_a_log_is_its_last_line_but_the_statistics() {
        let log = b"0: (95) exit\nR0 !read_ok\nprocessed 1 insns (limit 1000000)\n\0\0\0";
        assert_eq!(verdict(log).as_deref(), Some("R0 !read_ok"));
        assert_eq!(verdict(b"\0"), None);
        assert_eq!(verdict(b""), None);
    }
}
