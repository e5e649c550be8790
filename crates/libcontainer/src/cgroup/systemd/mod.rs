//! Cgroups by systemd: a container's cgroup is that of a transient scope, which systemd makes and removes.
//!
//! The bus is asked in create, update and delete, and never elsewhere: what a status or a signal needs is in the cgroup's own
//! files. Why the D-Bus client is our own, and how a scope gets its process: `docs/design/0006-systemd.md`.
//!
//! Runs in: runtime.

mod bus;
mod message;
mod scope;
#[cfg(test)]
mod tests;

pub use bus::BusError;
pub(crate) use scope::{Scope, attach, set_limits, stop};

use std::path::Path;
use std::time::Duration;

use self::bus::Bus;
use self::message::{Body, Message};
use crate::error::Error;
use crate::plan::{Manager, Property, UnitPlan, pids};

/// How long systemd may take for one thing that it is asked for. runc's: "3-5 seconds are not unrealistic" (its issue 2614).
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
/// The answers to a property that this systemd does not know, or not with this value.
const NOT_KNOWN: [&str; 2] =
    ["org.freedesktop.DBus.Error.PropertyReadOnly", "org.freedesktop.DBus.Error.InvalidArgs"];

/// A connection to a systemd.
#[derive(Debug)]
pub(crate) struct Systemd {
    bus: Bus,
    deadline: Duration,
}

impl Systemd {
    /// Connects.
    ///
    /// # Errors
    /// [`Error::Systemd`], [`Error::Timeout`].
    pub fn open(manager: Manager, deadline: Duration) -> Result<Self, Error> {
        let bus = Bus::open(manager, deadline);
        bus.map(|bus| Self { bus, deadline }).map_err(|error| match error {
            BusError::Connect { .. } if !has_booted() => {
                let problem =
                    "systemd not running on this host, cannot use systemd cgroups manager";
                failed("connect", deadline)(BusError::NoAddress(problem))
            }
            error => failed("connect", deadline)(error),
        })
    }

    /// The manager's own cgroup, with a leading slash: `/`, or for a user's `/user.slice/user-1000.slice/user@1000.service`.
    pub fn control_group(&mut self) -> Result<String, Error> {
        self.bus.begin(self.deadline);
        let body = Body::default().with_string(MANAGER).with_string("ControlGroup");
        let asked = self.bus.call("org.freedesktop.DBus.Properties", "Get", body, &mut |_| {});
        let path = asked.and_then(|message| {
            let mut arguments = message.arguments();
            let path = match arguments.signature() {
                Some("s") => arguments.string(),
                _ => None,
            };
            path.map(str::to_owned).ok_or_else(|| self.bus.garbled("the property ControlGroup"))
        });
        path.map_err(failed("ask for the property ControlGroup", self.deadline))
    }

    /// Makes the scope with the process in it; on return it is there.
    ///
    /// A failed unit of this name is in the way of a new one: it is reset once, as runc has it.
    pub fn start(&mut self, unit: &UnitPlan, pid: u32) -> Result<(), Error> {
        self.bus.begin(self.deadline);
        let (mut was_reset, mut with_optional) = (false, true);
        self.watch_jobs(&unit.name);
        let started = loop {
            match self.try_start(unit, pid, with_optional) {
                Err(BusError::Refused { name, .. }) if name == UNIT_EXISTS && !was_reset => {
                    was_reset = true;
                    self.reset_failed(&unit.name);
                }
                Err(BusError::Refused { name, .. })
                    if with_optional && NOT_KNOWN.contains(&name.as_str()) =>
                {
                    with_optional = false;
                }
                other => break other,
            }
        };
        started.map_err(self.failed("start", &unit.name))
    }

    fn try_start(
        &mut self,
        unit: &UnitPlan,
        pid: u32,
        with_optional: bool,
    ) -> Result<(), BusError> {
        let pids = pids(pid);
        let mut asked = asked(&unit.properties, with_optional);
        asked.push(&pids);
        // `fail`: never cancel what somebody else has asked for.
        let body = Body::default()
            .with_string(&unit.name)
            .with_string("fail")
            .with_properties(&asked)
            .with_no_units();
        self.job("StartTransientUnit", body, &unit.name)
    }

    /// Stops the unit, which is no error when there is none, and has systemd forget it.
    pub fn stop(&mut self, name: &str) -> Result<(), Error> {
        self.bus.begin(self.deadline);
        self.watch_jobs(name);
        let body = Body::default().with_string(name).with_string("replace");
        match self.job("StopUnit", body, name) {
            Err(BusError::Refused { name, .. }) if name == NO_SUCH_UNIT => return Ok(()),
            // Another stop was faster, or it has ended by itself.
            Err(BusError::Job(result)) => log::debug!("stop unit {name}: {result}"),
            other => other.map_err(self.failed("stop", name))?,
        }
        self.reset_failed(name);
        Ok(())
    }

