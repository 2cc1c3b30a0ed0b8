//! Workflows on the real server and the real workflow-runner, in a world on the loopback address.

use crate::fixtures::{Reply, Runner, World, begin, completed, failed, flow, request, wait_for_event};
use serde_json::{Value, json};
use stigmer_test_support::api::Server;

const AGENT: &[&str] = &["agent"];

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn a_workflow_runs_and_its_journal_tells_of_every_task() {
    let (server, world) = (Server::patient(), World::echo());
    let _runner = Runner::start(&server);
    let spec = flow(json!([
        {"start": {"set": {"n": "${ .n + 1 }"}}},
        {"skip": {"if": ".n > 100", "set": {}}},
        {"fetch": {"call": "http", "with": {"method": "get", "endpoint": format!("{}/x/{{n}}", world.url), "query": {"q": "a b"}}}},
        {"choose": {"switch": [{"here": {"when": ".target != null", "then": "pause"}}]}},
        {"never": {"set": {}}},
        {"pause": {"wait": {"milliseconds": 10}}},
        {"each": {"for": {"in": "[1, 2]"}, "do": [{"add": {"set": "${ . + {($item | tostring): true} }"}}]}}
    ]));
    let id = begin(&server, &spec, &json!({"n": 41}));
    assert_eq!(completed(&server, &id), json!({"target": "/x/42?q=a%20b", "1": true, "2": true}));
    let events = server.get(&format!("/v1/executions/{id}/events"));
    let events = events["events"].as_array().expect("events");
    let done: Vec<&str> = events
        .iter()
        .filter(|event| event["type"] == "task.completed")
        .map(|event| event["task"].as_str().expect("a path"))
        .collect();
    assert_eq!(
        done,
        [
            "/do/0/start",
            "/do/1/skip",
            "/do/2/fetch",
            "/do/3/choose",
            "/do/5/pause",
            "/do/6/each[0]/do/0/add",
            "/do/6/each[1]/do/0/add",
            "/do/6/each"
        ]
    );
    let branch = events.iter().find(|event| event["type"] == "branch").expect("a branch");
    assert_eq!(branch["data"]["case"], "here");
}

#[test]
fn killed_in_the_middle_what_was_done_is_not_done_again() {
    let (server, world) = (Server::brisk(), World::echo());
    let runner = Runner::start(&server);
    let spec = flow(json!([
        {"first": request("post", &world, "/first")},
        {"middle": request("get", &world, "/hold")},
        {"last": request("post", &world, "/last")},
    ]));
    let id = begin(&server, &spec, &json!({}));
    world.wait_for("/hold", 1);
    runner.kill();
    let _next = Runner::start(&server);
    world.wait_for("/hold", 2);
    world.open();
    assert_eq!(completed(&server, &id), json!({"target": "/last"}));
    assert_eq!((world.count("/first"), world.count("/last")), (1, 1));
}

#[test]
fn a_request_that_may_have_arrived_is_not_sent_again_unless_the_workflow_says_so() {
    let (server, world) = (Server::brisk(), World::echo());
    let runner = Runner::start(&server);
    let bare = flow(json!([{"send": request("post", &world, "/hold/bare")}]));
    let safe = flow(json!([{"safe": {"try": [{"send": request("post", &world, "/hold/safe")}],
        "catch": {"retry": {"limit": {"attempt": {"count": 3}}}}}}]));
    let (bare, safe) = (begin(&server, &bare, &json!({})), begin(&server, &safe, &json!({})));
    world.wait_for("/hold/bare", 1);
    world.wait_for("/hold/safe", 1);
    runner.kill();
    let _next = Runner::start(&server);
    world.wait_for("/hold/safe", 2);
    world.open();
    let error = failed(&server, &bare);
    assert_eq!((text(&error, "type"), text(&error, "task")), ("interrupted", "/do/0/send"));
    assert_eq!(world.count("/hold/bare"), 1);
    assert_eq!(completed(&server, &safe), json!({"target": "/hold/safe"}));
}

