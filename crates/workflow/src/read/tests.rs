use super::*;
use serde_json::json;

fn problems(spec: &Value) -> Vec<Problem> {
    crate::check(spec).err().unwrap_or_default()
}

fn flow(tasks: &Value) -> Value {
    json!({
        "document": {"dsl": "1.0.0", "namespace": "n", "name": "flow", "version": "1.0.0"},
        "do": tasks,
    })
}

fn task(task: &Value) -> Value {
    flow(&json!([{ "one": task }]))
}

const HTTP: &str = r#"{"call": "http", "with": {"method": "get", "endpoint": "http://x/{id}"}}"#;

#[test]
fn everything_that_is_supported_is_read() {
    let mut spec = flow(&json!([
        {"start": {"set": {"a": 1, "b": "x ${ .n } y", "c": ["${ $input.n }"]}, "if": ".n > 0"}},
        {"fetch": {"call": "http", "with": {
            "method": "post", "endpoint": {"uri": "https://x/{id}"}, "headers": {"authorization": "Bearer ${ $secrets.KEY }"},
            "query": "${ .query }", "body": {"k": "${ .k }"}, "output": "response", "redirect": true},
            "timeout": {"after": {"seconds": 5}}, "export": {"as": "$context + ."}}},
        {"ask": {"call": "agent", "with": {"agent": "hello", "message": "hi ${ .a }", "session": "${ .session }"}}},
        {"choose": {"switch": [{"yes": {"when": ".a == 1", "then": "loop"}}, {"no": {"then": "end"}}]}},
        {"loop": {"for": {"each": "pet", "in": ".pets", "at": "n"}, "while": "$n < 3",
            "do": [{"each": {"set": "${ {name: $pet, at: $n} }"}}]}},
        {"attempt": {"try": [{"bad": {"raise": {"error": "broken"}, "then": "exit"}}],
            "catch": {"errors": {"with": {"type": "t", "status": 503}}, "as": "e", "when": "$e.status == 503",
                "retry": "often", "do": [{"mend": {"set": {"said": "${ $e.title }"}}}]}}},
        {"again": {"try": [{"x": {"set": {}}}], "catch": {"exceptWhen": "$error.status < 500", "retry": {
            "when": "$error.status > 500", "delay": "PT1S", "backoff": {"exponential": {}},
            "jitter": {"from": {"milliseconds": 1}, "to": {"milliseconds": 5}},
            "limit": {"attempt": {"count": 3, "duration": {"seconds": 1}}, "duration": {"minutes": 1}}}}}},
        {"pause": {"wait": {"seconds": 1}, "then": "nested", "metadata": {"anything": true}}},
        {"computed": {"wait": "${ {seconds: .n} }"}},
        {"both": {"fork": {"compete": true, "branches": [{"a": {"set": {}, "then": "exit"}}, {"b": {"do": [{"in": {"set": {}}}]}}]}}},
        {"nested": {"do": [{"in": {"set": {}, "timeout": "short"}}], "input": {"from": ".a"}, "output": {"as": {"x": "${ . }"}}}}
    ]));
    spec["input"] = json!({"from": ". + {n: 1}"});
    spec["output"] = json!({"as": "${ .x }"});
    spec["timeout"] = json!({"after": "PT1H"});
    spec["evaluate"] = json!({"language": "jq", "mode": "strict"});
    spec["use"] = json!({
        "secrets": ["KEY"],
        "errors": {"broken": {"type": "https://x/broken", "status": 500, "title": "it ${ .a } broke"}},
        "retries": {"often": {"limit": {"attempt": {"count": 5}}}},
        "timeouts": {"short": {"after": {"seconds": 1}}},
    });
    assert_eq!(problems(&spec), []);
    let workflow = crate::read(&spec).unwrap();
    let words: Vec<_> = workflow.tasks.iter().map(|task| task.kind.word()).collect();
    assert_eq!(
        words,
        ["set", "call http", "call agent", "switch", "for", "try", "try", "wait", "wait", "fork", "do"]
    );
    assert_eq!(workflow.tasks[7].then, super::super::model::Then::Task(10));
}

