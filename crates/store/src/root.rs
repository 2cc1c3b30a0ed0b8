//! The directory of a store, the names inside it, and the settings that hold for everything in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// The directory that holds a store, its locks and its stable links, with the settings of the store.
///
/// Nothing is created by naming it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    path: PathBuf,
    is_personal: bool,
    lock_timeout: Duration,
}

impl Root {
    /// How long to wait for the lock of an entry unless [`Root::with_lock_timeout`] says otherwise.
    pub const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(60);

    /// A store below `path`, which must be absolute.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), is_personal: false, lock_timeout: Self::DEFAULT_LOCK_TIMEOUT }
    }

    /// A store below `path` that belongs to one user: the administrator does not create files in it for another user, because
    /// that user could neither repair nor remove them.
    pub fn personal(path: impl Into<PathBuf>) -> Self {
        Self { is_personal: true, ..Self::at(path) }
    }

    /// The same store with another limit for the wait for a lock. Zero means not to wait at all.
    #[must_use]
    pub fn with_lock_timeout(self, lock_timeout: Duration) -> Self {
        Self { lock_timeout, ..self }
    }

    /// Whether the administrator must not create files in it when it belongs to another user.
    pub fn is_personal(&self) -> bool {
        self.is_personal
    }

    /// How long to wait for the lock of an entry that another process holds.
    pub fn lock_timeout(&self) -> Duration {
        self.lock_timeout
    }

    /// Path of the directory.
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
