//! What carries a workflow out.
//!
//! The interpreter decides what is to be done, and always decides the same if it is told the same; everything that is not in the
//! workflow itself, it asks its engine for: the time, chance, the answers of others. An engine remembers what it has answered,
//! under the path of the task, and answers the same when a workflow is begun again after a crash. So the interpreter runs through a
//! workflow from its beginning each time, and what was done is not done again.
//!
//! The engine of one machine keeps its memory in the journal of the execution ([`crate::journaled`]). An engine for several
//! has to keep the promises written here, and nothing else.

use super::fault::Fault;
use super::model::HttpOutput;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// A time, in milliseconds since 1970 began, UTC.
pub type Millis = u64;

/// Why a workflow goes no further, though it has not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It is called off.
    Cancelled,
    /// Somebody else goes on with it, or will: nothing more is to be done or said.
    Left,
}

/// How an effect ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It gave this.
    Done(Value),
    /// It failed.
    Failed(Fault),
    /// Its time was over.
    TimedOut,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The time has passed.
    Through,
    /// A deadline came first.
    TimedOut,
}

/// A request, ready to be sent. It may hold secrets: it is never kept or shown.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// In capital letters.
    pub method: String,
    /// The address, with its query.
    pub uri: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// What it carries.
    pub body: Option<Vec<u8>>,
    /// What of the answer is given.
    pub output: HttpOutput,
    /// Whether redirects are followed.
    pub redirect: bool,
}

impl HttpRequest {
    /// Whether it may be sent twice: its method promises that this is the same as once (RFC 9110, 9.2.2).
    pub fn is_repeatable(&self) -> bool {
        !matches!(self.method.as_str(), "POST" | "PATCH")
    }
}

/// A question to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRequest {
    /// Who is asked.
    pub agent: String,
    /// What.
    pub message: String,
    /// In which conversation; a new one if there is none.
    pub session: Option<String>,
}

/// What carries a workflow out. Every `path` names one run of one task: loops and repetitions have paths of their own.
///
/// Every call can end with a [`Stop`]; the interpreter then asks for nothing more.
pub trait Engine {
    /// A task begins. Gives when it began; begun again, when it did so first.
    fn started(&mut self, path: &str, kind: &str) -> Result<Millis, Stop>;

    /// A task came to its end and gave `output`.
    fn completed(&mut self, path: &str, output: &Value) -> Result<(), Stop>;

    /// A task was passed over, because its condition did not hold.
    fn skipped(&mut self, path: &str) -> Result<(), Stop>;

    /// A task failed.
    fn failed(&mut self, path: &str, fault: &Fault) -> Result<(), Stop>;

    /// A switch took the case of this name.
    fn branched(&mut self, path: &str, case: &str) -> Result<(), Stop>;

    /// The time when this was asked first.
    fn now(&mut self, path: &str) -> Result<Millis, Stop>;

    /// Lets `length` pass, counted from when this was asked first, or all of it until `deadline`.
    fn wait(&mut self, path: &str, length: Duration, deadline: Option<Millis>) -> Result<Waited, Stop>;

    /// Lets the pause before the `attempt`th repetition pass: `delay`, and something by chance between the two of `jitter`.
    fn pause(
        &mut self,
        path: &str,
        attempt: u64,
        delay: Duration,
        jitter: Option<(Duration, Duration)>,
        deadline: Option<Millis>,
    ) -> Result<Waited, Stop>;

    /// Sends a request, once. If it cannot be known whether it was sent, it is sent again if that does no harm
    /// ([`HttpRequest::is_repeatable`]), and fails otherwise.
    fn http(&mut self, path: &str, request: &HttpRequest, deadline: Option<Millis>) -> Result<Outcome, Stop>;

    /// Asks an agent, once, and gives its answer: `{text, execution, usage}`.
    fn agent(
        &mut self,
        path: &str,
        request: &AgentRequest,
        deadline: Option<Millis>,
    ) -> Result<Outcome, Stop>;
}
