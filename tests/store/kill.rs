//! `kill -9` at every system call that changes something: the next start works, and nothing is left for ever.
//!
//! strace counts each system call for each thread and kills at the N-th, so stepping N through each of them visits every call
//! of the main thread and, in some order, those of the threads that decode.

use stigmer_test_support::Ran;
use stigmer_test_support::store::{NAME, Payload, World, carrier, run, set_mode, settle, strace};

/// Everything that changes files or locks.
const CHANGES: &[&str] = &[
    "write",
    "pwrite64",
    "mkdir",
    "mkdirat",
    "rename",
    "renameat",
    "renameat2",
    "chmod",
    "fchmod",
    "fchmodat",
    "symlink",
    "symlinkat",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "rmdir",
    "ftruncate",
    "flock",
    "utimensat",
    "syncfs",
];
/// What stands between the changes.
const LOOKS: &[&str] =
    &["open", "openat", "close", "getdents64", "statx", "newfstatat", "readlink", "readlinkat"];
/// The first calls of each kind are all visited, of the others only some.
const FIRST: usize = 6;

fn soak() -> bool {
    std::env::var_os("STIGMER_SOAK").is_some()
}

/// Runs the command in one world after the other and kills it one call later each time, until it lives to the end; for each
/// kind of call. Returns how often it was killed.
fn kill_at_every(
    calls: &[&str],
    step: usize,
    args: &[&str],
    prepare: impl Fn(&World),
    after: impl Fn(&World, &str),
) -> usize {
    let mut kills = 0;
    for call in calls {
        let mut when = 1;
        loop {
            let world = World::new();
            prepare(&world);
            let command = world.command(carrier(Payload::Small), args);
            // Not every system has every call.
            let trace = format!("trace=?{call}");
            let inject = format!("inject=?{call}:signal=SIGKILL:when={when}");
            let ran = run(&mut strace(&["-o", "/dev/null", "-e", &trace, "-e", &inject], &command));
            if ran.signal.is_none() && ran.code != Some(137) {
                assert_eq!(ran.code, Some(0), "{ran:#?}");
                break;
            }
            kills += 1;
            after(&world, &format!("{call} {when}"));
            when += if soak() || when < FIRST { 1 } else { step };
        }
    }
    kills
}

/// The next start works, the entry is sound, the lock is free, and a later collection leaves nothing.
#[track_caller]
fn assert_recovers(world: &World, at: &str) {
    let mut command = world.command(carrier(Payload::Small), &["exec", NAME, "--", "hello"]);
    let ran: Ran = run(command.env("STIGMER_LOCK_TIMEOUT", "0")).code(0);
    assert_eq!(ran.out, "hello from Small\n", "{at}");
    // Before a closer look, which would mend it.
    let stable = world.home().join("bin").join(NAME).canonicalize().expect("the stable path");
    assert!(stable.starts_with(world.entry(Payload::Small)), "{at}");
    assert_eq!(world.run(carrier(Payload::Small), &["cache", "warm", "--json"]).code, Some(0), "{at}");
    assert_eq!(world.problems(Payload::Small), [], "{at}");
    world.age_leftovers();
    world.run(carrier(Payload::Small), &["cache", "gc"]).code(0);
    world.assert_no_leftovers();
    assert_eq!(world.names_in_store().len(), 3, "{at}: {:?}", world.names_in_store());
}

/// What stands at the entry's place is whole, but for the entry's own permissions, which are taken after the rename.
#[track_caller]
fn assert_whole_or_absent(world: &World, at: &str) {
    if world.entry(Payload::Small).exists() {
        let problems = world.problems(Payload::Small);
        assert!(problems.iter().all(|problem| problem.path == "."), "{at}: {problems:?}");
    } else {
        assert!(!world.place(Payload::Small).stamp().exists(), "{at}");
    }
}

#[track_caller]
fn assert_undone(world: &World, at: &str) {
    assert_whole_or_absent(world, at);
    assert_recovers(world, at);
}

#[test]
fn killed_while_it_materializes_at_each_change() {
    let kills = kill_at_every(CHANGES, 6, &["cache", "warm"], |_| (), assert_undone);
    assert!(kills >= 60, "{kills}");
}

#[test]
fn killed_while_it_materializes_between_changes() {
    let kills = kill_at_every(LOOKS, 8, &["cache", "warm"], |_| (), assert_undone);
    assert!(kills >= 40, "{kills}");
}

#[test]
fn killed_while_it_repairs() {
    let damage = |world: &World| {
        world.warm(Payload::Small);
        let entry = world.entry(Payload::Small);
        for name in ["bin/run", "lib/a/b/c/deep.txt"] {
            let file = entry.join(name);
            set_mode(&file, 0o644);
            std::fs::write(&file, "something else").expect("damaged");
        }
        set_mode(&entry.join("lib"), 0o755);
        std::fs::remove_file(entry.join("lib/link")).expect("removed");
        std::fs::create_dir_all(entry.join("lib/extra/deep")).expect("mkdir");
        settle(&world.path("clock"));
    };
    let kills = kill_at_every(CHANGES, 20, &["cache", "verify", "--repair"], damage, assert_recovers);
    assert!(kills >= 25, "{kills}");
}

#[test]
fn killed_while_it_cleans() {
    let warm = |world: &World| drop(world.warm(Payload::Small));
    let kills = kill_at_every(CHANGES, 20, &["cache", "clean"], warm, assert_recovers);
    assert!(kills >= 20, "{kills}");
}

#[test]
fn killed_while_it_confirms_that_all_is_on_disk() {
    let warm = |world: &World| drop(world.warm(Payload::Small));
    let kills = kill_at_every(CHANGES, 20, &["cache", "warm", "--sync"], warm, assert_recovers);
    assert!(kills >= 5, "{kills}");
}

/// Otherwise a start would take a half-repaired entry for a sound one: its program may be as it was.
#[test]
fn a_repair_takes_the_stamp_away_before_it_changes_anything() {
    let damage = |world: &World| {
        world.warm(Payload::Small);
        let lib = world.entry(Payload::Small).join("lib");
        set_mode(&lib.join("random.bin"), 0o644);
        std::fs::write(lib.join("random.bin"), "short").expect("damaged");
        set_mode(&lib, 0o755);
        std::fs::remove_file(lib.join("link")).expect("removed");
        std::fs::write(lib.join("extra"), "x").expect("written");
    };
    let changing = &["mkdir", "chmod", "fchmod", "symlink", "pwrite64", "rename", "renameat", "renameat2"];
    let kills = kill_at_every(changing, 1000, &["cache", "verify", "--repair"], damage, |world, at| {
        let is_sound = world.problems(Payload::Small).is_empty();
        assert!(is_sound || !world.place(Payload::Small).stamp().exists(), "{at}");
    });
    assert!(kills >= 5, "{kills}");
}
