//! `stigmer server` when things go wrong: nothing is left running, and the message says what happened.

use rustix::process::Signal;
use std::time::{Duration, Instant};
use stigmer_test_support::eventually;
use stigmer_test_support::server::{
    GOOD, LIMIT, MISCONFIGURED, PARENT, Platform, STUBBORN, ask, component, json, pid, signal, text,
};

/// A start that fails: gives all it says, after checking that nothing is left.
fn failed_start(platform: &Platform, exit: i32) -> String {
    let output = platform.try_start(&[]);
    let words = text(&output);
    assert_eq!(output.status.code(), Some(exit), "{words}");
    platform.assert_clean();
    assert_eq!(platform.run(&["server", "status"]).status.code(), Some(3));
    words
}

#[test]
fn a_component_that_says_it_failed_is_quoted() {
    let platform = Platform::new(
        r#"echo 'looking for a model' >&2
echo '{"event":"failed","reason":"no model is configured","hint":"set one in config.toml"}'
exit 78"#,
    );
    let words = failed_start(&platform, 78);
    for expected in [
        "agent-runner did not start: no model is configured",
        "set one in config.toml",
        "looking for a model",
    ] {
        assert!(words.contains(expected), "{words}");
    }
}

#[test]
fn who_says_it_failed_may_end_in_its_own_way() {
    let platform = Platform::acting(&["failed=no model is configured", "pause=300", "exit=78"]);
    assert!(failed_start(&platform, 78).contains("no model is configured"));
    // But it has to end.
    let platform = Platform::acting(&["failed=no model is configured", "deaf", "hang"]);
    assert!(failed_start(&platform, 1).contains("no model is configured"));
}

#[test]
fn a_component_that_dies_is_named_with_its_last_words() {
    let platform =
        Platform::new("i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo \"line $i\" >&2; done; exit 3");
    let words = failed_start(&platform, 1);
    assert!(
        words.contains("agent-runner did not start: it ended before it was ready: exit code 3"),
        "{words}"
    );
    assert!(words.contains("line 30") && words.contains("line 11"), "{words}");
    assert!(!words.contains("line 10\n"), "{words}");
}

#[test]
fn a_component_that_talks_nonsense_is_named() {
    let platform = Platform::new("echo hello; exec cat >/dev/null");
    let words = failed_start(&platform, 1);
    assert!(words.contains("its first line on standard output is no handshake"), "{words}");
}

#[test]
fn a_component_that_hangs_is_given_up() {
    let platform = Platform::new("echo thinking >&2; exec sleep 1000")
        .config("[server]\nstart_timeout = \"1s\"\nstop_timeout = \"2s\"\n");
    let words = failed_start(&platform, 1);
    assert!(words.contains("agent-runner did not start: it was not ready within 1s"), "{words}");
    assert!(words.contains("thinking"), "{words}");
}

#[test]
fn a_program_that_cannot_be_run_is_an_error_at_once() {
    let platform = Platform::new(GOOD);
    let output = platform.run(&["server", "--port", "0", "--use-local-binary", "/nonexistent/agent"]);
    let words = text(&output);
    assert!(!output.status.success(), "{words}");
    assert!(words.contains("/nonexistent/agent"), "{words}");
    platform.assert_clean();
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    let platform = Platform::new(GOOD).config("[server]\nprot = 7\n");
    let words = failed_start(&platform, 78);
    assert!(words.contains("config.toml") && words.contains("prot"), "{words}");
}

#[test]
fn a_killed_supervisor_takes_everything_along() {
    let platform = Platform::new(GOOD);
    let first = platform.start();
    signal(pid(&first), Signal::KILL);
    platform.wait_for_nobody(Duration::from_secs(5));
    let status = platform.run(&["server", "status"]);
    assert_eq!(status.status.code(), Some(3));
    assert!(text(&status).contains("crashed or was killed"), "{}", text(&status));
    // What it left behind is in nobody's way.
    let second = platform.start();
    assert_ne!(second["instance"], first["instance"]);
    platform.stop();
    platform.assert_clean();
}

#[test]
fn a_killed_component_is_started_again() {
    let platform = Platform::new(GOOD);
    let first = platform.start();
    for name in ["agent-runner", "workflow-runner", "stigmer-server"] {
        let mut log = platform.follow(name);
        let before = pid(component(&first, name));
        signal(before, Signal::KILL);
        log.until("ended: signal 9");
        log.until("ready after");
        drop(log);
        let status = platform.status();
        let one = component(&status, name);
        assert_eq!((&one["phase"], &one["restarts"]), (&"ready".into(), &1.into()));
        assert_eq!(one["last_exit"]["signal"], 9);
        assert_ne!(pid(one), before);
        assert_eq!(status["instance"], first["instance"]);
        assert_eq!(status["url"], first["url"], "workers keep the address");
    }
    // The new server knows nobody; the worker registers again by itself.
    let url = first["url"].as_str().expect("a url").to_owned();
    let token = platform.token();
    eventually("the worker registers again", || {
        let (_, answer) = ask(&url, "/v1/status", Some(&token));
        (answer["workers"][0]["kind"] == "workflow-runner").then_some(())
    });
    platform.stop();
    platform.assert_clean();
}

