//! The table on the terminal.
//!
//! Runs in: any process.

use super::counts::{self, Counts};
use super::figures::{Figures, Spread, milliseconds, ratio};
use super::workload::Workload;

pub fn print_head() {
    println!(
        "\n{:<20} {:<12} {:>9} {:>9} {:>9} {:>7} {:>7} {:>8} {:>7} {:>8}",
        "workload",
        "",
        "min ms",
        "p50 ms",
        "p99 ms",
        "min:",
        "p50:",
        "cpu ms",
        "faults",
        "peak KiB"
    );
}

/// Who the ratios are to: crun, or else the first.
pub fn base(figures: &[Figures]) -> Option<&Figures> {
    let of = |label: &str| figures.iter().find(|it| it.contender == label && it.samples > 0);
    of("crun").or_else(|| figures.iter().find(|it| it.samples > 0))
}

pub fn print(workload: &Workload, figures: &[Figures]) {
    for (index, one) in figures.iter().enumerate() {
        let name = if index == 0 { workload.name } else { "" };
        if let (Some(base), true) = (base(figures), one.samples > 0) {
            line(name, one, base);
        }
        if let (Some(each), Some(base)) = (one.each, base(figures).and_then(|base| base.each)) {
            print_times("", &format!("{} each", one.contender), each, Some(base));
            println!();
        }
        if let Some(error) = one.errors.first() {
            println!("{name:<20} {:<12} {} ERRORS: {error}", one.contender, one.errors.len());
        }
    }
}

fn line(name: &str, one: &Figures, base: &Figures) {
    let base = one.is_comparable(base).then_some(base.wall);
    print_times(name, &one.contender, one.wall, base);
    println!(
        " {:>8} {:>7} {:>8} {}",
        milliseconds(one.cpu.p50 * 1000),
        one.faults.p50,
        one.peak.p50,
        one.note.as_deref().unwrap_or_default()
    );
}

fn print_times(name: &str, who: &str, one: Spread, base: Option<Spread>) {
    let ratio = |of: fn(Spread) -> u64| match base {
        Some(base) => format!("{:.3}", ratio(of(one), of(base))),
        None => "-".to_owned(),
    };
    print!(
        "{name:<20} {who:<12} {:>9} {:>9} {:>9} {:>7} {:>7}",
        milliseconds(one.min),
        milliseconds(one.p50),
        milliseconds(one.p99),
        ratio(|it| it.min),
        ratio(|it| it.p50),
    );
}

pub fn print_counts(all: &[Counts]) {
    let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |it| it.to_string());
    print!("\n{:<40}", "counted");
    all.iter().for_each(|one| print!(" {:>12}", one.contender));
    println!();
    for (name, value) in counts::ROWS {
        print!("{name:<40}");
        all.iter().for_each(|one| print!(" {:>12}", number(value(one))));
        println!();
    }
}
