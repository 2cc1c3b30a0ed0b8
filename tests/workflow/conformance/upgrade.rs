//! Executions that an earlier version began, and this one continues.

use super::memory::Memory;
use super::scenarios::{Scenario, end_with_transformations, flow};
use super::world::{Answer, World};
use super::{Bench, Came};
use serde::Deserialize;
use serde_json::{Value, json};
use stigmer::workflow::fault::INTERRUPTED;
use stigmer::workflow::interpreter::End;
use stigmer::workflow::journaled::Entry;

/// A whole execution as the last version without recorded revisions journaled it, with its output.
#[derive(Deserialize)]
struct Recording {
    spec: Value,
    input: Value,
    output: Value,
    journal: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    task: Option<String>,
    data: Value,
}

fn recording() -> (Scenario, Vec<Entry>) {
    let Recording { spec, input, output, journal } =
        serde_json::from_str(include_str!("revision_1.json")).expect("a recording");
    let entry = |Event { kind, task, data }| Entry { kind, task, data };
    let expected = Came::To(End::Completed(output));
    let scenario = Scenario {
        name: "an execution of revision 1",
        spec,
        input,
        answers: Vec::new(),
        expect: Box::new(move |came, _, how| assert_eq!(*came, expected, "{how}")),
    };
    (scenario, journal.into_iter().map(entry).collect())
}

/// The output is that of the old semantics, and no recorded request is sent again.
#[test]
fn an_execution_of_an_earlier_version_ends_as_it_would_have_there() {
    let (mut scenario, journal) = recording();
    assert!(journal.iter().all(|entry| entry.kind != "runtime"));
    let requests = ["GET a", "POST b", "GET flaky", "GET flaky"];
    for known in 1..=journal.len() {
        let past = &journal[..known];
        let ended = past.iter().filter(|entry| !entry.data["ended"].is_null()).count();
        let begun = past.iter().filter(|entry| !entry.data["begun"].is_null()).count();
        let flaky = [Answer::Status(503), Answer::Ok(json!("good"))];
        scenario.answers = vec![
            ("a", vec![Answer::Ok(json!(1))]),
            ("b", vec![Answer::Ok(json!({"text": "two"}))]),
            ("flaky", flaky[ended.saturating_sub(2).min(1)..].to_vec()),
        ];
        let how = format!("continued behind entry {known}");
        let world = World::new(&scenario);
        let came = Memory::continuing(past.to_vec()).run(&scenario.spec, &scenario.input, &world);
        // Whether the POST arrived is unknown between these entries.
        if (begun, ended) == (2, 1) {
            let Came::To(End::Failed { fault, .. }) = came else { panic!("{how}: {came:?}") };
            assert_eq!(fault.kind, INTERRUPTED, "{how}");
            assert_eq!(world.requests(), 0, "{how}");
            continue;
        }
        (scenario.expect)(&came, &world, &how);
        assert_eq!(world.calls(), requests[ended..], "{how}");
    }
}

/// The recorded workflow tells the revisions apart.
#[test]
fn the_same_workflow_ends_otherwise_if_it_begins_now() {
    let (mut scenario, _) = recording();
    scenario.answers = vec![
        ("a", vec![Answer::Ok(json!(1))]),
        ("b", vec![Answer::Ok(json!({"text": "two"}))]),
        ("flaky", vec![Answer::Ok(json!("good"))]),
    ];
    let came = Memory::default().run(&scenario.spec, &scenario.input, &World::new(&scenario));
    assert_eq!(came, Came::To(End::Completed(json!({"seen": "good", "context": {"seen": "good"}}))));
}

/// The limit on task runs is an error like others in revision 1: a `try` around it can catch it.
#[test]
fn the_limit_on_task_runs_can_be_caught_in_revision_1() {
    let (mut scenario, journal) = recording();
    let endless = json!([{"round": {"set": {}, "then": "again"}}, {"again": {"set": {}, "then": "round"}}]);
    scenario.spec = flow(json!([{"safe": {"try": endless, "catch": {}}}]));
    let world = World::new(&scenario);
    let came = Memory::continuing(journal[..1].to_vec()).run(&scenario.spec, &json!("in"), &world);
    assert_eq!(came, Came::To(End::Completed(json!("in"))));
    let came = Memory::default().run(&scenario.spec, &json!("in"), &world);
    assert!(matches!(came, Came::To(End::Failed { .. })), "{came:?}");
}

/// An execution of a later revision fails, and the error names the version that can replay it.
#[test]
fn an_execution_of_a_later_revision_is_refused() {
    let scenario = end_with_transformations();
    let data = json!({"name": "stigmer", "version": "9.8.7", "revision": 1_000_000});
    let later = vec![Entry { kind: "runtime".to_owned(), task: None, data }];
    let came = Memory::continuing(later).run(&scenario.spec, &scenario.input, &World::new(&scenario));
    let Came::To(End::Failed { fault, task: None }) = came else { panic!("{came:?}") };
    assert!(
        fault.words().contains("revision 1000000") && fault.words().contains("stigmer 9.8.7"),
        "{fault:?}"
    );
}
