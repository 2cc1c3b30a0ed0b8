//! Whether a document is believed: who signed it, what it says it is, and every reason to refuse it.

use super::{Issued, KeyId, Target, TrustedKeys};
use semver::Version;
use stigmer_bundle::Digest;

/// Longest `.minisig` in bytes.
pub const SIGNATURE_LEN: u64 = 4096;

/// Why something that was published is not believed. Nothing on disk has been changed by then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Nobody is trusted.
    #[error("this stigmer was built without a release key, so it can trust no release")]
    NoKeys,
    /// There is no signature.
    #[error("`{name}` is not signed")]
    Unsigned {
        /// The document.
        name: String,
    },
    /// What should be a signature is none, or is one of the old kind, over the bytes instead of their hash.
    #[error("`{name}.minisig` is not a signature: {reason}")]
    NotASignature {
        /// The document.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The signature is by somebody else.
    #[error("`{name}` is signed with the key {key}, which this stigmer does not trust; it trusts {trusted}")]
    UnknownKey {
        /// The document.
        name: String,
        /// Who signed it.
        key: KeyId,
        /// Who is trusted.
        trusted: String,
    },
    /// The signature is by a trusted key, and not of these bytes.
    #[error(
        "the signature of `{name}` is not of these bytes: it is another file's, or one of the two was changed"
    )]
    OtherBytes {
        /// The document.
        name: String,
    },
    /// The signature is of these bytes, but was made for something else.
    #[error("`{name}` was signed as {says:?}, not as {wanted:?}")]
    OtherPurpose {
        /// The document.
        name: String,
        /// The trusted comment.
        says: String,
        /// What it should be.
        wanted: String,
    },
    /// The document breaks a rule of its form.
    #[error("`{name}` is not as the format wants it: {reason}")]
    Malformed {
        /// The document.
        name: String,
        /// Which rule, where.
        reason: String,
    },
    /// The document is of a form this executable does not know.
    #[error("`{name}` has schema {found}; this stigmer reads schema 1")]
    UnknownSchema {
        /// The document.
        name: String,
        /// The schema it says it has.
        found: u64,
    },
    /// It is of another product.
    #[error("`{name}` is of the product {found:?}, not of `stigmer`")]
    OtherProduct {
        /// The document.
        name: String,
        /// Whose it is.
        found: String,
    },
    /// It is for another target.
    #[error("`{name}` is for {found}, not for {wanted}")]
    OtherTarget {
        /// The document.
        name: String,
        /// Which it is for.
        found: Target,
        /// Which was wanted.
        wanted: Target,
    },
    /// It is of another version than the listing, or the person, said.
    #[error("`{name}` is of version {found}, not of {wanted}")]
    OtherVersion {
        /// The document.
        name: String,
        /// Its version.
        found: Version,
        /// The version wanted.
        wanted: Version,
    },
    /// It is signed, and of the right version, but not the one in the listing.
    #[error("`{name}` is not the one that the listing names: parts of two releases are mixed")]
    NotTheListed {
        /// The document.
        name: String,
    },
    /// An older version than the one that runs.
    #[error("{offered} is older than {current}, which is installed")]
    Downgrade {
        /// What is installed.
        current: Version,
        /// What is offered.
        offered: Version,
    },
    /// An older listing than one seen before.
    #[error(
        "the listing was issued on {issued}, and one issued on {seen} was seen before: somebody offers an old one"
    )]
    Replayed {
        /// When this one was issued.
        issued: Issued,
        /// When the newest one known was.
        seen: Issued,
    },
    /// The runner was published before the one that was last had under its name.
    #[error(
        "the agent-runner `{name}` was issued on {issued}, and one issued on {seen} was here before: somebody offers an old one"
    )]
    OlderRunner {
        /// The name.
        name: String,
        /// When this one was issued.
        issued: Issued,
        /// When the one before was.
        seen: Issued,
        /// The file that says so.
        kept: std::path::PathBuf,
    },
    /// The file is shorter or longer than signed.
    #[error("`{name}` has {found} bytes; signed are {wanted}")]
    OtherSize {
        /// The file.
        name: String,
        /// Bytes it has, or at least this many.
        found: u64,
        /// Bytes signed.
        wanted: u64,
    },
    /// The bytes are not those that are signed.
    #[error("{what} of `{name}` does not match its signed digest")]
    OtherContent {
        /// The file.
        name: String,
        /// Which part of it.
        what: String,
    },
}

/// A document and what should be its signature.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// Its file name, for messages.
    pub name: &'a str,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The text of its `.minisig`; `None` if there is none.
    pub signature: Option<&'a [u8]>,
}

/// A document whose signature was checked.
#[derive(Debug)]
pub(super) struct Checked<'a> {
    name: &'a str,
    comment: String,
    key: KeyId,
}

