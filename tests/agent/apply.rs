//! `stigmer apply`, `get`, `list` and `delete` against a real server.

use serde_json::json;
use std::io::Write;
use std::process::Stdio;
use stigmer_test_support::server::{Platform, json, text};

const FLOW: &str =
    "document: {dsl: 1.0.0, namespace: n, name: flow, version: 1.0.0}\ndo:\n- one:\n    set: {a: 1}\n";

fn agent(name: &str, instructions: &str) -> String {
    format!(
        "apiVersion: stigmer.ai/v1\nkind: Agent\nmetadata:\n  name: {name}\nspec:\n  instructions: {instructions}\n"
    )
}

/// A platform, and a directory of files for it.
fn platform(files: &[(&str, &str)]) -> (Platform, String) {
    let platform = Platform::acting(&["ready", "wait"]);
    let dir = platform.path("files");
    for (name, text) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().expect("below")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    let dir = dir.display().to_string();
    (platform, dir)
}

#[test]
fn what_is_applied_is_created_updated_or_unchanged_and_can_be_had_again() {
    let two = format!("{}---\n{}", agent("one", "first"), agent("two", "hi"));
    let json_agent =
        r#"{"apiVersion": "stigmer.ai/v1", "kind": "Agent", "metadata": {"name": "three"}, "spec": {}}"#;
    let (platform, dir) = platform(&[
        ("agents.yaml", &two),
        ("below/three.json", json_agent),
        ("below/flow.yml", FLOW),
        ("notes.txt", "not: [read"),
    ]);
    // Before anything runs, files can be checked, and nothing else.
    let down = platform.run(&["apply", "-f", &dir]);
    assert_eq!(down.status.code(), Some(3), "{}", text(&down));
    let checked = platform.run(&["apply", "-f", &dir, "--dry-run"]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked));
    assert!(text(&checked).contains("workflow flow valid"), "{}", text(&checked));

    platform.start();
    let would = platform.run(&["apply", "-f", &dir, "--dry-run"]);
    assert!(text(&would).contains("agent one created (dry run)"), "{}", text(&would));
    let applied = platform.run(&["apply", "-f", &dir]);
    let all = "agent one created\nagent two created\nworkflow flow created\nagent three created\n";
    assert_eq!(text(&applied), format!("exit Some(0)\n{all}"));
    std::fs::write(platform.path("files/agents.yaml"), two.replace("first", "second")).expect("written");
    let again = json(&platform.run(&["apply", "-f", &dir, "--json"]));
    let outcomes: Vec<&str> = again["resources"]
        .as_array()
        .expect("all")
        .iter()
        .filter_map(|one| one["outcome"].as_str())
        .collect();
    assert_eq!(outcomes, ["updated", "unchanged", "unchanged", "unchanged"]);
    assert_eq!((&again["schema"], &again["resources"][1]["line"]), (&json!(1), &json!(8)));

    // What is shown is what can be applied again.
    for kind in ["agent", "workflow"] {
        let shown = platform.run(&["get", kind, "-o", "yaml"]);
        let mut apply = platform
            .command(&["apply", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("runs");
        apply.stdin.take().expect("piped").write_all(&shown.stdout).expect("written");
        let output = apply.wait_with_output().expect("ends");
        assert_eq!(output.status.code(), Some(0), "{}", text(&shown));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.lines().all(|line| line.ends_with("unchanged")) && !said.is_empty(), "{said}");
    }
    let one = text(&platform.run(&["get", "agent", "one"]));
    assert!(one.contains("  instructions: second\n") && !one.contains("digest"), "{one}");
    let listed = text(&platform.run(&["list"]));
    assert_eq!(listed.lines().count(), 6, "{listed}");

    assert_eq!(platform.run(&["delete", "agent", "one"]).status.code(), Some(0));
    let gone = platform.run(&["delete", "agent", "one"]);
    assert_eq!(gone.status.code(), Some(69), "{}", text(&gone));
    assert!(text(&gone).contains("agent `one` not found"), "{}", text(&gone));
    let gone = platform.run(&["run", "one", "-m", "hi"]);
    assert_eq!(gone.status.code(), Some(69), "{}", text(&gone));
    platform.stop();
}

#[test]
fn a_mistake_anywhere_is_said_with_its_place_and_changes_nothing() {
    let wrong = "apiVersion: stigmer.ai/v1\nkind: Agent\nmetadata: {name: bad}\nspec:\n  tools: [fly]\n  limits: {steps: 0}\n";
    let (platform, dir) = platform(&[
        ("a.yaml", &agent("good", "hi")),
        ("b.yaml", wrong),
        ("c.yaml", "a: [1\nb: 2\n"),
        ("d.yaml", &agent("good", "twice")),
    ]);
    platform.start();
    let output = platform.run(&["apply", "-f", &dir]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(65), "{said}");
    for words in [
        format!("{dir}/b.yaml:5:11: unknown variant `fly`"),
        format!("{dir}/c.yaml:2:"),
        format!("{dir}/d.yaml:1:1: duplicate agent `good`: already in {dir}/a.yaml:1"),
        "nothing was changed".to_owned(),
    ] {
        assert!(said.contains(&words), "{words}: {said}");
    }
    let listed = json(&platform.run(&["list", "--json"]));
    assert_eq!(listed["resources"], json!([]));
    let object = json(&platform.run(&["apply", "-f", &dir, "--json"]));
    assert_eq!((object["more"].as_array().map(Vec::len), &object["exit_code"]), (Some(2), &json!(65)));
    for (file, code) in [("absent.yaml", 74), ("", 69)] {
        let path = platform.path("elsewhere");
        std::fs::create_dir_all(&path).expect("made");
        let output = platform.run(&["apply", "-f", &path.join(file).display().to_string()]);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
    }
    platform.stop();
}

#[test]
fn a_name_that_is_both_needs_its_kind() {
    let (platform, dir) = platform(&[("a.yaml", &agent("flow", "hi")), ("b.yaml", FLOW)]);
    platform.start();
    assert_eq!(platform.run(&["apply", "-f", &dir]).status.code(), Some(0));
    let both = platform.run(&["run", "flow", "-m", "hi"]);
    assert_eq!(both.status.code(), Some(1));
    assert!(text(&both).contains("--kind agent"), "{}", text(&both));
    let one = platform.run(&["run", "flow", "--kind", "agent", "-m", "hi", "--no-follow"]);
    assert_eq!(one.status.code(), Some(0), "{}", text(&one));
    let listed = json(&platform.run(&["list", "--json"]));
    let last = |n: usize| listed["resources"][n]["last_execution"]["phase"].clone();
    assert_eq!((last(0), last(1)), (json!("PENDING"), json!(null)), "of this kind, not only of this name");
    let speechless = platform.run(&["run", "flow", "--kind", "agent"]);
    assert_eq!(speechless.status.code(), Some(2));
    assert!(text(&speechless).contains("give one with --message"), "{}", text(&speechless));
    platform.stop();
}
