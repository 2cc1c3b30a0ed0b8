//! What a worker says of an execution it holds.

use super::{Event, ExecutionError};
use serde_json::Value;
use stigmer_protocol::Json;
use stigmer_protocol::api::events::ReportedEvent;

/// The longest event, in bytes of JSON.
pub(super) const MAX_EVENT: usize = 256 * 1024;

/// The longest output, in bytes of JSON.
pub(super) const MAX_OUTPUT: usize = 1024 * 1024;

/// How a worker's work on an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It came to this.
    Completed(Value),
    /// It came to an error.
    Failed(ExecutionError),
    /// It was called off.
    Cancelled,
}

/// An event from a worker: its data as sent, and what is understood of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reported {
    pub(super) n: u64,
    pub(super) task: Option<String>,
    pub(super) data: Json,
    pub(super) event: Event,
}

/// Checked events from a worker, and perhaps the end of its work.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub(super) events: Vec<Reported>,
    pub(super) outcome: Option<Outcome>,
}

impl Report {
    /// Checks what a worker reports.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn new(events: Vec<ReportedEvent>, outcome: Option<Outcome>) -> Result<Self, String> {
        if events.windows(2).any(|pair| pair[1].n != pair[0].n + 1) {
            return Err("invalid event numbers: expected consecutive numbers".to_owned());
        }
        if let Some(Outcome::Completed(output)) = &outcome {
            let length = output.to_string().len();
            if length > MAX_OUTPUT {
                return Err(format!("the output has {length} bytes: expected at most {MAX_OUTPUT}"));
            }
        }
        let events = events.into_iter().map(check).collect::<Result<_, _>>()?;
        Ok(Self { events, outcome })
    }

    /// Whether the report ends the execution.
    pub fn is_end(&self) -> bool {
        self.outcome.is_some()
    }
}

fn check(reported: ReportedEvent) -> Result<Reported, String> {
    if reported.n == 0 {
        return Err("invalid event number 0: expected numbers from 1".to_owned());
    }
    let length = reported.data.text().len();
    if length > MAX_EVENT {
        return Err(format!("event {} has {length} bytes: expected at most {MAX_EVENT}", reported.n));
    }
    let event = reported.event()?;
    let ReportedEvent { n, task, data, .. } = reported;
    Ok(Reported { n, task, data: data.on_one_line(), event })
}
