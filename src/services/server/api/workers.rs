//! Workers come, are heard of, and go.

use super::{App, Refusal, Shared, parse};
use crate::services::server::registry::Registration;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Instant;
use stigmer_protocol::api::status::WorkerState;
use stigmer_protocol::id;

pub(super) async fn register(
    State(app): State<App>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let registration: Registration = parse(&body)?;
    if registration.instance != app.instance {
        return Err(Refusal::conflict("the worker belongs to another run of the supervisor"));
    }
    let chance = id::generate().map_err(|_| Refusal::internal("there is no randomness for an id"))?;
    let id = format!("w-{chance}");
    let mut registry = app.registry();
    if !registry.register(id.clone(), registration, Instant::now()) {
        return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "there are too many workers"));
    }
    let expires_ms = u64::try_from(registry.expires().as_millis()).unwrap_or(u64::MAX);
    let answer = json!({"id": id, "heartbeat_ms": app.heartbeat_ms, "expires_ms": expires_ms});
    Ok((StatusCode::CREATED, Json(answer)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Heartbeat {
    state: WorkerState,
}

pub(super) async fn heartbeat(
    State(app): State<App>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let Heartbeat { state } = parse(&body)?;
    if state == WorkerState::Stale {
        return Err(Refusal::bad("only silence makes a worker stale"));
    }
    if app.registry().heartbeat(&id, state, Instant::now()) { Ok(Json(json!({}))) } else { Err(unknown()) }
}

pub(super) fn unknown() -> Refusal {
    Refusal::missing("this worker is not known: register again")
}

/// A worker that goes gives back what it holds.
pub(super) async fn deregister(State(app): State<App>, Path(id): Path<String>) -> StatusCode {
    app.registry().remove(&id);
    abandon(&app, &id);
    StatusCode::NO_CONTENT
}

fn abandon(app: &Shared, id: &str) {
    app.leases().abandon(id, Instant::now());
    app.leased.notify_one();
}
