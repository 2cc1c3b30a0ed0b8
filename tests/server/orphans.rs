//! Nobody is left: whoever is killed, and however a process has tried to get away from its parents.

use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use stigmer::platform::{parent_of, process_started};
use stigmer_test_support::eventually;
use stigmer_test_support::server::{ESCAPE, GOOD, LIMIT, Platform, STUBBORN, component, pid, signal, text};

/// A script that lets two processes escape, and then does `rest`.
fn escaping(rest: &str) -> String {
    format!("{ESCAPE}escape\nescape\n{rest}")
}

/// A platform whose agent-runner has let two processes escape; with its status.
fn escaped(rest: &str) -> (Platform, Value) {
    let platform = Platform::new(&escaping(rest)).config("[server]\nstop_timeout = \"2s\"\n");
    let status = platform.start();
    assert_eq!(platform.escaped().len(), 2);
    (platform, status)
}

fn agent(status: &Value) -> u32 {
    pid(component(status, "agent-runner"))
}

fn attendant(status: &Value) -> u32 {
    let agent = component(status, "agent-runner");
    u32::try_from(agent["attendant_pid"].as_u64().expect("it has an attendant")).expect("fits")
}

fn assert_ended(pids: &[u32]) {
    for pid in pids {
        assert_eq!(process_started(*pid), None, "process {pid} is left");
    }
}

#[test]
fn the_status_shows_the_component_and_its_attendant() {
    let platform = Platform::new(GOOD);
    let status = platform.start();
    let (agent, attendant) = (agent(&status), attendant(&status));
    assert_eq!(parent_of(agent), Some(attendant));
    assert_eq!(parent_of(attendant), Some(pid(&status)));
    let name = fs_err::read_to_string(format!("/proc/{attendant}/comm")).expect("read");
    assert_eq!(name.trim_end(), "stigmer-attend");
    for name in ["stigmer-server", "workflow-runner"] {
        assert_eq!(component(&status, name).get("attendant_pid"), None);
        assert_eq!(parent_of(pid(component(&status, name))), Some(pid(&status)));
    }
    let table = text(&platform.run(&["server", "status"]));
    assert!(table.contains(&format!(" {agent} ")) && !table.contains(&format!(" {attendant} ")), "{table}");
    platform.stop();
    platform.assert_clean();
}

#[test]
fn what_escaped_from_a_component_ends_with_it() {
    let (platform, status) = escaped(READY);
    let before = platform.escaped();
    let mut log = platform.follow("agent-runner");
    signal(agent(&status), Signal::KILL);
    log.until("ended: signal 9");
    assert_ended(&before);
    log.until("ready after");
    drop(log);
    platform.stop();
    platform.assert_clean();
}

const READY: &str = r#"printf '{"event":"ready","version":"1","pid":%s}\n' $$; exec cat >/dev/null"#;

#[test]
fn what_escaped_from_a_component_that_stops_ends_with_it() {
    let (platform, _) = escaped(READY);
    platform.stop();
    platform.assert_clean();
}

#[test]
fn a_killed_supervisor_leaves_nobody() {
    for rest in [READY, STUBBORN] {
        let (platform, status) = escaped(rest);
        signal(pid(&status), Signal::KILL);
        platform.wait_for_nobody(LIMIT);
    }
}

#[test]
fn a_killed_supervisor_leaves_nobody_who_was_stopped() {
    for who in [agent, attendant] {
        let (platform, status) = escaped(READY);
        signal(who(&status), Signal::STOP);
        signal(pid(&status), Signal::KILL);
        platform.wait_for_nobody(LIMIT);
    }
}

#[test]
fn a_killed_attendant_leaves_nobody() {
    let (platform, status) = escaped(READY);
    let before = platform.escaped();
    let mut log = platform.follow("agent-runner");
    signal(attendant(&status), Signal::KILL);
    log.until("ended: signal 9");
    assert_ended(&before);
    assert_ended(&[agent(&status), attendant(&status)]);
    log.until("ready after");
    drop(log);
    platform.stop();
    platform.assert_clean();
}

