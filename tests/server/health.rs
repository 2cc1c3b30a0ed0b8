//! Alive is not ready: who does not answer is found out, said, and in the end replaced; who ends all the time is slowed down.

use rustix::process::Signal;
use stigmer_test_support::eventually;
use stigmer_test_support::server::{GOOD, Platform, component, pid, signal, text};

#[test]
fn a_server_that_does_not_answer_is_not_ready_until_it_answers_again() {
    let platform = Platform::new(GOOD);
    let first = platform.start();
    let server = pid(component(&first, "stigmer-server"));
    let mut log = platform.follow("stigmer-server");
    signal(server, Signal::STOP);
    log.until("no longer ready");
    let status = platform.status();
    let one = component(&status, "stigmer-server");
    assert_eq!(one["phase"], "unresponsive");
    assert_eq!(one["not_ready"], "its process is alive and not responding");
    assert_eq!(one["ready_since"], serde_json::Value::Null);
    assert_eq!(status["ready"], false);
    // Who cannot be asked about is not blamed.
    for worker in ["workflow-runner", "agent-runner"] {
        assert_eq!(component(&status, worker)["phase"], "ready");
    }
    signal(server, Signal::CONT);
    log.until("responding again");
    let status = platform.status();
    let one = component(&status, "stigmer-server");
    assert_eq!((&one["phase"], &one["restarts"], pid(one)), (&"ready".into(), &0.into(), server));
    assert_eq!(status["ready"], true);
    drop(log);
    platform.stop();
    platform.assert_clean();
}

#[test]
fn a_worker_that_is_not_heard_of_is_not_ready_until_it_is() {
    let platform = Platform::new(GOOD);
    let first = platform.start();
    let worker = pid(component(&first, "workflow-runner"));
    let mut log = platform.follow("workflow-runner");
    signal(worker, Signal::STOP);
    log.until("no longer ready");
    let status = platform.status();
    assert_eq!(component(&status, "workflow-runner")["phase"], "unresponsive");
    // The script behind agent-runner never registered, so its process is all there is to judge it by.
    for other in ["stigmer-server", "agent-runner"] {
        assert_eq!(component(&status, other)["phase"], "ready");
    }
    signal(worker, Signal::CONT);
    log.until("responding again");
    let status = platform.status();
    let one = component(&status, "workflow-runner");
    assert_eq!((&one["phase"], &one["restarts"], pid(one)), (&"ready".into(), &0.into(), worker));
    drop(log);
    platform.stop();
    platform.assert_clean();
}

#[test]
fn who_hangs_for_too_long_is_killed_and_started_again() {
    let platform = Platform::new(GOOD).config("[server]\nhang_timeout = \"1s\"\n");
    let first = platform.start();
    for name in ["workflow-runner", "stigmer-server"] {
        let mut log = platform.follow(name);
        let before = pid(component(&first, name));
        signal(before, Signal::STOP);
        log.until("did not answer for too long, and is killed");
        log.until("ready after");
        let status = platform.status();
        let one = component(&status, name);
        assert_eq!(one["restarts"], 1);
        assert_ne!(pid(one), before);
        assert_eq!(one["last_exit"]["signal"], 9);
        let reason = one["last_exit"]["reason"].as_str().expect("text");
        assert!(reason.contains("did not answer"), "{reason}");
    }
    eventually("all are ready", || (platform.status()["ready"] == true).then_some(()));
    platform.stop();
    platform.assert_clean();
}

#[test]
fn a_hang_is_left_alone_if_so_wished_and_a_stop_ends_it() {
    let platform = Platform::new(GOOD).config("[server]\nhang_timeout = \"0s\"\nstop_timeout = \"1s\"\n");
    let first = platform.start();
    let server = pid(component(&first, "stigmer-server"));
    let mut log = platform.follow("stigmer-server");
    signal(server, Signal::STOP);
    log.until("no longer ready");
    drop(log);
    platform.stop();
    platform.assert_clean();
}

/// Ready for ever the first time, ready and gone each later time.
const LOOPING: &str = r#"printf '{"event":"ready","version":"1","pid":%s}\n' $$
if [ -e ran ]; then echo 'no disk' >&2; exit 1; fi
: >ran
exec cat >/dev/null"#;

#[test]
fn a_component_that_ends_again_and_again_is_slowed_down_and_says_so() {
    let platform = Platform::new(LOOPING).config("[server]\nrestart_pause = \"10ms\"\n");
    let first = platform.start();
    let mut log = platform.follow("agent-runner");
    signal(pid(component(&first, "agent-runner")), Signal::KILL);
    log.until("crash-looping");
    let status = platform.status();
    let one = component(&status, "agent-runner");
    assert_eq!(one["phase"], "crash-looping");
    assert_eq!(one["restarts"], 4);
    assert_eq!(one["last_exit"]["code"], 1);
    assert_eq!(one["crash_looping"], true);
    assert_eq!(one["pid"], serde_json::Value::Null);
    let next = one["next_start"].as_str().expect("it is tried again");
    assert!(next > one["since"].as_str().expect("a time"), "{one}");
    assert_eq!(status["ready"], false);
    // The platform is up, and the person is told what to do.
    let shown = platform.run(&["server", "status"]);
    assert_eq!(shown.status.code(), Some(0));
    let words = text(&shown);
    for expected in [
        "not everything is ready",
        "agent-runner is crash-looping: last exit: exit code 1; it is tried again in",
        "`stigmer server logs --component agent-runner`",
    ] {
        assert!(words.contains(expected), "{words}");
    }
    for other in ["stigmer-server", "workflow-runner"] {
        assert_eq!(component(&status, other)["phase"], "ready");
    }
    drop(log);
    platform.stop();
    platform.assert_clean();
}
