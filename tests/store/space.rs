//! A full disk: said plainly, nothing half-made stays, and it works as soon as there is room.

use std::path::Path;
use stigmer_test_support::namespace::{MOUNTS, inside, mount};
use stigmer_test_support::store::{NAME, Payload, World, carrier, run, strace};
use stigmer_test_support::{Ran, test_name};

/// A world whose home is a small disk.
fn small_disk(options: &str) -> World {
    let world = World::new();
    mount(&["-t", "tmpfs", "-o", options, "tmpfs"], world.home());
    world
}

#[track_caller]
fn assert_plain(ran: Ran) {
    let ran = ran.code(74);
    let ran = ran.says(&["error:", "hint: free some space", "STIGMER_HOME"]);
    // It says where.
    assert!(ran.err.contains("/home/"), "{ran:#?}");
    assert_eq!(ran.out, "", "{ran:#?}");
}

fn unmount(at: &Path) {
    run(std::process::Command::new("umount").arg("-l").arg(at)).code(0);
}

#[test]
fn too_few_bytes_are_noticed_before_anything_is_written() {
    if !inside(MOUNTS, test_name!()) {
        return;
    }
    for free in [64 << 10, 1 << 20, 4 << 20] {
        let world = small_disk("size=32m");
        let ballast = world.home().join("ballast");
        std::fs::write(&ballast, vec![0; (32 << 20) - free]).expect("room for it");
        for args in [&["exec", NAME][..], &["cache", "warm"]] {
            let ran = world.run(carrier(Payload::One), args);
            assert!(ran.err.contains("needs") && ran.err.contains("is free"), "{free}: {ran:#?}");
            assert_plain(ran);
            world.assert_nothing_published();
            world.assert_no_leftovers();
        }
        std::fs::remove_file(&ballast).expect("removed");
        world.run(carrier(Payload::One), &["exec", NAME, "--", "hello"]).code(0);
        assert_eq!(world.problems(Payload::One), []);
        unmount(world.home());
    }
}

/// Files run out at each file in turn: at the first directory, in the middle, at manifest, stamp and stable path.
#[test]
fn too_few_files_are_noticed_at_each_file() {
    if !inside(MOUNTS, test_name!()) {
        return;
    }
    let mut failures = 0;
    let step = if std::env::var_os("STIGMER_SOAK").is_some() { 1 } else { 3 };
    for inodes in (0..).step_by(step) {
        let world = small_disk("size=32m,nr_inodes=400");
        let ballast = world.home().join("ballast");
        std::fs::create_dir(&ballast).expect("mkdir");
        // The root and this directory are two.
        for i in inodes..398 {
            std::fs::write(ballast.join(i.to_string()), "").expect("room for it");
        }
        let ran = world.run(carrier(Payload::Small), &["exec", NAME, "--", "hello"]);
        if ran.code == Some(0) && ran.err.is_empty() {
            unmount(world.home());
            break;
        }
        // A whole entry without a stamp or a stable path runs: the next start looks again.
        if ran.code != Some(0) {
            failures += 1;
            assert_plain(ran);
            world.assert_nothing_published();
            world.assert_no_leftovers();
        }
        std::fs::remove_dir_all(&ballast).expect("removed");
        let ran = world.run(carrier(Payload::Small), &["exec", NAME, "--", "hello"]).code(0);
        assert_eq!(ran.out, "hello from Small\n");
        assert_eq!(world.problems(Payload::Small), []);
        world.assert_no_leftovers();
        unmount(world.home());
    }
    assert!(failures > 30, "{failures}");
}

/// The space that was free a moment ago is not: every write in turn says so, and every directory.
#[test]
fn a_disk_that_fills_up_meanwhile_is_noticed_at_each_write() {
    for call in
        ["pwrite64", "write", "?mkdir,?mkdirat", "?symlink,?symlinkat", "?rename,?renameat,?renameat2"]
    {
        for error in ["ENOSPC", "EDQUOT"] {
            let (mut failures, mut untouched) = (0, 0);
            for when in 1.. {
                let world = World::new();
                std::fs::create_dir_all(world.store()).expect("mkdir");
                let command = world.command(carrier(Payload::Small), &["exec", NAME]);
                let inject = format!("inject={call}:error={error}:when={when}");
                let trace = format!("trace={call}");
                let ran = run(&mut strace(&["-o", "/dev/null", "-e", &trace, "-e", &inject], &command));
                // What a lock file says is for people and may fail, so one success is not the end.
                untouched = if ran.code == Some(0) && ran.err.is_empty() { untouched + 1 } else { 0 };
                if untouched == 4 {
                    break;
                }
                if ran.code != Some(0) {
                    failures += 1;
                    assert_plain(ran);
                    world.assert_nothing_published();
                    world.assert_no_leftovers();
                }
                world.run(carrier(Payload::Small), &["exec", NAME, "--", "hello"]).code(0);
                assert_eq!(world.problems(Payload::Small), [], "{call} {when}");
                assert!(when < 200, "{call} never succeeds");
            }
            assert!(failures > 0, "{call} {error}");
        }
    }
}
