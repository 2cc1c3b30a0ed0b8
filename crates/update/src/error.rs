//! Why an update did not happen. Whatever it is, the installed program is what it was.

use super::{ApplyError, FetchError, SeenError, SourceError, Target, TrustError};
use std::io;
use std::path::PathBuf;
use stigmer_bundle::BundleError;
use stigmer_store::lock::LockError;

/// Why an update did not happen.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// No releases are made for this platform.
    #[error("no releases are made for this platform")]
    NoTarget,
    /// The address of the source is none.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Something could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Something is not believed.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// It is not known which listings were seen.
    #[error(transparent)]
    Seen(#[from] SeenError),
    /// There is no such release.
    #[error("there is no release {version} for {target}; the newest on channel {channel} is {newest}")]
    NoRelease {
        /// What was asked for.
        version: String,
        /// For which target.
        target: Target,
        /// The channel.
        channel: String,
        /// The newest there is.
        newest: String,
    },
    /// There is no release at all.
    #[error("there is no release for {target} on channel {channel} yet")]
    NoReleases {
        /// For which target.
        target: Target,
        /// The channel.
        channel: String,
    },
    /// Two readers of the listing disagree.
    #[error("the listing is not understood: {0}")]
    Listing(String),
    /// The executable is no carrier, or a damaged one.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The directory of the executable cannot be written.
    #[error("the directory `{}` cannot be written: {source}", dir.display())]
    Unwritable {
        /// The directory.
        dir: PathBuf,
        /// The numeric id of who owns it, where there are such.
        owner: Option<u32>,
        /// What the system says.
        source: io::Error,
    },
    /// There is not enough room.
    #[error("`{}` needs {} but only {} is free", dir.display(), stigmer_store::bytes(*needed), stigmer_store::bytes(*free))]
    NoSpace {
        /// The directory of the executable.
        dir: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// Another update is at work.
    #[error(transparent)]
    Busy(LockError),
    /// Another update, of somebody with another home, is at work.
    #[error("another process is filling `{}`", path.display())]
    Filling {
        /// The file in the making.
        path: PathBuf,
    },
    /// The new executable was not put in place.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Reading or writing failed; the error names the path.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<LockError> for UpdateError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Io(error) => Self::Io(error),
            busy @ LockError::Busy { .. } => Self::Busy(busy),
        }
    }
}