#[test]
fn a_wait_goes_on_while_nobody_is_there() {
    let (server, world) = (Server::brisk(), World::echo());
    let runner = Runner::start(&server);
    let spec = flow(json!([
        {"first": request("get", &world, "/first")},
        {"wait": {"wait": {"milliseconds": 1500}}},
        {"then": {"set": {"waited": "${ now }"}}},
    ]));
    let id = begin(&server, &spec, &json!({}));
    let set = wait_for_event(&server, &id, "wait.set");
    runner.kill();
    let _next = Runner::start(&server);
    let output = completed(&server, &id);
    let until = set["data"]["until_ms"].as_f64().expect("a time") / 1000.0;
    assert!(output["waited"].as_f64().expect("a time") >= until, "{output} {set}");
    let waits = server.types_of(&id).iter().filter(|kind| *kind == "wait.set").count();
    assert_eq!((waits, world.count("/first")), (1, 1), "it is the same wait");
}

#[test]
fn it_goes_on_when_the_server_is_killed_and_comes_back() {
    let (mut server, world) = (Server::patient(), World::echo());
    let _runner = Runner::start(&server);
    let spec = flow(json!([
        {"first": request("post", &world, "/first")},
        {"middle": request("post", &world, "/hold")},
        {"last": request("post", &world, "/last")},
    ]));
    let id = begin(&server, &spec, &json!({}));
    world.wait_for("/hold", 1);
    server.crash_and_restart(5000);
    world.open();
    assert_eq!(completed(&server, &id), json!({"target": "/last"}));
    for target in ["/first", "/hold", "/last"] {
        assert_eq!(world.count(target), 1, "{target}");
    }
    // And it takes new work from the new server.
    let id = begin(&server, &flow(json!([{"say": {"set": {"a": 1}}}])), &json!({}));
    assert_eq!(completed(&server, &id), json!({"a": 1}));
}

#[test]
fn an_agent_is_asked_once_whatever_happens_to_the_runner() {
    let server = Server::brisk();
    server.agent("hello");
    let runner = Runner::start(&server);
    let spec = flow(json!([
        {"ask": {"call": "agent", "with": {"agent": "hello", "message": "hi ${ .who }"}}},
        {"say": {"set": {"said": "${ .text }", "by": "${ .execution }", "tokens": "${ .usage.output_tokens }"}}},
    ]));
    let id = begin(&server, &spec, &json!({"who": "you"}));
    let worker = server.worker(1);
    let leased = server.lease(&worker, AGENT, 30_000).expect("it is asked");
    let lease = text(&leased, "lease").to_owned();
    let child = text(&leased["execution"], "id").to_owned();
    assert_eq!(
        (&leased["execution"]["message"], &leased["execution"]["parent"]),
        (&json!("hi you"), &json!(id))
    );
    let done = json!({"output": {"text": "hello"},
        "events": [{"n": 1, "type": "usage", "data": {"input_tokens": 1, "output_tokens": 7}}]});
    runner.kill();
    // The agent goes on while nobody is there who has asked it.
    let again = server.types_of(&id).iter().filter(|kind| *kind == "started").count() + 1;
    let next = Runner::start(&server);
    while server.types_of(&id).iter().filter(|kind| *kind == "started").count() < again {
        server.post(&format!("/v1/leases/{lease}/heartbeat"), &json!({}));
    }
    server.post(&format!("/v1/leases/{lease}/complete"), &done);
    assert_eq!(completed(&server, &id), json!({"said": "hello", "by": child, "tokens": 7}));
    drop(next);
    let agents = server.get("/v1/executions?name=hello");
    assert_eq!(agents["executions"].as_array().map(Vec::len), Some(1));
}

#[test]
fn what_an_agent_fails_with_can_be_caught() {
    let server = Server::patient();
    server.agent("hello");
    let _runner = Runner::start(&server);
    let ask = json!({"call": "agent", "with": {"agent": "hello", "message": "hi"}});
    let nobody = json!({"call": "agent", "with": {"agent": "nobody", "message": "hi"}});
    let spec = flow(json!([
        {"safe": {"try": [{"ask": ask}], "catch": {"as": "e", "do": [{"say": {"set": {"why": "${ $e.detail }"}}}]}}},
        {"then": {"try": [{"ask": nobody}], "catch": {"errors": {"with": {"status": 404}}}}},
    ]));
    let id = begin(&server, &spec, &json!({}));
    let worker = server.worker(1);
    let leased = server.lease(&worker, AGENT, 30_000).expect("it is asked");
    let path = format!("/v1/leases/{}/fail", text(&leased, "lease"));
    server.post(&path, &json!({"error": {"type": "provider", "message": "no key"}}));
    let output = completed(&server, &id);
    assert!(text(&output, "why").ends_with("no key"), "{output}");
}

