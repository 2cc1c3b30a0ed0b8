//! Links where directories of ours should be: a home may be put together from several disks, and nothing is harmed by it.

use std::os::unix::fs::symlink;
use stigmer_test_support::store::{NAME, Payload, World, carrier, snapshot};

#[test]
fn parts_of_the_home_may_be_links_to_other_disks() {
    for part in ["store", "locks", "bin", "store/v1"] {
        let world = World::new();
        let elsewhere = world.path("elsewhere");
        std::fs::create_dir_all(&elsewhere).expect("mkdir");
        let link = world.home().join(part);
        std::fs::create_dir_all(link.parent().expect("a parent")).expect("mkdir");
        symlink(&elsewhere, &link).expect("symlink");
        for _ in 0..2 {
            let ran = world.run(carrier(Payload::One), &["exec", NAME, "--", "hello"]).code(0);
            assert_eq!((ran.out.as_str(), ran.err.as_str()), ("hello from One\n", ""), "{part}");
        }
        world.run(carrier(Payload::One), &["cache", "clean"]).code(0);
        assert!(link.is_symlink(), "{part}");
    }
}

#[test]
fn a_leftover_that_is_a_link_is_not_followed() {
    let world = World::new();
    world.warm(Payload::One);
    let victim = world.path("victim");
    std::fs::create_dir_all(victim.join("deep")).expect("mkdir");
    std::fs::write(victim.join("deep/precious"), "x").expect("written");
    let before = snapshot(&victim);
    for name in [".trash-1-1-1", ".tmp-0123456789ab-x"] {
        symlink(&victim, world.store().join(name)).expect("symlink");
    }
    world.run(carrier(Payload::One), &["cache", "gc"]).code(0);
    world.run(carrier(Payload::One), &["cache", "clean"]).code(0);
    assert!(!world.names_in_store().iter().any(|name| name.starts_with(".trash")));
    assert_eq!(snapshot(&victim), before);
}

#[test]
fn what_stands_at_the_stable_path_is_not_followed_either() {
    let world = World::new();
    let victim = world.path("victim");
    std::fs::write(&victim, "precious").expect("written");
    std::fs::create_dir_all(world.home().join("bin")).expect("mkdir");
    let stable = world.home().join("bin").join(NAME);
    symlink(&victim, &stable).expect("symlink");
    world.run(carrier(Payload::One), &["exec", NAME]).code(0);
    assert_eq!(std::fs::read(&victim).expect("still there"), b"precious");
    assert!(stable.canonicalize().expect("a program").starts_with(world.entry(Payload::One)));
}

/// What a person has put at the stable path is not ours to remove: the start says so and goes on.
#[test]
fn a_directory_at_the_stable_path_is_said_and_left() {
    let world = World::new();
    std::fs::create_dir_all(world.home().join("bin").join(NAME).join("mine")).expect("mkdir");
    world.run(carrier(Payload::One), &["exec", NAME]).code(0).says(&["note: cannot update the stable path"]);
    assert!(world.home().join("bin").join(NAME).join("mine").is_dir());
    world.assert_no_leftovers();
}

/// Whatever the file system is, and whatever stands there: a rename that publishes never takes its place.
#[test]
fn publishing_replaces_nothing() {
    let world = World::new();
    let (from, file, dir) = (world.path("from"), world.path("file"), world.path("dir"));
    for path in [&from, &dir] {
        std::fs::create_dir(path).expect("mkdir");
    }
    std::fs::write(&file, "x").expect("written");
    let before = [snapshot(&file), snapshot(&dir)];
    for to in [&file, &dir] {
        let error = stigmer::platform::rename_no_clobber(&from, to).expect_err("something is there");
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{}", to.display());
    }
    assert_eq!([snapshot(&file), snapshot(&dir)], before);
}