/// What an update index must be.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its version: the one that the listing or the person named.
    pub version: Version,
    /// Its target.
    pub target: Target,
    /// Its digest, as the listing has it; `None` only where there is no listing.
    pub blake3: Option<Digest>,
}

impl Signed<'_> {
    /// Checks the signature and gives the key that made it. For a file whose purpose is a person's business.
    pub fn key(&self, keys: &TrustedKeys) -> Result<KeyId, TrustError> {
        self.check(keys).map(|checked| checked.key)
    }

    /// Checks the signature and that it was made for `purpose`, its trusted comment.
    pub fn key_for(&self, keys: &TrustedKeys, purpose: &str) -> Result<KeyId, TrustError> {
        let checked = self.check(keys)?;
        checked.expect_purpose(purpose)?;
        Ok(checked.key)
    }

    /// The trusted comment, if the signature is of these bytes and by one of `keys`.
    pub fn comment(&self, keys: &TrustedKeys) -> Result<String, TrustError> {
        self.check(keys).map(|checked| checked.comment)
    }

    pub(super) fn check(&self, keys: &TrustedKeys) -> Result<Checked<'_>, TrustError> {
        let name = || self.name.to_owned();
        if keys.is_empty() {
            return Err(TrustError::NoKeys);
        }
        let Some(text) = self.signature else {
            return Err(TrustError::Unsigned { name: name() });
        };
        let not_one = |reason: &str| TrustError::NotASignature { name: name(), reason: reason.to_owned() };
        if text.len() as u64 > SIGNATURE_LEN {
            return Err(not_one(&format!("it is longer than {SIGNATURE_LEN} bytes")));
        }
        let text = std::str::from_utf8(text).map_err(|_| not_one("it is not text"))?;
        let signature = minisign_verify::Signature::decode(text)
            .map_err(|_| not_one("it has not the four lines that minisign writes"))?;
        // Only for the message: the check below is by the crate that is made for untrusted bytes.
        let key = minisign::SignatureBox::from_string(text)
            .ok()
            .and_then(|signature| KeyId::from_bytes(signature.keynum()))
            .ok_or_else(|| not_one("it has not the four lines that minisign writes"))?;
        let mut known = false;
        for trusted in keys.iter().filter(|trusted| trusted.id() == key) {
            known = true;
            match trusted.key().verify(self.bytes, &signature, false) {
                Ok(()) => {
                    return Ok(Checked {
                        name: self.name,
                        comment: signature.trusted_comment().to_owned(),
                        key,
                    });
                }
                Err(minisign_verify::Error::UnexpectedAlgorithm) => {
                    return Err(not_one("it is of the old kind, which does not hash the file first"));
                }
                // Another key may have the same number.
                Err(_) => {}
            }
        }
        if known {
            return Err(TrustError::OtherBytes { name: name() });
        }
        Err(TrustError::UnknownKey { name: name(), key, trusted: keys.to_string() })
    }
}

impl Checked<'_> {
    /// The trusted comment must be `wanted`: a signature of one kind of document is none of another.
    pub(super) fn expect_purpose(&self, wanted: &str) -> Result<(), TrustError> {
        if self.comment == wanted {
            return Ok(());
        }
        Err(TrustError::OtherPurpose {
            name: self.name.to_owned(),
            says: self.comment.clone(),
            wanted: wanted.to_owned(),
        })
    }
}

/// Reads the `schema` of a JSON document, before anything else of it is believed to be known.
pub(super) fn expect_schema(name: &str, bytes: &[u8]) -> Result<(), TrustError> {
    #[derive(serde::Deserialize)]
    struct Head {
        schema: u64,
    }
    let head: Head = serde_json::from_slice(bytes).map_err(|e| malformed(name, e))?;
    if head.schema == 1 {
        return Ok(());
    }
    Err(TrustError::UnknownSchema { name: name.to_owned(), found: head.schema })
}

/// Refuses what is of another product.
pub(super) fn expect_product(name: &str, product: &str) -> Result<(), TrustError> {
    if product == super::PRODUCT {
        return Ok(());
    }
    Err(TrustError::OtherProduct { name: name.to_owned(), found: product.chars().take(40).collect() })
}

/// Why a document is malformed.
pub(super) struct Reason(String);

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<serde_json::Error> for Reason {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// A broken rule of the form.
pub(super) fn malformed(name: &str, reason: impl Into<Reason>) -> TrustError {
    TrustError::Malformed { name: name.to_owned(), reason: reason.into().0 }
}

/// Refuses to go back to an older version, unless the person said that this is wanted.
pub fn refuse_downgrade(current: &Version, offered: &Version, allowed: bool) -> Result<(), TrustError> {
    if allowed || offered >= current {
        return Ok(());
    }
    Err(TrustError::Downgrade { current: current.clone(), offered: offered.clone() })
}
