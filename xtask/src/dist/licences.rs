//! The notices of all that is linked into the program: their licences want them to go with it.
//!
//! Runs in: any process.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::crates::Parts;

const HEAD: &str = "\
corten is one static program. Beside corten's own sources, which are under the Apache License 2.0, it contains what is listed
here, under these licences. Their texts and notices follow, each once.

";
/// How the files begin that authors put their terms into.
const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];

/// One text with all of them.
pub fn text(parts: &Parts) -> Result<String> {
    let mut out = HEAD.to_owned();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for ((name, version), part) in parts.linked().filter(|(_, part)| part.checksum.is_some()) {
        let name = format!("{name} {version}");
        writeln!(out, "  {name}: {}", part.licence)?;
        for file in files(&part.directory)? {
            texts.entry(read(&file)?).or_default().push(name.clone());
        }
    }
    for part in &parts.foreign {
        let name = format!("{} {}", part.name, part.version);
        writeln!(out, "  {name}: {}", part.licence)?;
        for file in &part.notices {
            texts.entry(read(file)?).or_default().push(name.clone());
        }
    }
    for (text, names) in texts {
        write!(out, "\n{}\n{}\n\n{text}\n", "=".repeat(100), names.join(", "))?;
    }
    Ok(out)
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        file.is_file() && NAMES.iter().any(|begin| name.starts_with(begin))
    });
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| file.display().to_string())?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let text = if file.extension().is_some_and(|end| end == "html") { plain(&text) } else { text };
    let lines = text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    Ok(lines.trim_matches('\n').to_owned())
}

/// A page of rustc's documentation without its tags; no more than one empty line after another.
fn plain(page: &str) -> String {
    let mut text = String::new();
    for (index, part) in page.split('<').enumerate() {
        // What was before the first `<` is text; of all others, what is after their `>`.
        text.push_str(if index == 0 {
            part
        } else {
            part.split_once('>').map_or("", |(_, rest)| rest)
        });
    }
    for (escaped, character) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ] {
        text = text.replace(escaped, character);
    }
    let mut lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.dedup();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_text() {
        let page = "<html>\n<p class=\"a\">Copyright &lt;a@b&gt; &amp; others</p>\n\n\n\n<b>MIT</b></html>";
        assert_eq!(plain(page), "\nCopyright <a@b> & others\n\nMIT");
    }
}
