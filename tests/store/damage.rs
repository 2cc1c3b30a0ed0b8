//! Damage to an entry: found, named, and healed from the executable alone, as root and as an ordinary user.

use crate::damages::{DAMAGES, Damage, rewrite};
use std::path::{Path, PathBuf};
use stigmer_test_support::Ran;
use stigmer_test_support::store::{
    NAME, Payload, World, as_nobody, give_to_nobody, is_root, run, set_mode, settle, snapshot,
};

/// A world with a damaged entry, and somebody else's directory with things named as those in the entry.
fn damaged(damage: &Damage, nobody: bool) -> (World, PathBuf, PathBuf) {
    let world = World::new();
    let exe = if nobody {
        world.copy_of(Payload::One)
    } else {
        stigmer_test_support::store::carrier(Payload::One).to_owned()
    };
    world.warm(Payload::One);
    let victim = world.path("victim");
    std::fs::create_dir_all(victim.join("a/b/c")).expect("mkdir");
    for name in ["precious", "random.bin", "text.txt", "a/b/c/deep.txt", "component.json", "empty"] {
        std::fs::write(victim.join(name), "precious").expect("written");
        set_mode(&victim.join(name), 0o600);
    }
    for name in ["bin", "lib", "empty-dir"] {
        std::fs::create_dir(victim.join(name)).expect("mkdir");
        set_mode(&victim.join(name), 0o700);
    }
    (damage.inflict)(&world.entry(Payload::One), &victim);
    if nobody {
        give_to_nobody(world.home());
        give_to_nobody(&victim);
    }
    settle(&world.path("clock"));
    (world, victim, exe)
}

fn start(world: &World, exe: &Path, nobody: bool, args: &[&str]) -> Ran {
    let mut command = world.command(exe, args);
    if nobody {
        as_nobody(&mut command);
    }
    run(&mut command)
}

#[track_caller]
fn assert_healed(world: &World, exe: &Path, nobody: bool, name: &str) {
    start(world, exe, nobody, &["cache", "verify"]).code(0);
    assert_eq!(world.problems(Payload::One), [], "{name}");
    assert_eq!(start(world, exe, nobody, &["cache", "warm", "--json"]).outcome(), "warm", "{name}");
    let ran = start(world, exe, nobody, &["exec", NAME, "--", "hello"]).code(0);
    assert_eq!(ran.out, "hello from One\n", "{name}");
    world.assert_no_leftovers();
}

/// All damages, healed by `heal`; every failure is told, not the first.
fn all(nobody: bool, heal: impl Fn(&World, &Path, &str) + std::panic::RefUnwindSafe) {
    let failed: Vec<&str> = DAMAGES
        .iter()
        .filter(|damage| {
            std::panic::catch_unwind(|| {
                let (world, victim, exe) = damaged(damage, nobody);
                let before = snapshot(&victim);
                start(&world, &exe, nobody, &["cache", "verify"]).code(damage.bits);
                heal(&world, &exe, damage.name);
                assert_healed(&world, &exe, nobody, damage.name);
                assert_eq!(snapshot(&victim), before, "somebody else's files");
            })
            .is_err()
        })
        .map(|damage| damage.name)
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_damage_is_found_and_repaired() {
    all(false, |world, exe, _| {
        let ran = start(world, exe, false, &["cache", "verify", "--repair"]).code(0);
        assert!(ran.out.contains("repaired"), "{ran:?}");
    });
}

#[test]
fn every_damage_is_healed_by_a_start_that_says_so() {
    all(false, |world, exe, name| {
        assert_eq!(start(world, exe, false, &["cache", "warm", "--json"]).outcome(), "repaired", "{name}");
    });
}

#[test]
fn every_damage_is_healed_for_an_ordinary_user() {
    if !is_root() {
        return; // Then the two above were that.
    }
    all(true, |world, exe, name| {
        assert_eq!(start(world, exe, true, &["cache", "warm", "--json"]).outcome(), "repaired", "{name}");
    });
}

#[test]
fn what_an_ordinary_user_may_not_even_look_at_is_healed_too() {
    let locked: &[Damage] = &[
        Damage { name: "a directory closed", inflict: |e, _| set_mode(&e.join("lib/a"), 0), bits: 5 },
        Damage { name: "a file closed", inflict: |e, _| set_mode(&e.join("lib/tool"), 0), bits: 5 },
        Damage { name: "the entry closed", inflict: |e, _| set_mode(e, 0), bits: 5 },
        Damage {
            name: "a directory that can be listed only",
            inflict: |e, _| set_mode(&e.join("lib"), 0o444),
            bits: 5,
        },
    ];
    for damage in locked {
        let (world, _victim, exe) = damaged(damage, true);
        start(&world, &exe, true, &["cache", "verify"]).code(damage.bits);
        assert_eq!(
            start(&world, &exe, true, &["cache", "warm", "--json"]).outcome(),
            "repaired",
            "{}",
            damage.name
        );
        assert_healed(&world, &exe, true, damage.name);
    }
}

#[test]
fn exec_heals_what_concerns_its_program() {
    // A link to the entry itself, moved elsewhere, leads to the very program that was stamped.
    let concerns = |name: &str| {
        name.contains("program") || name.contains("entry replaced") && !name.contains("to a copy")
    };
    for damage in DAMAGES.iter().filter(|damage| concerns(damage.name)) {
        let (world, victim, exe) = damaged(damage, false);
        let before = snapshot(&victim);
        let ran = world.run(&exe, &["exec", NAME, "--", "hello"]).code(0).says(&["repaired"]);
        assert_eq!(ran.out, "hello from One\n", "{}", damage.name);
        assert_eq!(world.problems(Payload::One), [], "{}", damage.name);
        assert_eq!(snapshot(&victim), before, "{}", damage.name);
    }
}

#[test]
fn a_repair_gives_the_damaged_file_a_new_inode_and_no_other() {
    let world = World::new();
    world.warm(Payload::One);
    let entry = world.entry(Payload::One);
    let held = std::fs::File::open(entry.join("lib/text.txt")).expect("a file");
    rewrite(&entry.join("lib/text.txt"), |bytes| bytes[0] ^= 1);
    settle(&world.path("clock"));
    let before = snapshot(&entry);
    world.run(stigmer_test_support::store::carrier(Payload::One), &["cache", "verify", "--repair"]).code(0);
    let after = snapshot(&entry);
    let changed: Vec<_> =
        before.iter().filter(|(path, seen)| after[*path].inode != seen.inode).map(|(path, _)| path).collect();
    assert_eq!(changed, [&entry.join("lib/text.txt")]);
    // Whoever has the old one open keeps what it has.
    assert_eq!(blake3_of(held), before[&entry.join("lib/text.txt")].hash);
}

fn blake3_of(file: std::fs::File) -> Option<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).ok()?;
    Some(hasher.finalize())
}
