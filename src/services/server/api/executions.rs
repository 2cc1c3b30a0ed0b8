//! Executions, from the side of those who want them.

use super::extract::{Body, Path, Query};
use super::{App, LONGEST_WAIT, Refusal, to_its_end};
use crate::services::server::journal::{self, NewExecution};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use std::time::Duration;
use stigmer_protocol::ExecutionId;
use stigmer_protocol::api::Execution;
use stigmer_protocol::api::executions::{
    CreateExecution, ExecutionList, ExecutionQuery, PruneRequest, PruneResult, WaitQuery,
};

/// How many executions are listed if nobody says.
const LISTED: u32 = 50;

/// How many are listed at most.
const MOST_LISTED: u32 = 1000;

/// How an answer about a new execution, or one that was there already, is given.
pub(super) fn answer((execution, is_new): (Execution, bool)) -> (StatusCode, Json<Execution>) {
    (if is_new { StatusCode::CREATED } else { StatusCode::OK }, Json(execution))
}

pub(super) async fn create(
    State(app): State<App>,
    Body(CreateExecution { kind, name, message, input, session, key }): Body<CreateExecution>,
) -> Result<(StatusCode, Json<Execution>), Refusal> {
    if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > 200 || key.starts_with("resume:")) {
        return Err(Refusal::bad("invalid key: expected 1 to 200 bytes that do not begin with `resume:`"));
    }
    let new = NewExecution { kind, name, message, input, session, key, ..NewExecution::default() };
    to_its_end(async move {
        let made = app.store.write(move |tx| journal::create(tx, &new)).await?;
        app.work.notify_waiters();
        Ok(answer(made))
    })
    .await
}

pub(super) async fn list(
    State(app): State<App>,
    Query(ExecutionQuery { kind, phase, name, before, limit }): Query<ExecutionQuery>,
) -> Result<Json<ExecutionList>, Refusal> {
    let limit = limit.unwrap_or(LISTED).clamp(1, MOST_LISTED);
    let executions = app
        .store
        .read_long(move |tx| {
            let which = journal::Which { kind, phase, name: name.as_deref(), before: before.as_deref() };
            journal::list(tx, which, limit)
        })
        .await?;
    Ok(Json(ExecutionList { executions }))
}

/// One execution; with `wait_ms`, when it has ended, or when that time is over.
pub(super) async fn find(
    State(app): State<App>,
    Path(id): Path<ExecutionId>,
    Query(WaitQuery { wait_ms }): Query<WaitQuery>,
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
    Path(id): Path<ExecutionId>,
) -> Result<Json<Execution>, Refusal> {
    to_its_end(async move {
        let wanted = id.clone();
        let reached = app.store.write(move |tx| journal::cancel(tx, &wanted)).await?;
        app.called_off(&reached);
        // Its parent may be suspended until this.
        app.work.notify_waiters();
        app.store.read(move |tx| journal::find(tx, &id)).await.map(Json)
    })
    .await
}

pub(super) async fn delete(
    State(app): State<App>,
    Path(id): Path<ExecutionId>,
) -> Result<StatusCode, Refusal> {
    to_its_end(async move {
        loop {
            let wanted = id.clone();
            if app.store.write(move |tx| journal::delete(tx, &wanted)).await? {
                break;
            }
        }
        app.deleted.notify_one();
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

pub(super) async fn prune(
    State(app): State<App>,
    Body(request): Body<PruneRequest>,
) -> Result<Json<PruneResult>, Refusal> {
    to_its_end(async move { app.prune(request).await.map(Json) }).await
}

impl super::Shared {
    /// These executions were called off: whoever holds or watches them has to hear of it.
    pub(super) fn called_off(&self, ids: &[ExecutionId]) {
        for id in ids {
            self.leases().cancel(id);
        }
        self.bells.ring(ids);
    }
}

pub(super) async fn resume(
    State(app): State<App>,
    Path(id): Path<ExecutionId>,
) -> Result<(StatusCode, Json<Execution>), Refusal> {
    to_its_end(async move {
        let made = app.store.write(move |tx| journal::resume(tx, &id)).await?;
        app.work.notify_waiters();
        Ok(answer(made))
    })
    .await
}
