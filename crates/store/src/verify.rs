//! Verify: is an entry exactly what its manifest says?
//!
//! Every problem is reported, not the first: whoever repairs needs the list, and whoever reports a bug as well. Nothing is
//! followed through a link, so a swapped link cannot make foreign files look like ours.

use super::hash::hash_files;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use stigmer_bundle::{Component, EntryKind, TreePath};

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// Where, relative to the entry; `.` for the entry itself.
    pub path: String,
    /// What.
    #[serde(flatten)]
    pub kind: ProblemKind,
}

/// What can be wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum ProblemKind {
    /// It is not there.
    Missing,
    /// Its content, size or link target is another.
    Modified,
    /// It is not listed.
    Extra,
    /// Its permission bits are not those of a stored file.
    WrongMode,
    /// It is of another kind: a link where a file should be, say.
    WrongKind,
    /// It could not be checked.
    Unreadable {
        /// Why.
        reason: String,
    },
}

impl ProblemKind {
    /// Its bit in the exit code: 1 damaged, 2 missing, 4 could not be checked.
    pub fn bit(&self) -> u8 {
        match self {
            Self::Modified | Self::Extra | Self::WrongMode | Self::WrongKind => 1,
            Self::Missing => 2,
            Self::Unreadable { .. } => 4,
        }
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::Modified => f.write_str("modified"),
            Self::Extra => f.write_str("extra"),
            Self::WrongMode => f.write_str("wrong mode"),
            Self::WrongKind => f.write_str("wrong kind"),
            Self::Unreadable { reason } => write!(f, "could not be checked: {reason}"),
        }
    }
}

/// Re-hashes the entry at `root` against `component`, in parallel, and lists everything that is wrong, sorted.
pub fn verify(root: &Path, component: &Component, advance: &(dyn Fn(u64) + Sync)) -> Vec<Problem> {
    let mut check =
        Check { root, problems: Vec::new(), files: Vec::new(), digests: Vec::new(), gone: Vec::new() };
    match root.symlink_metadata() {
        Ok(meta) if meta.is_dir() => check.mode(".", &meta, true),
        Ok(_) => {
            return vec![Problem { path: ".".into(), kind: ProblemKind::WrongKind }];
        }
        Err(_) => {
            return vec![Problem { path: ".".into(), kind: ProblemKind::Missing }];
        }
    }
    for entry in &component.entries {
        check.entry(&entry.path, &entry.kind);
    }
    check.extras(component);
    check.contents(advance);
    check.problems.sort();
    check.problems
}

struct Check<'a> {
    root: &'a Path,
    problems: Vec<Problem>,
    /// Files whose look is right, with the size they must have.
    files: Vec<(PathBuf, u64)>,
    /// Their paths and digests.
    digests: Vec<(String, stigmer_bundle::Digest)>,
    /// Directories that are not there, or are something else: nothing is looked for behind them.
    gone: Vec<TreePath>,
}

impl Check<'_> {
    fn problem(&mut self, path: &str, kind: ProblemKind) {
        self.problems.push(Problem { path: path.to_owned(), kind });
    }

    fn entry(&mut self, path: &TreePath, kind: &EntryKind) {
        let name = path.as_str();
        if path.parent().is_some_and(|parent| self.gone.contains(&parent)) {
            if matches!(kind, EntryKind::Dir) {
                self.gone.push(path.clone());
            }
            return self.problem(name, ProblemKind::Missing);
        }
        let full = path.below(self.root);
        let meta = match full.symlink_metadata() {
            Ok(meta) => Some(meta),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                return self.problem(name, ProblemKind::Unreadable { reason: error.to_string() });
            }
        };
        let is_right = meta.as_ref().is_some_and(|meta| is_kind(meta, kind));
        if !is_right && matches!(kind, EntryKind::Dir) {
            self.gone.push(path.clone());
        }
        match (meta, kind) {
            (None, _) => self.problem(name, ProblemKind::Missing),
            (Some(_), _) if !is_right => self.problem(name, ProblemKind::WrongKind),
            (Some(meta), EntryKind::Dir) => self.mode(name, &meta, true),
            (Some(meta), EntryKind::File { exec, size, blake3, .. }) => {
                self.mode(name, &meta, *exec);
                if meta.len() == *size {
                    self.files.push((full, *size));
                    self.digests.push((name.to_owned(), *blake3));
                } else {
                    self.problem(name, ProblemKind::Modified);
                }
            }
            (Some(_), EntryKind::Link { target }) => match std::fs::read_link(&full) {
                Ok(found) if found == Path::new(target) => {}
                Ok(_) => self.problem(name, ProblemKind::Modified),
                Err(error) => self.problem(name, ProblemKind::Unreadable { reason: error.to_string() }),
            },
        }
    }

    fn mode(&mut self, name: &str, meta: &Metadata, exec: bool) {
        if !stigmer_platform::has_mode(meta, stigmer_platform::stored_mode(exec)) {
            self.problem(name, ProblemKind::WrongMode);
        }
    }

    /// Looks for what is not listed, in every directory that is.
    fn extras(&mut self, component: &Component) {
        let listed: BTreeSet<&str> = component.entries.iter().map(|entry| entry.path.as_str()).collect();
        let dirs = component.entries.iter().filter(|entry| matches!(entry.kind, EntryKind::Dir));
        let dirs: Vec<&TreePath> =
            dirs.map(|entry| &entry.path).filter(|path| !self.gone.contains(path)).collect();
        let places = std::iter::once((String::new(), self.root.to_owned()))
            .chain(dirs.into_iter().map(|path| (format!("{path}/"), path.below(self.root))));
        for (prefix, dir) in places.collect::<Vec<_>>() {
            let names = std::fs::read_dir(&dir).and_then(|entries| {
                entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<std::io::Result<Vec<_>>>()
            });
            match names {
                Ok(names) => {
                    for name in names {
                        let path = format!("{prefix}{}", name.to_string_lossy());
                        // A name that is no text is not listed, whatever it looks like.
                        if name.to_str().is_none() || !listed.contains(path.as_str()) {
                            self.problem(&path, ProblemKind::Extra);
                        }
                    }
                }
                Err(error) => {
                    let path = prefix.trim_end_matches('/');
                    let path = if path.is_empty() { "." } else { path };
                    self.problem(path, ProblemKind::Unreadable { reason: error.to_string() });
                }
            }
        }
    }

    fn contents(&mut self, advance: &(dyn Fn(u64) + Sync)) {
        for (found, (path, expected)) in hash_files(&self.files, advance).into_iter().zip(&self.digests) {
            let kind = match found {
                Ok(digest) if digest == *expected => continue,
                Ok(_) => ProblemKind::Modified,
                // What changed its length since we looked is being modified right now.
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData
                    ) =>
                {
                    ProblemKind::Modified
                }
                Err(error) => ProblemKind::Unreadable { reason: error.to_string() },
            };
            self.problems.push(Problem { path: path.clone(), kind });
        }
    }
}

fn is_kind(meta: &Metadata, kind: &EntryKind) -> bool {
    match kind {
        EntryKind::Dir => meta.is_dir(),
        EntryKind::File { .. } => meta.is_file(),
        EntryKind::Link { .. } => meta.is_symlink(),
    }
}
