//! The two error types of this crate: damage in the bytes of a bundle, and the failure to read or write a carrier.

use std::io;
use std::path::{Path, PathBuf};

/// A defect in bytes that should be a bundle. The text says what is wrong and where, in the terms of the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Damage(pub String);

impl Damage {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// The reason why a carrier could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The executable has no bundle: it is a bare binary.
    #[error("`{}` carries no bundle", path.display())]
    Bare {
        /// Path of the executable.
        path: PathBuf,
    },
    /// The bytes of the bundle are not those that the packer wrote.
    #[error("the bundle in `{}` is damaged: {damage}", path.display())]
    Damaged {
        /// Path of the carrier.
        path: PathBuf,
        /// What is wrong with the bundle, and where.
        damage: Damage,
    },
    /// The bundle has a format version that this crate does not read.
    #[error("the bundle in `{}` has the unsupported format version {found}: expected {supported}", path.display())]
    UnknownVersion {
        /// Path of the carrier.
        path: PathBuf,
        /// Format version in the footer.
        found: u32,
        /// Format version that this crate reads.
        supported: u32,
    },
    /// The carrier has a bundle, but the bundle does not have the component.
    #[error("`{}` carries no component `{name}`", path.display())]
    NoComponent {
        /// Path of the carrier.
        path: PathBuf,
        /// Name of the component.
        name: String,
    },
    /// A file or directory cannot be packed. The message names the path and the reason.
    #[error("cannot pack `{}`: {reason}", path.display())]
    Refused {
        /// Path of the file or directory at fault.
        path: PathBuf,
        /// Rule that it breaks.
        reason: String,
    },
    /// Reading or writing failed. The message names the path.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl BundleError {
    /// An I/O error of a call that does not name the path itself.
    pub(crate) fn io(path: &Path, action: &str, source: &io::Error) -> Self {
        Self::Io(io::Error::new(source.kind(), format!("failed to {action} `{}`: {source}", path.display())))
    }
}
