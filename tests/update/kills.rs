//! `kill -9` wherever an update can be: afterwards the installed program runs, the old or the new one, and the next update
//! finishes and leaves nothing behind.

use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use stigmer_test_support::update::{Do, NEW, OLD, World, new, old, run, same, start};

fn soak() -> bool {
    std::env::var_os("STIGMER_SOAK").is_some()
}

/// After a kill: what is installed is a whole release and runs; the next run finishes.
#[track_caller]
fn assert_recovers(world: &World, at: &str) {
    let is_whole = same(&world.exe(), &old().carrier) || same(&world.exe(), &new().carrier);
    assert!(is_whole, "{at}: what is installed is neither release");
    let version = world.version();
    assert!(version == OLD || version == NEW, "{at}: {version}");
    let ran = world.run(&["self-update"]);
    assert_eq!(ran.code, Some(0), "{at}: {ran:#?}");
    assert_eq!(world.version(), NEW, "{at}");
    // Killed after the new one was in place, there was nothing left to update, and leftovers go with the next one.
    if version == OLD {
        world.assert_updated();
    }
    assert!(same(&world.exe(), &new().carrier), "{at}");
    assert!(same(&world.previous(), &old().carrier), "{at}");
}

#[test]
fn killed_at_any_byte_of_what_is_fetched() {
    let world = World::new();
    let mut kills = 0;
    for (args, step, most) in
        [(&["self-update"][..], 40_000, 2_600_000), (&["self-update", "--no-delta"], 1_500_000, 30_000_000)]
    {
        let step = if soak() { step / 8 } else { step };
        for after in (0..most).step_by(step) {
            world.install(old());
            for name in world.names() {
                if name != "stigmer" {
                    std::fs::remove_file(world.bin().join(name)).expect("removed");
                }
            }
            let gate = Arc::new(Mutex::new(()));
            let (told, reached) = mpsc::channel();
            let guard = gate.lock().expect("ours");
            let (hold, sent) = (gate.clone(), Mutex::new(0));
            world.host.rule(move |request| {
                if !request.is_for_bytes() {
                    return Do::Serve;
                }
                let mut sent = sent.lock().expect("ours");
                let len = request.range.as_ref().map_or(usize::MAX, ExactSizeIterator::len);
                if after < *sent + len {
                    return Do::Hold(after - *sent, told.clone(), hold.clone());
                }
                *sent += len;
                Do::Serve
            });
            let mut child = start(world.command(args).stderr(std::process::Stdio::null()));
            // Either the place is reached, or the update needed fewer bytes and has ended.
            let arrived = loop {
                match reached.recv_timeout(std::time::Duration::from_millis(20)) {
                    Ok(()) => break true,
                    Err(_) if child.try_wait().expect("asked").is_some() => break false,
                    Err(_) => {}
                }
            };
            child.kill().expect("killed");
            child.wait().expect("reaped");
            drop(guard);
            world.host.rule(|_| Do::Serve);
            if !arrived {
                world.assert_updated();
                break;
            }
            kills += 1;
            world.host.take_log();
            assert_recovers(&world, &format!("{args:?} at byte {after}"));
        }
    }
    assert!(kills >= 70, "{kills}");
}

/// Everything that changes files.
const CHANGES: &[&str] = &[
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "fsync",
    "fdatasync",
    "fallocate",
    "ftruncate",
    "chmod",
    "fchmod",
    "fchmodat",
    "chown",
    "fchown",
    "fchownat",
    "flock",
    "pwrite64",
    "mkdir",
];

#[test]
fn killed_at_each_call_that_changes_something() {
    kill_at_each(CHANGES, &["self-update"], |_| (), assert_recovers, 30);
}

#[test]
fn killed_while_it_goes_back() {
    let prepare = |world: &World| drop(world.update(&[]));
    let after = |world: &World, at: &str| {
        let version = world.version();
        assert!(version == OLD || version == NEW, "{at}: {version}");
        // Once more in any direction, and both are there.
        let ran = world.run(&["self-update", "--rollback"]);
        assert!(matches!(ran.code, Some(0)), "{at}: {ran:#?}");
        assert_eq!(world.names(), ["stigmer", "stigmer.previous"], "{at}");
        let files = [world.exe(), world.previous()];
        assert!(
            [old(), new()].iter().all(|release| files.iter().any(|file| same(file, &release.carrier))),
            "{at}: one of the two is lost"
        );
    };
    let calls = ["rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "fsync"];
    kill_at_each(&calls, &["self-update", "--rollback"], prepare, after, 4);
}

/// Kills the command one call later each time, until it lives to the end; for each kind of call.
fn kill_at_each(
    calls: &[&str],
    args: &[&str],
    prepare: impl Fn(&World),
    after: impl Fn(&World, &str),
    at_least: usize,
) {
    let mut kills = 0;
    for call in calls {
        let mut when = 1;
        loop {
            let world = World::new();
            prepare(&world);
            let command = world.command(args);
            // Only the updater itself: what it starts to try out the new program is another matter.
            let trace = format!("trace=?{call}");
            let inject = format!("inject=?{call}:signal=SIGKILL:when={when}");
            let mut traced = Command::new("strace");
            traced
                .args(["-o", "/dev/null", "-e", &trace, "-e", &inject, "--"])
                .arg(command.get_program())
                .args(command.get_args());
            traced.env_clear().current_dir(world.path(""));
            for (key, value) in command.get_envs() {
                traced.env(key, value.unwrap_or_default());
            }
            let output = traced.output().expect("this test needs `strace`: install the package strace");
            if output.status.success() {
                break;
            }
            kills += 1;
            let at = format!("{call} {when}: {}", String::from_utf8_lossy(&output.stderr));
            after(&world, &at);
            when += if soak() || when < 12 { 1 } else { 10 };
        }
    }
    assert!(kills >= at_least, "{kills}");
    // The program still starts without strace.
    let world = World::new();
    run(&mut world.command(&["--version"])).code(0);
}
