//! Samples become figures.
//!
//! Runs in: any process.

use serde_json::{Value, json};

use super::meter::Sample;
use super::workload::Lane;

/// The spread of one quantity.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spread {
    pub min: u64,
    pub p50: u64,
    pub p99: u64,
}

impl Spread {
    pub fn of(values: impl Iterator<Item = u64>) -> Self {
        let mut sorted: Vec<u64> = values.collect();
        sorted.sort_unstable();
        // The nearest rank.
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied().unwrap_or(0)
        };
        Self { min: at(0), p50: at(50), p99: at(99) }
    }

    fn json(self) -> Value {
        json!({ "min": self.min, "p50": self.p50, "p99": self.p99 })
    }
}

/// What one contender needed for one workload.
#[derive(Debug, Clone)]
pub struct Figures {
    pub contender: String,
    pub samples: usize,
    /// What went wrong, of rounds that are not counted.
    pub errors: Vec<String>,
    /// What is different from the other contenders.
    pub note: Option<String>,
    /// Nanoseconds; of all that was started at once until the last has ended.
    pub wall: Spread,
    /// Nanoseconds of each of those that were started at once.
    pub each: Option<Spread>,
    /// Nanoseconds of each of several commands that follow each other.
    pub steps: Vec<Spread>,
    /// Microseconds.
    pub cpu: Spread,
    pub faults: Spread,
    /// KiB.
    pub peak: Spread,
}

impl Figures {
    pub fn new(contender: &str, lane: &Lane, samples: &[Sample], errors: Vec<String>) -> Self {
        let of = |what: fn(&Sample) -> u64| Spread::of(samples.iter().map(what));
        let steps = lane.request.steps().len();
        let is_parallel = lane.request.is_parallel();
        let step = |index| Spread::of(samples.iter().filter_map(|it| it.steps.get(index).copied()));
        let all = || Spread::of(samples.iter().flat_map(|it| it.steps.iter().copied()));
        Self {
            contender: contender.to_owned(),
            samples: samples.len(),
            errors,
            note: lane.note.clone(),
            wall: of(|it| it.wall),
            each: (is_parallel && steps > 1).then(all),
            steps: if is_parallel || steps == 1 {
                Vec::new()
            } else {
                (0..steps).map(step).collect()
            },
            cpu: of(|it| it.user + it.system),
            faults: of(|it| it.faults),
            peak: of(|it| it.peak),
        }
    }

    /// It could not even be prepared.
    pub fn failed(contender: &str, error: String) -> Self {
        Self {
            contender: contender.to_owned(),
            samples: 0,
            errors: vec![error],
            note: None,
            wall: Spread::default(),
            each: None,
            steps: Vec::new(),
            cpu: Spread::default(),
            faults: Spread::default(),
            peak: Spread::default(),
        }
    }

    /// Whether both did the same work.
    pub fn is_comparable(&self, base: &Self) -> bool {
        self.note == base.note
    }

    pub fn json(&self) -> Value {
        json!({
            "contender": self.contender,
            "samples": self.samples,
            "errors": self.errors,
            "note": self.note,
            "wall_ns": self.wall.json(),
            "each_ns": self.each.map(Spread::json),
            "steps_ns": self.steps.iter().map(|it| it.json()).collect::<Vec<_>>(),
            "cpu_us": self.cpu.json(),
            "page_faults": self.faults.json(),
            "peak_kib": self.peak.json(),
        })
    }
}

/// Milliseconds with two digits behind the point.
#[expect(clippy::cast_precision_loss, reason = "for people to read")]
pub fn milliseconds(nanoseconds: u64) -> String {
    format!("{:.2}", nanoseconds as f64 / 1e6)
}

/// `a` in units of `b`.
#[expect(clippy::cast_precision_loss, reason = "for people to read")]
pub fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_takes_the_nearest_rank() {
        let of = |values: &[u64]| {
            let spread = Spread::of(values.iter().copied());
            (spread.min, spread.p50, spread.p99)
        };
        assert_eq!(of(&[]), (0, 0, 0));
        assert_eq!(of(&[7]), (7, 7, 7));
        assert_eq!(of(&[4, 1, 3, 2]), (1, 2, 4));
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(of(&hundred), (1, 50, 99));
    }
}
