//! Releases as a maintainer makes them, on the command line: what is written, what is refused, and that the public tools agree.

mod keys;

use crate::real_releases::releases;
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use stigmer::bundle::Digest;
use stigmer::update::publish::with_signature;
use stigmer::update::{Asked, Channel, Listing, Signed, Target, TrustError, TrustedKeys, UpdateIndex};
use tempfile::TempDir;

/// A directory with a key and carriers in it.
struct Desk(TempDir);

/// What a command said.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().expect("a temporary directory"));
        desk.run(&["bundle", "keygen", "--no-password", "--out", "key"]).ok();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.0.path())
            .env_remove("SOURCE_DATE_EPOCH")
            .env("STIGMER_HOME", self.path("home"));
        command.stdin(std::process::Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        ran(self.command(env!("CARGO_BIN_EXE_stigmer")).args(args))
    }

    /// A small carrier that says it is this version for this Rust target: a script.
    fn carrier(&self, name: &str, version: &str, triple: &str) -> String {
        let base =
            format!("#!/bin/sh\n# stigmer-identity/1 version={version} triple={triple} commit=-\u{3}\n");
        self.carrier_of(name, base.as_bytes())
    }

    fn carrier_of(&self, name: &str, base: &[u8]) -> String {
        let tree = self.path("tree");
        std::fs::create_dir_all(&tree).expect("mkdir");
        std::fs::write(self.path("base"), base).expect("a file");
        std::fs::write(tree.join("component.json"), br#"{"name":"c","version":"1","entrypoint":"run"}"#)
            .expect("a file");
        std::fs::write(tree.join("run"), b"#!/bin/sh\n").expect("a file");
        std::fs::set_permissions(tree.join("run"), std::fs::Permissions::from_mode(0o755)).expect("chmod");
        self.run(&[
            "bundle",
            "pack",
            "--base",
            "base",
            "--component",
            "c=tree",
            "--no-self-check",
            "--out",
            name,
        ])
        .ok();
        name.to_owned()
    }

    fn publish(&self, carriers: &[&str], more: &[&str]) -> Ran {
        let mut args = vec!["bundle", "publish", "--key", "key", "--out", "out"];
        for carrier in carriers {
            args.extend(["--carrier", carrier]);
        }
        args.extend(more);
        self.run(&args)
    }

    /// A carrier whose executable is large enough for a patch of it to be worth something.
    fn program(&self, version: &str) -> String {
        let mut noise = vec![0; 60_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let identity =
            format!("#!/bin/sh\n# stigmer-identity/1 version={version} triple={LINUX} commit=-\u{3}\n");
        self.carrier_of(&format!("stigmer-{version}"), &[identity.as_bytes(), &noise].concat())
    }

    /// Every file below `out`, and its bytes.
    fn published(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut dirs = vec![self.path("out")];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    let name = path.strip_prefix(self.path("out")).expect("below it").display().to_string();
                    files.insert(name, std::fs::read(&path).expect("a file"));
                }
            }
        }
        files
    }

    fn keys(&self) -> TrustedKeys {
        keys(&self.path("key.pub"))
    }
}

impl Ran {
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    #[track_caller]
    fn fails(self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(self.err.contains(words) && self.err.contains("hint:"), "{words:?}: {self:#?}");
    }

