//! The leak check that every test of the platform ends with, tested itself: a check that sees nothing would let all of them pass.

use fs2::FileExt;
use rustix::process::Signal;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use stigmer_test_support::server::{GOOD, Platform, signal};

/// What the check has to say, or nothing.
fn complaint(platform: &Platform) -> String {
    let outcome = catch_unwind(AssertUnwindSafe(|| platform.assert_clean()));
    outcome.err().and_then(|said| said.downcast::<String>().ok()).map_or_else(String::new, |said| *said)
}

#[test]
fn a_process_without_any_mark_is_seen() {
    let platform = Platform::acting(&["spawn=double+session+cleared+deaf", "exit=0"]);
    assert_eq!(complaint(&platform), "");
    assert!(Command::new(&platform.agent).status().expect("runs").success());
    let said = complaint(&platform);
    assert!(
        said.contains("descendant double+session+cleared+deaf") || said.contains("descendant +session"),
        "{said}"
    );
    let left = platform.processes();
    assert_eq!(left.len(), 1);
    signal(left[0], Signal::KILL);
    platform.wait_for_nobody(stigmer_test_support::server::LIMIT);
    platform.assert_clean();
}

#[test]
fn a_process_in_a_directory_of_the_test_is_seen_without_its_environment() {
    let platform = Platform::new(GOOD);
    let mut child = Command::new("sleep")
        .arg("1000")
        .env_clear()
        .current_dir(platform.path("tmp"))
        .spawn()
        .expect("runs");
    assert_eq!(platform.processes(), [child.id()]);
    child.kill().expect("killed");
    child.wait().expect("reaped");
    platform.assert_clean();
}

#[test]
fn a_descendant_of_one_that_is_marked_is_seen() {
    let platform = Platform::new(GOOD);
    let mut parent = Command::new("sh")
        .args(["-c", "env -i sh -c 'echo; exec sleep 1000' & wait"])
        .current_dir("/")
        .env("STIGMER_HOME", &platform.home)
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    std::io::Read::read_exact(parent.stdout.as_mut().expect("piped"), &mut [0]).expect("it has begun");
    let both = platform.processes();
    assert_eq!(both.len(), 2);
    // Remembered, when its parent is gone.
    parent.kill().expect("killed");
    parent.wait().expect("reaped");
    assert_eq!(platform.processes().len(), 1);
    for pid in both {
        signal(pid, Signal::KILL);
    }
    platform.wait_for_nobody(stigmer_test_support::server::LIMIT);
    platform.assert_clean();
}

#[test]
fn a_socket_that_somebody_inherited_is_seen() {
    let platform = Platform::new(GOOD);
    let mut holder = Command::new("python3")
        .args(["-c", "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(flush=True); sys.stdin.read()"])
        .env("STIGMER_HOME", &platform.home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    std::io::Read::read_exact(holder.stdout.as_mut().expect("piped"), &mut [0]).expect("it listens");
    assert_eq!(platform.processes(), [holder.id()]);
    // As if it had never been ours.
    let said = platform.open_listeners();
    assert_eq!(said.len(), 1);
    drop(holder.stdin.take());
    holder.wait().expect("reaped");
    assert_eq!(platform.open_listeners().len(), 0);
    platform.assert_clean();
}

#[test]
fn files_and_locks_that_are_left_are_seen() {
    let platform = Platform::new(GOOD);
    platform.start();
    platform.stop();
    platform.assert_clean();
    for path in
        ["home/run/server.json", "home/run/.tmpAbC", "home/logs/.half", "tmp/x", "home/data/agent-runner/.y"]
    {
        let path = platform.path(path);
        fs_err::write(&path, "").expect("written");
        let said = complaint(&platform);
        assert!(said.contains(path.to_str().expect("text")), "{said}");
        fs_err::remove_file(&path).expect("removed");
    }
    let lock = platform.home.join("locks/server.lock");
    let file = fs_err::File::open(&lock).expect("opened").into_parts().0;
    file.lock_exclusive().expect("locked");
    assert!(complaint(&platform).contains("server.lock: still held"));
    drop(file);
    platform.assert_clean();
}
