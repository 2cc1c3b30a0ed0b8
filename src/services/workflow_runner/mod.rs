//! `workflow-runner`: a worker that registers, heartbeats, carries workflows out, and drains.
//!
//! Four kinds of threads, each with a plain blocking client: one registers and heartbeats; one asks for work; one tells the server
//! that the executions in work are still in work, whatever they are doing; and one for each execution. The main thread waits for
//! the moment to end. It is ready when the server has accepted its first heartbeat: being alive is not enough.
//!
//! What is in work when it ends is left where it is: what is written in its journal is enough for the next worker to go on.

mod client;
mod execution;
mod host;
mod http;
mod work;

use super::ServiceError;
use super::role::{self, StartedBy};
use client::{Answer, PATIENCE, Server};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use stigmer_protocol::api::leases::LeaseRequest;
use stigmer_protocol::api::workers::{Empty, Registered, Registration, WorkerHeartbeat};
use stigmer_protocol::api::{Leased, ServerStatus, WorkerState};
use stigmer_protocol::component::{ComponentConfig, NoSettings};
use stigmer_protocol::{Kind, WorkerId};
use work::Shared;

/// The kind of worker this is.
const KIND: &str = "workflow-runner";

/// The pause before something that failed is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// How long the server keeps a worker waiting for work.
const ASK: Duration = Duration::from_secs(20);

/// How long an end in good order may take: what is under way with others may come to its end.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(8);

/// So many executions are in work at once. Most of them wait for something.
const MOST: usize = 200;

/// Registers, says it is ready, and works until it is time to end.
pub fn run(config: &ComponentConfig, started_by: StartedBy) -> Result<(), ServiceError> {
    crate::platform::name_process(c"workflow-runner");
    config.settings::<NoSettings>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (done, mut finished) = tokio::sync::oneshot::channel();
    let shared = Arc::new(Shared::new(config));
    let worker = Worker {
        shared: Arc::clone(&shared),
        instance: config.instance.clone(),
        pause: Duration::from_millis(config.heartbeat_ms),
    };
    thread("worker", move || {
        let _ = done.send(worker.work());
    })?;
    let asking = Arc::clone(&shared);
    thread("leases", move || ask_for_work(&asking))?;
    let beating = Arc::clone(&shared);
    thread("pulse", move || beating.pulse())?;
    runtime.block_on(async move {
        let shutdown = tokio::select! {
            outcome = &mut finished => return settled(outcome),
            shutdown = role::shutdown_requested(started_by) => shutdown,
        };
        shared.end();
        // Requests that are under way end by their own limits; more is not waited for.
        match tokio::time::timeout(shutdown.grace(SHUTDOWN_GRACE), finished).await {
            Ok(outcome) => settled(outcome),
            Err(_) => Ok(()),
        }
    })
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

/// The run of the supervisor that the server at `server_url` belongs to: a worker that a person starts joins it.
pub fn instance_of(config: &ComponentConfig) -> Result<String, ServiceError> {
    let server = Server::new(config);
    let reason = match server.get::<ServerStatus>("/v1/status", PATIENCE) {
        Answer::Accepted(status) => return Ok(status.instance.into_string()),
        Answer::Refused(status, words) => format!("{status} {words}"),
        Answer::Unknown(words) => words,
        Answer::Gone | Answer::Silence => "it does not answer".to_owned(),
    };
    Err(ServiceError::Refused { url: server.url, reason })
}

fn settled(
    outcome: Result<Result<(), ServiceError>, tokio::sync::oneshot::error::RecvError>,
) -> Result<(), ServiceError> {
    outcome.unwrap_or_else(|_| Err(io::Error::other("the worker's thread ended without a word").into()))
}

/// Registers and heartbeats.
struct Worker {
    shared: Arc<Shared>,
    instance: String,
    pause: Duration,
}

impl Worker {
    fn work(mut self) -> Result<(), ServiceError> {
        let mut ready = false;
        loop {
            let id = match self.register() {
                Answer::Accepted(registered) => {
                    self.pause = Duration::from_millis(registered.heartbeat_ms.max(1));
                    registered.id
                }
                Answer::Refused(status, words) => return Err(self.refused(status, &words)),
                Answer::Unknown(_) | Answer::Gone | Answer::Silence => {
                    if self.shared.is_end(RETRY) {
                        return Ok(());
                    }
                    continue;
                }
            };
            loop {
                let state = if self.shared.is_busy() { WorkerState::Busy } else { WorkerState::Idle };
                match self.heartbeat(&id, state) {
                    Answer::Accepted(_) => {
                        if !ready {
                            role::say_ready(None)?;
                            ready = true;
                        }
                        self.shared.known_as(Some(&id));
                    }
                    Answer::Unknown(_) | Answer::Gone => break,
                    Answer::Refused(status, words) => return Err(self.refused(status, &words)),
                    // A server that restarts is back soon, and then it asks for a registration.
                    Answer::Silence => {}
                }
                if self.shared.is_end(self.pause) {
                    self.drain(&id);
                    return Ok(());
                }
            }
            self.shared.known_as(None);
        }
    }

    fn refused(&self, status: u16, words: &str) -> ServiceError {
        ServiceError::Refused { url: self.shared.server.url.clone(), reason: format!("{status} {words}") }
    }

    fn register(&self) -> Answer<Registered> {
        let body = Registration {
            kind: KIND.to_owned(),
            version: crate::VERSION.to_owned(),
            pid: std::process::id(),
            instance: self.instance.as_str().into(),
        };
        self.shared.server.post("/v1/workers", &body, PATIENCE)
    }

    fn heartbeat(&self, id: &WorkerId, state: WorkerState) -> Answer<Empty> {
        let path = format!("/v1/workers/{id}/heartbeat");
        self.shared.server.post(&path, &WorkerHeartbeat { state }, PATIENCE)
    }

    /// Takes no more, lets the executions come to a place where they can be left, and says goodbye: that gives them back. If the
    /// server is gone, there is nobody to say it to.
    fn drain(&self, id: &WorkerId) {
        if matches!(self.heartbeat(id, WorkerState::Draining), Answer::Accepted(_)) {
            self.shared.wait_until_idle();
            self.shared.server.delete(&format!("/v1/workers/{id}"));
        }
    }
}

/// Takes work as long as there is room for it, until it is time to end.
fn ask_for_work(shared: &Arc<Shared>) {
    while let Some(id) = shared.wait_for_room(MOST) {
        let wait = u64::try_from(ASK.as_millis()).unwrap_or(u64::MAX);
        let body = LeaseRequest { kinds: vec![Kind::Workflow], wait_ms: wait, max: None };
        let path = format!("/v1/workers/{id}/lease");
        match shared.server.post::<Option<Leased>>(&path, &body, ASK + 5 * PATIENCE) {
            Answer::Accepted(Some(leased)) => execution::begin(shared, leased),
            Answer::Accepted(None) => {}
            // The other thread hears the same, and registers again.
            Answer::Unknown(_) | Answer::Gone | Answer::Refused(..) | Answer::Silence => {
                if shared.is_end(RETRY) {
                    return;
                }
            }
        }
    }
}