    #[track_caller]
    fn fails_plainly(self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(self.err.contains(words), "{words:?}: {self:#?}");
    }
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn keys(path: &Path) -> TrustedKeys {
    TrustedKeys::parse(&std::fs::read_to_string(path).expect("a public key")).expect("a public key")
}

/// The listing in `dir`, as somebody who trusts `keys` reads it.
fn listing(dir: &Path, keys: &TrustedKeys) -> Result<Listing, TrustError> {
    let bytes = std::fs::read(dir.join(Listing::NAME)).expect("a listing");
    let signature = std::fs::read(with_signature(&dir.join(Listing::NAME))).expect("a signature");
    Listing::trusted(&Signed { name: Listing::NAME, bytes: &bytes, signature: Some(&signature) }, keys)
}

const LINUX: &str = "x86_64-unknown-linux-musl";
const DAY_1: [&str; 2] = ["--issued", "2026-01-01T00:00:00Z"];
const DAY_2: [&str; 2] = ["--issued", "2026-01-02T00:00:00Z"];
const DAY_4: [&str; 2] = ["--issued", "2026-01-04T00:00:00Z"];

#[test]
fn a_release_for_two_targets_is_complete_on_either_host() {
    let desk = Desk::new();
    let linux = desk.carrier("a", "1.2.3", LINUX);
    let windows = desk.carrier("b", "1.2.3", "x86_64-pc-windows-msvc");
    let more = [
        "--github",
        "stigmer/stigmer",
        "--notes-url",
        "https://host/notes",
        "--version",
        "1.2.3",
        DAY_1[0],
        DAY_1[1],
        "--json",
    ];
    let ran = desk.publish(&[&linux, &windows], &more).ok();
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&report["version"], &report["targets"][1]["target"]),
        (&"1.2.3".into(), &"windows-amd64".into())
    );

    let names: Vec<String> =
        desk.published().into_keys().filter(|name| !name.ends_with(".minisig")).collect();
    let expected = [
        "1.2.3/SHA256SUMS",
        "1.2.3/linux-amd64/stigmer-1.2.3-linux-amd64",
        "1.2.3/linux-amd64/stigmer-1.2.3-linux-amd64.code.zst",
        "1.2.3/linux-amd64/stigmer-1.2.3-linux-amd64.index.json",
        "1.2.3/windows-amd64/stigmer-1.2.3-windows-amd64.code.zst",
        "1.2.3/windows-amd64/stigmer-1.2.3-windows-amd64.exe",
        "1.2.3/windows-amd64/stigmer-1.2.3-windows-amd64.index.json",
        "github/v1.2.3/SHA256SUMS",
        "github/v1.2.3/releases.json",
        "github/v1.2.3/stigmer-1.2.3-linux-amd64",
        "github/v1.2.3/stigmer-1.2.3-linux-amd64.code.zst",
        "github/v1.2.3/stigmer-1.2.3-linux-amd64.index.json",
        "github/v1.2.3/stigmer-1.2.3-windows-amd64.code.zst",
        "github/v1.2.3/stigmer-1.2.3-windows-amd64.exe",
        "github/v1.2.3/stigmer-1.2.3-windows-amd64.index.json",
        "releases.json",
    ];
    assert_eq!(names, expected);

    // Each listing leads to its host's files; both name the same index.
    let (here, there) = (desk.path("out"), desk.path("out/github/v1.2.3"));
    for (dir, prefix) in [
        (&here, "https://host/stigmer/1.2.3/windows-amd64/"),
        (&there, "https://github.com/stigmer/stigmer/releases/download/v1.2.3/"),
    ] {
        let listing = listing(dir, &desk.keys()).unwrap();
        let release = listing.newest(&Channel::stable(), Target::WindowsAmd64).unwrap();
        assert_eq!(release.notes_url.as_deref(), Some("https://host/notes"));
        let index = release.index(Target::WindowsAmd64).unwrap();
        let asset = release.asset(&index.name).unwrap();
        assert_eq!(asset.resolve("https://host/stigmer/releases.json"), format!("{prefix}{}", index.name));
        let bytes = std::fs::read(there.join(&index.name)).unwrap();
        let signature = std::fs::read(with_signature(&there.join(&index.name))).unwrap();
        let asked = Asked {
            version: release.version.clone(),
            target: Target::WindowsAmd64,
            blake3: Some(index.blake3),
        };
        let signed = Signed { name: &index.name, bytes: &bytes, signature: Some(&signature) };
        let index = UpdateIndex::trusted(&signed, &desk.keys(), &asked).unwrap();
        let carrier = std::fs::read(there.join(&index.carrier.name)).unwrap();
        assert_eq!((index.carrier.size, index.carrier.blake3), (carrier.len() as u64, Digest::of(&carrier)));
        assert_eq!(carrier, std::fs::read(desk.path("b")).unwrap());
    }
    ran_ok_in(&there, "sha256sum", &["--check", "SHA256SUMS"]);
    // The public tool takes the code part out of its file.
    ran_ok_in(&there, "zstd", &["-dq", "stigmer-1.2.3-linux-amd64.code.zst", "-o", "code"]);
}

