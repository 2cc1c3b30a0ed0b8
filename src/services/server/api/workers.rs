//! Workers come, are heard of, and go.

use super::extract::{Body, Path};
use super::{App, Refusal, Shared};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use std::time::Instant;
use stigmer_protocol::api::workers::{Empty, Registered, Registration, WorkerHeartbeat};
use stigmer_protocol::api::{ProblemType, WorkerState};
use stigmer_protocol::{WorkerId, id};

pub(super) async fn register(
    State(app): State<App>,
    Body(registration): Body<Registration>,
) -> Result<(StatusCode, Json<Registered>), Refusal> {
    if registration.instance != app.instance {
        return Err(Refusal::conflict("the worker belongs to another run of the supervisor"));
    }
    let chance = id::generate()
        .map_err(|_| Refusal::internal("cannot create an id: the system has no random numbers"))?;
    let id = WorkerId::from(format!("w-{chance}"));
    let mut registry = app.registry();
    if !registry.register(id.clone(), registration, Instant::now()) {
        return Err(Refusal::new(ProblemType::TooManyWorkers, "too many workers are registered"));
    }
    let expires_ms = u64::try_from(registry.expires().as_millis()).unwrap_or(u64::MAX);
    let answer = Registered { id, heartbeat_ms: app.heartbeat_ms, expires_ms };
    Ok((StatusCode::CREATED, Json(answer)))
}

pub(super) async fn heartbeat(
    State(app): State<App>,
    Path(id): Path<WorkerId>,
    Body(WorkerHeartbeat { state }): Body<WorkerHeartbeat>,
) -> Result<Json<Empty>, Refusal> {
    if state == WorkerState::Stale {
        return Err(Refusal::bad("invalid state `stale`: expected `idle`, `busy` or `draining`"));
    }
    if app.registry().heartbeat(&id, state, Instant::now()) { Ok(Json(Empty {})) } else { Err(unknown()) }
}

pub(super) fn unknown() -> Refusal {
    Refusal::missing("worker not found: register again")
}

/// A worker that goes gives back what it holds.
pub(super) async fn deregister(State(app): State<App>, Path(id): Path<WorkerId>) -> StatusCode {
    app.registry().remove(&id);
    abandon(&app, &id);
    StatusCode::NO_CONTENT
}

fn abandon(app: &Shared, id: &WorkerId) {
    app.leases().abandon(id, Instant::now());
    app.leased.notify_one();
}
