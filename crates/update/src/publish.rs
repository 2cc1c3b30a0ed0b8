//! From carriers to what is uploaded: every file of a release, in the layout of its host, signed, and listed.
//!
//! Nothing is published that was not read back: the carrier is verified to its last byte, the code part is decoded again and put
//! together with the frames, and each document is read by the eyes of those who will fetch it. The files of a release are written
//! before the listing that leads to them.
//!
//! Everything but the signatures, which hold something random, is a function of the carriers and the time of issue. What is
//! there already and right stays as it is, signatures too, so to run it again changes nothing.

use super::index::{UpdateIndex, What};
use super::older::Patching;
use super::{
    Asked, Asset, Channel, Described, Identity, IndexRef, Issued, KeysError, Listing, Release, Sha256,
    Signed, SigningError, SigningKey, Target, TrustError, TrustedKeys, describe,
};
use fs_err as fs;
use semver::Version;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use stigmer_bundle::{BundleError, Carrier, CodePart, Digest};

/// The checksums of a release, as `sha256sum` reads them.
pub const SUMS: &str = "SHA256SUMS";

/// What is added to the name of a file to name its signature.
pub const SIGNATURE: &str = ".minisig";

/// What to publish, and where to.
pub struct Publishing<'a> {
    /// The carriers, at most one for each target.
    pub carriers: &'a [PathBuf],
    /// The version they must have; `None` takes theirs.
    pub version: Option<Version>,
    /// The channel.
    pub channel: Channel,
    /// When the release is issued.
    pub issued: Issued,
    /// Where a person reads what is new.
    pub notes_url: Option<String>,
    /// Who signs.
    pub key: &'a SigningKey,
    /// Whose signature under the existing listing is believed, besides that of `key`.
    pub trusted: TrustedKeys,
    /// The listing that is continued; `None` continues the one in `out`, if there is one.
    pub listing: Option<&'a Path>,
    /// The directory to write.
    pub out: &'a Path,
    /// `OWNER/REPO` on GitHub, if the release goes there too.
    pub github: Option<&'a str>,
    /// How hard the code part is compressed.
    pub level: i32,
    /// From how many older releases patches of the code part are made, at most [`super::IndexLimits::PATCHES`].
    pub patches: usize,
}

/// What was published.
#[derive(Debug)]
pub struct Published {
    /// The version.
    pub version: Version,
    /// Each carrier.
    pub rows: Vec<PublishedTarget>,
    /// The listing.
    pub listing: PathBuf,
    /// How many files were written; the others were there already.
    pub written: usize,
    /// How many releases the listing has now.
    pub releases: usize,
    /// What a maintainer should know.
    pub remarks: Vec<String>,
}

/// One carrier that was published.
#[derive(Debug)]
pub struct PublishedTarget {
    /// Its target.
    pub target: Target,
    /// The directory of its files.
    pub dir: PathBuf,
    /// Its update index.
    pub index: UpdateIndex,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A carrier is none.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The existing listing is not believed.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The key does not sign.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// A file is not fit to be published.
    #[error("cannot publish `{}`: {reason}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl From<KeysError> for PublishError {
    fn from(error: KeysError) -> Self {
        Self::Signing(error.into())
    }
}

/// A carrier that was looked at.
struct Source<'a> {
    path: &'a Path,
    carrier: Carrier,
    identity: Identity,
    target: Target,
}

/// A file to be written: its name, its bytes, and what its signature says.
struct Part<'a> {
    name: String,
    bytes: &'a [u8],
    purpose: Option<String>,
}