#[track_caller]
fn ran_ok_in(dir: &Path, program: &str, args: &[&str]) {
    ran(Command::new(program).args(args).current_dir(dir)).ok();
}

#[test]
fn to_publish_again_changes_nothing_and_another_day_makes_another_listing() {
    let desk = Desk::new();
    let one = desk.carrier("one", "1.0.0", LINUX);
    desk.publish(&[&one], &DAY_1).ok();
    let first = desk.published();
    let again = desk.publish(&[&one], &DAY_2).ok();
    assert!(again.err.contains("0 files written"), "{again:?}");
    assert_eq!(desk.published(), first);

    // The same carriers on the same day give the same bytes anywhere, but for the signatures.
    std::fs::rename(desk.path("out"), desk.path("first")).unwrap();
    ran(desk
        .command(env!("CARGO_BIN_EXE_stigmer"))
        .args(["bundle", "publish", "--key", "key", "--out", "out", "--carrier", &one])
        .env("SOURCE_DATE_EPOCH", "1767225600"))
    .ok();
    let unsigned = |files: BTreeMap<String, Vec<u8>>| -> BTreeMap<String, Vec<u8>> {
        files.into_iter().filter(|(name, _)| !name.ends_with(".minisig")).collect()
    };
    assert_eq!(unsigned(desk.published()), unsigned(first));

    // A second target of the same version belongs to the same release.
    let mac = desk.carrier("mac", "1.0.0", "aarch64-apple-darwin");
    desk.publish(&[&mac], &DAY_2).ok();
    let two = desk.carrier("two", "1.1.0-beta.1", LINUX);
    desk.publish(&[&two], &["--channel", "beta", DAY_2[0], DAY_2[1]]).ok();
    let listing = listing(&desk.path("out"), &desk.keys()).unwrap();
    let newest = |channel: &str, target| {
        listing.newest(&channel.parse().unwrap(), target).unwrap().version.to_string()
    };
    assert_eq!(newest("stable", Target::LinuxAmd64), "1.0.0");
    assert_eq!(newest("beta", Target::LinuxAmd64), "1.1.0-beta.1");
    assert_eq!(newest("beta", Target::DarwinArm64), "1.0.0");
    assert_eq!(listing.issued.to_string(), "2026-01-02T00:00:00Z");
    assert!(std::fs::read_to_string(desk.path("out/1.0.0/SHA256SUMS")).unwrap().contains("darwin-arm64"));
}

