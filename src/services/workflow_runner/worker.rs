//! Registration, heartbeats and leases of the worker.

use super::client::{Answer, REQUEST_TIMEOUT, WRITE_TIMEOUT};
use super::shared::Shared;
use super::{LEASE_WAIT, MAX_EXECUTIONS, RETRY_INTERVAL, execution};
use crate::services::{ServiceError, role};
use std::rc::Rc;
use std::time::Duration;
use stigmer_protocol::api::leases::{LeaseRequest, LeasedList};
use stigmer_protocol::api::status::WorkerState;
use stigmer_protocol::api::workers::{Empty, Registered, Registration, WorkerHeartbeat};
use stigmer_protocol::{Kind, WorkerId};

/// Name under which the worker registers.
const KIND: &str = "workflow-runner";

/// Most executions taken with one request: each comes with its definition and its journal.
const MAX_LEASES: u32 = 16;

/// A worker that registers and sends heartbeats.
pub(super) struct Worker {
    pub(super) shared: Rc<Shared>,
    pub(super) instance: String,
    pub(super) heartbeat: Duration,
}

impl Worker {
    /// Registers, reports readiness, and sends heartbeats until the worker shuts down.
    pub(super) async fn run(mut self) -> Result<(), ServiceError> {
        let shared = Rc::clone(&self.shared);
        let mut is_ready = false;
        loop {
            let id = match self.register().await {
                Answer::Accepted(registered) => {
                    self.heartbeat = Duration::from_millis(registered.heartbeat_ms.max(1));
                    registered.id
                }
                Answer::Refused(status, reason) => return Err(self.refused(status, &reason)),
                Answer::Unknown(reason) => return Err(self.refused(404, &reason)),
                Answer::Gone | Answer::Unavailable => {
                    if shared.is_ending_within(RETRY_INTERVAL).await {
                        return Ok(());
                    }
                    continue;
                }
            };
            loop {
                let state = if shared.is_busy() { WorkerState::Busy } else { WorkerState::Idle };
                match self.beat(&id, state).await {
                    Answer::Accepted(_) => {
                        if !is_ready {
                            role::say_ready(None)?;
                            is_ready = true;
                        }
                        shared.set_worker(Some(&id));
                    }
                    Answer::Unknown(_) | Answer::Gone => break,
                    Answer::Refused(status, reason) => return Err(self.refused(status, &reason)),
                    // A server that restarts asks for a registration when it is back.
                    Answer::Unavailable => {}
                }
                if shared.is_ending_within(self.heartbeat).await {
                    self.drain(&id).await;
                    return Ok(());
                }
            }
            shared.set_worker(None);
        }
    }

    fn refused(&self, status: u16, reason: &str) -> ServiceError {
        ServiceError::Refused { url: self.shared.server.url.clone(), reason: format!("{status} {reason}") }
    }

    async fn register(&self) -> Answer<Registered> {
        let body = Registration {
            kind: KIND.to_owned(),
            version: crate::VERSION.to_owned(),
            pid: std::process::id(),
            instance: self.instance.as_str().into(),
        };
        self.shared.server.post("/v1/workers", &body, REQUEST_TIMEOUT).await
    }

    async fn beat(&self, id: &WorkerId, state: WorkerState) -> Answer<Empty> {
        let path = format!("/v1/workers/{id}/heartbeat");
        self.shared.server.post(&path, &WorkerHeartbeat { state }, REQUEST_TIMEOUT).await
    }

    /// Takes no more executions, lets those under way reach a place where they can be left, and deregisters, which gives them back.
    async fn drain(&self, id: &WorkerId) {
        // Without a server there is nobody to give them back to.
        if matches!(self.beat(id, WorkerState::Draining).await, Answer::Accepted(_)) {
            self.shared.idle().await;
            let _ = self.shared.server.delete(&format!("/v1/workers/{id}")).await;
        }
    }
}

/// Takes executions while there is room for them, until the worker shuts down.
pub(super) async fn lease(shared: Rc<Shared>) {
    while let Some((id, room)) = shared.room(MAX_EXECUTIONS).await {
        let wait_ms = u64::try_from(LEASE_WAIT.as_millis()).unwrap_or(u64::MAX);
        let max = u32::try_from(room).unwrap_or(u32::MAX).min(MAX_LEASES);
        let body = LeaseRequest { kinds: vec![Kind::Workflow], wait_ms, max: Some(max) };
        let path = format!("/v1/workers/{id}/lease");
        match shared.server.post::<Option<LeasedList>>(&path, &body, LEASE_WAIT + WRITE_TIMEOUT).await {
            Answer::Accepted(leased) => {
                for leased in leased.into_iter().flat_map(|list| list.leases) {
                    execution::begin(&shared, leased);
                }
            }
            // The heartbeat gets the same answer, and registers again.
            Answer::Unknown(_) | Answer::Gone | Answer::Refused(..) | Answer::Unavailable => {
                if shared.is_ending_within(RETRY_INTERVAL).await {
                    return;
                }
            }
        }
    }
}
