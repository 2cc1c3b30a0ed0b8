//! Scenarios of branches that run at the same time.

use super::memory::Memory;
use super::scenarios::{Expectation, Scenario, after, fails, get, gives, scenario};
use super::world::{Answer, BEGIN, World};
use super::{Bench, Came};
use serde_json::{Value, json};
use stigmer::workflow::interpreter::End;

fn wait(seconds: u64) -> Value {
    json!({"wait": {"seconds": seconds}})
}

fn fork(compete: bool, branches: Value) -> Value {
    let mut fork = json!({"fork": {"compete": compete}});
    fork["fork"]["branches"] = branches;
    fork
}

fn ask(n: u64) -> Value {
    json!({"call": "agent", "with": {"agent": "hello", "message": format!("number {n}")}, "output": {"as": ".text? // ."}})
}

/// The workflow returns `output`, and the calls were made in any order. A request that was under way in a crash may have been repeated.
fn gives_in_any_order(output: Value, calls: &[&str]) -> Expectation {
    let mut calls: Vec<String> = calls.iter().map(|call| (*call).to_owned()).collect();
    calls.sort();
    Box::new(move |came, world, how| {
        assert_eq!(*came, Came::To(End::Completed(output.clone())), "{how}");
        let mut made = world.calls();
        made.sort();
        made.dedup();
        assert_eq!(made, calls, "{how}");
    })
}

fn ok(value: Value) -> Vec<Answer> {
    vec![Answer::Ok(value)]
}

pub(crate) fn forks() -> Vec<Scenario> {
    let mut all = branches();
    all.extend(races());
    all.extend(failures());
    all.extend(ends());
    all
}

fn branches() -> Vec<Scenario> {
    vec![
        scenario(
            "the outputs of all branches, in declared order",
            json!([{"all": fork(false, json!([
                {"a": get("a")},
                {"b": {"do": [{"get": get("b")}, {"say": {"set": {"b": "${ . }"}}}]}},
                {"c": {"set": {"n": "${ .n }"}}},
                {"d": {"if": "false", "set": {}}}
            ])), }, {"then": {"set": {"all": "${ .[:3] }", "skipped": "${ .[3].n }"}}}]),
            vec![("a", ok(json!(1))), ("b", ok(json!(2)))],
            gives_in_any_order(json!({"all": [1, {"b": 2}, {"n": 2}], "skipped": 2}), &["GET a", "GET b"]),
        ),
        scenario(
            "branches wait at the same time",
            json!([{"all": fork(false, json!([
                {"a": {"do": [{"one": wait(3)}, {"two": wait(3)}, {"say": {"set": {"a": "${ now }"}}}]}},
                {"b": {"do": [{"one": wait(5)}, {"say": {"set": {"b": "${ now }"}}}]}},
            ]))}, {"then": {"set": "${ {later: (.[0].a - .[1].b)} }"}}]),
            vec![],
            after(6000, gives(json!({"later": 1}), &[])),
        ),
        scenario(
            "branches ask at the same time",
            json!([{"all": fork(false, json!([{"a": get("a")}, {"b": get("b")}, {"c": wait(1)}])), }, {"then": {"set": {"first": "${ .[0] }"}}}]),
            vec![("a", vec![Answer::Slow(7000)]), ("b", vec![Answer::Slow(5000)])],
            // A crash in the middle costs time: `requests_of_branches_take_no_longer_than_the_slowest` checks an undisturbed run.
            gives_in_any_order(json!({"first": "at last"}), &["GET a", "GET b"]),
        ),
        scenario(
            "each branch has its own variables, and the context of all goes on",
            json!([
                {"start": {"set": {"n": 1}, "export": {"as": "{base: 1, gone: true}"}}},
                {"all": fork(false, json!([
                    {"a": {"do": [
                        {"one": {"set": {"v": 1}, "export": {"as": "$context + {a: .v} | del(.gone)"}}},
                        {"wait": wait(2)},
                        {"two": {"set": {"seen": "${ $context }"}}}
                    ]}},
                    {"b": {"do": [{"wait": wait(1)}, {"one": {"set": {"v": 2}, "export": {"as": "$context + {b: .v}"}}}, {"two": {"set": {"seen": "${ $context }"}}}]}}
                ]))},
                {"then": {"set": {"seen": "${ map(.seen) }", "context": "${ $context }", "name": "${ $task.name }"}}},
            ]),
            vec![],
            gives(
                json!({"seen": [{"base": 1, "a": 1}, {"base": 1, "gone": true, "b": 2}],
                    "context": {"base": 1, "a": 1, "b": 2}, "name": "then"}),
                &[],
            ),
        ),
        scenario(
            "a fork in a fork in a loop",
            json!([{"each": {"for": {"each": "x", "in": "[1, 2]"}, "do": [{"all": fork(false, json!([
                {"a": {"set": {"x": "${ $x }"}}},
                {"b": fork(false, json!([{"c": {"call": "agent", "with": {"agent": "hello", "message": "${ \"number \\($x)\" }"}, "output": {"as": ".text"}}}, {"d": {"set": {"d": "${ $x * 10 }"}}}]))},
            ]))}]}}]),
            vec![("hello", ok(json!("hi")))],
            gives(
                json!([{"x": 2}, ["hi", {"d": 20}]]),
                &["hello is asked: number 1", "hello is asked: number 2"],
            ),
        ),
    ]
}

