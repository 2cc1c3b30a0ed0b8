//! Repair: only what is damaged is written again, from the executable itself, as fresh inodes.
//!
//! Whoever still runs from the entry keeps the inodes it has open, so nothing changes under a running process; and
//! a link that was put where a file or directory should be is moved away and never written through.

use super::remove::{remove_tree, to_trash};
use super::stage::Stage;
use super::{Place, Problem, ProblemKind, Progress, StoreError, verify};
use fs_err as fs;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use stigmer_bundle::{Carrier, Component, EntryKind, TreePath, unpack};

/// Repairs `problems` of the entry at `place` and verifies it again. The caller holds the entry's lock and stamps it after.
pub(super) fn fix(
    place: &Place,
    carrier: &Carrier,
    component: &Component,
    problems: &[Problem],
    progress: &dyn Progress,
) -> Result<(), StoreError> {
    // Until it is stamped again every start comes here and waits for the lock.
    match fs::remove_file(place.stamp()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut bench = Bench { place, root: place.entry(), trash: Vec::new() };
    let outcome = bench.fix(carrier, component, problems, progress);
    for trash in bench.trash {
        let _ = remove_tree(&trash);
    }
    outcome?;
    match verify(&place.entry(), component, &|_| ()).into_iter().next() {
        None => Ok(()),
        Some(Problem { path, kind }) => {
            Err(StoreError::StillDamaged { path: place.entry().join(path), kind })
        }
    }
}

struct Bench<'a> {
    place: &'a Place,
    root: PathBuf,
    trash: Vec<PathBuf>,
}

impl Bench<'_> {
    fn fix(
        &mut self,
        carrier: &Carrier,
        component: &Component,
        problems: &[Problem],
        progress: &dyn Progress,
    ) -> Result<(), StoreError> {
        let mut wrong: BTreeMap<&str, Vec<&ProblemKind>> = BTreeMap::new();
        for problem in problems {
            wrong.entry(problem.path.as_str()).or_default().push(&problem.kind);
        }
        self.open(&self.root.clone())?;
        let mut files = HashSet::new();
        for entry in &component.entries {
            let Some(kinds) = wrong.get(entry.path.as_str()) else {
                continue;
            };
            let full = entry.path.below(&self.root);
            if kinds.iter().all(|kind| **kind == ProblemKind::WrongMode) {
                continue; // All permission bits are set in the end.
            }
            self.open_parent(&full)?;
            match &entry.kind {
                EntryKind::Dir => self.make_dir(&full)?,
                EntryKind::File { .. } => {
                    files.insert(entry.path.clone());
                }
                EntryKind::Link { target } => {
                    self.clear(&full)?;
                    stigmer_platform::symlink(Path::new(target), &full)?;
                }
            }
        }
        if problems.iter().any(|problem| problem.kind == ProblemKind::Extra) {
            self.clear_extras(component)?;
        }
        if !files.is_empty() {
            self.rewrite(carrier, component, &files, progress)?;
        }
        self.set_modes(component)?;
        Ok(())
    }

    /// Decodes `files` beside the entry and renames each into it.
    fn rewrite(
        &mut self,
        carrier: &Carrier,
        component: &Component,
        files: &HashSet<TreePath>,
        progress: &dyn Progress,
    ) -> Result<(), StoreError> {
        let stage = Stage::new(self.place.root(), &self.place.temporary_prefix())?;
        for entry in &component.entries {
            if matches!(entry.kind, EntryKind::Dir) {
                fs::create_dir(entry.path.below(stage.path()))?;
            }
        }
        progress.begin(
            "repairing",
            component.files().filter(|file| files.contains(file.path)).map(|file| file.size).sum(),
        );
        let unpacked =
            unpack(carrier, component, stage.path(), &|path| files.contains(path), &|n| progress.advance(n));
        progress.end();
        unpacked?;
        for path in files {
            let full = path.below(&self.root);
            self.open_parent(&full)?;
            if fs::symlink_metadata(&full).is_ok_and(|meta| !meta.is_file()) {
                self.clear(&full)?;
            }
            fs::rename(path.below(stage.path()), full)?;
        }
        Ok(())
    }

    /// Moves everything that is not listed to trash. It is looked for again, because a problem names it for people: a name
    /// that is no text could not be found by that.
    fn clear_extras(&mut self, component: &Component) -> io::Result<()> {
        let listed: HashSet<PathBuf> =
            component.entries.iter().map(|entry| entry.path.below(&self.root)).collect();
        let dirs = component.entries.iter().filter(|entry| matches!(entry.kind, EntryKind::Dir));
        let dirs: Vec<PathBuf> = dirs.map(|entry| entry.path.below(&self.root)).collect();
        for dir in std::iter::once(self.root.clone()).chain(dirs) {
            for found in fs::read_dir(&dir)? {
                let path = found?.path();
                if !listed.contains(&path) {
                    self.open(&dir)?;
                    self.clear(&path)?;
                }
            }
        }
        Ok(())
    }

    fn make_dir(&mut self, full: &Path) -> io::Result<()> {
        match fs::symlink_metadata(full) {
            Ok(meta) if meta.is_dir() => self.open(full),
            _ => {
                self.clear(full)?;
                fs::create_dir(full)
            }
        }
    }

    /// Moves whatever is at `path` to trash.
    fn clear(&mut self, path: &Path) -> io::Result<()> {
        if fs::symlink_metadata(path).is_ok() {
            self.trash.push(to_trash(self.place.root(), path)?);
        }
        Ok(())
    }

    fn open_parent(&self, path: &Path) -> io::Result<()> {
        path.parent().map_or(Ok(()), |parent| self.open(parent))
    }

    /// Lets things be added to and taken from a directory.
    fn open(&self, dir: &Path) -> io::Result<()> {
        if dir.starts_with(&self.root) && fs::symlink_metadata(dir)?.is_dir() {
            stigmer_platform::set_mode(dir, stigmer_platform::OPEN_DIRECTORY)?;
        }
        Ok(())
    }

    fn set_modes(&self, component: &Component) -> io::Result<()> {
        for entry in component.entries.iter().rev() {
            let executable = match entry.kind {
                EntryKind::Dir => true,
                EntryKind::File { exec, .. } => exec,
                EntryKind::Link { .. } => continue,
            };
            let full = entry.path.below(&self.root);
            let mode = stigmer_platform::stored_mode(executable);
            if !stigmer_platform::has_mode(&fs::symlink_metadata(&full)?, mode) {
                stigmer_platform::set_mode(&full, mode)?;
            }
        }
        stigmer_platform::set_mode(&self.root, stigmer_platform::stored_mode(true))
    }
}
