//! The description, the routes and the types are the same.

use super::{OPENAPI, description, routes};
use serde::Serialize;
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
        .chain([("/healthz".to_owned(), "get".to_owned())])
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
fn the_description_is_what_the_types_say() {
    let mut generated = Vec::new();
    let form = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut writer = serde_json::Serializer::with_formatter(&mut generated, form);
    description::document().serialize(&mut writer).expect("JSON");
    let generated = String::from_utf8(generated).expect("UTF-8") + "\n";
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/services/server/api/openapi.json");
        std::fs::write(path, &generated).expect("the description can be written");
        return;
    }
    let differing = generated.lines().zip(OPENAPI.lines()).position(|(new, old)| new != old);
    assert!(
        generated == OPENAPI,
        "openapi.json is stale from line {}: `make openapi` writes it anew",
        differing.map_or(0, |line| line + 1)
    );
}