fn races() -> Vec<Scenario> {
    let quick = json!({"do": [{"wait": wait(2)}, {"say": {"set": {"by": "quick"}}}]});
    vec![
        scenario(
            "the first branch that completes wins, and the others do nothing more",
            json!([{"race": fork(true, json!([{"slow": {"do": [{"wait": wait(9)}, {"never": get("never")}]}}, {"quick": quick}]))},
                {"then": {"set": "${ . + {then: true} }"}}]),
            vec![],
            after(2000, gives(json!({"by": "quick", "then": true}), &[])),
        ),
        scenario(
            "a request that loses a race",
            json!([{"race": fork(true, json!([{"slow": get("slow")}, {"quick": quick}]))}]),
            vec![("slow", vec![Answer::Slow(9000)])],
            gives_in_any_order(json!({"by": "quick"}), &["GET slow"]),
        ),
        scenario(
            "an agent that loses a race is not asked again",
            json!([{"race": fork(true, json!([{"slow": ask(1)}, {"quick": quick}]))}, {"again": ask(2)}]),
            vec![("hello", vec![Answer::Slow(9000)])],
            Box::new(|came, world, how| {
                assert!(matches!(came, Came::To(End::Completed(_))), "{how}: {came:?}");
                assert_eq!(
                    world.calls().last().map(String::as_str),
                    Some("hello is asked: number 2"),
                    "{how}"
                );
            }),
        ),
        scenario(
            "the context of the winner goes on",
            json!([{"race": fork(true, json!([
                {"a": {"do": [{"wait": wait(2)}, {"say": {"set": {"by": "a"}, "export": {"as": "{a: true}"}}}]}},
                {"b": {"do": [{"say": {"set": {"by": "b"}, "export": {"as": "{b: true}"}}}, {"wait": wait(3)}]}},
            ]))}, {"then": {"set": {"by": "${ .by }", "context": "${ $context }"}}}]),
            vec![],
            gives(json!({"by": "a", "context": {"a": true}}), &[]),
        ),
        scenario(
            "of branches that complete at once the first one wins",
            json!([{"race": fork(true, json!([{"a": {"set": {"by": "a"}}}, {"b": {"set": {"by": "b"}}}]))}]),
            vec![],
            gives(json!({"by": "a"}), &[]),
        ),
    ]
}

fn failures() -> Vec<Scenario> {
    let raise = |status: u64| json!({"raise": {"error": {"type": "https://x/broken", "status": status, "title": "broke"}}});
    let late = |seconds: u64, task: Value| json!({"do": [{"wait": wait(seconds)}, {"then": task}]});
    vec![
        scenario(
            "an error in one branch ends the others",
            json!([{"all": fork(false, json!([{"a": late(9, get("never"))}, {"b": late(1, raise(418))}, {"c": late(2, raise(500))}]))}]),
            vec![],
            after(1000, fails("/broken", 418, "/do/0/all/fork/branches/1/b/do/1/then", &[])),
        ),
        scenario(
            "an error in a race ends it",
            json!([{"all": fork(true, json!([{"a": late(9, get("never"))}, {"b": late(1, raise(418))}]))}]),
            vec![],
            after(1000, fails("/broken", 418, "/do/0/all/fork/branches/1/b/do/1/then", &[])),
        ),
        scenario(
            "an error that a branch catches is none of the fork",
            json!([{"all": fork(false, json!([
                {"a": {"try": [{"bad": late(1, raise(418))}], "catch": {"as": "e", "do": [{"say": {"set": {"status": "${ $e.status }"}}}]}}},
                {"b": late(2, json!({"set": {"b": 1}}))}
            ]))}]),
            vec![],
            after(2000, gives(json!([{"status": 418}, {"b": 1}]), &[])),
        ),
        scenario(
            "an error of a fork is caught around it, and the fork retried",
            json!([{"safe": {"try": [{"all": fork(false, json!([{"a": get("a")}, {"b": {"set": {"b": 1}}}]))}],
                "catch": {"retry": {"delay": {"seconds": 1}, "limit": {"attempt": {"count": 1}}}}}}]),
            vec![("a", vec![Answer::Status(503), Answer::Ok(json!("good"))])],
            after(1000, gives(json!(["good", {"b": 1}]), &["GET a", "GET a"])),
        ),
        scenario(
            "a deadline around a fork",
            json!([{"safe": {"try": [{"all": {
                    "fork": {"branches": [{"a": late(9, get("never"))}, {"b": wait(1)}, {"c": {"do": [{"in": {"wait": {"seconds": 8}}}]}}]},
                    "timeout": {"after": {"seconds": 3}}}}],
                "catch": {"errors": {"with": {"status": 408}}, "as": "e", "do": [{"say": {"set": {"at": "${ $e.instance }"}}}]}}}]),
            vec![],
            after(3000, gives(json!({"at": "/do/0/safe/try/0/all"}), &[])),
        ),
        scenario(
            "a deadline in a branch",
            json!([{"all": fork(false, json!([
                {"a": {"try": [{"in": {"wait": {"seconds": 9}, "timeout": {"after": {"seconds": 2}}}}], "catch": {"do": [{"say": {"set": {"late": true}}}]}}},
                {"b": late(4, json!({"set": {"b": 1}}))}
            ]))}]),
            vec![],
            after(4000, gives(json!([{"late": true}, {"b": 1}]), &[])),
        ),
    ]
}

