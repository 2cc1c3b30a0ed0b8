//! `stigmer run` and `stigmer execution` against a real server and a worker that does what the test says.

use crate::worker::{Running, Worker};
use serde_json::json;
use stigmer_test_support::server::terminal::Terminal;
use stigmer_test_support::server::{Platform, json, text};

const HELLO: &str = "apiVersion: stigmer.ai/v1\nkind: Agent\nmetadata: {name: hello}\nspec: {}\n";

/// A platform with an agent `hello`, and a worker for it.
pub(crate) fn platform() -> (Platform, Worker) {
    let platform = Platform::acting(&["ready", "wait"]);
    platform.start();
    std::fs::write(platform.path("hello.yaml"), HELLO).expect("written");
    let file = platform.path("hello.yaml").display().to_string();
    let output = platform.run(&["apply", "-f", &file]);
    assert_eq!(text(&output), "exit Some(0)\nagent hello created\n");
    let worker = Worker::new(&platform);
    (platform, worker)
}

pub(crate) fn id_of(leased: &serde_json::Value) -> String {
    leased["execution"]["id"].as_str().expect("an id").to_owned()
}

#[test]
fn an_answer_comes_line_by_line_and_is_there_afterwards() {
    let (platform, mut worker) = platform();
    let mut run = Running::new(&platform, &["run", "hello", "-m", "hi", "--input", "city=Paris"]);
    let leased = worker.take();
    assert_eq!(leased["execution"]["message"], "hi");
    assert_eq!(leased["execution"]["input"], json!({"city": "Paris"}));
    worker.say("one ");
    worker.say("line\nand \x1b[2J");
    // It is printed long before the end.
    run.prints("one line\n");
    worker.complete("one line\nand \x1b[2Jmore");
    let (code, out, err) = run.end();
    // Where nobody watches, the bytes are those of the answer.
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "one line\nand \x1b[2Jmore\n", ""));

    let id = id_of(&leased);
    // By its end alone, which is chance.
    let short = &id[id.len() - 8..];
    let shown = platform.run(&["execution", "get", short]);
    let shown = text(&shown);
    for words in ["COMPLETED", &id, "answer:\n  one line\n", "message:\n  hi\n", "city: Paris"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let whole = json(&platform.run(&["execution", "get", &id, "--json"]));
    assert_eq!(
        (&whole["schema"], &whole["output"]["text"]),
        (&json!(1), &json!("one line\nand \x1b[2Jmore"))
    );
    let again = platform.run(&["execution", "logs", &id]);
    assert_eq!(String::from_utf8_lossy(&again.stdout), out);
    let again = platform.run(&["execution", "logs", &id, "-f", "--since-seq", "6"]);
    assert_eq!((again.status.code(), again.stdout.as_slice()), (Some(0), b"".as_slice()), "{}", text(&again));
    let events = platform.run(&["execution", "logs", &id, "--json", "--since-seq", "1"]);
    let kinds: Vec<String> = String::from_utf8_lossy(&events.stdout)
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["type"].to_string())
        .collect();
    assert_eq!(
        kinds,
        ["started", "message.delta", "message.delta", "message", "completed"]
            .map(|kind| format!("\"{kind}\""))
    );
    let listed = text(&platform.run(&["execution", "list", "--phase", "completed"]));
    assert!(listed.contains(&id) && listed.contains("hello"), "{listed}");
    let nobody = platform.run(&["execution", "get", "zzzz"]);
    assert_eq!(nobody.status.code(), Some(69), "{}", text(&nobody));
    platform.stop();
}

#[test]
fn a_terminal_shows_words_as_they_come_and_takes_no_orders_from_them() {
    let (platform, mut worker) = platform();
    let mut terminal = Terminal::open(&platform.command(&["run", "hello", "-m", "hi"]));
    let leased = worker.take();
    worker.tell("tool.started", &json!({"call": "c", "name": "write", "arguments": {"path": "a"}}));
    terminal.until("· write {\"path\":\"a\"}");
    worker.say("with no end of a line");
    terminal.until("with no end of a line");
    worker.say("\x1b]0;title\x07");
    terminal.until("\\u{1b}]0;title\\u{7}");
    // Ctrl-C.
    terminal.press(3);
    let said = terminal.until("execution cancel");
    let again = format!("execution logs {} -f --since-seq 5", id_of(&leased));
    assert!(said.contains("is still running") && said.contains(&again), "{said}");
    worker.complete("done");
    platform.stop();
}

#[test]
fn an_interrupt_ends_the_watching_and_one_can_come_back() {
    let (platform, mut worker) = platform();
    let mut run = Running::new(&platform, &["run", "hello", "-m", "hi"]);
    let id = id_of(&worker.take());
    worker.say("first\n");
    run.prints("first\n");
    run.interrupt();
    let (code, out, err) = run.end();
    assert_eq!((code, out.as_str()), (Some(130), "first\n"), "{err}");
    let place = format!("execution logs {id} -f --since-seq 3");
    assert!(err.contains(&place), "{err}");
    worker.say("second\n");
    let mut again = Running::new(&platform, &["execution", "logs", &id, "-f", "--since-seq", "3"]);
    again.prints("second\n");
    worker.complete("first\nsecond\n");
    let (code, out, err) = again.end();
    assert_eq!((code, out.as_str()), (Some(0), "second\n"), "{err}");
    platform.stop();
}

