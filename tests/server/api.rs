//! The server's interface: what is applied and executed, who does it, and that nothing of it is lost.

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use stigmer_test_support::api::{LIMIT, Server, TOKEN, call};

const AGENT: &[&str] = &["agent"];
const WORKFLOW: &[&str] = &["workflow"];

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn a_resource_is_created_updated_unchanged_listed_and_forgotten() {
    let server = Server::patient();
    for (spec, outcome) in [
        (json!({"instructions": "one"}), "created"),
        (json!({"instructions": "one"}), "unchanged"),
        (json!({"instructions": "two"}), "updated"),
    ] {
        let (status, answer) = server.apply("Agent", "hello", &spec);
        assert_eq!((status, text(&answer, "outcome")), (200, outcome), "{answer}");
    }
    assert_eq!(server.get("/v1/resources/agents/hello")["spec"]["instructions"], "two");
    assert_eq!(server.get("/v1/resources?kind=agent")["resources"].as_array().map(Vec::len), Some(1));
    assert_eq!(server.get("/v1/resources?kind=workflow")["resources"], json!([]));
    assert_eq!(server.call("DELETE", "/v1/resources/agents/hello", None).0, 204);
    for method in ["DELETE", "GET"] {
        let (status, answer) = server.call(method, "/v1/resources/agents/hello", None);
        assert_eq!((status, text(&answer, "error")), (404, "agent `hello` not found"));
    }
}

#[test]
fn what_means_nothing_is_refused_in_words() {
    let server = Server::patient();
    let (status, answer) = server.apply("Agent", "hello", &json!({"instruction": "typo"}));
    assert_eq!(status, 422);
    assert!(text(&answer, "error").contains("instruction"), "{answer}");
    let other =
        json!({"apiVersion": "stigmer.ai/v1", "kind": "Agent", "metadata": {"name": "a"}, "spec": {}});
    assert_eq!(server.call("PUT", "/v1/resources/agents/b", Some(&other)).0, 400);
    assert_eq!(server.call("PUT", "/v1/resources/robots/a", Some(&other)).0, 404);
    server.agent("hello");
    for (body, status, words) in [
        (json!({"name": "nobody", "message": "hi"}), 404, "agent or workflow `nobody` not found"),
        (json!({"name": "hello"}), 400, "needs a message"),
        (json!({"name": "hello", "message": "hi", "session": "s"}), 404, "session `s` not found"),
        (json!({"name": "hello", "mesage": "hi"}), 400, "mesage"),
        (json!({"name": "hello", "message": "hi", "key": ""}), 400, "key"),
    ] {
        let (got, answer) = server.call("POST", "/v1/executions", Some(&body));
        assert_eq!(got, status, "{answer}");
        assert!(text(&answer, "error").contains(words), "{answer}");
    }
    // One byte more than is taken, so that nothing is left unread when the answer comes.
    let address = server.url.strip_prefix("http://").expect("an address");
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(LIMIT)).expect("set");
    let long = vec![b' '; 2 * 1024 * 1024 + 1];
    let head = format!(
        "POST /v1/executions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n\r\n",
        long.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&long)).expect("sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[test]
fn numbers_that_the_database_cannot_hold_are_refused() {
    let server = Server::patient();
    server.agent("hello");
    let id = server.run("hello", "Good morning");
    let path = format!("/v1/executions/{id}/events?after={}", u64::MAX);
    let (status, problem) = server.call("GET", &path, None);
    assert_eq!(status, 400, "{problem}");
    assert!(text(&problem, "detail").contains("9223372036854775807"), "{problem}");
    let leased = server.lease(&server.worker(1), &["agent"], 0).expect("the execution");
    let event = json!({"n": u64::MAX, "type": "note", "data": {"text": "far away"}});
    let path = format!("/v1/leases/{}/heartbeat", text(&leased, "lease"));
    let (status, problem) = server.call("POST", &path, Some(&json!({"events": [event]})));
    assert!((400..500).contains(&status), "{status} {problem}");
    // Nothing of it was kept, and the lease goes on.
    assert_eq!(server.types_of(&id), ["created", "started"]);
    assert_eq!(server.call("POST", &path, Some(&json!({}))).0, 200);
}

#[test]
fn nothing_is_done_without_the_token_and_the_description_is_served() {
    let server = Server::patient();
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    for path in ["/v1/executions", "/v1/resources", "/openapi.json"] {
        let answer = agent.get(format!("{}{path}", server.url)).call().expect("answered");
        assert_eq!(answer.status().as_u16(), 401, "{path}");
    }
    assert_eq!(server.get("/openapi.json")["openapi"], "3.1.0");
}

#[test]
fn an_agent_is_executed_by_a_worker_and_streamed_to_all_who_watch() {
    let server = Server::patient();
    server.agent("hello");
    let worker = server.worker(1);
    assert_eq!(server.lease(&worker, AGENT, 0), None);
    // The worker waits first, the work comes second.
    let (id, leased) = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.lease(&worker, AGENT, 30_000));
        let id = server.run("hello", "hi");
        (id, waiting.join().expect("no panic").expect("it is given"))
    });
    assert_eq!(text(&leased["execution"], "id"), id);
    assert_eq!(leased["execution"]["message"], "hi");
    let lease = text(&leased, "lease");
    let seen: Vec<Vec<Value>> = std::thread::scope(|scope| {
        let watchers: Vec<_> = [0, 0, 1, 2]
            .map(|after| {
                scope.spawn({
                    let (server, id) = (&server, &id);
                    move || server.stream(id, after).collect()
                })
            })
            .into();
        for n in 1..=50 {
            let data = json!({"message": "m", "text": format!("word {n} ")});
            let events = json!({"events": [{"n": n, "type": "message.delta", "data": data}]});
            let answer = server.post(&format!("/v1/leases/{lease}/heartbeat"), &events);
            assert_eq!(answer, json!({"cancel": false, "last_n": n}));
            // Sent twice, it happened once.
            server.post(&format!("/v1/leases/{lease}/heartbeat"), &events);
        }
        let end = json!({
            "events": [{"n": 51, "type": "usage", "data": {"input_tokens": 3, "output_tokens": 50}}],
            "output": {"text": "done"}
        });
        server.post(&format!("/v1/leases/{lease}/complete"), &end);
        watchers.into_iter().map(|watcher| watcher.join().expect("no panic")).collect()
    });
    for (events, after) in seen.iter().zip([0, 0, 1, 2_u64]) {
        let places: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().expect("a place")).collect();
        assert_eq!(places, (after + 1..=54).collect::<Vec<_>>(), "each event once, in order");
        assert_eq!(events.last().expect("the end")["type"], "completed");
    }
    let execution = server.end_of(&id);
    assert_eq!(execution["output"]["text"], "done");
    assert_eq!(execution["usage"], json!({"input_tokens": 3, "output_tokens": 50}));
    // Afterwards it is all still there, and nothing can be added.
    assert_eq!(server.stream(&id, 0).count(), 54);
    assert_eq!(server.call("POST", &format!("/v1/leases/{lease}/heartbeat"), Some(&json!({}))).0, 410);
    assert_eq!(server.call("POST", &format!("/v1/executions/{id}/cancel"), Some(&json!({}))).0, 409);
}

