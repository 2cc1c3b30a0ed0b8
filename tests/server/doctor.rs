//! `stigmer doctor` and what runs: the server, its components, the port.

use rustix::process::Signal;
use stigmer_test_support::eventually;
use stigmer_test_support::server::{GOOD, LIMIT, MISCONFIGURED, Platform, component, json, pid, signal};

/// The lines of the check `name`: verdict and detail with the next step.
fn lines(platform: &Platform, name: &str) -> Vec<(String, String)> {
    let report = json(&platform.run(&["doctor", "--json"]));
    let checks = report["checks"].as_array().expect("checks");
    let lines: Vec<(String, String)> = checks
        .iter()
        .filter(|check| check["name"] == name)
        .map(|check| {
            let text = |key: &str| check[key].as_str().unwrap_or_default();
            (text("verdict").to_owned(), format!("{} | {}", text("detail"), text("next")))
        })
        .collect();
    assert!(!lines.is_empty(), "{name}: {report}");
    lines
}

#[test]
fn a_platform_that_runs_is_well_in_every_part() {
    let platform = Platform::new(GOOD);
    platform.start();
    assert_eq!(lines(&platform, "server")[0].0, "ok");
    let components = lines(&platform, "component");
    assert_eq!(components.len(), stigmer::components::SHIPPED.iter().count());
    assert!(components.iter().all(|(verdict, _)| verdict == "ok"), "{components:?}");
    platform.stop();
    assert_eq!(lines(&platform, "server")[0].0, "ok");
    platform.assert_clean();
}

#[test]
fn a_component_that_has_failed_is_a_problem_with_its_log() {
    let platform = Platform::new(MISCONFIGURED);
    let status = platform.start();
    signal(pid(component(&status, "agent-runner")), Signal::KILL);
    let (_, words) = eventually("the failure shows", || {
        lines(&platform, "component").into_iter().find(|(verdict, _)| verdict == "problem")
    });
    assert!(
        words.contains("agent-runner") && words.contains("server logs --component agent-runner"),
        "{words}"
    );
    platform.stop();
    platform.assert_clean();
}

#[test]
fn a_start_that_failed_is_not_forgotten() {
    let platform = Platform::new("exit 5");
    assert!(!platform.try_start(&[]).status.success());
    let (verdict, words) = lines(&platform, "server").remove(0);
    assert_eq!(verdict, "warning");
    assert!(
        words.contains("the last start failed: agent-runner") && words.contains("exit code 5"),
        "{words}"
    );
    platform.assert_clean();
}

#[test]
fn a_supervisor_that_hangs_or_was_killed_is_named() {
    let platform = Platform::new(GOOD);
    let supervisor = pid(&platform.start());
    signal(supervisor, Signal::STOP);
    let (verdict, words) = lines(&platform, "server").remove(0);
    assert_eq!(verdict, "problem");
    assert!(words.contains(&supervisor.to_string()) && words.contains("kill -CONT"), "{words}");
    signal(supervisor, Signal::KILL);
    platform.wait_for_nobody(LIMIT);
    let (verdict, words) = lines(&platform, "server").remove(0);
    assert_eq!(verdict, "warning");
    assert!(words.contains("was killed") && words.contains("stigmer server"), "{words}");
    // Its record stays until somebody tidies up.
    platform.stop();
    platform.assert_clean();
}

#[test]
fn a_port_that_is_taken_is_a_problem_with_its_holder() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    let platform = Platform::new(GOOD).config(&format!("[server]\nport = {port}\n"));
    let (verdict, words) = lines(&platform, "port").remove(0);
    assert_eq!(verdict, "problem");
    assert!(words.contains(&std::process::id().to_string()) && words.contains("--port"), "{words}");
    drop(listener);
    assert_eq!(lines(&platform, "port")[0].0, "ok");
    platform.assert_clean();
}
