//! The manifest lets one version check what another made, and no more than that.

use crate::damages::rewrite;
use stigmer_test_support::store::{Payload, World, age, carrier};

#[test]
fn a_missing_or_garbled_manifest_is_written_again() {
    let world = World::new();
    let exe = carrier(Payload::One);
    let other = carrier(Payload::Small);
    let manifest = world.place(Payload::One).manifest();
    world.warm(Payload::One);
    let sound = std::fs::read(&manifest).expect("a manifest");
    for garbage in [None, Some(&b""[..]), Some(b"{}"), Some(b"\xff"), Some(&sound[..sound.len() / 2])] {
        match garbage {
            None => std::fs::remove_file(&manifest).expect("removed"),
            Some(bytes) => std::fs::write(&manifest, bytes).expect("written"),
        }
        // Who carries the component does not need it; who does not, cannot check.
        world.run(exe, &["cache", "verify"]).code(0);
        world.run(other, &["cache", "verify"]).code(4);
        world.run(exe, &["cache", "verify", "--repair"]).code(0);
        world.run(other, &["cache", "verify"]).code(0);
        assert_eq!(std::fs::read(&manifest).expect("a manifest"), sound);
    }
    // One that lies is caught by the entry's name.
    let mut lie: serde_json::Value = serde_json::from_slice(&sound).expect("JSON");
    lie["version"] = "6.6.6".into();
    lie["entries"].as_array_mut().expect("entries").pop();
    std::fs::write(&manifest, lie.to_string()).expect("written");
    world.run(other, &["cache", "verify"]).code(4);
}

#[test]
fn another_versions_damage_is_reported_and_does_not_keep_ours_from_repair() {
    let world = World::new();
    for payload in [Payload::One, Payload::Small] {
        world.warm(payload);
        rewrite(&world.entry(payload).join("lib/a/b/c/deep.txt"), |bytes| bytes[0] ^= 1);
    }
    // Small was used last, so it comes first in the list; One cannot repair it.
    age(&world.place(Payload::One).lease(), 1800);
    let exe = carrier(Payload::One);
    let ran = world.run(exe, &["cache", "verify", "--repair", "--json"]).code(1);
    assert_eq!(ran.json()["entries"].as_array().map(Vec::len), Some(2), "{ran:?}");
    assert_eq!(world.problems(Payload::One), []);
    assert_eq!(world.problems(Payload::Small).len(), 1);
    world.run(exe, &["cache", "verify", "--repair"]).code(1).says(&["does not carry", "cache clean"]);
    world.run(carrier(Payload::Small), &["cache", "verify", "--repair"]).code(0);
    assert_eq!(world.problems(Payload::Small), []);
}
