//! Limits: writing them, and taking them back when one of several is refused.
//!
//! Runs in: runtime.

use rustix::io::Errno;

use super::{Cgroup, file};
use crate::error::Error;
use crate::plan::{Otherwise, Setting};

/// Limits that were changed: they stay so, unless [`Changed::revert`] is called.
#[derive(Debug)]
pub(crate) struct Changed<'a> {
    cgroup: &'a Cgroup,
    /// What was there before, by file, in the order of the writes.
    before: Vec<(String, String)>,
}

impl Cgroup {
    /// A file that has one number; `None`: there is no such file, or it says `max`.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        let content = file::read(&self.directory, name).ok()?;
        str::from_utf8(&content).ok()?.trim_end().parse().ok()
    }

    /// Writes `settings` in order, for a cgroup that is thrown away when one of them is refused.
    ///
    /// # Errors
    /// [`Error::Property`] with the property, the file, and the kernel's answer.
    pub fn apply(&self, settings: &[Setting]) -> Result<(), Error> {
        self.write_all(settings, |_, _| {})
    }

    /// Writes `settings` in order: all of them or none.
    ///
    /// # Errors
    /// As [`Cgroup::apply`], and [`Error::Unsupported`] for a controller that cannot be had.
    pub(crate) fn change(&self, settings: &[Setting]) -> Result<Changed<'_>, Error> {
        self.enable_controllers(settings, std::iter::empty())?;
        let mut changed = Changed { cgroup: self, before: Vec::new() };
        let written = self.write_all(settings, |name, text| changed.remember(name, text));
        match written {
            Ok(()) => Ok(changed),
            Err(error) => {
                changed.revert();
                Err(error)
            }
        }
    }

    fn write_all(
        &self,
        settings: &[Setting],
        mut before: impl FnMut(&str, &str),
    ) -> Result<(), Error> {
        let mut put_off: Option<&Setting> = None;
        for setting in settings {
            match self.write(setting, &mut before) {
                Err(Errno::INVAL) if setting.otherwise == Otherwise::Later => {
                    put_off = Some(setting);
                    continue;
                }
                written => written.map_err(|errno| self.refused(setting, errno))?,
            }
            if let Some(setting) = put_off.take() {
                let written = self.write(setting, &mut before);
                written.map_err(|errno| self.refused(setting, errno))?;
            }
        }
        Ok(())
    }

    fn write(
        &self,
        setting: &Setting,
        before: &mut impl FnMut(&str, &str),
    ) -> rustix::io::Result<()> {
        let mut put = |name: &str, text: &str| {
            before(name, text);
            file::write(&self.directory, name, text)
        };
        match (put(&setting.file, &setting.text), &setting.otherwise) {
            (Err(Errno::NOENT), Otherwise::Holds) => Ok(()),
            (Err(Errno::NOENT), Otherwise::Write(name, text)) => put(name, text),
            (written, _) => written,
        }
    }

    fn refused(&self, setting: &Setting, errno: Errno) -> Error {
        let Setting { file, text, origin, .. } = setting;
        let path = self.mount_point.join(&self.path);
        let hint = hint(file, errno);
        Error::Property {
            pointer: origin.to_string(),
            problem: format!("write {text:?} to {}/{file}: {errno}{hint}", path.display()),
        }
    }
}

impl Changed<'_> {
    /// File and text of what was there before.
    pub fn before(&self) -> impl Iterator<Item = (&str, &str)> {
        self.before.iter().rev().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Called before `text` is written to `name`.
    fn remember(&mut self, name: &str, text: &str) {
        let read = |name: &str| file::read(&self.cgroup.directory, name).ok();
        let Some(now) = read(name) else { return };
        if let Some(undo) = undo(name, text, &String::from_utf8_lossy(&now)) {
            self.before.push((name.to_owned(), undo));
        }
        if matches!(name, "cpuset.cpus" | "cpuset.mems")
            && now.trim_ascii().is_empty()
            && let Some(effective) = read(&format!("{name}.effective"))
        {
            let effective = String::from_utf8_lossy(&effective).into_owned();
            self.before.push((name.to_owned(), effective));
        }
    }

    /// Takes all of it back, the last write first.
    pub fn revert(self) {
        for (name, text) in self.before.into_iter().rev() {
            match file::write(&self.cgroup.directory, &name, &text) {
                Ok(()) => {}
                // A set of a cgroup with processes cannot be emptied again; then it stays at what was in force.
                Err(Errno::NOSPC) if text == "\n" => {}
                Err(errno) => log::warn!(
                    "cgroup {}: set {name} back to {text:?}: {errno}",
                    self.cgroup.path.display()
                ),
            }
        }
    }
}

