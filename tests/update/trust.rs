//! Everything that is not believed, each with its own words, and with nothing changed.

use stigmer::update::{Listing, Target, UpdateIndex};
use stigmer_test_support::update::{
    NEW, OLD, Release, Request, Signer, World, new, old, publish, publish_at, signer,
};

/// The update is refused in these words, with this exit code, and nothing is changed.
#[track_caller]
fn refused(world: &World, code: i32, words: &[&str]) {
    let ran = world.run(&["self-update"]);
    ran.code(code).says(words).says(&["error:", "hint:"]);
    world.assert_untouched();
    let bytes: Vec<_> = world.host.take_log().into_iter().filter(Request::is_for_bytes).collect();
    assert!(bytes.is_empty(), "bytes were fetched: {bytes:?}");
}

fn index_name() -> String {
    new().index.target.index_name(&new().index.version)
}

/// The new release with an index that says something else, signed all the same.
fn with_index(change: impl FnOnce(&mut UpdateIndex)) -> Release {
    let mut index = new().index.clone();
    change(&mut index);
    Release { carrier: new().carrier.clone(), index, code: new().code.clone() }
}

#[test]
fn what_is_not_signed() {
    for name in ["releases.json".to_owned(), index_name()] {
        let world = World::new();
        world.host.remove(&format!("{name}.minisig"));
        refused(&world, 65, &[&format!("`{name}` is not signed")]);
        let world = World::new();
        world.host.change(&format!("{name}.minisig"), |text| *text = b"hello\n".to_vec());
        refused(&world, 65, &[&format!("`{name}.minisig` is not a signature")]);
    }
}

#[test]
fn what_somebody_else_signed() {
    let world = World::with(publish_at(&[old(), new()], "2026-03-01T12:00:00Z", &Signer::new()));
    refused(&world, 65, &["releases.json", "is signed with the key", "does not trust"]);
}

#[test]
fn a_signature_of_other_bytes() {
    for name in ["releases.json".to_owned(), index_name()] {
        let world = World::new();
        world.host.change(&name, |text| {
            let at = text.len() - 2;
            text.insert(at, b' ');
        });
        refused(&world, 65, &[&format!("the signature of `{name}` is not of these bytes")]);
    }
}

#[test]
fn a_signature_that_was_made_for_something_else() {
    let world = World::new();
    let bytes = world.host.file("/releases.json");
    let purpose = UpdateIndex::purpose(&new().index.version, new().index.target);
    world.host.change("/releases.json.minisig", |text| *text = signer().sign(&bytes, &purpose));
    refused(&world, 65, &["`releases.json` was signed as", "not as \"stigmer listing\""]);
}

#[test]
fn another_product() {
    let world = World::with(publish(&[old(), &with_index(|index| index.product = "other".into())]));
    refused(&world, 65, &["is of the product \"other\", not of `stigmer`"]);
}

#[test]
fn another_target() {
    let world = World::new();
    // A release whose index for our target is in truth that of another one.
    let other = Target::ALL.into_iter().find(|target| *target != new().index.target).expect("another");
    let version = new().index.version.clone();
    let mut index = new().index.clone();
    index.target = other;
    index.carrier.name = other.carrier_name(&version);
    index.code.name = other.code_name(&version);
    let bytes = index.to_bytes();
    let signature = signer().sign(&bytes, &UpdateIndex::purpose(&version, other));
    world.host.change(&index_name(), |text| *text = bytes);
    world.host.change(&format!("{}.minisig", index_name()), |text| *text = signature);
    refused(&world, 65, &[&format!("is for {other}, not for {}", new().index.target)]);
}

#[test]
fn another_version_under_the_name_of_a_new_one() {
    // Somebody has the old, validly signed release and calls it new.
    let world = World::new();
    let target = new().index.target;
    for ending in ["", ".minisig"] {
        let text = world.host.file(&format!("{}{ending}", target.index_name(&old().index.version)));
        world.host.change(&format!("{}{ending}", index_name()), |place| *place = text);
    }
    refused(&world, 65, &[&format!("is of version {OLD}, not of {NEW}")]);
}

