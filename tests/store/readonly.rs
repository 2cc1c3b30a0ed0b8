//! Homes that cannot be written: a complete entry runs all the same.

use stigmer_test_support::namespace::{MOUNTS, inside, mount};
use stigmer_test_support::store::{NAME, Payload, World, carrier, set_mode, snapshot};
use stigmer_test_support::test_name;

/// Makes the home a read-only mount.
fn freeze(world: &World) {
    let home = world.home().to_str().expect("text").to_owned();
    mount(&["--bind", &home], world.home());
    mount(&["-o", "remount,bind,ro"], world.home());
}

fn thaw(world: &World) {
    stigmer_test_support::store::run(std::process::Command::new("umount").arg("-l").arg(world.home()))
        .code(0);
}

#[test]
fn a_read_only_home_with_a_complete_entry_works() {
    if !inside(MOUNTS, test_name!()) {
        return;
    }
    let world = World::new();
    world.warm(Payload::One);
    // Long ago, so that a start would like to note its use.
    stigmer_test_support::store::age(&world.place(Payload::One).lease(), 86_400);
    freeze(&world);
    let before = snapshot(world.home());
    for args in [
        &["exec", NAME, "--", "hello"][..],
        &["cache", "warm"],
        &["cache", "verify"],
        &["cache", "list"],
        &["cache", "path"],
    ] {
        let ran = world.run(carrier(Payload::One), args).code(0);
        assert_eq!(ran.err, "", "{args:?}");
    }
    assert_eq!(snapshot(world.home()), before);
    thaw(&world);
}

#[test]
fn a_read_only_home_without_stamp_lease_or_lock_works_if_the_entry_is_sound() {
    if !inside(MOUNTS, test_name!()) {
        return;
    }
    let world = World::new();
    world.warm(Payload::One);
    let place = world.place(Payload::One);
    for path in [place.stamp(), place.lease(), place.lock()] {
        std::fs::remove_file(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        freeze(&world);
        let ran = world.run(carrier(Payload::One), &["exec", NAME, "--", "hello"]).code(0);
        assert_eq!(ran.out, "hello from One\n", "without {}", path.display());
        world.run(carrier(Payload::One), &["cache", "warm"]).code(0);
        thaw(&world);
    }
    let file = world.entry(Payload::One).join("lib/text.txt");
    set_mode(&file, 0o644);
    std::fs::write(&file, "short").expect("damaged");
    freeze(&world);
    world.run(carrier(Payload::One), &["exec", NAME]).code(73).says(&["ead-only", "hint:", "STIGMER_HOME"]);
    thaw(&world);
    assert_eq!(world.problems(Payload::One).len(), 2, "nothing was repaired, so it was not started either");
}

#[test]
fn a_read_only_home_without_an_entry_is_named() {
    if !inside(MOUNTS, test_name!()) {
        return;
    }
    let world = World::new();
    std::fs::create_dir_all(world.home()).expect("mkdir");
    freeze(&world);
    for args in [&["exec", NAME][..], &["cache", "warm"]] {
        world.run(carrier(Payload::One), args).code(73).says(&["ead-only", "/home", "hint:", "STIGMER_HOME"]);
    }
    thaw(&world);
}

#[test]
fn collecting_in_a_read_only_home_does_no_harm() {
    if !inside(MOUNTS, test_name!()) {
        return;
    }
    let world = World::new();
    world.warm(Payload::One);
    world.warm(Payload::Two);
    world.warm(Payload::Small);
    for payload in [Payload::One, Payload::Two] {
        stigmer_test_support::store::age(&world.place(payload).lease(), 90 * 86_400);
    }
    freeze(&world);
    let before = snapshot(world.home());
    for args in [["cache", "gc"], ["cache", "clean"]] {
        world.run(carrier(Payload::Small), &args).code(73).says(&["ead-only", "hint:"]);
    }
    assert_eq!(snapshot(world.home()), before);
    thaw(&world);
}

#[test]
fn a_home_without_programs_is_named_as_such() {
    if !inside(MOUNTS, test_name!()) {
        return;
    }
    let world = World::new();
    mount(&["-t", "tmpfs", "-o", "size=50m,noexec", "tmpfs"], world.home());
    for _ in 0..2 {
        world.run(carrier(Payload::One), &["exec", NAME]).code(77).says(&[
            "noexec",
            "STIGMER_HOME",
            "bin/run",
        ]);
    }
    thaw(&world);
}

/// A home made by the administrator for everybody.
#[test]
fn an_entry_of_somebody_else_is_used_and_not_read_again() {
    let world = World::new();
    let exe = world.copy_of(Payload::One);
    world.warm(Payload::One);
    let before = snapshot(world.home());
    let ran = world.run_as_nobody(&exe, &["exec", NAME, "--", "hello"]).code(0);
    assert_eq!(ran.out, "hello from One\n");
    assert_eq!(world.run_as_nobody(&exe, &["cache", "warm", "--json"]).outcome(), "warm");
    world.run_as_nobody(&exe, &["cache", "verify"]).code(0);
    assert_eq!(snapshot(world.home()), before);
    // Another version of somebody else can be verified by its manifest.
    let other = world.path("other");
    std::fs::copy(carrier(Payload::Small), &other).expect("copied");
    set_mode(&other, 0o755);
    world.run_as_nobody(&other, &["cache", "verify"]).code(0);
}