#[test]
fn called_off_it_stops_wherever_it_is() {
    let (server, world) = (Server::patient(), World::echo());
    server.agent("hello");
    let _runner = Runner::start(&server);
    let never = request("post", &world, "/never");
    let wait = flow(json!([{"wait": {"wait": {"days": 1}}}, {"never": never}]));
    let hold = flow(json!([{"hold": request("get", &world, "/hold")}, {"never": never}]));
    let ask = flow(
        json!([{"ask": {"call": "agent", "with": {"agent": "hello", "message": "hi"}}}, {"never": never}]),
    );
    let worker = server.worker(1);
    for (spec, place) in [(wait, "wait"), (hold, "hold"), (ask, "ask")] {
        let id = begin(&server, &spec, &json!({}));
        match place {
            "wait" => drop(wait_for_event(&server, &id, "wait.set")),
            "hold" => world.wait_for("/hold", 1),
            _ => drop(server.lease(&worker, AGENT, 30_000).expect("it is asked")),
        }
        server.post(&format!("/v1/executions/{id}/cancel"), &json!({}));
        assert_eq!(server.end_of(&id)["phase"], "CANCELLED", "{place}");
    }
    assert_eq!(world.count("/never"), 0);
}

#[test]
fn many_run_at_once_and_none_waits_for_another() {
    let (server, world) = (Server::patient(), World::echo());
    let _runner = Runner::start(&server);
    let spec = flow(json!([{"hold": request("get", &world, "/hold")}]));
    let ids: Vec<String> = (0..20).map(|_| begin(&server, &spec, &json!({}))).collect();
    world.wait_for("/hold", 20);
    world.open();
    for id in ids {
        completed(&server, &id);
    }
}

#[test]
fn branches_of_a_fork_are_under_way_at_once_and_continue_after_a_kill() {
    let (server, world) = (Server::brisk(), World::echo());
    let runner = Runner::start(&server);
    let branch = |name: &str| {
        let task = |method, step: &str| request(method, &world, &format!("/{step}/{name}"));
        json!({name: {"do": [{"first": task("post", "first")}, {"hold": task("get", "hold")}, {"last": task("post", "last")}]}})
    };
    let spec = flow(
        json!([{"both": {"fork": {"branches": [branch("a"), branch("b")]}}}, {"then": {"set": {"all": "${ . }"}}}]),
    );
    let id = begin(&server, &spec, &json!({}));
    world.wait_for("/hold/a", 1);
    world.wait_for("/hold/b", 1);
    runner.kill();
    let _next = Runner::start(&server);
    world.wait_for("/hold/a", 2);
    world.wait_for("/hold/b", 2);
    world.open();
    assert_eq!(completed(&server, &id), json!({"all": [{"target": "/last/a"}, {"target": "/last/b"}]}));
    for target in ["/first/a", "/first/b", "/last/a", "/last/b"] {
        assert_eq!(world.count(target), 1, "{target}");
    }
}

#[test]
fn an_agent_that_loses_a_race_is_cancelled() {
    let (server, world) = (Server::patient(), World::echo());
    server.agent("hello");
    let _runner = Runner::start(&server);
    let branches = json!([
        {"ask": {"call": "agent", "with": {"agent": "hello", "message": "hi"}}},
        {"hold": request("get", &world, "/hold")},
    ]);
    let race = json!({"fork": {"compete": true, "branches": branches}});
    // The end of the workflow would cancel the agent as well.
    let spec = flow(json!([{"race": race}, {"wait": {"wait": {"days": 1}}}]));
    let id = begin(&server, &spec, &json!({}));
    let child = server.lease(&server.worker(1), AGENT, 30_000).expect("it is asked");
    world.open();
    assert_eq!(wait_for_event(&server, &id, "branch")["data"]["case"], "hold");
    wait_for_event(&server, text(&child["execution"], "id"), "cancel.requested");
    assert_eq!(server.get(&format!("/v1/executions/{id}"))["phase"], "IN_PROGRESS");
}

