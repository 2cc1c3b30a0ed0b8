//! Executions, from the side of those who want them.

use super::{App, LONGEST_WAIT, Refusal, parse, to_its_end};
use crate::services::server::journal::{self, Execution, ExecutionKind, NewExecution, Phase};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// How many executions are listed if nobody says.
const LISTED: u32 = 50;

/// How many are listed at most.
const MOST_LISTED: u32 = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    kind: Option<ExecutionKind>,
    name: String,
    message: Option<String>,
    #[serde(default)]
    input: Value,
    session: Option<String>,
    key: Option<String>,
}

/// How an answer about a new execution, or one that was there already, is given.
pub(super) fn answer((execution, is_new): (Execution, bool)) -> (StatusCode, Json<Execution>) {
    (if is_new { StatusCode::CREATED } else { StatusCode::OK }, Json(execution))
}

pub(super) async fn create(
    State(app): State<App>,
    body: Bytes,
) -> Result<(StatusCode, Json<Execution>), Refusal> {
    let Wanted { kind, name, message, input, session, key } = parse(&body)?;
    if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > 200 || key.starts_with("resume:")) {
        return Err(Refusal::bad("a key has 1 to 200 bytes, and does not begin with `resume:`"));
    }
    let new = NewExecution { kind, name, message, input, session, key, ..NewExecution::default() };
    to_its_end(async move {
        let made = app.store.write(move |tx| journal::create(tx, &new)).await?;
        app.work.notify_waiters();
        Ok(answer(made))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    kind: Option<ExecutionKind>,
    phase: Option<Phase>,
    name: Option<String>,
    before: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn list(
    State(app): State<App>,
    Query(Filter { kind, phase, name, before, limit }): Query<Filter>,
) -> Result<Json<Value>, Refusal> {
    let limit = limit.unwrap_or(LISTED).clamp(1, MOST_LISTED);
    let executions = app
        .store
        .read(move |tx| {
            let which = journal::Which {
                kind: kind.map(ExecutionKind::word),
                phase: phase.map(Phase::word),
                name: name.as_deref(),
                before: before.as_deref(),
            };
            journal::list(tx, which, limit)
        })
        .await?;
    Ok(Json(json!({ "executions": executions })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    wait_ms: Option<u64>,
}

/// One execution; with `wait_ms`, when it has ended, or when that time is over.
pub(super) async fn find(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(Wait { wait_ms }): Query<Wait>,
) -> Result<Json<Execution>, Refusal> {
    let wait = Duration::from_millis(wait_ms.unwrap_or(0)).min(LONGEST_WAIT);
    let deadline = tokio::time::Instant::now() + wait;
    let bell = app.bells.of(&id);
    loop {
        let mut rung = std::pin::pin!(bell.notified());
        rung.as_mut().enable();
        let wanted = id.clone();
        let execution = app.store.read(move |tx| journal::find(tx, &wanted)).await?;
        if execution.phase.is_terminal() || tokio::time::timeout_at(deadline, rung).await.is_err() {
            return Ok(Json(execution));
        }
    }
}

pub(super) async fn cancel(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Execution>, Refusal> {
    to_its_end(async move {
        let wanted = id.clone();
        let reached = app.store.write(move |tx| journal::cancel(tx, &wanted)).await?;
        app.called_off(&reached);
        app.store.read(move |tx| journal::find(tx, &id)).await.map(Json)
    })
    .await
}

impl super::Shared {
    /// These executions were called off: whoever holds or watches them has to hear of it.
    pub(super) fn called_off(&self, ids: &[String]) {
        for id in ids {
            self.leases().cancel(id);
        }
        self.bells.ring(ids);
    }
}

pub(super) async fn resume(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Execution>), Refusal> {
    to_its_end(async move {
        let made = app.store.write(move |tx| journal::resume(tx, &id)).await?;
        app.work.notify_waiters();
        Ok(answer(made))
    })
    .await
}