fn ends() -> Vec<Scenario> {
    let mut end = scenario(
        "end in a branch ends the workflow, with what this task exports",
        json!([{"all": fork(false, json!([
            {"a": {"do": [{"wait": wait(9)}, {"never": get("never")}]}},
            {"b": {"do": [{"wait": wait(1)}, {"last": {"set": {"x": 1, "y": 2}, "output": {"as": "{x}"}, "export": {"as": "{seen: .x}"}, "then": "end"}}]}},
        ]))}, {"never": get("never")}]),
        vec![],
        after(1000, gives(json!({"x": 1, "seen": 1}), &[])),
    );
    end.spec["output"] = json!({"as": ". + $context"});
    vec![
        end,
        scenario(
            "exit in a branch ends that branch",
            json!([{"all": fork(false, json!([
                {"a": {"do": [{"out": {"set": {"a": 1}, "then": "exit"}}, {"never": get("never")}]}},
                {"b": {"set": {"b": 1}, "then": "exit"}},
                {"c": {"do": [{"ask": ask(1)}]}},
            ])), }, {"then": {"set": "${ {all: .} }"}}]),
            vec![("hello", ok(json!("hi")))],
            gives(json!({"all": [{"a": 1}, {"b": 1}, "hi"]}), &["hello is asked: number 1"]),
        ),
    ]
}

#[test]
fn requests_of_branches_take_no_longer_than_the_slowest() {
    let name = "branches ask at the same time";
    let scenario = forks().into_iter().find(|scenario| scenario.name == name).expect("a scenario");
    let world = World::new(&scenario);
    Memory::default().run(&scenario.spec, &scenario.input, &world);
    assert_eq!(world.now() - BEGIN, 7000);
}

/// Branches are polled in their declared order, so the journal of an undisturbed run is always the same.
#[test]
fn a_fork_journals_in_the_same_order_on_every_run() {
    for scenario in forks() {
        let journal = || {
            let mut bench = Memory::default();
            bench.run(&scenario.spec, &scenario.input, &World::new(&scenario));
            bench.journal()
        };
        assert_eq!(journal(), journal(), "{}", scenario.name);
    }
    let tasks = json!([{"all": fork(false, json!([{"c": get("c")}, {"a": get("a")}, {"b": get("b")}]))}]);
    let answers = ["a", "b", "c"].map(|name| (name, ok(json!(name)))).to_vec();
    let scenario = scenario("order", tasks, answers, gives(json!(["c", "a", "b"]), &[]));
    let mut bench = Memory::default();
    let world = World::new(&scenario);
    bench.run(&scenario.spec, &scenario.input, &world);
    assert_eq!(world.calls(), ["GET c", "GET a", "GET b"]);
    let journal = bench.journal();
    let started = journal.iter().filter(|entry| entry.kind == "task.started");
    let started: Vec<&str> = started.filter_map(|entry| entry.task.as_deref()).collect();
    assert_eq!(
        started,
        [
            "/do/0/all",
            "/do/0/all/fork/branches/0/c",
            "/do/0/all/fork/branches/1/a",
            "/do/0/all/fork/branches/2/b"
        ]
    );
}
