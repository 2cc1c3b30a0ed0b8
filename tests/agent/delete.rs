//! `stigmer execution delete` and `stigmer execution prune` against a real server.

use crate::follow::{id_of, platform};
use crate::worker::Worker;
use serde_json::json;
use stigmer_test_support::eventually;
use stigmer_test_support::server::terminal::Terminal;
use stigmer_test_support::server::{Platform, json, text};

/// Starts an execution. Gives its id.
fn begin(platform: &Platform, worker: &mut Worker) -> String {
    let output = platform.run(&["run", "hello", "-m", "hi", "--no-follow"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    id_of(&worker.take())
}

/// Runs an execution to its end. Gives its id.
fn ended(platform: &Platform, worker: &mut Worker) -> String {
    let id = begin(platform, worker);
    worker.complete("done");
    id
}

fn listed(platform: &Platform) -> Vec<String> {
    let all = json(&platform.run(&["execution", "list", "--json"]));
    let executions = all["executions"].as_array().expect("a list");
    executions.iter().map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn executions_are_deleted_by_id_with_their_workspaces() {
    let (platform, mut worker) = platform();
    let [first, second, third] = [(); 3].map(|()| ended(&platform, &mut worker));
    let open = begin(&platform, &mut worker);
    // Where the agent-runner makes it.
    let workspace = platform.home.join("data/agent-runner/workspaces").join(&first);
    fs_err::create_dir_all(&workspace).expect("made");
    fs_err::write(workspace.join("file"), "x").expect("written");

    let wrong = platform.run(&["execution", "delete", &second, "zzzz"]);
    assert_eq!((wrong.status.code(), listed(&platform).len()), (Some(69), 4), "{}", text(&wrong));
    let short = &first[first.len() - 8..];
    let output = platform.run(&["execution", "delete", short, &second, &first]);
    assert_eq!(text(&output), format!("exit Some(0)\n{first} deleted\n{second} deleted\n"));
    eventually("the workspace is removed", || (!workspace.exists()).then_some(()));

    let refused = platform.run(&["execution", "delete", &third, &open, "--json"]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    let words = text(&refused);
    for expected in ["has not ended", "stigmer execution cancel", &format!("{third} is deleted")] {
        assert!(words.contains(expected), "{words}");
    }
    assert_eq!(listed(&platform), [open]);
    worker.complete("done");
    platform.stop();
}

#[test]
fn executions_are_pruned_after_a_yes() {
    let (platform, mut worker) = platform();
    let [first, second, third] = [(); 3].map(|()| ended(&platform, &mut worker));
    let none = platform.run(&["execution", "prune", "--older-than", "1h"]);
    assert_eq!(text(&none), "exit Some(0)\nno executions to delete\n");
    let would = platform.run(&["execution", "prune", "--keep", "1", "--dry-run"]);
    assert_eq!(
        text(&would),
        format!(
            "exit Some(0)\nwould delete {first}\nwould delete {second}\n2 executions with 8 events in all\n"
        )
    );
    let unasked = platform.run(&["execution", "prune", "--keep", "1"]);
    assert_eq!(unasked.status.code(), Some(2), "{}", text(&unasked));
    assert!(text(&unasked).contains("nothing was deleted") && text(&unasked).contains("--yes"));

    let mut terminal = Terminal::open(&platform.command(&["execution", "prune", "--keep", "1"]));
    terminal.until("Delete 2 executions with 8 events? [y/N] ");
    terminal.press(b'\n');
    terminal.until("nothing was deleted");
    assert_eq!(listed(&platform).len(), 3);
    let mut terminal = Terminal::open(&platform.command(&["execution", "prune", "--keep", "2"]));
    terminal.until("Delete 1 execution with 4 events? [y/N] ");
    terminal.press(b'y');
    terminal.press(b'\n');
    terminal.until("deleted 1 execution with 4 events");
    assert_eq!(listed(&platform), [third.clone(), second.clone()]);

    let output = platform.run(&["execution", "prune", "--yes", "--json"]);
    assert_eq!(
        json(&output),
        json!({"schema": 1, "dry_run": false, "executions": 2, "events": 8, "ids": [second, third]})
    );
    assert_eq!(listed(&platform), Vec::<String>::new());
    platform.stop();
}

#[test]
fn retention_of_the_configuration_reaches_the_server() {
    let (platform, mut worker) = platform();
    let id = ended(&platform, &mut worker);
    platform.stop();
    let config = fs_err::read_to_string(platform.home.join("config.toml")).unwrap_or_default();
    assert!(!config.contains("[server]"), "{config}");
    fs_err::write(platform.home.join("config.toml"), format!("{config}\n[server]\nretention = \"30s\"\n"))
        .expect("written");
    let refused = platform.run(&["server", "start"]);
    assert_eq!(refused.status.code(), Some(78), "{}", text(&refused));
    assert!(text(&refused).contains("retention is at least `1m`"), "{}", text(&refused));
    fs_err::write(platform.home.join("config.toml"), format!("{config}\n[server]\nretention = \"1m\"\n"))
        .expect("written");
    platform.start();
    assert_eq!(listed(&platform), [id], "it is younger");
    platform.stop();
}
