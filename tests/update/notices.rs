//! The remark that there is a newer release: on a terminal, once a day, never waited for.

use std::process::Command;
use stigmer_test_support::update::{NEW, OLD, World, run};
use stigmer_test_support::{Ran, eventually};

/// Runs the program on a terminal of its own; what it says comes out together.
fn on_terminal(world: &World, args: &str, more: &[(&str, &str)]) -> Ran {
    let mut command = Command::new("script");
    command.args(["-qec", &format!("{} {args}", world.exe().display()), "/dev/null"]);
    for (key, value) in world.command(&[]).get_envs() {
        command.env(key, value.unwrap_or_default());
    }
    command.env_remove("CI").envs(more.iter().copied()).stdin(std::process::Stdio::null());
    run(&mut command)
}

fn notes(world: &World) -> std::path::PathBuf {
    world.home().join("data/update/notice.json")
}

/// Waits until the detached process has written what it found.
fn wait_until_found(world: &World) {
    eventually("what it found is noted", || {
        let text = std::fs::read_to_string(notes(world)).ok()?;
        text.contains(NEW).then_some(())
    });
}

#[test]
fn said_once_a_day_and_found_out_by_a_process_of_its_own() {
    let world = World::new();
    let first = on_terminal(&world, "cache list", &[]);
    assert!(!first.out.contains("is there"), "nothing is known yet: {first:?}");
    wait_until_found(&world);
    world.host.take_log();
    let second = on_terminal(&world, "cache list", &[]);
    let words = format!("stigmer {NEW} is there; this is {OLD}: `stigmer self-update`");
    assert!(second.out.contains(&words), "{second:?}");
    let third = on_terminal(&world, "cache list", &[]);
    assert!(!third.out.contains("is there"), "{third:?}");
    assert!(world.host.take_log().is_empty(), "it was asked twice in a day");
    // An update makes it untrue.
    world.update(&[]);
    std::fs::write(notes(&world), std::fs::read_to_string(notes(&world)).expect("read").replace("told", "x"))
        .expect("written");
    let last = on_terminal(&world, "cache list", &[]);
    assert!(!last.out.contains("is there"), "{last:?}");
}

#[test]
fn never_where_nobody_reads_it_or_wants_it() {
    let world = World::new();
    on_terminal(&world, "cache list", &[]);
    wait_until_found(&world);
    let before = std::fs::read(notes(&world)).expect("read");
    for (args, more) in [
        ("cache list", &[("CI", "true")][..]),
        ("cache list", &[("STIGMER_NO_UPDATE_NOTICE", "1")]),
        ("cache list --json", &[]),
        ("exec agent-runner -- --self-check", &[]),
        ("bundle inspect", &[]),
        ("--version", &[]),
    ] {
        let ran = on_terminal(&world, args, more);
        assert!(!ran.out.contains("is there"), "{args}: {ran:?}");
    }
    let ran = world.run(&["cache", "list"]).code(0);
    assert!(!ran.err.contains("is there"), "without a terminal: {ran:?}");
    assert_eq!(std::fs::read(notes(&world)).expect("read"), before);
    world.config("notice = false");
    let ran = on_terminal(&world, "cache list", &[]);
    assert!(!ran.out.contains("is there"), "{ran:?}");
}

/// A host that is not there, or lies, is no concern of whoever lists a cache.
#[test]
fn nothing_is_said_of_what_goes_wrong() {
    let world = World::new();
    world.host.change("/releases.json", |text| text.truncate(40));
    let ran = on_terminal(&world, "cache list", &[]);
    eventually("it was asked", || {
        world.host.take_log().iter().any(|request| request.path.ends_with(".minisig")).then_some(())
    });
    assert_eq!(ran.code, Some(0));
    assert!(!ran.out.contains("rror"), "{ran:?}");
}
