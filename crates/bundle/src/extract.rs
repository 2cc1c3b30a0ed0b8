//! Taking a component, or one file of it, out of a carrier of any platform. All or nothing, and never over something.
//!
//! This is for people who want to look or to repackage; what is run comes from the store.

use super::carrier::named;
use super::content::{State, Wanted, read};
use super::{BundleError, Carrier, Component, Damage, Entry, EntryKind, TreePath, unpack};
use fs_err as fs;
use std::io;
use std::path::Path;
use stigmer_platform as platform;

impl Carrier {
    /// Writes the whole tree of `component` to `to`, which must not exist.
    pub fn extract(&self, component: &Component, to: &Path) -> Result<(), BundleError> {
        refuse_existing(to)?;
        let beside = beside(to);
        let staging = tempfile::Builder::new().prefix(".stigmer-extract-").tempdir_in(beside)?;
        let root = staging.path().join("tree");
        fs::create_dir(&root)?;
        for Entry { path, kind } in &component.entries {
            if matches!(kind, EntryKind::Dir) {
                fs::create_dir(path.below(&root))?;
            }
        }
        unpack(self, component, &root, &|_| true, &|_| ())?;
        // Links last: nothing is ever written through one.
        for Entry { path, kind } in &component.entries {
            let full = path.below(&root);
            match kind {
                EntryKind::Link { target } => platform::symlink(Path::new(target), &full)
                    .map_err(|e| named(&full, "create the link", &e))?,
                EntryKind::File { exec, .. } => set_mode(&full, *exec)?,
                EntryKind::Dir => {}
            }
        }
        platform::rename_no_clobber(&root, to).map_err(|e| named(to, "create", &e))?;
        Ok(())
    }

    /// Writes the content of one file of `component` to `to`, which must not exist.
    pub fn extract_file(&self, component: &Component, path: &TreePath, to: &Path) -> Result<(), BundleError> {
        refuse_existing(to)?;
        let file = tempfile::Builder::new().prefix(".stigmer-extract-").tempfile_in(beside(to))?;
        let exec = self.read_file(component, path, fs::File::from_parts(file.reopen()?, file.path()))?;
        set_mode(file.path(), exec)?;
        file.persist_noclobber(to).map_err(|e| named(to, "create", &e.error))?;
        Ok(())
    }

    /// Writes the content of one file of `component` into `to`, and says whether it may be executed. What was written
    /// must not be used if this fails.
    pub fn read_file(
        &self,
        component: &Component,
        path: &TreePath,
        to: fs::File,
    ) -> Result<bool, BundleError> {
        let Some((_, exec, size, at, blake3)) = component.files().find(|(listed, ..)| *listed == path) else {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("component `{}` has no file `{path}`", component.name),
            )
            .into());
        };
        let mut wanted = [Wanted::new(at, size, blake3, to)];
        if let Some(frame) = read(self, component, &mut wanted).into_iter().next() {
            return Err(frame.error);
        }
        let [content] = wanted;
        self.expect_sound(path, content.finish()?)?;
        Ok(exec)
    }

    fn expect_sound(&self, path: &TreePath, state: State) -> Result<(), BundleError> {
        match state {
            State::Sound => Ok(()),
            State::Lost | State::Mismatch => {
                Err(self.error(Damage::new(format!("the content of `{path}` does not match its digest"))))
            }
        }
    }
}

/// The permissions of a file taken out: those of any other file of a person.
fn set_mode(path: &Path, exec: bool) -> Result<(), BundleError> {
    platform::set_mode(path, if exec { 0o755 } else { 0o644 }).map_err(|e| named(path, "set the mode of", &e))
}

fn refuse_existing(to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("`{}` exists already, and nothing is overwritten", to.display()),
        )),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// The directory that holds `path`.
pub(super) fn beside(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    }
}
