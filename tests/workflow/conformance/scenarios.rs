//! What there is to a workflow, one scenario for each.

use super::Came;
use super::world::{Answer, Answers, BEGIN, World};
use serde_json::{Value, json};
use stigmer::workflow::interpreter::End;

/// A workflow, its world, and what has to come of it.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) spec: Value,
    pub(crate) input: Value,
    pub(crate) answers: Answers,
    pub(crate) expect: Expectation,
}

impl Scenario {
    /// Whether time passes in it.
    pub(crate) fn takes_time(&self) -> bool {
        let spec = self.spec.to_string();
        ["\"wait\"", "\"delay\"", "\"duration\"", "\"timeout\"", "\"PT1S\""]
            .iter()
            .any(|word| spec.contains(word))
    }
}

/// Looks at what came of a workflow, and at the world afterwards.
pub(crate) type Expectation = Box<dyn Fn(&Came, &World, &str)>;

pub(crate) fn flow(tasks: Value) -> Value {
    let mut spec =
        json!({"document": {"dsl": "1.0.0", "namespace": "test", "name": "flow", "version": "1.0.0"}});
    spec["do"] = tasks;
    spec
}

pub(crate) fn get(address: &str) -> Value {
    json!({"call": "http", "with": {"method": "get", "endpoint": format!("http://world/{address}")}})
}

fn get_with_version() -> Value {
    let query = json!({"version": "${ $runtime.version }"});
    json!({"call": "http", "with": {"method": "get", "endpoint": "http://world/a", "query": query}})
}

/// It comes to `output`, and `calls` were made.
pub(crate) fn gives(output: Value, calls: &[&str]) -> Expectation {
    let calls: Vec<String> = calls.iter().map(|call| (*call).to_owned()).collect();
    Box::new(move |came, world, how| {
        assert_eq!(*came, Came::To(End::Completed(output.clone())), "{how}");
        assert_eq!(world.calls(), calls, "{how}");
    })
}

/// It fails in `task` with an error of a type that ends in `kind`, and `calls` were made.
pub(crate) fn fails(kind: &'static str, status: u64, at: &'static str, calls: &[&str]) -> Expectation {
    let calls: Vec<String> = calls.iter().map(|call| (*call).to_owned()).collect();
    Box::new(move |came, world, how| {
        let Came::To(End::Failed { fault, task }) = came else { panic!("{how}: {came:?}") };
        assert!(fault.kind.ends_with(kind), "{how}: {fault:?}");
        assert_eq!((fault.status, task.as_deref()), (status, Some(at)), "{how}: {fault:?}");
        assert_eq!(world.calls(), calls, "{how}");
    })
}

/// As another one, and so much time has passed.
pub(crate) fn after(millis: u64, other: Expectation) -> Expectation {
    Box::new(move |came, world, how| {
        other(came, world, how);
        assert_eq!(world.now() - BEGIN, millis, "{how}");
    })
}

pub(crate) fn scenario(name: &'static str, tasks: Value, answers: Answers, expect: Expectation) -> Scenario {
    Scenario { name, spec: flow(tasks), input: json!({"n": 2, "pets": ["a", "b", "c"]}), answers, expect }
}

pub(crate) fn one_request(method: &str) -> Scenario {
    let mut call = get("x");
    call["with"]["method"] = json!(method);
    let answers = vec![("x", vec![Answer::Ok(json!(1))])];
    scenario("one request", json!([{ "call": call }]), answers, Box::new(|_, _, _| ()))
}

pub(crate) fn one_request_with_retry(method: &str) -> Scenario {
    let mut one = one_request(method);
    let call = one.spec["do"][0].clone();
    one.spec["do"] =
        json!([{"safe": {"try": [call], "catch": {"retry": {"limit": {"attempt": {"count": 1}}}}}}]);
    one
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut all = data();
    all.extend(ways());
    all.extend(loops());
    all.extend(errors());
    all.extend(retries());
    all.extend(time());
    all.extend(calls());
    all.extend(super::forks::forks());
    all
}