#[test]
fn a_runner_that_is_asked_to_end_gives_back_what_it_has() {
    let (server, world) = (Server::patient(), World::echo());
    let spec = flow(json!([
        {"first": request("post", &world, "/first")},
        {"wait": {"wait": "${ {days: .days} }", "input": {"from": "{days: $workflow.input.days}"}}},
    ]));
    let mut runner = Runner::start(&server);
    let id = begin(&server, &spec, &json!({"days": 300}));
    wait_for_event(&server, &id, "wait.set");
    // More often than a workflow may lose its worker.
    for round in 1..=8 {
        assert!(runner.stop().success());
        runner = Runner::start(&server);
        let mut started = server.stream(&id, 0).filter(|event| event["type"] == "started");
        assert!(started.nth(round).is_some());
    }
    assert_eq!(server.get(&format!("/v1/executions/{id}"))["phase"], "IN_PROGRESS");
    assert_eq!(world.count("/first"), 1);
}

#[test]
fn a_request_that_is_under_way_comes_to_its_end_before_the_runner_does() {
    let (server, world) = (Server::patient(), World::echo());
    let runner = Runner::start(&server);
    let spec =
        flow(json!([{"hold": request("post", &world, "/hold")}, {"last": request("post", &world, "/last")}]));
    let id = begin(&server, &spec, &json!({}));
    world.wait_for("/hold", 1);
    let stopping = std::thread::spawn(move || runner.stop());
    // It has heard of it when it takes no more.
    let draining = |server: &Server| {
        let status = server.get("/v1/status");
        status["workers"].as_array().expect("workers").iter().any(|worker| worker["state"] == "draining")
    };
    while !draining(&server) {
        std::thread::yield_now();
    }
    world.open();
    assert!(stopping.join().expect("no panic").success());
    let _next = Runner::start(&server);
    assert_eq!(completed(&server, &id), json!({"target": "/last"}));
    assert_eq!((world.count("/hold"), world.count("/last")), (1, 1));
}

#[test]
fn secrets_reach_the_host_they_are_for_and_are_kept_nowhere() {
    const SECRET: &str = "secret-value-4711";
    let server = Server::patient();
    let world = World::new(|arrived| {
        let said = arrived.headers.get("x-key").cloned().unwrap_or_default();
        Reply::json(&json!({"you said": said, "and": String::from_utf8_lossy(&arrived.body)}))
    });
    let _runner = Runner::told(&server, &json!({"MY_KEY": SECRET, "OTHER": "other-value-4711"}));
    let mut spec = flow(
        json!([{"send": {"call": "http", "with": {"method": "post", "endpoint": format!("{}/a", world.url),
        "headers": {"x-key": "key ${ $secrets.MY_KEY }"}, "body": {"k": "${ $secrets.MY_KEY }"}, "output": "response"}}}]),
    );
    spec["use"] = json!({"secrets": ["MY_KEY"]});
    let id = begin(&server, &spec, &json!({}));
    let output = completed(&server, &id);
    assert_eq!(output["content"]["you said"], "key [redacted MY_KEY]");
    let arrived = &world.arrived()[0];
    assert_eq!(arrived.headers["x-key"], format!("key {SECRET}"));
    assert!(String::from_utf8_lossy(&arrived.body).contains(SECRET));
    let journal = server.get(&format!("/v1/executions/{id}/events")).to_string();
    assert!(!journal.contains("4711") && !output.to_string().contains("4711"), "{journal}");
    // One that nobody has told.
    spec["use"] = json!({"secrets": ["MY_KEY", "NOBODY"]});
    spec["do"][0]["send"]["with"]["body"] = json!("${ $secrets.NOBODY }");
    let error = failed(&server, &begin(&server, &spec, &json!({})));
    assert!(text(&error, "type").ends_with("/authorization"), "{error}");
    assert!(text(&error, "message").contains("NOBODY"), "{error}");
    // The address of a request that fails is not told either.
    spec["do"][0]["send"]["with"] =
        json!({"method": "get", "endpoint": "http://127.0.0.1:9/${ $secrets.MY_KEY }"});
    let error = failed(&server, &begin(&server, &spec, &json!({})));
    assert!(
        text(&error, "type").ends_with("/communication") && !error.to_string().contains("4711"),
        "{error}"
    );
}

