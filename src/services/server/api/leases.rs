//! Executions, from the side of those who do them.

use super::executions::answer;
use super::extract::{Body, Path};
use super::{App, LONGEST_WAIT, Refusal, Shared, to_its_end};
use crate::services::server::journal::{self, NewExecution, Outcome, Report};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::time::{Duration, Instant};
use stigmer_protocol::api::events::ReportedEvent;
use stigmer_protocol::api::leases::{
    CompleteExecution, CreateChild, FailExecution, LeaseHeartbeat, LeaseRequest, LeaseState,
};
use stigmer_protocol::api::{Execution, Leased};
use stigmer_protocol::{Kind, LeaseId, WorkerId};

/// Gives work to a worker as soon as there is some, or says after a while that there is none.
pub(super) async fn lease(
    State(app): State<App>,
    Path(worker): Path<WorkerId>,
    Body(LeaseRequest { kinds, wait_ms }): Body<LeaseRequest>,
) -> Result<Response, Refusal> {
    let wait = Duration::from_millis(wait_ms).min(LONGEST_WAIT);
    let deadline = tokio::time::Instant::now() + wait;
    let lease_ms = u64::try_from(app.leases().length().as_millis()).unwrap_or(u64::MAX);
    loop {
        let mut woken = std::pin::pin!(app.work.notified());
        woken.as_mut().enable();
        // Who waits for work is heard of, as if it had sent a heartbeat. It may have other work already.
        if !app.registry().hear(&worker, Instant::now()) {
            return Err(super::workers::unknown());
        }
        // Looking costs nothing; only taking costs a commit.
        let wanted = kinds.clone();
        if app.store.read(move |tx| journal::is_there_work(tx, &wanted)).await? {
            let (app, worker, wanted) = (App::clone(&app), worker.clone(), kinds.clone());
            let given = to_its_end(async move {
                let name = worker.clone();
                let leased = app.store.write(move |tx| journal::lease(tx, &name, &wanted, lease_ms)).await?;
                Ok(leased.map(|leased| hand_over(&app, &worker, leased)))
            });
            if let Some(answer) = given.await? {
                return Ok(answer);
            }
        }
        if tokio::time::timeout_at(deadline, woken).await.is_err() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
    }
}

fn hand_over(app: &Shared, worker: &WorkerId, leased: Leased) -> Response {
    let execution = &leased.execution;
    app.leases().grant(&leased.lease, &execution.id, worker, execution.cancel_requested, 0, Instant::now());
    app.leased.notify_one();
    app.bells.ring(std::slice::from_ref(&execution.id));
    Json(leased).into_response()
}

/// Takes in what happened, and says whether the execution is called off. Without events nothing is written.
pub(super) async fn heartbeat(
    State(app): State<App>,
    Path(lease): Path<LeaseId>,
    Body(LeaseHeartbeat { events }): Body<LeaseHeartbeat>,
) -> Result<Json<LeaseState>, Refusal> {
    let (cancel, mut last_n) = renew(&app, &lease)?;
    if !events.is_empty() {
        (_, last_n) = take_in(&app, lease, events, None).await?;
    }
    Ok(Json(LeaseState { cancel, last_n }))
}

fn renew(app: &Shared, lease: &LeaseId) -> Result<(bool, u64), Refusal> {
    app.leases().renew(lease, Instant::now()).ok_or_else(Refusal::lease_lost)
}

async fn take_in(
    app: &App,
    lease: LeaseId,
    events: Vec<ReportedEvent>,
    outcome: Option<Outcome>,
) -> Result<(Execution, u64), Refusal> {
    let report = Report::new(events, outcome).map_err(Refusal::bad)?;
    let app = App::clone(app);
    to_its_end(async move {
        let is_over = report.is_end();
        let wanted = lease.clone();
        let (execution, last_n, cancelled) =
            app.store.write(move |tx| journal::report(tx, &wanted, report)).await?;
        if is_over {
            app.leases().release(&lease);
        } else {
            app.leases().arrived(&lease, last_n);
        }
        app.bells.ring(std::slice::from_ref(&execution.id));
        app.called_off(&cancelled);
        Ok((execution, last_n))
    })
    .await
}

async fn end(
    app: &App,
    lease: LeaseId,
    events: Vec<ReportedEvent>,
    outcome: Outcome,
) -> Result<Json<Execution>, Refusal> {
    renew(app, &lease)?;
    let (execution, _) = take_in(app, lease, events, Some(outcome)).await?;
    Ok(Json(execution))
}

pub(super) async fn complete(
    State(app): State<App>,
    Path(lease): Path<LeaseId>,
    Body(CompleteExecution { events, output }): Body<CompleteExecution>,
) -> Result<Json<Execution>, Refusal> {
    end(&app, lease, events, Outcome::Completed(output)).await
}

pub(super) async fn fail(
    State(app): State<App>,
    Path(lease): Path<LeaseId>,
    Body(FailExecution { events, error }): Body<FailExecution>,
) -> Result<Json<Execution>, Refusal> {
    end(&app, lease, events, Outcome::Failed(error)).await
}

pub(super) async fn cancelled(
    State(app): State<App>,
    Path(lease): Path<LeaseId>,
    Body(LeaseHeartbeat { events }): Body<LeaseHeartbeat>,
) -> Result<Json<Execution>, Refusal> {
    end(&app, lease, events, Outcome::Cancelled).await
}

/// Begins the execution of an agent for a task of a workflow; asked again for the same task, it is the same one.
pub(super) async fn child(
    State(app): State<App>,
    Path(lease): Path<LeaseId>,
    Body(CreateChild { task, agent, message, session }): Body<CreateChild>,
) -> Result<(StatusCode, Json<Execution>), Refusal> {
    renew(&app, &lease)?;
    to_its_end(async move {
        let made = app.store.write(move |tx| {
            let parent = journal::holder(tx, &lease)?;
            let new = NewExecution {
                kind: Some(Kind::Agent),
                name: agent,
                message: Some(message),
                session,
                parent: Some((parent.id, task)),
                ..NewExecution::default()
            };
            journal::create(tx, &new)
        });
        let made = made.await?;
        app.work.notify_waiters();
        Ok(answer(made))
    })
    .await
}

/// Takes an execution from a worker that was not heard of any more.
pub(super) async fn expire(app: &Shared, lease: LeaseId) {
    let (wanted, is_given_back) = (lease.clone(), app.leases().is_given_back(&lease));
    match app.store.write(move |tx| journal::expire(tx, &wanted, is_given_back)).await {
        Ok(reached) => {
            app.leases().release(&lease);
            app.called_off(&reached[1.min(reached.len())..]);
            app.bells.ring(&reached);
            app.work.notify_waiters();
        }
        // The disk is full, say. It is tried again when a lease would end next; until then nobody has the execution.
        Err(_) => app.leases().postpone(&lease, Instant::now()),
    }
}