fn data() -> Vec<Scenario> {
    let mut whole = scenario(
        "what goes from task to task",
        json!([
            {"first": {"set": {"a": "${ .n + 1 }", "text": "n is ${ .n }, ${ .pets[0] }!"}, "export": {"as": "$context + {kept: .a}"}}},
            {"second": {"input": {"from": ".a"}, "set": {"b": "${ $input * 2 }", "whole": "${ . }"}, "output": {"as": "{c: .b, out: $input}"}}},
            {"third": {"set": "${ . + {context: $context, task: $task.name, at: $task.reference, workflow: $workflow.input.n, id: ($workflow.id | type), by: $runtime.name} }"}},
        ]),
        vec![],
        gives(
            json!({"result": {"c": 6, "out": 3, "context": {"kept": 3}, "task": "third", "at": "/do/2/third",
                "workflow": 7, "id": "string", "by": "stigmer"}}),
            &[],
        ),
    );
    whole.spec["input"] = json!({"from": "{n: 2, pets}"});
    whole.spec["output"] = json!({"as": {"result": "${ . }"}});
    whole.input = json!({"n": 7, "pets": ["a"]});
    vec![
        whole,
        scenario(
            "a task that is passed over",
            json!([
                {"no": {"if": ".n > 5", "set": {"no": true}, "then": "end"}},
                {"yes": {"if": "${ .n < 5 }", "set": {"yes": "${ .n }"}}},
            ]),
            vec![],
            gives(json!({"yes": 2}), &[]),
        ),
        scenario(
            "the time is the journal's",
            json!([
                {"first": {"set": {"first": "${ now }"}, "export": {"as": "."}}},
                {"wait": {"wait": {"seconds": 5}}},
                {"say": {"set": {"first": "${ $context.first }", "now": "${ now }", "task": "${ $task.startedAt.iso8601 }", "workflow": "${ $workflow.startedAt.epoch.milliseconds }"}}},
            ]),
            vec![],
            gives(
                json!({"first": BEGIN / 1000, "now": BEGIN / 1000 + 5, "task": "2026-01-01T00:00:05.000Z", "workflow": BEGIN}),
                &[],
            ),
        ),
        scenario(
            "the version of the runtime is that of the beginning",
            json!([{"first": get_with_version()}, {"second": get_with_version()}]),
            vec![("a", vec![Answer::Ok(json!(1))])],
            // A request that was under way in a crash may have been repeated.
            Box::new(|came, world, how| {
                assert_eq!(*came, Came::To(End::Completed(json!(1))), "{how}");
                let calls = world.calls();
                assert!(calls.len() >= 2 && calls[0].starts_with("GET a?version="), "{how}: {calls:?}");
                assert!(calls.iter().all(|call| *call == calls[0]), "{how}: {calls:?}");
            }),
        ),
        scenario(
            "an expression that fails",
            json!([{"bad": {"do": [{"in": {"set": {"a": "${ .n | keys }"}}}]}}]),
            vec![],
            fails("expression", 400, "/do/0/bad/do/0/in", &[]),
        ),
    ]
}

fn ways() -> Vec<Scenario> {
    vec![
        scenario(
            "a switch takes the first case that applies",
            json!([
                {"choose": {"switch": [{"one": {"when": ".n == 1", "then": "a"}}, {"two": {"when": ".n == 2", "then": "b"}}, {"else": {"then": "end"}}]}},
                {"a": {"set": {"at": "a"}, "then": "end"}},
                {"b": {"set": {"at": "b"}, "then": "exit"}},
                {"c": {"set": {"at": "c"}}},
            ]),
            vec![],
            gives(json!({"at": "b"}), &[]),
        ),
        scenario(
            "a switch without a case that applies goes on",
            json!([{"choose": {"switch": [{"one": {"when": ".n == 1", "then": "end"}}], "then": "b"}}, {"a": {"set": {}}}, {"b": {"set": {"at": "b"}}}]),
            vec![],
            gives(json!({"at": "b"}), &[]),
        ),
        scenario(
            "nested lists: exit leaves one, end leaves all",
            json!([
                {"outer": {"do": [
                    {"inner": {"do": [{"get": get("a")}, {"out": {"set": {"n": 1}, "then": "exit"}}, {"never": get("never")}]}},
                    {"more": {"set": "${ . + {m: 2} }"}},
                ], "output": {"as": ". + {o: 3}"}}},
                {"then": {"do": [{"in": {"do": [{"last": {"set": "${ . + {last: true} }", "then": "end"}}]}}, {"never": get("never")}]}},
                {"never": get("never")},
            ]),
            vec![("a", vec![Answer::Ok(json!(1))])],
            gives(json!({"n": 1, "m": 2, "o": 3, "last": true}), &["GET a"]),
        ),
        end_with_transformations(),
        scenario(
            "end, with the output that the task says",
            json!([{"a": {"set": {"x": 7, "secret": "s"}, "output": {"as": "${ {x} }"}, "then": "end"}}, {"never": get("never")}]),
            vec![],
            gives(json!({"x": 7}), &[]),
        ),
        scenario(
            "a case of a switch that ends the workflow, with the output that the switch says",
            json!([
                {"choose": {"switch": [{"two": {"when": ".n == 2", "then": "end"}}], "output": {"as": "{n: .n}"}}},
                {"never": get("never")},
            ]),
            vec![],
            gives(json!({"n": 2}), &[]),
        ),
        scenario(
            "end inside of a task: what is outside does not change the output",
            json!([{"outer": {"do": [{"in": {"set": {"x": 1}, "output": {"as": ". + {y: 2}"}, "then": "end"}}], "output": {"as": ". + {z: 3}"}}}]),
            vec![],
            gives(json!({"x": 1, "y": 2}), &[]),
        ),
        scenario(
            "a task that is come back to does its work again",
            json!([
                {"count": {"set": "${ {c: (.c // 0), calls: (.calls // [])} }"}},
                {"call": {"call": "http", "with": {"method": "get", "endpoint": "http://world/poll", "query": {"c": "${ .c }"}},
                    "output": {"as": "$input + {calls: ($input.calls + [.])}"}}},
                {"again": {"set": "${ . + {c: (.c + 1)} }"}},
                {"enough": {"switch": [{"no": {"when": ".c < 3", "then": "call"}}]}},
            ]),
            vec![("poll", vec![Answer::Ok(json!("p"))])],
            gives(
                json!({"c": 3, "calls": ["p", "p", "p"]}),
                &["GET poll?c=0", "GET poll?c=1", "GET poll?c=2"],
            ),
        ),
    ]
}

