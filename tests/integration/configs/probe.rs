//! The program that a captured configuration runs in place of its own: it prints what it is and what it sees.
//!
//! Runs in: any process.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use libtest_mimic::Failed;
use serde_json::Value;

/// Reads what the shell was executed with, not what it made of it.
const SEES: &str = r#"
sec() { echo "=== $1"; }
sec status; cat /proc/$$/status
sec environ; tr '\0' '\n' </proc/$$/environ
sec cwd; readlink /proc/$$/cwd
sec limits; cat /proc/$$/limits
sec mountinfo; cat /proc/$$/mountinfo
sec namespaces; for n in pid net ipc uts mnt cgroup; do readlink /proc/$$/ns/$n; done
sec cgroup; cat /proc/$$/cgroup
sec oom; cat /proc/$$/oom_score_adj
sec hostname; hostname
sec stdio; for f in 0 1 2; do stat -L -c '%u %g %a %t:%T' /proc/$$/fd/$f; done
sec fds; ls -1 /proc/$$/fd
sec root; if (: >/probe) 2>/dev/null; then echo writable; rm /probe; else echo not; fi
dev() { stat -c '%n|%F|%t:%T|%a|%u:%g|%N' "$1"; }
mask() { if [ -d "$1" ]; then echo "$1 $(ls -A "$1" | wc -l)"; elif [ -e "$1" ]; then echo "$1 $(head -c 9 "$1" | wc -c)"; fi; }
only() { if [ -d "$1" ]; then echo "$1 closed"; elif [ -e "$1" ]; then if (: >>"$1") 2>/dev/null; then echo "$1 open"; else echo "$1 closed"; fi; fi; }
sec dev; for f in /dev/*; do dev $f; done
"#;

/// The script for this configuration; it has the paths and keys that only this one has.
pub fn script(config: &Value) -> String {
    let linux = &config["linux"];
    let mut script = SEES.to_owned();
    let mut section = |name: &str, lines: Vec<String>| {
        // Writing to a String cannot fail.
        writeln!(script, "sec {name}\n{}", lines.join("\n")).unwrap_or_default();
    };
    section("devices", each(&linux["devices"], |it| Some(format!("dev {}", it["path"].as_str()?))));
    section("masked", each(&linux["maskedPaths"], |it| Some(format!("mask {}", it.as_str()?))));
    section("readonly", each(&linux["readonlyPaths"], |it| Some(format!("only {}", it.as_str()?))));
    let target = |it: &Value| Some(format!("dev {}", it["destination"].as_str()?));
    section("targets", each(&config["mounts"], target));
    let sysctl = linux["sysctl"].as_object().into_iter().flatten();
    section("sysctl", sysctl.map(|(key, _)| format!("echo {key} $(cat {})", file(key))).collect());
    script + "sec end\n"
}

fn each(array: &Value, line: impl Fn(&Value) -> Option<String>) -> Vec<String> {
    array.as_array().into_iter().flatten().filter_map(line).collect()
}

fn file(sysctl: &str) -> String {
    format!("/proc/sys/{}", sysctl.replace('.', "/"))
}

/// What the probe printed.
#[derive(Debug)]
pub struct Seen {
    text: String,
    sections: BTreeMap<String, String>,
}

impl Seen {
    pub fn parse(text: String) -> Result<Self, Failed> {
        let sections: BTreeMap<_, _> = text
            .split("=== ")
            .filter_map(|section| section.split_once('\n'))
            .map(|(name, lines)| (name.to_owned(), lines.to_owned()))
            .collect();
        if sections.contains_key("end") {
            Ok(Self { text, sections })
        } else {
            Err(format!("the probe did not come to its end: {text}").into())
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn section(&self, name: &str) -> &str {
        self.sections.get(name).map_or("", String::as_str)
    }

    pub fn line(&self, name: &str) -> &str {
        self.section(name).trim_end_matches('\n')
    }
}
