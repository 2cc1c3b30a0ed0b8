//! `stigmer server update`: the platform on the new version, or everything as it was.

use serde_json::Value;
use stigmer_test_support::update::{NEW, OLD, World, broken, old, publish};

fn json(world: &World, args: &[&str]) -> Value {
    world.run(args).code(0).json()
}

#[test]
fn what_runs_is_restarted_on_the_new_version_with_its_settings() {
    let world = World::new();
    let before = json(&world, &["server", "start", "--port", "0", "--json"]);
    assert_eq!(before["version"], OLD);
    let report = json(&world, &["server", "update", "--json"]);
    assert_eq!((&report["updated"], &report["restarted"]), (&true.into(), &true.into()), "{report}");
    assert_eq!(report["version"], NEW);
    world.assert_updated();
    let after = json(&world, &["server", "status", "--json"]);
    assert_eq!((after["version"].as_str(), after["ready"].as_bool()), (Some(NEW), Some(true)));
    assert_ne!(after["instance"], before["instance"]);
    assert_eq!(after["url"], before["url"], "clients know the address");
    // Once more: there is nothing to do, and nothing is done.
    world.run(&["server", "update"]).code(0);
    assert_eq!(json(&world, &["server", "status", "--json"])["instance"], after["instance"]);
    // What runs is older than what is installed: that alone is a reason.
    world.run(&["self-update", "--rollback"]).code(0);
    let report = json(&world, &["server", "update", "--version", OLD, "--allow-downgrade", "--json"]);
    assert_eq!((&report["updated"], &report["restarted"]), (&false.into(), &true.into()), "{report}");
    assert_eq!(json(&world, &["server", "status", "--json"])["version"], OLD);
    world.run(&["server", "stop"]).code(0);
}

#[test]
fn where_the_new_version_does_not_get_ready_the_old_one_runs_again() {
    let world = World::with(publish(&[old(), broken()]));
    let before = json(&world, &["server", "start", "--port", "0", "--json"]);
    world.run(&["server", "update"]).code(1).says(&[
        "the new version has lost its way",
        &format!("does not get ready on stigmer {NEW}"),
        &format!("stigmer {OLD} was put back and runs again"),
    ]);
    assert_eq!(world.version(), OLD);
    let after = json(&world, &["server", "status", "--json"]);
    assert_eq!((after["version"].as_str(), after["ready"].as_bool()), (Some(OLD), Some(true)));
    assert_eq!(after["url"], before["url"]);
    world.run(&["server", "stop"]).code(0);
}

#[test]
fn where_nothing_runs_only_the_executable_is_replaced() {
    let world = World::new();
    let ran = world.run(&["server", "update"]).code(0);
    assert!(ran.out.contains("the server is not running"), "{}", ran.out);
    world.assert_updated();
    world.run(&["server", "status"]).code(3);
}

#[test]
fn doctor_says_who_updates_and_what_was_heard_of() {
    let world = World::new();
    let check = || {
        let report = world.run(&["doctor", "--json"]).json();
        let checks = report["checks"].as_array().expect("checks").clone();
        let check = checks.into_iter().find(|check| check["name"] == "update").expect("a check of updates");
        (check["verdict"].as_str().expect("text").to_owned(), check.to_string())
    };
    let (verdict, words) = check();
    assert_eq!((verdict.as_str(), words.contains("self-update --check")), ("ok", true), "{words}");
    // Who asks hears it, and so does the doctor.
    world.update(&["--check"]);
    world.host.take_log();
    let (verdict, words) = check();
    assert_eq!((verdict.as_str(), words.contains(NEW)), ("warning", true), "{words}");
    std::fs::write(world.home().join("config.toml"), "").expect("written");
    let (verdict, words) = check();
    assert_eq!((verdict.as_str(), words.contains("no release key")), ("ok", true), "{words}");
    let marker = world.bin().join("stigmer.managed");
    std::fs::write(&marker, "name = \"a packager\"\nupdate = \"pkg upgrade stigmer\"\n").expect("written");
    let (verdict, words) = check();
    assert_eq!(verdict, "ok", "{words}");
    assert!(world.host.take_log().is_empty(), "nobody is asked");
}
