//! `kill -9` at every system call that changes something: the next start works, and nothing is left for ever.
//!
//! strace counts a system call for each thread and kills at the N-th, so stepping N visits every call of the main thread and,
//! in some order, those of the threads that decode.

use crate::support::{NAME, Payload, Ran, World, carrier, run, set_mode, settle, strace};

/// Everything that changes files or locks, and opening them.
const CHANGES: &str = "write,?pwrite64,?mkdir,?mkdirat,?rename,?renameat,?renameat2,?chmod,?fchmod,?fchmodat,\
    ?symlink,?symlinkat,?link,?linkat,?unlink,?unlinkat,?rmdir,ftruncate,flock,?utimensat,close";
const OPENS: &str = "?open,openat,?getdents64,?statx,?newfstatat,?readlink,?readlinkat";

fn soak() -> bool {
    std::env::var_os("STIGMER_SOAK").is_some()
}

/// Runs the command in one world after the other, killing it one call later each time, until it lives to the end.
/// Returns how often it was killed.
fn kill_at_every(
    calls: &str,
    step: usize,
    args: &[&str],
    prepare: impl Fn(&World),
    after: impl Fn(&World, usize),
) -> usize {
    let mut kills = 0;
    let step = if soak() { 1 } else { step };
    for when in (1..).step_by(step) {
        let world = World::new();
        prepare(&world);
        let command = world.command(carrier(Payload::Small), args);
        let (trace, inject) =
            (format!("trace={calls}"), format!("inject={calls}:signal=SIGKILL:when={when}"));
        let ran = run(&mut strace(&["-o", "/dev/null", "-e", &trace, "-e", &inject], &command));
        if ran.signal.is_none() && ran.code != Some(137) {
            assert_eq!(ran.code, Some(0), "{ran:#?}");
            break;
        }
        kills += 1;
        after(&world, when);
    }
    kills
}

/// The next start works, the entry is sound, the lock is free, and a later collection leaves nothing.
#[track_caller]
fn assert_recovers(world: &World, when: usize) {
    let mut command = world.command(carrier(Payload::Small), &["exec", NAME, "--", "hello"]);
    let ran: Ran = run(command.env("STIGMER_LOCK_TIMEOUT", "0")).code(0);
    assert_eq!(ran.out, "hello from Small\n", "call {when}");
    assert_eq!(world.run(carrier(Payload::Small), &["cache", "warm", "--json"]).code, Some(0), "call {when}");
    assert_eq!(world.problems(Payload::Small), [], "call {when}");
    let stable = world.home().join("bin").join(NAME).canonicalize().expect("the stable path");
    assert!(stable.starts_with(world.entry(Payload::Small)), "call {when}");
    world.age_leftovers();
    world.run(carrier(Payload::Small), &["cache", "gc"]).code(0);
    world.assert_no_leftovers();
    assert_eq!(world.names_in_store().len(), 3, "call {when}: {:?}", world.names_in_store());
}

/// What stands at the entry's place is whole, but for the entry's own permissions, which are taken after the rename.
#[track_caller]
fn assert_whole_or_absent(world: &World, when: usize) {
    if world.entry(Payload::Small).exists() {
        let problems = world.problems(Payload::Small);
        assert!(problems.iter().all(|problem| problem.path == "."), "call {when}: {problems:?}");
    } else {
        assert!(!world.place(Payload::Small).stamp().exists(), "call {when}");
    }
}

#[test]
fn killed_while_it_materializes() {
    let after = |world: &World, when| {
        assert_whole_or_absent(world, when);
        assert_recovers(world, when);
    };
    let changes = kill_at_every(CHANGES, 1, &["cache", "warm"], |_| (), after);
    let opens = kill_at_every(OPENS, 1, &["cache", "warm"], |_| (), after);
    assert!(changes + opens >= 100, "{changes} + {opens}");
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
    let kills = kill_at_every(CHANGES, 3, &["cache", "verify", "--repair"], damage, assert_recovers);
    assert!(kills >= 15, "{kills}");
}

#[test]
fn killed_while_it_cleans() {
    let kills = kill_at_every(
        CHANGES,
        2,
        &["cache", "clean"],
        |world| drop(world.warm(Payload::Small)),
        assert_recovers,
    );
    assert!(kills >= 15, "{kills}");
}

#[test]
fn killed_while_it_confirms_that_all_is_on_disk() {
    let kills = kill_at_every(
        CHANGES,
        3,
        &["cache", "warm", "--sync"],
        |world| drop(world.warm(Payload::Small)),
        assert_recovers,
    );
    assert!(kills >= 3, "{kills}");
}
