//! The tables of docs/performance.md.
//!
//! Runs in: any process.

use super::counts::{self, Counts};
use super::figures::{Figures, milliseconds, ratio};
use super::report::base;
use super::results::Results;

pub fn tables(results: &Results) -> String {
    let host = &results.host;
    let mut text =
        format!("{}; load before: {}. {}.\n", host.line(), host.load, host.versions.join(", "));
    text += "\n### Wall time\n\nMilliseconds: the least, the median; the ratio of the least to crun's, the ratio of the medians.\n\n";
    text += &by_workload(results, |one, base| Some(cell(one, base)));
    text += "\n### Processor time\n\nMilliseconds of all processes, the median; the ratio to crun's.\n\n";
    text += &by_workload(results, |one, base| {
        let (own, other) = (one.cpu.p50, base.cpu.p50);
        let time = milliseconds(own * 1000);
        Some(if one.is_comparable(base) {
            format!("{time} ({:.2})", ratio(own, other))
        } else {
            time
        })
    });
    text += "\n### Many at once\n\nMilliseconds of each `run`: the median, the 99th percentile; errors, if there were any.\n\n";
    text += &by_workload(results, |one, _| {
        let each = one.each?;
        let errors = one.errors.len();
        let errors = if errors > 0 { format!("; {errors} rounds failed") } else { String::new() };
        Some(format!("{}, {}{errors}", milliseconds(each.p50), milliseconds(each.p99)))
    });
    text += &counted(results);
    text += &notes(results);
    text
}

fn cell(one: &Figures, base: &Figures) -> String {
    let (least, middle) = (milliseconds(one.wall.min), milliseconds(one.wall.p50));
    if !one.is_comparable(base) {
        return format!("{least}, {middle}");
    }
    let (by_least, by_middle) =
        (ratio(one.wall.min, base.wall.min), ratio(one.wall.p50, base.wall.p50));
    format!("{least}, {middle} ({by_least:.2}, {by_middle:.2})")
}

/// A table of the workloads for which somebody has such a cell.
fn by_workload(results: &Results, cell: impl Fn(&Figures, &Figures) -> Option<String>) -> String {
    let mut text = head(results, "");
    for (workload, figures) in &results.workloads {
        let Some(base) = base(figures) else { continue };
        let cells: Vec<_> = results
            .contenders
            .iter()
            .map(|label| {
                let one = figures.iter().find(|it| it.contender == *label)?;
                if one.samples == 0 { Some("failed".to_owned()) } else { cell(one, base) }
            })
            .collect();
        if cells.iter().any(Option::is_some) {
            text += &row(workload.what, cells.into_iter());
        }
    }
    text
}

fn head(results: &Results, first: &str) -> String {
    let labels = results.contenders.join(" | ");
    format!("| {first} | {labels} |\n|---{}|\n", "|---".repeat(results.contenders.len()))
}

fn row(name: &str, cells: impl Iterator<Item = Option<String>>) -> String {
    let cells: Vec<_> = cells.map(|it| it.unwrap_or_else(|| "–".to_owned())).collect();
    format!("| {name} | {} |\n", cells.join(" | "))
}

fn counted(results: &Results) -> String {
    if results.counts.is_empty() {
        return String::new();
    }
    let mut text = "\n### Counted\n\n".to_owned() + &head(results, "");
    for (name, index) in [("run", 0), ("exec", 2), ("state", 3)] {
        let of = |label: &String| {
            let (_, figures) = results.workloads.iter().find(|(it, _)| it.name == name)?;
            figures.iter().find(|it| it.contender == *label && it.samples > 0)
        };
        let labels = || results.contenders.iter();
        let faults = labels().map(|it| Some(of(it)?.faults.p50.to_string()));
        text += &row(&format!("page faults of `{name}`"), faults);
        if index == 0 {
            let peaks = labels().map(|it| Some(of(it)?.peak.p50.to_string()));
            text += &row("largest process of `run`, KiB", peaks);
        }
    }
    for (name, value) in counts::ROWS {
        let of = |label: &String| {
            let one: &Counts = results.counts.iter().find(|it| it.contender == *label)?;
            value(one).map(|number| number.to_string())
        };
        text += &row(name, results.contenders.iter().map(of));
    }
    text
}

/// What is different for one of them, errors, and the VM's kernel.
fn notes(results: &Results) -> String {
    let mut text = String::new();
    for (workload, figures) in &results.workloads {
        for one in figures {
            if let Some(note) = &one.note {
                text += &format!("- {}, {}: {note}.\n", workload.what, one.contender);
            }
            if !one.errors.is_empty() {
                let (count, all) = (one.errors.len(), one.errors.len() + one.samples);
                text += &format!(
                    "- {}, {}: {count} of {all} rounds failed.\n",
                    workload.what, one.contender
                );
            }
        }
    }
    if let Some(kernel) = &results.vm_kernel {
        text += &format!(
            "- What a container is charged with and the smallest memory.max: in the VM, Linux {kernel}.\n"
        );
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}
