//! Two releases of this very program: the one that was built, and one that differs from it as a new version does, in its
//! version and in a file of its component.

use crate::{artifact, executable};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use stigmer::bundle::{Carrier, Digest};
use stigmer::update::{
    Asset, Channel, Identity, IndexRef, Issued, Listing, Sha256, SigningKey, Target, UpdateIndex, describe,
};

/// The version of the old release: the one that was built.
pub const OLD: &str = stigmer::VERSION;
/// The version of the new one. As long as the other, because it takes its place in the executable.
pub const NEW: &str = "0.9.9";
/// When both were issued.
pub(crate) const ISSUED: &str = "2026-03-01T12:00:00Z";

/// A key that signs releases.
pub struct Signer {
    dir: tempfile::TempDir,
    key: SigningKey,
}

impl Signer {
    /// Makes a new key without a password.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        SigningKey::generate(&path, None).expect("a key");
        let key = SigningKey::read(&path, &mut || unreachable!("it has no password")).expect("a key");
        Self { dir, key }
    }

    /// The file of the secret key; the public one has `.pub` behind its name.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("key")
    }

    /// The public key.
    pub fn public(&self) -> String {
        self.key.public().expect("a key").as_str().to_owned()
    }

    /// The signature of `bytes` for this purpose.
    pub fn sign(&self, bytes: &[u8], purpose: &str) -> Vec<u8> {
        self.key.sign(bytes, purpose).expect("a signature").into_bytes()
    }
}

/// The key of the tests' releases.
pub fn signer() -> &'static Signer {
    static SIGNER: OnceLock<Signer> = OnceLock::new();
    SIGNER.get_or_init(Signer::new)
}

/// A release of one target.
pub struct Release {
    /// Path of the carrier.
    pub carrier: PathBuf,
    /// Its update index.
    pub index: UpdateIndex,
    /// Its code part, compressed.
    pub code: Vec<u8>,
}

/// The old release.
pub fn old() -> &'static Release {
    static OLD_RELEASE: OnceLock<Release> = OnceLock::new();
    OLD_RELEASE.get_or_init(|| make(OLD, "one", "first"))
}

/// The new release: another version, and another text in its component.
pub fn new() -> &'static Release {
    static NEW_RELEASE: OnceLock<Release> = OnceLock::new();
    NEW_RELEASE.get_or_init(|| make(NEW, "two", "second"))
}

/// A new release whose component does not get ready.
pub fn broken() -> &'static Release {
    static BROKEN_RELEASE: OnceLock<Release> = OnceLock::new();
    BROKEN_RELEASE.get_or_init(|| pack(NEW, "broken", BROKEN_RUNNER))
}

/// A release of this version, whose component says `text`.
pub fn make(version: &str, name: &str, text: &str) -> Release {
    pack(version, name, &format!("{RUNNER}# {text}\n"))
}

fn pack(version: &str, name: &str, runner: &str) -> Release {
    let dir = artifact(&format!("release-{name}"), |dir| build(version, runner, dir));
    let carrier = dir.join("stigmer");
    let (index, code) = described(&carrier, version);
    Release { carrier, index, code }
}

/// Makes `dir` with the carrier, its executable alone, and the tree of its component.
fn build(version: &str, runner: &str, dir: &Path) {
    std::fs::create_dir_all(dir).expect("mkdir");
    let tree = dir.join("tree");
    fill(&tree, runner);
    let bare = dir.join("bare");
    let built = executable();
    // Debug information would only make every copy of it slow.
    let stripped = Command::new("strip").arg("-o").arg(&bare).arg(&built).output();
    assert!(
        stripped.is_ok_and(|output| output.status.success()),
        "this test needs `strip`: install the package binutils"
    );
    if version != OLD {
        let mut bytes = std::fs::read(&bare).expect("read");
        assert_ne!(replace(&mut bytes, OLD.as_bytes(), version.as_bytes()), 0);
        std::fs::write(&bare, bytes).expect("written");
    }
    let packed = Command::new(built)
        .args(["bundle", "pack", "--level", "1", "--component"])
        .arg(format!("agent-runner={}", tree.display()))
        .arg("--base")
        .arg(&bare)
        .arg("--out")
        .arg(dir.join("stigmer"))
        .output()
        .expect("stigmer starts");
    assert!(packed.status.success(), "{packed:?}");
}

