//! The bundle: frames, index and footer appended to an executable, which makes it a carrier.
//!
//! `docs/bundle-format.md` is the written format; this room is its only implementation. A warm start reads nothing but the
//! 512 bytes of the footer, so [`Footer`] stands apart from the [`Index`], and nothing here is decoded before it was
//! checked: footer by its own digest, index by the footer's, frames by the index's, files by their content's.
//!
//! The bytes are untrusted until then. Every parser has hard limits, answers with an error that says what is wrong
//! where, and never panics (`fuzz/` holds a target for each).
#![forbid(unsafe_code)]

mod carrier;
mod content;
mod cut;
mod digest;
mod elf;
mod elf_write;
mod extract;
mod footer;
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod macho;
mod macho_sign;
mod macho_write;
mod manifest;
mod pack;
mod pe;
mod pe_write;
mod rules;
mod scan;
mod self_check;
mod stream;
mod tree_path;
mod unpack;
mod verify;

pub use carrier::{Carrier, CarrierKind, Located};
pub use cut::{Cutting, compress};
pub use digest::{Digest, ParseDigestError};
pub use footer::{FOOTER_LEN, FORMAT_VERSION, Footer, HEAD_LEN, MAX_COMPONENTS, Parsed, Slot, head};
pub use index::{Component, Entry, EntryKind, Frame, Index, Limits};
pub use macho_sign::is_identifier;
pub use manifest::{MANIFEST, Manifest};
pub use pack::{Packed, Packing};
pub use self_check::SelfCheck;
pub use tree_path::{PathError, TreePath};
pub use unpack::unpack;
pub use verify::{CodePart, Problem, Verified};

use std::io;
use std::path::PathBuf;

/// What is wrong with bytes that should be a bundle. Says what and where, in the format's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Damage(pub String);

impl Damage {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// Why a carrier could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The executable carries nothing: it is a bare binary.
    #[error("`{}` carries no bundle", path.display())]
    Bare {
        /// The executable.
        path: PathBuf,
    },
    /// The bytes are not what the packer wrote.
    #[error("the bundle in `{}` is damaged: {damage}", path.display())]
    Damaged {
        /// The carrier.
        path: PathBuf,
        /// What is wrong, where.
        damage: Damage,
    },
    /// The bundle is of a format this executable does not know.
    #[error("the bundle in `{}` has format version {found}; this stigmer reads version {FORMAT_VERSION}", path.display())]
    UnknownVersion {
        /// The carrier.
        path: PathBuf,
        /// The version it says it has.
        found: u32,
    },
    /// The carrier has a bundle, but not this component.
    #[error("`{}` carries no component `{name}`", path.display())]
    NoComponent {
        /// The carrier.
        path: PathBuf,
        /// The component asked for.
        name: String,
    },
    /// What should be packed cannot be: the message says which path and why.
    #[error("cannot pack `{}`: {reason}", path.display())]
    Refused {
        /// The file or directory at fault.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Reading or writing failed; the error names the path.
    #[error(transparent)]
    Io(#[from] io::Error),
}
