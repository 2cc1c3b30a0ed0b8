//! The listing: which releases there are, and which update index belongs to each of their targets.
//!
//! Its form is that of `self_update`'s backend for static hosts, with fields of ours beside; both ignore what they do not know,
//! so that a new field does not cut off old clients. It is signed as a whole, and it names each index by its digest, so that
//! no release can be put together from parts of two.

use super::trust::{self, Signed, TrustError, malformed};
use super::{Channel, Issued, Sha256, Target, TrustedKeys};
use semver::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use stigmer_bundle::Digest;

/// Hard limits of schema 1.
#[derive(Debug, Clone, Copy)]
pub struct ListingLimits;

impl ListingLimits {
    /// Longest listing in bytes, which is also that of `self_update`.
    pub const LEN: u64 = 4 << 20;
    /// Most releases.
    pub const RELEASES: usize = 10_000;
    /// Most assets of one release.
    pub const ASSETS: usize = 256;
    /// Longest address or name in bytes.
    pub const TEXT: usize = 1024;
}

/// The listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The version of this form: 1.
    pub schema: u64,
    /// Whose it is: `stigmer`.
    pub product: String,
    /// When it was issued.
    pub issued: Issued,
    /// The releases, the newest version first.
    pub releases: Vec<Release>,
}

/// One version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The version.
    pub version: Version,
    /// The channel it is on.
    pub channel: Channel,
    /// When it was issued.
    pub date: Issued,
    /// Where a person reads what is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes_url: Option<String>,
    /// Its files.
    pub assets: Vec<Asset>,
    /// The update index of each target. Targets that this executable does not know may be among them.
    pub indexes: BTreeMap<String, IndexRef>,
}

/// A file of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asset {
    /// Its name.
    pub name: String,
    /// Its address: absolute, or relative to the directory of the listing.
    pub url: String,
    /// Its digest, `sha256:…`. A signature has none: it is another one each time it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Which update index belongs to a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexRef {
    /// The name of the asset.
    pub name: String,
    /// BLAKE3 of it.
    pub blake3: Digest,
}

impl Listing {
    /// Its file name, on every host.
    pub const NAME: &'static str = "releases.json";

    /// An empty listing.
    pub fn new(issued: Issued) -> Self {
        Self { schema: 1, product: super::PRODUCT.to_owned(), issued, releases: Vec::new() }
    }

    /// The trusted comment of its signature.
    pub fn purpose() -> String {
        format!("{} listing", super::PRODUCT)
    }

    /// The listing in `signed`, if it may be believed.
    ///
    /// # Errors
    /// Every reason has its own: see [`TrustError`]. Whether it is an old one is for [`super::Seen`] to say.
    pub fn trusted(signed: &Signed<'_>, keys: &TrustedKeys) -> Result<Self, TrustError> {
        let checked = signed.check(keys)?;
        checked.expect_purpose(&Self::purpose())?;
        Self::parse(signed.name, signed.bytes)
    }

    /// Reads a listing and checks every rule of its form. It is not believed by that: see [`Listing::trusted`].
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, TrustError> {
        if bytes.len() as u64 > ListingLimits::LEN {
            return Err(malformed(
                name,
                format!("{} bytes; at most {} are possible", bytes.len(), ListingLimits::LEN),
            ));
        }
        trust::expect_schema(name, bytes)?;
        let listing: Self = serde_json::from_slice(bytes).map_err(|e| malformed(name, e))?;
        trust::expect_product(name, &listing.product)?;
        listing.check().map_err(|reason| malformed(name, reason))?;
        Ok(listing)
    }

    /// Its bytes as they are published and signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// The newest release that is offered to who is on `channel`, of those made for `target`.
    pub fn newest(&self, channel: &Channel, target: Target) -> Option<&Release> {
        let offered = self.releases.iter().filter(|release| channel.offers(&release.channel));
        offered.filter(|release| release.index(target).is_some()).max_by(|a, b| a.version.cmp(&b.version))
    }

