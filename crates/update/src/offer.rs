//! What is offered: the listing of the source, the release to take, and its update index, each believed before it is used.

use super::error::UpdateError;
use super::http::{Client, FetchError, Why};
use super::index::{IndexLimits, Patch};
use super::listing::ListingLimits;
use super::{
    Asked, Channel, Issued, Listing, Release, SIGNATURE_LEN, Seen, Signed, Source, Target, TrustedKeys,
    UpdateIndex,
};
use semver::Version;
use std::time::SystemTime;
use stigmer_bundle::Digest;

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// This version; the newest if there is none.
    pub version: Option<Version>,
    /// Of what is offered on this channel.
    pub channel: Channel,
    /// For these machines.
    pub target: Target,
}

/// A release that is offered.
#[derive(Debug)]
pub struct Offer {
    /// What the listing says of it.
    pub release: Release,
    /// For which target.
    pub target: Target,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// The address of each file.
    addresses: Vec<(String, String)>,
}

/// A release that is offered, with its update index.
#[derive(Debug)]
pub struct Chosen {
    /// The update index.
    pub index: UpdateIndex,
    /// Its digest.
    pub digest: Digest,
    /// The address of the carrier.
    pub carrier_url: String,
    /// The address of the compressed code part.
    pub code_url: String,
    /// The patches that the listing has an address for.
    pub(super) patches: Vec<(Patch, String)>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl Offer {
    /// Asks the source what there is, and chooses. That a listing was seen is remembered, so that no older one is believed from
    /// now on.
    pub fn find(
        client: &Client,
        source: &Source,
        keys: &TrustedKeys,
        seen: &mut Seen,
        wanted: &Wanted,
    ) -> Result<Self, UpdateError> {
        let url = source.listing_url();
        let (bytes, signature) = signed(client, url, &format!("{url}.minisig"), ListingLimits::LEN)?;
        let listing = Listing::trusted(
            &Signed { name: Listing::NAME, bytes: &bytes, signature: signature.as_deref() },
            keys,
        )?;
        seen.check(&wanted.channel, listing.issued)?;
        seen.remember(&wanted.channel, listing.issued)?;
        let release = choose(&listing, wanted)?.clone();
        let warnings = listing.issued.clock_warning(Listing::NAME, SystemTime::now()).into_iter().collect();
        let addresses = addresses(&bytes, url, &release.version)?;
        Ok(Self { release, target: wanted.target, warnings, addresses })
    }

    /// Whether it is newer than `current`.
    pub fn is_newer_than(&self, current: &Version) -> bool {
        let (current, offered) = (current.to_string(), self.release.version.to_string());
        // Both were parsed before, so there is an answer.
        self_update::version::bump_is_greater(&current, &offered).unwrap_or(false)
    }

    /// Fetches its update index.
    pub fn describe(&self, client: &Client, keys: &TrustedKeys) -> Result<Chosen, UpdateError> {
        let version = &self.release.version;
        let name = self.target.index_name(version);
        let url = self.address(&name)?;
        let signature_url = self.address(&format!("{name}.minisig"))?;
        let (bytes, signature) = signed(client, url, signature_url, IndexLimits::LEN)?;
        let listed = self.release.index(self.target).map(|index| index.blake3);
        let asked = Asked { version: version.clone(), target: self.target, blake3: listed };
        let signed = Signed { name: &name, bytes: &bytes, signature: signature.as_deref() };
        let index = UpdateIndex::trusted(&signed, keys, &asked)?;
        Ok(Chosen {
            digest: Digest::of(&bytes),
            carrier_url: self.address(&index.carrier.name)?.to_owned(),
            code_url: self.address(&index.code.name)?.to_owned(),
            patches: (index.patches.iter())
                .filter_map(|patch| Some((patch.clone(), self.address(&patch.name).ok()?.to_owned())))
                .collect(),
            warnings: clock_warning(&name, index.issued),
            index,
        })
    }

    fn address(&self, name: &str) -> Result<&str, UpdateError> {
        self.addresses
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, url)| url.as_str())
            .ok_or_else(|| UpdateError::Listing(format!("{} has no file `{name}`", self.release.version)))
    }
}

/// What to tell a person of a document from the future.
pub(super) fn clock_warning(name: &str, issued: Issued) -> Vec<String> {
    issued.clock_warning(name, SystemTime::now()).into_iter().collect()
}

/// Fetches a document and its signature. A signature that is not there is for the check of the document to judge.
fn signed(
    client: &Client,
    url: &str,
    signature_url: &str,
    limit: u64,
) -> Result<(Vec<u8>, Option<Vec<u8>>), FetchError> {
    let bytes = client.small(url, limit)?;
    match client.small(signature_url, SIGNATURE_LEN) {
        Ok(signature) => Ok((bytes, Some(signature))),
        Err(FetchError { why: Why::Missing, .. }) => Ok((bytes, None)),
        Err(error) => Err(error),
    }
}

/// The release that is wanted.
fn choose<'a>(listing: &'a Listing, wanted: &Wanted) -> Result<&'a Release, UpdateError> {
    let newest = listing.newest(&wanted.channel, wanted.target);
    let Some(version) = &wanted.version else {
        return newest.ok_or_else(|| UpdateError::NoReleases {
            target: wanted.target,
            channel: wanted.channel.to_string(),
        });
    };
    listing.release(version).filter(|release| release.index(wanted.target).is_some()).ok_or_else(|| {
        UpdateError::NoRelease {
            version: version.to_string(),
            target: wanted.target,
            channel: wanted.channel.to_string(),
            newest: newest
                .map_or_else(|| "not there either".to_owned(), |release| release.version.to_string()),
        }
    })
}

/// The files of a release and their addresses, as the library for such listings resolves them. The bytes are believed already.
fn addresses(bytes: &[u8], url: &str, version: &Version) -> Result<Vec<(String, String)>, UpdateError> {
    let text = std::str::from_utf8(bytes).map_err(|error| UpdateError::Listing(error.to_string()))?;
    let releases = self_update::backends::manifest::parse_manifest(text, url)
        .map_err(|error| UpdateError::Listing(error.to_string()))?;
    let version = version.to_string();
    let release = releases.iter().find(|release| release.version() == version);
    let assets = release.map(self_update::Release::assets).unwrap_or_default();
    Ok(assets.iter().map(|asset| (asset.name().to_owned(), asset.download_url().to_owned())).collect())
}
