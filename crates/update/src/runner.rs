//! A runner that is published by itself, under a name: for trying one before a release carries it (`stigmer server --version NAME`).
//!
//! Two files on a static host, below NAME/TARGET/: `agent-runner.bundle`, a carrier around a few lines of text, and `agent-runner.json`,
//! signed, which says what it must be. Who may publish is who may publish releases: the same keys are trusted. What was fetched is kept in the
//! home, so that a start without the network has it, and so that a damaged entry can be repaired from it.

use super::http::{Client, FetchError, Receiver, Why};
use super::trust::{self, SIGNATURE_LEN};
use super::{
    Issued, KeysError, Listing, Sha256, Signed, SigningError, SigningKey, Source, Target, TrustError,
    TrustedKeys, Whole, publish,
};
use crate::kept::FetchedRunners;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use stigmer_bundle::{BundleError, Carrier, Cutting, Digest, Packing};
use stigmer_store::Progress;

/// The component that is published.
pub const COMPONENT: &str = "agent-runner";
/// Its bundle, below NAME/TARGET/.
const BUNDLE: &str = "agent-runner.bundle";
/// What it must be, beside it.
const INDEX: &str = "agent-runner.json";
/// What the bundle is appended to: for whoever looks into the file.
const BASE: &str =
    "The agent-runner of stigmer, as a bundle. `stigmer bundle inspect FILE` says what is in it.\n";
/// Longest index in bytes.
const INDEX_LEN: u64 = 16 << 10;
/// Largest bundle in bytes.
const BUNDLE_LEN: u64 = 16 << 30;

/// The name of a published runner: 1 to 64 letters, digits, dots, dashes and low lines, a letter or digit first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RunnerName(String);

/// What a published runner must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunnerIndex {
    schema: u64,
    product: String,
    /// The name it is published under.
    pub name: RunnerName,
    /// The machines it is for.
    pub target: Target,
    /// When it was published.
    pub issued: Issued,
    /// The component's own version.
    pub version: String,
    /// The payload digest of the component.
    pub payload: Digest,
    /// The bundle.
    pub bundle: Whole,
}

/// Why there is no such runner here.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// No releases are made for this platform, and no runners.
    #[error("no agent-runner is published for this platform")]
    NoTarget,
    /// The host has none of that name.
    #[error("no agent-runner is published as `{name}` for {target}: there is no {url}")]
    Absent {
        /// The name.
        name: RunnerName,
        /// The target.
        target: Target,
        /// Where it was looked for.
        url: String,
    },
    /// Something could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Something is not believed.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The bundle is none.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The key does not sign.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<KeysError> for RunnerError {
    fn from(error: KeysError) -> Self {
        Self::Signing(error.into())
    }
}