#[test]
fn the_same_key_is_the_same_execution() {
    let server = Server::patient();
    server.agent("hello");
    let body = json!({"name": "hello", "message": "hi", "key": "k"});
    let first = server.call("POST", "/v1/executions", Some(&body));
    let second = server.call("POST", "/v1/executions", Some(&body));
    assert_eq!((first.0, second.0), (201, 200));
    assert_eq!(first.1["id"], second.1["id"]);
}

#[test]
fn what_a_lost_worker_had_is_interrupted_or_given_to_another() {
    let server = Server::start();
    server.agent("hello");
    let flow = json!({"document": {"dsl": "1.0.0", "namespace": "n", "name": "flow", "version": "1.0.0"},
        "do": [{"one": {"set": {"a": 1}}}]});
    assert_eq!(server.apply("Workflow", "flow", &flow).0, 200);
    let (agent_run, flow_run) = (server.run("hello", "hi"), {
        let execution = server.post("/v1/executions", &json!({"name": "flow", "input": {"x": 1}}));
        text(&execution, "id").to_owned()
    });
    let worker = server.worker(1);
    let agents = server.lease(&worker, AGENT, 0).expect("work");
    server.lease(&worker, WORKFLOW, 0).expect("work");
    // It is not heard of any more.
    let interrupted = server.end_of(&agent_run);
    assert_eq!(interrupted["error"]["type"], "interrupted", "{interrupted}");
    assert!(text(&interrupted["error"], "hint").contains("execution resume"), "{interrupted}");
    let again = server.worker(2);
    let flow_again = server.lease(&again, WORKFLOW, 30_000).expect("it is given again");
    assert_eq!(text(&flow_again["execution"], "id"), flow_run);
    assert_eq!(flow_again["execution"]["attempt"], 2);
    let late = json!({"output": {"text": "too late"}});
    let path = format!("/v1/leases/{}/complete", text(&agents, "lease"));
    assert_eq!(server.call("POST", &path, Some(&late)).0, 410);
    // On request, and only then, the agent is asked again.
    let resumed = server.post(&format!("/v1/executions/{agent_run}/resume"), &json!({}));
    assert_eq!(resumed["resumes"], agent_run.as_str());
    assert_eq!(resumed["session"], interrupted["session"]);
    assert_eq!(server.call("POST", &format!("/v1/executions/{flow_run}/resume"), Some(&json!({}))).0, 409);
}