/// What sets the file `name`, whose content is `now`, back after `text` was written to it; `None`: unknown.
fn undo(name: &str, text: &str, now: &str) -> Option<String> {
    let key = text.split_ascii_whitespace().next().unwrap_or_default();
    let line = now.lines().find(|line| line.split_ascii_whitespace().next() == Some(key));
    let is_device = key.contains(':');
    match (name, line) {
        (_, Some(line)) if is_device || name == "rdma.max" => Some(line.to_owned()),
        ("io.max", None) => Some(format!("{key} rbps=max wbps=max riops=max wiops=max")),
        ("io.weight" | "io.bfq.weight", None) if is_device => Some(format!("{key} default")),
        // The line with the word `default`, of the two files that have one.
        ("io.weight" | "io.bfq.weight", _) => now.lines().next().map(str::to_owned),
        _ if now.lines().count() > 1 => None,
        // With its line end: a write of nothing would not reach the kernel.
        _ => Some(format!("{}\n", now.trim_end())),
    }
}

/// What to mend, where the kernel's word is not enough.
fn hint(file: &str, errno: Errno) -> &'static str {
    match (file, errno) {
        ("memory.swap.max", Errno::NOENT) => ": this kernel does not count swap (swapaccount=1)",
        ("io.bfq.weight", Errno::NOENT) => {
            ": this kernel has neither BFQ (module bfq) nor io.weight"
        }
        (_, Errno::NOENT) => ": this kernel has no such file",
        ("io.max", Errno::NODEV) => ": there is no such disk (a partition is none)",
        ("rdma.max", Errno::NODEV) => ": there is no such RDMA device",
        ("cpuset.cpus" | "cpuset.mems", Errno::INVAL | Errno::RANGE | Errno::NODEV) => {
            ": not all of them are on this host, or in the cgroup above"
        }
        ("cpu.max.burst" | "cpu.max", Errno::INVAL) => {
            ": from 1000 to 1000000 microseconds, and the burst at most the quota"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::undo;

    #[test]
    fn undo_of_each_kind_of_file_is_what_was_there() {
        let io_max = "7:0 rbps=1048576 wbps=max riops=max wiops=max\n7:1 rbps=max wbps=max riops=1 wiops=max\n";
        for (name, text, now, expected) in [
            ("memory.max", "1", "max\n", Some("max\n")),
            ("cpu.max", "1 2", "max 100000\n", Some("max 100000\n")),
            ("cpuset.cpus", "0", "\n", Some("\n")),
            ("cpuset.cpus", "0", "", Some("\n")),
            ("io.max", "7:1 rbps=5", io_max, Some("7:1 rbps=max wbps=max riops=1 wiops=max")),
            ("io.max", "7:10 rbps=5", io_max, Some("7:10 rbps=max wbps=max riops=max wiops=max")),
            ("io.weight", "200", "default 100\n7:0 300\n", Some("default 100")),
            ("io.weight", "7:0 200", "default 100\n7:0 300\n", Some("7:0 300")),
            ("io.bfq.weight", "7:1 200", "default 100\n", Some("7:1 default")),
            (
                "rdma.max",
                "m0 hca_handle=1",
                "m0 hca_handle=max hca_object=2\nm1 hca_handle=3 hca_object=4\n",
                Some("m0 hca_handle=max hca_object=2"),
            ),
            ("misc.max", "a 1", "a max\nb max\n", None),
        ] {
            assert_eq!(undo(name, text, now).as_deref(), expected, "{name} {text:?}");
        }
    }
}
