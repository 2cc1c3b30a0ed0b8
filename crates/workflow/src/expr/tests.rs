use super::*;
use serde_json::json;

fn program(code: &str, locals: &[&str]) -> Result<Arc<Program>, String> {
    let (code, locals) = (code.to_owned(), locals.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    on_deep_stack(move || Program::read(&code, &locals))?.map(Arc::new)
}

fn evaluated(
    program: &Arc<Program>,
    input: &Value,
    variables: BTreeMap<String, Arc<Value>>,
) -> Result<Value, String> {
    let (program, input) = (Arc::clone(program), input.clone());
    on_deep_stack(move || program.evaluate(&input, &variables))?
}

fn run(code: &str, input: &Value) -> Result<Value, String> {
    evaluated(&program(code, &[])?, input, BTreeMap::new())
}

#[test]
fn it_is_jq() {
    let input = json!({"a": [1, 2.5, {"b": "x"}], "big": u64::MAX, "n": null});
    for (code, result) in [
        (".", input.clone()),
        (".a[2].b", json!("x")),
        (".a | length", json!(3)),
        ("[.a[:2][] | . * 2]", json!([2, 5.0])),
        (".big", json!(u64::MAX)),
        (".n // \"none\"", json!("none")),
        ("\"\\(.a[2].b)!\"", json!("x!")),
        ("empty", Value::Null),
        ("[range(3)] | map(. + 1) | add", json!(6)),
        ("[range(5; 0; -2)]", json!([5, 3, 1])),
        ("reduce range(100000) as $n (0; . + $n)", json!(4_999_950_000_u64)),
        ("[limit(3; repeat(1))]", json!([1, 1, 1])),
        ("0 | until(. >= 50000; . + 1)", json!(50_000)),
        ("def f($n): if $n == 0 then 0 else 1 + f($n - 1) end; f(100)", json!(100)),
        ("[paths] | length", json!(7)),
        (".a |= map_values(0)", json!({"a": [0, 0, 0], "big": u64::MAX, "n": null})),
        ("{a, b: 1} | del(.a)", json!({"b": 1})),
        ("to_entries | map(.key)", json!(["a", "big", "n"])),
        ("\"2026-01-02T03:04:05Z\" | fromdate", json!(1_767_323_045)),
        ("try error(\"x\") catch .", json!("x")),
        ("1 / 0", json!(f64::MAX)),
    ] {
        assert_eq!(run(code, &input), Ok(result), "{code}");
    }
}

#[test]
fn what_cannot_be_understood_is_said_with_its_place() {
    for (code, words) in [
        (".a |", "a term is expected at the end"),
        (".a )", "before `)`, the character 4"),
        ("{a: 1", "a closing brace is missing"),
        ("foo(1)", "there is no filter `foo` with 1 arguments"),
        ("$nobody", "there is no variable `$nobody`"),
        ("input", "there is no filter `input`"),
        ("env", "there is no filter `env`"),
        ("$ENV", "`$ENV`"),
        ("halt", "there is no filter `halt`"),
        ("debug", "there is no filter `debug`"),
        ("localtime", "there is no filter `localtime`"),
        ("include \"x\"; .", "expected"),
    ] {
        let error = program(code, &[]).unwrap_err();
        assert!(error.contains(words), "{code}: {error}");
    }
    assert!(program(&" ".repeat(MOST_CODE + 1), &[]).unwrap_err().contains("at most"));
    let deep = format!("{}1{}", "(".repeat(MOST_CODE / 2 - 1), ")".repeat(MOST_CODE / 2 - 1));
    assert_eq!(evaluated(&program(&deep, &[]).unwrap(), &Value::Null, BTreeMap::new()), Ok(json!(1)));
}

#[test]
fn it_comes_to_an_end() {
    for (code, words) in [
        ("[repeat(1)]", "steps"),
        ("last(repeat(1))", "steps"),
        ("def f: f; f", "steps"),
        ("def f: 1 + f; f", "too deeply"),
        ("def f: [f]; f", "too deeply"),
        ("[range(0; 1 / 0)]", "steps"),
        ("[range(0; 1; 0)]", "steps"),
        ("0 | until(false; . + 1)", "steps"),
        ("0 | [recurse(. + 1)]", "steps"),
        ("[.[] | while(true; .)]", "steps"),
        ("[try repeat(error(\"x\")) catch repeat(.)]", "steps"),
        ("def f: try f catch f; f", "steps"),
        ("path(repeat(.))", "several"),
        ("[path(repeat(.))]", "steps"),
        ("[range(110000)] | map(\"0123456789\") | add", "bytes"),
        ("reduce range(20000) as $n (null; [.])", "deep"),
        (".[]", "several"),
        ("{(1 | tostring): 1} | .a.b.c[0]", ""),
        ("error({a: 1})", "a"),
    ] {
        let outcome = run(code, &json!([1, 2]));
        if !words.is_empty() {
            let error = outcome.err().unwrap_or_default();
            assert!(error.contains(words), "{code}: {error}");
        }
    }
}

#[test]
fn variables_are_those_that_were_given() {
    let one = program("[$item, $context.a, now, $secrets]", &["$item"]).unwrap();
    assert!(one.names("$item") && one.names("$secrets") && one.names(NOW) && !one.names("$input"));
    let given = BTreeMap::from([
        ("$item".to_owned(), Arc::new(json!(1))),
        ("$context".to_owned(), Arc::new(json!({"a": 2}))),
        (NOW.to_owned(), Arc::new(json!(3.5))),
    ]);
    assert_eq!(evaluated(&one, &Value::Null, given), Ok(json!([1, 2, 3.5, null])));
    assert!(program("$item", &[]).is_err());
    for code in ["$secrets.A", "\"\\($secrets.A)\"", ".[$secrets.A]", "[$secrets.A.x]", "$secrets[\"A\"]"] {
        let one = program(code, &[]).unwrap();
        assert_eq!(one.secrets().collect::<Vec<_>>(), ["A"], "{code}");
        assert!(!one.names("$secrets"), "{code}");
    }
    assert!(program("$secrets | keys", &[]).unwrap().names("$secrets"));
    let secrets = BTreeMap::from([("$secrets".to_owned(), Arc::new(json!({"A": "x"})))]);
    assert_eq!(evaluated(&program("$secrets.A", &[]).unwrap(), &Value::Null, secrets), Ok(json!("x")));
}