#[test]
fn a_restart_in_the_middle_loses_nothing_and_repeats_nothing() {
    let (platform, mut worker) = platform();
    let mut run = Running::new(&platform, &["run", "hello", "-m", "hi"]);
    worker.take();
    worker.say("before\n");
    run.prints("before\n");
    let agent = platform.agent.display().to_string();
    let restarted = platform.run(&["server", "restart", "--use-local-binary", &agent]);
    assert!(restarted.status.success(), "{}", text(&restarted));
    worker.come_back(&platform);
    worker.say("after\n");
    run.says("connection lost; reconnecting");
    run.prints("after\n");
    worker.complete("before\nafter\n");
    let (code, out, err) = run.end();
    assert_eq!((code, out.as_str()), (Some(0), "before\nafter\n"), "{err}");
    assert!(err.contains("reconnected"), "{err}");
    platform.stop();
}

#[test]
fn a_platform_that_is_stopped_is_not_waited_for() {
    let (platform, mut worker) = platform();
    let mut run = Running::new(&platform, &["run", "hello", "-m", "hi"]);
    let id = id_of(&worker.take());
    worker.say("before\n");
    run.prints("before\n");
    platform.stop();
    let (code, out, err) = run.end();
    assert_eq!((code, out.as_str()), (Some(3), "before\n"), "{err}");
    for words in
        ["stigmer is not running", "run `stigmer server` to start it", &format!("execution logs {id} -f")]
    {
        assert!(err.contains(words), "{words}: {err}");
    }
}

#[test]
fn a_failure_says_what_to_do_and_a_cancellation_has_its_own_code() {
    let (platform, mut worker) = platform();
    let run = Running::new(&platform, &["run", "hello", "-m", "hi"]);
    worker.take();
    worker.fail(
        &json!({"type": "no-key", "message": "there is no key\x1b[2J", "hint": "set ANTHROPIC_API_KEY"}),
    );
    let (code, out, err) = run.end();
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    for words in ["hello failed: there is no key\\u{1b}", "no-key", "hint: set ANTHROPIC_API_KEY"] {
        assert!(err.contains(words), "{words}: {err}");
    }

    let run = Running::new(&platform, &["run", "hello", "-m", "hi", "--json"]);
    let id = id_of(&worker.take());
    let cancel = platform.run(&["execution", "cancel", &id]);
    assert!(text(&cancel).contains("is being cancelled"), "{}", text(&cancel));
    worker.hear_of_cancellation();
    worker.cancelled();
    let (code, out, err) = run.end();
    let execution: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &execution["phase"]), (Some(6), &json!("CANCELLED")), "{err}");
    let late = platform.run(&["execution", "cancel", &id]);
    assert_eq!(late.status.code(), Some(1), "{}", text(&late));
    platform.stop();
}

#[test]
fn an_interrupted_execution_is_resumed_on_request() {
    let (platform, mut worker) = platform();
    let output = platform.run(&["run", "hello", "-m", "hi", "--no-follow"]);
    let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert_eq!(id_of(&worker.take()), id);
    worker.go();
    let ended = platform.run(&["execution", "logs", &id, "-f"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended).contains(&format!("`stigmer execution resume {id}`")), "{}", text(&ended));
    let mut worker = Worker::new(&platform);
    let resumed = Running::new(&platform, &["execution", "resume", &id]);
    assert_eq!(worker.take()["execution"]["resumes"], json!(id));
    worker.complete("at last");
    let (code, out, err) = resumed.end();
    assert_eq!((code, out.as_str()), (Some(0), "at last\n"), "{err}");
    // Asked for once more it is what it came to, and at once.
    for more in [&[][..], &["--json"]] {
        let (code, out, err) = Running::new(&platform, &[&["execution", "resume", &id], more].concat()).end();
        assert_eq!((code, out.contains("at last")), (Some(0), true), "{out} {err}");
    }
    // A conversation goes on, with what was said.
    let first = json(&platform.run(&["execution", "list", "-n", "1", "--json"]))["executions"][0].clone();
    let session = first["session"].as_str().expect("a session");
    let mut next = Running::new(&platform, &["run", "hello", "-m", "-", "--session", session]);
    next.says("needs a message");
    let run = Running::new(&platform, &["run", "hello", "-m", "and?", "--session", session]);
    let history = worker.take()["history"].clone();
    assert_eq!(history[1]["text"], "at last", "{history}");
    worker.complete("and on");
    assert_eq!(run.end().0, Some(0));
    platform.stop();
}

#[test]
fn who_waits_for_a_worker_is_told_so() {
    let (platform, mut worker) = platform();
    let mut run = Running::new(&platform, &["run", "hello", "-m", "hi"]);
    run.says("waiting for a worker");
    worker.take();
    worker.complete("at last");
    let (code, out, err) = run.end();
    assert_eq!((code, out.as_str()), (Some(0), "at last\n"), "{err}");
    platform.stop();
}