#[test]
fn a_release_has_patches_from_those_before_it() {
    let desk = Desk::new();
    for (version, day, patches) in [("1.0.0", 1, 0), ("1.1.0", 2, 1), ("1.2.0", 3, 2)] {
        let day = format!("2026-01-0{day}T00:00:00Z");
        let more = ["--patches", "2", "--github", "stigmer/stigmer", "--issued", &day];
        let ran = desk.publish(&[&desk.program(version)], &more).ok();
        assert_eq!(ran.err.matches("a patch of").count(), patches, "{ran:?}");
    }
    let stem = "stigmer-1.2.0-linux-amd64";
    let dir = desk.path("out/1.2.0/linux-amd64");
    let index = std::fs::read(dir.join(format!("{stem}.index.json"))).unwrap();
    let index = UpdateIndex::parse("i.json", &index).unwrap();
    let from: Vec<String> = index.patches.iter().map(|patch| patch.from.to_string()).collect();
    assert_eq!(from, ["1.1.0", "1.0.0"]);
    // With public tools: the old code part and the patch are the new code part.
    for patch in &index.patches {
        let old = format!("stigmer-{}-linux-amd64.code.zst", patch.from);
        let old = desk.path(&format!("out/{}/linux-amd64/{old}", patch.from)).display().to_string();
        ran_ok_in(&dir, "zstd", &["-dqf", &old, "-o", "old"]);
        ran_ok_in(&dir, "zstd", &["-dqf", &format!("{stem}.code.zst"), "-o", "code"]);
        ran_ok_in(&dir, "zstd", &["-dqf", "--patch-from=old", &patch.name, "-o", "patched"]);
        let [old, code, patched] =
            ["old", "code", "patched"].map(|name| std::fs::read(dir.join(name)).unwrap());
        assert_eq!((Digest::of(&old), Digest::of(&patched)), (patch.from_blake3, Digest::of(&code)));
        assert!(patch.size * 10 < index.code.size, "{} of {}", patch.size, index.code.size);
        for name in ["old", "code", "patched"] {
            std::fs::remove_file(dir.join(name)).unwrap();
        }
    }
    let flat = desk.path("out/github/v1.2.0");
    ran_ok_in(&flat, "sha256sum", &["--check", "SHA256SUMS"]);
    let sums = std::fs::read_to_string(flat.join("SHA256SUMS")).unwrap();
    assert!(sums.contains(&format!("{stem}.from-1.0.0.zst")), "{sums}");
    let verified = desk
        .run(&[
            "bundle",
            "verify",
            &format!("out/github/v1.2.0/{stem}.index.json"),
            "--public-key",
            "key.pub",
        ])
        .ok();
    assert!(verified.out.contains("from-1.1.0.zst: as signed"), "{verified:?}");

    // Again, also where the old ones are gone meanwhile: nothing changes.
    let before = desk.published();
    std::fs::remove_dir_all(desk.path("out/1.0.0")).unwrap();
    let again = desk.publish(&["stigmer-1.2.0"], &["--patches", "2", "--github", "stigmer/stigmer"]).ok();
    assert!(again.err.contains("0 files written") && !again.err.contains("no patch"), "{again:?}");
    assert!(desk.published().iter().all(|(name, bytes)| before.get(name) == Some(bytes)));

    // From what is not there no patch is made, and that is said; from what was changed, none is made either.
    let next = desk.program("1.3.0");
    let old = desk.path("out/1.1.0/linux-amd64/stigmer-1.1.0-linux-amd64.code.zst");
    let bytes = std::fs::read(&old).unwrap();
    std::fs::write(&old, &bytes[1..]).unwrap();
    desk.publish(&[&next], &DAY_4).fails(1, "it is not what is listed for 1.1.0");
    std::fs::write(&old, &bytes).unwrap();
    let ran = desk.publish(&[&next], &DAY_4).ok();
    assert!(ran.err.contains("no patch from 1.0.0, as `out/1.0.0/linux-amd64/"), "{ran:?}");
    assert_eq!(ran.err.matches("a patch of").count(), 2, "{ran:?}");

    // Who is on stable has no beta to patch from; who is on beta may have either.
    for (version, channel, from) in
        [("1.4.0-beta.1", "beta", "from 1.3.0"), ("1.4.0", "stable", "from 1.3.0")]
    {
        let more = ["--channel", channel, "--patches", "1", DAY_4[0], DAY_4[1]];
        let ran = desk.publish(&[&desk.program(version)], &more).ok();
        assert!(ran.err.contains(&format!("{from} a patch of")), "{ran:?}");
    }
}

#[test]
fn what_is_not_fit_is_not_published() {
    let desk = Desk::new();
    let one = desk.carrier("one", "1.0.0", LINUX);
    desk.publish(&[&one], &DAY_2).ok();
    let before = desk.published();

    let other = desk.carrier_of(
        "other",
        format!("#!/bin/sh\n# stigmer-identity/1 version=1.0.0 triple={LINUX} commit=abc\u{3}\n").as_bytes(),
    );
    desk.publish(&[&other], &DAY_2)
        .fails(1, "version 1.0.0 for linux-amd64 is listed already, with other bytes");
    desk.publish(&[&one], &["--version", "2.0.0"]).fails(1, "it is version 1.0.0, not 2.0.0");
    desk.publish(&[&one], &["--channel", "beta"]).fails(1, "is listed on the channel `stable` already");
    desk.publish(&[&one, &one], &[]).fails(1, "it is for linux-amd64, as `one` is");
    let two = desk.carrier("two", "2.0.0", LINUX);
    desk.publish(&[&two, &one], &[]).fails(1, "it is version 1.0.0, not 2.0.0");
    desk.publish(&[&two], &DAY_1).fails(1, "everybody who has seen it would refuse this one");
    desk.publish(&["base"], &[]).fails(69, "`base` carries no bundle");
    let nameless = desk.carrier_of("nameless", b"#!/bin/sh\n");
    desk.publish(&[&nameless], &[]).fails(1, "it does not say which stigmer it is");
    let odd = desk.carrier("odd", "1.0.0", "riscv64gc-unknown-linux-gnu");
    desk.publish(&[&odd], &[])
        .fails(1, "it was built for riscv64gc-unknown-linux-gnu, and no releases are made for that");
    let built = desk.carrier("built", "1.0.0+5", LINUX);
    desk.publish(&[&built], &[]).fails(1, "has build metadata");

    let mut bytes = std::fs::read(desk.path("two")).unwrap();
    bytes[3] ^= 1;
    std::fs::write(desk.path("changed"), &bytes).unwrap();
    desk.publish(&["changed"], &[]).fails(1, "its code part changed since it was packed");
    assert_eq!(desk.published(), before, "a refusal writes nothing");
}

