//! The hidden roles: each one's help, each one by itself from a shell, and each one as a supervisor starts it.

use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use stigmer_test_support::server::{GOOD, LIMIT, Platform, ask, signal, text};

/// Starts a role, and reads the first line it prints.
fn ready(platform: &Platform, words: &[&str], config: Option<&Value>) -> (Child, Value) {
    let mut child = platform
        .command(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("stigmer runs");
    if let Some(config) = config {
        let stdin = child.stdin.as_mut().expect("piped");
        writeln!(stdin, "{config}").expect("written");
    }
    let mut line = String::new();
    let stdout = child.stdout.as_mut().expect("piped");
    BufReader::new(stdout).read_line(&mut line).expect("read");
    let value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{words:?}: {error}: {line}"));
    (child, value)
}

fn config(platform: &Platform, component: &str, url: &str) -> Value {
    json!({
        "schema": stigmer::protocol::component::CONFIG_SCHEMA,
        "component": component,
        "instance": "i-1",
        "server_url": url,
        "token": "0123456789abcdef0123456789abcdef",
        "work_dir": platform.home.join("work").display().to_string(),
        "heartbeat_ms": 50,
        "environment": {},
        "settings": {},
    })
}

#[test]
fn each_role_has_help_and_none_is_listed() {
    let platform = Platform::new(GOOD);
    let listed = text(&platform.run(&["--help"]));
    for role in ["internal-supervisor", "internal-server", "internal-workflow-runner"] {
        let help = platform.run(&[role, "--help"]);
        assert!(help.status.success() && text(&help).contains("Usage:"), "{}", text(&help));
        assert!(!listed.contains(role), "{listed}");
    }
    platform.assert_clean();
}

#[test]
fn each_role_runs_by_itself() {
    let platform = Platform::new(GOOD);
    let (mut server, said) = ready(&platform, &["internal-server", "--port", "0"], None);
    assert_eq!(said["event"], "ready");
    let url = format!("http://{}", said["address"].as_str().expect("an address"));
    let (mut runner, said) = ready(&platform, &["internal-workflow-runner", "--server", &url], None);
    assert_eq!(said["event"], "ready");
    let (_, answer) = ask(&url, "/v1/status", Some(&platform.token()));
    assert_eq!(answer["workers"][0]["pid"], runner.id());
    signal(runner.id(), Signal::INT);
    assert!(runner.wait().expect("ends").success());
    let (_, answer) = ask(&url, "/v1/status", Some(&platform.token()));
    assert_eq!(answer["workers"], json!([]), "it said goodbye");
    signal(server.id(), Signal::INT);
    assert!(server.wait().expect("ends").success());
    platform.assert_clean();
}

#[test]
fn a_supervisor_runs_in_the_foreground() {
    let platform = Platform::new(GOOD);
    let agent = platform.agent.to_str().expect("text");
    let words = ["internal-supervisor", "--port", "0", "--use-local-binary", agent];
    let mut child = platform.command(&words).stdout(Stdio::piped()).spawn().expect("stigmer runs");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let up = lines
        .map(|line| serde_json::from_str::<Value>(&line.expect("read")).expect("an object"))
        .find(|event| event["event"] == "up");
    assert_eq!(up.expect("it comes up")["components"][2]["phase"], "ready");
    signal(child.id(), Signal::INT);
    assert!(child.wait().expect("ends").success());
    platform.assert_clean();
}

#[test]
fn each_role_ends_with_its_standard_input() {
    let platform = Platform::new(GOOD);
    let server_config = config(&platform, "stigmer-server", "http://127.0.0.1:0");
    let (mut server, said) = ready(&platform, &["internal-server", "--supervised"], Some(&server_config));
    let url = format!("http://{}", said["address"].as_str().expect("an address"));
    let runner_config = config(&platform, "workflow-runner", &url);
    let words = ["internal-workflow-runner", "--supervised"];
    let (mut runner, said) = ready(&platform, &words, Some(&runner_config));
    assert_eq!(said["event"], "ready");
    for child in [&mut runner, &mut server] {
        drop(child.stdin.take());
        let started = stigmer::platform::process_started(child.id());
        if let Some(started) = started {
            let limit = std::time::Duration::from_secs(1);
            assert!(stigmer::platform::wait_for_end(child.id(), started, limit));
        }
        assert!(child.wait().expect("ends").success());
    }
    platform.assert_clean();
}

#[test]
fn a_wrong_config_is_a_failure_that_says_so() {
    let platform = Platform::new(GOOD);
    for (role, name) in
        [("internal-server", "stigmer-server"), ("internal-workflow-runner", "workflow-runner")]
    {
        let good = config(&platform, name, "http://127.0.0.1:1");
        let mut surplus = good.clone();
        surplus["surplus"] = 1.into();
        let mut lacking = good.clone();
        lacking.as_object_mut().expect("an object").remove("token");
        let mut other = good;
        other["component"] = "other".into();
        for wrong in [surplus, lacking, other] {
            let (mut child, said) = ready(&platform, &[role, "--supervised"], Some(&wrong));
            assert_eq!(said["event"], "failed", "{said}");
            assert_eq!(child.wait().expect("ends").code(), Some(78));
        }
    }
    platform.assert_clean();
}

#[test]
fn a_runner_registers_again_with_a_server_that_forgot_it() {
    let platform = Platform::new(GOOD);
    let first = config(&platform, "stigmer-server", "http://127.0.0.1:0");
    let (mut server, said) = ready(&platform, &["internal-server", "--supervised"], Some(&first));
    let url = format!("http://{}", said["address"].as_str().expect("an address"));
    let runner_config = config(&platform, "workflow-runner", &url);
    let (mut runner, _) =
        ready(&platform, &["internal-workflow-runner", "--supervised"], Some(&runner_config));
    signal(server.id(), Signal::KILL);
    server.wait().expect("ends");
    let again = config(&platform, "stigmer-server", &url);
    let (mut server, said) = ready(&platform, &["internal-server", "--supervised"], Some(&again));
    assert_eq!(said["event"], "ready", "{said}");
    stigmer_test_support::eventually("it registers again", || {
        let (_, answer) = ask(&url, "/v1/status", Some("0123456789abcdef0123456789abcdef"));
        (answer["workers"][0]["pid"] == runner.id()).then_some(())
    });
    drop((runner.stdin.take(), server.stdin.take()));
    assert!(runner.wait().expect("ends").success());
    assert!(server.wait().expect("ends").success());
    platform.wait_for_nobody(LIMIT);
    platform.assert_clean();
}
