//! The signed documents of a release: what is refused, and with which words. Each test signs with keys of its own.

use proptest::prelude::*;
use serde_json::{Value, json};
use stigmer::bundle::Digest;
use stigmer::update::{
    Asked, Listing, Sha256, Signed, SigningKey, Target, TrustError, TrustedKeys, UpdateIndex, fuzzing,
    refuse_downgrade,
};
use tempfile::TempDir;

const LINUX: Target = Target::LinuxAmd64;

/// A key in a directory of its own.
struct Signer {
    _dir: TempDir,
    key: SigningKey,
}

impl Signer {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("key");
        SigningKey::generate(&path, None).expect("a key");
        let key = SigningKey::read(&path, &mut || unreachable!("it has no password")).expect("a key");
        Self { _dir: dir, key }
    }

    fn trusted(&self) -> TrustedKeys {
        TrustedKeys::parse(self.key.public().expect("a key").as_str()).expect("a key")
    }

    fn sign(&self, bytes: &[u8], purpose: &str) -> Vec<u8> {
        self.key.sign(bytes, purpose).expect("a signature").into_bytes()
    }
}

/// The listing in `bytes`, signed as such.
fn listing(signer: &Signer, bytes: &[u8]) -> Result<Listing, TrustError> {
    let signature = signer.sign(bytes, &Listing::purpose());
    Listing::trusted(&Signed { name: "releases.json", bytes, signature: Some(&signature) }, &signer.trusted())
}

fn asked(version: &str) -> Asked {
    Asked { version: version.parse().expect("a version"), target: LINUX, blake3: None }
}

/// The update index `value`, signed as that of `version`.
fn index(signer: &Signer, value: &Value, version: &str, asked: &Asked) -> Result<UpdateIndex, TrustError> {
    let bytes = value.to_string().into_bytes();
    let signature = signer.sign(&bytes, &UpdateIndex::purpose(&version.parse().expect("a version"), LINUX));
    UpdateIndex::trusted(
        &Signed { name: "i.json", bytes: &bytes, signature: Some(&signature) },
        &signer.trusted(),
        asked,
    )
}

fn digest(seed: u8) -> Value {
    json!(Digest::of(&[seed]).to_string())
}

/// A patch from this version, of so many bytes.
fn patch(from: &str, size: u64) -> Value {
    let name = format!("stigmer-1.2.3-linux-amd64.from-{from}.zst");
    json!({"from": from, "from_blake3": digest(11), "name": name, "size": size, "blake3": digest(12)})
}

/// A sound index: head and tail in two chunks, two frames between them.
fn sound() -> Value {
    json!({
        "schema": 1, "product": "stigmer", "version": "1.2.3", "target": "linux-amd64", "channel": "stable",
        "issued": "2026-03-01T12:00:00Z", "commit": "abc",
        "carrier": {"name": "stigmer-1.2.3-linux-amd64", "size": 180, "blake3": digest(1), "sha256": digest(2)},
        "code": {
            "name": "stigmer-1.2.3-linux-amd64.code.zst", "size": 70, "blake3": digest(3),
            "raw_size": 100, "raw_blake3": digest(4),
            "chunks": [[30, digest(5), 60, digest(6)], [40, digest(7), 40, digest(8)]],
        },
        "segments": [{"code": 50}, {"frame": digest(9), "size": 30}, {"frame": digest(10), "size": 50}, {"code": 50}],
        "patches": [patch("1.2.2", 60), patch("1.2.0", 70)],
    })
}

fn sound_listing() -> Value {
    let asset = |name: &str| json!({"name": name, "url": format!("1.2.3/linux-amd64/{name}")});
    let stem = "stigmer-1.2.3-linux-amd64";
    json!({
        "schema": 1, "product": "stigmer", "issued": "2026-03-01T12:00:00Z",
        "releases": [{
            "version": "1.2.3", "channel": "stable", "date": "2026-03-01T12:00:00Z",
            "assets": [
                asset(stem), asset(&format!("{stem}.index.json")), asset(&format!("{stem}.index.json.minisig")),
                {"name": format!("{stem}.code.zst"), "url": "https://host/x", "digest": Sha256::of(b"x").prefixed()},
            ],
            "indexes": {"linux-amd64": {"name": format!("{stem}.index.json"), "blake3": digest(1)}},
        }],
    })
}

