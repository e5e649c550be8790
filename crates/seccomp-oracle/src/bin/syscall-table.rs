//! Writes `crates/libcontainer/src/seccomp/table.rs`: the names and numbers of system calls.
//!
//! `cargo run -p seccomp-oracle --bin syscall-table -- DIR > crates/libcontainer/src/seccomp/table.rs`, where DIR is the
//! `src` directory of the crate linux-raw-sys (in cargo's registry: rustix depends on it), whose constants bindgen made
//! from the headers that the kernel installs for user space. For what is newer than the crate there is [`NEWER`].
//!
//! Runs in: any process.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::{env, fs, io};

/// The columns of the table, by the crate's names of modules.
const COLUMNS: [&str; 6] = ["x86_64", "x86", "x32", "aarch64", "arm", "riscv64"];

/// `__X32_SYSCALL_BIT`: the table has the numbers without it.
const X32_BIT: u32 = 0x4000_0000;

/// `__ARM_NR_BASE`.
const ARM_PRIVATE: u32 = 0x000f_0000;

/// What kernels later than the headers of linux-raw-sys 0.12.1 (Linux 6.17) have, from the `*.tbl` files of Linux 7.1: name,
/// number, the columns that have it.
const NEWER: [(&str, u32, &[&str]); 3] = [
    ("uprobe", 336, &["x86_64", "x32"]),
    ("listns", 470, &COLUMNS),
    ("rseq_slice_yield", 471, &COLUMNS),
];

/// Constants that look like calls and are none.
const NO_CALLS: [&str; 7] = [
    "SYSCALL_BASE",
    "OABI_SYSCALL_BASE",
    "SYSCALL_MASK",
    "syscalls",
    "syscall_max",
    "Linux",
    "Linux_syscalls",
];

type Table = BTreeMap<String, [Option<u32>; COLUMNS.len()]>;

fn main() -> io::Result<()> {
    let Some(dir) = env::args_os().nth(1) else {
        return Err(io::Error::other("usage: syscall-table LINUX_RAW_SYS_SRC"));
    };
    let (table, elsewhere) = read(Path::new(&dir))?;
    io::stdout().write_all(print(&table, &elsewhere).as_bytes())
}

/// The calls of our architectures, and the names that only others have.
fn read(dir: &Path) -> io::Result<(Table, BTreeSet<String>)> {
    let mut table = Table::new();
    let mut elsewhere = BTreeSet::new();
    for module in fs::read_dir(dir)? {
        let module = module?;
        let Ok(text) = fs::read_to_string(module.path().join("general.rs")) else {
            continue;
        };
        let column = COLUMNS.iter().position(|name| module.file_name() == *name);
        for (name, number) in text.lines().filter_map(constant) {
            match column {
                Some(column) => set(&mut table, name, column, number),
                None => drop(elsewhere.insert(name.to_owned())),
            }
        }
    }
    for (name, number, columns) in NEWER {
        for column in (0..COLUMNS.len()).filter(|column| columns.contains(&COLUMNS[*column])) {
            set(&mut table, name, column, number);
        }
    }
    elsewhere.retain(|name| !table.contains_key(name));
    Ok((table, elsewhere))
}

fn set(table: &mut Table, name: &str, column: usize, number: u32) {
    table.entry(name.to_owned()).or_default()[column] = Some(number & !X32_BIT);
}

/// `pub const __NR_read: u32 = 0;`, and the private calls of arm with their own prefix.
fn constant(line: &str) -> Option<(&str, u32)> {
    let line = line.strip_prefix("pub const ")?;
    let line = line.strip_prefix("__NR_").or_else(|| line.strip_prefix("__ARM_NR_"))?;
    let (name, number) = line.strip_suffix(';')?.split_once(": u32 = ")?;
    let is_call = name != "BASE" && !NO_CALLS.contains(&name) && !name.ends_with("_Linux");
    Some((name, number.parse().ok()?)).filter(|_| is_call)
}

fn print(table: &Table, elsewhere: &BTreeSet<String>) -> String {
    let mut text = format!(
        "\
//! The names and numbers of system calls, up to Linux 7.1. Facts of the kernel's headers, generated: see
//! `crates/seccomp-oracle/src/bin/syscall-table.rs`.
//!
//! Runs in: any process.

use super::arch::{{Entry, entries}};

/// The architecture does not have the call.
pub(super) const NO: u16 = u16::MAX;

/// Added to the private calls of arm, whose numbers begin with 0xf0000.
pub(super) const ARM: u16 = 0x8000;

/// Sorted by name; the numbers in the order of `Abi`: {}. x32 without its bit.
#[rustfmt::skip]
pub(super) static CALLS: [Entry; {}] = entries([
",
        COLUMNS.join(", "),
        table.len(),
    );
    let rows: Vec<String> = table.iter().map(|(name, numbers)| row(name, numbers)).collect();
    for pair in rows.chunks(2) {
        writeln_to(&mut text, &format!("    {}", pair.join(" ")));
    }
    text.push_str(
        "]);

/// Sorted: calls that only architectures have for which there is no column.
#[rustfmt::skip]
",
    );
    writeln_to(&mut text, &format!("pub(super) static ELSEWHERE: [&str; {}] = [", elsewhere.len()));
    let names: Vec<String> = elsewhere.iter().map(|name| format!("{name:?},")).collect();
    for line in names.chunks(5) {
        writeln_to(&mut text, &format!("    {}", line.join(" ")));
    }
    text.push_str("];\n");
    text
}

fn row(name: &str, numbers: &[Option<u32>]) -> String {
    let words: Vec<String> = numbers
        .iter()
        .map(|number| match number {
            None => "NO".to_owned(),
            Some(number) if *number >= ARM_PRIVATE => format!("ARM | {}", number - ARM_PRIVATE),
            Some(number) => number.to_string(),
        })
        .collect();
    format!("({name:?}, [{}]),", words.join(", "))
}

fn writeln_to(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    writeln!(text, "{line}").unwrap_or_default();
}
