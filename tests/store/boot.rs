//! What a power cut can take, and how a start after it notices.

use serde_json::{Value, json};
use stigmer_test_support::store::{NAME, Payload, World, carrier, set_mode, snapshot};

/// Puts this value for this key in the stamp.
fn edit_stamp(world: &World, key: &str, value: Value) {
    let path = world.place(Payload::One).stamp();
    let mut stamp: Value = serde_json::from_slice(&std::fs::read(&path).expect("a stamp")).expect("JSON");
    assert!(stamp.get(key).is_some(), "{key}: {stamp}");
    stamp[key] = value;
    std::fs::write(&path, stamp.to_string()).expect("written");
}

fn stamp(world: &World) -> Value {
    let path = world.place(Payload::One).stamp();
    serde_json::from_slice(&std::fs::read(path).expect("a stamp")).expect("JSON")
}

/// As if the machine had been restarted since.
fn restart(world: &World) {
    edit_stamp(world, "boot", json!("11111111-2222-3333-4444-555555555555"));
}

#[test]
fn the_first_start_after_a_restart_looks_once() {
    let world = World::new();
    world.warm(Payload::One);
    let boot = stamp(&world)["boot"].clone();
    restart(&world);
    assert_eq!(world.warm(Payload::One).outcome(), "verified");
    assert_eq!(stamp(&world)["boot"], boot);
    assert_eq!(world.warm(Payload::One).outcome(), "warm");
    restart(&world);
    world.run(carrier(Payload::One), &["exec", NAME]).code(0);
    assert_eq!(stamp(&world)["boot"], boot);
}

/// A power cut leaves a file that was never flushed as long as it should be but empty, or zero bytes long. `exec` does not
/// look at its change time.
#[test]
fn what_the_power_cut_took_is_put_back() {
    for content in [Vec::new(), vec![0; 2_500_000]] {
        let world = World::new();
        world.warm(Payload::One);
        let file = world.entry(Payload::One).join("lib/random.bin");
        set_mode(&file, 0o644);
        std::fs::write(&file, &content).expect("damaged");
        set_mode(&file, 0o444);
        restart(&world);
        world.run(carrier(Payload::One), &["exec", NAME]).code(0).says(&["repaired"]);
        assert_eq!(world.problems(Payload::One), []);
    }
}

#[test]
fn what_is_on_disk_needs_no_look_after_a_restart() {
    let world = World::new();
    world.run(carrier(Payload::One), &["cache", "warm", "--sync"]).code(0);
    assert_eq!(stamp(&world)["durable"], true);
    restart(&world);
    let before = snapshot(world.home());
    assert_eq!(world.warm(Payload::One).outcome(), "warm");
    world.run(carrier(Payload::One), &["exec", NAME]).code(0);
    assert_eq!(snapshot(world.home()), before);
}

#[test]
fn what_was_not_flushed_is_not_called_durable() {
    let world = World::new();
    world.warm(Payload::One);
    assert_eq!(stamp(&world)["durable"], false);
    world.run(carrier(Payload::One), &["cache", "warm", "--sync"]).code(0);
    // What is written anew by a repair is not on disk either.
    let file = world.entry(Payload::One).join("lib/text.txt");
    set_mode(&file, 0o644);
    std::fs::write(&file, "short").expect("damaged");
    assert_eq!(world.warm(Payload::One).outcome(), "repaired");
    assert_eq!(stamp(&world)["durable"], false);
}

#[test]
fn a_repair_that_finds_nothing_changes_nothing() {
    let world = World::new();
    world.run(carrier(Payload::One), &["cache", "warm", "--sync"]).code(0);
    let before = snapshot(&world.store());
    world.run(carrier(Payload::One), &["cache", "verify", "--repair"]).code(0);
    assert_eq!(snapshot(&world.store()), before);
    assert_eq!(stamp(&world)["durable"], true);
}

#[test]
fn a_stamp_that_is_none_costs_one_look() {
    let world = World::new();
    let path = world.place(Payload::One).stamp();
    let garbage: [&[u8]; 4] = [b"", b"{", b"\xff\xff", br#"{"format":1}"#];
    for bytes in garbage {
        world.warm(Payload::One);
        std::fs::write(&path, bytes).expect("written");
        assert_eq!(world.warm(Payload::One).outcome(), "verified", "{bytes:?}");
        assert_eq!(world.warm(Payload::One).outcome(), "warm");
    }
    for (key, value) in [
        ("format", json!(2)),
        ("digest", json!("0".repeat(64))),
        ("size", json!(1)),
        ("inode", json!(1)),
        ("changed_ns", json!(1)),
        ("mode", json!(0o755)),
        ("evidence", json!("0".repeat(64))),
        ("entrypoint", json!("lib/tool")),
        ("entrypoint", json!("../../../../../bin/sh")),
    ] {
        edit_stamp(&world, key, value.clone());
        assert_eq!(world.warm(Payload::One).outcome(), "verified", "{key} {value}");
        assert_eq!(world.warm(Payload::One).outcome(), "warm");
    }
    std::fs::remove_file(&path).expect("a stamp");
    assert_eq!(world.warm(Payload::One).outcome(), "verified");
}

#[test]
fn a_stamp_with_more_in_it_is_still_one() {
    let world = World::new();
    world.warm(Payload::One);
    let mut later = stamp(&world);
    later["a_later_version"] = json!("says more");
    std::fs::write(world.place(Payload::One).stamp(), later.to_string()).expect("written");
    assert_eq!(world.warm(Payload::One).outcome(), "warm");
    assert_eq!(stamp(&world), later);
}
