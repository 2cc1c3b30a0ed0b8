//! From a carrier to a program that can be started: the warm path, and everything that is not.

use super::remove::{remove_tree, to_trash};
use super::repair::fix;
use super::stage::Stage;
use super::{
    Lease, Place, Problem, Progress, Root, Stamp, StoreError, entry_lock, lease, manifest, reuse, stable,
    verify,
};
use crate::lock::Lock;
use fs_err as fs;
use std::io;
use std::path::{Path, PathBuf};
use stigmer_bundle::{BundleError, Carrier, Component, Digest, EntryKind, unpack};

/// How closely a complete entry is looked at before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Its entrypoint: one `lstat`.
    Entrypoint,
    /// Its whole tree, without reading it.
    Evidence,
}

/// An entry that can be used now.
#[derive(Debug)]
pub struct Materialized {
    /// Where it lies.
    pub place: Place,
    /// The program to run.
    pub program: PathBuf,
    /// The component's version.
    pub version: String,
    /// What had to be done for it.
    pub how: How,
    /// Says that it is in use. Keep it as long as that is so.
    pub lease: Lease,
}

/// What had to be done for an entry to be ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// Nothing.
    Warm,
    /// It was made.
    Made {
        /// Bytes of its files.
        bytes: u64,
        /// Files taken from older entries.
        reused: usize,
    },
    /// It had to be read in full, and was sound.
    Verified,
    /// It was damaged, and has been repaired.
    Healed {
        /// What was wrong.
        problems: Vec<Problem>,
    },
}

impl How {
    fn healed(problems: Vec<Problem>) -> Self {
        if problems.is_empty() { Self::Verified } else { Self::Healed { problems } }
    }
}

/// The warm path: the entry of `digest`, if its stamp says that it is complete and its entrypoint looks as it did.
/// Waits for nothing, reads one small file, writes nothing.
pub fn warm(root: &Root, digest: Digest) -> Option<Materialized> {
    let place = Place::new(root, digest);
    // In this order: a stamp read before the lease is held may be gone by then.
    let lease::Taken::Held(lease) = Lease::take(&place.lease()) else {
        return None;
    };
    let stamp = Stamp::read(&place)?;
    stamp.holds(&place).then(|| {
        let program = stamp.entrypoint.below(&place.entry());
        Materialized { place, program, version: stamp.version, how: How::Warm, lease }
    })
}

/// Makes the component `name` of the carrier at `executable` ready: materialized if missing or stale, repaired if damaged.
///
/// # Errors
/// See [`StoreError`]. Nothing is published unless it is whole.
pub fn ensure(
    root: &Root,
    executable: &Path,
    name: &str,
    depth: Depth,
    progress: &dyn Progress,
) -> Result<Materialized, StoreError> {
    let digest = Carrier::read_footer(executable)?
        .component(name)
        .ok_or_else(|| BundleError::NoComponent { path: executable.to_owned(), name: name.to_owned() })?;
    if let (Depth::Entrypoint, Some(ready)) = (depth, warm(root, digest)) {
        return Ok(ready);
    }
    let carrier = Carrier::open(executable)?;
    let component = carrier.component(name)?;
    // By what was opened now: an update may have replaced the file since its footer was read.
    let place = Place::new(root, component.digest);
    let miss = Miss { place, carrier: &carrier, component: &component, depth, progress };
    match miss.look() {
        Some(ready) => {
            // Another version may have been the last to be made.
            miss.point();
            Ok(ready)
        }
        None => miss.resolve(),
    }
}

/// Verifies the entry of the component `name` that `carrier` holds, and repairs what is wrong. Returns what was. If nothing
/// was and its records are in order, nothing is written.
///
/// # Errors
/// See [`StoreError`].
pub fn repair(
    root: &Root,
    carrier: &Carrier,
    name: &str,
    progress: &dyn Progress,
) -> Result<Vec<Problem>, StoreError> {
    let component = carrier.component(name)?;
    let place = Place::new(root, component.digest);
    let miss = Miss { place, carrier, component: &component, depth: Depth::Evidence, progress };
    miss.refuse_foreign()?;
    let doing = format!("repairing {name} {}", component.version);
    let _lock = entry_lock::take(&miss.place, &doing, progress)?;
    let problems = miss.heal()?;
    if !(problems.is_empty() && miss.is_stamped()) {
        miss.write_stamp()?;
    }
    manifest::ensure(&miss.place, &component)?;
    Ok(problems)
}