/// Puts `value` at the place in `document` that `pointer` names.
fn put(document: &Value, pointer: &str, value: Value) -> Value {
    let mut document = document.clone();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let parent = document.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}"));
    match parent {
        Value::Array(list) => {
            let at: usize = name.parse().expect("a position");
            if at == list.len() { list.push(value) } else { list[at] = value }
        }
        other => other[name] = value,
    }
    document
}

#[track_caller]
fn refused<T: std::fmt::Debug>(outcome: Result<T, TrustError>, words: &str) {
    let error = outcome.expect_err(words).to_string();
    assert!(error.contains(words), "{words:?} is not in {error:?}");
}

#[test]
fn what_is_sound_and_signed_is_believed() {
    let signer = Signer::new();
    let value = sound();
    let of_bytes = Digest::of(value.to_string().as_bytes());
    let index = index(&signer, &value, "1.2.3", &Asked { blake3: Some(of_bytes), ..asked("1.2.3") }).unwrap();
    assert_eq!(
        index.runs().map(|run| (run.at, run.size)).collect::<Vec<_>>(),
        [(0, 50), (50, 30), (80, 50), (130, 50)]
    );
    let listing = listing(&signer, sound_listing().to_string().as_bytes()).unwrap();
    let release = listing.newest(&"beta".parse().unwrap(), LINUX).unwrap();
    assert_eq!(release.index(LINUX).unwrap().name, "stigmer-1.2.3-linux-amd64.index.json");
    let at = "https://host/a/releases.json?token=/b/c";
    let url = |name: &str| release.asset(name).unwrap().resolve(at);
    assert_eq!(
        url("stigmer-1.2.3-linux-amd64"),
        "https://host/a/1.2.3/linux-amd64/stigmer-1.2.3-linux-amd64"
    );
    assert_eq!(url("stigmer-1.2.3-linux-amd64.code.zst"), "https://host/x");
    assert_eq!(listing.newest(&"beta".parse().unwrap(), Target::DarwinArm64), None);
}

#[test]
fn the_signature_must_be_by_somebody_trusted_of_these_bytes_for_this_purpose() {
    let (signer, other) = (Signer::new(), Signer::new());
    let bytes = sound_listing().to_string().into_bytes();
    let signature = signer.sign(&bytes, &Listing::purpose());
    let check = |bytes: &[u8], signature: Option<&[u8]>, keys: &TrustedKeys| {
        Listing::trusted(&Signed { name: "releases.json", bytes, signature }, keys)
    };
    let trusted = signer.trusted();
    assert!(check(&bytes, Some(&signature), &trusted).is_ok());
    refused(check(&bytes, Some(&signature), &TrustedKeys::default()), "built without a release key");
    refused(check(&bytes, None, &trusted), "`releases.json` is not signed");
    refused(
        check(&bytes, Some(&signature), &other.trusted()),
        &format!(
            "signed with the key {trusted}, which this stigmer does not trust; it trusts {}",
            other.trusted()
        ),
    );
    let mut changed = bytes.clone();
    changed[10] ^= 1;
    refused(check(&changed, Some(&signature), &trusted), "is not of these bytes: it is another file's");
    let for_another = signer.sign(&bytes, "stigmer 1.2.3 linux-amd64 index");
    refused(
        check(&bytes, Some(&for_another), &trusted),
        "was signed as \"stigmer 1.2.3 linux-amd64 index\", not as \"stigmer listing\"",
    );
    for bad in [&b""[..], b"hello", &[0xff; 200], &[b'a'; 5000]] {
        refused(check(&bytes, Some(bad), &trusted), "`releases.json.minisig` is not a signature");
    }
}

