//! Where the time of a start goes: phases of the runtime and ops of init, as trace-event JSON.
//!
//! The file opens in Perfetto and in chrome://tracing (the "JSON Array Format" of the Trace Event specification).
//!
//! Runs in: runtime.

use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::error::Error;

/// Collects events while an operation runs, and tells the `log` crate of each at level debug.
#[derive(Debug, Default)]
pub struct Trace {
    events: Mutex<Vec<Event>>,
}

/// One "complete" event (`ph` X).
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Event {
    name: String,
    cat: &'static str,
    ph: &'static str,
    /// Microseconds of `CLOCK_MONOTONIC`.
    ts: f64,
    /// Microseconds.
    dur: f64,
    pid: u32,
    tid: u32,
}

/// A phase that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Span<'a> {
    trace: Option<&'a Trace>,
    name: &'static str,
    start: Duration,
}

impl Trace {
    /// An empty trace.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes all events to the file at `to`, which is made or replaced.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, to: &Path) -> Result<(), Error> {
        let events =
            self.events.lock().map_or_else(|poisoned| poisoned.into_inner().clone(), |e| e.clone());
        serde_json::to_vec(&events)
            .map_err(io::Error::from)
            .and_then(|json| std::fs::write(to, json))
            .map_err(|source| Error::State {
                action: "write the trace to",
                path: to.into(),
                source,
            })
    }

    /// Adds an op of init, with its times on `CLOCK_MONOTONIC` in nanoseconds.
    pub(crate) fn op(&self, name: String, start: u64, end: u64) {
        self.add(name, "init", Duration::from_nanos(start), Duration::from_nanos(end));
    }

    fn add(&self, name: String, cat: &'static str, start: Duration, end: Duration) {
        log::debug!("{cat}: {name}: {} µs", end.saturating_sub(start).as_micros());
        let event = Event {
            name,
            cat,
            ph: "X",
            ts: start.as_secs_f64() * 1e6,
            dur: end.saturating_sub(start).as_secs_f64() * 1e6,
            pid: std::process::id(),
            tid: u32::from(cat == "init"),
        };
        match self.events.lock() {
            Ok(mut events) => events.push(event),
            Err(poisoned) => poisoned.into_inner().push(event),
        }
    }
}

impl<'a> Span<'a> {
    /// Begins a phase; without a trace it costs nothing.
    pub fn begin(trace: Option<&'a Trace>, name: &'static str) -> Self {
        Self { trace, name, start: if trace.is_some() { now() } else { Duration::ZERO } }
    }
}

impl Drop for Span<'_> {
    fn drop(&mut self) {
        if let Some(trace) = self.trace {
            trace.add(self.name.to_owned(), "runtime", self.start, now());
        }
    }
}

fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::try_from(time).unwrap_or_default()
}
