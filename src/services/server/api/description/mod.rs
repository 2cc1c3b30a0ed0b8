//! The description of this interface, `openapi.json`: generated from the types that the handlers take and return.
//!
//! Only the tests generate it, so that none of this is in the executable. What a type cannot tell stands in the table of operations:
//! a name, a sentence, the codes of success, and the problems of the operation's own.

mod operation;
mod schemas;

use super::{events, executions, leases, resources, workers};
use operation::{Described, Operation};
use schemas::Schemas;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use stigmer_protocol::api::ProblemType::{
    self, Conflict, InvalidRequest, InvalidResource, LeaseLost, NotFound, StorageFull, TooManyWorkers,
};
use stigmer_protocol::api::events::EventPage;
use stigmer_protocol::api::leases::LeasedList;
use stigmer_protocol::api::problem::PROBLEM_JSON;
use stigmer_protocol::api::status::Health;
use stigmer_protocol::api::{JournalEvent, Leased, Problem};

/// The method, the name and the summary of an operation, and what its handler's type says.
struct Entry {
    path: &'static str,
    method: &'static str,
    id: &'static str,
    summary: &'static str,
    /// Code and meaning of each success.
    successes: Vec<(u16, &'static str)>,
    operation: Operation,
}

/// All operations, as they are added.
struct Operations {
    schemas: Schemas,
    entries: Vec<Entry>,
}

impl Operations {
    /// Adds what `handler` does.
    fn add<H: Described<A>, A>(
        &mut self,
        (method, path): (&'static str, &'static str),
        _handler: H,
        (id, summary): (&'static str, &'static str),
        successes: &[(u16, &'static str)],
        problems: &[ProblemType],
    ) -> &mut Entry {
        let mut operation = Operation::default();
        H::describe(&mut self.schemas, path, &mut operation);
        operation.problem(ProblemType::Unauthorized);
        for kind in problems {
            operation.problem(*kind);
        }
        self.entries.push(Entry { path, method, id, summary, successes: successes.to_vec(), operation });
        self.entries.last_mut().expect("just added")
    }
}

/// What workers call.
fn add_workers(all: &mut Operations) {
    all.add(
        ("post", "/v1/workers"),
        workers::register,
        ("registerWorker", "Register a worker"),
        &[(201, "The worker is registered")],
        &[Conflict, TooManyWorkers],
    );
    all.add(
        ("delete", "/v1/workers/{id}"),
        workers::deregister,
        ("deregisterWorker", "Deregister a worker; its executions go to other workers"),
        &[(204, "The worker is not registered any more")],
        &[],
    );
    all.add(
        ("post", "/v1/workers/{id}/heartbeat"),
        workers::heartbeat,
        ("heartbeatWorker", "Report that a worker is alive"),
        &[(200, "The heartbeat was noted")],
        &[InvalidRequest, NotFound],
    );
    let leased =
        json!({"oneOf": [all.schemas.of_response::<Leased>(), all.schemas.of_response::<LeasedList>()]});
    all.add(
        ("post", "/v1/workers/{id}/lease"),
        leases::lease,
        ("leaseExecution", "Wait for an execution to carry out, and lease it"),
        &[
            (200, "An execution, leased to the worker; with `max` a list of them"),
            (204, "There was none in the time given"),
        ],
        &[NotFound],
    )
    .operation
    .response = Some(leased);
    let ended = &[Conflict, InvalidRequest, LeaseLost];
    all.add(
        ("post", "/v1/leases/{lease}/heartbeat"),
        leases::heartbeat,
        ("heartbeatLease", "Renew a lease and report events"),
        &[(200, "The lease is renewed and the events are journaled")],
        ended,
    );
    all.add(
        ("post", "/v1/leases/{lease}/complete"),
        leases::complete,
        ("completeExecution", "End the leased execution with an output"),
        &[(200, "The execution is completed")],
        ended,
    );
    all.add(
        ("post", "/v1/leases/{lease}/fail"),
        leases::fail,
        ("failExecution", "End the leased execution with an error"),
        &[(200, "The execution has failed")],
        ended,
    );
    all.add(
        ("post", "/v1/leases/{lease}/cancelled"),
        leases::cancelled,
        ("endCancelledExecution", "End the leased execution because its cancellation was requested"),
        &[(200, "The execution is cancelled")],
        ended,
    );
    all.add(
        ("post", "/v1/leases/{lease}/suspend"),
        leases::suspend,
        ("suspendExecution", "Give the lease back until a time or the end of a child execution"),
        &[(204, "The execution is suspended, and the lease has ended")],
        ended,
    );
    all.add(
        ("post", "/v1/leases/{lease}/children"),
        leases::child,
        ("createChild", "Create the execution of an agent that a workflow's task calls"),
        &[(201, "The execution is created"), (200, "The task has created this execution before")],
        &[Conflict, InvalidRequest, LeaseLost, NotFound],
    );
}

/// Agents and workflows.
fn add_resources(all: &mut Operations) {
    all.add(
        ("get", "/v1/resources"),
        resources::list,
        ("listResources", "List the agents and workflows that are applied"),
        &[(200, "The resources by kind and name")],
        &[],
    );
    all.add(
        ("get", "/v1/resources/{kind}/{name}"),
        resources::find,
        ("getResource", "Get an agent or a workflow"),
        &[(200, "The resource")],
        &[NotFound],
    );
    all.add(
        ("put", "/v1/resources/{kind}/{name}"),
        resources::put,
        ("putResource", "Apply an agent or a workflow"),
        &[(200, "The resource is applied")],
        &[InvalidRequest, InvalidResource, NotFound],
    );
    all.add(
        ("delete", "/v1/resources/{kind}/{name}"),
        resources::delete,
        ("deleteResource", "Delete an agent or a workflow"),
        &[(204, "The resource is deleted")],
        &[NotFound, StorageFull],
    );
}

/// Executions, for those who want them.
fn add_executions(all: &mut Operations) {
    all.add(
        ("get", "/v1/executions"),
        executions::list,
        ("listExecutions", "List executions, the newest first"),
        &[(200, "A page of executions")],
        &[InvalidRequest],
    );
    all.add(
        ("post", "/v1/executions"),
        executions::create,
        ("createExecution", "Run an agent or a workflow"),
        &[(201, "The execution is created"), (200, "The key belongs to this execution, created before")],
        &[Conflict, InvalidRequest, NotFound],
    );
    all.add(
        ("get", "/v1/executions/{id}"),
        executions::find,
        ("getExecution", "Get an execution, at once or when it has ended"),
        &[(200, "The execution")],
        &[NotFound],
    );
    all.add(
        ("post", "/v1/executions/{id}/cancel"),
        executions::cancel,
        ("cancelExecution", "Request the cancellation of an execution and its children"),
        &[(200, "Cancellation is requested")],
        &[Conflict, NotFound, StorageFull],
    );
    all.add(
        ("post", "/v1/executions/{id}/resume"),
        executions::resume,
        ("resumeExecution", "Retry an interrupted execution of an agent in the same session"),
        &[(201, "A new execution is created"), (200, "The execution was resumed before, by this one")],
        &[Conflict, NotFound, StorageFull],
    );
    all.add(
        ("delete", "/v1/executions/{id}"),
        executions::delete,
        ("deleteExecution", "Delete an execution that has ended, its children and their workspaces"),
        &[(204, "The execution is deleted; workspaces are removed in the background")],
        &[Conflict, NotFound, StorageFull],
    );
    all.add(
        ("post", "/v1/executions/prune"),
        executions::prune,
        ("pruneExecutions", "Delete executions that have ended, or count them"),
        &[(200, "What was deleted, or would be")],
        &[],
    );
    let page = all.schemas.of_response::<EventPage<JournalEvent>>();
    let entry = all.add(
        ("get", "/v1/executions/{id}/events"),
        events::events,
        (
            "listEvents",
            "Get a page of an execution's events, or follow them as a stream of server-sent events",
        ),
        &[(200, "A page of events; with `Accept: text/event-stream` a stream that ends with the execution")],
        &[NotFound],
    );
    entry.operation.response = Some(page);
    entry.operation.is_streamed = true;
    entry.operation.parameters.push(json!({
        "name": "Last-Event-ID",
        "in": "header",
        "required": false,
        "description": "Sequence number of the last event that the client has seen.",
        "schema": {"type": "string"},
    }));
}

/// Every operation for those who have the token.
fn operations() -> Operations {
    let mut all = Operations { schemas: Schemas::new(), entries: Vec::new() };
    all.add(
        ("get", "/v1/status"),
        super::status,
        ("getStatus", "Get the status of the server and its workers"),
        &[(200, "The status")],
        &[],
    );
    add_workers(&mut all);
    add_resources(&mut all);
    add_executions(&mut all);
    all
}

/// The whole description, a document of `OpenAPI` 3.1.
pub(super) fn document() -> Value {
    let Operations { mut schemas, mut entries } = operations();
    let problem = json!({
        "description": "A problem document (RFC 9457)",
        "content": {PROBLEM_JSON: {"schema": schemas.of_response::<Problem>()}},
    });
    let health = schemas.of_response::<Health>();
    let mut parts: Vec<&mut Value> = Vec::new();
    for entry in &mut entries {
        parts.extend(entry.operation.request.as_mut());
        parts.extend(&mut entry.operation.parameters);
    }
    let named = schemas.into_named(&mut parts);
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let answer = |description: &str, schema: Value| json!({"description": description, "content": {"application/json": {"schema": schema}}});
    paths.entry("/healthz").or_default().insert(
        "get".to_owned(),
        json!({
            "operationId": "getHealth",
            "summary": "Check that the server answers; needs no token",
            "security": [],
            "responses": {"200": answer("The server answers", health)},
        }),
    );
    let unauthorized = Entry::problems(&[(401, ProblemType::Unauthorized.title())]);
    let mut responses =
        Map::from_iter([("200".to_owned(), answer("This document", json!({"type": "object"})))]);
    responses.extend(unauthorized);
    paths.entry("/openapi.json").or_default().insert(
        "get".to_owned(),
        json!({"operationId": "getDescription", "summary": "Get this document", "responses": responses}),
    );
    for entry in entries {
        paths.entry(entry.path).or_default().insert(entry.method.to_owned(), entry.described());
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "stigmer-server",
            "version": "1",
            "description": "Agents, workflows and their executions on this machine. The server listens on a loopback address only; every request but GET /healthz needs the token of the installation.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {"Problem": problem},
            "schemas": named,
        },
    })
}

impl Entry {
    fn described(self) -> Value {
        let Operation { parameters, request, response, is_streamed, problems } = self.operation;
        let mut responses = Map::new();
        for (code, description) in self.successes {
            let mut answer = json!({"description": description});
            if let Some(schema) = response.as_ref().filter(|_| code != 204) {
                answer["content"] = json!({"application/json": {"schema": schema}});
                if is_streamed {
                    answer["content"]["text/event-stream"] = json!({"schema": {"type": "string"}});
                }
            }
            responses.insert(code.to_string(), answer);
        }
        let problems: Vec<_> = problems.into_iter().collect();
        responses.extend(Self::problems(&problems));
        let mut described = json!({"operationId": self.id, "summary": self.summary, "responses": responses});
        if !parameters.is_empty() {
            described["parameters"] = parameters.into();
        }
        if let Some(schema) = request {
            let content = json!({"application/json": {"schema": schema}});
            described["requestBody"] = json!({"required": true, "content": content});
        }
        described
    }

    /// The answers with problem documents, one for each code.
    fn problems(problems: &[(u16, &str)]) -> Map<String, Value> {
        let mut titles: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for (code, title) in problems {
            titles.entry(*code).or_default().push(title);
        }
        let answer = |(code, titles): (u16, Vec<&str>)| {
            (
                code.to_string(),
                json!({"$ref": "#/components/responses/Problem", "description": titles.join("; ")}),
            )
        };
        titles.into_iter().map(answer).collect()
    }
}
