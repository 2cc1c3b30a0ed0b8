//! Calls of agents: each is a child execution at the server.

use super::client::{Answer, REQUEST_TIMEOUT, WRITE_TIMEOUT};
use super::report::Work;
use super::shared::Shared;
use super::{LEASE_WAIT, RETRY_INTERVAL};
use crate::workflow::effect::AgentRequest;
use crate::workflow::engine::{Outcome, Stop};
use crate::workflow::fault::{AGENT, Fault};
use serde_json::{Value, json};
use std::rc::Rc;
use stigmer_protocol::Phase;
use stigmer_protocol::api::executions::Execution;
use stigmer_protocol::api::leases::CreateChild;
use stigmer_protocol::api::workers::Empty;
use tokio::sync::oneshot;

/// A child execution. Dropped before its end, it is cancelled, unless another worker continues its parent.
pub(super) struct Child {
    shared: Rc<Shared>,
    work: Rc<Work>,
    id: String,
    is_open: bool,
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.is_open || self.work.is_left() {
            return;
        }
        let (shared, path) = (Rc::clone(&self.shared), format!("/v1/executions/{}/cancel", self.id));
        tokio::task::spawn_local(async move {
            // If the server is away, the agent works in vain.
            let _ = shared.server.post::<Value>(&path, &Empty {}, REQUEST_TIMEOUT).await;
        });
    }
}

/// How the request for a child ended.
enum Created {
    Child(Child),
    Failed(Fault),
    Stopped(Stop),
}

/// Creates the child execution for the task `path`. The request goes on if this future is dropped, so that a child is not left behind.
///
/// # Errors
/// The fault of the task; the outer error stops the execution.
pub(super) async fn create(
    shared: &Rc<Shared>,
    work: &Rc<Work>,
    path: &str,
    request: &AgentRequest,
) -> Result<Result<Child, Fault>, Stop> {
    let body = CreateChild {
        task: path.to_owned(),
        agent: request.agent.clone(),
        message: request.message.clone(),
        session: request.session.as_deref().map(Into::into),
    };
    let (sender, created) = oneshot::channel();
    let (shared, work) = (Rc::clone(shared), Rc::clone(work));
    tokio::task::spawn_local(async move {
        // A receiver that is gone drops the child.
        let _ = sender.send(request_child(shared, work, &body).await);
    });
    match created.await {
        Ok(Created::Child(child)) => Ok(Ok(child)),
        Ok(Created::Failed(fault)) => Ok(Err(fault)),
        Ok(Created::Stopped(stop)) => Err(stop),
        Err(_) => Err(Stop::Left),
    }
}

async fn request_child(shared: Rc<Shared>, work: Rc<Work>, body: &CreateChild) -> Created {
    let path = format!("/v1/leases/{}/children", work.lease);
    loop {
        if let Err(stop) = work.goes_on() {
            return Created::Stopped(stop);
        }
        match shared.server.post::<Execution>(&path, body, WRITE_TIMEOUT).await {
            Answer::Accepted(child) => {
                return Created::Child(Child { shared, work, id: child.id.into_string(), is_open: true });
            }
            Answer::Gone => return Created::Stopped(Stop::Left),
            Answer::Unknown(reason) => return Created::Failed(failed(404, reason)),
            Answer::Refused(status, reason) => {
                // A cancelled execution may create nothing; then cancellation is the reason.
                return match work.flush(&shared.server).await {
                    Ok(()) => Created::Failed(failed(u64::from(status), reason)),
                    Err(stop) => Created::Stopped(stop),
                };
            }
            Answer::Unavailable => {
                if !work.retry().await {
                    return Created::Stopped(Stop::Left);
                }
            }
        }
    }
}

impl Child {
    /// Waits for the end of the child.
    pub(super) async fn outcome(mut self) -> Outcome {
        let path = format!("/v1/executions/{}?wait_ms={}", self.id, LEASE_WAIT.as_millis());
        loop {
            let answer = self.shared.server.get::<Execution>(&path, LEASE_WAIT + WRITE_TIMEOUT).await;
            let outcome = match answer {
                Answer::Accepted(child) => ended(child),
                Answer::Unknown(reason) | Answer::Refused(_, reason) => {
                    Some(Outcome::Failed(failed(500, reason)))
                }
                Answer::Gone | Answer::Unavailable => {
                    tokio::time::sleep(RETRY_INTERVAL).await;
                    None
                }
            };
            if let Some(outcome) = outcome {
                self.is_open = false;
                return outcome;
            }
        }
    }
}

/// Outcome of a child that has ended.
fn ended(child: Execution) -> Option<Outcome> {
    let id = &child.id;
    match child.phase {
        Phase::Completed => Some(Outcome::Done(json!({
            "text": child.output.unwrap_or_default()["text"], "execution": id, "usage": child.usage,
        }))),
        Phase::Failed => {
            let reason = child.error.map(|error| error.message).unwrap_or_default();
            Some(Outcome::Failed(failed(500, format!("the agent's execution {id} failed: {reason}"))))
        }
        Phase::Cancelled => {
            Some(Outcome::Failed(failed(500, format!("the agent's execution {id} was cancelled"))))
        }
        _ => None,
    }
}

fn failed(status: u64, reason: impl Into<String>) -> Fault {
    Fault::new(AGENT, status, "Agent Failed", reason)
}