#[test]
fn a_worker_that_says_goodbye_gives_back_what_it_holds_at_once() {
    let server = Server::patient();
    server.agent("hello");
    let id = server.run("hello", "hi");
    let worker = server.worker(1);
    server.lease(&worker, AGENT, 0).expect("work");
    assert_eq!(server.call("DELETE", &format!("/v1/workers/{worker}"), None).0, 204);
    assert_eq!(server.end_of(&id)["error"]["type"], "interrupted");
}

#[test]
fn calling_off_reaches_the_worker_and_what_was_called() {
    let server = Server::patient();
    server.agent("hello");
    let flow = json!({"document": {"dsl": "1.0.0", "namespace": "n", "name": "flow", "version": "1.0.0"},
        "do": [{"one": {"set": {"a": 1}}}]});
    server.apply("Workflow", "flow", &flow);
    let worker = server.worker(1);
    let pending = server.run("hello", "never begun");
    server.post(&format!("/v1/executions/{pending}/cancel"), &json!({}));
    assert_eq!(server.end_of(&pending)["phase"], "CANCELLED", "nobody had it");

    let parent = server.post("/v1/executions", &json!({"name": "flow"}));
    let parent = text(&parent, "id").to_owned();
    let leased = server.lease(&worker, WORKFLOW, 0).expect("work");
    let lease = text(&leased, "lease");
    let ask = json!({"task": "/do/0/one", "agent": "hello", "message": "hi"});
    let child = server.call("POST", &format!("/v1/leases/{lease}/children"), Some(&ask));
    let same = server.call("POST", &format!("/v1/leases/{lease}/children"), Some(&ask));
    assert_eq!((child.0, same.0, &child.1["id"]), (201, 200, &same.1["id"]));
    let child_lease = server.lease(&worker, AGENT, 0).expect("work");
    server.post(&format!("/v1/executions/{parent}/cancel"), &json!({}));
    for lease in [lease, text(&child_lease, "lease")] {
        let heard = server.post(&format!("/v1/leases/{lease}/heartbeat"), &json!({}));
        assert_eq!(heard["cancel"], true);
        server.post(&format!("/v1/leases/{lease}/cancelled"), &json!({}));
    }
    assert_eq!(server.end_of(&parent)["phase"], "CANCELLED");
    assert_eq!(server.end_of(text(&child.1, "id"))["phase"], "CANCELLED");
}

#[test]
fn what_was_answered_survives_a_kill() {
    let mut server = Server::patient();
    server.agent("hello");
    let id = server.run("hello", "hi");
    let worker = server.worker(1);
    let leased = server.lease(&worker, AGENT, 0).expect("work");
    let lease = text(&leased, "lease").to_owned();
    let event = |n: u64| json!({"events": [{"n": n, "type": "note", "data": {"text": n.to_string()}}]});
    server.post(&format!("/v1/leases/{lease}/heartbeat"), &event(1));
    let before = server.types_of(&id);
    server.crash_and_restart(5000);
    assert_eq!(server.types_of(&id), before);
    // The worker goes on where it was, though the server does not know it.
    let answer = server.post(&format!("/v1/leases/{lease}/heartbeat"), &event(2));
    assert_eq!(answer["last_n"], 2);
    server.post(&format!("/v1/leases/{lease}/complete"), &json!({"output": {"text": "done"}}));
    assert_eq!(server.end_of(&id)["output"]["text"], "done");
}

#[test]
fn a_lease_that_nobody_takes_up_after_a_restart_is_over() {
    let mut server = Server::patient();
    server.agent("hello");
    let id = server.run("hello", "hi");
    let worker = server.worker(1);
    server.lease(&worker, AGENT, 0).expect("work");
    server.crash_and_restart(stigmer_test_support::api::HEARTBEAT_MS);
    assert_eq!(server.end_of(&id)["error"]["type"], "interrupted");
}

