//! Releases as `bundle publish` makes them, from builds of their own that trust keys of their own: from the first version to one that is
//! signed with another key.

use crate::real_releases::releases;
use std::path::Path;
use stigmer_test_support::update::{World, copy_program, run, version_of};

/// The files of a host that has the directory `dir`.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    fn walk(dir: &Path, at: &str, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in std::fs::read_dir(dir).expect("listed").flatten() {
            let path = format!("{at}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().expect("known").is_dir() {
                walk(&entry.path(), &path, found);
            } else {
                found.push((path, std::fs::read(entry.path()).expect("read")));
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, "", &mut found);
    found
}

/// A world where `version` is installed, that trusts nobody but whom that build trusts.
fn installed(version: &str, site: &str) -> World {
    let world = World::with(files(&releases().join(site)));
    std::fs::remove_file(world.exe()).expect("removed");
    copy_program(&releases().join(version), &world.exe());
    std::fs::write(world.home().join("config.toml"), "").expect("written");
    world
}

#[test]
fn a_key_is_replaced_by_way_of_a_version_that_trusts_both() {
    let world = installed("0.9.1", "one");
    let ran = world.run(&["self-update"]).code(0);
    assert_eq!(ran.out, "stigmer 0.9.1 is installed already\n");
    world.host.replace(files(&releases().join("site")));
    let plan = world.update(&["--dry-run"]);
    let report = world.update(&[]);
    assert_eq!((report["from"].as_str(), report["to"].as_str()), (Some("0.9.1"), Some("0.9.2")));
    assert_eq!(world.version(), "0.9.2");
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    assert!(number(&plan["reused_bytes"]) > 0, "{plan}");
    // The new key, which only this version trusts.
    world.host.replace(files(&releases().join("rotated")));
    world.update(&[]);
    assert_eq!(world.version(), "0.9.3");
    world.run(&["self-update", "--rollback"]).code(0);
    assert_eq!(world.version(), "0.9.2");
    assert_eq!(version_of(&world, &world.previous()), "0.9.3");
}

#[test]
fn who_knows_the_old_key_alone_refuses_the_new_one() {
    let world = installed("0.9.1", "rotated");
    world.run(&["self-update"]).code(65).says(&[
        "releases.json",
        "does not trust",
        "install the new version by hand",
    ]);
    assert_eq!(world.names(), ["stigmer"]);
    // And who trusts the new one alone does not take what the old one signed.
    let world = installed("0.9.3", "site");
    world.run(&["self-update"]).code(65).says(&["releases.json", "does not trust"]);
    // Unless the person adds it.
    let key = std::fs::read_to_string(releases().join("keys/old.key.pub")).expect("read");
    let key = key.lines().last().expect("a key");
    std::fs::write(world.home().join("config.toml"), format!("[update]\ntrusted_keys = [\"{key}\"]\n"))
        .expect("written");
    let ran = run(&mut world.command(&["self-update", "--version", "0.9.1", "--allow-downgrade"]));
    ran.code(0);
    assert_eq!(world.version(), "0.9.1");
}
