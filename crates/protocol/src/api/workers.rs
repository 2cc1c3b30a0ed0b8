//! `/v1/workers`: registration and heartbeats of workers.

use super::status::WorkerState;
use crate::ids::{InstanceId, WorkerId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Body of `POST /v1/workers`: a worker introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Name of the component: `agent-runner` or `workflow-runner`.
    pub kind: String,
    /// Version of the worker.
    pub version: String,
    /// Process id of the worker.
    pub pid: u32,
    /// Run of the supervisor that started the worker.
    pub instance: InstanceId,
}

/// Answer to a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Registered {
    /// Identifier of the worker.
    pub id: WorkerId,
    /// Interval of the heartbeats, in milliseconds.
    pub heartbeat_ms: u64,
    /// Time without a heartbeat after which the worker is stale, in milliseconds.
    pub expires_ms: u64,
}

/// Body of `POST /v1/workers/{id}/heartbeat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkerHeartbeat {
    /// Activity of the worker; `stale` is for the server to decide and refused.
    pub state: WorkerState,
}

/// An empty JSON object, where there is nothing to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Empty {}