#[test]
fn a_listing_of_somebody_else_is_not_continued() {
    let desk = Desk::new();
    let one = desk.carrier("one", "1.0.0", LINUX);
    desk.publish(&[&one], &DAY_1).ok();
    let two = desk.carrier("two", "2.0.0", LINUX);
    desk.run(&["bundle", "keygen", "--no-password", "--out", "stranger"]).ok();
    let as_stranger = ["bundle", "publish", "--key", "stranger", "--out", "out", "--carrier", &two];
    desk.run(&as_stranger).fails(65, "which this stigmer does not trust");
    // Told that the old key is believed, the new one takes over.
    desk.run(&[&as_stranger[..], &["--trusted", "key.pub"]].concat()).ok();
    assert!(listing(&desk.path("out"), &desk.keys()).is_err());
    assert_eq!(listing(&desk.path("out"), &keys(&desk.path("stranger.pub"))).unwrap().releases.len(), 2);

    std::fs::remove_file(desk.path("out/releases.json.minisig")).unwrap();
    desk.run(&as_stranger).fails(65, "is not signed");
    desk.publish(&[&two], &["--listing", "none"]).fails_plainly(74, "none");
}

#[test]
fn verify_looks_at_the_carrier_beside_its_index() {
    let desk = Desk::new();
    let one = desk.carrier("one", "1.0.0", LINUX);
    desk.publish(&[&one], &[]).ok();
    let dir = "out/1.0.0/linux-amd64";
    let index = format!("{dir}/stigmer-1.0.0-linux-amd64.index.json");
    let carrier = desk.path(&format!("{dir}/stigmer-1.0.0-linux-amd64"));
    let verify = ["bundle", "verify", &index, "--public-key", "key.pub"];
    let ran = desk.run(&verify).ok();
    assert!(ran.out.contains("stigmer-1.0.0-linux-amd64: as signed"), "{ran:?}");
    assert!(ran.out.contains("stigmer-1.0.0-linux-amd64.code.zst: as signed"), "{ran:?}");
    let mut bytes = std::fs::read(&carrier).unwrap();
    bytes[5] ^= 1;
    std::fs::write(&carrier, &bytes).unwrap();
    desk.run(&verify).fails(65, "does not match its signed digest");
    bytes.push(0);
    std::fs::write(&carrier, &bytes).unwrap();
    desk.run(&verify).fails(65, "bytes; signed are");
    std::fs::remove_file(&carrier).unwrap();
    let ran = desk.run(&verify).ok();
    assert!(!ran.out.contains("linux-amd64: as signed"), "{ran:?}");
    // This executable was built without a key.
    desk.run(&["bundle", "verify", &index, "--signature"]).fails(78, "built without a release key");
    // A key that a person has chosen to trust.
    std::fs::create_dir_all(desk.path("home")).unwrap();
    let key = desk.keys().iter().next().unwrap().as_str().to_owned();
    std::fs::write(desk.path("home/config.toml"), format!("[update]\ntrusted_keys = [\"{key}\"]\n")).unwrap();
    desk.run(&["bundle", "verify", &index, "--signature"]).ok();
    std::fs::write(desk.path("home/config.toml"), "[update]\ntrusted_keys = [\"RW\"]\n").unwrap();
    desk.run(&["bundle", "verify", &index, "--signature"]).fails(78, "is not the public key of minisign");
}
