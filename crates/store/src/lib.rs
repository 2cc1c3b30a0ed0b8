//! A content-addressed store of extracted components that verifies and repairs itself.
//!
//! A *carrier* is an executable that contains a bundle of components ([`stigmer_bundle`] reads and writes it). This
//! crate extracts a component from its carrier once, to a directory that is named by the component's content, and
//! gives every later start that directory in well under a millisecond. It is for programs that are shipped as one
//! file and need a file tree to run: an interpreter with its libraries, a set of plug-ins, a web application.
//!
//! # Example
//!
//! ```
//! use stigmer_store::{Depth, How, Root, Silent, ensure};
//!
//! # use std::fs;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let tree = dir.path().join("greeter");
//! # fs::create_dir(&tree)?;
//! # fs::write(tree.join("component.json"), r#"{"name": "greeter", "version": "1.0.0", "entrypoint": "greet"}"#)?;
//! # fs::write(tree.join("greet"), "#!/bin/sh\necho hello\n")?;
//! # #[cfg(unix)]
//! # fs::set_permissions(tree.join("greet"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
//! # let base = dir.path().join("base");
//! # fs::write(&base, "#!/bin/sh\nexit 0\n")?;
//! # let carrier = dir.path().join("carrier");
//! # let components = [("greeter".to_owned(), tree)];
//! # let cutting = stigmer_bundle::Cutting::default();
//! # let (base, out, self_check, identifier) = (&base, &carrier, false, None);
//! # stigmer_bundle::Packing { base, components: &components, out, cutting, self_check, identifier }.run()?;
//! # let directory = dir.path().join("store");
//! // `carrier` is the path of an executable with a bundle, such as `std::env::current_exe()`.
//! let root = Root::at(directory);
//! let first = ensure(&root, &carrier, "greeter", Depth::Entrypoint, &Silent)?;
//! assert!(matches!(first.how, How::Made { .. }));
//! assert!(first.program.is_file());
//!
//! // The second start finds the entry. `lease` marks it as in use until it is dropped.
//! let second = ensure(&root, &carrier, "greeter", Depth::Entrypoint, &Silent)?;
//! assert_eq!(second.how, How::Warm);
//! # Ok(())
//! # }
//! ```
//!
//! `examples/self_extracting.rs` packs a component, extracts it, damages it and has it repaired.
//!
//! # Guarantees
//!
//! - **Nothing is published that was not verified.** Every file is hashed in the pass that writes it; an entry
//!   appears by one rename, complete or not at all.
//! - **A killed process leaves nothing half-made behind.** Whatever the moment, the next start completes or repeats
//!   the work.
//! - **Any number of processes may start at once.** One extracts, the others wait for it, for a bounded time. On a
//!   file system without locks they all extract, and the rename decides.
//! - **Damage is repaired** from the carrier, file by file, with fresh inodes: a process that runs from the entry
//!   keeps what it has open.
//! - **An entry in use is never removed**: [`collect`] respects leases and running processes.
//! - **A power cut is noticed.** Nothing is flushed to disk while a person waits; an entry that was not yet
//!   confirmed to be on disk is verified after the next boot.
//!
//! # Limits
//!
//! - The store trusts the user it belongs to: a process of that user can change entries, and the cheap depths of
//!   checking see only changes made through the file system.
//! - Components are read-only. What a program writes belongs elsewhere.
//! - Entries are as large as their files; the store neither compresses nor deduplicates them, but it clones or links
//!   files that an older entry already has.
//!
//! # Layout
//!
//! ```text
//! store/v1/DIGEST/…            entry: the file tree of one component, read-only
//! store/v1/DIGEST.manifest     file list of the entry; its own digest is DIGEST
//! store/v1/DIGEST.stamp        record that the entry is complete, and how it looked then; written last
//! store/v1/.tmp-… .trash-…     being made, being deleted
//! locks/DIGEST.lock            exclusive: a process makes, repairs or removes the entry; holds its id and purpose
//! locks/DIGEST.lease           shared: a process runs from the entry
//! bin/NAME                     link to the program of the entry that was used last, for people and scripts
//! ```
//!
//! # Order of operations
//!
//! A **warm start** ([`warm`]) takes the lease, reads the stamp, compares one `lstat`, and is done. It waits for no
//! other process: a lease is refused only while the entry is being removed, and then the start is a miss.
//!
//! A **miss** ([`ensure`]) takes the lock, looks again, makes the entry in a sibling directory, and publishes it by a
//! rename that never clobbers. The rename is the guarantee and the lock only saves work, so losing the race is
//! success. Manifest, entry and stamp appear in this order; a kill between any two leaves something that the next
//! start completes.
//!
//! A **removal** ([`collect`]) takes the lock and then the lease exclusively, both without waiting, removes the
//! stamp, renames the entry to trash, and deletes that afterwards. The lock always precedes the lease, and no process
//! waits while it holds a lease of the same entry, so no deadlock is possible.
//!
//! Lock and lease files are never deleted: unlinking one would let two processes hold "the" lock on two inodes.
//!
//! # Three depths of checking
//!
//! | depth | cost | sees |
//! |---|---|---|
//! | [`Depth::Entrypoint`] | one `lstat` | a replaced or missing program |
//! | [`Depth::Evidence`] | an `lstat` per entry, no reading | everything done through the file system |
//! | [`verify`], [`repair()`] | reads and hashes every file | also what the disk did by itself |
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
mod stage;
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
use unit_prefix::NumberPrefix;

