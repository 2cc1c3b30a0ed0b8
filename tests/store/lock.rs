//! Waiting for somebody else, and what may have become of the entry meanwhile.

use fs2::FileExt;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use stigmer_test_support::Ran;
use stigmer_test_support::store::{NAME, Payload, World, carrier, run, settle, wait_for};

/// Holds the entry's lock, as a process that says what it does.
fn hold(world: &World, doing: &str) -> File {
    let path = world.place(Payload::One).lock();
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
    let mut file =
        File::options().read(true).write(true).create(true).truncate(true).open(path).expect("a lock file");
    file.try_lock_exclusive().expect("free");
    let pid = std::process::id();
    write!(file, r#"{{"pid":{pid},"doing":"{doing}","since":1}}"#).expect("written");
    file
}

fn start(world: &World, args: &[&str]) -> Child {
    let mut command = world.command(carrier(Payload::One), args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a start")
}

/// Lets a start wait for the lock, does `meanwhile`, releases the lock, and says what became of the start.
fn meanwhile(world: &World, args: &[&str], f: impl FnOnce()) -> Ran {
    let lock = hold(world, "standing in the way");
    let mut child = start(world, args);
    let (said, mut rest) = wait_for(&mut child, "waiting for");
    f();
    drop(lock);
    let mut err = said;
    rest.read_to_string(&mut err).expect("text");
    Ran { err, ..Ran::from(child.wait_with_output().expect("an end")) }
}

#[test]
fn a_lock_that_is_never_released_is_named_and_ends_the_wait() {
    let world = World::new();
    let _lock = hold(&world, "materializing agent-runner 1.0");
    let mut command = world.command(carrier(Payload::One), &["exec", NAME]);
    let holder = format!("process {} (materializing agent-runner 1.0)", std::process::id());
    run(command.env("STIGMER_LOCK_TIMEOUT", "0")).code(75).says(&[
        &format!("waiting for {holder}"),
        &format!("still held by {holder}"),
        "STIGMER_LOCK_TIMEOUT",
    ]);
    world.assert_nothing_published();
}

#[test]
fn invalid_lock_timeout_is_refused() {
    let world = World::new();
    for garbage in ["1m", "-1", "1.5"] {
        let mut command = world.command(carrier(Payload::One), &["exec", NAME]);
        run(command.env("STIGMER_LOCK_TIMEOUT", garbage)).code(78).says(&[
            &format!(
                "invalid value {garbage:?} for STIGMER_LOCK_TIMEOUT: expected a whole number of seconds"
            ),
            "hint: set it to a whole number",
        ]);
    }
    world.assert_nothing_published();
}

#[test]
fn a_holder_who_says_nothing_is_still_waited_for() {
    let world = World::new();
    let lock = hold(&world, "x");
    lock.set_len(0).expect("emptied");
    let mut command = world.command(carrier(Payload::One), &["exec", NAME]);
    run(command.env("STIGMER_LOCK_TIMEOUT", "0")).code(75).says(&["waiting for another process"]);
}

#[test]
fn a_lock_that_is_released_lets_the_waiter_go_on() {
    let world = World::new();
    let ran = meanwhile(&world, &["exec", NAME, "--", "hello"], || ()).code(0);
    assert_eq!(ran.out, "hello from One\n");
}

#[test]
fn a_warm_start_waits_for_nobody() {
    let world = World::new();
    world.warm(Payload::One);
    let _lock = hold(&world, "standing in the way");
    let mut command = world.command(carrier(Payload::One), &["exec", NAME, "--", "hello"]);
    let ran = run(command.env("STIGMER_LOCK_TIMEOUT", "0")).code(0);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("hello from One\n", ""));
}

#[test]
fn an_executable_that_is_updated_while_it_waits_goes_on_with_what_it_has() {
    let world = World::new();
    let exe = world.copy_of(Payload::One);
    let lock = hold(&world, "standing in the way");
    let mut command = world.command(&exe, &["exec", NAME, "--", "hello"]);
    let mut child = stigmer_test_support::store::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let (_said, _rest) = wait_for(&mut child, "waiting for");
    std::fs::remove_file(&exe).expect("removed");
    std::os::unix::fs::symlink(carrier(Payload::Two), &exe).expect("another one in its place");
    drop(lock);
    let ran = Ran::from(child.wait_with_output().expect("an end")).code(0);
    assert_eq!(ran.out, "hello from One\n");
}

/// Without its stamp, a start takes the lock and looks at everything.
fn unstamp(world: &World) -> PathBuf {
    world.warm(Payload::One);
    std::fs::remove_file(world.place(Payload::One).stamp()).expect("a stamp");
    world.entry(Payload::One)
}

#[test]
fn an_entry_removed_while_a_start_waits_is_made_again() {
    let world = World::new();
    let entry = unstamp(&world);
    let ran = meanwhile(&world, &["exec", NAME, "--", "hello"], || {
        stigmer_test_support::store::set_mode(&entry, 0o755);
        std::fs::rename(&entry, world.path("removed")).expect("moved");
    });
    assert_eq!(ran.code(0).out, "hello from One\n");
    assert_eq!(world.problems(Payload::One), []);
}

/// A removal holds the lease alone: whoever comes then does not start from what is about to go.
#[test]
fn a_start_during_a_removal_waits_for_its_end() {
    let world = World::new();
    world.warm(Payload::One);
    let lease = File::open(world.place(Payload::One).lease()).expect("a lease file");
    FileExt::try_lock_exclusive(&lease).expect("free");
    let ran = meanwhile(&world, &["exec", NAME, "--", "hello"], || drop(lease)).code(0);
    assert_eq!(ran.out, "hello from One\n");
}

#[test]
fn an_entry_that_appears_damaged_while_a_start_waits_is_not_believed() {
    let world = World::new();
    let entry = unstamp(&world);
    let note = entry.join("lib/text.txt");
    stigmer_test_support::store::set_mode(&note, 0o644);
    std::fs::write(&note, "something else").expect("damaged");
    stigmer_test_support::store::set_mode(&entry, 0o755);
    let away = world.path("away");
    std::fs::rename(&entry, &away).expect("moved");
    meanwhile(&world, &["exec", NAME], || std::fs::rename(&away, &entry).expect("moved back")).code(0);
    settle(&world.path("clock"));
    assert_eq!(world.problems(Payload::One), []);
}

/// What a repair has written while we flushed is not on disk.
#[test]
fn a_stamp_that_changes_while_everything_is_flushed_is_not_called_durable() {
    let world = World::new();
    world.warm(Payload::One);
    let path = world.place(Payload::One).stamp();
    let text =
        std::fs::read_to_string(&path).expect("a stamp").replace("\"materialized\":", "\"materialized\":1");
    meanwhile(&world, &["cache", "warm", "--sync"], || std::fs::write(&path, &text).expect("written"))
        .code(0);
    assert_eq!(std::fs::read_to_string(&path).expect("a stamp"), text);
    assert!(text.contains("\"durable\":false"));
}

#[test]
fn a_lease_does_not_keep_others_from_repairing() {
    let world = World::new();
    world.warm(Payload::One);
    let lease = File::open(world.place(Payload::One).lease()).expect("a lease file");
    FileExt::lock_shared(&lease).expect("free");
    std::fs::remove_file(world.place(Payload::One).stamp()).expect("a stamp");
    let mut command = world.command(carrier(Payload::One), &["cache", "warm", "--json"]);
    assert_eq!(run(command.env("STIGMER_LOCK_TIMEOUT", "0")).outcome(), "verified");
}
