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
mod carriers;
mod cut;
mod digest;
mod error;
mod extract;
mod footer;
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod locate;
mod manifest;
mod offset;
mod pack;
mod pipeline;
mod rules;
mod scan;
mod self_check;
mod stream;
mod tree_path;
mod unpack;
mod verify;

pub use carrier::Carrier;
pub use carriers::{CarrierKind, is_identifier};
pub use cut::{Cutting, compress};
pub use digest::{Digest, ParseDigestError};
pub use error::{BundleError, Damage};
pub use footer::{FOOTER_LEN, FORMAT_VERSION, Footer, HEAD_LEN, MAX_COMPONENTS, Parsed, Slot, head};
pub use index::{Component, Entry, EntryKind, FileEntry, Frame, Index, Limits};
pub use locate::Located;
pub use manifest::{MANIFEST, Manifest};
pub use offset::{BundleOffset, ContentOffset};
pub use pack::{Packed, Packing};
pub use self_check::SelfCheck;
pub use tree_path::{PathError, TreePath};
pub use unpack::unpack;
pub use verify::{CodePart, Problem, Verified};
