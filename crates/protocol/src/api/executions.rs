//! `/v1/executions`: executions for clients.

pub use super::event_data::ExecutionError;

use super::events::{Event, JournalEvent};
use crate::ids::{DefinitionDigest, ExecutionId, SessionId};
use crate::kind::{Kind, Phase};
use crate::time::format_ms;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Body of `POST /v1/executions`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateExecution {
    /// Kind of the resource; required only if an agent and a workflow have the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Name of the agent or workflow.
    pub name: String,
    /// Message to an agent; a workflow takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Input, any JSON value.
    #[serde(default)]
    pub input: Value,
    /// Session to continue; without it a new one begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Idempotency key: a repeated request with the same key returns the first execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Query of `GET /v1/executions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecutionQuery {
    /// Only executions of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Only executions in this phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Only executions of the resource with this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only executions older than this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ExecutionId>,
    /// Maximum number of executions, 1 to 1000; 50 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Answer to `GET /v1/executions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionList {
    /// Executions, the newest first.
    pub executions: Vec<Execution>,
}

/// Query of `GET /v1/executions/{id}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitQuery {
    /// Time to wait for the end of the execution, in milliseconds; at most 60000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// Body of `POST /v1/executions/prune`: which ended executions are deleted, those that match everything that is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PruneRequest {
    /// Only executions that ended at least this long ago, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than_ms: Option<u64>,
    /// Keep this many executions, those that ended last; child executions do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<u32>,
    /// Delete nothing and answer what would be deleted.
    #[serde(default)]
    pub dry_run: bool,
}

/// Answer to `POST /v1/executions/prune`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PruneResult {
    /// Number of executions that were deleted, or would be; child executions count.
    pub executions: u64,
    /// Number of events in their journals.
    pub events: u64,
    /// Identifiers of the first 1000 of them.
    pub ids: Vec<ExecutionId>,
    /// Whether there are more: one request deletes a limited number, and the same request again deletes the next ones.
    pub more: bool,
}

/// Number of tokens that an execution has used, as its model providers count them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Tokens sent to models.
    #[serde(default)]
    pub input_tokens: u64,
    /// Tokens received from models.
    #[serde(default)]
    pub output_tokens: u64,
}

/// An execution: the sum of its journaled events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Execution {
    /// Identifier of the execution.
    pub id: ExecutionId,
    /// Kind of the resource.
    pub kind: Kind,
    /// Name of the agent or workflow.
    pub name: String,
    /// Digest of the definition at the start of the execution.
    pub digest: DefinitionDigest,
    /// Phase of the execution.
    pub phase: Phase,
    /// Input of the execution.
    pub input: Value,
    /// Message to the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Session of an agent's execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Execution that started this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ExecutionId>,
    /// Interrupted execution that this one resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumes: Option<ExecutionId>,
    /// Number of workers that have started the execution.
    pub attempt: u32,
    /// Whether cancellation was requested.
    pub cancel_requested: bool,
    /// Output of a completed execution.
    pub output: Option<Value>,
    /// Cause of a failed execution.
    pub error: Option<ExecutionError>,
    /// Tokens used so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Time of creation, RFC 3339 in UTC.
    pub created: String,
    /// Time of the first start by a worker, RFC 3339 in UTC.
    pub started: Option<String>,
    /// Time of the end, RFC 3339 in UTC.
    pub ended: Option<String>,
    /// Time at which a suspended execution wakes, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_until: Option<String>,
    /// Whether the execution is suspended until one of its children ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waiting_on_children: bool,
    /// Sequence number of the last journaled event.
    pub last_seq: u64,
}

impl Execution {
    /// Builds the execution that a `created` event begins; `None` for any other event.
    pub fn begin(id: &ExecutionId, event: &JournalEvent) -> Option<Self> {
        let Event::Created(created) = &event.event else { return None };
        Some(Self {
            id: id.clone(),
            kind: created.kind,
            name: created.name.clone(),
            digest: created.digest.clone(),
            phase: Phase::Pending,
            input: created.input.clone(),
            message: created.message.clone(),
            session: created.session.clone(),
            parent: created.parent.clone(),
            resumes: created.resumes.clone(),
            attempt: 0,
            cancel_requested: false,
            output: None,
            error: None,
            usage: None,
            created: event.time.clone(),
            started: None,
            ended: None,
            waiting_until: None,
            waiting_on_children: false,
            last_seq: event.seq,
        })
    }

    /// Adds a journaled event. Events after the end change nothing.
    pub fn apply(&mut self, event: &JournalEvent) {
        self.add(event.seq, &event.time, &event.event);
    }

    /// Adds the event with the sequence number `seq`, recorded at `time`. Events after the end change nothing.
    pub fn add(&mut self, seq: u64, time: &str, event: &Event) {
        if self.phase.is_terminal() {
            return;
        }
        self.last_seq = seq;
        match event {
            Event::Started(_) => {
                self.phase = Phase::InProgress;
                self.attempt += 1;
                self.wake();
                self.started.get_or_insert_with(|| time.to_owned());
            }
            Event::Suspended(suspended) => {
                self.waiting_until = suspended.wake_at_ms.map(format_ms);
                self.waiting_on_children = suspended.on_children;
            }
            Event::CancelRequested(_) => self.cancel_requested = true,
            Event::Usage(more) => {
                let usage = self.usage.get_or_insert_default();
                usage.input_tokens = usage.input_tokens.saturating_add(more.input_tokens);
                usage.output_tokens = usage.output_tokens.saturating_add(more.output_tokens);
            }
            Event::Completed(completed) => {
                self.output = Some(completed.output.clone());
                self.end(Phase::Completed, time);
            }
            Event::Failed(failed) => {
                self.error = Some(failed.error.clone());
                self.end(Phase::Failed, time);
            }
            Event::Cancelled(_) => self.end(Phase::Cancelled, time),
            _ => {}
        }
    }

    fn wake(&mut self) {
        self.waiting_until = None;
        self.waiting_on_children = false;
    }

    fn end(&mut self, phase: Phase, time: &str) {
        self.phase = phase;
        self.wake();
        self.ended = Some(time.to_owned());
    }
}