/// Kills supervisor and attendant, neither of which has a chance to do anything about the other's end; gives what has
/// escaped from both.
fn orphaned(platform: &Platform) -> Vec<u32> {
    let status = platform.start();
    let escaped = platform.escaped();
    assert_eq!(escaped.len(), 1);
    for name in [Signal::STOP, Signal::KILL] {
        for one in [pid(&status), attendant(&status)] {
            signal(one, name);
        }
    }
    // The component goes by itself.
    eventually("the others end", || (platform.processes() == escaped).then_some(()));
    escaped
}

#[test]
fn what_escaped_from_a_killed_supervisor_and_attendant_is_ended_by_a_stop_or_the_next_start() {
    let platform = Platform::new(&format!("{ESCAPE}escape_marked\n{STUBBORN}"))
        .config("[server]\nstop_timeout = \"1s\"\n");
    let left = orphaned(&platform);
    let words = text(&platform.stop());
    assert!(words.contains("stopped"), "{words}");
    assert_ended(&left);
    platform.assert_clean();
    let left = orphaned(&platform);
    platform.start();
    assert_ended(&left);
    platform.stop();
    platform.assert_clean();
    let log = text(&platform.run(&["server", "logs", "--component", "supervisor"]));
    assert!(log.contains("left behind: ["), "{log}");
}

#[test]
fn a_recorded_id_that_is_somebody_elses_by_now_is_left_alone() {
    let platform = Platform::new(GOOD);
    let status = platform.start();
    signal(pid(&status), Signal::KILL);
    platform.wait_for_nobody(LIMIT);
    let path = platform.home.join("run/server.json");
    let text_of = fs_err::read_to_string(&path).expect("a record");
    let mut record: Value = serde_json::from_str(&text_of).expect("an object");
    let children = record["children"].as_array_mut().expect("a list");
    assert_eq!(children.len(), 4, "three components and an attendant");
    let mut stranger = Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn().expect("sleep runs");
    for child in children {
        child["pid"] = stranger.id().into();
    }
    fs_err::write(&path, record.to_string()).expect("written");
    platform.stop();
    let lives = process_started(stranger.id()).is_some();
    let _ = stranger.kill();
    stranger.wait().expect("reaped");
    assert!(lives);
    let log = text(&platform.run(&["server", "logs", "--component", "supervisor"]));
    assert!(log.contains(&format!("are not the recorded ones: [{}", stranger.id())), "{log}");
    platform.assert_clean();
}

#[test]
fn a_stop_ends_who_was_stopped() {
    for who in [agent, attendant] {
        let (platform, status) = escaped(READY);
        signal(who(&status), Signal::STOP);
        let words = text(&platform.stop());
        assert!(words.contains("waiting for agent-runner"), "{words}");
        platform.assert_clean();
    }
}

#[test]
fn a_component_that_multiplies_is_ended_all_the_same() {
    // As fast as it can, but not without end: on a busy machine it would take every process id there is from everybody else.
    let storm = r#"storm() { for i in $(seq 4000); do (setsid sleep 1000 </dev/null >/dev/null 2>&1 &); done; }
trap '' TERM
storm &
storm &
printf '{"event":"ready","version":"1","pid":%s}\n' $$
exec sleep 1000"#;
    // An end that comes at once, one that has to be forced, and one that nobody asks for.
    for how in ["component", "stop", "supervisor"] {
        let platform = Platform::new(storm).config("[server]\nstop_timeout = \"1s\"\n");
        let status = platform.start();
        eventually("it multiplies", || (platform.processes().len() > 20).then_some(()));
        match how {
            "component" => {
                let before = platform.processes();
                let mut log = platform.follow("agent-runner");
                signal(agent(&status), Signal::KILL);
                log.until("ended: signal 9");
                drop(log);
                let kept: Vec<u32> = [pid(&status)]
                    .into_iter()
                    .chain(["stigmer-server", "workflow-runner"].map(|name| pid(component(&status, name))))
                    .collect();
                let gone: Vec<u32> = before.into_iter().filter(|pid| !kept.contains(pid)).collect();
                assert_ended(&gone);
                platform.stop();
                platform.assert_clean();
            }
            "stop" => {
                platform.stop();
                platform.assert_clean();
            }
            _ => {
                signal(pid(&status), Signal::KILL);
                platform.wait_for_nobody(LIMIT);
            }
        }
    }
}

