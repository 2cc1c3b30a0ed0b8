//! `workflow-runner`: a worker that registers, sends heartbeats, runs workflows, and drains.
//!
//! One thread runs the executions as futures; a few more evaluate expressions. The worker is ready when the server has accepted its
//! first heartbeat. What is under way when it ends is left where it is: the journal is enough for the next worker to continue.

mod agent;
mod client;
mod evaluator;
mod execution;
mod host;
mod http;
mod report;
mod shared;
mod worker;

use super::ServiceError;
use super::role::{self, StartedBy};
use client::{Answer, REQUEST_TIMEOUT, Server};
use shared::Shared;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use stigmer_protocol::api::status::ServerStatus;
use stigmer_protocol::component::{ComponentConfig, NoSettings};
use worker::Worker;

/// Pause before another attempt.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Longest time that the server keeps a request for work waiting.
const LEASE_WAIT: Duration = Duration::from_secs(20);

/// Time that requests under way have to finish when the worker shuts down.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(8);

/// Largest number of executions under way at once.
const MAX_EXECUTIONS: usize = 2000;

/// Stack of the thread that runs the executions, in bytes: tasks nest.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// Runs the worker until it is asked to end.
pub fn run(config: &ComponentConfig, started_by: StartedBy) -> Result<(), ServiceError> {
    crate::platform::name_process(c"workflow-runner");
    config.settings::<NoSettings>()?;
    on_own_thread(|| serve(config, started_by))
}

/// Returns the instance of the supervisor that the server belongs to: a worker that a person starts joins it.
pub fn instance_of(config: &ComponentConfig) -> Result<String, ServiceError> {
    on_own_thread(|| async {
        let server = Server::new(config)?;
        let reason = match server.get::<ServerStatus>("/v1/status", REQUEST_TIMEOUT).await {
            Answer::Accepted(status) => return Ok(status.instance.into_string()),
            Answer::Refused(status, reason) => format!("{status} {reason}"),
            Answer::Unknown(reason) => reason,
            Answer::Gone | Answer::Unavailable => "no answer".to_owned(),
        };
        Err(ServiceError::Refused { url: server.url, reason })
    })
}

/// Runs a future to its end on a runtime of its own.
fn on_own_thread<F: Future<Output = Result<T, ServiceError>>, T: Send>(
    future: impl FnOnce() -> F + Send,
) -> Result<T, ServiceError> {
    let on_runtime = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = tokio::task::LocalSet::new().block_on(&runtime, future());
        // A name may still be resolving on a thread of the runtime.
        runtime.shutdown_background();
        outcome
    };
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("workflows".to_owned()).stack_size(STACK_BYTES);
        let thread = builder.spawn_scoped(scope, on_runtime)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread of the workflows panicked").into()))
    })
}

async fn serve(config: &ComponentConfig, started_by: StartedBy) -> Result<(), ServiceError> {
    let shared = Rc::new(Shared::new(config)?);
    let worker = Worker {
        shared: Rc::clone(&shared),
        instance: config.instance.clone(),
        heartbeat: Duration::from_millis(config.heartbeat_ms),
    };
    tokio::task::spawn_local(worker::lease(Rc::clone(&shared)));
    let renewing = Rc::clone(&shared);
    tokio::task::spawn_local(async move { renewing.renew_leases().await });
    let mut running = std::pin::pin!(worker.run());
    let shutdown = tokio::select! {
        outcome = &mut running => return outcome,
        shutdown = role::shutdown_requested(started_by) => shutdown,
    };
    shared.end();
    match tokio::time::timeout(shutdown.grace(SHUTDOWN_GRACE), running).await {
        Ok(outcome) => outcome,
        Err(_) => Ok(()),
    }
}