#[test]
fn nothing_of_a_signature_can_be_changed() {
    let owner = Signer::new();
    let bytes = sound_listing().to_string().into_bytes();
    let text = owner.sign(&bytes, &Listing::purpose());
    let trusted = owner.trusted();
    // The first line is a note that nobody signs and nobody reads.
    let from = text.iter().position(|b| *b == b'\n').unwrap() + 1;
    for at in from..text.len() - 1 {
        let mut changed = text.clone();
        changed[at] = if changed[at] == b'B' { b'C' } else { b'B' };
        if changed[at] == b'\n' || changed == text {
            continue;
        }
        let signed = Signed { name: "releases.json", bytes: &bytes, signature: Some(&changed) };
        assert!(Listing::trusted(&signed, &trusted).is_err(), "byte {at}");
    }
}

/// A new key comes in releases before the old one goes: whoever trusts both follows either.
#[test]
fn a_key_is_replaced_in_two_steps() {
    let (old, new) = (Signer::new(), Signer::new());
    let both = TrustedKeys::parse(&format!(
        "# old\n{}\n# new\n{}\n",
        old.key.public().unwrap().as_str(),
        new.key.public().unwrap().as_str()
    ))
    .unwrap();
    let bytes = sound_listing().to_string().into_bytes();
    for signer in [&old, &new] {
        let signature = signer.sign(&bytes, &Listing::purpose());
        let signed = Signed { name: "releases.json", bytes: &bytes, signature: Some(&signature) };
        assert!(Listing::trusted(&signed, &both).is_ok());
    }
    let by_old = old.sign(&bytes, &Listing::purpose());
    let signed = Signed { name: "releases.json", bytes: &bytes, signature: Some(&by_old) };
    refused(Listing::trusted(&signed, &new.trusted()), "which this stigmer does not trust");
}

#[test]
fn an_index_is_of_what_was_asked_for() {
    let signer = Signer::new();
    let value = sound();
    let newer = asked("1.2.4");
    refused(index(&signer, &value, "1.2.3", &newer), "`i.json` is of version 1.2.3, not of 1.2.4");
    let arm = Asked { target: Target::LinuxArm64, ..asked("1.2.3") };
    refused(index(&signer, &value, "1.2.3", &arm), "is for linux-amd64, not for linux-arm64");
    let listed = Asked { blake3: Some(Digest::of(b"another")), ..asked("1.2.3") };
    refused(index(&signer, &value, "1.2.3", &listed), "parts of two releases are mixed");
    refused(
        index(&signer, &value, "1.2.2", &asked("1.2.3")),
        "was signed as \"stigmer 1.2.2 linux-amd64 index\", not as \"stigmer 1.2.3 linux-amd64 index\"",
    );
    let product = put(&value, "/product", json!("another"));
    refused(
        index(&signer, &product, "1.2.3", &asked("1.2.3")),
        "is of the product \"another\", not of `stigmer`",
    );
    let product = put(&sound_listing(), "/product", json!("another"));
    refused(listing(&signer, product.to_string().as_bytes()), "is of the product \"another\"");
    for schema in [json!(0), json!(2)] {
        let later = put(&put(&value, "/schema", schema.clone()), "/more", json!(1));
        refused(index(&signer, &later, "1.2.3", &asked("1.2.3")), "this stigmer reads schema 1");
        let later = put(&sound_listing(), "/schema", schema);
        refused(listing(&signer, later.to_string().as_bytes()), "this stigmer reads schema 1");
    }
}

#[test]
fn an_older_version_needs_a_word() {
    let version = |text: &str| text.parse().unwrap();
    refused(
        refuse_downgrade(&version("1.2.3"), &version("1.2.3-rc.1"), false),
        "1.2.3-rc.1 is older than 1.2.3, which is installed",
    );
    assert_eq!(refuse_downgrade(&version("1.2.3"), &version("1.0.0"), true), Ok(()));
    assert_eq!(refuse_downgrade(&version("1.2.3"), &version("1.2.3"), false), Ok(()));
}

