//! Stopping at once, stopping while something else is going on, and what the next start finds afterwards.

use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Output, Stdio};
use stigmer_test_support::eventually;
use stigmer_test_support::server::{
    GOOD, LIMIT, Platform, STUBBORN, component, ends, json, pid, signal, text,
};

#[test]
fn a_stop_that_cannot_wait_ends_everything_at_once() {
    let platform = Platform::new(STUBBORN).config("[server]\nstop_timeout = \"30s\"\n");
    platform.start();
    let mut patient =
        platform.command(&["server", "stop"]).stderr(Stdio::piped()).spawn().expect("stigmer runs");
    let mut line = String::new();
    let mut said = BufReader::new(patient.stderr.take().expect("piped"));
    said.read_line(&mut line).expect("read");
    assert!(line.contains("waiting for agent-runner"), "{line}");
    // Ctrl-C in a stop: the stop goes on.
    signal(patient.id(), Signal::INT);
    ends(&mut patient);
    assert_eq!(platform.status()["stopping"], true);
    let output = platform.run(&["server", "stop", "--now"]);
    assert!(output.status.success(), "{}", text(&output));
    let log = text(&platform.run(&["server", "logs", "--component", "agent-runner"]));
    assert!(log.contains("everything is to end at once"), "{log}");
    platform.assert_clean();
}

#[test]
fn a_supervisor_that_hangs_is_ended_by_a_stop_that_cannot_wait() {
    let platform = Platform::new(STUBBORN);
    let status = platform.start();
    signal(pid(&status), Signal::STOP);
    let output = platform.run(&["server", "stop"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(text(&output).contains("stop --now"), "{}", text(&output));
    let output = platform.run(&["server", "stop", "--now"]);
    assert!(output.status.success(), "{}", text(&output));
    platform.wait_for_nobody(LIMIT);
    let output = platform.run(&["server", "status"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output).contains("`stigmer server stop --now` stopped it"), "{}", text(&output));
    platform.assert_clean();
}

#[test]
fn a_start_while_it_stops_waits_and_then_starts() {
    let platform = Platform::new(&format!("if [ -e ran ]; then\n{GOOD}\nfi\n: >ran\n{STUBBORN}"))
        .config("[server]\nstop_timeout = \"2s\"\n");
    let first = platform.start();
    let stop = platform.command(&["server", "stop"]).stdout(Stdio::null()).spawn().expect("stigmer runs");
    eventually("it stops", || (platform.status()["stopping"] == true).then_some(()));
    let second = platform.start();
    assert_ne!(second["instance"], first["instance"]);
    assert_eq!((&second["already_running"], &second["ready"]), (&false.into(), &true.into()));
    assert!(stop.wait_with_output().expect("ends").status.success());
    assert_eq!(platform.status()["instance"], second["instance"]);
    platform.stop();
    platform.assert_clean();
}

#[test]
fn a_stop_in_the_pause_before_a_restart_wins() {
    let platform = Platform::new(GOOD);
    platform.start();
    eventually("it pauses", || {
        let status = platform.status();
        let one = component(&status, "agent-runner");
        if one["phase"] == "ready" {
            signal(pid(one), Signal::KILL);
        }
        // Each end makes the pause longer.
        (one["pid"].is_null() && one["attendant_pid"].is_null() && one["restarts"].as_u64() >= Some(2))
            .then_some(())
    });
    platform.stop();
    platform.assert_clean();
    let log = text(&platform.run(&["server", "logs", "--component", "agent-runner"]));
    assert!(log.trim_end().ends_with("ended: signal 9"), "{log}");
}

#[test]
fn two_shells_with_different_temporary_directories_find_each_other() {
    let platform = Platform::new(GOOD);
    let dirs = [tempfile::tempdir().expect("one"), tempfile::tempdir().expect("another")];
    let run = |dir: &Path, words: &[&str]| -> Output {
        let mut command = platform.command(words);
        command.env("TMPDIR", dir).env("XDG_RUNTIME_DIR", dir).output().expect("stigmer runs")
    };
    let words = platform.start_words(&["--json"]);
    let first = json(&run(dirs[0].path(), &words));
    let again = json(&run(dirs[1].path(), &words));
    assert_eq!((&again["already_running"], &again["instance"]), (&true.into(), &first["instance"]));
    let stop = run(dirs[1].path(), &["server", "stop"]);
    assert!(text(&stop).contains("stopped ("), "{}", text(&stop));
    platform.assert_clean();
}

#[test]
fn a_port_that_an_orphan_of_ours_holds_is_no_obstacle() {
    // Deaf to the request to end, and listening.
    let platform = Platform::new(
        r#"trap '' TERM
exec python3 -c '
import os, socket, time
listener = socket.create_server(("127.0.0.1", 0))
open("port", "w").write(str(listener.getsockname()[1]))
print("{\"event\":\"ready\",\"version\":\"1\",\"pid\":%d}" % os.getpid(), flush=True)
time.sleep(1000)'"#,
    );
    let first = platform.start();
    let port = fs_err::read_to_string(platform.home.join("data/agent-runner/port")).expect("a port");
    signal(pid(&first), Signal::KILL);
    let second = platform.try_start(&["--port", &port, "--json"]);
    assert!(second.status.success(), "{}", text(&second));
    assert_eq!(json(&second)["url"], format!("http://127.0.0.1:{port}"));
    platform.run(&["server", "stop", "--now"]);
    platform.assert_clean();
}
