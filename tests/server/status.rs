//! `stigmer server status` tells the truth: of what runs, of how it ended, and of which executable it is.

use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;
use stigmer_test_support::server::{GOOD, Platform, component, json, pid, signal, text};

/// What `status` says of a platform that does not run, in JSON and in words.
fn down(platform: &Platform) -> (Value, String) {
    let report = platform.run(&["server", "status", "--json"]);
    assert_eq!(report.status.code(), Some(3), "{}", text(&report));
    let shown = platform.run(&["server", "status"]);
    assert_eq!(shown.status.code(), Some(3), "{}", text(&shown));
    let report = json(&report);
    assert_eq!((&report["running"], &report["ready"]), (&false.into(), &false.into()));
    (report, text(&shown))
}

#[test]
fn a_script_finds_everything_and_a_person_can_read_it() {
    let platform = Platform::new(GOOD);
    platform.start();
    let status = platform.status();
    assert_eq!(status["schema"], 1);
    assert_eq!((&status["running"], &status["ready"]), (&true.into(), &true.into()));
    assert_eq!(status["differs"], Value::Null);
    for name in ["stigmer-server", "workflow-runner", "agent-runner"] {
        let one = component(&status, name);
        for key in ["since", "ready_since"] {
            let time = one[key].as_str().expect("a time");
            assert!(time.ends_with('Z') && time.contains('T'), "{key} of {name} is {time}");
        }
        for (key, expected) in [
            ("phase", Value::from("ready")),
            ("restarts", 0.into()),
            ("last_exit", Value::Null),
            ("not_ready", Value::Null),
            ("next_start", Value::Null),
            ("crash_looping", false.into()),
        ] {
            assert_eq!(one[key], expected, "{key} of {name}");
        }
        assert!(one["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
        assert!(std::path::Path::new(one["log"].as_str().expect("a path")).exists());
        // A local build has no payload.
        assert_eq!(one.get("payload"), Some(&Value::Null));
    }
    let server = component(&status, "stigmer-server");
    let address = server["address"].as_str().expect("it listens");
    assert_eq!(address, format!("127.0.0.1:{}", server["port"]));
    let table = text(&platform.run(&["server", "status"]));
    let rows: Vec<&str> =
        table.lines().filter(|line| line.contains("ready ") || line.contains("PHASE")).collect();
    assert_eq!(rows.len(), 4, "{table}");
    assert!(rows.iter().all(|row| row.chars().count() <= 100), "{table}");
    assert!(!rows.iter().any(|row| row.contains("20") && row.contains('T')), "times are relative: {table}");
    platform.stop();
    platform.assert_clean();
}

#[test]
fn who_stopped_it_is_remembered_until_the_next_start() {
    let platform = Platform::new(GOOD);
    let (report, words) = down(&platform);
    assert_eq!((&report["state"], &report["last_end"]), (&"stopped".into(), &Value::Null));
    assert!(!words.contains("ago"), "{words}");

    let first = platform.start();
    platform.stop();
    let (report, words) = down(&platform);
    assert_eq!(report["state"], "stopped");
    assert_eq!(report["last_end"]["why"], "asked");
    assert_eq!(report["last_end"]["by"], "server stop");
    assert_eq!(report["last_end"]["instance"], first["instance"]);
    assert!(words.contains("`stigmer server stop` stopped it"), "{words}");

    let second = platform.start();
    assert!(!platform.home.join("run/last-end.json").exists(), "it concerned another run");
    let supervisor = pid(&second);
    let started = stigmer::platform::process_started(supervisor).expect("lives");
    signal(supervisor, Signal::TERM);
    assert!(stigmer::platform::wait_for_end(supervisor, started, stigmer_test_support::server::LIMIT));
    let (report, words) = down(&platform);
    assert_eq!(report["last_end"]["why"], "signal");
    assert!(words.contains("SIGTERM stopped it"), "{words}");
    platform.assert_clean();
}

#[test]
fn a_failed_start_is_told_apart_from_a_stop() {
    let platform = Platform::new("echo 'no model anywhere' >&2; exit 3");
    assert!(!platform.try_start(&[]).status.success());
    let (report, words) = down(&platform);
    assert_eq!((&report["state"], &report["crashed"]), (&"start-failed".into(), &false.into()));
    let failure = &report["last_end"]["failure"];
    assert_eq!(failure["component"], "agent-runner");
    assert!(failure["reason"].as_str().is_some_and(|reason| reason.contains("exit code 3")), "{failure}");
    for expected in ["the last start failed", "agent-runner did not start", "no model anywhere"] {
        assert!(words.contains(expected), "{words}");
    }
    platform.assert_clean();
}

#[test]
fn a_failure_of_the_supervisor_itself_is_remembered() {
    let platform = Platform::new(GOOD);
    platform.start();
    platform.stop();
    std::fs::write(platform.home.join("run/token"), "").expect("written");
    assert!(!platform.try_start(&[]).status.success());
    let (report, words) = down(&platform);
    assert_eq!(report["state"], "start-failed");
    assert!(words.contains("invalid token file") && words.contains("run/token`"), "{words}");
    platform.assert_clean();
}

#[test]
fn a_crash_is_told_with_its_last_words_also_after_it_was_tidied_up() {
    let platform = Platform::new(GOOD);
    let first = platform.start();
    signal(pid(&first), Signal::KILL);
    platform.wait_for_nobody(Duration::from_secs(5));
    let (report, words) = down(&platform);
    assert_eq!((&report["state"], &report["crashed"]), (&"crashed".into(), &true.into()));
    assert!(report["last_sign_of_life"].is_string());
    let last = report["last_words"].as_array().expect("lines");
    assert!(!last.is_empty() && last.iter().all(|line| line["text"].is_string()), "{report}");
    assert!(words.contains("crashed or was killed") && words.contains("log: "), "{words}");

    platform.stop();
    let (report, words) = down(&platform);
    assert_eq!((&report["state"], &report["last_end"]["why"]), (&"crashed".into(), &"crashed".into()));
    assert_eq!(report["last_end"]["instance"], first["instance"]);
    assert!(words.contains("it crashed or was killed"), "{words}");
    platform.assert_clean();
}

#[test]
fn another_executable_is_told_from_the_one_that_runs() {
    let platform = Platform::new(GOOD);
    let dir = tempfile::tempdir().expect("a directory");
    let copy = dir.path().join("stigmer");
    std::fs::copy(env!("CARGO_BIN_EXE_stigmer"), &copy).expect("copied");
    let run = |words: &[&str]| {
        let mut command = std::process::Command::new(&copy);
        command.args(words).env("STIGMER_HOME", &platform.home).stdin(std::process::Stdio::null());
        command.output().expect("stigmer runs")
    };
    let started = run(&platform.start_words(&[]));
    assert!(started.status.success(), "{}", text(&started));
    assert_eq!(json(&run(&["server", "status", "--json"]))["differs"], Value::Null);

    // Asked from elsewhere: the version is the same, and a bare binary cannot show that it is the same build.
    let differs = platform.status()["differs"].clone();
    assert_eq!((&differs["running"], &differs["replaced"]), (&"other".into(), &false.into()));
    assert_eq!(differs["running_executable"], copy.display().to_string());
    let words = text(&platform.run(&["server", "status"]));
    assert!(words.contains("the running server was started from"), "{words}");
    assert!(words.contains("`stigmer server restart` moves over"), "{words}");

    // An update puts another file in its place, and the new one asks.
    let next = dir.path().join("next");
    std::fs::copy(env!("CARGO_BIN_EXE_stigmer"), &next).expect("copied");
    std::fs::rename(&next, &copy).expect("renamed");
    let differs = json(&run(&["server", "status", "--json"]))["differs"].clone();
    assert_eq!((&differs["running"], &differs["replaced"]), (&"other".into(), &true.into()));
    let words = text(&run(&["server", "status"]));
    assert!(words.contains("another build is installed"), "{words}");
    let moved = run(&["server", "restart", "--json"]);
    assert!(moved.status.success(), "{}", text(&moved));
    assert_eq!(json(&run(&["server", "status", "--json"]))["differs"], Value::Null);
    platform.stop();
    platform.assert_clean();
}