impl Publishing<'_> {
    /// Publishes.
    ///
    /// # Errors
    /// [`PublishError::Refused`] says which file is not fit for it and why. The listing is as it was then.
    pub fn run(&self) -> Result<Published, PublishError> {
        let mut keys = self.trusted.clone();
        keys.add(self.key.public()?);
        let sources = self.sources()?;
        let Some(version) = sources.first().map(|source| source.identity.version.clone()) else {
            return Err(refused(self.out, "no carrier was named"));
        };
        let old = self.existing(&keys)?;
        let before = old.as_ref().and_then(|listing| listing.release(&version)).cloned();
        let mut release = self.begin(&version, before.as_ref())?;
        let (mut described, mut remarks) = (Vec::new(), Vec::new());
        for source in &sources {
            described.push(self.one(source, old.as_ref(), &mut release, &mut remarks)?);
        }
        let listing = self.listed(old, release)?;
        let mut files = Writer { key: self.key, own: TrustedKeys::default(), written: 0 };
        files.own.add(self.key.public()?);
        let flat = self.github.map(|_| self.out.join("github").join(format!("v{version}")));
        let mut rows = Vec::new();
        for (source, Described { index, code, patches }) in sources.iter().zip(described) {
            let dir = self.out.join(version.to_string()).join(source.target.as_str());
            let described = index.to_bytes();
            for into in [Some(&dir), flat.as_ref()].into_iter().flatten() {
                files.put(into, &Part::plain(&index.carrier.name, source.carrier.bytes()))?;
                stigmer_platform::set_mode(&into.join(&index.carrier.name), 0o755)?;
                files.put(into, &Part::plain(&index.code.name, &code))?;
                for (patch, bytes) in index.patches.iter().zip(&patches) {
                    files.put(into, &Part::plain(&patch.name, bytes))?;
                }
                let purpose = UpdateIndex::purpose(&version, source.target);
                files.put(into, &Part::signed(&source.target.index_name(&version), &described, purpose))?;
            }
            rows.push(PublishedTarget { target: source.target, dir, index });
        }
        // In the order of the listing, whichever order the carriers were named in: to publish again must change nothing.
        let sums = listing.release(&version).map(sums).unwrap_or_default();
        let of_release = self.out.join(version.to_string());
        for into in [Some(&of_release), flat.as_ref()].into_iter().flatten() {
            files.put(
                into,
                &Part::signed(SUMS, sums.as_bytes(), format!("{} {version} checksums", super::PRODUCT)),
            )?;
        }
        for (into, repository) in [(Some(&self.out.to_owned()), None), (flat.as_ref(), self.github)] {
            let Some(into) = into else { continue };
            let bytes = addressed(&listing, repository).to_bytes();
            Listing::parse(Listing::NAME, &bytes)?;
            files.put(into, &Part::signed(Listing::NAME, &bytes, Listing::purpose()))?;
        }
        Ok(Published {
            version,
            rows,
            listing: self.out.join(Listing::NAME),
            written: files.written,
            releases: listing.releases.len(),
            remarks,
        })
    }

    /// The carriers, each verified and fit to be published.
    fn sources(&self) -> Result<Vec<Source<'_>>, PublishError> {
        let mut sources: Vec<Source<'_>> = Vec::new();
        for path in self.carriers {
            let carrier = Carrier::open(path)?;
            if let Some(problem) = carrier.verify()?.problems.into_iter().next() {
                return Err(refused(path, format!("component `{}`: {}", problem.component, problem.what)));
            }
            if carrier.code_part() == CodePart::Changed {
                return Err(refused(path, "its code part changed since it was packed"));
            }
            // In bounds: the range was found in these bytes.
            let code = usize::try_from(carrier.range().start).ok().and_then(|end| carrier.bytes().get(..end));
            let identity =
                Identity::find(code.unwrap_or_default()).map_err(|e| refused(path, e.to_string()))?;
            let target = identity.target().map_err(|e| refused(path, e.to_string()))?;
            if !identity.version.build.is_empty() {
                // Two versions that differ in it alone have no order, and a `+` does not survive in every address.
                return Err(refused(path, format!("its version, {}, has build metadata", identity.version)));
            }
            let wanted =
                self.version.as_ref().or_else(|| sources.first().map(|first| &first.identity.version));
            if let Some(wanted) = wanted.filter(|wanted| **wanted != identity.version) {
                return Err(refused(path, format!("it is version {}, not {wanted}", identity.version)));
            }
            if let Some(other) = sources.iter().find(|other| other.target == target) {
                return Err(refused(path, format!("it is for {target}, as `{}` is", other.path.display())));
            }
            sources.push(Source { path, carrier, identity, target });
        }
        Ok(sources)
    }

    /// The listing that is continued, verified.
    fn existing(&self, keys: &TrustedKeys) -> Result<Option<Listing>, PublishError> {
        let path = self.listing.map_or_else(|| self.out.join(Listing::NAME), Path::to_owned);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.listing.is_none() => {
                return Ok(None);
            }
            other => other?,
        };
        let signature = match fs::read(with_signature(&path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => Some(other?),
        };
        let name = path.display().to_string();
        let signed = Signed { name: &name, bytes: &bytes, signature: signature.as_deref() };
        Ok(Some(Listing::trusted(&signed, keys)?))
    }

    /// The release as it is listed already, or a new one.
    fn begin(&self, version: &Version, before: Option<&Release>) -> Result<Release, PublishError> {
        let Some(before) = before else {
            return Ok(Release {
                version: version.clone(),
                channel: self.channel.clone(),
                date: self.issued,
                notes_url: self.notes_url.clone(),
                assets: Vec::new(),
                indexes: BTreeMap::new(),
            });
        };
        if before.channel != self.channel {
            return Err(refused(
                self.out,
                format!("version {version} is listed on the channel `{}` already", before.channel),
            ));
        }
        let mut release = before.clone();
        if self.notes_url.is_some() {
            release.notes_url.clone_from(&self.notes_url);
        }
        Ok(release)
    }

    /// Describes one carrier and enters it into `release`.
    fn one(
        &self,
        source: &Source<'_>,
        listing: Option<&Listing>,
        release: &mut Release,
        remarks: &mut Vec<String>,
    ) -> Result<Described, PublishError> {
        let Source { carrier, identity, target, path } = source;
        // A release has one time of issue, also of a target that is added to it later.
        let mut described = describe(carrier, identity, *target, &release.channel, release.date, self.level)?;
        let code = read_back(carrier, &described).map_err(|reason| refused(path, reason))?;
        let patching = Patching { out: self.out, listing, most: self.patches, level: self.level };
        remarks.extend(patching.add_to(&mut described, &code)?);
        let bytes = described.index.to_bytes();
        let blake3 = Digest::of(&bytes);
        let name = target.index_name(&release.version);
        UpdateIndex::parse(&name, &bytes)?;
        match release.index(*target) {
            Some(listed) if listed.blake3 == blake3 => return Ok(described),
            Some(_) => {
                let reason = format!(
                    "version {} for {target} is listed already, with other bytes: publish a new version",
                    release.version
                );
                return Err(refused(path, reason));
            }
            None => {}
        }
        let asset = |name: &str, bytes: Option<&[u8]>| Asset {
            name: name.to_owned(),
            url: format!("{}/{target}/{name}", release.version),
            digest: bytes.map(|bytes| Sha256::of(bytes).prefixed()),
        };
        // The carrier first: `self_update` takes the first whose name fits.
        let assets = [
            asset(&described.index.carrier.name, Some(carrier.bytes())),
            asset(&name, Some(&bytes)),
            asset(&format!("{name}{SIGNATURE}"), None),
            asset(&described.index.code.name, Some(&described.code)),
        ];
        release.assets.extend(assets);
        let patches = described.index.patches.iter().zip(&described.patches);
        release.assets.extend(patches.map(|(patch, bytes)| asset(&patch.name, Some(bytes))));
        release.indexes.insert(target.to_string(), IndexRef { name, blake3 });
        Ok(described)
    }

    /// The listing with `release` in it, its addresses relative.
    fn listed(&self, old: Option<Listing>, mut release: Release) -> Result<Listing, PublishError> {
        let order = |asset: &Asset| {
            Target::ALL.iter().position(|t| asset.name.starts_with(&t.stem(&release.version)))
        };
        let mut assets = std::mem::take(&mut release.assets);
        assets.sort_by_key(order);
        release.assets = assets;
        let mut listing = addressed(&old.clone().unwrap_or_else(|| Listing::new(self.issued)), None);
        listing.releases.retain(|other| other.version != release.version);
        listing.releases.push(release);
        listing.releases.sort_by(|a, b| b.version.cmp(&a.version));
        let Some(old) = old else { return Ok(listing) };
        if addressed(&old, None).releases != listing.releases {
            if self.issued < old.issued {
                let reason = format!(
                    "the listing was issued on {}, after {}: everybody who has seen it would refuse this one",
                    old.issued, self.issued
                );
                return Err(refused(self.out, reason));
            }
            listing.issued = self.issued;
        }
        Ok(listing)
    }
}

