//! Deleting executions: on request, by age and number, and their workspaces with them.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use stigmer_test_support::api::Server;
use stigmer_test_support::eventually;

/// A server with an agent `hello`.
fn server() -> Server {
    let server = Server::patient();
    server.agent("hello");
    server
}

/// Runs an agent to its end, which leaves a workspace with a file. Gives the id and the workspace.
fn ended(server: &Server) -> (String, PathBuf) {
    let id = server.run("hello", "hi");
    let worker = server.worker(1);
    let leased = server.lease(&worker, &["agent"], 0).expect("work");
    assert_eq!(leased["execution"]["id"], json!(id));
    let lease = leased["lease"].as_str().expect("a lease");
    server.post(&format!("/v1/leases/{lease}/complete"), &json!({"output": {"text": "done"}}));
    let workspace = workspace(server, &id);
    (id, workspace)
}

fn workspace(server: &Server, id: &str) -> PathBuf {
    let workspace = server.workspaces().join(id);
    fs_err::create_dir_all(workspace.join("deep")).expect("made");
    fs_err::write(workspace.join("deep/file"), "x").expect("written");
    workspace
}

fn is_removed(workspace: &Path) {
    eventually("the workspace is removed", || (!workspace.exists()).then_some(()));
}

fn ids(server: &Server) -> Vec<String> {
    let listed = server.get("/v1/executions");
    let executions = listed["executions"].as_array().expect("a list");
    executions.iter().map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn ended_execution_is_deleted_with_its_workspace_and_an_open_one_is_refused() {
    let server = server();
    let (id, gone) = ended(&server);
    let (other, stays) = ended(&server);
    let open = server.run("hello", "later");
    let path = |id: &str| format!("/v1/executions/{id}");
    let (status, answer) = server.call("DELETE", &path(&open), None);
    assert_eq!(status, 409, "{answer}");
    assert!(answer["detail"].as_str().is_some_and(|words| words.contains("has not ended")), "{answer}");
    assert_eq!(server.call("DELETE", &path(&id), None), (204, Value::Null));
    for (method, place) in [("GET", path(&id)), ("DELETE", path(&id)), ("GET", path(&id) + "/events")] {
        assert_eq!(server.call(method, &place, None).0, 404, "{method} {place}");
    }
    is_removed(&gone);
    assert_eq!(ids(&server), [open, other]);
    assert!(stays.join("deep/file").exists());
}

#[test]
fn prune_deletes_by_number_and_age_and_a_dry_run_counts() {
    let server = server();
    let all: Vec<(String, PathBuf)> = (0..3).map(|_| ended(&server)).collect();
    let open = server.run("hello", "later");
    let prune = |body: Value| server.post("/v1/executions/prune", &body);
    let nothing = json!({"executions": 0, "events": 0, "ids": [], "more": false});
    assert_eq!(prune(json!({"older_than_ms": 3_600_000})), nothing);
    assert_eq!(prune(json!({"older_than_ms": u64::MAX})), nothing);
    assert_eq!(prune(json!({"keep": 3})), nothing);
    // Each has the events created, started and completed.
    let two = json!({"executions": 2, "events": 6, "ids": [all[0].0, all[1].0], "more": false});
    assert_eq!(prune(json!({"keep": 1, "dry_run": true})), two);
    assert_eq!(ids(&server).len(), 4, "a dry run deletes nothing");
    assert_eq!(prune(json!({"keep": 1})), two);
    is_removed(&all[0].1);
    is_removed(&all[1].1);
    assert!(all[2].1.exists());
    assert_eq!(prune(json!({}))["ids"], json!([all[2].0]));
    assert_eq!(ids(&server), [open]);
    for senseless in [json!({"keep": -1}), json!({"older": 1}), json!([])] {
        assert_eq!(server.call("POST", "/v1/executions/prune", Some(&senseless)).0, 400, "{senseless}");
    }
}

#[test]
fn workspace_whose_removal_was_interrupted_is_removed_after_the_next_start() {
    let mut server = server();
    let ((id, _), (other, _)) = (ended(&server), ended(&server));
    // Nothing can be removed below a file, as if the server had been killed before it came to it.
    let (place, aside) = (server.workspaces(), server.workspaces().with_extension("aside"));
    fs_err::rename(&place, &aside).expect("moved away");
    fs_err::write(&place, "").expect("written");
    assert_eq!(server.post("/v1/executions/prune", &json!({}))["executions"], 2);
    server.crash_and_restart(5000);
    fs_err::remove_file(&place).expect("removed");
    fs_err::rename(&aside, &place).expect("moved back");
    // One was being removed already.
    fs_err::rename(place.join(&other), place.join(format!(".removing-{other}"))).expect("renamed");
    server.crash_and_restart(5000);
    eventually("everything is removed", || {
        fs_err::read_dir(&place).expect("a directory").next().is_none().then_some(())
    });
    assert!(!ids(&server).contains(&id));
}

#[test]
fn executions_older_than_the_retention_are_deleted_at_the_start() {
    let mut server = server();
    let (id, gone) = ended(&server);
    let open = server.run("hello", "later");
    server.retention_ms = Some(3_600_000);
    server.crash_and_restart(5000);
    assert_eq!(ids(&server), [open.clone(), id], "it is younger");
    server.retention_ms = Some(1);
    server.crash_and_restart(5000);
    is_removed(&gone);
    assert_eq!(ids(&server), [open]);
}