    /// The release of this version.
    pub fn release(&self, version: &Version) -> Option<&Release> {
        self.releases.iter().find(|release| release.version == *version)
    }

    fn check(&self) -> Result<(), String> {
        if self.releases.len() > ListingLimits::RELEASES {
            return Err(format!(
                "{} releases; at most {} are possible",
                self.releases.len(),
                ListingLimits::RELEASES
            ));
        }
        for pair in self.releases.windows(2) {
            if pair[0].version <= pair[1].version {
                return Err(format!(
                    "version {} stands after {}: the newest comes first, and each once",
                    pair[1].version, pair[0].version
                ));
            }
        }
        self.releases.iter().try_for_each(|release| {
            release.check().map_err(|reason| format!("version {}: {reason}", release.version))
        })
    }
}

impl Release {
    /// The update index for `target`, as the listing names it.
    pub fn index(&self, target: Target) -> Option<&IndexRef> {
        self.indexes.get(target.as_str())
    }

    /// The file called `name`.
    pub fn asset(&self, name: &str) -> Option<&Asset> {
        self.assets.iter().find(|asset| asset.name == name)
    }

    fn check(&self) -> Result<(), String> {
        if self.assets.len() > ListingLimits::ASSETS {
            return Err(format!(
                "{} assets; at most {} are possible",
                self.assets.len(),
                ListingLimits::ASSETS
            ));
        }
        for (i, asset) in self.assets.iter().enumerate() {
            asset.check()?;
            if self.assets[..i].iter().any(|other| other.name == asset.name) {
                return Err(format!("asset `{}` stands twice", asset.name));
            }
        }
        if let Some(notes) = &self.notes_url
            && !(is_absolute(notes) && is_address(notes))
        {
            return Err("its notes_url is not the address of a page".to_owned());
        }
        for (target, index) in &self.indexes {
            let Some(target) = Target::ALL.into_iter().find(|known| known.as_str() == target) else {
                continue;
            };
            for wanted in [
                target.index_name(&self.version),
                target.index_name(&self.version) + ".minisig",
                target.carrier_name(&self.version),
                target.code_name(&self.version),
            ] {
                if self.asset(&wanted).is_none() {
                    return Err(format!("{target}: it has no asset `{wanted}`"));
                }
            }
            if index.name != target.index_name(&self.version) {
                return Err(format!(
                    "{target}: its index is not called `{}`",
                    target.index_name(&self.version)
                ));
            }
        }
        Ok(())
    }
}

impl Asset {
    /// Its address, if the listing was fetched from `listing_url`.
    pub fn resolve(&self, listing_url: &str) -> String {
        if is_absolute(&self.url) {
            return self.url.clone();
        }
        // What follows `?` or `#` is no directory.
        let path = listing_url.split(['?', '#']).next().unwrap_or_default();
        format!("{}{}", path.rfind('/').map_or("", |end| &path[..=end]), self.url)
    }

    fn check(&self) -> Result<(), String> {
        let named = self.name.len() <= 255
            && self.name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && self.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(&b));
        if !named {
            return Err(format!(
                "an asset cannot be called {:?}",
                self.name.chars().take(80).collect::<String>()
            ));
        }
        let relative =
            || !self.url.contains(':') && self.url.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !is_address(&self.url) || !(is_absolute(&self.url) || relative()) {
            return Err(format!("asset `{}`: its url is neither absolute nor below the listing", self.name));
        }
        if self.digest.as_ref().is_some_and(|digest| Sha256::from_prefixed(digest).is_none()) {
            return Err(format!("asset `{}`: its digest has not the form `sha256:…`", self.name));
        }
        Ok(())
    }
}

fn is_absolute(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// Whether nothing in `url` could be taken for something else on its way.
fn is_address(url: &str) -> bool {
    (1..=ListingLimits::TEXT).contains(&url.len())
        && url.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\<>^`{|}".contains(&b))
}
