//! What a worker says of an execution it holds.

use super::Error;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What workers may say happens. The rest is the server's to say.
const KINDS: [&str; 13] = [
    "message.delta",
    "message",
    "tool.started",
    "tool.ended",
    "usage",
    "task.started",
    "task.completed",
    "task.failed",
    "task.retried",
    "wait.set",
    "branch",
    "effect",
    "note",
];

/// The longest event, in bytes of JSON.
pub(super) const MAX_EVENT: usize = 256 * 1024;

/// The longest output, in bytes of JSON.
pub(super) const MAX_OUTPUT: usize = 1024 * 1024;

/// An event on its way from a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reported {
    /// Its place among the events of this lease; the first is 1. Sent again it changes nothing.
    pub n: u64,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: String,
    /// The path of the task it happened in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The details.
    #[serde(default)]
    pub data: Value,
}

/// How a worker's work on an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It came to this.
    Completed(Value),
    /// It came to an error.
    Failed(Error),
    /// It was called off.
    Cancelled,
}

/// Events, and perhaps the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What happened, in order.
    pub events: Vec<Reported>,
    /// The end, if it has come.
    pub outcome: Option<Outcome>,
}

impl Report {
    /// Whether a worker may say this.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), String> {
        for event in &self.events {
            if !KINDS.contains(&event.kind.as_str()) {
                return Err(format!("a worker does not report events of the type `{}`", event.kind));
            }
            if event.n == 0 {
                return Err("events are counted from 1".to_owned());
            }
            let long = event.data.to_string().len();
            if long > MAX_EVENT {
                return Err(format!("event {} has {long} bytes; at most {MAX_EVENT} are taken", event.n));
            }
        }
        if self.events.windows(2).any(|pair| pair[1].n != pair[0].n + 1) {
            return Err("the events of a report are counted without gaps".to_owned());
        }
        match &self.outcome {
            Some(Outcome::Completed(output)) if output.to_string().len() > MAX_OUTPUT => Err(format!(
                "the output has {} bytes; at most {MAX_OUTPUT} are kept",
                output.to_string().len()
            )),
            _ => Ok(()),
        }
    }
}
