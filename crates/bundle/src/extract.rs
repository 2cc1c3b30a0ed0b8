//! Extracting a component, or one file of it, from a carrier of any platform. All or nothing, and never over an existing path.
//!
//! This is for inspecting and repackaging. A store, which keeps what it extracts, calls [`unpack`].

use crate::carrier::Carrier;
use crate::error::BundleError;
use crate::index::{Component, Entry, EntryKind};
use crate::pipeline::{self, Content, Sink};
use crate::tree_path::TreePath;
use crate::unpack::unpack;
use fs_err as fs;
use std::io;
use std::path::Path;
use stigmer_platform as platform;

impl Carrier {
    /// Writes the whole tree of `component` to `to`, which must not exist.
    pub fn extract(&self, component: &Component, to: &Path) -> Result<(), BundleError> {
        refuse_existing(to)?;
        let beside = beside(to);
        let staging = tempfile::Builder::new().prefix(".tmp-extract-").tempdir_in(beside)?;
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
                    .map_err(|e| BundleError::io(&full, "create the link", &e))?,
                EntryKind::File { exec, .. } => set_mode(&full, *exec)?,
                EntryKind::Dir => {}
            }
        }
        platform::rename_no_clobber(&root, to).map_err(|e| BundleError::io(to, "create", &e))?;
        Ok(())
    }

    /// Writes the content of one file of `component` to `to`, which must not exist.
    pub fn extract_file(&self, component: &Component, path: &TreePath, to: &Path) -> Result<(), BundleError> {
        refuse_existing(to)?;
        let file = tempfile::Builder::new().prefix(".tmp-extract-").tempfile_in(beside(to))?;
        let exec = self.read_file(component, path, fs::File::from_parts(file.reopen()?, file.path()))?;
        set_mode(file.path(), exec)?;
        file.persist_noclobber(to).map_err(|e| BundleError::io(to, "create", &e.error))?;
        Ok(())
    }

    /// Writes the content of one file of `component` into `to`, from its beginning, and returns whether the file may be executed.
    /// After an error `to` may hold bytes that must not be used.
    pub fn read_file(
        &self,
        component: &Component,
        path: &TreePath,
        to: fs::File,
    ) -> Result<bool, BundleError> {
        let Some(file) = component.file(path) else {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("component `{}` has no file `{path}`", component.name),
            )
            .into());
        };
        pipeline::read(self, component, vec![Content::of(&file, OpenFile(to))], &|_| ())?;
        Ok(file.is_executable)
    }
}

/// A file that is open for writing.
struct OpenFile(fs::File);

impl Sink for OpenFile {
    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), BundleError> {
        platform::write_all_at(self.0.file(), bytes, offset)
            .map_err(|e| BundleError::io(self.0.path(), "write", &e))
    }

    fn complete(&self) -> Result<(), BundleError> {
        Ok(())
    }
}

/// Gives an extracted file the permission bits of an ordinary file.
fn set_mode(path: &Path, exec: bool) -> Result<(), BundleError> {
    platform::set_mode(path, if exec { 0o755 } else { 0o644 })
        .map_err(|e| BundleError::io(path, "set the mode of", &e))
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
