//! The store: content-addressed, materialized components.
//!
//! ```text
//! store/v1/DIGEST/…            an entry: one component's tree, read-only
//! store/v1/DIGEST.manifest     what it must hold; its own digest is DIGEST, so it cannot lie
//! store/v1/DIGEST.stamp        written last: the entry is complete, and how it looked then
//! store/v1/.tmp-… .trash-…     being made, being deleted
//! locks/DIGEST.lock            exclusive: somebody makes, repairs or removes the entry; holds who and why
//! locks/DIGEST.lease           shared: somebody runs from the entry
//! ```
//!
//! # Order of things
//!
//! A **warm start** ([`warm`]) takes the lease, reads the stamp, compares one `lstat`, and is done. It waits for nobody: a lease
//! is refused only while the entry is being removed, and then the start is a miss.
//!
//! A **miss** ([`ensure`]) takes the lock, looks again, makes the entry in a sibling directory, and publishes it by a rename that
//! never clobbers. The rename is the guarantee and the lock only saves work, so a file system without locks is no
//! obstacle: losing the race is success. Manifest, entry, stamp appear in this order; a kill between any two leaves something that
//! the next start completes.
//!
//! A **removal** ([`collect`]) takes the lock and then the lease exclusively, both without waiting, removes the stamp, renames the
//! entry to trash, and deletes that at leisure. Lock order is always lock before lease, and nobody waits while
//! holding a lease of the same entry, so there is no cycle to deadlock in.
//!
//! Lock and lease files are never deleted: unlinking one would let two processes hold "the" lock on two inodes.
//!
//! # Three depths of looking
//!
//! | depth | cost | sees | used by |
//! |---|---|---|---|
//! | entrypoint | one `lstat` | a replaced or missing program | every start |
//! | evidence | an `lstat` per entry, no reading | everything done through the file system | `stigmer server` |
//! | content | reads and hashes all | also what the disk did by itself | `cache verify`, the first start after a power cut |
#![forbid(unsafe_code)]

mod collect;
mod entry_lock;
mod evidence;
mod hash;
mod lease;
mod list;
pub mod lock;
mod manifest;
mod materialize;
mod record;
mod remove;
mod repair;
mod reuse;
mod root;
mod stable;
mod stamp;
mod verify;

pub use collect::{Collected, Policy, collect};
pub use lease::Lease;
pub use list::{Listed, list};
pub use manifest::read as manifest;
pub use materialize::{Depth, How, Materialized, confirm_durable, ensure, repair, warm};
pub use root::Root;
pub use stamp::Stamp;
pub use verify::{Problem, ProblemKind, verify};

use stigmer_bundle::{BundleError, Digest};

use lock::{Holder, LockError};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Reading or writing failed; the error names the path.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The carrier does not give what is needed.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Somebody else held the lock for as long as we were ready to wait.
    #[error(transparent)]
    Busy(LockError),
    /// The variable that says how long to wait is not understood.
    #[error("{variable} is {value:?}, which is no number of seconds")]
    Patience {
        /// Its name.
        variable: &'static str,
        /// What it is set to.
        value: std::ffi::OsString,
    },
    /// There is not enough room.
    #[error("`{}` needs {} but only {} is free", path.display(), bytes(*needed), bytes(*free))]
    NoSpace {
        /// The directory that would hold it.
        path: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// We run as the administrator, in somebody else's home.
    #[error("refusing to create files as the administrator in `{}`, which belongs to somebody else", path.display())]
    ForeignHome {
        /// The directory.
        path: PathBuf,
    },
    /// The entry was repaired, and something is wrong with it again or still.
    #[error("`{}` was repaired and is still not as packed: {kind}", path.display())]
    StillDamaged {
        /// What is wrong.
        path: PathBuf,
        /// How.
        kind: ProblemKind,
    },
}

/// What the store says while it works. Everything has a silent default.
pub trait Progress: Sync {
    /// It waits for somebody else, at most this long.
    fn waiting(&self, _holder: &Holder, _at_most: Duration) {}
    /// It begins something that takes this many bytes of work.
    fn begin(&self, _what: &str, _bytes: u64) {}
    /// It has done this many more.
    fn advance(&self, _bytes: u64) {}
    /// It is done with what it began.
    fn end(&self) {}
    /// It noticed something a person should know.
    fn notice(&self, _text: &str) {}
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}

/// Where the parts of one entry lie.
#[derive(Debug, Clone)]
pub struct Place {
    root: Root,
    digest: Digest,
}

impl Place {
    /// The place of the entry with this payload digest.
    pub fn new(root: &Root, digest: Digest) -> Self {
        Self { root: root.clone(), digest }
    }

    /// The payload digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The entry: a directory.
    pub fn entry(&self) -> PathBuf {
        self.root.store().join(self.digest.to_string())
    }

    /// Its stamp.
    pub fn stamp(&self) -> PathBuf {
        self.root.store().join(format!("{}.stamp", self.digest))
    }

    /// Its manifest.
    pub fn manifest(&self) -> PathBuf {
        self.root.store().join(format!("{}.manifest", self.digest))
    }

    /// Its lock file.
    pub fn lock(&self) -> PathBuf {
        self.root.locks().join(format!("{}.lock", self.digest))
    }

    /// Its lease file.
    pub fn lease(&self) -> PathBuf {
        self.root.locks().join(format!("{}.lease", self.digest))
    }

    /// How the names of directories in the making begin.
    fn temporary_prefix(&self) -> String {
        format!(".tmp-{}-", self.digest.short())
    }

    fn root(&self) -> &Root {
        &self.root
    }
}

/// A number of bytes for people: `31.9 MB`, powers of ten.
pub fn bytes(count: u64) -> String {
    indicatif::DecimalBytes(count).to_string()
}