    /// Moves a process into the unit's cgroup, or into the one `below` it.
    pub fn attach(&mut self, name: &str, below: &Path, pid: u32) -> Result<(), Error> {
        self.bus.begin(self.deadline);
        let below = below.to_str().filter(|below| !below.is_empty());
        let below = below.map(|below| format!("/{below}")).unwrap_or_default();
        let body = Body::default().with_string(name).with_string(&below).with(&pids(pid).value);
        let attached = self.bus.call(MANAGER, "AttachProcessesToUnit", body, &mut |_| {});
        attached.map(drop).map_err(self.failed("move a process into", name))
    }

    /// Sets properties of a unit that is there, until it ends.
    pub fn set_properties(&mut self, name: &str, properties: &[Property]) -> Result<(), Error> {
        self.bus.begin(self.deadline);
        let mut with_optional = true;
        let set = loop {
            let asked = asked(properties, with_optional);
            let body = Body::default().with_string(name).with(&true.into()).with_properties(&asked);
            match self.bus.call(MANAGER, "SetUnitProperties", body, &mut |_| {}) {
                Err(BusError::Refused { name, .. })
                    if with_optional && NOT_KNOWN.contains(&name.as_str()) =>
                {
                    with_optional = false;
                }
                other => break other.map(drop),
            }
        };
        set.map_err(self.failed("set the properties of", name))
    }

    /// Before a job is asked for, or its end may be missed.
    fn watch_jobs(&mut self, name: &str) {
        self.bus.add_match(&format!(
            "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',\
             interface='{MANAGER}',member='JobRemoved',arg2='{name}'"
        ));
    }

    /// Calls what makes a job for the unit, and waits for the job's end.
    fn job(&mut self, member: &str, body: Body, unit: &str) -> Result<(), BusError> {
        let mut ended = Vec::new();
        let reply =
            self.bus.call(MANAGER, member, body, &mut |signal| ended.extend(job_end(signal)))?;
        let job = reply.arguments().string().ok_or_else(|| self.bus.garbled("a job"))?;
        let mut ended = ended.into_iter();
        loop {
            let end = match ended.next() {
                Some(end) => Some(end),
                None => job_end(&self.bus.signal()?),
            };
            match end {
                Some((ended, of, result)) if ended == job && of == unit => {
                    return if result == "done" { Ok(()) } else { Err(BusError::Job(result)) };
                }
                _ => {}
            }
        }
    }

    /// It does not matter when there is nothing to reset.
    fn reset_failed(&mut self, name: &str) {
        let body = Body::default().with_string(name);
        if let Err(error) = self.bus.call(MANAGER, "ResetFailedUnit", body, &mut |_| {}) {
            log::debug!("reset unit {name}: {error}");
        }
    }

    fn failed(&self, action: &str, unit: &str) -> impl FnOnce(BusError) -> Error + use<> {
        failed(&format!("{action} unit {unit}"), self.deadline)
    }
}

fn asked(properties: &[Property], with_optional: bool) -> Vec<&Property> {
    properties.iter().filter(|property| with_optional || !property.optional).collect()
}

/// Job, unit and result of a `JobRemoved`.
fn job_end(signal: &Message) -> Option<(String, String, String)> {
    if signal.interface != MANAGER || signal.member != "JobRemoved" || signal.signature != "uoss" {
        return None;
    }
    let mut arguments = signal.arguments();
    arguments.u32()?;
    let mut next = || arguments.string().map(str::to_owned);
    Some((next()?, next()?, next()?))
}

fn failed(action: &str, deadline: Duration) -> impl FnOnce(BusError) -> Error + use<> {
    let action = action.to_owned();
    move |source| match source {
        BusError::Timeout { address } => Error::Timeout {
            what: format!("systemd to {action} (asked over {address})"),
            seconds: deadline.as_secs(),
        },
        source => Error::Systemd { action, source },
    }
}

/// `sd_booted(3)`.
fn has_booted() -> bool {
    std::path::Path::new("/run/systemd/system").is_dir()
}

/// Whose systemd a caller with these ids asks: root of the initial user namespace process 1, everyone else its own.
pub(crate) fn manager_of_caller() -> Manager {
    if crate::host::is_rootless() { Manager::User } else { Manager::System }
}