/// Starts an attendant by itself; gives it with the component's id, once the script has said a line.
fn attended(script: &str) -> (Child, u32) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stigmer"))
        .args(["internal-attendant", "--", "/bin/sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("stigmer runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("read");
    let said: Value = serde_json::from_str(&next()).expect("an object");
    assert_eq!(said["event"], "attending");
    assert_eq!(next(), "begun");
    assert!(lines.next().is_none(), "the attendant keeps the stream open");
    (child, pid(&said))
}

/// Waits for its end with its input open: to wait for a child closes it, and that would be a reason to end.
fn end_of(mut child: Child) -> std::process::ExitStatus {
    let _input = child.stdin.take();
    child.wait().expect("ends")
}

#[test]
fn an_attendant_ends_as_its_component_does() {
    for code in [0, 3, 78, 255] {
        let (child, _) = attended(&format!("echo begun; exec >&-; exit {code}"));
        assert_eq!(end_of(child).code(), Some(code));
    }
    for name in [Signal::TERM, Signal::KILL, Signal::ABORT, Signal::SEGV, Signal::USR1] {
        let (child, component) = attended("echo begun; exec cat >/dev/null");
        signal(component, name);
        let status = end_of(child);
        assert_eq!(status.signal(), Some(name.as_raw()));
        assert!(!status.core_dumped());
    }
}

#[test]
fn an_attendant_passes_on_what_it_is_asked() {
    for (name, word) in
        [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP"), (Signal::QUIT, "QUIT")]
    {
        // Its own child must not hear of it: who asks a component to end lets it end its children as it likes.
        let script = format!(
            "mkfifo \"$0.$$\"; (trap 'echo heard >&2' {word}; echo >\"$0.$$\"; while :; do sleep 1000 & wait; done) & \
             read -r x <\"$0.$$\"; rm \"$0.$$\"; trap 'exit 5' {word}; echo begun; exec >&-; while :; do wait; done"
        );
        let dir = tempfile::tempdir().expect("a directory");
        let mut child = Command::new(env!("CARGO_BIN_EXE_stigmer"))
            .args(["internal-attendant", "--", "/bin/sh", "-c", &script])
            .arg(dir.path().join("f"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("stigmer runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        assert!(lines.any(|line| line.is_ok_and(|line| line == "begun")));
        signal(child.id(), name);
        let mut heard = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut heard).expect("read");
        assert_eq!(end_of(child).code(), Some(5), "{word}");
        assert_eq!(heard, "", "{word}");
    }
}

#[test]
fn an_attendant_ends_at_the_end_of_its_input() {
    let (mut child, component) = attended("trap '' TERM; echo begun; exec >&-; exec sleep 1000");
    drop(child.stdin.take());
    let status = child.wait().expect("ends");
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
    assert_ended(&[component]);
}

#[test]
fn an_attendant_says_what_it_cannot_start() {
    let output = Command::new(env!("CARGO_BIN_EXE_stigmer"))
        .args(["internal-attendant", "--", "/nonexistent/program"])
        .output()
        .expect("stigmer runs");
    assert_eq!(output.status.code(), Some(69), "{}", text(&output));
    assert!(text(&output).contains("`/nonexistent/program` cannot be started"), "{}", text(&output));
}

#[test]
fn who_replaces_himself_all_the_time_is_found() {
    let platform = Platform::acting(&["spawn=session+chain", "exit=0"]);
    for round in 0..10 {
        let mark = format!("STIGMER_TEST_ROUND={round}");
        let mut component = Command::new(&platform.agent);
        component.env("STIGMER_TEST_ROUND", round.to_string());
        assert!(component.status().expect("runs").success());
        let ending = stigmer::platform::end_marked(&mark, LIMIT);
        assert!(ending.left.is_empty(), "{ending:?}");
        // One that got away writes down its successors.
        let written = || fs_err::read_to_string(platform.path("pids")).expect("a list").lines().count();
        let before = written();
        std::thread::sleep(std::time::Duration::from_millis(60));
        assert_eq!(written(), before, "round {round}");
    }
    platform.assert_clean();
}