#[test]
fn a_wrong_config_is_not_tried_again() {
    let platform = Platform::new(MISCONFIGURED);
    let status = platform.start();
    let mut log = platform.follow("agent-runner");
    signal(pid(component(&status, "agent-runner")), Signal::KILL);
    log.until("ended: exit code 78");
    drop(log);
    let status = eventually("it is given up", || {
        let status = platform.status();
        (component(&status, "agent-runner")["phase"] == "failed").then_some(status)
    });
    assert_eq!(component(&status, "stigmer-server")["phase"], "ready");
    assert_eq!(status["ready"], false);
    platform.stop();
    platform.assert_clean();
}

#[test]
fn who_does_not_end_is_named_and_killed() {
    let platform = Platform::new(STUBBORN).config("[server]\nstop_timeout = \"2s\"\n");
    platform.start();
    let began = Instant::now();
    let words = text(&platform.stop());
    assert!(words.contains("waiting for agent-runner"), "{words}");
    assert!(began.elapsed() >= Duration::from_secs(2), "{words}");
    platform.assert_clean();
}

#[test]
fn what_a_component_started_ends_with_it() {
    let platform = Platform::new(PARENT);
    let status = platform.start();
    assert_eq!(platform.processes().len(), 6);
    let mut log = platform.follow("agent-runner");
    signal(pid(component(&status, "agent-runner")), Signal::KILL);
    log.until("ended: signal 9");
    log.until("ready after");
    drop(log);
    assert_eq!(platform.processes().len(), 6, "the first one's process is gone");
    platform.stop();
    platform.assert_clean();
}

#[test]
fn a_supervisor_that_hangs_is_named() {
    let platform = Platform::new(GOOD);
    let supervisor = pid(&platform.start());
    signal(supervisor, Signal::STOP);
    for words in [["server", "status"], ["server", "stop"], ["server", "start"]] {
        let output = platform.run(&words);
        assert_eq!(output.status.code(), Some(4), "{}", text(&output));
        assert!(text(&output).contains(&supervisor.to_string()), "{}", text(&output));
    }
    signal(supervisor, Signal::CONT);
    platform.stop();
    platform.assert_clean();
}

#[test]
fn a_stale_record_that_names_a_living_stranger_is_not_believed() {
    let platform = Platform::new(GOOD);
    platform.start();
    let path = platform.home.join("run/server.json");
    let record = fs_err::read_to_string(&path).expect("a record");
    platform.stop();
    let mut record: serde_json::Value = serde_json::from_str(&record).expect("an object");
    record["pid"] = std::process::id().into();
    fs_err::write(&path, record.to_string()).expect("written");
    assert_eq!(platform.run(&["server", "status"]).status.code(), Some(3));
    assert!(platform.run(&["server", "stop"]).status.success());
    assert_eq!(platform.start()["already_running"], false);
    platform.stop();
    platform.assert_clean();
}

#[test]
fn the_control_socket_wants_the_token() {
    use std::io::{Read, Write};
    let platform = Platform::new(GOOD);
    platform.start();
    let record = fs_err::read_to_string(platform.home.join("run/server.json")).expect("a record");
    let record: serde_json::Value = serde_json::from_str(&record).expect("an object");
    let mut stream =
        std::net::TcpStream::connect(record["control"].as_str().expect("text")).expect("connects");
    stream.write_all(b"{\"token\":\"guess\",\"command\":\"stop\"}\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    assert!(answer.contains("the token is wrong"), "{answer}");
    assert_eq!(platform.status()["ready"], true);
    platform.stop();
    platform.assert_clean();
}

#[test]
fn a_stop_during_a_start_wins() {
    let platform = Platform::new("exec sleep 1000").config("[server]\nstop_timeout = \"2s\"\n");
    let words = platform.start_words(&["--json"]);
    let launcher =
        platform.command(&words).stdout(std::process::Stdio::piped()).spawn().expect("stigmer runs");
    eventually("the supervisor can be asked", || {
        platform.home.join("run/server.json").exists().then_some(())
    });
    platform.stop();
    let output = launcher.wait_with_output().expect("ends");
    assert!(!output.status.success(), "{}", text(&output));
    assert!(json(&output)["error"].is_string());
    platform.wait_for_nobody(LIMIT);
    platform.assert_clean();
}
