//! What an update does when nothing goes wrong.

use stigmer_test_support::update::{NEW, OLD, World, new, old};

fn carrier_name() -> String {
    new().index.carrier.name.clone()
}

#[test]
fn an_update_takes_what_changed_and_keeps_the_one_before() {
    let world = World::new();
    let report = world.update(&[]);
    world.assert_updated();
    assert_eq!((report["from"].as_str(), report["to"].as_str()), (Some(OLD), Some(NEW)));
    let (fetched, size) = (report["fetched_bytes"].as_u64().expect("a number"), new().index.carrier.size);
    assert!(fetched * 10 < size, "{fetched} of {size} bytes were fetched");
    assert_eq!(report["server_running"], false);
    // Then there is nothing to do.
    let ran = world.run(&["self-update"]).code(0);
    assert_eq!(ran.out, format!("stigmer {NEW} is installed already\n"));
}

/// Nothing can be taken from the whole carrier except what the plan asks for.
#[test]
fn the_rest_of_the_carrier_is_never_looked_at() {
    let world = World::new();
    let plan = world.update(&["--dry-run"]);
    world.assert_untouched();
    let log = world.host.take_log();
    assert!(log.iter().all(|request| !request.is_for_bytes()), "{log:?}");
    // Poison every byte of the carrier that is none of a changed frame's.
    let old_frames: Vec<_> = old().index.segments.clone();
    let name = carrier_name();
    let runs: Vec<_> = new().index.runs().collect();
    world.host.change(&name, |bytes| {
        for (run, segment) in runs.iter().zip(&new().index.segments) {
            if old_frames.contains(segment) {
                let range =
                    usize::try_from(run.at).expect("fits")..usize::try_from(run.at + run.size).expect("fits");
                bytes[range].fill(0xaa);
            }
        }
    });
    let report = world.update(&[]);
    world.assert_updated();
    let log = world.host.take_log();
    let asked: Vec<_> = log.iter().filter(|request| request.is_for_bytes()).collect();
    assert_eq!(asked.len() as u64, plan["requests"].as_u64().expect("a number"), "{asked:?}");
    let bytes: usize = asked.iter().map(|request| request.range.clone().expect("a range").len()).sum();
    assert_eq!(bytes as u64, plan["fetch_bytes"].as_u64().expect("a number"));
    assert!(report["fetched_bytes"].as_u64().expect("a number") > bytes as u64, "the documents count too");
    assert!(asked.iter().all(|request| request.header("accept-encoding") == Some("identity")));
    assert!(log.iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn going_back_and_forth() {
    let world = World::new();
    world.run(&["self-update", "--rollback"]).code(69).says(&["no previous version", "stigmer.previous"]);
    world.update(&[]);
    let report = world.run(&["self-update", "--rollback", "--json"]).code(0).json();
    assert_eq!((report["from"].as_str(), report["to"].as_str()), (Some(NEW), Some(OLD)));
    assert_eq!(world.version(), OLD);
    world.run(&["self-update", "--rollback"]).code(0).says(&["--rollback` once more undoes it"]);
    world.assert_updated();
    // By hand, as it is written down for a program that does not start.
    std::fs::rename(world.previous(), world.exe()).expect("moved");
    assert_eq!(world.version(), OLD);
    world.update(&[]);
    world.assert_updated();
}

#[test]
fn a_check_says_what_there_is_and_changes_nothing() {
    let world = World::new();
    let report = world.update(&["--check"]);
    assert_eq!(report["update_available"], true);
    assert_eq!((report["current"].as_str(), report["newest"].as_str()), (Some(OLD), Some(NEW)));
    let ran = world.run(&["self-update", "--check"]).code(0);
    assert!(ran.out.contains(&format!("stigmer {NEW} is there; this is {OLD}")), "{ran:?}");
    world.assert_untouched();
}

#[test]
fn a_named_version_is_taken_and_an_older_one_only_on_purpose() {
    let world = World::new();
    world.run(&["self-update", "--version", "7.7.7"]).code(69).says(&["no release 7.7.7", NEW]);
    world.update(&["--version", NEW]);
    world.assert_updated();
    world.run(&["self-update", "--version", OLD]).code(1).says(&["older than", "--allow-downgrade"]);
    world.assert_updated();
    world.update(&["--version", OLD, "--allow-downgrade"]);
    assert_eq!(world.version(), OLD);
}
