//! Somebody else's mount namespace, for configurations that join it.
//!
//! Runs in: any process.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use libtest_mimic::Failed;

/// A process in a mount namespace of its own, until this is dropped.
pub struct Holder(Child);

impl Holder {
    /// `script` makes of the namespace what the test wants, with `argument` as `$0`.
    pub fn new(script: &str, argument: &Path) -> Result<Self, Failed> {
        let script = format!("{script} && echo x && exec sleep 1000");
        let process = Command::new("unshare")
            .args(["--mount", "--propagation=private", "sh", "-c", &script])
            .arg(argument)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut holder = Self(process);
        holder.0.stdout.as_mut().ok_or("no output")?.read_exact(&mut [0; 1])?;
        Ok(holder)
    }

    pub fn pid(&self) -> Result<i32, Failed> {
        Ok(self.0.id().try_into()?)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