#[test]
fn what_the_language_has_and_we_do_not_is_refused_by_name_and_place() {
    let refused = [
        (task(&json!({"listen": {"to": {}}})), "/spec/do/0/one/listen", "`listen` is not supported"),
        (task(&json!({"emit": {"event": {}}})), "/spec/do/0/one/emit", "`emit` is not supported"),
        (task(&json!({"run": {"shell": {"command": "x"}}})), "/spec/do/0/one/run", "`run` is not supported"),
        (task(&json!({"call": "grpc", "with": {}})), "/spec/do/0/one/call", "`call: grpc` is not supported"),
        (
            task(&json!({"call": "openapi", "with": {}})),
            "/spec/do/0/one/call",
            "`call: openapi` is not supported",
        ),
        (
            task(&json!({"call": "asyncapi", "with": {}})),
            "/spec/do/0/one/call",
            "`call: asyncapi` is not supported",
        ),
        (task(&json!({"call": "mine", "with": {}})), "/spec/do/0/one/call", "no function `mine`"),
        (
            task(
                &json!({"call": "http", "with": {"method": "get", "endpoint": {"uri": "http://x", "authentication": {}}}}),
            ),
            "/spec/do/0/one/with/endpoint/authentication",
            "`authentication` is not supported",
        ),
        (
            task(&json!({"set": {}, "input": {"schema": {}}})),
            "/spec/do/0/one/input/schema",
            "`schema` is not supported",
        ),
    ];
    for (spec, path, words) in refused {
        let found = problems(&spec);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].path == path && found[0].message.contains(words), "{found:?}");
    }
    for (key, value, path) in [
        ("schedule", json!({"cron": "* * * * *"}), "/spec/schedule"),
        ("use", json!({"functions": {}}), "/spec/use/functions"),
        ("use", json!({"authentications": {}}), "/spec/use/authentications"),
        ("use", json!({"extensions": []}), "/spec/use/extensions"),
        ("use", json!({"catalogs": {}}), "/spec/use/catalogs"),
        ("evaluate", json!({"language": "cel"}), "/spec/evaluate/language"),
        ("evaluate", json!({"mode": "loose"}), "/spec/evaluate/mode"),
    ] {
        let mut spec = task(&json!({"set": {}}));
        spec[key] = value;
        let found = problems(&spec);
        assert_eq!(found.len(), 1, "{key} {found:?}");
        assert!(found[0].path == path && found[0].message.contains("supported"), "{found:?}");
    }
}

