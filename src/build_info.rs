//! Facts that were built into this executable: its version, its target, and the keys whose releases it trusts.

use crate::config;
use stigmer_update::{Identity, KeysError, PublicKey, TrustedKeys};

/// The version of this executable: as in `Cargo.toml`, or as `STIGMER_VERSION` said when it was built.
pub const VERSION: &str = env!("STIGMER_VERSION");

/// The version with the commit it was built from, if known, and the target it was built for.
pub const LONG_VERSION: &str = concat!(env!("STIGMER_VERSION"), " (", env!("STIGMER_BUILD"), ")");

/// Value of the `User-Agent` header of every request this executable sends.
pub const USER_AGENT: &str = concat!("stigmer/", env!("STIGMER_VERSION"));

/// Address of the documentation, for messages of an executable that stands alone.
pub const DOCS_URL: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs");

/// The public keys this executable was built with (`build.rs`).
const RELEASE_KEYS: &str = include_str!(concat!(env!("OUT_DIR"), "/release-keys"));

/// The identity line of this executable, by which `bundle publish` recognizes it. Nothing may optimize it away.
#[used]
static IDENTITY_LINE: &str = concat!(
    "stigmer-identity/1 version=",
    env!("STIGMER_VERSION"),
    " triple=",
    env!("STIGMER_TRIPLE"),
    " commit=",
    env!("STIGMER_COMMIT"),
    "\u{3}"
);

/// The identity of this executable, read from its own identity line.
pub fn identity() -> Option<Identity> {
    Identity::of_line(std::hint::black_box(IDENTITY_LINE))
}

/// The keys this executable was built with.
///
/// # Errors
/// A built-in key is not a public key of minisign.
pub fn release_keys() -> Result<TrustedKeys, KeysError> {
    TrustedKeys::parse(RELEASE_KEYS)
}

/// The keys this executable was built with and those of the user's configuration.
///
/// # Errors
/// A key is not a public key of minisign.
pub fn trusted_keys(settings: &config::Update) -> Result<TrustedKeys, KeysError> {
    let mut keys = release_keys()?;
    for key in &settings.trusted_keys {
        keys.add(PublicKey::parse(key)?);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stigmer_update::Target;

    #[test]
    fn the_executable_holds_its_identity_line() {
        let own = identity().unwrap();
        assert_eq!(own.version.to_string(), VERSION);
        assert_eq!(own.target().ok(), Target::own());
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(Identity::find(&bytes).unwrap(), own);
    }
}
