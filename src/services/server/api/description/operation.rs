//! What a handler takes and returns, read off its type.

use super::super::extract::{Body, Path, Query};
use super::super::{App, Refusal};
use super::schemas::{Schemas, optional};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use stigmer_protocol::api::ProblemType;
use stigmer_protocol::{ExecutionId, KindPlural, LeaseId, WorkerId};

/// One method of one path.
#[derive(Default)]
pub(super) struct Operation {
    pub(super) parameters: Vec<Value>,
    pub(super) request: Option<Value>,
    pub(super) response: Option<Value>,
    /// Whether a client can have the answer as a stream of events instead.
    pub(super) is_streamed: bool,
    pub(super) problems: BTreeSet<(u16, &'static str)>,
}

impl Operation {
    pub(super) fn problem(&mut self, kind: ProblemType) {
        self.problems.insert((kind.status(), kind.title()));
    }
}

/// A handler, or rather its type; `Args` are the types of its arguments.
pub(super) trait Described<Args> {
    fn describe(schemas: &mut Schemas, path: &str, operation: &mut Operation);
}

macro_rules! described {
    ($($argument:ident)*) => {
        impl<F, Answer, $($argument),*> Described<($($argument,)*)> for F
        where
            F: AsyncFn($($argument),*) -> Answer,
            Answer: Output,
            $($argument: Input,)*
        {
            fn describe(schemas: &mut Schemas, path: &str, operation: &mut Operation) {
                $($argument::describe(schemas, path, operation);)*
                operation.response = Answer::schema(schemas);
            }
        }
    };
}

described!(A);
described!(A B);
described!(A B C);
described!(A B C D);

/// An argument of a handler.
pub(super) trait Input {
    fn describe(schemas: &mut Schemas, path: &str, operation: &mut Operation);
}

impl Input for State<App> {
    fn describe(_: &mut Schemas, _: &str, operation: &mut Operation) {
        operation.problem(ProblemType::Internal);
        operation.problem(ProblemType::Unavailable);
    }
}

impl Input for HeaderMap {
    fn describe(_: &mut Schemas, _: &str, _: &mut Operation) {}
}

impl<T: JsonSchema> Input for Body<T> {
    fn describe(schemas: &mut Schemas, _: &str, operation: &mut Operation) {
        operation.request = Some(schemas.of_request::<T>());
        operation.problem(ProblemType::InvalidBody);
        operation.problem(ProblemType::BodyTooLarge);
        operation.problem(ProblemType::StorageFull);
    }
}

impl<T: JsonSchema> Input for Query<T> {
    fn describe(schemas: &mut Schemas, _: &str, operation: &mut Operation) {
        let schema = schemas.of_query::<T>();
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, schema) in schema["properties"].as_object().expect("a query is a struct") {
            let mut schema = optional(schema.clone());
            let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            operation.parameters.push(json!({
                "name": name,
                "in": "query",
                "required": required.contains(&json!(name)),
                "description": description,
                "schema": schema,
            }));
        }
        operation.problem(ProblemType::InvalidQuery);
    }
}

impl<T: Segments> Input for Path<T> {
    fn describe(schemas: &mut Schemas, path: &str, operation: &mut Operation) {
        let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let found = T::schemas(schemas);
        assert_eq!(names.clone().count(), found.len(), "{path}");
        for (name, schema) in names.zip(found) {
            operation
                .parameters
                .push(json!({"name": name, "in": "path", "required": true, "schema": schema}));
        }
        operation.problem(ProblemType::InvalidPath);
    }
}

/// Parameters in a path.
pub(super) trait Segments {
    fn schemas(schemas: &mut Schemas) -> Vec<Value>;
}

macro_rules! single_segments {
    ($($id:ty),*) => {$(
        impl Segments for $id {
            fn schemas(schemas: &mut Schemas) -> Vec<Value> {
                vec![schemas.of_request::<Self>()]
            }
        }
    )*};
}

single_segments!(ExecutionId, LeaseId, WorkerId);

impl Segments for (KindPlural, String) {
    fn schemas(schemas: &mut Schemas) -> Vec<Value> {
        vec![schemas.of_request::<KindPlural>(), json!({"type": "string", "minLength": 1})]
    }
}

/// What a handler returns: the schema of a successful answer's body, if it has one.
pub(super) trait Output {
    fn schema(schemas: &mut Schemas) -> Option<Value>;
}

impl<T: JsonSchema> Output for Json<T> {
    fn schema(schemas: &mut Schemas) -> Option<Value> {
        Some(schemas.of_response::<T>())
    }
}

impl<T: JsonSchema> Output for (StatusCode, Json<T>) {
    fn schema(schemas: &mut Schemas) -> Option<Value> {
        Some(schemas.of_response::<T>())
    }
}

impl<T: Output> Output for Result<T, Refusal> {
    fn schema(schemas: &mut Schemas) -> Option<Value> {
        T::schema(schemas)
    }
}

impl Output for StatusCode {
    fn schema(_: &mut Schemas) -> Option<Value> {
        None
    }
}

/// Its bodies have several shapes, which the table of operations names.
impl Output for Response {
    fn schema(_: &mut Schemas) -> Option<Value> {
        None
    }
}
