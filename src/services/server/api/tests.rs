//! The description and the routes are the same.

use super::{OPENAPI, routes};
use serde_json::Value;
use std::collections::BTreeSet;

fn described() -> Value {
    serde_json::from_str(OPENAPI).expect("the description is JSON")
}

#[test]
fn every_route_is_described_and_every_description_is_a_route() {
    let document = described();
    let from_document: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().expect("methods").keys().map(|method| (path.clone(), method.clone()))
        })
        .collect();
    let from_code: BTreeSet<(String, String)> = routes()
        .into_iter()
        .flat_map(|(path, methods, _)| {
            methods.iter().map(move |method| (path.to_owned(), (*method).to_owned()))
        })
        .collect();
    assert_eq!(from_document, from_code);
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value, document: &Value, found: &mut usize) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let pointer = reference.strip_prefix('#').expect("local");
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                    *found += 1;
                }
                fields.values().for_each(|value| walk(value, document, found));
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, document, found)),
            _ => {}
        }
    }
    let (document, mut found) = (described(), 0);
    walk(&document, &document, &mut found);
    assert!(found > 20, "{found}");
}

#[test]
fn the_described_problem_has_the_members_and_types_that_are_sent() {
    use stigmer_protocol::api::{Problem, ProblemType};
    let document = described();
    let schema = &document["components"]["schemas"]["Problem"];
    let names = |value: &Value| -> BTreeSet<String> {
        value.as_object().expect("an object").keys().cloned().collect()
    };
    let mut problem = Problem::new(ProblemType::NotFound, "detail");
    let required = serde_json::to_value(&problem).expect("JSON");
    let listed: BTreeSet<String> = serde_json::from_value(schema["required"].clone()).expect("names");
    assert_eq!(names(&required), listed);
    (problem.instance, problem.hint) = (Some("/v1".to_owned()), Some("hint".to_owned()));
    assert_eq!(names(&serde_json::to_value(&problem).expect("JSON")), names(&schema["properties"]));
    let types: Vec<&str> = ProblemType::ALL.iter().map(|kind| kind.uri()).collect();
    assert_eq!(schema["properties"]["type"]["enum"], serde_json::json!(types));
}