/// The update index of the carrier at `path`, and its compressed code part.
pub fn described(path: &Path, version: &str) -> (UpdateIndex, Vec<u8>) {
    let identity = Identity {
        version: version.parse().expect("a version"),
        triple: "not asked".to_owned(),
        commit: None,
    };
    let carrier = Carrier::open(path).expect("a carrier");
    let target = Target::own().expect("a target");
    let issued: Issued = ISSUED.parse().expect("a time");
    let described = describe(&carrier, &identity, target, &Channel::stable(), issued, 3).expect("described");
    (described.index, described.code)
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) -> usize {
    assert_eq!(from.len(), to.len());
    let found: Vec<usize> =
        bytes.windows(from.len()).enumerate().filter(|(_, w)| *w == from).map(|(at, _)| at).collect();
    for at in &found {
        bytes[*at..*at + to.len()].copy_from_slice(to);
    }
    found.len()
}

fn fill(root: &Path, runner: &str) {
    let write = |path: &str, content: &[u8]| {
        let full = root.join(path);
        std::fs::create_dir_all(full.parent().expect("a parent")).expect("mkdir");
        std::fs::write(&full, content).unwrap_or_else(|e| panic!("{path}: {e}"));
    };
    let about = r#"{"name":"agent-runner","version":"1.0","entrypoint":"run","self_check":["--self-check"]}"#;
    write("component.json", about.as_bytes());
    write("run", runner.as_bytes());
    stigmer::platform::set_mode(&root.join("run"), 0o755).expect("set");
    for i in 0..12_u64 {
        write(&format!("lib/{i}.bin"), &noise(1_200_000, i));
    }
}

/// A component that checks itself, and is ready when a supervisor starts it.
const RUNNER: &str = r#"#!/bin/sh
case "$1" in
--self-check) exit 0 ;;
--supervised) read -r config; printf '{"event":"ready","version":"1.0","pid":%s}\n' $$; exec cat >/dev/null ;;
esac
"#;

/// A component that checks itself, and then does not do its work.
const BROKEN_RUNNER: &str = r#"#!/bin/sh
[ "$1" = --self-check ] && exit 0
echo 'the new version has lost its way' >&2
exit 3
"#;

/// Bytes that do not compress, the same for the same seed.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new_derive_key("noise").update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// The files of a host that publishes these releases, with their paths below its address.
pub fn publish(releases: &[&Release]) -> Vec<(String, Vec<u8>)> {
    publish_at(releases, ISSUED, signer())
}

/// The same, with the time of the listing and the key of all signatures.
pub fn publish_at(releases: &[&Release], issued: &str, signer: &Signer) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut listing = Listing::new(issued.parse().expect("a time"));
    for release in releases {
        let index = &release.index;
        let (version, target) = (&index.version, index.target);
        let bytes = index.to_bytes();
        let signature = signer.sign(&bytes, &UpdateIndex::purpose(version, target));
        let name = target.index_name(version);
        let listed = [
            (index.carrier.name.clone(), std::fs::read(&release.carrier).expect("read")),
            (index.code.name.clone(), release.code.clone()),
            (name.clone(), bytes.clone()),
            (format!("{name}.minisig"), signature),
        ];
        let mut assets = Vec::new();
        for (name, content) in listed {
            let path = format!("{version}/{target}/{name}");
            let digest = (!name.ends_with(".minisig")).then(|| format!("sha256:{}", Sha256::of(&content)));
            assets.push(Asset { name, url: path.clone(), digest });
            files.push((format!("/{path}"), content));
        }
        listing.releases.push(stigmer::update::Release {
            version: version.clone(),
            channel: index.channel.clone(),
            date: index.issued,
            notes_url: Some(format!("https://example.org/notes/{version}")),
            assets,
            indexes: [(target.to_string(), IndexRef { name, blake3: Digest::of(&bytes) })].into(),
        });
    }
    listing.releases.sort_by(|a, b| b.version.cmp(&a.version));
    let bytes = listing.to_bytes();
    let signature = signer.sign(&bytes, &Listing::purpose());
    files.push(("/releases.json.minisig".to_owned(), signature));
    files.push(("/releases.json".to_owned(), bytes));
    files
}
