//! The schemas of the types that requests and answers are made of.

use schemars::generate::{Contract, SchemaSettings};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Where the description keeps schemas that have a name.
const PREFIX: &str = "#/components/schemas/";

/// Two generators, because what may be left out of a request is always there in an answer.
pub(super) struct Schemas {
    requests: SchemaGenerator,
    responses: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let generator = |contract: Contract| {
            let mut settings = SchemaSettings::draft2020_12();
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
            settings.contract = contract;
            settings.into_generator()
        };
        Self { requests: generator(Contract::Deserialize), responses: generator(Contract::Serialize) }
    }

    /// Schema of what a client sends.
    pub(super) fn of_request<T: JsonSchema>(&mut self) -> Value {
        self.requests.subschema_for::<T>().to_value()
    }

    /// Schema of the fields of a query string, in place rather than by name.
    pub(super) fn of_query<T: JsonSchema>(&mut self) -> Value {
        T::json_schema(&mut self.requests).to_value()
    }

    /// Schema of what a client receives.
    pub(super) fn of_response<T: JsonSchema>(&mut self) -> Value {
        self.responses.subschema_for::<T>().to_value()
    }

    /// Every schema with a name. A type that is sent in another form than it is received in has two: the first is called `…Input`, and
    /// `paths` and the other schemas of requests are changed to say so.
    pub(super) fn into_named(mut self, request_parts: &mut [&mut Value]) -> Value {
        let mut requests = self.requests.take_definitions(true);
        let mut named = self.responses.take_definitions(true);
        let mut differing = BTreeSet::new();
        loop {
            let found: BTreeSet<String> = requests
                .iter()
                .filter(|(name, schema)| {
                    let differs = named.get(*name).is_some_and(|other| other != *schema);
                    differs
                        || named.contains_key(*name)
                            && references(schema).iter().any(|name| differing.contains(name))
                })
                .map(|(name, _)| name.clone())
                .collect();
            if found == differing {
                break;
            }
            differing = found;
        }
        for schema in requests.values_mut().chain(request_parts.iter_mut().map(|part| &mut **part)) {
            rename(schema, &differing);
        }
        for (name, schema) in std::mem::take(&mut requests) {
            let name = if differing.contains(&name) { format!("{name}Input") } else { name };
            named.insert(name, schema);
        }
        let mut named: Map<String, Value> = named.into_iter().collect();
        named.sort_keys();
        let mut named = Value::Object(named);
        bound_integers(&mut named);
        named
    }
}

/// Schema of a value that can be left out but, where a name=value pair stands, cannot be null.
pub(super) fn optional(mut schema: Value) -> Value {
    if let Some(kinds) = schema["type"].as_array() {
        let kinds: Vec<Value> = kinds.iter().filter(|kind| *kind != "null").cloned().collect();
        schema["type"] = if let [only] = &kinds[..] { only.clone() } else { kinds.into() };
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let choices: Vec<Value> = choices.iter().filter(|choice| choice["type"] != "null").cloned().collect();
        let fields = schema.as_object_mut().expect("an object");
        fields.remove("anyOf");
        match &choices[..] {
            [Value::Object(only)] => fields.extend(only.clone()),
            _ => drop(fields.insert("anyOf".to_owned(), choices.into())),
        }
    }
    schema.as_object_mut().expect("an object").retain(|key, value| key != "default" || !value.is_null());
    bound_integers(&mut schema);
    schema
}

/// Says how large an integer can be where only its format says so, which is a word that not every client knows.
fn bound_integers(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let largest = match fields.get("format").and_then(Value::as_str) {
                Some("uint64") => Some(u64::MAX),
                Some("uint32") => Some(u32::MAX.into()),
                _ => None,
            };
            if let Some(largest) = largest {
                fields.insert("maximum".to_owned(), largest.into());
            }
            fields.values_mut().for_each(bound_integers);
        }
        Value::Array(values) => values.iter_mut().for_each(bound_integers),
        _ => {}
    }
}

fn references(schema: &Value) -> Vec<String> {
    match schema {
        Value::Object(fields) => {
            let own = fields.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix(PREFIX));
            own.map(str::to_owned).into_iter().chain(fields.values().flat_map(references)).collect()
        }
        Value::Array(values) => values.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

fn rename(schema: &mut Value, differing: &BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref")
                && reference.strip_prefix(PREFIX).is_some_and(|name| differing.contains(name))
            {
                reference.push_str("Input");
            }
            fields.values_mut().for_each(|value| rename(value, differing));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| rename(value, differing)),
        _ => {}
    }
}