impl<'a> Part<'a> {
    fn plain(name: &str, bytes: &'a [u8]) -> Self {
        Self { name: name.to_owned(), bytes, purpose: None }
    }

    fn signed(name: &str, bytes: &'a [u8], purpose: String) -> Self {
        Self { name: name.to_owned(), bytes, purpose: Some(purpose) }
    }
}

/// Writes files that are not there yet.
struct Writer<'a> {
    key: &'a SigningKey,
    own: TrustedKeys,
    written: usize,
}

impl Writer<'_> {
    fn put(&mut self, dir: &Path, part: &Part<'_>) -> Result<(), PublishError> {
        fs::create_dir_all(dir)?;
        let path = dir.join(&part.name);
        if let Some(purpose) = &part.purpose {
            let beside = with_signature(&path);
            let old = fs::read(&beside).ok();
            let signed = Signed { name: &part.name, bytes: part.bytes, signature: old.as_deref() };
            if signed.key_for(&self.own, purpose).is_err() {
                write(&beside, self.key.sign(part.bytes, purpose)?.as_bytes())?;
                self.written += 1;
            }
        }
        if !holds(&path, part.bytes)? {
            write(&path, part.bytes)?;
            self.written += 1;
        }
        Ok(())
    }
}

/// Where the signature of the file at `path` stands.
pub fn with_signature(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(SIGNATURE);
    name.into()
}