struct Miss<'a> {
    place: Place,
    carrier: &'a Carrier,
    component: &'a Component,
    depth: Depth,
    progress: &'a dyn Progress,
}

impl Miss<'_> {
    /// The entry as it is, if it can be used as it is.
    fn look(&self) -> Option<Materialized> {
        let ready = warm(self.place.root(), self.place.digest())?;
        match self.depth {
            Depth::Entrypoint => Some(ready),
            Depth::Evidence => self.is_stamped().then_some(ready),
        }
    }

    /// Whether the whole tree looks as its stamp says.
    fn is_stamped(&self) -> bool {
        Stamp::read(&self.place).is_some_and(|stamp| stamp.holds_whole(&self.place, self.component))
    }

    /// What the administrator makes in somebody else's home, that person could neither repair nor remove.
    fn refuse_foreign(&self) -> Result<(), StoreError> {
        let root = self.place.root();
        if root.is_personal() && stigmer_platform::is_foreign_home(root.path()) {
            return Err(StoreError::ForeignHome { path: root.path().to_owned() });
        }
        Ok(())
    }

    fn resolve(&self) -> Result<Materialized, StoreError> {
        let root = self.place.root();
        self.refuse_foreign()?;
        let doing = format!("materializing {} {}", self.component.name, self.component.version);
        let lock = prepare(root).map_err(StoreError::from);
        let lock = match lock.and_then(|()| entry_lock::take(&self.place, &doing, self.progress)) {
            Ok(lock) => Some(lock),
            // A home that cannot be written may still hold a sound entry; nobody else can be changing it.
            Err(StoreError::Io(error)) if self.exists() && is_unwritable(&error) => None,
            Err(error) => return Err(error),
        };
        if let Some(ready) = self.look() {
            return Ok(ready);
        }
        let lease = match Lease::take(&self.place.lease()) {
            lease::Taken::Held(lease) => lease,
            // Only possible without locks; then nobody removes anything either.
            lease::Taken::Refused => Lease::none(),
        };
        // Asked only now: while we waited for the lock, somebody may have made it or taken it away.
        let how = if self.exists() { How::healed(self.heal()?) } else { self.make()? };
        // The stamp comes last: whoever is killed before it leaves a miss, and the next start does all of this again.
        self.point();
        self.stamp()?;
        if lock.as_ref().is_some_and(Lock::is_effective) {
            sweep(&self.place);
        }
        let (place, version) = (self.place.clone(), self.component.version.clone());
        Ok(Materialized { program: self.program(), place, version, how, lease })
    }

    fn exists(&self) -> bool {
        self.place.entry().symlink_metadata().is_ok()
    }

    fn program(&self) -> PathBuf {
        self.component.entrypoint.below(&self.place.entry())
    }

    /// Lets the stable path lead here. Nothing of ours needs it, so what stands in its way is only said.
    fn point(&self) {
        match stable::point(self.place.root(), &self.component.name, &self.program()) {
            Err(error) if !is_unwritable(&error) => {
                self.progress.notice(&format!("cannot update the stable path: {error}"));
            }
            _ => {}
        }
    }

    /// Stamps the entry, which is whole. A home that cannot be written, or is full, keeps no stamp: the next start
    /// looks again.
    fn stamp(&self) -> Result<(), StoreError> {
        match manifest::ensure(&self.place, self.component).and_then(|()| self.write_stamp()) {
            Err(error) if is_unwritable(&error) => Ok(()),
            Err(error) if is_full(&error) => {
                self.progress.notice(&format!("the next start will verify again: {error}"));
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn write_stamp(&self) -> io::Result<()> {
        Stamp::take(&self.place, self.component)?.write(&self.place)
    }

    /// Reads an entry that stands without a stamp that holds, and repairs what is damaged. Returns what was.
    fn heal(&self) -> Result<Vec<Problem>, StoreError> {
        self.progress.begin("verifying", self.component.raw_len());
        let problems = verify(&self.place.entry(), self.component, &|bytes| {
            self.progress.advance(bytes);
        });
        self.progress.end();
        if problems.is_empty() {
            return Ok(problems);
        }
        // A link counts as what it is: what it leads to is not ours to change.
        if self.place.entry().symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            fix(&self.place, self.carrier, self.component, &problems, self.progress)?;
        } else {
            if self.exists() {
                let trash = to_trash(self.place.root(), &self.place.entry())?;
                let _ = remove_tree(&trash);
            }
            self.make()?;
        }
        Ok(problems)
    }

    /// No entry stands: makes one beside its place and renames it there.
    fn make(&self) -> Result<How, StoreError> {
        let root = self.place.root();
        let bytes = self.component.raw_len();
        check_space(&root.store(), bytes + self.component.entries.len() as u64 * 4096)?;
        let stage = Stage::new(root, &self.place.temporary_prefix())?;
        for entry in &self.component.entries {
            if matches!(entry.kind, EntryKind::Dir) {
                fs::create_dir(entry.path.below(stage.path()))?;
            }
        }
        let reused = reuse::reuse(root, self.component, stage.path());
        let left: u64 =
            self.component.files().filter(|file| !reused.contains(file.path)).map(|file| file.size).sum();
        self.progress.begin("materializing", left);
        let unpacked =
            unpack(self.carrier, self.component, stage.path(), &|path| !reused.contains(path), &|bytes| {
                self.progress.advance(bytes);
            });
        self.progress.end();
        unpacked?;
        finish_tree(stage.path(), self.component)?;
        manifest::write(&self.place, self.component)?;
        stage.publish(&self.place.entry())?;
        Ok(How::Made { bytes, reused: reused.len() })
    }
}

/// Makes the links of a tree and takes the write permission from its directories, but not from its root, which is
/// still to be renamed.
fn finish_tree(root: &Path, component: &Component) -> io::Result<()> {
    for entry in &component.entries {
        if let EntryKind::Link { target } = &entry.kind {
            let link = entry.path.below(root);
            stigmer_platform::symlink(Path::new(target), &link).map_err(|e| {
                io::Error::new(e.kind(), format!("failed to make the link `{}`: {e}", link.display()))
            })?;
        }
    }
    // What lies inside stands behind its directory, so backwards is from the inside out.
    for entry in component.entries.iter().rev() {
        if matches!(entry.kind, EntryKind::Dir) {
            stigmer_platform::set_mode(&entry.path.below(root), stigmer_platform::stored_mode(true))?;
        }
    }
    Ok(())
}

/// Makes the directories that the store needs.
fn prepare(root: &Root) -> io::Result<()> {
    fs::create_dir_all(root.store())?;
    fs::create_dir_all(root.locks())
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn is_unwritable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

fn check_space(store: &Path, needed: u64) -> Result<(), StoreError> {
    // A file system that does not say how much is free is tried.
    match fs2::available_space(store) {
        Ok(free) if free < needed => Err(StoreError::NoSpace { path: store.to_owned(), needed, free }),
        _ => Ok(()),
    }
}

/// Removes what earlier attempts at this entry left when they were killed. The caller holds the entry's lock, so none is alive.
fn sweep(place: &Place) {
    let prefix = place.temporary_prefix();
    let Ok(entries) = std::fs::read_dir(place.root().store()) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = remove_tree(&entry.path());
        }
    }
}

/// Flushes the entry of `digest` to disk and notes that in its stamp. For the background: it may take seconds.
///
/// # Errors
/// It could not be flushed; then nothing is noted, and the first start after the next boot verifies.
pub fn confirm_durable(root: &Root, digest: Digest, progress: &dyn Progress) -> Result<bool, StoreError> {
    let place = Place::new(root, digest);
    let Some(before) = Stamp::read(&place) else {
        return Ok(false);
    };
    if before.durable {
        return Ok(true);
    }
    match stigmer_platform::sync_file_system(&root.store()) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => sync_files(&place)?,
        other => other?,
    }
    let _lock = entry_lock::take(&place, "noting that the entry is on disk", progress)?;
    // A repair meanwhile has written anew what we have not flushed.
    if Stamp::read(&place).as_ref() != Some(&before) {
        return Ok(false);
    }
    before.confirmed().write(&place)?;
    Ok(true)
}

fn sync_files(place: &Place) -> io::Result<()> {
    let Some(component) = manifest::read(place) else {
        return Ok(());
    };
    for file in component.files() {
        fs::File::open(file.path.below(&place.entry()))?.sync_all()?;
    }
    Ok(())
}
