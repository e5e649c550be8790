//! All results of one bench, and their files.
//!
//! Runs in: any process.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::counts::Counts;
use super::figures::Figures;
use super::host::Host;
use super::workload::Workload;
use super::{chart, markdown};
use crate::machine;

const BEGIN: &str = "<!-- bench: written by `cargo xtask bench --write-docs` -->";
const END: &str = "<!-- /bench -->";

#[derive(Debug)]
pub struct Results {
    pub host: Host,
    /// Labels in the order of the columns.
    pub contenders: Vec<String>,
    pub workloads: Vec<(&'static Workload, Vec<Figures>)>,
    pub counts: Vec<Counts>,
    /// The kernel of the VM, when that was asked.
    pub vm_kernel: Option<String>,
}

impl Results {
    fn json(&self) -> Value {
        let workload = |(workload, figures): &(&Workload, Vec<Figures>)| {
            let figures: Vec<_> = figures.iter().map(Figures::json).collect();
            json!({ "name": workload.name, "what": workload.what, "figures": figures })
        };
        json!({
            "host": self.host.json(),
            "workloads": self.workloads.iter().map(workload).collect::<Vec<_>>(),
            "counts": self.counts.iter().map(Counts::json).collect::<Vec<_>>(),
            "vm_kernel": self.vm_kernel,
        })
    }

    /// The workloads in which one of these contenders had an error.
    pub fn failed(&self, counts: impl Fn(&String) -> bool) -> Vec<&'static str> {
        let has_failed = |(_, figures): &&(&Workload, Vec<Figures>)| {
            figures.iter().any(|it| !it.errors.is_empty() && counts(&it.contender))
        };
        self.workloads.iter().filter(has_failed).map(|(workload, _)| workload.name).collect()
    }

    /// `target/bench/results.json` and `performance.svg`.
    pub fn write(&self) -> Result<()> {
        let directory = machine::target()?.join("bench");
        fs::create_dir_all(&directory)?;
        let results = directory.join("results.json");
        fs::write(&results, format!("{:#}\n", self.json()))?;
        let svg = directory.join("performance.svg");
        fs::write(&svg, chart::draw(self))?;
        println!("\n{}\n{}", results.display(), svg.display());
        Ok(())
    }

    /// The chart of the documents, and the part of docs/performance.md between the marks.
    pub fn write_docs(&self) -> Result<()> {
        let docs = machine::workspace()?.join("docs");
        fs::write(docs.join("performance.svg"), chart::draw(self))?;
        let path = docs.join("performance.md");
        replace(&path, &markdown::tables(self))?;
        println!("{}", path.display());
        Ok(())
    }
}

fn replace(path: &Path, new: &str) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(fs::write(path, between_marks(&text, new)?)?)
}

fn between_marks(text: &str, new: &str) -> Result<String> {
    let (before, rest) = text.split_once(BEGIN).context("performance.md has no begin mark")?;
    let (_, after) = rest.split_once(END).context("performance.md has no end mark")?;
    Ok(format!("{before}{BEGIN}\n{new}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = format!("prose\n{BEGIN}\nold\n{END}\nmore\n");
        let once = between_marks(&text, "| new |\n").unwrap();
        assert_eq!(once, format!("prose\n{BEGIN}\n| new |\n{END}\nmore\n"));
        assert_eq!(between_marks(&once, "| new |\n").unwrap(), once);
        between_marks("prose", "new").unwrap_err();
    }
}
