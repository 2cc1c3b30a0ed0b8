//! The same with the real payload: the carrier that `STIGMER_REAL` names, which `make test` sets.

use std::path::PathBuf;
use std::process::Stdio;
use stigmer_test_support::Ran;
use stigmer_test_support::store::{NAME, World, settle, snapshot};

/// The carrier; `None` if nobody asks for these tests.
fn real() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("STIGMER_REAL")?);
    let path = path.canonicalize().unwrap_or_else(|e| panic!("STIGMER_REAL: {}: {e}", path.display()));
    Some(path)
}

#[test]
fn the_runner_checks_itself_on_a_first_start_with_nothing_around_it() {
    let Some(exe) = real() else { return };
    let world = World::new();
    world.run(&exe, &["exec", NAME, "--", "--self-check"]).code(0);
    let second = snapshot(world.home());
    world.run(&exe, &["exec", NAME, "--", "--self-check"]).code(0);
    assert_eq!(snapshot(world.home()), second, "a second start writes nothing, and neither does the runner");
    world.run(&exe, &["cache", "verify"]).code(0);
}

#[test]
fn of_32_first_starts_one_materializes_the_runner() {
    let Some(exe) = real() else { return };
    let world = World::new();
    let children: Vec<_> = (0..32)
        .map(|_| {
            let mut command = world.command(&exe, &["cache", "warm", "--json"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a start")
        })
        .collect();
    let outcomes: Vec<String> = children
        .into_iter()
        .map(|child| Ran::from(child.wait_with_output().expect("an end")).outcome())
        .collect();
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "materialized").count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "warm").count(), 31, "{outcomes:?}");
    world.run(&exe, &["cache", "verify"]).code(0);
    world.assert_no_leftovers();
}

#[test]
fn a_flipped_byte_of_the_runner_is_found_and_healed() {
    let Some(exe) = real() else { return };
    let world = World::new();
    let warmed = world.run(&exe, &["cache", "warm", "--json"]).code(0).json();
    settle(&world.path("clock"));
    let entry = PathBuf::from(warmed["components"][0]["path"].as_str().expect("a path"));
    let seen = snapshot(&entry);
    let (largest, _) = seen.iter().max_by_key(|(_, seen)| seen.size).expect("files");
    let mut bytes = std::fs::read(largest).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    stigmer_test_support::store::set_mode(largest, 0o644);
    std::fs::write(largest, bytes).expect("written");
    stigmer_test_support::store::set_mode(largest, seen[largest].mode & 0o777);
    world.run(&exe, &["cache", "verify"]).code(1);
    assert_eq!(world.run(&exe, &["cache", "warm", "--json"]).outcome(), "repaired");
    world.run(&exe, &["cache", "verify"]).code(0);
    world.run(&exe, &["exec", NAME, "--", "--self-check"]).code(0);
}

#[test]
fn a_runner_started_by_its_stable_path_keeps_its_entry() {
    let Some(exe) = real() else { return };
    let world = World::new();
    world.run(&exe, &["cache", "warm"]).code(0);
    let program = world.home().join("bin").join(NAME);
    let mut runner = std::process::Command::new(program);
    // It waits for its config, and ends when there is none.
    let runner = runner.arg("--supervised").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut runner = runner.spawn().expect("it starts");
    let listed = world.run(&exe, &["cache", "list", "--json"]).code(0).json();
    assert_eq!(listed["entries"][0]["in_use_by"], serde_json::json!([runner.id()]));
    world.run(&exe, &["cache", "clean"]).code(75);
    world.run(&exe, &["cache", "verify"]).code(0);
    drop(runner.stdin.take());
    runner.wait().expect("it ends");
    world.run(&exe, &["cache", "clean"]).code(0);
}