#[test]
fn parts_of_two_releases() {
    let world = World::new();
    // The same version, signed at another time.
    let mut index = new().index.clone();
    index.issued = "2026-03-02T12:00:00Z".parse().expect("a time");
    let bytes = index.to_bytes();
    let signature = signer().sign(&bytes, &UpdateIndex::purpose(&index.version, index.target));
    world.host.change(&index_name(), |text| *text = bytes);
    world.host.change(&format!("{}.minisig", index_name()), |text| *text = signature);
    refused(&world, 65, &["is not the one that the listing names", "two releases are mixed"]);
}

#[test]
fn a_listing_older_than_one_seen() {
    let world = World::with(publish_at(&[old(), new()], "2026-03-05T12:00:00Z", signer()));
    world.update(&["--check"]);
    world.host.replace(publish_at(&[old(), new()], "2026-03-04T12:00:00Z", signer()));
    refused(
        &world,
        65,
        &["issued on 2026-03-04T12:00:00Z", "2026-03-05T12:00:00Z was seen before", "seen.json"],
    );
    world.host.replace(publish_at(&[old(), new()], "2026-03-06T12:00:00Z", signer()));
    world.update(&[]);
    world.assert_updated();
}

#[test]
fn a_listing_from_the_future_is_remarked_on() {
    let world = World::with(publish_at(&[old(), new()], "2126-03-05T12:00:00Z", signer()));
    world
        .run(&["self-update"])
        .code(0)
        .says(&["note: `releases.json` was issued on 2126", "is the clock of this machine right?"]);
    world.assert_updated();
}

#[test]
fn a_form_that_is_not_known() {
    let world = World::new();
    let text = String::from_utf8(world.host.file("/releases.json")).expect("text");
    let later = text.replace("\"schema\": 1", "\"schema\": 2").into_bytes();
    assert_ne!(later, text.into_bytes());
    let signature = signer().sign(&later, &Listing::purpose());
    world.host.change("/releases.json", |text| *text = later);
    world.host.change("/releases.json.minisig", |text| *text = signature);
    refused(&world, 65, &["has schema 2; this stigmer reads schema 1", "install the new version by hand"]);
}

/// Signed by us, and still not what it says: a hole, a size that is not the carrier's.
#[test]
fn an_index_that_contradicts_itself() {
    let world = World::with(publish(&[
        old(),
        &with_index(|index| index.segments.truncate(index.segments.len() - 1)),
    ]));
    refused(&world, 65, &["is not as the format wants it", "segments take"]);
    let world = World::with(publish(&[old(), &with_index(|index| index.carrier.size += 1)]));
    refused(&world, 65, &["is not as the format wants it", "the carrier has"]);
}

/// All parts are right and the whole is not: a mistake of whoever signed, which must not be installed.
#[test]
fn a_whole_that_is_not_the_sum_of_its_parts() {
    let world = World::with(publish(&[
        old(),
        &with_index(|index| index.carrier.blake3 = stigmer::bundle::Digest::of(b"x")),
    ]));
    world.run(&["self-update"]).code(65).says(&["the whole of", "does not match its signed digest"]);
    world.assert_untouched();
}

#[test]
fn nobody_is_trusted() {
    let world = World::new();
    std::fs::write(world.home().join("config.toml"), "").expect("written");
    let ran = world.run(&["self-update"]);
    // A build with keys of its own would refuse the signature.
    assert!(matches!(ran.code, Some(78 | 65)), "{ran:#?}");
    if ran.code == Some(78) {
        ran.says(&["built without a release key", "STIGMER_RELEASE_KEYS", "trusted_keys"]);
        assert!(world.host.take_log().is_empty());
    }
    world.assert_untouched();
    std::fs::write(world.home().join("config.toml"), "[update]\ntrusted_keys = [\"RWnonsense\"]\n")
        .expect("written");
    world.run(&["self-update"]).code(78).says(&["not the public key of minisign"]);
}

#[test]
fn any_of_several_keys_is_enough() {
    let world = World::new();
    let (first, second) = (Signer::new().public(), signer().public());
    let text = format!("[update]\ntrusted_keys = [\"{first}\", \"{second}\"]\n");
    std::fs::write(world.home().join("config.toml"), text).expect("written");
    world.update(&[]);
    world.assert_updated();
}
