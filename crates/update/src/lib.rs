//! Releases: what they consist of, who may issue them, and what is refused.
//!
//! `docs/release-format.md` is the written format. A *release* is one version for several *targets*. The *listing* says which
//! releases there are; the *update index* describes one carrier to its last byte. Both are signed. All else that is fetched is
//! bound to them by its hash, so the host that gives it need not be trusted.
//!
//! The map, from the top down:
//!
//! - [`Installed`]: an update from beginning to end; [`Offer`] is what it may be to, and [`owner`] who else looks after it.
//! - [`publish`]: from carriers to what is uploaded. For maintainers.
//! - [`describe`]: a carrier to its update index and the compressed copy of its code part.
//! - [`Listing`] and [`UpdateIndex`]: the two signed documents, with every rule of their form.
//! - [`Seen`]: the newest listing ever seen, so that an old one cannot be played again.
//! - [`TrustedKeys`] and [`SigningKey`]: who is believed, and how to be.
//! - [`Target`] and [`Identity`]: which machines a carrier is for, and what an executable says of itself.
//!
//! The bytes are untrusted until their signature was checked, and parsed with hard limits even then. Each refusal is a
//! [`TrustError`] of its own.
#![forbid(unsafe_code)]

mod apply;
mod describe;
mod error;
mod fetch;
#[doc(hidden)]
pub mod fuzzing;
mod headers;
mod http;
mod identity;
mod index;
mod install;
mod kept;
mod keys;
mod listing;
mod notice;
mod offer;
mod older;
mod ownership;
mod patch;
mod plan;
mod proxy;
pub mod publish;
mod recipe;
pub mod runner;
mod seed;
mod seen;
mod sha256;
mod sign;
mod source;
mod staging;
mod target;
mod time;
mod trust;

pub use apply::{ApplyError, previous_of};
pub use describe::{Described, describe};
pub use error::UpdateError;
pub use http::{Client, ClientError, ClientOptions, FetchError, Why};
pub use identity::{BEGIN as IDENTITY_BEGIN, Identity, IdentityError};
pub use index::{Chunk, Code, IndexLimits, Patch, Placed, Run, Segment, UpdateIndex, What, Whole};
pub use install::{Installation, Installed};
pub use kept::{FetchedRunners, Kept, collect as collect_runners};
pub use keys::{KeyId, KeysError, PublicKey, TrustedKeys};
pub use listing::{Asset, IndexRef, Listing, ListingLimits, Release};
pub use notice::{Notice, OFF_VARIABLE};
pub use offer::{Chosen, Offer, Wanted};
pub use ownership::{MARKER, Owner, owner, owner_by_files};
pub use plan::Sums;
pub use seen::{Seen, SeenError};
pub use sha256::Sha256;
pub use sign::{Password, SigningError, SigningKey};
pub use source::{DEFAULT_URL, Source, SourceError, URL_VARIABLE};
pub use target::{Channel, Target};
pub use time::Issued;
pub use trust::{Asked, SIGNATURE_LEN, Signed, TrustError, refuse_downgrade};

/// The product's name, as it stands in every signed document.
pub const PRODUCT: &str = "stigmer";