/// Whether the file at `path` has these bytes.
fn holds(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(meta) if meta.len() == bytes.len() as u64 => Ok(fs::read(path)? == bytes),
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a file whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".stigmer-publish-").tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    stigmer_platform::set_mode(file.path(), 0o644)?;
    file.persist(path).map_err(|e| {
        io::Error::new(e.error.kind(), format!("cannot write `{}`: {}", path.display(), e.error))
    })?;
    Ok(())
}

/// The listing with the addresses of a host: of GitHub, or relative to the listing.
fn addressed(listing: &Listing, repository: Option<&str>) -> Listing {
    let mut listing = listing.clone();
    for release in &mut listing.releases {
        let version = &release.version;
        for asset in &mut release.assets {
            let name = &asset.name;
            let Some(target) = Target::ALL.into_iter().find(|t| name.starts_with(&t.stem(version))) else {
                continue;
            };
            asset.url = match repository {
                Some(repository) => {
                    format!("https://github.com/{repository}/releases/download/v{version}/{name}")
                }
                None => format!("{version}/{target}/{name}"),
            };
        }
    }
    listing
}

/// The lines of `SHA256SUMS`: every file of the release that has a digest, by its bare name.
fn sums(release: &Release) -> String {
    let digest = |asset: &Asset| asset.digest.as_deref().and_then(Sha256::from_prefixed);
    release
        .assets
        .iter()
        .filter_map(|asset| digest(asset).map(|digest| format!("{digest}  {}\n", asset.name)))
        .collect()
}

/// Puts the carrier together again from what is published of it. Returns its code part.
fn read_back(carrier: &Carrier, described: &Described) -> Result<Vec<u8>, String> {
    let Described { index, code, .. } = described;
    let place = |at: u64, size: u64| {
        let at = usize::try_from(at).ok()?;
        Some(at..at.checked_add(usize::try_from(size).ok()?)?)
    };
    let mut raw = Vec::new();
    for placed in index.code.placed() {
        let chunk = placed.chunk;
        let packed =
            place(placed.at, chunk.size).and_then(|range| code.get(range)).ok_or("a chunk is missing")?;
        let limit = usize::try_from(chunk.raw_size).map_err(|_| "a chunk is too large")?;
        raw.extend(
            zstd::bulk::decompress(packed, limit).map_err(|e| format!("a chunk does not decode: {e}"))?,
        );
    }
    let whole = carrier.bytes();
    for run in index.runs() {
        let found = place(run.at, run.size).and_then(|range| whole.get(range)).ok_or("a run is missing")?;
        let same = match run.what {
            What::Code { raw_at } => place(raw_at, run.size).and_then(|range| raw.get(range)) == Some(found),
            What::Frame { blake3 } => Digest::of(found) == blake3,
        };
        if !same {
            return Err(format!("byte {} on is not what its update index says", run.at));
        }
    }
    Ok(raw)
}

fn refused(path: &Path, reason: impl Into<String>) -> PublishError {
    PublishError::Refused { path: path.to_owned(), reason: reason.into() }
}

/// What an update index must be that belongs to the carrier `index` describes: itself.
pub fn asked_of(index: &UpdateIndex) -> Asked {
    Asked { version: index.version.clone(), target: index.target, blake3: None }
}
