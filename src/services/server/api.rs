//! The HTTP interface, as `docs/component-protocol.md` has it.

use super::registry::{Registration, Registry, WorkerState, WorkerView};
use crate::supervise::logs;
use crate::supervise::protocol::ComponentConfig;
use crate::supervise::token::{Token, new_instance};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A larger body is refused unread.
const MAX_BODY: usize = 64 * 1024;

struct Shared {
    token: Token,
    instance: String,
    since: String,
    heartbeat_ms: u64,
    registry: Mutex<Registry>,
}

impl Shared {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        // No caller can leave it half changed.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type App = Arc<Shared>;

/// All routes. What is not named here is 404, but only for those who have the token.
pub(super) fn router(config: &ComponentConfig) -> Router {
    let shared = Arc::new(Shared {
        token: config.token.clone(),
        instance: config.instance.clone(),
        since: logs::now(),
        heartbeat_ms: config.heartbeat_ms,
        registry: Mutex::new(Registry::new(Duration::from_millis(config.heartbeat_ms))),
    });
    let guarded = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/workers", post(register))
        .route("/v1/workers/{id}/heartbeat", post(heartbeat))
        .route("/v1/workers/{id}", delete(deregister))
        .fallback(async || error(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || {
            error(StatusCode::METHOD_NOT_ALLOWED, "this cannot be done here")
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), authorize));
    Router::new()
        .route("/healthz", get(async || Json(json!({"status": "ok"}))))
        .merge(guarded)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(shared)
}

fn error(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "error": text }))).into_response()
}

async fn authorize(State(app): State<App>, request: Request, next: Next) -> Response {
    if carries(request.headers(), &app.token) {
        next.run(request).await
    } else {
        error(StatusCode::UNAUTHORIZED, "the token is missing or wrong")
    }
}

fn carries(headers: &HeaderMap, token: &Token) -> bool {
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .is_some_and(|candidate| token.matches(candidate))
}

#[expect(clippy::result_large_err, reason = "the answer is the error, and it is returned at once")]
fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Response> {
    serde_json::from_slice(body).map_err(|problem| error(StatusCode::BAD_REQUEST, &problem.to_string()))
}

#[derive(Serialize)]
struct ServerStatus {
    version: &'static str,
    instance: String,
    since: String,
    workers: Vec<WorkerView>,
}

async fn status(State(app): State<App>) -> Json<ServerStatus> {
    Json(ServerStatus {
        version: crate::VERSION,
        instance: app.instance.clone(),
        since: app.since.clone(),
        workers: app.registry().view(Instant::now()),
    })
}

async fn register(State(app): State<App>, body: Bytes) -> Response {
    let registration: Registration = match parse(&body) {
        Ok(registration) => registration,
        Err(answer) => return answer,
    };
    if registration.instance != app.instance {
        return error(StatusCode::CONFLICT, "the worker belongs to another run of the supervisor");
    }
    let Ok(chance) = new_instance() else {
        return error(StatusCode::INTERNAL_SERVER_ERROR, "there is no randomness for an id");
    };
    let id = format!("w-{chance}");
    let mut registry = app.registry();
    if !registry.register(id.clone(), registration, Instant::now()) {
        return error(StatusCode::TOO_MANY_REQUESTS, "there are too many workers");
    }
    let expires_ms = u64::try_from(registry.expires().as_millis()).unwrap_or(u64::MAX);
    let answer = json!({"id": id, "heartbeat_ms": app.heartbeat_ms, "expires_ms": expires_ms});
    (StatusCode::CREATED, Json(answer)).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Heartbeat {
    state: WorkerState,
}

async fn heartbeat(State(app): State<App>, Path(id): Path<String>, body: Bytes) -> Response {
    let state = match parse::<Heartbeat>(&body) {
        Ok(Heartbeat { state: WorkerState::Stale }) => {
            return error(StatusCode::BAD_REQUEST, "only silence makes a worker stale");
        }
        Ok(heartbeat) => heartbeat.state,
        Err(answer) => return answer,
    };
    if app.registry().heartbeat(&id, state, Instant::now()) {
        Json(json!({})).into_response()
    } else {
        error(StatusCode::NOT_FOUND, "this worker is not known: register again")
    }
}

async fn deregister(State(app): State<App>, Path(id): Path<String>) -> StatusCode {
    app.registry().remove(&id);
    StatusCode::NO_CONTENT
}
