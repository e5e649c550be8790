//! The chart: a group of bars for each workload, in units of crun's time. Colours that are seen on white and on black.
//!
//! Runs in: any process.

use super::figures::{Figures, milliseconds, ratio};
use super::report::base;
use super::results::Results;

const SHOWN: &[&str] = &[
    "run",
    "create-start-delete",
    "exec",
    "state",
    "list",
    "docker",
    "pod",
    "masks",
    "rootless",
    "at-once-64",
    "mounts-5000",
];
const COLOURS: &[&str] = &["#2f81f7", "#8b949e", "#bc8c5a", "#3fa66b", "#a371f7", "#d1678a"];
const TEXT: &str = "#7d8590";
const LEFT: f64 = 300.0;
const WIDTH: f64 = 900.0;
/// Where a bar that is longer is cut off.
const MOST: f64 = 1.6;
const BAR: f64 = 11.0;

pub fn draw(results: &Results) -> String {
    let mut body = legend(results);
    let mut y = 64.0;
    for name in SHOWN {
        let Some((workload, figures)) = results.workloads.iter().find(|(it, _)| it.name == *name)
        else {
            continue;
        };
        let Some(base) = base(figures) else { continue };
        let begin = y;
        for (index, label) in results.contenders.iter().enumerate() {
            let one = figures.iter().find(|it| it.contender == *label && it.samples > 0);
            let one = one.filter(|it| it.is_comparable(base));
            if let Some(one) = one {
                body += &bar(y, index, one, base);
                y += BAR + 2.0;
            }
        }
        let what = workload.what.replace('`', "");
        body += &text(LEFT - 10.0, f64::midpoint(begin, y) + 2.0, "end", 12, &what);
        y += 12.0;
    }
    // One unit: crun.
    body += &format!(
        "<line x1=\"{0:.1}\" y1=\"54\" x2=\"{0:.1}\" y2=\"{1:.1}\" stroke=\"{TEXT}\" stroke-dasharray=\"3 3\"/>\n",
        x(1.0),
        y - 6.0
    );
    for line in [results.host.line(), results.host.versions.join(", ")] {
        y += 16.0;
        body += &text(10.0, y, "start", 11, &line);
    }
    frame(y + 14.0, &body)
}

fn frame(height: f64, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" height=\"{height:.0}\" \
         font-family=\"system-ui, sans-serif\" role=\"img\">\n<title>Time of the same work, in units of crun's</title>\n{body}</svg>\n"
    )
}

fn legend(results: &Results) -> String {
    let title =
        "Time of the same work, the least of all rounds, in units of crun's; shorter is better";
    let mut body = text(10.0, 20.0, "start", 14, title);
    for (index, label) in results.contenders.iter().enumerate() {
        let left = LEFT + f64::from(u32::try_from(index).unwrap_or(0)) * 110.0;
        body += &format!(
            "<rect x=\"{left:.1}\" y=\"34\" width=\"11\" height=\"11\" rx=\"2\" fill=\"{}\"/>\n",
            colour(index)
        );
        body += &text(left + 17.0, 44.0, "start", 12, label);
    }
    body
}

/// Where a ratio is on the axis.
fn x(value: f64) -> f64 {
    LEFT + value / MOST * (WIDTH - LEFT - 140.0)
}

fn bar(y: f64, index: usize, one: &Figures, base: &Figures) -> String {
    let value = ratio(one.wall.min, base.wall.min);
    let end = x(value.min(MOST));
    let width = (end - LEFT).max(1.0);
    let mut drawn = format!(
        "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{}\"/>\n",
        colour(index)
    );
    if value > MOST {
        // Cut off: a gap near its end.
        drawn += &format!(
            "<path d=\"M{0:.1} {1:.1} l6 -{2} h4 l-6 {2} z\" fill=\"{TEXT}\"/>\n",
            end - 22.0,
            y + BAR + 1.0,
            BAR + 2.0
        );
    }
    let label = format!("{value:.2} × · {} ms", milliseconds(one.wall.min));
    drawn + &text(end + 6.0, y + BAR - 2.0, "start", 10, &label)
}

fn colour(index: usize) -> &'static str {
    COLOURS.get(index % COLOURS.len()).copied().unwrap_or(TEXT)
}

fn text(x: f64, y: f64, anchor: &str, size: u32, what: &str) -> String {
    let what = what.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" fill=\"{TEXT}\">{what}</text>\n"
    )
}
