//! Collection and starts at the same time: whoever loses a race has not failed.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use stigmer_test_support::Ran;
use stigmer_test_support::store::{NAME, Payload, World, carrier};

fn rounds() -> usize {
    if std::env::var_os("STIGMER_SOAK").is_some() { 100 } else { 6 }
}

/// Starts all of these at once, and waits for all of them.
fn at_once(world: &World, all: &[(Payload, &[&str])]) -> Vec<Ran> {
    let children: Vec<_> = all
        .iter()
        .map(|(payload, args)| {
            let mut command = world.command(carrier(*payload), args);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a start")
        })
        .collect();
    children.into_iter().map(|child| child.wait_with_output().expect("an end").into()).collect()
}

#[test]
fn eight_cleaners_at_once_all_succeed() {
    for _ in 0..rounds() {
        let world = World::new();
        for payload in [Payload::Small, Payload::One] {
            world.warm(payload);
        }
        for n in 0..6 {
            let trash = world.store().join(format!(".trash-1-1-{n}"));
            for i in 0..200 {
                std::fs::create_dir_all(trash.join(format!("{}/{i}", i % 7))).expect("mkdir");
            }
        }
        for ran in at_once(&world, &[(Payload::Small, &["cache", "clean"][..]); 8]) {
            // Finding that somebody else is just removing an entry is being in use.
            assert!(ran.code == Some(0) || ran.code == Some(75), "{ran:#?}");
            assert!(ran.code == Some(0) || ran.err.contains("in use"), "{ran:#?}");
        }
        world.run(carrier(Payload::Small), &["cache", "clean"]).code(0);
        assert_eq!(world.names_in_store(), Vec::<String>::new());
    }
}

#[test]
fn eight_starts_and_a_collection_that_wants_everything() {
    let world = World::new();
    for _ in 0..rounds() {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    // From another executable, and with no size allowed: every entry may go unless it is in use.
                    let ran = world.run(env!("CARGO_BIN_EXE_stigmer").as_ref(), &["cache", "clean"]);
                    assert!(matches!(ran.code, Some(0 | 75)), "{ran:#?}");
                }
            });
            let hello: &[&str] = &["exec", NAME, "--", "hello"];
            let warm: &[&str] = &["cache", "warm"];
            let crowd: Vec<_> =
                (0..8).map(|i| (Payload::Small, if i % 2 == 0 { hello } else { warm })).collect();
            let outcome = std::panic::catch_unwind(|| {
                for ran in at_once(&world, &crowd) {
                    assert_eq!(ran.code, Some(0), "{ran:#?}");
                }
            });
            is_over.store(true, Ordering::Relaxed);
            if let Err(panic) = outcome {
                std::panic::resume_unwind(panic);
            }
        });
    }
}

#[test]
fn eight_starts_heal_one_damaged_entry() {
    for _ in 0..rounds() {
        let world = World::new();
        world.warm(Payload::One);
        let file = world.entry(Payload::One).join("bin/run");
        stigmer_test_support::store::set_mode(&file, 0o644);
        std::fs::write(&file, "#!/bin/sh\nexit 99\n").expect("damaged");
        stigmer_test_support::store::set_mode(&file, 0o555);
        for ran in at_once(&world, &[(Payload::One, &["exec", NAME, "--", "hello"][..]); 8]) {
            assert_eq!((ran.code, ran.out.as_str()), (Some(0), "hello from One\n"), "{ran:#?}");
        }
        assert_eq!(world.problems(Payload::One), []);
        world.assert_no_leftovers();
    }
}
