//! `stigmer server` on a disk that is full: it says so, it goes on with what it can do, and it starts again when there is room.

use rustix::process::Signal;
use std::io::Write;
use std::path::PathBuf;
use std::process::Output;
use stigmer_test_support::namespace::{MOUNTS, inside, mount};
use stigmer_test_support::server::{Platform, component, pid, signal, text};
use stigmer_test_support::{eventually, test_name};

const GOOD: [&str; 2] = ["ready", "wait"];

/// A platform whose home is a small disk.
fn small_disk(steps: &[&str], options: &str) -> Platform {
    let platform = Platform::acting(steps);
    mount(&["-t", "tmpfs", "-o", options, "tmpfs"], &platform.home);
    platform
}

/// Takes all the space there is, but so many bytes.
fn fill(platform: &Platform, but: usize) -> PathBuf {
    let path = platform.home.join("ballast");
    let mut file = std::fs::File::create(&path).expect("a file more");
    let block = [0; 4096];
    while file.write_all(&block).is_ok() {}
    let size = file.metadata().expect("known").len();
    file.set_len(size - but as u64).expect("shorter");
    path
}

#[track_caller]
fn assert_plain(platform: &Platform, output: &Output) {
    let words = text(output);
    assert_eq!(output.status.code(), Some(74), "{words}");
    assert!(words.contains("No space left on device") && words.contains("hint: free some space"), "{words}");
    assert!(words.contains(platform.home.to_str().expect("text")), "it says where: {words}");
    assert!(!words.contains("panicked"), "{words}");
    assert!(output.stdout.is_empty(), "{words}");
    let status = platform.run(&["server", "status"]);
    assert_eq!(status.status.code(), Some(3), "{}", text(&status));
    platform.assert_clean();
}

/// Free space for one page more each time: it runs out at each of the first files in turn.
#[test]
fn a_start_without_room_says_so_and_the_next_one_with_room_works() {
    if !inside(MOUNTS, test_name!()) {
        return;
    }
    let mut failures = 0;
    for pages in 0.. {
        let platform = small_disk(&GOOD, "size=1m");
        let ballast = fill(&platform, pages * 4096);
        let output = platform.try_start(&[]);
        if output.status.success() {
            platform.stop();
            platform.assert_clean();
            break;
        }
        failures += 1;
        assert_plain(&platform, &output);
        std::fs::remove_file(ballast).expect("removed");
        platform.start();
        platform.stop();
        platform.assert_clean();
    }
    assert!(failures > 0, "nothing was ever too little");
}

/// The same with files instead of bytes: at each directory, lock, log and record.
#[test]
fn a_start_without_files_says_so_and_the_next_one_with_files_works() {
    if !inside(MOUNTS, test_name!()) {
        return;
    }
    let mut failures = 0;
    for files in 2.. {
        let platform = small_disk(&GOOD, &format!("size=1m,nr_inodes={files}"));
        let output = platform.try_start(&[]);
        if output.status.success() {
            platform.stop();
            platform.assert_clean();
            break;
        }
        failures += 1;
        assert_plain(&platform, &output);
        mount(&["-o", "remount,nr_inodes=100"], &platform.home);
        platform.start();
        platform.stop();
        platform.assert_clean();
    }
    assert!(failures > 5, "{failures}");
}

#[test]
fn a_disk_that_fills_up_with_logs_stops_nothing() {
    if !inside(MOUNTS, test_name!()) {
        return;
    }
    let done = "all was written";
    let steps = ["ready", "flood=stderr:6000000:lines", &format!("surroundings=../../../{done}"), "wait"];
    let platform = small_disk(&steps, "size=2m");
    let first = platform.start();
    eventually("the component has said everything", || platform.path(done).exists().then_some(()));
    let status = platform.status();
    assert_eq!(status["ready"], true, "{status}");
    // A component that ends now is started again, although that cannot be written down.
    signal(pid(component(&status, "workflow-runner")), Signal::KILL);
    let status = eventually("it is ready again", || {
        let status = platform.status();
        let one = component(&status, "workflow-runner");
        (one["phase"] == "ready" && one["restarts"] == 1).then_some(status)
    });
    assert_eq!(status["instance"], first["instance"]);
    let logs = platform.run(&["server", "logs", "-n", "5"]);
    assert!(logs.status.success() && !logs.stdout.is_empty(), "{}", text(&logs));
    platform.stop();
    platform.assert_clean();

    // Still full: the next start says so, or it works; with room it works.
    let output = platform.try_start(&[]);
    if output.status.success() {
        platform.stop();
    } else {
        assert_plain(&platform, &output);
    }
    mount(&["-o", "remount,size=20m"], &platform.home);
    platform.act(&GOOD);
    platform.start();
    let mut log = platform.follow("supervisor");
    log.until("all components are ready");
    drop(log);
    platform.stop();
    platform.assert_clean();
}

/// What would keep the platform from starting again is found out before it is stopped.
#[test]
fn a_restart_on_a_full_disk_leaves_running_what_runs() {
    if !inside(MOUNTS, test_name!()) {
        return;
    }
    let platform = small_disk(&GOOD, "size=2m");
    let before = platform.start();
    let ballast = fill(&platform, 0);
    let output = platform.run(&["server", "restart"]);
    assert_eq!(output.status.code(), Some(74), "{}", text(&output));
    assert!(text(&output).contains("No space left on device"), "{}", text(&output));
    let status = platform.status();
    assert_eq!((&status["instance"], &status["ready"]), (&before["instance"], &true.into()), "{status}");
    std::fs::remove_file(ballast).expect("removed");
    let output = platform.run(&["server", "restart"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_ne!(platform.status()["instance"], before["instance"]);
    platform.stop();
    platform.assert_clean();
}
