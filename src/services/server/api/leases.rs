//! Executions, from the side of those who do them.

use super::executions::answer;
use super::{App, LONGEST_WAIT, Refusal, Shared, parse, to_its_end};
use crate::services::server::journal::{
    self, Error, Execution, ExecutionKind, Leased, NewExecution, Outcome, Report, Reported,
};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    kinds: Vec<ExecutionKind>,
    #[serde(default)]
    wait_ms: u64,
}

/// Gives work to a worker as soon as there is some, or says after a while that there is none.
pub(super) async fn lease(
    State(app): State<App>,
    Path(worker): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let Asked { kinds, wait_ms } = parse(&body)?;
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

fn hand_over(app: &Shared, worker: &str, leased: Leased) -> Response {
    let execution = &leased.execution;
    app.leases().grant(&leased.lease, &execution.id, worker, execution.cancel_requested, 0, Instant::now());
    app.leased.notify_one();
    app.bells.ring(&[&execution.id]);
    Json(leased).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(default)]
    events: Vec<Reported>,
}

/// Takes in what happened, and says whether the execution is called off. Without events nothing is written.
pub(super) async fn heartbeat(
    State(app): State<App>,
    Path(lease): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let Said { events } = parse(&body)?;
    let (cancel, mut last_n) = renew(&app, &lease)?;
    if !events.is_empty() {
        (_, last_n) = take_in(&app, lease, Report { events, outcome: None }).await?;
    }
    Ok(Json(json!({"cancel": cancel, "last_n": last_n})))
}

fn renew(app: &Shared, lease: &str) -> Result<(bool, u64), Refusal> {
    app.leases().renew(lease, Instant::now()).ok_or_else(|| {
        Refusal::gone("this lease does not hold any more: leave the execution to whoever has it now")
    })
}

async fn take_in(app: &App, lease: String, report: Report) -> Result<(Execution, u64), Refusal> {
    report.check().map_err(Refusal::bad)?;
    let app = App::clone(app);
    to_its_end(async move {
        let is_over = report.outcome.is_some();
        let wanted = lease.clone();
        let (execution, last_n, cancelled) =
            app.store.write(move |tx| journal::report(tx, &wanted, report)).await?;
        if is_over {
            app.leases().release(&lease);
        } else {
            app.leases().arrived(&lease, last_n);
        }
        app.bells.ring(&[&execution.id]);
        app.called_off(&cancelled);
        Ok((execution, last_n))
    })
    .await
}

async fn end(
    app: &App,
    lease: String,
    events: Vec<Reported>,
    outcome: Outcome,
) -> Result<Json<Execution>, Refusal> {
    renew(app, &lease)?;
    let (execution, _) = take_in(app, lease, Report { events, outcome: Some(outcome) }).await?;
    Ok(Json(execution))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Completed {
    #[serde(default)]
    events: Vec<Reported>,
    output: Value,
}

pub(super) async fn complete(
    State(app): State<App>,
    Path(lease): Path<String>,
    body: Bytes,
) -> Result<Json<Execution>, Refusal> {
    let Completed { events, output } = parse(&body)?;
    end(&app, lease, events, Outcome::Completed(output)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failed {
    #[serde(default)]
    events: Vec<Reported>,
    error: Error,
}

pub(super) async fn fail(
    State(app): State<App>,
    Path(lease): Path<String>,
    body: Bytes,
) -> Result<Json<Execution>, Refusal> {
    let Failed { events, error } = parse(&body)?;
    end(&app, lease, events, Outcome::Failed(error)).await
}

pub(super) async fn cancelled(
    State(app): State<App>,
    Path(lease): Path<String>,
    body: Bytes,
) -> Result<Json<Execution>, Refusal> {
    let Said { events } = parse(&body)?;
    end(&app, lease, events, Outcome::Cancelled).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Child {
    task: String,
    agent: String,
    message: String,
    session: Option<String>,
}

/// Begins the execution of an agent for a task of a workflow; asked again for the same task, it is the same one.
pub(super) async fn child(
    State(app): State<App>,
    Path(lease): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<Execution>), Refusal> {
    let Child { task, agent, message, session } = parse(&body)?;
    renew(&app, &lease)?;
    to_its_end(async move {
        let made = app.store.write(move |tx| {
            let parent = journal::holder(tx, &lease)?;
            let new = NewExecution {
                kind: Some(ExecutionKind::Agent),
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
pub(super) async fn expire(app: &Shared, lease: String) {
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
