//! One execution as the sum of its events.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecutionKind {
    /// An agent.
    Agent,
    /// A workflow.
    Workflow,
}

impl ExecutionKind {
    /// As it stands in the database and in addresses.
    pub fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Workflow => "workflow",
        }
    }
}

impl From<crate::resource::Kind> for ExecutionKind {
    fn from(kind: crate::resource::Kind) -> Self {
        match kind {
            crate::resource::Kind::Agent => Self::Agent,
            crate::resource::Kind::Workflow => Self::Workflow,
        }
    }
}

/// How far an execution is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Phase {
    /// Nobody has taken it yet.
    Pending,
    /// A worker has taken it.
    InProgress,
    /// It came to its end.
    Completed,
    /// It came to an error.
    Failed,
    /// It was called off.
    Cancelled,
}

impl Phase {
    /// Whether nothing can happen any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// As it stands in the database and in answers.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::InProgress => "IN_PROGRESS",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// Why an execution failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Error {
    /// What kind of error, for programs: a word, or an address as the workflow language has it.
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened, for people.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The path of the task it happened in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
}

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the journal; the first is 1, and there are no gaps.
    pub seq: u64,
    /// When the server took note of it, RFC 3339 in UTC with milliseconds.
    pub time: String,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: String,
    /// The path of the task it happened in, in a workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The details.
    pub data: Value,
}

/// Everything there is to know of an execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// Its id; ids sort by age.
    pub id: String,
    /// What is executed.
    pub kind: ExecutionKind,
    /// The name of the agent or workflow.
    pub name: String,
    /// The digest of its definition as it was when the execution began.
    pub digest: String,
    /// How far it is.
    pub phase: Phase,
    /// What it was given.
    pub input: Value,
    /// What an agent was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The conversation it belongs to, if it is an agent's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The execution that called it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The interrupted execution that it takes up again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumes: Option<String>,
    /// How many workers have taken it.
    pub attempt: u32,
    /// Whether somebody wants it called off.
    pub cancel_requested: bool,
    /// What it came to.
    pub output: Option<Value>,
    /// Why it failed.
    pub error: Option<Error>,
    /// The tokens it has used, by what the providers say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Value>,
    /// When it was asked for.
    pub created: String,
    /// When a worker took it first.
    pub started: Option<String>,
    /// When it came to its end.
    pub ended: Option<String>,
    /// The place of its last event.
    pub last_seq: u64,
}

impl Execution {
    /// The execution that an event of the kind `created` begins.
    pub fn begin(id: &str, event: &Event) -> Option<Self> {
        let data = &event.data;
        let text = |key: &str| data[key].as_str().map(str::to_owned);
        Some(Self {
            id: id.to_owned(),
            kind: serde_json::from_value(data["kind"].clone()).ok()?,
            name: text("name")?,
            digest: text("digest")?,
            phase: Phase::Pending,
            input: data["input"].clone(),
            message: text("message"),
            session: text("session"),
            parent: text("parent"),
            resumes: text("resumes"),
            attempt: 0,
            cancel_requested: false,
            output: None,
            error: None,
            usage: None,
            created: event.time.clone(),
            started: None,
            ended: None,
            last_seq: event.seq,
        })
    }

    /// Adds an event to the sum. What comes after the end changes nothing.
    pub fn apply(&mut self, event: &Event) {
        if self.phase.is_terminal() {
            return;
        }
        self.last_seq = event.seq;
        match event.kind.as_str() {
            "started" => {
                self.phase = Phase::InProgress;
                self.attempt += 1;
                self.started.get_or_insert_with(|| event.time.clone());
            }
            "cancel.requested" => self.cancel_requested = true,
            "usage" => self.add_usage(&event.data),
            "completed" => {
                self.output = Some(event.data["output"].clone());
                self.end(Phase::Completed, event);
            }
            "failed" => {
                self.error = serde_json::from_value(event.data["error"].clone()).ok();
                self.end(Phase::Failed, event);
            }
            "cancelled" => self.end(Phase::Cancelled, event),
            _ => {}
        }
    }

    fn end(&mut self, phase: Phase, event: &Event) {
        self.phase = phase;
        self.ended = Some(event.time.clone());
    }

    fn add_usage(&mut self, data: &Value) {
        let so_far = self.usage.take().unwrap_or(Value::Null);
        let sum =
            |key: &str| so_far[key].as_u64().unwrap_or(0).saturating_add(data[key].as_u64().unwrap_or(0));
        self.usage =
            Some(json!({"input_tokens": sum("input_tokens"), "output_tokens": sum("output_tokens")}));
    }
}