impl RunnerName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunnerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RunnerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        // Two dots in a row would leave the directory that it becomes.
        let sound = (1..=64).contains(&text.len())
            && text.as_bytes()[0].is_ascii_alphanumeric()
            && text.bytes().all(allowed)
            && !text.contains("..");
        if !sound {
            return Err(
                "a name has 1 to 64 letters, digits, single dots, dashes and low lines, a letter or digit first".into()
            );
        }
        // It becomes a directory beside those of the releases, and what stands there has these names.
        let is_taken = semver::Version::parse(text).is_ok()
            || ["github", Listing::NAME, "install.sh"].iter().any(|taken| taken.eq_ignore_ascii_case(text));
        if is_taken {
            Err(format!("`{text}` is a name that releases take"))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl TryFrom<String> for RunnerName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<RunnerName> for String {
    fn from(name: RunnerName) -> Self {
        name.0
    }
}

impl RunnerIndex {
    /// The trusted comment of its signature.
    pub fn purpose(name: &RunnerName, target: Target) -> String {
        format!("{} runner {name} {target}", super::PRODUCT)
    }

    /// Reads it without asking who signed it.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, TrustError> {
        let malformed = |reason: String| TrustError::Malformed { name: file.to_owned(), reason };
        if bytes.len() as u64 > INDEX_LEN {
            return Err(malformed(format!("{} bytes; at most {INDEX_LEN} are possible", bytes.len())));
        }
        trust::expect_schema(file, bytes)?;
        let index: Self = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        trust::expect_product(file, &index.product)?;
        if index.bundle.name != BUNDLE {
            return Err(malformed(format!("its bundle is called {:?}, not {BUNDLE:?}", index.bundle.name)));
        }
        if !(1..=BUNDLE_LEN).contains(&index.bundle.size) {
            return Err(malformed(format!("its bundle has {} bytes", index.bundle.size)));
        }
        Ok(index)
    }

    /// Reads it if its signature is by one of `keys`, for this name and target.
    pub fn trusted(
        signed: &Signed<'_>,
        keys: &TrustedKeys,
        name: &RunnerName,
        target: Target,
    ) -> Result<Self, TrustError> {
        signed.key_for(keys, &Self::purpose(name, target))?;
        let index = Self::parse(signed.name, signed.bytes)?;
        if index.target != target {
            return Err(TrustError::OtherTarget {
                name: signed.name.to_owned(),
                found: index.target,
                wanted: target,
            });
        }
        if index.name != *name {
            let reason = format!("it is of `{}`, not of `{name}`", index.name);
            return Err(TrustError::Malformed { name: signed.name.to_owned(), reason });
        }
        Ok(index)
    }
}

/// Makes the runner that is published as `name` be in `runners`, as it was signed, and gives the path of its bundle. What is there already is not
/// fetched again. If the host cannot be asked, one that was fetched before will do, which `progress` is told.
pub fn fetch(
    client: &Client,
    source: &Source,
    keys: &TrustedKeys,
    runners: &FetchedRunners,
    name: &RunnerName,
    progress: &dyn Progress,
) -> Result<PathBuf, RunnerError> {
    if keys.is_empty() {
        return Err(TrustError::NoKeys.into());
    }
    let target = Target::own().ok_or(RunnerError::NoTarget)?;
    let place = Place { runners, name, target, keys };
    let before = place.read();
    let base = format!("{}{name}/{target}", source.directory());
    let url = format!("{base}/{INDEX}");
    let (bytes, signature) = match asked(client, &url) {
        Ok(found) => found,
        Err(FetchError { why: Why::Missing, .. }) => {
            return Err(RunnerError::Absent { name: name.clone(), target, url });
        }
        Err(error) => {
            // Only what is signed and whole.
            let usable = before.filter(|index| place.holds(index).is_ok_and(|holds| holds));
            let Some(index) = usable else { return Err(error.into()) };
            place.touch();
            progress
                .notice(&format!("{error}; the agent-runner `{name}` of {} is here already", index.issued));
            return Ok(runners.bundle(name.as_str()));
        }
    };
    let signed = Signed { name: INDEX, bytes: &bytes, signature: signature.as_deref() };
    let index = RunnerIndex::trusted(&signed, keys, name, target)?;
    if let Some(before) = before.filter(|before| before.issued > index.issued) {
        let (issued, seen) = (index.issued, before.issued);
        return Err(
            TrustError::OlderRunner { name: name.to_string(), issued, seen, kept: place.index() }.into()
        );
    }
    stigmer_platform::create_private_dir(runners.dir())?;
    if !place.holds(&index)? {
        place.fetch(client, &format!("{base}/{BUNDLE}"), &index, progress)?;
    }
    // The bundle first: an index that is here has been seen to be true.
    publish::write(&place.index(), &bytes)?;
    publish::write(&publish::with_signature(&place.index()), signature.as_deref().unwrap_or_default())?;
    Ok(runners.bundle(name.as_str()))
}

/// The index and what should be its signature.
fn asked(client: &Client, url: &str) -> Result<(Vec<u8>, Option<Vec<u8>>), FetchError> {
    let bytes = client.small(url, INDEX_LEN)?;
    match client.small(&format!("{url}.minisig"), SIGNATURE_LEN) {
        Ok(signature) => Ok((bytes, Some(signature))),
        Err(FetchError { why: Why::Missing, .. }) => Ok((bytes, None)),
        Err(error) => Err(error),
    }
}