#[test]
fn executions_are_listed_by_phase_name_and_page() {
    let server = Server::patient();
    server.agent("hello");
    server.agent("other");
    let ids: Vec<String> = (0..5).map(|n| server.run("hello", &format!("message {n}"))).collect();
    server.run("other", "hi");
    let listed = |query: &str| -> Vec<String> {
        let page = server.get(&format!("/v1/executions?{query}"));
        let page = page["executions"].as_array().expect("executions").clone();
        page.iter().map(|one| text(one, "id").to_owned()).collect()
    };
    let newest_first: Vec<String> = ids.iter().rev().cloned().collect();
    assert_eq!(listed("name=hello"), newest_first);
    assert_eq!(listed("name=hello&limit=2"), newest_first[..2]);
    assert_eq!(listed(&format!("name=hello&limit=2&before={}", newest_first[1])), newest_first[2..4]);
    assert_eq!(listed("phase=COMPLETED"), [""; 0]);
    assert_eq!(listed("phase=PENDING").len(), 6);
    assert_eq!(call(&server.url, "GET", "/v1/executions?phase=DONE", None).0, 400);
}

#[test]
fn many_at_once_are_all_kept_and_each_is_done_once() {
    let server = Server::patient();
    server.agent("hello");
    let count = 60;
    std::thread::scope(|scope| {
        for pid in 1..=4 {
            let server = &server;
            scope.spawn(move || {
                let worker = server.worker(pid);
                while let Some(leased) = server.lease(&worker, AGENT, 3000) {
                    let path = format!("/v1/leases/{}/complete", text(&leased, "lease"));
                    server.post(&path, &json!({"output": {"text": leased["execution"]["message"]}}));
                }
            });
        }
        for n in 0..count {
            server.run("hello", &n.to_string());
        }
    });
    let all = server.get("/v1/executions?limit=1000&phase=COMPLETED");
    let mut said: Vec<u64> = all["executions"]
        .as_array()
        .expect("executions")
        .iter()
        .map(|one| {
            assert_eq!(one["attempt"], 1);
            assert_eq!(one["message"], one["output"]["text"]);
            text(one, "message").parse().expect("a number")
        })
        .collect();
    said.sort_unstable();
    assert_eq!(said, (0..count).collect::<Vec<_>>());
}

#[test]
fn suspended_execution_wakes_at_its_time_also_after_a_restart() {
    let mut server = Server::patient();
    server.apply("Workflow", "waiting", &json!({"document": {"dsl": "1.0.0", "namespace": "n", "name": "waiting", "version": "1.0.0"}, "do": [{"a": {"set": {"x": 1}}}]}));
    let made = server.post("/v1/executions", &json!({"name": "waiting"}));
    let id = text(&made, "id").to_owned();
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    let now = u64::try_from(since.as_millis()).expect("a time");
    // It is over before the server is asked, soon, and while the server is away.
    for (in_ms, is_killed) in [(0, false), (300, false), (500, true)] {
        let worker = server.worker(1);
        let leased = server.lease(&worker, WORKFLOW, 20_000).expect("it has woken");
        let path = format!("/v1/leases/{}/suspend", text(&leased, "lease"));
        let (status, answer) = server.call("POST", &path, Some(&json!({"wake_at_ms": now + in_ms})));
        assert_eq!(status, 204, "{answer}");
        let waiting = server.get(&format!("/v1/executions/{id}"));
        assert_eq!((text(&waiting, "phase"), waiting["waiting_until"].is_string()), ("IN_PROGRESS", true));
        assert_eq!(server.call("POST", &path, Some(&json!({}))).0, 410, "the lease is over");
        if is_killed {
            server.crash_and_restart(5000);
        }
    }
    let worker = server.worker(1);
    let leased = server.post(
        &format!("/v1/workers/{worker}/lease"),
        &json!({"kinds": WORKFLOW, "wait_ms": 20_000, "max": 9}),
    );
    assert_eq!(leased["leases"].as_array().map(Vec::len), Some(1));
    assert_eq!(leased["leases"][0]["execution"]["attempt"], 4);
    let path = format!("/v1/leases/{}/complete", text(&leased["leases"][0], "lease"));
    let note = json!({"n": 1, "type": "note", "data": {"text": "x"}});
    server.post(&path, &json!({"events": [note], "output": 7}));
    assert_eq!(server.end_of(&id)["output"], 7);
    assert_eq!(server.types_of(&id)[8..], ["note", "completed"]);
}
