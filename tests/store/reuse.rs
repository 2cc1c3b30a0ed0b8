//! Files of an older entry are taken over if, and only if, they are what they should be.

use std::os::unix::fs::MetadataExt;
use stigmer_test_support::store::{Payload, World, carrier, set_mode, settle, snapshot};

const SHARED: [&str; 5] = ["lib/random.bin", "lib/shared.so.1", "lib/text.txt", "lib/same-1.bin", "lib/tool"];

/// Materializes the second payload after the first, and says how many files were reused.
fn second(world: &World) -> u64 {
    let ran = world.warm(Payload::Two);
    assert_eq!(world.problems(Payload::Two), []);
    ran.json()["components"][0]["reused_files"].as_u64().expect("a number")
}

#[test]
fn identical_files_are_not_decoded_again() {
    let world = World::new();
    world.warm(Payload::One);
    // Both of `same` as well.
    assert_eq!(second(&world), 6);
    for name in SHARED {
        let inode = |payload| world.entry(payload).join(name).metadata().expect(name).ino();
        let blocks = world.entry(Payload::Two).join(name).metadata().expect(name).nlink();
        // Linked, or cloned where the file system can.
        assert!(inode(Payload::One) == inode(Payload::Two) || blocks == 1, "{name}");
    }
    let program = |payload| world.entry(payload).join("bin/run").metadata().expect("run").ino();
    assert_ne!(program(Payload::One), program(Payload::Two));
}

#[test]
fn a_damaged_older_file_is_not_taken_over() {
    let world = World::new();
    world.warm(Payload::One);
    let old = world.entry(Payload::One);
    for name in SHARED {
        let path = old.join(name);
        let mut bytes = std::fs::read(&path).expect("readable");
        *bytes.last_mut().expect("content") ^= 1;
        let mode = path.metadata().expect("a file").mode();
        set_mode(&path, 0o644);
        std::fs::write(&path, bytes).expect("written");
        set_mode(&path, mode & 0o777);
    }
    // `same-2` has the content of `same-1`.
    assert_eq!(second(&world), 2);
}

#[test]
fn what_is_no_longer_a_file_of_ours_is_not_taken_over() {
    let world = World::new();
    world.warm(Payload::One);
    let old = world.entry(Payload::One);
    let victim = world.path("victim");
    std::fs::copy(old.join("lib/random.bin"), &victim).expect("copied");
    set_mode(&old.join("lib"), 0o755);
    std::fs::remove_file(old.join("lib/random.bin")).expect("removed");
    std::os::unix::fs::symlink(&victim, old.join("lib/random.bin")).expect("symlink");
    set_mode(&old.join("lib/tool"), 0o777);
    let before = snapshot(&victim);
    second(&world);
    for name in ["lib/random.bin", "lib/tool"] {
        let new = world.entry(Payload::Two).join(name).symlink_metadata().expect(name);
        assert!(new.is_file() && new.mode() & 0o222 == 0, "{name}");
    }
    assert_eq!(snapshot(&victim), before);
}

#[test]
fn damage_to_a_shared_file_is_healed_in_each_entry_by_its_own_executable() {
    let world = World::new();
    world.warm(Payload::One);
    second(&world);
    let shared = world.entry(Payload::Two).join("lib/random.bin");
    set_mode(&shared, 0o644);
    std::fs::write(&shared, "short").expect("damaged");
    settle(&world.path("clock"));
    assert_eq!(world.warm(Payload::Two).outcome(), "repaired");
    assert_eq!(world.problems(Payload::Two), []);
    assert_eq!(world.warm(Payload::One).outcome(), "repaired");
    assert_eq!(world.problems(Payload::One), []);
    assert_eq!(world.problems(Payload::Two), []);
}

#[test]
fn removing_the_older_entry_leaves_the_newer_whole() {
    let world = World::new();
    world.warm(Payload::One);
    second(&world);
    for _ in 0..2 {
        stigmer_test_support::store::age(&world.place(Payload::One).lease(), 90 * 86_400);
    }
    std::fs::remove_file(world.place(Payload::One).stamp()).expect("a stamp");
    let ran = world.run(carrier(Payload::Two), &["cache", "gc", "--json"]).code(0);
    assert_eq!(ran.json()["removed"].as_array().map(Vec::len), Some(1), "{ran:?}");
    assert!(!world.entry(Payload::One).exists());
    assert_eq!(world.problems(Payload::Two), []);
}
