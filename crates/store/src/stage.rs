//! A directory beside the entries, in which an entry or a repaired file is prepared before a rename puts it in place.

use crate::Root;
use crate::remove::remove_tree;
use std::io;
use std::path::{Path, PathBuf};

/// A directory that is removed when it is dropped, unless it was published.
pub(super) struct Stage {
    path: PathBuf,
    is_published: bool,
}

impl Stage {
    /// Creates an empty directory with a unique name that begins with `prefix`.
    pub(super) fn new(root: &Root, prefix: &str) -> io::Result<Self> {
        let store = root.store();
        let path = tempfile::Builder::new()
            .prefix(prefix)
            .tempdir_in(&store)
            .map_err(|e| {
                io::Error::new(
                    e.kind(),
                    format!("failed to create a directory in `{}`: {e}", store.display()),
                )
            })?
            .keep();
        Ok(Self { path, is_published: false })
    }

    /// Path of the directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Renames the directory to `to`. If another process has put a directory there meanwhile, that is success too: it has the
    /// same content, because only verified content is published.
    pub(super) fn publish(mut self, to: &Path) -> io::Result<()> {
        match stigmer_platform::rename_no_clobber(&self.path, to) {
            Ok(()) => self.is_published = true,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty
                ) => {}
            Err(error) => {
                return Err(io::Error::new(
                    error.kind(),
                    format!("failed to publish `{}`: {error}", to.display()),
                ));
            }
        }
        stigmer_platform::set_mode(to, stigmer_platform::stored_mode(true))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.is_published {
            // If this fails as well, the next holder of the entry's lock removes it.
            let _ = remove_tree(&self.path);
        }
    }
}
