//! `/v1/workers/{id}/lease` and `/v1/leases`: executions for workers.

pub use super::event_data::Role;

use super::events::{RawEvent, ReportedEvent};
use super::executions::{Execution, ExecutionError};
use crate::ids::{LeaseId, SessionId};
use crate::kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Body of `POST /v1/workers/{id}/lease`: a worker asks for an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseRequest {
    /// Kinds that the worker can carry out.
    pub kinds: Vec<Kind>,
    /// Time to wait for an execution, in milliseconds; at most 60000.
    #[serde(default)]
    pub wait_ms: u64,
    /// Maximum number of executions, 1 to 256: the answer is then a list. Without it, the answer is a single execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

/// Answer to `POST /v1/workers/{id}/lease` if the request has `max`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LeasedList {
    /// Executions, those first that could be taken for the longest time.
    pub leases: Vec<Leased>,
}

/// An execution in the hands of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Leased {
    /// Identifier of the lease.
    pub lease: LeaseId,
    /// Time that the lease lasts without a heartbeat, in milliseconds.
    pub lease_ms: u64,
    /// The execution to carry out.
    pub execution: Execution,
    /// Spec of the agent or workflow.
    pub definition: Value,
    /// Events that were journaled before.
    #[schemars(with = "Vec<super::events::JournalEvent>")]
    pub events: Vec<RawEvent>,
    /// Earlier messages of the session, the oldest first.
    pub history: Vec<HistoryMessage>,
}

/// A message of an earlier execution of the same session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryMessage {
    /// Author of the message.
    pub role: Role,
    /// Text of the message; null where the execution had none.
    pub text: Option<String>,
}

/// Body of `POST /v1/leases/{lease}/heartbeat` and of `POST /v1/leases/{lease}/cancelled`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseHeartbeat {
    /// Events since the last request, in order.
    #[serde(default)]
    pub events: Vec<ReportedEvent>,
}

/// Answer to a heartbeat of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseState {
    /// Whether cancellation was requested.
    pub cancel: bool,
    /// Number of the last event of this lease that has arrived.
    pub last_n: u64,
}

/// Body of `POST /v1/leases/{lease}/complete`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompleteExecution {
    /// Events since the last request, in order.
    #[serde(default)]
    pub events: Vec<ReportedEvent>,
    /// Output of the execution.
    pub output: Value,
}

/// Body of `POST /v1/leases/{lease}/fail`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailExecution {
    /// Events since the last request, in order.
    #[serde(default)]
    pub events: Vec<ReportedEvent>,
    /// Cause of the failure.
    pub error: ExecutionError,
}

/// Body of `POST /v1/leases/{lease}/children`: a workflow calls an agent.
///
/// Repeated for the same task, the request returns the same execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateChild {
    /// Path of the calling task.
    pub task: String,
    /// Name of the agent.
    pub agent: String,
    /// Message to the agent.
    pub message: String,
    /// Session to continue; without it a new one begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
}

/// Body of `POST /v1/leases/{lease}/suspend`: gives the lease back until something happens that the execution waits for.
///
/// A suspended execution costs a row and a timer. It becomes leasable at `wake_at_ms`, at the end of one of its children if
/// `on_children` is set, or at whichever comes first if both are given. A child that ended since the lease was granted counts: then the
/// execution is leasable at once. With neither, it is leasable at once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SuspendRequest {
    /// Events since the last request, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<ReportedEvent>,
    /// The wall-clock time to wake at, in milliseconds since the Unix epoch; `None` for no time.
    #[serde(default)]
    pub wake_at_ms: Option<u64>,
    /// Whether the end of a child execution wakes it.
    #[serde(default)]
    pub on_children: bool,
}