/// Where one runner is kept.
struct Place<'a> {
    runners: &'a FetchedRunners,
    name: &'a RunnerName,
    target: Target,
    keys: &'a TrustedKeys,
}

impl Place<'_> {
    fn index(&self) -> PathBuf {
        self.runners.index(self.name.as_str())
    }

    /// That it was asked for keeps it from being collected; that this cannot be written keeps nobody from it.
    fn touch(&self) {
        let index = std::fs::File::options().append(true).open(self.index());
        let _ = index.and_then(|file| file.set_modified(std::time::SystemTime::now()));
    }

    /// What was fetched last, if it is still believed.
    fn read(&self) -> Option<RunnerIndex> {
        let bytes = std::fs::read(self.index()).ok()?;
        let signature = std::fs::read(publish::with_signature(&self.index())).ok();
        let signed = Signed { name: INDEX, bytes: &bytes, signature: signature.as_deref() };
        RunnerIndex::trusted(&signed, self.keys, self.name, self.target).ok()
    }

    /// Whether the bundle that is here is the one of `index`, to its last byte.
    fn holds(&self, index: &RunnerIndex) -> io::Result<bool> {
        let file = match std::fs::File::open(self.runners.bundle(self.name.as_str())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        if file.metadata()?.len() != index.bundle.size {
            return Ok(false);
        }
        Ok(Digest::of(&stigmer_platform::map(&file)?) == index.bundle.blake3)
    }

    /// Fetches the bundle, and puts it in its place when it is as signed.
    fn fetch(
        &self,
        client: &Client,
        url: &str,
        index: &RunnerIndex,
        progress: &dyn Progress,
    ) -> Result<(), RunnerError> {
        let file = tempfile::Builder::new().prefix(".fetching-").tempfile_in(self.runners.dir())?;
        let mut receiver = Hashing { file, hasher: blake3::Hasher::new(), progress, failed: None };
        progress.begin("fetching", index.bundle.size);
        let outcome = client.stream(url, 0..index.bundle.size, index.bundle.size, &mut receiver);
        progress.end();
        outcome?;
        if let Some(error) = receiver.failed {
            return Err(error.into());
        }
        let wrong = |what: &str| TrustError::OtherContent { name: BUNDLE.to_owned(), what: what.to_owned() };
        if Digest::from_bytes(receiver.hasher.finalize().into()) != index.bundle.blake3 {
            return Err(wrong("the whole").into());
        }
        // Signed, and still not what it says: then whoever published it made a mistake.
        if Carrier::open(receiver.file.path())?.component(COMPONENT)?.digest != index.payload {
            return Err(wrong("the payload").into());
        }
        let place = self.runners.bundle(self.name.as_str());
        receiver.file.persist(&place).map_err(|error| error.error)?;
        Ok(())
    }
}

/// Writes and hashes what comes.
struct Hashing<'a> {
    file: tempfile::NamedTempFile,
    hasher: blake3::Hasher,
    progress: &'a dyn Progress,
    /// What kept the file from beginning again.
    failed: Option<io::Error>,
}

impl Receiver for Hashing<'_> {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.progress.advance(bytes.len() as u64);
        self.file.write_all(bytes)
    }

    fn restart(&mut self) {
        self.hasher.reset();
        let file = self.file.as_file_mut();
        self.failed = file.set_len(0).and_then(|()| io::Seek::rewind(file)).err();
    }
}

/// What to publish as a runner.
pub struct Publishing<'a> {
    /// The tree of the component.
    pub tree: &'a Path,
    /// The name.
    pub name: RunnerName,
    /// The machines it is for.
    pub target: Target,
    /// When it is published.
    pub issued: Issued,
    /// Who signs.
    pub key: &'a SigningKey,
    /// The directory to write, as a static host serves it.
    pub out: &'a Path,
    /// How hard to compress.
    pub level: i32,
}