#[test]
fn mistakes_are_named_where_they_are() {
    let http = |key: &str, value: Value| {
        let mut http: Value = serde_json::from_str(HTTP).unwrap();
        http["with"][key] = value;
        task(&http)
    };
    for (spec, path, words) in [
        (json!([]), "/spec", "object"),
        (json!({}), "/spec/document", "document"),
        (flow(&json!([])), "/spec/do", "not empty"),
        (flow(&json!([{"a": {"set": {}}, "b": {"set": {}}}])), "/spec/do/0", "one key"),
        (flow(&json!([{"a": {"set": {}}}, {"a": {"set": {}}}])), "/spec/do/1/a", "already"),
        (task(&json!({"sett": {}})), "/spec/do/0/one", "nothing to do"),
        (task(&json!({"set": {}, "thn": "end"})), "/spec/do/0/one/thn", "no `thn`"),
        (task(&json!({"set": {}, "do": []})), "/spec/do/0/one/do", "no `do`"),
        (task(&json!({"set": {}, "then": "two"})), "/spec/do/0/one/then", "no task `two`"),
        (task(&json!({"set": 3})), "/spec/do/0/one/set", "object"),
        (task(&json!({"set": {"a/b": "${ .x | }"}})), "/spec/do/0/one/set/a~1b", "a term is expected"),
        (task(&json!({"set": {"a": "${ .x "}})), "/spec/do/0/one/set/a", "no `}`"),
        (task(&json!({"set": {}, "if": "${.a} b"})), "/spec/do/0/one/if", "one expression"),
        (task(&json!({"set": {"a": "${ $item }"}})), "/spec/do/0/one/set/a", "variable `$item`"),
        (task(&json!({"set": {"a": "${ $secrets.KEY }"}})), "/spec/do/0/one/set/a", "only below `with`"),
        (http("body", json!("${ $secrets.KEY }")), "/spec/do/0/one/with/body", "`KEY` is not listed"),
        (http("body", json!("${ $secrets | keys }")), "/spec/do/0/one/with/body", "name the secret"),
        (http("method", json!("fetch")), "/spec/do/0/one/with/method", "methods"),
        (http("endpoint", json!("ftp://x")), "/spec/do/0/one/with/endpoint", "http://"),
        (http("endpoint", json!("http://x/{a")), "/spec/do/0/one/with/endpoint", "pairs"),
        (http("headers", json!("x")), "/spec/do/0/one/with/headers", "object"),
        (http("output", json!("all")), "/spec/do/0/one/with/output", "`raw`"),
        (http("redirect", json!("yes")), "/spec/do/0/one/with/redirect", "true or false"),
        (http("timeout", json!(1)), "/spec/do/0/one/with/timeout", "no `timeout`"),
        (
            task(&json!({"call": "agent", "with": {"agent": "No", "message": "x"}})),
            "/spec/do/0/one/with/agent",
            "no name",
        ),
        (
            task(&json!({"call": "agent", "with": {"agent": "a"}})),
            "/spec/do/0/one/with",
            "`message` is missing",
        ),
        (task(&json!({"wait": "soon"})), "/spec/do/0/one/wait", "PT30S"),
        (task(&json!({"for": {}, "do": [{"x": {"set": {}}}]})), "/spec/do/0/one/for", "`in` is missing"),
        (
            task(&json!({"for": {"in": ".", "each": "input"}, "do": [{"x": {"set": {}}}]})),
            "/spec/do/0/one/for/each",
            "no name",
        ),
        (task(&json!({"try": [{"x": {"set": {}}}]})), "/spec/do/0/one", "`catch` is missing"),
        (
            task(&json!({"try": [{"x": {"set": {}}}], "catch": {"retry": "r"}})),
            "/spec/do/0/one/catch/retry",
            "use.retries",
        ),
        (
            task(&json!({"try": [{"x": {"set": {}}}], "catch": {"retry": {"backoff": {"odd": {}}}}})),
            "/spec/do/0/one/catch/retry/backoff/odd",
            "linear",
        ),
        (task(&json!({"raise": {"error": "e"}})), "/spec/do/0/one/raise/error", "use.errors"),
        (
            task(&json!({"raise": {"error": {"type": "t", "status": 9}}})),
            "/spec/do/0/one/raise/error/status",
            "599",
        ),
        (
            task(&json!({"switch": [{"a": {"then": "end"}}, {"b": {"then": "end"}}]})),
            "/spec/do/0/one/switch/0/a",
            "last",
        ),
        (task(&json!({"set": {}, "timeout": "t"})), "/spec/do/0/one/timeout", "use.timeouts"),
        (
            task(&json!({"do": [{"in": {"set": {}, "then": "one"}}]})),
            "/spec/do/0/one/do/0/in/then",
            "no task `one`",
        ),
    ] {
        let found = problems(&spec);
        let named = found.iter().any(|one| one.path == path && one.message.contains(words));
        assert!(named, "{path}: {found:?}");
    }
    let two = task(&json!({"set": {"a": "${ | }", "b": "${ | }"}, "nothing": 1}));
    assert_eq!(problems(&two).len(), 3, "all are found, not only the first");
    let mut other = task(&json!({"set": {}}));
    other["document"]["dsl"] = json!("0.8");
    assert_eq!(problems(&other)[0].path, "/spec/document/dsl");
}

#[test]
fn there_is_an_end_to_depth_and_number() {
    let mut deep = json!({"set": {}});
    for _ in 0..DEEPEST {
        deep = json!({"do": [{ "in": deep }]});
    }
    assert!(problems(&task(&deep)).iter().any(|one| one.message.contains("nested")));
    let many: Vec<_> = (0..=MOST_TASKS).map(|n| json!({ format!("t{n}"): {"set": {}} })).collect();
    assert!(problems(&flow(&json!(many))).iter().any(|one| one.message.contains("at most")));
}

#[test]
fn mistakes_in_branches_are_named_where_they_are() {
    for (spec, path, words) in [
        (task(&json!({"fork": {"compete": true}})), "/spec/do/0/one/fork", "`branches` is missing"),
        (task(&json!({"fork": {"branches": []}})), "/spec/do/0/one/fork/branches", "not empty"),
        (
            task(&json!({"fork": {"branches": [{"a": {"set": {}}}], "compete": 1}})),
            "/spec/do/0/one/fork/compete",
            "expected true or false",
        ),
        (
            task(&json!({"fork": {"branches": [{"a": {"set": {}}}, {"b": {"set": {}, "then": "a"}}]}})),
            "/spec/do/0/one/fork/branches/1/b/then",
            "no task `a` here",
        ),
        (
            task(
                &json!({"fork": {"branches": (0..101).map(|n| json!({format!("b{n}"): {"set": {}}})).collect::<Vec<_>>()}}),
            ),
            "/spec/do/0/one/fork/branches",
            "at most 100",
        ),
    ] {
        let found = problems(&spec);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].path == path && found[0].message.contains(words), "{found:?}");
    }
}