#[test]
fn an_index_that_cannot_be_is_refused() {
    let huge = u64::MAX;
    let text = |text: &str| json!(text);
    for (pointer, value, words) in [
        ("/surprise", json!(1), "unknown field `surprise`"),
        ("/carrier/mode", json!(1), "unknown field `mode`"),
        ("/version", text("1.2"), "i.json"),
        ("/target", text("linux-sparc"), "unknown variant `linux-sparc`"),
        ("/channel", text("../x"), "cannot name a channel"),
        ("/issued", text("yesterday"), "is not a time like"),
        ("/commit", text(&"c".repeat(65)), "commit: 65 bytes"),
        ("/carrier/name", text("../../etc/passwd"), "its name is \"stigmer-1.2.3-linux-amd64\", not"),
        ("/code/name", text("x"), "code: its name is"),
        ("/carrier/blake3", text("00"), "64 lower-case hexadecimal digits"),
        ("/carrier/size", json!(0), "carrier: its size is 0"),
        ("/carrier/size", json!(-1), "invalid value"),
        ("/carrier/size", json!(1.5), "invalid type"),
        ("/carrier/size", json!(huge), "carrier: its size is 18446744073709551615"),
        ("/carrier/size", json!(181), "the segments take 180 bytes, the carrier has 181"),
        ("/code/raw_size", json!(99), "its chunks decode to 100 bytes, the code part has 99"),
        ("/code/raw_size", json!(huge), "its raw size is 18446744073709551615"),
        ("/code/size", json!(71), "its chunks take 70 bytes, the file has 71"),
        ("/code/chunks", json!([]), "its chunks take 0 bytes"),
        ("/code/chunks/0/0", json!(0), "chunk 0: its size is 0"),
        ("/code/chunks/0/0", json!(huge), "chunk 0: its size is 18446744073709551615"),
        ("/code/chunks/1/2", json!(huge), "chunk 1: its raw size is 18446744073709551615"),
        ("/code/chunks/1/2", json!(41), "its chunks decode to 101 bytes"),
        ("/segments", json!([]), "the segments take 0 bytes"),
        ("/segments/0", json!({"code": 51}), "the segments take 181 bytes"),
        ("/segments/0", json!({"code": 0}), "segment 0: its size is 0"),
        ("/segments/0", json!({"code": huge}), "segment 0: its size is 18446744073709551615"),
        ("/segments/0", json!({"code": 50, "size": 50}), "either `code`, or `frame` with `size`"),
        ("/segments/0", json!({}), "either `code`, or `frame` with `size`"),
        ("/segments/0", json!({"frame": digest(9)}), "either `code`, or `frame` with `size`"),
        ("/segments/1", json!({"frame": digest(9), "size": huge}), "segment 1: its size is"),
        ("/segments/1", json!({"code": 30}), "segment 1: it continues the one before"),
        (
            "/segments/3",
            json!({"frame": digest(9), "size": 50}),
            "use 50 bytes of the code part, which has 100",
        ),
        ("/segments/4", json!({"frame": digest(9), "size": 1}), "the segments take 181 bytes"),
        (
            "/patches/0/name",
            text("../x"),
            "patch 0: its name is \"stigmer-1.2.3-linux-amd64.from-1.2.2.zst\"",
        ),
        ("/patches/0/more", json!(1), "unknown field `more`"),
        ("/patches/1/size", json!(71), "patch 1: its size is 71; 1 to 70 are possible"),
        ("/patches/1/size", json!(0), "patch 1: its size is 0"),
        ("/patches/1", patch("1.2.2", 60), "patch 1: there is one from 1.2.2 already"),
        ("/patches/1", patch("1.2.3", 60), "patch 1: 1.2.3 is no older version"),
        ("/patches/1", patch("1.2.2+5", 60), "patch 1: 1.2.2+5 is no older version"),
        ("/patches", json!(vec![patch("1.2.2", 60); 17]), "17 patches; at most 16 are possible"),
    ] {
        let bytes = put(&sound(), pointer, value).to_string();
        refused(UpdateIndex::parse("i.json", bytes.as_bytes()), words);
    }
    // Without patches nothing of it is missing.
    let mut value = sound();
    value.as_object_mut().expect("an object").remove("patches");
    assert!(UpdateIndex::parse("i.json", value.to_string().as_bytes()).unwrap().patches.is_empty());
    refused(UpdateIndex::parse("i.json", b""), "`i.json` is not as the format wants it");
    refused(UpdateIndex::parse("i.json", &vec![b' '; (8 << 20) + 1]), "at most 8388608 are possible");
    let nested = "[".repeat(100_000);
    refused(UpdateIndex::parse("i.json", nested.as_bytes()), "is not as the format wants it");
    // So many that their sum would overflow, if it were made.
    let many: Vec<Value> = (0..200_001).map(|_| json!({"code": 1})).collect();
    refused(
        UpdateIndex::parse("i.json", put(&sound(), "/segments", Value::Array(many)).to_string().as_bytes()),
        "at most 200000 are possible",
    );
}

