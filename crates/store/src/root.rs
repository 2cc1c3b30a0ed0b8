//! The directory a store lives below, and the names inside it.

use std::path::{Path, PathBuf};

/// The directory that holds a store, its locks and its stable links.
///
/// Nothing is created by naming it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    path: PathBuf,
    is_personal: bool,
}

impl Root {
    /// A store below `path`, which must be absolute.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), is_personal: false }
    }

    /// A store below `path` that belongs to one user: the administrator does not create files in it for somebody else, because
    /// that user could neither repair nor remove them.
    pub fn personal(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), is_personal: true }
    }

    /// Whether the administrator must not create files in it when it belongs to another user.
    pub fn is_personal(&self) -> bool {
        self.is_personal
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Directory of the stable links to the programs of the entries.
    pub fn bin(&self) -> PathBuf {
        self.path.join("bin")
    }

    /// Directory of the entries, in the version of the store that this crate reads and writes.
    pub fn store(&self) -> PathBuf {
        self.path.join("store").join("v1")
    }

    /// Directory of the lock files. They are never deleted: unlinking one would split the exclusion in two.
    pub fn locks(&self) -> PathBuf {
        self.path.join("locks")
    }
}
