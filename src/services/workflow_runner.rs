//! `workflow-runner`: a worker that registers, heartbeats and drains.
//!
//! The work itself is done in a thread with a plain blocking client, one request at a time; the main thread waits for
//! the moment to end. It is ready when the server has accepted its first heartbeat: being alive is not enough.

use super::ServiceError;
use super::role::{self, Leash};
use crate::supervise::protocol::ComponentConfig;
use serde::Deserialize;
use serde_json::json;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use ureq::Agent;

/// The kind of worker this is.
const KIND: &str = "workflow-runner";

/// The server is on this machine; if it takes longer, it is in trouble.
const PATIENCE: Duration = Duration::from_secs(2);

/// The pause before a failed registration is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// Registers, says it is ready, and heartbeats until it is time to end.
pub fn run(config: &ComponentConfig, leash: Leash) -> Result<(), ServiceError> {
    crate::platform::name_process(c"workflow-runner");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (end, ends) = channel();
    let (done, mut finished) = tokio::sync::oneshot::channel();
    let worker = Worker::new(config);
    std::thread::Builder::new().name("worker".to_owned()).spawn(move || {
        let _ = done.send(worker.work(&ends));
    })?;
    runtime.block_on(async move {
        let haste = tokio::select! {
            outcome = &mut finished => return settled(outcome),
            haste = role::time_to_end(leash) => haste,
        };
        let _ = end.send(());
        // A request that is under way ends by its own limit; more is not waited for.
        match tokio::time::timeout(haste.limit(PATIENCE * 2), finished).await {
            Ok(outcome) => settled(outcome),
            Err(_) => Ok(()),
        }
    })
}

/// The run of the supervisor that the server at `server_url` belongs to: a worker that a person starts joins it.
pub fn instance_of(config: &ComponentConfig) -> Result<String, ServiceError> {
    #[derive(Deserialize)]
    struct ServerStatus {
        instance: String,
    }
    let worker = Worker::new(config);
    let response = worker
        .agent
        .get(format!("{}/v1/status", worker.url))
        .header("Authorization", &worker.authorization)
        .call();
    let refused = |reason: String| ServiceError::Refused { url: worker.url.clone(), reason };
    match response {
        Err(error) => Err(refused(error.to_string())),
        Ok(response) if !response.status().is_success() => Err(refused(response.status().to_string())),
        Ok(mut response) => response
            .body_mut()
            .read_json()
            .map(|status: ServerStatus| status.instance)
            .map_err(|error| refused(error.to_string())),
    }
}

fn settled(
    outcome: Result<Result<(), ServiceError>, tokio::sync::oneshot::error::RecvError>,
) -> Result<(), ServiceError> {
    outcome.unwrap_or_else(|_| Err(io::Error::other("the worker's thread ended without a word").into()))
}

struct Worker {
    agent: Agent,
    url: String,
    authorization: String,
    instance: String,
    pause: Duration,
}

#[derive(Deserialize)]
struct Registered {
    id: String,
    heartbeat_ms: u64,
}

/// What the server made of a request.
enum Answer<T> {
    /// It was accepted.
    Accepted(T),
    /// It does not know this worker.
    Unknown,
    /// It refuses; asking again would not change that.
    Refused(String),
    /// It did not answer, or is in trouble.
    Silence,
}

impl Worker {
    fn new(config: &ComponentConfig) -> Self {
        let agent = Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        Self {
            agent,
            url: config.server_url.trim_end_matches('/').to_owned(),
            authorization: format!("Bearer {}", config.token.reveal()),
            instance: config.instance.clone(),
            pause: Duration::from_millis(config.heartbeat_ms),
        }
    }

    fn work(mut self, ends: &Receiver<()>) -> Result<(), ServiceError> {
        let mut ready = false;
        loop {
            let id = match self.register() {
                Answer::Accepted(registered) => {
                    self.pause = Duration::from_millis(registered.heartbeat_ms.max(1));
                    registered.id
                }
                Answer::Refused(reason) => {
                    return Err(ServiceError::Refused { url: self.url, reason });
                }
                Answer::Unknown | Answer::Silence => {
                    if is_end(ends, RETRY) {
                        return Ok(());
                    }
                    continue;
                }
            };
            loop {
                match self.heartbeat(&id, "idle") {
                    Answer::Accepted(()) if !ready => {
                        role::say_ready(None)?;
                        ready = true;
                    }
                    Answer::Unknown => break,
                    Answer::Refused(reason) => {
                        return Err(ServiceError::Refused { url: self.url, reason });
                    }
                    // A server that restarts is back soon, and then it asks for a registration.
                    Answer::Accepted(()) | Answer::Silence => {}
                }
                if is_end(ends, self.pause) {
                    self.drain(&id);
                    return Ok(());
                }
            }
        }
    }

    fn register(&self) -> Answer<Registered> {
        let body = json!({
            "kind": KIND,
            "version": crate::VERSION,
            "pid": std::process::id(),
            "instance": self.instance,
        });
        let response = self.post("/v1/workers", &body);
        judge(response, |response| response.body_mut().read_json().ok())
    }

    fn heartbeat(&self, id: &str, state: &str) -> Answer<()> {
        let response = self.post(&format!("/v1/workers/{id}/heartbeat"), &json!({ "state": state }));
        judge(response, |_| Some(()))
    }

    /// Says goodbye. If the server is gone, there is nobody to say it to.
    fn drain(&self, id: &str) {
        if matches!(self.heartbeat(id, "draining"), Answer::Accepted(())) {
            let _ = self
                .agent
                .delete(format!("{}/v1/workers/{id}", self.url))
                .header("Authorization", &self.authorization)
                .call();
        }
    }

    fn post(&self, path: &str, body: &serde_json::Value) -> Result<Response, ureq::Error> {
        self.agent
            .post(format!("{}{path}", self.url))
            .header("Authorization", &self.authorization)
            .send_json(body)
    }
}

type Response = ureq::http::Response<ureq::Body>;

fn judge<T>(response: Result<Response, ureq::Error>, read: impl Fn(&mut Response) -> Option<T>) -> Answer<T> {
    let Ok(mut response) = response else {
        return Answer::Silence;
    };
    let status = response.status();
    if status.is_success() {
        return read(&mut response).map_or(Answer::Silence, Answer::Accepted);
    }
    if status.as_u16() == 404 {
        return Answer::Unknown;
    }
    if status.is_client_error() {
        let text = response.body_mut().read_to_string().unwrap_or_default();
        return Answer::Refused(format!("{status} {text}"));
    }
    Answer::Silence
}

/// Waits for so long; `true` if it is time to end.
fn is_end(ends: &Receiver<()>, pause: Duration) -> bool {
    !matches!(ends.recv_timeout(pause), Err(RecvTimeoutError::Timeout))
}
