//! Data of the events, one struct for each type.

use crate::ids::{DefinitionDigest, ExecutionId, LeaseId, SessionId, WorkerId};
use crate::kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Data of `created`: the execution was requested. The first event of every journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// Kind of the resource.
    pub kind: Kind,
    /// Name of the agent or workflow.
    pub name: String,
    /// Digest of the definition.
    pub digest: DefinitionDigest,
    /// Input of the execution.
    #[serde(default)]
    pub input: Value,
    /// Message to the agent.
    #[serde(default)]
    pub message: Option<String>,
    /// Session of an agent's execution.
    #[serde(default)]
    pub session: Option<SessionId>,
    /// Execution that started this one.
    #[serde(default)]
    pub parent: Option<ExecutionId>,
    /// Interrupted execution that this one resumes.
    #[serde(default)]
    pub resumes: Option<ExecutionId>,
    /// Engine that runs the execution; `local` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

/// Data of `started`: a worker has the execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Started {
    /// The worker.
    pub worker: WorkerId,
    /// Number of workers that have started the execution, this one included.
    pub attempt: u32,
}

/// Data of `suspended`: the worker gave the execution back until something happens that it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suspended {
    /// Time to wake at, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub wake_at_ms: Option<i64>,
    /// Whether the end of a child execution wakes it.
    #[serde(default)]
    pub on_children: bool,
}

/// Data of `lease.expired`: the worker has lost the execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseExpired {
    /// The lease.
    pub lease: LeaseId,
    /// Whether the worker has deregistered; otherwise its heartbeats failed to come.
    #[serde(default)]
    pub given_back: bool,
}

/// Data of `completed`: the execution ended with an output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Completed {
    /// Output of the execution.
    #[serde(default)]
    pub output: Value,
}

/// Data of `failed`: the execution ended with an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failed {
    /// Cause of the failure.
    pub error: ExecutionError,
}

/// Data of `message.delta`: a fragment of a message that the model is writing.
///
/// Fragments are not journaled: they go to watchers only, and the `message` event has the whole text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageDelta {
    /// Identifier of the message.
    pub message: String,
    /// Text of the fragment.
    pub text: String,
    /// Number of characters (Unicode scalar values) of the message before this fragment; the server sets it.
    ///
    /// A watcher that attaches late gets the text so far as one fragment. It begins at 0, or later if the message is so long that
    /// the server does not keep its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// Data of `message`: the model has written a whole message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Identifier of the message, the same as in its fragments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Author of the message; the assistant if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Text of the message.
    #[serde(default)]
    pub text: String,
    /// Tools that the model calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolStarted>,
    /// Whether parts of the event were left out because of its size.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
}

/// Data of `tool.started`: the agent calls a tool. An element of `tool_calls` in a message, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolStarted {
    /// Identifier of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// Name of the tool.
    #[serde(default)]
    pub name: String,
    /// Arguments of the call, possibly shortened.
    #[serde(default)]
    pub arguments: Value,
    /// Whether parts of the event were left out because of its size.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
}

/// Data of `tool.ended`: a tool has returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolEnded {
    /// Identifier of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// Whether the tool succeeded.
    pub ok: bool,
    /// Result or error as the model reads it, possibly shortened.
    #[serde(default)]
    pub text: String,
    /// Whether parts of the event were left out because of its size.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
}

/// Data of `usage`: tokens that one answer of a model has used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageReported {
    /// Tokens sent to the model.
    #[serde(default)]
    pub input_tokens: u64,
    /// Tokens received from the model.
    #[serde(default)]
    pub output_tokens: u64,
    /// Name of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Provider of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
}

/// Data of `task.started`: a task of a workflow begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskStarted {
    /// Kind of the task, `set` or `call` for example.
    #[serde(default)]
    pub kind: String,
    /// Time of the start, in milliseconds since 1970.
    pub at: u64,
}

/// Data of `task.completed`: a task of a workflow has ended or was skipped.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskCompleted {
    /// Output of the task, if it is short.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub output: Option<Value>,
    /// Size of an output that is too long to be journaled, in bytes of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// Whether the task was skipped because of its `if`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub skipped: bool,
}

/// Data of `task.failed`: a task of a workflow has raised an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskFailed {
    /// The error.
    pub error: TaskError,
}

/// An error of the workflow language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskError {
    /// URI of the type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Status code, as HTTP has them.
    #[serde(default)]
    pub status: u64,
    /// Title of the type.
    #[serde(default)]
    pub title: String,
    /// Explanation of this error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Pointer to the task in the workflow.
    #[serde(default)]
    pub instance: String,
}

/// Data of `task.retried`: a task failed and will be tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRetried {
    /// Number of the failed attempt.
    pub attempt: u64,
    /// Time until the next attempt, in milliseconds.
    pub delay_ms: u64,
    /// Time of the next attempt, in milliseconds since 1970.
    pub until_ms: u64,
}

/// Data of `wait.set`: a task waits for a point in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitSet {
    /// The point in time, RFC 3339 in UTC.
    #[serde(default)]
    pub until: String,
    /// The same in milliseconds since 1970.
    pub until_ms: u64,
}

/// Data of `branch`: a `switch` has taken a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Branch {
    /// Name of the case.
    pub case: String,
}

/// Data of `runtime`: facts about the runtime that an execution of a workflow began on, and that its replay keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Runtime {
    /// Name of the runtime.
    pub name: String,
    /// Version of the runtime.
    pub version: String,
    /// Revision of the interpreter's semantics.
    pub revision: u32,
}

/// Data of `effect`: the workflow engine's memory of an effect, in a form of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Effect(pub Value);

/// Data of `note`: a remark for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Note {
    /// The remark.
    #[serde(default)]
    pub text: String,
    /// Type of the remark for programs.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// Author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The caller.
    User,
    /// The model.
    Assistant,
}

/// Cause of a failed execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecutionError {
    /// Type of the error for programs: a word, or a URI as the workflow language has them.
    #[serde(rename = "type")]
    pub kind: String,
    /// Explanation for people.
    pub message: String,
    /// Suggested next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Path of the task that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Tells `null` from nothing.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