/// A request with a secret in it.
pub(crate) fn one_secret() -> Scenario {
    let mut secret = scenario(
        "secrets go where they are wanted",
        json!([{"put": {"call": "http", "with": {"method": "put", "endpoint": "http://world/a", "body": {"key": "${ $secrets.KEY }", "n": "${ .n }"}}}}]),
        vec![("a", vec![Answer::Ok(json!("ok"))])],
        Box::new(|came, world, how| {
            assert_eq!(*came, Came::To(End::Completed(json!("ok"))), "{how}");
            assert_eq!(world.bodies(), [json!({"key": "secret-value", "n": 2})], "{how}");
        }),
    );
    secret.spec["use"] = json!({"secrets": ["KEY"]});
    secret
}

/// A task that ends the workflow, and transforms its output and the context.
pub(crate) fn end_with_transformations() -> Scenario {
    let mut end = scenario(
        "end, and what the task exports",
        json!([
            {"a": {"set": {"x": 7, "more": "m"}, "output": {"as": "{x}"}, "export": {"as": "{total: .x}"}, "then": "end"}},
            {"never": get("never")},
        ]),
        vec![],
        gives(json!({"total": 7}), &[]),
    );
    end.spec["output"] = json!({"as": "{total: $context.total}"});
    end
}

/// More answers than are kept: the first part of `rounds`.
pub(crate) fn too_many_answers(rounds: usize) -> Scenario {
    let long = "x".repeat(1_000_000);
    scenario(
        "more answers than are kept",
        json!([{"each": {"for": {"in": format!("[range({rounds})]")}, "do": [{"get": get("long"), }]}, }, {"end": {"set": {"a": 1}}}]),
        vec![("long", vec![Answer::Ok(json!(long))])],
        Box::new(|_, _, _| ()),
    )
}

pub(crate) fn endless() -> Scenario {
    scenario(
        "round and round without an end",
        json!([{"a": {"set": {}, "then": "a"}}]),
        vec![],
        Box::new(|came, _, how| {
            let Came::To(End::Failed { fault, .. }) = came else { panic!("{how}: {came:?}") };
            assert!(fault.words().contains("20000 tasks"), "{how}: {fault:?}");
        }),
    )
}

