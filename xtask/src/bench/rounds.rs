//! The rounds of one workload: every contender once, one after the other, in an order that rotates.
//!
//! Runs in: any process.

use super::contender::Contender;
use super::figures::Figures;
use super::meter::Sample;
use super::scene::Scene;
use super::workload::{Lane, Workload};

/// A contender in the middle of it.
struct Runner<'a> {
    contender: &'a Contender,
    lane: Lane,
    samples: Vec<Sample>,
    errors: Vec<String>,
}

impl Runner<'_> {
    /// The first round warms the caches and counts for nothing but its errors.
    fn turn(&mut self, scene: &mut Scene, counts: bool) {
        match scene.measure(self.lane.user, &self.lane.request) {
            Ok(sample) if counts => self.samples.push(sample),
            Ok(_) => {}
            Err(error) => {
                self.errors.push(format!("{error:#}"));
                // What is half made must not stand in the way of the next one.
                scene.force(self.contender);
            }
        }
    }
}

/// Those who cannot be prepared, or fail in the first round, are in the result with their error and without samples.
pub fn measure(
    scene: &mut Scene,
    contenders: &[Contender],
    workload: &Workload,
    rounds: u32,
) -> Vec<Figures> {
    let (mut runners, mut failed) = (Vec::new(), Vec::new());
    for contender in contenders {
        match (workload.lane)(scene, contender, workload.count) {
            Ok(Some(lane)) => {
                let (samples, errors) = (Vec::new(), Vec::new());
                runners.push(Runner { contender, lane, samples, errors });
            }
            Ok(None) => {}
            Err(error) => failed.push(Figures::failed(&contender.label, format!("{error:#}"))),
        }
    }
    for round in 0..=rounds as usize {
        let count = runners.len();
        for turn in 0..count {
            if let Some(runner) = runners.get_mut((turn + round) % count) {
                runner.turn(scene, round > 0);
            }
        }
        let (fit, unfit) = runners.into_iter().partition(|it| round > 0 || it.errors.is_empty());
        runners = fit;
        failed.extend(unfit.into_iter().map(|it: Runner<'_>| it.figures()));
    }
    let mut figures: Vec<_> = runners.into_iter().map(Runner::figures).collect();
    figures.extend(failed);
    figures
}

impl Runner<'_> {
    fn figures(self) -> Figures {
        Figures::new(&self.contender.label, &self.lane, &self.samples, self.errors)
    }
}
