//! Executions, from the side of those who do them.

use super::executions::answer;
use super::extract::{Body, Path};
use super::{App, LONGEST_WAIT, Refusal, Shared, to_its_end};
use crate::services::server::journal::{self, NewExecution, Outcome, Received, Report, Until};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::time::{Duration, Instant};
use stigmer_protocol::api::events::ReportedEvent;
use stigmer_protocol::api::leases::{
    CompleteExecution, CreateChild, FailExecution, LeaseHeartbeat, LeaseRequest, LeaseState, LeasedList,
    SuspendRequest,
};
use stigmer_protocol::api::{Execution, Leased};
use stigmer_protocol::{Kind, LeaseId, WorkerId};

/// How many executions a worker gets at once at most.
const MAX_LEASES: u32 = 256;

/// Gives work to a worker as soon as there is some, or answers after a while that there is none: up to `max` executions as a list, or
/// one by itself if `max` is absent.
pub(super) async fn lease(
    State(app): State<App>,
    Path(worker): Path<WorkerId>,
    Body(LeaseRequest { kinds, wait_ms, max }): Body<LeaseRequest>,
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
                let most = max.map_or(1, |max| max.clamp(1, MAX_LEASES));
                let leased =
                    app.store.write(move |tx| journal::lease(tx, &name, &wanted, lease_ms, most)).await?;
                hand_over(&app, &worker, &leased);
                Ok(leased)
            });
            let mut leases = given.await?;
            if max.is_some() && !leases.is_empty() {
                return Ok(Json(LeasedList { leases }).into_response());
            }
            if let Some(only) = leases.pop() {
                return Ok(Json(only).into_response());
            }
        }
        if tokio::time::timeout_at(deadline, woken).await.is_err() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
    }
}

fn hand_over(app: &Shared, worker: &WorkerId, leased: &[Leased]) {
    let now = Instant::now();
    for Leased { lease, execution, .. } in leased {
        app.leases().grant(lease, &execution.id, worker, execution.cancel_requested, 0, now);
        app.bells.ring(std::slice::from_ref(&execution.id));
    }
    app.leased.notify_one();
}

/// Takes in what happened, and says whether the execution is called off. Without events nothing is written.
pub(super) async fn heartbeat(
    State(app): State<App>,
    Path(lease): Path<LeaseId>,
    Body(LeaseHeartbeat { events }): Body<LeaseHeartbeat>,
) -> Result<Json<LeaseState>, Refusal> {
    let (cancel, mut last_n) = renew(&app, &lease)?;
    if !events.is_empty() {
        last_n = take_in(&app, lease, events, None).await?.last_n;
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
) -> Result<Received, Refusal> {
    let report = Report::new(events, outcome).map_err(Refusal::bad)?;
    let app = App::clone(app);
    to_its_end(async move {
        let wanted = lease.clone();
        let received = app.store.write(move |tx| journal::report(tx, &wanted, report)).await?;
        match &received.ended {
            None => app.leases().arrived(&lease, received.last_n),
            Some(ended) => {
                app.leases().release(&lease);
                // Its parent may be suspended until this.
                if ended.parent.is_some() {
                    app.work.notify_waiters();
                }
            }
        }
        app.bells.ring(std::slice::from_ref(&received.id));
        app.called_off(&received.cancelled);
        Ok(received)
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
    let received = take_in(app, lease, events, Some(outcome)).await?;
    received.ended.map(Json).ok_or_else(|| Refusal::internal("the execution has not ended"))
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

/// Takes the lease back until something happens that the execution waits for.
pub(super) async fn suspend(
    State(app): State<App>,
    Path(lease): Path<LeaseId>,
    Body(SuspendRequest { events, wake_at_ms, on_children }): Body<SuspendRequest>,
) -> Result<StatusCode, Refusal> {
    let report = Report::new(events, None).map_err(Refusal::bad)?;
    let until = Until { wake_at_ms, on_children };
    renew(&app, &lease)?;
    to_its_end(async move {
        let wanted = lease.clone();
        let suspended = app.store.write(move |tx| journal::suspend(tx, &wanted, report, until)).await?;
        app.leases().release(&lease);
        // A parent may be suspended until the cancellation that this was.
        if suspended.is_ready || !suspended.cancelled.is_empty() {
            app.work.notify_waiters();
        }
        // The next time to wake may have come nearer.
        app.suspended.notify_one();
        app.bells.ring(std::slice::from_ref(&suspended.id));
        app.called_off(&suspended.cancelled);
        Ok(StatusCode::NO_CONTENT)
    })
    .await
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
                parent: Some((parent, task)),
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