fn loops() -> Vec<Scenario> {
    let pets = |calls: usize| {
        let all = ["GET pets?at=0&name=a", "GET pets?at=1&name=b", "GET pets?at=2&name=c"];
        all[..calls].to_vec()
    };
    let call = json!({"call": "http", "with": {"method": "get", "endpoint": "http://world/pets",
        "query": {"name": "${ $pet }", "at": "${ $place }"}}, "output": {"as": "($input | if type == \"array\" then . else [] end) + [.]"}});
    let each = json!({"each": "pet", "at": "place", "in": "$workflow.input.pets"});
    let answers = || vec![("pets", vec![Answer::Ok(json!("x"))])];
    vec![
        scenario(
            "once for each item, each with what the one before gave",
            json!([{"each": {"for": each, "do": [{"call": call}]}}]),
            answers(),
            gives(json!(["x", "x", "x"]), &pets(3)),
        ),
        scenario(
            "only as long as a condition holds",
            json!([{"each": {"for": each, "while": "$place < 2", "do": [{"call": call}]}}, {"then": {"set": {"all": "${ . }"}}}]),
            answers(),
            gives(json!({"all": ["x", "x"]}), &pets(2)),
        ),
        scenario(
            "exit ends all rounds",
            json!([{"each": {"for": each, "do": [{"call": call}, {"out": {"switch": [{"b": {"when": "$pet == \"b\"", "then": "exit"}}]}}]}}]),
            answers(),
            gives(json!(["x", "x"]), &pets(2)),
        ),
        scenario(
            "a loop in a loop",
            json!([{"outer": {"for": {"each": "x", "in": "[1, 2]"}, "do": [{"inner": {"for": {"each": "y", "in": "[10, 20]"}, "do": [
                {"get": {"call": "http", "with": {"method": "get", "endpoint": "http://world/pets", "query": {"xy": "${ $x + $y }"}}}}
            ]}}]}}]),
            answers(),
            gives(json!("x"), &["GET pets?xy=11", "GET pets?xy=21", "GET pets?xy=12", "GET pets?xy=22"]),
        ),
        scenario(
            "no items, nothing done",
            json!([{"each": {"for": {"in": "[]"}, "do": [{"call": get("never")}]}}, {"then": {"set": {"n": "${ .n }"}}}]),
            vec![],
            gives(json!({"n": 2}), &[]),
        ),
        scenario(
            "what is no list cannot be gone through",
            json!([{"each": {"for": {"in": ".n"}, "do": [{"call": get("never")}]}}]),
            vec![],
            fails("validation", 400, "/do/0/each", &[]),
        ),
        scenario(
            "a failure in the second round",
            json!([{"each": {"for": each, "do": [{"call": {"call": "http", "with": {"method": "put", "endpoint": "http://world/{n}"}, "input": {"from": "{n: $pet}"}}}]}}]),
            vec![("a", vec![Answer::Ok(json!(1))]), ("b", vec![Answer::Status(503)])],
            fails("communication", 503, "/do/0/each[1]/do/0/call", &["PUT a", "PUT b"]),
        ),
    ]
}

fn errors() -> Vec<Scenario> {
    let raise = |status: u64| json!({"raise": {"error": {"type": "https://x/broken", "status": status, "title": "broke ${ .n }", "detail": "d"}}});
    let caught = |catch: Value| {
        json!([
            {"try": {"try": [{"get": get("a")}, {"bad": raise(418)}, {"never": get("never")}], "catch": catch}},
            {"then": {"set": "${ {then: .} }"}},
        ])
    };
    let a = || vec![("a", vec![Answer::Ok(json!({"n": 5}))])];
    vec![
        scenario(
            "an error that nobody catches",
            json!([{"get": get("a")}, {"outer": {"do": [{"bad": raise(418)}]}}, {"never": get("never")}]),
            a(),
            fails("/broken", 418, "/do/1/outer/do/0/bad", &["GET a"]),
        ),
        scenario(
            "an error that is caught, and what is done about it",
            caught(json!({"as": "e", "do": [{"mend": {"set": {"e": "${ $e }", "n": "${ .n }"}}}]})),
            a(),
            gives(
                json!({"then": {"e": {"type": "https://x/broken", "status": 418, "title": "broke 5", "detail": "d",
                    "instance": "/do/0/try/try/1/bad"}, "n": 2}}),
                &["GET a"],
            ),
        ),
        scenario(
            "an error that is caught and nothing else",
            caught(
                json!({"errors": {"with": {"status": 418, "type": "https://x/broken"}}, "when": "$error.title == \"broke 5\""}),
            ),
            a(),
            gives(json!({"then": {"n": 2, "pets": ["a", "b", "c"]}}), &["GET a"]),
        ),
        scenario(
            "an error that is another than the one that is caught",
            caught(json!({"errors": {"with": {"status": 500}}})),
            a(),
            fails("/broken", 418, "/do/0/try/try/1/bad", &["GET a"]),
        ),
        scenario(
            "an error that is excepted",
            caught(json!({"exceptWhen": "$error.status == 418"})),
            a(),
            fails("/broken", 418, "/do/0/try/try/1/bad", &["GET a"]),
        ),
        scenario(
            "an error in what is done about an error",
            json!([{"outer": {"try": [{"inner": {"try": [{"bad": raise(418)}], "catch": {"do": [{"worse": raise(500)}]}}}],
                "catch": {"as": "o", "do": [{"say": {"set": {"status": "${ $o.status }", "at": "${ $o.instance }"}}}]}}}]),
            vec![],
            gives(json!({"status": 500, "at": "/do/0/outer/try/0/inner/catch/do/0/worse"}), &[]),
        ),
        scenario(
            "a request that is refused, caught by its status",
            json!([{"safe": {"try": [{"get": get("a")}], "catch": {"errors": {"with": {"status": 404}}, "do": [{"other": get("b")}]}}}]),
            vec![("a", vec![Answer::Status(404)]), ("b", vec![Answer::Ok(json!("b"))])],
            gives(json!("b"), &["GET a", "GET b"]),
        ),
    ]
}