#[test]
fn an_answer_is_given_in_the_form_that_was_asked_for() {
    let server = Server::patient();
    let world = World::new(|arrived| match arrived.target.as_str() {
        "/json" => Reply::json(&json!({"a": [1, null]})),
        "/text" => Reply {
            headers: vec![("content-type", "text/plain".to_owned())],
            ..Reply::status(200, "grüße")
        },
        "/bytes" => Reply {
            headers: vec![("content-type", "application/octet-stream".to_owned())],
            ..Reply::status(200, "\0x")
        },
        "/bad" => Reply {
            headers: vec![("content-type", "application/json".to_owned())],
            ..Reply::status(200, "{")
        },
        "/long" => Reply::status(200, &"x".repeat(1024 * 1024 + 1)),
        "/full" => Reply::status(200, &"x".repeat(900_000)),
        "/none" => Reply::status(204, ""),
        "/teapot" => Reply::status(418, "short and stout"),
        _ => Reply::status(404, ""),
    });
    let _runner = Runner::start(&server);
    let call = |target: &str, output: &str| {
        let mut task = request("get", &world, target);
        task["with"]["output"] = json!(output);
        flow(json!([{ "call": task }]))
    };
    for (target, output, given) in [
        ("/json", "content", json!({"a": [1, null]})),
        ("/json", "raw", json!("eyJhIjpbMSxudWxsXX0=")),
        ("/text", "content", json!("grüße")),
        ("/bytes", "content", json!("AHg=")),
        ("/none", "content", Value::Null),
        ("/full", "content", json!("x".repeat(900_000))),
    ] {
        let id = begin(&server, &call(target, output), &json!({}));
        assert_eq!(completed(&server, &id), given, "{target}");
    }
    let whole = completed(&server, &begin(&server, &call("/json", "response"), &json!({})));
    assert_eq!((&whole["statusCode"], &whole["content"]["a"][0]), (&json!(200), &json!(1)));
    assert_eq!(whole["request"]["uri"], format!("{}/json", world.url));
    for (target, words) in
        [("/bad", "JSON"), ("/long", "more than"), ("/teapot", "short and stout"), ("/x", "404")]
    {
        let error = failed(&server, &begin(&server, &call(target, "content"), &json!({})));
        assert!(text(&error, "type").ends_with("/communication"), "{error}");
        assert!(text(&error, "message").contains(words), "{error}");
    }
}

#[test]
fn redirects_are_followed_only_if_the_workflow_says_so_and_without_what_is_for_the_first_host() {
    let server = Server::patient();
    let other = World::echo();
    let elsewhere = other.url.clone();
    let world = World::new(move |arrived| {
        let to = match arrived.target.as_str() {
            "/away" => format!("{elsewhere}/there"),
            "/near" => "/json".to_owned(),
            "/round" => "/round".to_owned(),
            _ => {
                return Reply::json(
                    &json!({"method": arrived.method, "body": String::from_utf8_lossy(&arrived.body)}),
                );
            }
        };
        let status = if arrived.target == "/near" { 307 } else { 302 };
        Reply { headers: vec![("location", to)], ..Reply::status(status, "") }
    });
    let _runner = Runner::start(&server);
    let call = |target: &str, redirect: bool| {
        let mut task = request("post", &world, target);
        task["with"]["redirect"] = json!(redirect);
        task["with"]["body"] = json!({"b": 1});
        task["with"]["headers"] = json!({"x-key": "mine", "accept": "application/json"});
        begin(&server, &flow(json!([{ "call": task }])), &json!({}))
    };
    let error = failed(&server, &call("/near", false));
    assert!(text(&error, "message").contains("307"), "{error}");
    assert_eq!(completed(&server, &call("/near", true)), json!({"method": "POST", "body": "{\"b\":1}"}));
    assert_eq!(world.arrived().last().expect("one").headers["x-key"], "mine");
    assert_eq!(completed(&server, &call("/away", true)), json!({"target": "/there"}));
    let there = &other.arrived()[0];
    assert_eq!(there.method, "GET");
    assert!(!there.headers.contains_key("x-key") && there.headers.contains_key("accept"), "{there:?}");
    let error = failed(&server, &call("/round", true));
    assert!(text(&error, "message").contains("redirects"), "{error}");
}

#[test]
fn a_request_that_takes_too_long_is_given_up() {
    let (server, world) = (Server::patient(), World::echo());
    let _runner = Runner::start(&server);
    let mut hold = request("get", &world, "/hold");
    hold["timeout"] = json!({"after": {"milliseconds": 300}});
    let spec = flow(
        json!([{"safe": {"try": [{"hold": hold}], "catch": {"errors": {"with": {"status": 408}}, "do": [{"late": {"set": {"late": true}}}]}}}]),
    );
    assert_eq!(completed(&server, &begin(&server, &spec, &json!({}))), json!({"late": true}));
}