#[test]
fn a_listing_that_cannot_be_is_refused() {
    let text = |text: &str| json!(text);
    let release = sound_listing()["releases"][0].clone();
    for (pointer, value, words) in [
        ("/issued", text("2026"), "is not a time like"),
        ("/releases/0/version", text("v1.2.3"), "releases.json"),
        ("/releases/1", release, "version 1.2.3 stands after 1.2.3"),
        ("/releases/0/assets/0/name", text("a/b"), "cannot be called \"a/b\""),
        ("/releases/0/assets/0/name", text(".."), "cannot be called \"..\""),
        ("/releases/0/assets/1/name", text("stigmer-1.2.3-linux-amd64"), "stands twice"),
        ("/releases/0/assets/0/name", text("x"), "it has no asset `stigmer-1.2.3-linux-amd64`"),
        ("/releases/0/assets/0/url", text("../x"), "neither absolute nor below the listing"),
        ("/releases/0/assets/0/url", text("a/../../x"), "neither absolute nor below the listing"),
        ("/releases/0/assets/0/url", text("/x"), "neither absolute nor below the listing"),
        ("/releases/0/assets/0/url", text("//host/x"), "neither absolute nor below the listing"),
        ("/releases/0/assets/0/url", text("file:///etc/passwd"), "neither absolute nor below the listing"),
        ("/releases/0/assets/0/url", text("https://host/a b"), "neither absolute nor below the listing"),
        ("/releases/0/assets/0/url", text("a\\..\\b"), "neither absolute nor below the listing"),
        ("/releases/0/assets/3/digest", text("md5:1"), "has not the form `sha256:…`"),
        ("/releases/0/notes_url", text("javascript:x"), "is not the address of a page"),
        (
            "/releases/0/indexes/linux-arm64",
            json!({"name": "x", "blake3": digest(1)}),
            "linux-arm64: it has no asset",
        ),
        ("/releases/0/indexes/linux-amd64/name", text("x"), "its index is not called"),
    ] {
        let bytes = put(&sound_listing(), pointer, value).to_string();
        refused(Listing::parse("releases.json", bytes.as_bytes()), words);
    }
    // A later stigmer may say more, and for more targets.
    let more = put(&sound_listing(), "/later", json!({"x": 1}));
    let more = put(&more, "/releases/0/indexes/plan9-mips", json!({"name": "x", "blake3": digest(1)}));
    assert!(Listing::parse("releases.json", more.to_string().as_bytes()).is_ok());
}

proptest! {
    /// Numbers anywhere, as large as they may be: an index is refused, or covers its carrier exactly.
    #[test]
    fn no_numbers_make_an_index_that_lies(
        place in 0..12_usize,
        number in prop_oneof![any::<u64>(), 0..400_u64, Just(u64::MAX), Just(1 << 30)],
        second in 0..12_usize,
        other in 0..400_u64,
    ) {
        const PLACES: [&str; 12] = [
            "/carrier/size", "/code/size", "/code/raw_size", "/code/chunks/0/0", "/code/chunks/0/2", "/code/chunks/1/0",
            "/code/chunks/1/2", "/segments/0/code", "/segments/1/size", "/segments/2/size", "/segments/3/code", "/schema",
        ];
        let value = put(&put(&sound(), PLACES[place], json!(number)), PLACES[second], json!(other));
        fuzzing::update_index(value.to_string().as_bytes());
    }

    /// A byte changed, removed or put in anywhere.
    #[test]
    fn no_damage_makes_a_reader_panic(at in 0..3000_usize, byte: u8, what in 0..3_u8) {
        for (document, read) in [
            (sound(), fuzzing::update_index as fn(&[u8])),
            (sound_listing(), fuzzing::listing),
        ] {
            let mut bytes = document.to_string().into_bytes();
            let at = at % bytes.len();
            match what {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
            read(&bytes);
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_signature(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzzing::signature(&bytes);
    }
}