fn retries() -> Vec<Scenario> {
    let tried = |retry: Value| json!([{"safe": {"try": [{"get": get("a")}], "catch": {"retry": retry}}}]);
    let twice_bad = || vec![("a", vec![Answer::Status(503), Answer::Status(503), Answer::Ok(json!("good"))])];
    let always_bad = || vec![("a", vec![Answer::Status(503)])];
    let delay = json!({"seconds": 2});
    let count = |count: u64| json!({"attempt": {"count": count}});
    vec![
        scenario(
            "tried again until it is good, the same pause each time",
            tried(json!({"delay": delay, "limit": count(5)})),
            twice_bad(),
            after(4000, gives(json!("good"), &["GET a", "GET a", "GET a"])),
        ),
        scenario(
            "pauses that grow by the first one",
            tried(json!({"delay": delay, "backoff": {"linear": {}}, "limit": count(3)})),
            always_bad(),
            after(12_000, fails("communication", 503, "/do/0/safe/try@4/0/get", &["GET a"; 4])),
        ),
        scenario(
            "pauses that double, and chance",
            tried(json!({"delay": delay, "backoff": {"exponential": {}}, "limit": count(3),
                "jitter": {"from": {"seconds": 0}, "to": {"seconds": 2}}})),
            always_bad(),
            after(17_000, fails("communication", 503, "/do/0/safe/try@4/0/get", &["GET a"; 4])),
        ),
        scenario(
            "tried again only when it says so, then something else",
            json!([{"safe": {"try": [{"get": get("a")}], "catch": {"as": "e", "retry": {"when": "$e.status == 503", "exceptWhen": "$e.title == \"No\""},
                "do": [{"after": {"set": {"status": "${ $e.status }"}}}]}}}]),
            vec![("a", vec![Answer::Status(503), Answer::Status(404)])],
            gives(json!({"status": 404}), &["GET a", "GET a"]),
        ),
        scenario(
            "not tried again after so long",
            tried(json!({"delay": delay, "limit": {"duration": {"seconds": 5}}})),
            always_bad(),
            after(6000, fails("communication", 503, "/do/0/safe/try@4/0/get", &["GET a"; 4])),
        ),
        scenario(
            "an attempt that takes too long is an error too",
            tried(json!({"limit": {"attempt": {"count": 2, "duration": {"seconds": 3}}}})),
            vec![("a", vec![Answer::Slow(10_000), Answer::Ok(json!("good"))])],
            after(3000, gives(json!("good"), &["GET a", "GET a"])),
        ),
        {
            let mut shared = scenario(
                "a way to try again that has a name",
                tried(json!("often")),
                twice_bad(),
                after(2000, gives(json!("good"), &["GET a"; 3])),
            );
            let when = "$error.status == 503";
            shared.spec["do"][0]["safe"]["catch"]["as"] = json!("e");
            shared.spec["use"] =
                json!({"retries": {"often": {"when": when, "delay": "PT1S", "limit": count(2)}}});
            shared
        },
    ]
}

