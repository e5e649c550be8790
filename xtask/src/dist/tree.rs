//! The files of a release and where they go.
//!
//! Runs in: any process.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::release::Release;
use crate::manual;

/// Whose conventions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// To unpack below /usr/local: `bin`, `share`. What belongs into /etc is among the examples.
    Tarball,
    /// Debian's.
    Debian,
}

/// A file that is installed.
#[derive(Debug)]
pub struct File {
    /// Below the root of the package.
    pub path: PathBuf,
    pub mode: u32,
    pub content: Vec<u8>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Tree(pub Vec<File>);

/// Where the snippets say that corten is; in Debian's package it is elsewhere.
const LOCAL: &str = "/usr/local/bin/corten";
const DEBIAN: &str = "/usr/bin/corten";
/// Below `packaging`, and where each is read if it is put there.
const SNIPPETS: [(&str, Option<&str>); 7] = [
    ("apparmor/corten", Some("etc/apparmor.d/corten")),
    ("containers.conf.d/50-corten.conf", Some("etc/containers/containers.conf.d/50-corten.conf")),
    ("containerd/config-v2.toml", None),
    ("containerd/config-v3.toml", None),
    ("docker/daemon.json", None),
    ("systemd/corten@.service", None),
    ("systemd/user-delegate.conf", None),
];
const DOCUMENTS: [&str; 4] = ["README.md", "SECURITY.md", "CHANGELOG.md", "LICENSE"];

impl Tree {
    pub fn of(
        release: &Release,
        layout: Layout,
        program: &Path,
        bill: &Path,
        notices: &str,
    ) -> Result<Self> {
        let mut tree = Self::default();
        let place = Places::of(layout);
        tree.add(place.bin.join("corten"), 0o755, read(program)?);
        for page in manual::pages()? {
            tree.add(place.share.join("man/man8").join(page.file), 0o644, page.text);
        }
        for (shell, text) in manual::completions() {
            tree.add(place.share.join(layout.completion(shell)), 0o644, text);
        }
        tree.documents(release, layout, &place)?;
        tree.add(place.documents.join("NOTICES"), 0o644, notices.as_bytes().to_vec());
        tree.add(place.documents.join("corten.cdx.json"), 0o644, read(bill)?);
        tree.snippets(release, layout, &place)?;
        Ok(tree)
    }

    pub fn add(&mut self, path: impl Into<PathBuf>, mode: u32, content: Vec<u8>) {
        self.0.push(File { path: path.into(), mode, content });
    }

    /// In Debian's package the changelog and the licence have other names and forms.
    fn documents(&mut self, release: &Release, layout: Layout, place: &Places) -> Result<()> {
        let others =
            |name: &&&str| layout == Layout::Tarball || !["CHANGELOG.md", "LICENSE"].contains(name);
        for name in DOCUMENTS.iter().filter(others) {
            self.add(place.documents.join(name), 0o644, read(&release.source.join(name))?);
        }
        Ok(())
    }

    fn snippets(&mut self, release: &Release, layout: Layout, place: &Places) -> Result<()> {
        for (name, system) in SNIPPETS {
            let text =
                fs::read_to_string(release.source.join("packaging").join(name)).context(name)?;
            let (path, text) = match (layout, system) {
                (Layout::Debian, Some(system)) => (PathBuf::from(system), text),
                (Layout::Debian, None) => (place.examples.join(name), text.replace(LOCAL, DEBIAN)),
                (Layout::Tarball, _) => (place.examples.join(name), text),
            };
            self.add(path, 0o644, text.into_bytes());
        }
        Ok(())
    }

    /// Writes them below a directory, all with the mode that is said and the directories with 755, whatever the umask.
    pub fn write(&self, directory: &Path) -> Result<()> {
        for file in &self.0 {
            let path = directory.join(&file.path);
            let parent = path.parent().context("a file has a directory")?;
            fs::create_dir_all(parent)?;
            for above in parent.ancestors().take_while(|above| above.starts_with(directory)) {
                fs::set_permissions(above, fs::Permissions::from_mode(0o755))?;
            }
            fs::write(&path, &file.content).with_context(|| path.display().to_string())?;
            fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
        }
        Ok(())
    }
}

struct Places {
    bin: PathBuf,
    share: PathBuf,
    documents: PathBuf,
    examples: PathBuf,
}

impl Places {
    fn of(layout: Layout) -> Self {
        let prefix = PathBuf::from(if layout == Layout::Debian { "usr" } else { "" });
        let share = prefix.join("share");
        let documents = share.join("doc/corten");
        Self { bin: prefix.join("bin"), examples: documents.join("examples"), documents, share }
    }
}

impl Layout {
    /// Below `share`: where the shell looks.
    fn completion(self, shell: manual::Shell) -> &'static str {
        match (shell, self) {
            (manual::Shell::Zsh, Self::Debian) => "zsh/vendor-completions/_corten",
            (manual::Shell::Zsh, Self::Tarball) => "zsh/site-functions/_corten",
            (manual::Shell::Fish, _) => "fish/vendor_completions.d/corten.fish",
            _ => "bash-completion/completions/corten",
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| file.display().to_string())
}
