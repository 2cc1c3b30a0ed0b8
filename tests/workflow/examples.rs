//! The examples of workflows do what they say.

use crate::fixtures::{Reply, Runner, World, completed, failed};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use stigmer::resource::Kind;
use stigmer_test_support::api::Server;

/// Applies all examples, and gives the names of the workflows.
fn apply(server: &Server) -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = std::fs::read_dir(directory).expect("there is one").map(|file| file.expect("read").path());
    let files = files.filter(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    let texts = files.map(|file| std::fs::read_to_string(file).expect("read"));
    texts
        .flat_map(|text| stigmer::source::read(&text).expect("it is sound"))
        .filter_map(|one| {
            let resource = one.resource;
            let (kind, name) = (resource.kind, resource.metadata.name.clone());
            let body = serde_json::to_value(&resource).expect("serializes");
            let path = format!("/v1/resources/{}/{name}", kind.plural());
            let (status, answer) = server.call("PUT", &path, Some(&body));
            assert_eq!(status, 200, "{answer}");
            (kind == Kind::Workflow).then_some(name)
        })
        .collect()
}

fn begin(server: &Server, name: &str, input: &Value) -> String {
    let execution = server.post("/v1/executions", &json!({"name": name, "input": input}));
    execution["id"].as_str().expect("an id").to_owned()
}

#[test]
fn every_example_is_run_here() {
    let server = Server::patient();
    let mut names = apply(&server);
    names.sort();
    assert_eq!(names, ["data", "greet", "loop", "parallel", "request"]);
}

#[test]
fn data_goes_from_task_to_task() {
    let server = Server::patient();
    apply(&server);
    let _runner = Runner::start(&server);
    for (amount, output) in [
        (json!("120"), json!({"total": 144.0, "approved": true, "text": "144.0 in all"})),
        (json!(10), json!({"total": 12.0, "approved": false, "text": "12.0 in all"})),
    ] {
        let id = begin(&server, "data", &json!({"amount": amount}));
        assert_eq!(completed(&server, &id), output);
    }
}

#[test]
fn a_loop_goes_round() {
    let server = Server::patient();
    apply(&server);
    let _runner = Runner::start(&server);
    let id = begin(&server, "loop", &Value::Null);
    assert_eq!(completed(&server, &id), json!(["1. Hello, Ada!", "2. Hello, Grace!"]));
}

#[test]
fn a_request_is_tried_again_and_given_up() {
    let server = Server::patient();
    apply(&server);
    let asked = AtomicUsize::new(0);
    let world = World::new(move |arrived| match arrived.target.as_str() {
        "/items/7?fields=name%2Cprice" if arrived.headers["authorization"] == "Bearer token-4711" => {
            match asked.fetch_add(1, Ordering::SeqCst) {
                0 | 1 => Reply::status(503, "later"),
                _ => Reply::json(&json!({"name": "x"})),
            }
        }
        _ => Reply::status(500, "never"),
    });
    let _runner = Runner::told(&server, &json!({"EXAMPLE_TOKEN": "token-4711"}));
    let id = begin(&server, "request", &json!({"base": world.url, "id": 7}));
    assert_eq!(completed(&server, &id), json!({"item": {"name": "x"}}));
    assert_eq!(world.arrived().len(), 3);
    let id = begin(&server, "request", &json!({"base": world.url, "id": 8}));
    let error = failed(&server, &id);
    assert_eq!(error["type"], "https://example.com/errors/broken");
    assert_eq!(error["message"], format!("nothing can be had from {}", world.url));
    assert_eq!(world.arrived().len(), 7);
}

#[test]
fn branches_run_at_the_same_time() {
    let server = Server::patient();
    apply(&server);
    let world = World::new(|arrived| match arrived.target.as_str() {
        "/items/7" => Reply::json(&json!({"name": "x"})),
        "/reviews/7" => Reply::json(&json!([5, 4])),
        _ => Reply::json(&json!(9.5)),
    });
    let _runner = Runner::start(&server);
    let id = begin(&server, "parallel", &json!({"base": world.url, "id": 7}));
    assert_eq!(completed(&server, &id), json!({"item": {"name": "x"}, "reviews": [5, 4], "price": 9.5}));
}

#[test]
fn an_agent_is_asked_to_greet_somebody() {
    let server = Server::patient();
    apply(&server);
    let _runner = Runner::start(&server);
    let id = begin(&server, "greet", &json!({"name": "Ada"}));
    let worker = server.worker(1);
    let leased = server.lease(&worker, &["agent"], 30_000).expect("it is asked");
    assert_eq!(leased["execution"]["name"], "hello");
    assert_eq!(leased["execution"]["message"], "Please greet Ada in one sentence.");
    let path = format!("/v1/leases/{}/complete", leased["lease"].as_str().expect("a lease"));
    server.post(&path, &json!({"output": {"text": "Hello, Ada!"}}));
    let output = completed(&server, &id);
    assert_eq!(output["greeting"], "Hello, Ada!");
    assert_eq!(output["execution"], leased["execution"]["id"]);
}
