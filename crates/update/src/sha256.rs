//! SHA-256, for those who check a release with the tools they have: `sha256sum`, Homebrew, `self_update`.

use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use std::fmt;
use stigmer_bundle::Digest;

/// A SHA-256 digest, written as 64 lower-case hexadecimal digits, as a [`Digest`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sha256(Digest);

impl Sha256 {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Digest::from_bytes(sha2::Sha256::digest(bytes).into()))
    }

    /// As listings and GitHub write it: `sha256:…`.
    pub fn prefixed(self) -> String {
        format!("sha256:{self}")
    }

    /// The digest that [`Sha256::prefixed`] wrote.
    pub fn from_prefixed(text: &str) -> Option<Self> {
        text.strip_prefix("sha256:")?.parse().ok().map(Self)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_one_of_fips_180() {
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Sha256::of(b"abc").prefixed(), abc);
        assert_eq!(Sha256::from_prefixed(abc), Some(Sha256::of(b"abc")));
        assert_eq!(Sha256::from_prefixed(&abc[7..]), None);
    }
}