impl Publishing<'_> {
    /// Packs the tree, describes it, signs, and reads all of it back.
    pub fn run(&self) -> Result<(PathBuf, RunnerIndex), RunnerError> {
        let dir = self.out.join(self.name.as_str()).join(self.target.as_str());
        fs::create_dir_all(&dir)?;
        let mut base = tempfile::NamedTempFile::new()?;
        base.write_all(BASE.as_bytes())?;
        let bundle = dir.join(BUNDLE);
        Packing {
            base: base.path(),
            components: &[(COMPONENT.to_owned(), self.tree.to_owned())],
            out: &bundle,
            cutting: Cutting { level: self.level, ..Cutting::default() },
            self_check: true,
            identifier: None,
        }
        .run()?;
        stigmer_platform::set_mode(&bundle, 0o644)?;
        let carrier = Carrier::open(&bundle)?;
        let component = carrier.component(COMPONENT)?;
        let bytes = carrier.bytes();
        let index = RunnerIndex {
            schema: 1,
            product: super::PRODUCT.to_owned(),
            name: self.name.clone(),
            target: self.target,
            issued: self.issued,
            version: component.version.clone(),
            payload: component.digest,
            bundle: Whole {
                name: BUNDLE.to_owned(),
                size: bytes.len() as u64,
                blake3: Digest::of(bytes),
                sha256: Sha256::of(bytes),
            },
        };
        let mut text = serde_json::to_vec_pretty(&index).unwrap_or_default();
        text.push(b'\n');
        let path = dir.join(INDEX);
        let signature = self.key.sign(&text, &RunnerIndex::purpose(&self.name, self.target))?;
        let mut own = TrustedKeys::default();
        own.add(self.key.public()?);
        let signed = Signed { name: INDEX, bytes: &text, signature: Some(signature.as_bytes()) };
        let index = RunnerIndex::trusted(&signed, &own, &self.name, self.target)?;
        publish::write(&publish::with_signature(&path), signature.as_bytes())?;
        publish::write(&path, &text)?;
        Ok((path, index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_directory() {
        for good in ["dev-test", "1.2", "a", "Feature_7"] {
            assert_eq!(good.parse::<RunnerName>().unwrap().as_str(), good);
        }
        // Beside the releases these are theirs.
        for taken in ["1.2.3", "2.0.0-beta.1", "github", "GitHub", "releases.json", "install.sh"] {
            assert!(taken.parse::<RunnerName>().unwrap_err().contains("that releases take"), "{taken:?}");
        }
        for bad in ["", ".", "..", "a/b", "a..b", "-x", ".hidden", "a b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<RunnerName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_index_that_is_not_as_it_must_be_is_refused() {
        let digest = "0".repeat(64);
        let sound = serde_json::json!({
            "schema": 1, "product": "stigmer", "name": "dev-test", "target": "linux-amd64", "issued": "2026-03-01T12:00:00Z",
            "version": "1", "payload": digest,
            "bundle": {"name": BUNDLE, "size": 5, "blake3": digest, "sha256": digest},
        });
        let parse = |value: &serde_json::Value| RunnerIndex::parse(INDEX, value.to_string().as_bytes());
        parse(&sound).unwrap();
        for (place, value) in [
            ("/schema", serde_json::json!(2)),
            ("/product", "other".into()),
            ("/name", "../x".into()),
            ("/target", "amiga-68k".into()),
            ("/bundle/name", "../x".into()),
            ("/bundle/size", 0.into()),
            ("/bundle/size", (BUNDLE_LEN + 1).into()),
            ("/payload", "00".into()),
        ] {
            let mut bad = sound.clone();
            *bad.pointer_mut(place).unwrap() = value;
            assert!(parse(&bad).is_err(), "{bad}");
        }
        let mut more = sound;
        more["more"] = 1.into();
        assert!(parse(&more).is_err());
        assert!(RunnerIndex::parse(INDEX, &vec![b' '; 20_000]).is_err());
    }
}
