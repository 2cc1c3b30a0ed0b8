//! `GET /v1/status`: the server and its workers.

use crate::ids::{InstanceId, WorkerId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Answer to `GET /healthz`, which needs no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Always `ok`: a server that cannot answer is not healthy.
    pub status: HealthStatus,
}

/// Health of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// The server answers.
    Ok,
}

/// Status of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerStatus {
    /// Version of the server.
    pub version: String,
    /// Run of the supervisor that the server belongs to.
    pub instance: InstanceId,
    /// Start time of the server, RFC 3339 in UTC.
    pub since: String,
    /// Registered workers, the first one registered first.
    pub workers: Vec<WorkerStatus>,
}

/// A registered worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerStatus {
    /// Identifier of the worker.
    pub id: WorkerId,
    /// Name of the component: `agent-runner` or `workflow-runner`.
    pub kind: String,
    /// Version of the worker.
    pub version: String,
    /// Process id of the worker.
    pub pid: u32,
    /// Activity of the worker.
    pub state: WorkerState,
    /// Age of the last heartbeat, in milliseconds.
    pub heartbeat_age_ms: u64,
}

/// Activity of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// The worker has no execution.
    Idle,
    /// The worker has at least one execution.
    Busy,
    /// The worker finishes its executions and takes no more.
    Draining,
    /// The worker has missed its heartbeats.
    Stale,
}
