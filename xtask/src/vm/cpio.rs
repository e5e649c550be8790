//! Writes initramfs archives: cpio, `newc` format, uncompressed (Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! Runs in: any process.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Component, Path};

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_777;

/// An archive under construction; parents are made as needed.
#[derive(Debug)]
pub struct Archive<W: Write> {
    to: W,
    inode: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    pub fn new(to: W) -> Self {
        Self { to, inode: 1, directories: BTreeSet::new() }
    }

    pub fn directory(&mut self, path: &Path) -> io::Result<()> {
        let name = relative(path)?;
        if name.is_empty() || self.directories.contains(&name) {
            return Ok(());
        }
        self.parents(path)?;
        self.entry(&name, DIRECTORY, &[])?;
        self.directories.insert(name);
        Ok(())
    }

    pub fn file(&mut self, path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
        self.parents(path)?;
        self.entry(&relative(path)?, FILE | mode, content)
    }

    pub fn link(&mut self, path: &Path, to: &str) -> io::Result<()> {
        self.parents(path)?;
        self.entry(&relative(path)?, LINK, to.as_bytes())
    }

    /// Ends the archive; another may follow in the same file.
    pub fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, &[])?;
        Ok(self.to)
    }

    fn parents(&mut self, path: &Path) -> io::Result<()> {
        path.parent().map_or(Ok(()), |parent| self.directory(parent))
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let size = u32::try_from(content.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let name_size =
            u32::try_from(name.len() + 1).map_err(|_| io::ErrorKind::InvalidFilename)?;
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.inode += 1;
        self.to.write_all(b"070701")?;
        fields.iter().try_for_each(|field| write!(self.to, "{field:08x}"))?;
        self.to.write_all(name.as_bytes())?;
        // The header has 110 bytes; name and content end at a multiple of four.
        self.zeros(1 + padding(110 + name.len() + 1))?;
        self.to.write_all(content)?;
        self.zeros(padding(content.len()))
    }

    fn zeros(&mut self, count: usize) -> io::Result<()> {
        self.to.write_all(&vec![0; count])
    }
}

fn padding(length: usize) -> usize {
    length.next_multiple_of(4) - length
}

/// The path without its leading slash, as archives have it.
fn relative(path: &Path) -> io::Result<String> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => {
            Some(name.to_str().ok_or_else(|| io::ErrorKind::InvalidFilename.into()))
        }
        _ => None,
    });
    Ok(names.collect::<io::Result<Vec<_>>>()?.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_with_nested_file_has_parents_once_and_aligned_entries() {
        let mut archive = Archive::new(Vec::new());
        archive.file(Path::new("/usr/bin/a"), 0o755, b"12345").unwrap();
        archive.link(Path::new("/usr/bin/b"), "a").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.matches("070701").count(), 5);
        assert_eq!(text.matches("usr/bin\0").count(), 1);
        assert!(text.contains("usr/bin/a\0"));
    }
}
