//! A compressed, indexed and verified bundle of file trees inside an executable.
//!
//! An executable file with a *bundle* in it is a *carrier*. A bundle holds up to four *components*: file trees, each
//! with a program to run. This crate packs them onto an ELF, Mach-O or PE executable or a script, of any platform and
//! on any host, and reads them back. It is for programs that are shipped as one file; to run a component from a
//! directory that is extracted once and then kept, put the crate `stigmer-store` on top.
//!
//! # Example
//!
//! ```
//! use std::fs;
//! use stigmer_bundle::{Carrier, Cutting, Packing, TreePath};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//!
//! // A component: a directory with a `component.json` and an executable entrypoint.
//! let tree = dir.path().join("greeter");
//! fs::create_dir(&tree)?;
//! fs::write(tree.join("component.json"), r#"{"name": "greeter", "version": "1.0.0", "entrypoint": "greet"}"#)?;
//! fs::write(tree.join("greet"), "#!/bin/sh\necho hello\n")?;
//! # #[cfg(unix)]
//! # fs::set_permissions(tree.join("greet"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
//!
//! // The executable that is to carry it; here a script.
//! let base = dir.path().join("base");
//! fs::write(&base, "#!/bin/sh\nexit 0\n")?;
//! let out = dir.path().join("carrier");
//! Packing {
//!     base: &base,
//!     components: &[("greeter".to_owned(), tree)],
//!     out: &out,
//!     cutting: Cutting::default(),
//!     self_check: false,
//!     identifier: None,
//! }
//! .run()?;
//!
//! // Read it back: check every byte, then extract one file.
//! let carrier = Carrier::open(&out)?;
//! assert!(carrier.verify()?.problems.is_empty());
//! let greeter = carrier.component("greeter")?;
//! let greet = dir.path().join("greet");
//! carrier.extract_file(&greeter, &TreePath::new("greet")?, &greet)?;
//! assert_eq!(fs::read_to_string(&greet)?, "#!/bin/sh\necho hello\n");
//! # Ok(())
//! # }
//! ```
//!
//! `examples/pack_and_read.rs` packs onto a real executable and extracts a whole tree.
//!
//! # Guarantees
//!
//! - **Nothing is decoded before it is checked**: the footer by its own digest, the index by the footer's, frames
//!   by the index's, files by their content's. All digests are BLAKE3.
//! - **Untrusted bytes are safe to open.** Every parser has hard limits, returns an error that names the place of
//!   the damage, and never panics; `fuzz/` has a target for each. No path of a bundle leads out of its tree.
//! - **Opening takes one read of 512 bytes**: [`Carrier::read_footer`] gives the identity of every component. The
//!   index is parsed only when it is asked for.
//! - **Packing is deterministic.** The same input gives the same bytes on any host.
//! - **Packagers' tools may follow.** `strip`, `objcopy` and `patchelf` keep the bundle of an ELF carrier; a Mach-O
//!   carrier is signed ad hoc or later with an identity; a PE carrier can be signed with Authenticode.
//! - **Small changes stay small.** Frames end where the content says so, so most frames of the next version have
//!   the same bytes.
//!
//! # Limits
//!
//! - A digest finds damage, not malice: whoever can write the carrier can write its footer. Sign the carrier.
//! - Of permissions only "executable" is kept; owners, times and hard links are not. A tree with a special file is
//!   refused.
//! - A bundle in an ELF or Mach-O carrier has at most 4 GiB; [`Limits`] has the others. Universal Mach-O files are
//!   packed per slice.
//!
//! # Layout
//!
//! ```text
//! carrier:  code part … [ bundle ] … possibly more of the code part
//! bundle:   head (16 bytes) | frames | index | footer (512 bytes)
//! ```
//!
//! `docs/bundle-format.md` is the written format. Four parts of this crate implement it:
//!
//! | part | types |
//! |---|---|
//! | what a bundle says | [`Footer`], [`Index`] with [`Component`], [`Entry`] and [`Frame`] |
//! | where it lies in a file | [`Carrier::locate`], and `carriers`: one file or directory per object format ([`CarrierKind`]) |
//! | writing | [`Packing`], [`Cutting`] |
//! | reading | [`Carrier`], [`unpack`()], [`Carrier::verify`]; all decode in one parallel pipeline |
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