fn time() -> Vec<Scenario> {
    let mut whole = scenario(
        "a workflow that takes too long",
        json!([{"a": {"try": [{"wait": {"wait": {"minutes": 5}}}], "catch": {}}}, {"never": get("never")}]),
        vec![],
        Box::new(|came, world, how| {
            let Came::To(End::Failed { fault, .. }) = came else { panic!("{how}: {came:?}") };
            assert!(fault.kind.ends_with("/timeout") && fault.status == 408, "{how}: {fault:?}");
            assert_eq!(world.now() - BEGIN, 60_000, "{how}");
        }),
    );
    whole.spec["timeout"] = json!({"after": {"minutes": 1}});
    vec![
        whole,
        scenario(
            "time passes",
            json!([{"one": {"wait": {"seconds": 1, "milliseconds": 500}}}, {"two": {"wait": "${ {minutes: .n} }"}}, {"three": {"wait": "PT0.5S"}}]),
            vec![],
            after(122_000, gives(json!({"n": 2, "pets": ["a", "b", "c"]}), &[])),
        ),
        scenario(
            "a task that takes too long, and what is done about it",
            json!([{"safe": {"try": [{"slow": {"do": [{"get": get("a")}, {"never": get("never")}], "timeout": {"after": {"seconds": 3}}}}],
                "catch": {"errors": {"with": {"status": 408}}, "as": "e", "do": [{"say": {"set": {"at": "${ $e.instance }"}}}]}}}]),
            vec![("a", vec![Answer::Slow(10_000)])],
            after(3000, gives(json!({"at": "/do/0/safe/try/0/slow"}), &["GET a"])),
        ),
        scenario(
            "what is inside cannot catch that what is outside took too long",
            json!([{"outer": {"do": [{"inner": {"try": [{"wait": {"wait": {"seconds": 9}, "timeout": {"after": {"seconds": 8}}}}], "catch": {}}}],
                "timeout": {"after": {"seconds": 2}}}}]),
            vec![],
            after(2000, fails("/timeout", 408, "/do/0/outer", &[])),
        ),
    ]
}

fn calls() -> Vec<Scenario> {
    let ask = json!({"call": "agent", "with": {"agent": "hello", "message": "n is ${ .n }"}});
    let long = "x".repeat(300_000);
    vec![
        scenario(
            "an agent is asked, and its answer goes on",
            json!([{"ask": ask}, {"say": {"set": {"said": "${ .text }", "by": "${ .execution | type }", "tokens": "${ .usage.output_tokens }"}}}]),
            vec![("hello", vec![Answer::Ok(json!("hi"))])],
            gives(json!({"said": "hi", "by": "string", "tokens": 2}), &["hello is asked: n is 2"]),
        ),
        scenario(
            "an agent that fails",
            json!([{"ask": ask}]),
            vec![("hello", vec![Answer::Status(500)])],
            fails("/agent", 500, "/do/0/ask", &["hello is asked: n is 2"]),
        ),
        scenario(
            "an agent that is asked again, because the workflow says so",
            json!([{"safe": {"try": [{"ask": ask}], "output": {"as": "del(.execution)"}, "catch": {"retry": {"limit": {"attempt": {"count": 1}}}}}}]),
            vec![("hello", vec![Answer::Status(500), Answer::Ok(json!("hi"))])],
            gives(
                json!({"text": "hi", "usage": {"input_tokens": 1, "output_tokens": 2}}),
                &["hello is asked: n is 2"; 2],
            ),
        ),
        scenario(
            "a name that is none",
            json!([{"ask": {"call": "agent", "with": {"agent": "${ \"No such\" }", "message": "m"}}}]),
            vec![],
            fails("/validation", 400, "/do/0/ask", &[]),
        ),
        scenario(
            "an answer that is long is kept whole",
            json!([{"get": get("long")}, {"other": {"call": "http", "with": {"method": "get", "endpoint": "http://world/b"}, "output": {"as": "{b: ., a: ($input | length)}"}}}]),
            vec![("long", vec![Answer::Ok(json!(long))]), ("b", vec![Answer::Ok(json!("b"))])],
            gives(json!({"b": "b", "a": 300_000}), &["GET long", "GET b"]),
        ),
        one_secret(),
        {
            let mut secret = scenario(
                "a secret that nobody has told",
                json!([{"put": {"call": "http", "with": {"method": "put", "endpoint": "http://world/a", "headers": {"x": "${ $secrets.OTHER }"}}}}]),
                vec![],
                fails("/authorization", 403, "/do/0/put", &[]),
            );
            secret.spec["use"] = json!({"secrets": ["OTHER"]});
            secret
        },
    ]
}
