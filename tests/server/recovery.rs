//! `stigmer server` in a home where something is not as it was left: it says what, or puts it right, and never makes it worse.

use rustix::process::Signal;
use std::process::Command;
use std::time::Duration;
use stigmer_test_support::server::{GOOD, Platform, pid, signal, text};

#[test]
fn a_failure_of_the_supervisor_itself_reaches_the_person() {
    let platform = Platform::new(GOOD);
    platform.start();
    platform.stop();
    std::fs::write(platform.home.join("run/token"), "").expect("written");
    let output = platform.try_start(&[]);
    assert_eq!(output.status.code(), Some(74), "{}", text(&output));
    assert!(text(&output).contains("run/token`: remove it"), "{}", text(&output));
    // It did not stay behind as one that crashed.
    let status = platform.run(&["server", "status"]);
    assert!(!text(&status).contains("crashed"), "{}", text(&status));
    platform.assert_clean();
}

#[test]
fn a_restart_that_cannot_succeed_stops_nothing() {
    let platform = Platform::new(GOOD);
    let first = platform.start();
    let output = platform.run(&["server", "restart", "--use-local-binary", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(69), "{}", text(&output));
    assert_eq!(platform.status()["instance"], first["instance"]);
    std::fs::write(platform.home.join("config.toml"), "[server]\nprot = 1\n").expect("written");
    let output = platform.run(&["server", "restart"]);
    assert_eq!(output.status.code(), Some(78), "{}", text(&output));
    assert_eq!(platform.status()["instance"], first["instance"]);
    platform.stop();
    platform.assert_clean();
}

#[test]
fn what_a_killed_supervisor_had_half_written_goes_with_the_next_stop_or_start() {
    let platform = Platform::new(GOOD);
    platform.start();
    platform.stop();
    let half = platform.home.join("run/.tmpAbCdEf");
    std::fs::write(&half, "{").expect("written");
    platform.stop();
    platform.assert_clean();
    std::fs::write(&half, "{").expect("written");
    platform.start();
    assert!(!half.exists());
    platform.stop();
    platform.assert_clean();
}

#[test]
fn a_supervisor_whose_file_is_gone_is_not_called_absent() {
    let platform = Platform::new(GOOD);
    for by_hand in [true, false] {
        let supervisor = pid(&platform.start());
        std::fs::remove_file(platform.home.join("run/server.json")).expect("removed");
        for words in [["server", "status"], ["server", "stop"]] {
            let output = platform.run(&words);
            assert_eq!(output.status.code(), Some(4), "{}", text(&output));
            assert!(text(&output).contains(&supervisor.to_string()), "{}", text(&output));
            assert!(text(&output).contains("`stigmer server stop --now` ends it"), "{}", text(&output));
        }
        if by_hand {
            signal(supervisor, Signal::KILL);
            platform.wait_for_nobody(Duration::from_secs(5));
        } else {
            let output = platform.run(&["server", "stop", "--now"]);
            assert_eq!(output.status.code(), Some(0), "{}", text(&output));
            assert_eq!(platform.processes(), [0_u32; 0]);
        }
    }
    platform.start();
    platform.stop();
    platform.assert_clean();
}

/// What stands in the lock's file is for people. Only whom the system confirms to hold the lock is ended.
#[test]
fn nobody_is_ended_because_a_file_names_him() {
    let platform = Platform::new(GOOD);
    let supervisor = pid(&platform.start());
    let mut stranger = Command::new("sleep").arg("1000").spawn().expect("sleep runs");
    let record = platform.home.join("run/server.json");
    let kept = std::fs::read(&record).expect("a record");
    std::fs::remove_file(&record).expect("removed");
    let lock = platform.home.join("locks/server.lock");
    let holder = std::fs::read_to_string(&lock).expect("a holder");
    let forged = holder.replace(&supervisor.to_string(), &stranger.id().to_string());
    assert_ne!(forged, holder);
    std::fs::write(&lock, forged).expect("written");
    let output = platform.run(&["server", "stop", "--now"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(text(&output).contains("cannot verify that process"), "{}", text(&output));
    assert!(stranger.try_wait().expect("asked").is_none(), "the stranger was ended");
    stranger.kill().and_then(|()| stranger.wait()).expect("ended");
    std::fs::write(&record, kept).expect("written");
    platform.stop();
    platform.assert_clean();
}