/// The reason why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Reading or writing failed; the error names the path.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The carrier cannot be read, is damaged, or does not have the component.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Another process held the lock of the entry for longer than [`Root::lock_timeout`].
    #[error(transparent)]
    Busy(LockError),
    /// The file system has too little free space.
    #[error("`{}` needs {} but only {} is free", path.display(), bytes(*needed), bytes(*free))]
    NoSpace {
        /// Directory that would hold the entry.
        path: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The administrator would create files in the directory of another user: see [`Root::personal`].
    #[error("refusing to create files as the administrator in `{}`, which belongs to somebody else", path.display())]
    ForeignHome {
        /// Directory of the store.
        path: PathBuf,
    },
    /// The entry was repaired, and verification still finds a problem.
    #[error("`{}` was repaired and is still not as packed: {kind}", path.display())]
    StillDamaged {
        /// Path of the damaged file.
        path: PathBuf,
        /// Kind of the problem.
        kind: ProblemKind,
    },
}

/// Receives reports of long operations. Every method does nothing by default.
pub trait Progress: Sync {
    /// The store waits for the lock that `holder` has, at most `timeout`.
    fn waiting(&self, _holder: &Holder, _timeout: Duration) {}
    /// An operation begins that handles `bytes` bytes; `what` is a gerund such as `materializing`.
    fn begin(&self, _what: &str, _bytes: u64) {}
    /// The operation has handled that many more bytes.
    fn advance(&self, _bytes: u64) {}
    /// The operation has ended.
    fn end(&self) {}
    /// A person should know this, although the operation goes on.
    fn notice(&self, _text: &str) {}
}

/// A [`Progress`] that reports nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}

/// The paths of one entry and its records.
#[derive(Debug, Clone)]
pub struct Place {
    root: Root,
    digest: Digest,
}

impl Place {
    /// The place of the entry with the payload digest `digest`.
    pub fn new(root: &Root, digest: Digest) -> Self {
        Self { root: root.clone(), digest }
    }

    /// Payload digest of the entry.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Directory of the entry.
    pub fn entry(&self) -> PathBuf {
        self.root.store().join(self.digest.to_string())
    }

    /// File of the entry's stamp.
    pub fn stamp(&self) -> PathBuf {
        self.root.store().join(format!("{}.stamp", self.digest))
    }

    /// File of the entry's manifest.
    pub fn manifest(&self) -> PathBuf {
        self.root.store().join(format!("{}.manifest", self.digest))
    }

    /// Lock file of the entry.
    pub fn lock(&self) -> PathBuf {
        self.root.locks().join(format!("{}.lock", self.digest))
    }

    /// Lease file of the entry.
    pub fn lease(&self) -> PathBuf {
        self.root.locks().join(format!("{}.lease", self.digest))
    }

    /// Prefix of the names of directories that are to become this entry.
    fn temporary_prefix(&self) -> String {
        format!(".tmp-{}-", self.digest.short())
    }

    fn root(&self) -> &Root {
        &self.root
    }
}

/// Formats a number of bytes for people, in powers of ten: `31.90 MB`.
pub fn bytes(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    match NumberPrefix::decimal(count as f64) {
        NumberPrefix::Standalone(bytes) => format!("{bytes:.0} B"),
        NumberPrefix::Prefixed(prefix, number) => format!("{number:.2} {prefix}B"),
    }
}
